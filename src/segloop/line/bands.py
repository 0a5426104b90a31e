"""A photo too large for memory on its way: its rows are read, resized and cut when its windows are asked for."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..choice.settings import Geometry
from ..errors import ImageError
from ..images import CLIP, PLAIN, Normalisation, Reading, Scene, normalise, resize_bands, resized_size, scene_of
from ..maps.windows import Layout, cut, layout


@dataclass(frozen=True)
class BandedPhoto:
    """What `steps.Photo` is to a photo that is read whole; its windows are the same, bit for bit."""

    scene: Scene
    size: tuple[int, int]  # (height, width) after resizing
    where: Layout
    normalisation: Normalisation

    @property
    def source(self) -> str:
        """The file's path."""
        return self.scene.path

    @property
    def target(self) -> tuple[int, int]:
        """(H0, W0)."""
        return self.scene.size

    @property
    def pixels(self) -> Tensor:
        """Only steps on the map look at them; for those, no photo is read by bands."""
        raise AttributeError("a photo that is read by bands has no pixels")

    @property
    def image(self) -> None:
        """Never whole in memory."""

    @property
    def regions(self) -> None:
        """Masks do not come by bands."""

    @property
    def window_regions(self) -> None:
        """Masks do not come by bands."""

    @property
    def windows(self) -> "Windows":
        """As many as its length says; each (3, h, w) float32, and read when its turn comes."""
        return Windows(self)


@dataclass(frozen=True)
class Windows:
    """Windows of a photo in the order of `cut`; those of a row of the grid are in memory together."""

    photo: BandedPhoto

    def __len__(self) -> int:
        where = self.photo.where
        return len(where.rows) * len(where.columns)

    def __iter__(self) -> Iterator[Tensor]:
        photo, where = self.photo, self.photo.where
        resized = resize_bands(photo.scene.bands(), photo.scene.size, photo.size)
        kept, first = np.empty((0, photo.size[1], 3), np.uint8), 0  # rows at hand, the number of the first
        for top, bottom in where.rows:
            kept, first = kept[top - first :], top
            parts, there = [kept], len(kept)
            while there < bottom - top:
                parts.append(next(resized))
                there += len(parts[-1])
            kept = np.concatenate(parts)
            row = torch.from_numpy(normalise(kept[: bottom - top], photo.normalisation))
            yield from cut(row, replace(where, rows=((0, bottom - top),)))


def by_bands(
    photo: Any,
    geometry: Geometry,
    pad: int,
    at_least: int,
    reading: Reading = PLAIN,
    normalisation: Normalisation = CLIP,
    *,
    refused: ImageError,
) -> BandedPhoto:
    """`steps.prepare` for a photo that it has `refused` for its size. Raises ImageError where that cannot be."""
    scene = scene_of(photo, reading, refused)
    size = resized_size(*scene.size, geometry.short_side, geometry.long_side, at_least=at_least)
    return BandedPhoto(scene, size, layout(size, geometry.crop, geometry.stride, pad), normalisation)

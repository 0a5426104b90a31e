"""The steps between a photo and its map, as functions: resize and cut, windows through a network, back, decide."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import chain, islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..choice.settings import Deciding, Geometry
from ..errors import OptionError
from ..images import CLIP, PLAIN, Elsewhere, Normalisation, Reading, normalise, read_image, resize_uint8, resized_size
from ..maps.decide import Block, Blocks, Rule, decide
from ..maps.refine import MapStep
from ..maps.windows import Layout, ScoreMap, cut, layout
from ..words.vocabulary import Vocabulary

STRIP_BYTES = 4 * 2**20  # of cosines decided at once: on a CPU they stay in its cache
BAND_BYTES = 64 * 2**20  # of cosines prepared at once


class Measured(Protocol):
    """What deciding has to know of a photo."""

    @property
    def target(self) -> tuple[int, int]:
        """(H0, W0)."""

    @property
    def pixels(self) -> Tensor:
        """(3, height, width) float32, resized and normalised; only steps on the map look at it."""


class Cut(Measured, Protocol):
    """A photo in windows."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) after resizing."""

    @property
    def where(self) -> Layout:
        """Where its windows lie."""

    @property
    def windows(self) -> Any:
        """As many as its length says; each (3, h, w) float32."""


@dataclass(frozen=True)
class Photo:
    """A photo on its way: as read, and cut into normalised windows."""

    image: np.ndarray  # (H0, W0, 3) uint8 RGB
    source: str | None
    size: tuple[int, int]  # (height, width) after resizing
    where: Layout
    pixels: Tensor  # (3, height, width) float32, normalised
    windows: Tensor  # (n, 3, h, w) float32

    @property
    def target(self) -> tuple[int, int]:
        """(H0, W0)."""
        return self.image.shape[0], self.image.shape[1]


def prepare(
    photo: Any,
    geometry: Geometry,
    pad: int,
    at_least: int,
    reading: Reading = PLAIN,
    normalisation: Normalisation = CLIP,
) -> Photo:
    """Read, resize and cut a photo; windows are padded to multiples of `pad` pixels, sides are `at_least` pixels.

    Raises ImageError for what is not a photo.
    """
    image = read_image(photo, reading)
    height, width, _ = image.shape
    size = resized_size(height, width, geometry.short_side, geometry.long_side, at_least=at_least)
    pixels = torch.from_numpy(normalise(resize_uint8(image, size), normalisation))
    where = layout(size, geometry.crop, geometry.stride, pad)
    source = os.fspath(photo) if isinstance(photo, (str, Path, Elsewhere)) else None
    return Photo(image, source, size, where, pixels, cut(pixels, where))


def tiles(photos: Sequence[Cut], network: Callable[[Tensor], Tensor], batch: int) -> list[Tensor]:
    """Windows of all photos through `network` ((b, 3, h, w) -> (b, Q, h', w')): (n, Q, h', w') for each photo.

    Windows of one size share batches, whichever photo they come from; those of a batch are asked for together.
    """
    logits: list[list[Tensor]] = [[] for _ in photos]
    for shape in dict.fromkeys(photo.where.window for photo in photos):
        members = [i for i, photo in enumerate(photos) if photo.where.window == shape]
        owners = [i for i in members for _ in range(len(photos[i].windows))]
        windows = chain.from_iterable(photos[i].windows for i in members)
        for start in range(0, len(owners), batch):
            some = torch.stack(list(islice(windows, batch)))
            for owner, tile in zip(owners[start : start + batch], network(some), strict=True):
                logits[owner].append(tile)
    return [torch.stack(found) for found in logits]


def blocks(score_map: ScoreMap, photo: Measured, map_steps: Sequence[MapStep] = ()) -> Blocks:
    """The map in parts: strips of rows with all queries; with steps on it, all rows with few queries."""
    queries, height, width = score_map.shape
    steps = [step for step in map_steps if step.is_on]

    def by_rows() -> Iterator[Block]:
        for rows, strip in score_map.strips(STRIP_BYTES, BAND_BYTES):
            yield Block(rows, slice(0, queries), strip)

    def by_queries() -> Iterator[Block]:
        step = max(1, BAND_BYTES // (4 * height * width))
        image = photo.pixels[None].to(score_map.mosaic.device)
        image = F.interpolate(image, size=photo.target, mode="bilinear")[0]
        ready = [step.ready(image) for step in steps]
        for start in range(0, queries, step):
            part = slice(start, min(start + step, queries))
            maps = reduce(lambda maps, step: step(maps), ready, score_map.queries(part))
            yield Block(slice(0, height), part, maps)

    return by_queries if steps else by_rows


def labels_of(score_map: ScoreMap, photo: Measured, map_steps: Sequence[MapStep], rule: Rule) -> np.ndarray:
    """The map and what is decided of it: (H0, W0) int64 on the CPU."""
    return decide(blocks(score_map, photo, map_steps), photo.target, rule).labels.cpu().numpy()


def rule_of(vocabulary: Vocabulary, deciding: Deciding, device: torch.device | None = None) -> Rule:
    """How cosines of these words become labels. Raises OptionError for a threshold without a background."""
    threshold, area = deciding.background_threshold or None, deciding.area_threshold or None
    given = {"background_threshold": threshold, "area_threshold": area}
    needing = [name for name, value in given.items() if value]
    if vocabulary.background is None and needing:
        off = "switch off: " + ", ".join(f"{name}=none" for name in needing)
        first = "" if vocabulary.source else 'put a class "background" first (in Python with background=0), or '
        what = f"the list has no background class, which {' and '.join(needing)} need{'s' * (len(needing) == 1)}"
        raise OptionError(what, first + off)
    index = torch.tensor(vocabulary.query_index, device=device)
    return Rule(index, len(vocabulary.classes), deciding.logit_scale, threshold, area)


def full_map(parts: Blocks, shape: tuple[int, int, int]) -> Tensor:
    """All blocks in one: (Q, H0, W0) float32 on the CPU."""
    full = torch.empty(shape)
    for block in parts():
        full[block.queries, block.rows] = block.cosines.cpu()
    return full


def statistics(
    labels: np.ndarray, confidence: np.ndarray, classes: Sequence[str]
) -> tuple[dict[str, float], dict[str, float | None]]:
    """(H, W) labels and float32 probabilities -> share of the pixels and mean confidence of each class, by name.

    Pixels without a class count in none; the confidence is None for a class that wins nowhere.
    """
    flat, names = labels.ravel(), list(classes)
    count = np.bincount(flat, minlength=len(names))[: len(names)].tolist()
    total = np.bincount(flat, confidence.ravel().astype(np.float64), len(names))[: len(names)].tolist()
    share = {name: n / len(flat) for name, n in zip(names, count, strict=True)}
    mean = {name: t / n if n else None for name, n, t in zip(names, count, total, strict=True)}
    return share, mean

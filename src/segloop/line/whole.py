"""Methods over the whole photo: every window hands features over, and the map is made of all of them together."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ..attention.types import Needs
from ..backbones.tower import Tower
from ..errors import ImageError
from ..images import Normalisation
from ..maps.windows import Layout, layout
from ..words.voting import Text, plain_rows
from .stages import Opened
from .steps import Cut


@dataclass(frozen=True)
class Whole:
    """A photo whose windows have been through the networks."""

    tower: Tower
    text: Tensor  # (Q, E) float32, unit rows
    handed: Tensor  # (n, C, h, w), what each window has handed over
    size: tuple[int, int]  # (height, width) after resizing
    where: Layout  # of the windows
    image: Callable[[], np.ndarray]  # the photo as read: (H0, W0, 3) uint8 RGB
    regions: np.ndarray | None = None  # (H0, W0) int64 region ids, 0 for none; None where no masks came
    guide_patch: int = 1  # side of the guide's patches in pixels; 1 where its grid is stretched over a window
    models: Mapping[str, Any] = field(default_factory=dict)  # networks besides, by the settings that named them
    read_by: Text | None = None  # rows of experts, or with a bank, which read an opened block instead of `text`


class Joint(Protocol):
    """A stage that ends the way of single windows: a frozen dataclass, in the `stages` of a method's row."""

    # `in_one_step`, where it is true, takes one map to the photo's own size at once, not by way of the network's

    @property
    def makes_one_map(self) -> bool:
        """Whether `join` gives one block over the whole photo, which later stages change; else scores of windows."""

    def needs(self, depth: int) -> Needs:
        """As of a stage."""

    def hand(self, opened: Opened) -> Tensor:
        """What a window gives: (B, C, h, w), on a grid of its choice."""

    def join(self, whole: Whole) -> Opened | Tensor:
        """All windows of a photo together: an opened block of one sample, or scores (n, Q, h, w) of the windows."""


def joint_of(stages: Iterable[Any]) -> Joint | None:
    """The stage that joins windows, if there is one."""
    return next((stage for stage in stages if hasattr(stage, "join")), None)


def whole_of(photo: Cut, handed: Tensor, text: Text, tower: Tower) -> Whole:
    """A photo and what its windows (n, C, h, w) handed over. Raises ImageError for one that is read by bands."""
    image = photo.image
    if image is None:
        what = f"{photo.source} is too large to be read whole, which this method needs"
        raise ImageError(what, "make it smaller, or take another method")
    rows, others = plain_rows(text), None if isinstance(text, Tensor) else text
    return Whole(tower, rows, handed, photo.size, photo.where, lambda: image, photo.regions, read_by=others)


def windows_alone(pixels: Tensor, handed: Tensor, text: Text, tower: Tower, regions: Tensor | None) -> list[Whole]:
    """Windows (B, 3, H, W) as photos of their own."""
    rows, others = plain_rows(text), None if isinstance(text, Tensor) else text
    size = (pixels.shape[-2], pixels.shape[-1])
    where = layout(size, 0, 1, 1)
    found = []
    for number in range(len(pixels)):
        ids = None if regions is None else regions[number].cpu().numpy()
        image = _painted(pixels[number], tower.normalisation)
        found.append(Whole(tower, rows, handed[number : number + 1], size, where, image, ids, read_by=others))
    return found


def _painted(pixels: Tensor, given: Normalisation) -> Callable[[], np.ndarray]:
    """Normalised (3, H, W) -> (H, W, 3) uint8, when it is asked for."""

    def image() -> np.ndarray:
        mean, std = (torch.tensor(numbers)[:, None, None] for numbers in (given.mean, given.std))
        levels = (pixels.cpu().float() * std + mean).mul(255).round().clamp(0, 255)
        return levels.byte().permute(1, 2, 0).numpy()

    return image

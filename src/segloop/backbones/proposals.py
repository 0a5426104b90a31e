"""Masks of everything in a photo, prompted by a grid of points (spec 2.11.9): which are kept, and how they are painted.

Point grid, stability and box suppression are functions of arrays; the networks that are prompted are in `prompted`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..common.records import require
from ..images.idmaps import Mask, paint

TOGETHER = 64  # points a pass
OFFSET = 1.0  # of logits: a stable mask is nearly the same where the threshold is this much lower or higher
FULL_BYTES = 2**28  # of logits at the photo's size that are held at once
MOST_POINTS = 64  # a side
ON_TOP = ("largest", "smallest")

Prompted = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Points (n, 2), x and y as shares of the photo's sides -> logits of a mask each (n, h, w), and predicted IoU (n,)."""

Full = Callable[[Tensor], Tensor]
"""Logits (n, h, w) -> the same at the photo's size (n, H, W)."""


@dataclass(frozen=True)
class Proposing:
    """How many masks are proposed, and which of them are kept."""

    mask_points: int = 8  # points a side of the grid; the published tables have 8 and 32
    mask_iou: float = 0.4  # at least so good by the network's own word
    mask_stability: float = 0.4  # at least so stable
    mask_overlap: float = 0.7  # of boxes: of two that overlap more, the worse mask is left out
    mask_on_top: str = "largest"  # of masks that overlap: the published order; "smallest" is an option of ours

    def __post_init__(self) -> None:
        require(1 <= self.mask_points <= MOST_POINTS, "mask_points", self.mask_points, f"1 to {MOST_POINTS}")
        for name in ("mask_iou", "mask_stability", "mask_overlap"):
            require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "0 to 1")
        require(self.mask_on_top in ON_TOP, "mask_on_top", self.mask_on_top, " or ".join(ON_TOP))


def proposed(prompted: Prompted, full: Full, size: tuple[int, int], how: Proposing) -> np.ndarray:
    """A photo of `size` (H, W) -> (H, W) int64 ids, 0 where no mask lies."""
    masks: list[Mask] = []
    scores: list[float] = []
    for points in grid(how.mask_points).split(TOGETHER):
        logits, quality = prompted(points)
        good = quality >= how.mask_iou
        for inside, score in stable(logits[good], quality[good], full, size, how.mask_stability):
            mask = Mask.of(inside)
            if mask.area:
                masks.append(mask)
                scores.append(score)
    kept = suppress(np.array([box_of(mask) for mask in masks]).reshape(-1, 4), np.array(scores), how.mask_overlap)
    return paint([masks[one] for one in kept], size, how.mask_on_top == "largest")


def grid(side: int) -> Tensor:
    """(side², 2) float32: x and y in the middles of a grid's cells, between 0 and 1, row by row."""
    middles = (torch.arange(side) + 0.5) / side
    y, x = torch.meshgrid(middles, middles, indexing="ij")
    return torch.stack([x, y], -1).flatten(0, 1)


def stable(
    logits: Tensor, scores: Tensor, full: Full, size: tuple[int, int], least: float
) -> Iterator[tuple[np.ndarray, float]]:
    """Masks (n, h, w) that are at least so stable, at the photo's size: (H, W) bool and score, one after the other."""
    together = max(1, FULL_BYTES // (4 * size[0] * size[1]))
    for some, quality in zip(logits.split(together), scores.split(together), strict=True):
        if not len(some):
            continue
        maps = full(some)
        fine = stability(maps) >= least  # false for NaN, where there is no pixel even at the lower threshold
        yield from zip((maps[fine] > 0).cpu().numpy(), quality[fine].tolist(), strict=True)


def stability(logits: Tensor) -> Tensor:
    """(n, H, W) -> (n,) float32: intersection over union of a mask at thresholds OFFSET above and below 0."""
    inner, outer = ((logits > offset).flatten(1).sum(1) for offset in (OFFSET, -OFFSET))
    return inner / outer


def box_of(mask: Mask) -> tuple[int, int, int, int]:
    """(left, top, right, bottom): its outermost pixels."""
    height, width = mask.inside.shape
    return mask.left, mask.top, mask.left + width - 1, mask.top + height - 1


def suppress(boxes: np.ndarray, scores: np.ndarray, most: float) -> list[int]:
    """(n, 4), (n,) -> those that are kept, best first: a box is left out where it overlaps a better one by more.

    Overlap is intersection over union of areas between outermost pixels; of equal scores the first is the better.
    """
    left, top, right, bottom = boxes.T.astype(np.float64)
    areas = (right - left) * (bottom - top)
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(int(best))
        width = np.minimum(right[best], right[rest]) - np.maximum(left[best], left[rest])
        height = np.minimum(bottom[best], bottom[rest]) - np.maximum(top[best], top[rest])
        shared = width.clip(0) * height.clip(0)
        order = rest[shared <= most * (areas[best] + areas[rest] - shared)]  # lines have no area, and stay
    return kept

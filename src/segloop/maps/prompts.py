"""Refinement by prompts (spec 5.6): regions of a label map become prompts, and masks for them a new map.

Whoever makes the masks is given as a function; no network is in sight. One class is looked at at a time, so that no
more than one map of probabilities need exist.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..common.fitting import fitted
from ..common.records import constant, require
from ..errors import OptionError
from .connected import connected
from .decide import Decision
from .probabilities import Probabilities
from .settled import Settled


@dataclass(frozen=True)
class Refinement:
    """Refinement by SAM, a step on labels, with the published constants. Raises OptionError for values out of range."""

    refine: Literal["sam"] | None = constant(None, off=None)
    coarse_threshold: float = 0.2  # pixels whose best probability is below it prompt for nothing; 0: all do
    minimal_area: int = 225  # pixels of a region, at half the photo's size
    iou_threshold: float = 0.8  # a mask's predicted quality must be above it
    mask_factor: float = 0.005  # of probabilities, in the mask prompt
    mask_norm: Literal["fidelity", "rows", "channels"] = "fidelity"  # "rows" as in the release, see spec 5.6.4

    def __post_init__(self) -> None:
        require(0 <= self.coarse_threshold <= 1, "coarse_threshold", self.coarse_threshold, "between 0 and 1")
        require(self.minimal_area >= 1, "minimal_area", self.minimal_area, "at least 1 pixel")

    @property
    def is_on(self) -> bool:
        """Whether labels are refined."""
        return self.refine is not None

    @property
    def wants_affinity(self) -> bool:
        """Whether a SAM is needed."""
        return self.is_on

    def on(self, depth: int, reference: bool) -> "Refinement":
        """The same with its normalisation settled: over rows for reference fidelity, else as SAM was trained."""
        settled: Literal["rows", "channels"] = "rows" if reference else "channels"
        return replace(self, mask_norm=settled) if self.mask_norm == "fidelity" else self

    def __call__(self, settled: Settled) -> Decision:
        """Labels by SAM's masks (spec 5.6). Raises OptionError where only cosines were kept, and no photo."""
        if settled.image is None:
            raise OptionError("refine=sam looks at the photo, and only cosines were kept", "evaluate anew with it")
        sam, decision, rule = settled.models["affinity"], settled.decision, settled.rule
        maps = Probabilities(settled.parts, (decision.labels.shape[0], decision.labels.shape[1]), rule)
        masks = sam.prompted(settled.image, self.mask_norm)
        return refine(decision, rule.classes, maps, masks, self, (sam.side, sam.mask_side))


@dataclass(frozen=True)
class Prompts:
    """What is asked for one class: a point and a box for each of its regions, and one mask for all."""

    points: Tensor  # (R, 2) float32, x and y, in pixels of the frame
    boxes: Tensor  # (R, 4) float32, least x, least y, greatest x, greatest y, inclusive
    mask: Tensor  # (m, m) float32


ClassMaps = Callable[[Sequence[int]], Iterable[tuple[int, Tensor]]]
"""Classes -> each one's number and its probability at every pixel, (H0, W0) float32, in their order."""

Masks = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Callable[[Tensor], Tensor]]]
"""Points, boxes and mask of Prompts -> predicted quality of a mask for each, (R,), and what gives the greatest logit of
those that a selection (k,) names at every pixel of the photo, (H0, W0)."""


def prompts_for(
    probability: Tensor, chosen: np.ndarray, constants: Refinement, side: int, mask_side: int
) -> Prompts | None:
    """Prompts for one class, None where it has no region (steps 2 to 4).

    (H0, W0) float32 probabilities and bool (h, w), where the class lies at half the size. Points and boxes are in a
    square of `side` pixels that the photo is fit into, the mask in one of `mask_side`.
    """
    coarse = resized(probability, chosen.shape)
    if coarse.max() < constants.coarse_threshold:
        return None
    regions = _large(chosen, constants.minimal_area)
    if not regions:
        return None
    (height, width), values = chosen.shape, coarse.cpu().numpy()
    frame = fitted(height, width, side)
    places = np.array([_place(*np.divmod(region, width), values) for region in regions])
    found = torch.from_numpy(places * np.tile([frame[1] / width, frame[0] / height], 3)).float()
    small = resized(coarse, fitted(probability.shape[0], probability.shape[1], mask_side))
    small = torch.where(small > constants.coarse_threshold, constants.mask_factor * small, 0)
    mask = F.pad(small, (0, mask_side - small.shape[1], 0, mask_side - small.shape[0]))
    return Prompts(found[:, :2], found[:, 2:], mask)


def _large(chosen: np.ndarray, least: int) -> list[np.ndarray]:
    """Regions of at least so many pixels, as places in the flattened map, in order."""
    numbers, _ = connected(chosen)
    order = np.argsort(numbers.ravel(), kind="stable")
    regions = np.split(order, np.cumsum(np.bincount(numbers.ravel()))[:-1])[1:]
    return [region for region in regions if len(region) >= least]


def _place(rows: np.ndarray, columns: np.ndarray, values: np.ndarray) -> list[int]:
    """Pixels of a region -> x and y of the first greatest value, and of the corners of its box."""
    best = int(values[rows, columns].argmax())
    corners = columns.min(), rows.min(), columns.max(), rows.max()
    return [int(columns[best]), int(rows[best]), *map(int, corners)]


def refine(
    decision: Decision, classes: int, maps: ClassMaps, masks: Masks, constants: Refinement, sides: tuple[int, int]
) -> Decision:
    """Labels by the masks that are good enough, and the probabilities of their classes (steps 1 to 7).

    `sides` are those of the squares that points and masks lie in. Pixels stay as they are where no accepted mask lies.
    """
    labels, sure = decision.labels.clone(), decision.confidence.clone()
    coarse = _coarse(labels, classes, maps, constants.coarse_threshold)
    present = [number for number in np.unique(coarse).tolist() if 0 <= number < classes]
    best = torch.zeros_like(sure)
    for number, own in maps(present):
        prompts = prompts_for(own, coarse == number, constants, *sides)
        if prompts is None:
            continue
        quality, greatest = masks(prompts.points, prompts.boxes, prompts.mask)
        accepted = (quality > constants.iou_threshold).nonzero()[:, 0]
        if not len(accepted):
            continue
        logits = greatest(accepted)
        score = torch.where(logits > 0, logits.sigmoid() * own, 0)
        better = score > best
        labels[better], sure[better], best[better] = number, own[better], score[better]
    return Decision(labels, sure)


def _coarse(labels: Tensor, classes: int, maps: ClassMaps, threshold: float) -> np.ndarray:
    """(H0, W0) -> labels at half the size, -1 where no class is as probable as the threshold (step 1)."""
    height, width = labels.shape
    half = max(1, height // 2), max(1, width // 2)
    coarse = _nearest(labels, half).cpu().numpy()
    if threshold <= 0:
        return coarse
    best = torch.zeros(half, device=labels.device)
    for _, own in maps(range(classes)):
        torch.maximum(best, resized(own, half), out=best)
    return np.where((best < threshold).cpu().numpy(), -1, coarse)


def resized(map_: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear, align_corners False, no antialias: (H, W) -> size."""
    return F.interpolate(map_[None, None], size=size, mode="bilinear")[0, 0]


def _nearest(labels: Tensor, size: tuple[int, int]) -> Tensor:
    """Index i reads floor(i n_in / n_out): (H, W) -> size."""
    rows, columns = (
        torch.arange(n, device=labels.device) * length // n for n, length in zip(size, labels.shape, strict=True)
    )
    return labels[rows[:, None], columns]

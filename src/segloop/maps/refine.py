"""Steps on the finished score map, before it is decided. The first row of their table is PAMR (spec 5.3).

A step is a frozen record of its constants. Made ready for a photo, it is a function of maps.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ..common.records import constant, require
from .pixelgraph import PixelGraph

MOST_STEPS, MOST_DILATIONS, FARTHEST = 1000, 16, 1024  # of PAMR; the published one has 10, 2 and 16
CENTRE_FLOOR = 1e-8  # added to the standard deviation
CONTRAST = 0.1  # fraction of the local standard deviation that counts as one unit of difference


ReadyStep = Callable[[Tensor], Tensor]
"""Maps of some queries, (q, H, W) -> (q, H, W)."""


class Switched(Protocol):
    """A step that its constants can keep off."""

    @property
    def is_on(self) -> bool:
        """Whether these constants do anything at all."""


class MapStep(Switched, Protocol):
    """What changes cosines of the whole photo; its fields are settings."""

    def ready(self, image: Tensor) -> ReadyStep:
        """For the normalised photo (3, H, W), at its own size: what becomes of queries' maps.

        Where it says `at_network_size = True`, it is given the resized photo, in [0, 1], before the map is resized.
        """


@dataclass(frozen=True)
class PAMR:
    """Pixel-adaptive refinement: every pixel becomes the weighted mean of neighbours that look like it."""

    pamr_steps: int = constant(0, off=0)
    pamr_dilations: tuple[int, ...] = (8, 16)  # pixels

    def __post_init__(self) -> None:
        require(0 <= self.pamr_steps <= MOST_STEPS, "pamr_steps", self.pamr_steps, f"0 (off) to {MOST_STEPS}")
        few = 1 <= len(self.pamr_dilations) <= MOST_DILATIONS
        dilations = few and min(self.pamr_dilations) >= 1 and max(self.pamr_dilations) <= FARTHEST
        allowed = f"one to {MOST_DILATIONS} distances of at least 1 pixel and at most {FARTHEST}"
        require(dilations, "pamr_dilations", self.pamr_dilations, allowed)

    @property
    def is_on(self) -> bool:
        """Whether there is a step to do."""
        return self.pamr_steps > 0

    def ready(self, image: Tensor) -> ReadyStep:
        """(3, H, W) -> (q, H, W) -> (q, H, W) float32."""
        weights = pamr_weights(image[None], self.pamr_dilations)
        return partial(_refined, weights=weights, steps=self.pamr_steps, dilations=self.pamr_dilations)


def _refined(maps: Tensor, weights: Tensor, steps: int, dilations: Sequence[int]) -> Tensor:
    return pamr_apply(weights, maps[None], steps, dilations)[0]


def _shifts(maps: Tensor, dilations: Sequence[int], centre: bool) -> Iterator[Tensor]:
    """Views of (B, C, H, W) moved by d * (a, b), a and b in -1, 0, 1, with replicated borders."""
    height, width = maps.shape[-2:]
    reach = max(dilations)
    padded = F.pad(maps, (reach,) * 4, mode="replicate")
    for d in dilations:
        for a in (-d, 0, d):
            for b in (-d, 0, d):
                if a or b or centre:
                    yield padded[..., reach + a : reach + a + height, reach + b : reach + b + width]


def pamr_weights(image: Tensor, dilations: Sequence[int] = (8, 16)) -> Tensor:
    """Affinity of every pixel with its 8 * len(dilations) neighbours: (B, 3, H, W) -> (B, n, H, W), sums to 1.

    The centre counts once per dilation in the standard deviation (unbiased), and not among the neighbours.
    """
    samples = 9 * len(dilations)
    mean = torch.zeros_like(image)
    for shifted in _shifts(image, dilations, centre=True):
        mean += shifted / samples
    variance = torch.zeros_like(image)
    for shifted in _shifts(image, dilations, centre=True):
        variance += (shifted - mean) ** 2 / (samples - 1)
    unit = CENTRE_FLOOR + CONTRAST * variance.sqrt()
    weights = image.new_empty(len(image), 8 * len(dilations), *image.shape[-2:])
    for i, shifted in enumerate(_shifts(image, dilations, centre=False)):
        weights[:, i] = (image - shifted).abs_().div_(unit).mean(1).neg_()
    weights.sub_(weights.amax(1, keepdim=True)).exp_()  # a softmax without a second stack of maps
    return weights.div_(weights.sum(1, keepdim=True))


def pamr_apply(weights: Tensor, maps: Tensor, steps: int, dilations: Sequence[int] = (8, 16)) -> Tensor:
    """`steps` times: every pixel becomes the weighted mean of its neighbours. (B, Q, H, W) -> same.

    One neighbour at a time, so that the stack of n * Q maps never exists.
    """
    for _ in range(steps):
        mixed = torch.zeros_like(maps)
        for i, shifted in enumerate(_shifts(maps, dilations, centre=False)):
            mixed.addcmul_(weights[:, i : i + 1], shifted)
        maps = mixed
    return maps


MAP_STEPS: dict[str, MapStep] = {"pixel_graph": PixelGraph(), "pamr": PAMR()}
"""In the order in which they are done, with the constants of a method that says nothing."""

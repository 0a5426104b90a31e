"""Trident's affinity (spec 2.12.4): SAM's attention over a whole photo, where its values agree, as one matrix."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..common.records import require
from .operators import Shared

CAP = 0.9  # of thresholds: the cosine of a patch with itself, 1, lies above
BLOCK = 2**24  # floats of all heads' rows at once, 64 MiB

Attend = Callable[[slice], Tensor]
"""Some rows of every head's attention between the patches: (h, r, N), sums at most 1."""


@dataclass(frozen=True)
class Trident:
    """The constants of Trident. Raises OptionError for values outside their range."""

    beta: float = 1.2  # in windows, patches are masked whose similarity is below beta times the mean of all windows
    gamma: float = 3.0  # what similarities are multiplied with
    cosine_factor: float = 1.2  # times a patch's mean cosine with all: pairs below are dropped
    negative_threshold: float | None = None  # what a threshold below 0 becomes; None: it stays
    affinity_halves: bool = False  # SAM looks at the left and the right half of the photo, each by itself
    wants_affinity: ClassVar[bool] = True  # a SAM
    in_whole_patches: ClassVar[bool] = True  # windows begin and end at CLIP's patches

    def __post_init__(self) -> None:
        require(self.gamma > 0, "gamma", self.gamma, "above 0")
        require(self.cosine_factor >= 0, "cosine_factor", self.cosine_factor, "0 or more")
        given = self.negative_threshold
        require(given is None or -1 <= given <= 1, "negative_threshold", given, "between -1 and 1, or none")


def thresholds(unit: Tensor, constants: Trident) -> Tensor:
    """theta: values of unit length (h, N, d) -> (N,), shared by heads; no N x N matrix, since means commute."""
    theta = (unit * unit.mean(1, keepdim=True)).sum(-1).mean(0) * constants.cosine_factor
    if constants.negative_threshold is not None:
        theta = theta.masked_fill(theta < 0, constants.negative_threshold)
    return theta.clamp_max(CAP)


def affinity(attend: Attend, values: Tensor, constants: Trident) -> Tensor:
    """Attention where values are alike: rows on demand, (h, N, d) -> (N, N) float32, rows sum to 1.

    Each head's attention is kept where its values' cosine lies above the threshold of the row, then averaged over
    heads. Memory is that of a block of rows of all heads, beside the result. A row of which nothing is left, as of
    values that are all zero, keeps its own patch.
    """
    unit = F.normalize(values.float(), dim=-1)
    heads, count, _ = unit.shape
    theta = thresholds(unit, constants)
    found = unit.new_empty(count, count)
    step = max(1, BLOCK // (heads * count))
    for start in range(0, count, step):
        rows = slice(start, min(start + step, count))
        alike = unit[:, rows] @ unit.mT
        kept = attend(rows).float().masked_fill(alike <= theta[rows, None], 0)
        torch.mean(kept, 0, out=found[rows])
    total = found.sum(-1, keepdim=True)
    found.diagonal().masked_fill_(total[:, 0] == 0, 1)
    return found.div_(total.masked_fill_(total == 0, 1))


@dataclass(frozen=True)
class SideBySide:
    """Operators that mix parts of a grid, cut between columns; nothing passes from one part to another."""

    parts: tuple[Shared, ...]
    widths: tuple[int, ...]  # columns of each
    row_sum: float = 1.0

    def __call__(self, values: Tensor) -> Tensor:
        """(B, h, N, d) -> (B, h, N, d), N row by row over the whole grid."""
        strips = values.unflatten(2, (-1, sum(self.widths))).split(self.widths, 3)
        mixed = [
            part(strip.flatten(2, 3)).unflatten(2, (-1, width))
            for part, strip, width in zip(self.parts, strips, self.widths, strict=True)
        ]
        return torch.cat(mixed, 3).flatten(2, 3)

    def rows(self, index: Any) -> Tensor:
        """(B, 1, len(index), N)."""
        width, found = sum(self.widths), []
        for number in index:
            row, column = divmod(number, width)
            found.append(self._row(row, column))
        return torch.cat(found, 2)

    def _row(self, row: int, column: int) -> Tensor:
        start = 0
        for part, own in zip(self.parts, self.widths, strict=True):
            if column < start + own:
                weights = part.rows([row * own + column - start]).unflatten(-1, (-1, own))
                return F.pad(weights, (start, sum(self.widths) - start - own)).flatten(-2)
            start += own
        raise IndexError(column)

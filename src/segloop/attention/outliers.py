"""Outlier tokens: patches that a ViT uses for something else than their own place (SFP, ICCV 2025; spec 4.2).

A detector is a function `(tokens, stats, constants) -> mask`: patch tokens (B, N, D) of the last block but one, what
that block's attention says about them, and a boolean (B, N), True where a patch is an outlier. Each sample is judged
by itself.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from ..common.records import constant
from ..errors import OptionError, nearest
from .operators import BLOCK
from .pruning import has_float64

TINY = 1e-12  # distances below it count as one point
SOFTENING = 1e-10  # of reachability distances, as in scikit-learn


class Statistics(Protocol):
    """What a block's attention says about its patches: means over heads, each (B, N)."""

    @property
    def class_row(self) -> Tensor:
        """How much the class token attends to each patch."""

    @property
    def diagonal(self) -> Tensor:
        """How much each patch attends to itself."""

    @property
    def received(self) -> Tensor:
        """How much the patches attend to each patch, on average."""


@dataclass(frozen=True)
class BlockAttention:
    """A block's own query-key attention, class token included, made a block of rows at a time and never stored.

    Raises nothing; every answer is at least float32 and is worked out when it is first asked for (spec 4.5).
    """

    q: Tensor  # (B, h, 1+N, d)
    k: Tensor  # (B, h, 1+N, d)
    scale: float

    @cached_property
    def class_row(self) -> Tensor:
        """(B, N): one softmax row per head."""
        row = self.scale * _precise(self.q[:, :, :1]) @ _precise(self.k).mT
        return row.softmax(-1).mean(1)[:, 0, 1:]

    @cached_property
    def diagonal(self) -> Tensor:
        """(B, N): the exponential of alpha q_i k_i - logsumexp_i."""
        total = self._empty()
        for rows, logits in self._rows():
            own = logits.diagonal(rows.start, 1, 2)
            total[:, rows] += (own - logits.logsumexp(-1)).exp()
        return total[:, 1:] / self.q.shape[1]

    @cached_property
    def received(self) -> Tensor:
        """(B, N): the mean of each patch's column over patch rows."""
        total = self._empty()
        for rows, logits in self._rows():
            from_patches = logits[:, max(0, 1 - rows.start) :]
            total += from_patches.softmax(-1).sum(1)
        return total[:, 1:] / (self.q.shape[1] * max(1, total.shape[1] - 1))

    def between_patches(self) -> Tensor:
        """Attention from patch to patch, the mean over heads: (B, N, N), the one matrix that has this size."""
        heads, tokens = self.q.shape[1:3]
        total = self._empty()[:, :, None].repeat(1, 1, tokens)
        for rows, logits in self._rows():
            total[:, rows] += logits.softmax(-1)
        return total[:, 1:, 1:] / heads

    def _empty(self) -> Tensor:
        dtype = torch.promote_types(self.q.dtype, torch.float32)
        return torch.zeros(self.q.shape[0], self.q.shape[2], dtype=dtype, device=self.q.device)

    def _rows(self) -> Iterator[tuple[slice, Tensor]]:
        """(rows, their logits (B, r, 1+N)) of every head, in blocks of about BLOCK floats."""
        batch, heads, tokens, _ = self.q.shape
        step = max(1, BLOCK // (batch * tokens))
        for head in range(heads):
            q, k = _precise(self.q[:, head]), _precise(self.k[:, head])
            for start in range(0, tokens, step):
                rows = slice(start, min(start + step, tokens))
                yield rows, self.scale * q[:, rows] @ k.mT


@dataclass(frozen=True)
class Detection:
    """Which detector, and the constants of all of them. Raises OptionError for values outside their range."""

    detector: str = constant("som", off="none")  # of DETECTORS
    outliers: int = 10  # som: at most so many; l2: exactly
    detection_scale: float = 1.5  # som: class attention times this exceeds self-attention; published as 5 rho
    neighbours: int = 30  # lof, lof-textbook, dbscan
    quantile: float = 0.95  # lof, lof-textbook, dbscan, attention: scores above it are outliers

    def __post_init__(self) -> None:
        if self.detector not in DETECTORS:
            raise OptionError(f"unknown detector {self.detector!r}", nearest(self.detector, DETECTORS))
        ranges = {
            "outliers": (self.outliers >= 0, "0 or more patches"),
            "detection_scale": (self.detection_scale > 0, "above 0"),
            "neighbours": (self.neighbours >= 1, "at least 1 patch"),
            "quantile": (0 <= self.quantile <= 1, "between 0 and 1"),
        }
        for name, (fine, allowed) in ranges.items():
            if not fine:
                raise OptionError(f"{name}={getattr(self, name)} is not possible", f"it must be {allowed}")

    def mask(self, tokens: Tensor, stats: Statistics) -> Tensor:
        """The outliers by the chosen detector: patches (B, N, D) -> bool (B, N)."""
        return DETECTORS[self.detector](tokens, stats, self)


def som(tokens: Tensor, stats: Statistics, constants: Detection | None = None) -> Tensor:
    """SFP's own: the class token looks at a patch more than the patch at itself; at most 10, the most salient."""
    constants = constants or Detection()
    salience = constants.detection_scale * stats.class_row
    candidates = salience > stats.diagonal
    return _largest(salience.masked_fill(~candidates, -torch.inf), constants.outliers)


def l2(tokens: Tensor, stats: Statistics, constants: Detection | None = None) -> Tensor:
    """The 10 patches of largest norm."""
    return _largest(_precise(tokens).norm(dim=-1), (constants or Detection()).outliers)


def lof(tokens: Tensor, stats: Statistics, constants: Detection | None = None) -> Tensor:
    """The releases' outlier factor: patches whose `release_lof` exceeds its 0.95-quantile."""
    constants = constants or Detection()
    return _above_quantile(release_lof(tokens, constants.neighbours), constants.quantile)


def lof_textbook(tokens: Tensor, stats: Statistics, constants: Detection | None = None) -> Tensor:
    """The local outlier factor of Breunig et al. (2000): patches above its 0.95-quantile."""
    constants = constants or Detection()
    return _above_quantile(textbook_lof(tokens, constants.neighbours), constants.quantile)


def dbscan(tokens: Tensor, stats: Statistics, constants: Detection | None = None) -> Tensor:
    """The noise points of DBSCAN. segloop's own design: SFP announces a clustering and releases none.

    A patch with `neighbours` others within a radius is a core; noise is what no core has within that radius. The
    radius is the 0.95-quantile of distances to the 30th neighbour, so that most patches are cores whatever the
    scale of the tokens, and a tight group of fewer than 30 outliers cannot vouch for itself.
    """
    constants = constants or Detection()
    if tokens.shape[1] < 2:
        return _nobody(tokens)
    distance = _distances(tokens)
    nearest_ones = distance.topk(_reach(tokens, constants.neighbours) + 1, largest=False).values
    radius = nearest_ones[..., -1].quantile(constants.quantile, dim=-1, keepdim=True)
    core = nearest_ones[..., -1] <= radius
    return ~((distance <= radius[..., None]) & core[:, None]).any(-1)


def attention(tokens: Tensor, stats: Statistics, constants: Detection | None = None) -> Tensor:
    """Patches that receive more attention than the 0.95-quantile. segloop's own, for comparison."""
    return _above_quantile(stats.received, (constants or Detection()).quantile)


def none(tokens: Tensor, stats: Statistics, constants: Detection | None = None) -> Tensor:
    """Nobody."""
    return _nobody(tokens)


Detector = Callable[[Tensor, Statistics, Detection], Tensor]

DETECTORS: dict[str, Detector] = {
    "som": som,
    "l2": l2,
    "lof": lof,
    "lof-textbook": lof_textbook,
    "dbscan": dbscan,
    "attention": attention,
    "none": none,
}


def release_lof(tokens: Tensor, neighbours: int = 30) -> Tensor:
    """(B, N, D) -> (B, N) float64: kd_i times the mean of 1 / kd_n over the neighbours n, kd squared distances.

    What SFP and SC-CLIP release: reachability takes the point's own k-distance, so it is a ratio of those only.
    """
    if tokens.shape[1] < 2:
        return tokens.new_ones(tokens.shape[:2])
    near, index = _distances(tokens).square().topk(_reach(tokens, neighbours) + 1, largest=False)
    own = near[..., -1].clamp_min(TINY)
    return own * _of_neighbours(own.reciprocal(), index[..., 1:]).mean(-1)


def textbook_lof(tokens: Tensor, neighbours: int = 30) -> Tensor:
    """(B, N, D) -> (B, N) float64: mean of LRD_n / LRD_i over the neighbours n, with reach_in = max(kd_n, d_in)."""
    if tokens.shape[1] < 2:
        return tokens.new_ones(tokens.shape[:2])
    distance = _distances(tokens)
    distance.diagonal(dim1=1, dim2=2).fill_(torch.inf)
    near, index = distance.topk(_reach(tokens, neighbours), largest=False)
    reach = torch.maximum(near, _of_neighbours(near[..., -1], index))
    density = (reach.mean(-1) + SOFTENING).reciprocal()
    return _of_neighbours(density, index).mean(-1) / density


def _reach(tokens: Tensor, neighbours: int) -> int:
    return min(neighbours, tokens.shape[1] - 1)


def _of_neighbours(values: Tensor, index: Tensor) -> Tensor:
    """(B, N), (B, N, k) -> (B, N, k): what each patch's neighbours have."""
    return values[:, None].expand(-1, index.shape[1], -1).gather(2, index)


def _distances(tokens: Tensor) -> Tensor:
    """(B, N, D) -> (B, N, N) float64, by direct differences: inner products lose what tells close tokens apart.

    Where the device has no float64, made on the CPU and brought back in float32.
    """
    home = tokens.device
    exact = has_float64(home.type)
    points = tokens.to(home if exact else "cpu", torch.float64)
    one, other = torch.triu_indices(points.shape[1], points.shape[1], 1, device=points.device)
    distance = points.new_zeros(len(points), points.shape[1], points.shape[1])
    for sample, found in zip(points, distance, strict=True):
        found[one, other] = found[other, one] = torch.pdist(sample)
    return distance if exact else distance.to(home, torch.float32)


def _largest(scores: Tensor, count: int) -> Tensor:
    """The `count` largest of each row that are not -inf, the earlier of equals: (B, N) -> bool (B, N)."""
    values, index = scores.sort(dim=1, descending=True, stable=True)
    chosen = values[:, :count] > -torch.inf
    return torch.zeros_like(scores, dtype=torch.bool).scatter(1, index[:, :count], chosen)


def _above_quantile(scores: Tensor, quantile: float) -> Tensor:
    return scores > scores.quantile(quantile, dim=-1, keepdim=True)


def _nobody(tokens: Tensor) -> Tensor:
    return torch.zeros(tokens.shape[:2], dtype=torch.bool, device=tokens.device)


def _precise(tokens: Tensor) -> Tensor:
    return tokens.to(torch.promote_types(tokens.dtype, torch.float32))

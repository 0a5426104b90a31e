"""ResCLIP (CVPR 2025; spec 2.9): attention of earlier blocks, and the host's own labels, mixed into its attention.

Two residuals on a host that is made of softmaxes. Residual cross-correlation (RCS) adds the mean attention of some
earlier blocks; semantic feedback refinement (SFR) adds to every softmax a bias that draws patches of one label
together. In the cheap form: per earlier block one ordinary attention call with the last block's values, and one bias
that heads share; no attention matrix is ever stored.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import floor
from typing import ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..common.records import require, require_finite
from ..errors import OptionError
from .operators import Operator, Softmax, Sum
from .types import LastBlock, Mix

PUBLISHED_DEPTH = 12  # blocks of the ViT-B that the release's blocks were chosen for
EPSILON = 1e-8  # of sums of relations

Walk = Literal["auto", "whole", "float32"]


@dataclass(frozen=True)
class ResCLIP:
    """The constants of ResCLIP; defaults are those of most of its configurations. Raises OptionError."""

    rcs: bool = True  # residual cross-correlation self-attention
    rcs_tau: float = 2.0  # what the whole attention is multiplied with
    rcs_lambda: float = 0.3  # share of the earlier blocks
    rcs_blocks: tuple[int, ...] = (6, 7, 8, 9)  # numbers from 1, of 12 blocks
    sfr: bool = True  # semantic feedback refinement
    sfr_tau: float = 2.2  # what similarities are multiplied with
    sfr_lambda: float = 0.7  # share of the relation of patches
    feedback_threshold: float = 0.25  # a best probability below it makes a pixel query 0's
    same_entity: bool = True  # patches of one label count less the farther apart, unless only that label lies between
    sigma: float = 5.0  # patches, of the smoothing of relations; also of a host's neighbourhood
    logit_scale: float = 40.0  # of the cosines behind the labels; also of deciding
    refine_steps: int = 10  # of PAMR on the map behind the labels
    walk: Walk = "auto"  # how patches between two are found: in whole numbers, or as float32 rounds in the release
    shared: ClassVar[frozenset[str]] = frozenset({"sigma", "logit_scale"})  # one constant with others of that name

    def __post_init__(self) -> None:
        require_finite(self)
        for name in ("rcs_lambda", "sfr_lambda", "feedback_threshold"):
            require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "between 0 and 1")
        for name in ("rcs_tau", "sfr_tau", "sigma", "logit_scale"):
            require(getattr(self, name) > 0, name, getattr(self, name), "above 0")
        require(0 <= self.refine_steps <= 1000, "refine_steps", self.refine_steps, "0 (off) to 1000")
        blocks = bool(self.rcs_blocks) and min(self.rcs_blocks) >= 1
        require(blocks, "rcs_blocks", self.rcs_blocks, "numbers of blocks from 1")
        require(self.walk in ("auto", "whole", "float32"), "walk", self.walk, "auto, whole or float32")

    def on(self, depth: int, reference: bool = False) -> "ResCLIP":
        """The same for a ViT of `depth` blocks.

        The release has blocks 6 to 9 whatever the depth, and so has `reference`; the default has the blocks that lie
        there as a share of the depth. Raises OptionError for a ViT that has too few.
        """
        walk: Walk = ("float32" if reference else "whole") if self.walk == "auto" else self.walk
        if not self.rcs:
            return replace(self, walk=walk)
        blocks = self.rcs_blocks
        if not reference:
            blocks = tuple(max(1, int(number * depth / PUBLISHED_DEPTH + 0.5)) for number in blocks)
        if max(blocks) >= depth:
            what = f"resclip reads block {max(blocks)}, and this CLIP has {depth - 1} before its last"
            raise OptionError(what, "set rcs_blocks=1 or others, or rcs=false")
        return replace(self, rcs_blocks=blocks, walk=walk)


@dataclass(frozen=True)
class Weighted:
    """A weighted sum of operators."""

    parts: tuple[Operator, ...]
    weights: tuple[float, ...]

    @property
    def row_sum(self) -> float:
        """Of every row."""
        return sum(weight * part.row_sum for part, weight in zip(self.parts, self.weights, strict=True))

    def __call__(self, values: Tensor) -> Tensor:
        """(B, h, N, d) -> (B, h, N, d)."""
        first, *others = zip(self.parts, self.weights, strict=True)
        mixed = first[0](values) * first[1]
        for part, weight in others:
            mixed = mixed.add(part(values), alpha=weight)
        return mixed

    def rows(self, index: Sequence[int]) -> Tensor:
        """(B, h, len(index), N)."""
        return sum(part.rows(index) * weight for part, weight in zip(self.parts, self.weights, strict=True))  # type: ignore[return-value]


def cross_correlated(host: Operator, earlier: Sequence[LastBlock], constants: ResCLIP) -> Weighted:
    """RCS (step 5): tau_r ((1 - lambda_r) A + lambda_r A_rcs), A_rcs the mean of softmax(alpha q_b k_b^T)."""
    tau, share = constants.rcs_tau, constants.rcs_lambda
    residual = tuple(Softmax(block.q, block.k, block.scale) for block in earlier)
    each = tau * share / len(residual)
    return Weighted((host, *residual), (tau * (1 - share), *(each for _ in residual)))


def drawn_together(host: Mix, relation: Tensor, constants: ResCLIP) -> Operator:
    """SFR (step 5): every softmax of S becomes one of tau_s ((1 - lambda_s) S + lambda_s M / max M), Omega behind it.

    relation M (B, N, N) with the class token's row and column. Raises OptionError for a host that is no softmax.
    """
    tau, share = constants.sfr_tau, constants.sfr_lambda
    if isinstance(host, Sum):
        return replace(host, parts=tuple(drawn_together(part, relation, constants) for part in host.parts))
    if not isinstance(host, Softmax):
        what = "semantic feedback refinement changes a softmax of queries and keys, which this host does not have"
        raise OptionError(what, "set sfr=false, or take a host such as naclip")
    largest = relation.amax((1, 2), keepdim=True).clamp_min(torch.finfo(relation.dtype).tiny)
    bias = (tau * share * relation / largest)[:, None].to(host.left.dtype)
    return replace(host, scale=host.scale * tau * (1 - share), bias=bias if host.bias is None else bias + host.bias)


def patch_labels(labels: Tensor, grid: tuple[int, int]) -> Tensor:
    """Step 3: the most frequent label of each patch's pixels, the smallest on ties.

    labels (H, W) int64 -> (N,) int64; a remainder of the sides is dropped.
    """
    rows, columns = (side // cells for side, cells in zip(labels.shape, grid, strict=True))
    inside = labels[: rows * grid[0], : columns * grid[1]]
    cells = (
        inside.unflatten(0, (grid[0], rows)).unflatten(2, (grid[1], columns)).transpose(1, 2).flatten(2).flatten(0, 1)
    )
    kinds = int(labels.max()) + 1
    counts = torch.zeros(len(cells), kinds, dtype=torch.int64, device=labels.device)
    counts.scatter_add_(1, cells, torch.ones_like(cells))
    return (counts * kinds - torch.arange(kinds, device=labels.device)).argmax(1)  # no two are equal


def relation(labels: Tensor, grid: tuple[int, int], constants: ResCLIP) -> Tensor:
    """Step 4, M: which patches belong together, from their labels (N,) int64 -> (N, N) float32, rows sum to 1."""
    equal = (labels[:, None] == labels).float()
    if constants.same_entity:
        apart = chebyshev(grid).to(labels.device)
        farthest = max(1, int(apart.max()))
        seen = in_sight(labels, grid, constants.walk)
        equal = torch.where(seen, equal, equal * (-apart.float() / farthest).exp())
    kernel = gaussian(constants.sigma, len(labels)).to(equal)
    smooth = F.conv1d(equal[:, None], kernel[None, None], padding=len(kernel) // 2)[:, 0]
    return smooth / (smooth.sum(1, keepdim=True) + EPSILON)


def gaussian(sigma: float, count: int) -> Tensor:
    """The kernel that smooths rows of relations along the flattened patches: (n_k,) float32, odd, sums to 1."""
    size = min(count, floor(6 * sigma + 1))
    size += size % 2 == 0
    place = torch.arange(size, dtype=torch.float32) - size // 2
    kernel = torch.exp(-(place**2) / (2 * sigma**2))
    return kernel / kernel.sum()


def chebyshev(grid: tuple[int, int]) -> Tensor:
    """d_ij = max(|r_i - r_j|, |c_i - c_j|): (N, N) int64."""
    rows, columns = (torch.arange(side) for side in grid)
    down, across = ((place[:, None] - place).abs() for place in (rows, columns))
    return torch.maximum(down[:, None, :, None], across[None, :, None, :]).reshape(2 * (grid[0] * grid[1],))


def in_sight(labels: Tensor, grid: tuple[int, int], walk: Walk = "whole") -> Tensor:
    """V: from i, the patches at the first d_ij + 1 of m + 1 samples of the way to j carry i's label. (N,) -> (N, N).

    m is the largest distance of the grid, so that a way of length d is seen up to its share d / m only, and V is not
    symmetric, as in the release. Only pairs of equal labels are looked at: others are never in sight of one another
    where it matters, since E is 0 there.
    """
    apart = chebyshev(grid).to(labels.device)
    farthest, columns = int(apart.max()), grid[1]
    seen = labels[:, None] == labels
    first, second = seen.nonzero(as_tuple=True)
    reach = apart[first, second]
    for step in range(1, farthest + 1):
        far = reach >= step
        first, second, reach = first[far], second[far], reach[far]
        if not len(first):
            break
        row, column = (between(side, step, farthest, walk).to(labels.device) for side in grid)
        here = row[first // columns, second // columns] * columns + column[first % columns, second % columns]
        same = labels[here] == labels[first]
        seen[first[~same], second[~same]] = False
        first, second, reach = first[same], second[same], reach[same]
    return seen


def between(side: int, step: int, steps: int, walk: Walk) -> Tensor:
    """Where the way from one place of an axis to another is at t = step / steps, rounded half to even: (side, side).

    In whole numbers; or as the release's float32 has it, where one or two places in a thousand are others.
    """
    place = np.arange(side)
    if walk == "float32":
        width = np.float64(np.float32(1) / np.float32(steps))
        near = step < (steps + 1) // 2
        t = np.float32(width * step) if near else np.float32(1 - width * (steps - step))
        start = (place.astype(np.float32) * (np.float32(1) - t))[:, None]
        return torch.from_numpy(np.rint(start + place.astype(np.float32) * t).astype(np.int64))
    twice = 2 * (place[:, None] * (steps - step) + place * step)
    down, rest = np.divmod(twice + steps, 2 * steps)
    return torch.from_numpy(down - ((rest == 0) & (down % 2 == 1)))

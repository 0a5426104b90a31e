"""Attention as an operator on values: how the last block mixes patches, without ever storing how (spec 2).

An attention is a function from the opened block to a `Mix`. The operators here also answer `rows(index)`: some
rows of the matrix they stand for, from its definition, for pictures and tests.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ..common.products import matmul
from ..common.records import require
from ..errors import OptionError
from .tracing import set_diagonal, traced
from .types import Attention, LastBlock, Mix

BLOCK = 2**20  # floats of a block of rows, which stays in a processor's cache


class Operator(Protocol):
    """A Mix that can also show rows of its matrix, and knows what they sum to."""

    @property
    def row_sum(self) -> float:
        """The sum of every row."""

    def __call__(self, values: Tensor) -> Tensor:
        """(B, h, N, d) -> (B, h, N, d)."""

    def rows(self, index: Sequence[int]) -> Tensor:
        """Rows `index` of the matrix: (B, h, len(index), N); B and h may be 1 where they do not matter."""


@dataclass(frozen=True)
class Identity:
    """Every token keeps its own value (MaskCLIP)."""

    tokens: int
    row_sum: float = 1.0

    def __call__(self, values: Tensor) -> Tensor:
        """Nothing is mixed."""
        return values

    def rows(self, index: Sequence[int]) -> Tensor:
        """Rows of the identity: (1, 1, len(index), N)."""
        return torch.eye(self.tokens)[list(index)][None, None]


@dataclass(frozen=True)
class Softmax:
    """softmax(scale * left right^T + bias), per head, evaluated by a fused kernel that keeps no N x N matrix."""

    left: Tensor  # (B, h, N, d)
    right: Tensor  # (B, h, N, d)
    scale: float
    bias: Tensor | None = None  # (N, N) or (B, 1, N, N), shared by heads
    row_sum: float = 1.0

    def __call__(self, values: Tensor) -> Tensor:
        """(B, h, N, d) -> (B, h, N, d)."""
        return F.scaled_dot_product_attention(self.left, self.right, values, attn_mask=self.bias, scale=self.scale)

    def rows(self, index: Sequence[int]) -> Tensor:
        """(B, h, len(index), N); each sums to 1."""
        index = list(index)
        logits = self.scale * self.left[:, :, index] @ self.right.mT
        return (logits if self.bias is None else logits + self.bias[..., index, :]).softmax(-1)


@dataclass(frozen=True)
class Sum:
    """A plain sum of operators: the rows of SCLIP's two softmaxes add up to 2. `weight` makes it a mean (SFP)."""

    parts: tuple[Operator, ...]
    weight: float = 1.0

    @property
    def row_sum(self) -> float:
        """The number of parts, where each part's rows sum to 1 and the weight is 1."""
        return self.weight * sum(part.row_sum for part in self.parts)

    def __call__(self, values: Tensor) -> Tensor:
        """(B, h, N, d) -> (B, h, N, d)."""
        first, *others = self.parts
        mixed = first(values)
        for part in others:
            mixed = mixed + part(values)
        return mixed if self.weight == 1 else mixed * self.weight

    def rows(self, index: Sequence[int]) -> Tensor:
        """(B, h, len(index), N); each sums to `row_sum`."""
        first, *others = (part.rows(index) for part in self.parts)
        for rows in others:
            first = first + rows  # a matrix shared by heads has one row for all of them
        return first if self.weight == 1 else first * self.weight


@dataclass(frozen=True)
class Shared:
    """One stored matrix for all heads (ProxyCLIP)."""

    weights: Tensor  # (B, N, N), rows sum to 1
    row_sum: float = 1.0

    def __call__(self, values: Tensor) -> Tensor:
        """(B, h, N, d) -> (B, h, N, d): one N x N by N x hd product, no copy per head."""
        heads, _, width = values.shape[1:]
        mixed = matmul(self.weights, values.transpose(1, 2).flatten(2))
        return mixed.unflatten(-1, (heads, width)).transpose(1, 2)

    def rows(self, index: Sequence[int]) -> Tensor:
        """(B, 1, len(index), N)."""
        return self.weights[:, None, list(index)]


def identity(block: LastBlock) -> Identity:
    """MaskCLIP: the values themselves."""
    return Identity(block.v.shape[-2])


def product(pairs: str) -> Attention:
    """Any product of q, k and v as text: "qk" is CLIP's own attention, "qq+kk" SCLIP's (spec 2.2).

    One softmax(alpha a b^T) per pair over all tokens, summed. Raises OptionError for anything else.
    """
    if not re.fullmatch(r"[qkv]{2}(\+[qkv]{2})*", pairs):
        raise OptionError(
            f"attention {pairs!r} is not a product", "write pairs of q, k, v joined by '+', such as 'qq+kk'"
        )

    def attention(block: LastBlock) -> Mix:
        names = (tuple(pair) for pair in pairs.split("+"))
        parts = tuple(Softmax(getattr(block, a), getattr(block, b), block.scale) for a, b in names)
        return parts[0] if len(parts) == 1 else Sum(parts)

    return attention


def neighbourhood_bias(grid: tuple[int, int], sigma: float, has_class_token: bool) -> Tensor:
    """NACLIP's Omega (spec 2.4): exp(-distance^2 / (2 sigma^2)) between patches, zero for the class token.

    (rows, columns) -> (N, N) float32, distances in patches, N with the class token where there is one.
    """

    def axis(length: int) -> Tensor:
        place = torch.arange(length, dtype=torch.float32)
        return torch.exp(-((place[:, None] - place) ** 2) / (2 * sigma**2))

    omega = torch.kron(axis(grid[0]), axis(grid[1]))
    return F.pad(omega, (1, 0, 1, 0)) if has_class_token else omega


@dataclass(frozen=True)
class NACLIP:
    """NACLIP (spec 2.4): softmax(alpha k k^T + Omega)."""

    sigma: float = 5.0  # patches, of the neighbourhood

    def __post_init__(self) -> None:
        require(self.sigma > 0, "sigma", self.sigma, "above 0 patches")

    def __call__(self, block: LastBlock) -> Softmax:
        """The operator of an opened block."""
        bias = neighbourhood_bias(block.grid, self.sigma, block.has_class_token).to(block.k)
        return Softmax(block.k, block.k, block.scale, bias)


def proxy_weights(guide: Tensor, beta: float = 1.2, gamma: float = 3.0, mean: Tensor | None = None) -> Tensor:
    """ProxyCLIP's attention (spec 2.5, steps 2 to 4): features (B, C, H, W) -> (B, N, N) float32, rows sum to 1.

    softmax of gamma (S - beta mean(S)) where that is not negative, S the cosines between patches, the mean taken
    for each sample, unless one is given for all. A patch always sees itself, so that flat pictures, where the release
    gives NaN, stay finite.
    """
    unit = F.normalize(guide.float().flatten(2), dim=1)
    weights = matmul(unit.mT, unit)
    floor = beta * (weights.mean((1, 2), keepdim=True) if mean is None else mean.to(weights).expand(len(weights), 1, 1))
    own = (gamma * (1 - floor[:, :, 0])).clamp_min_(0)
    if traced():
        weights = gamma * (weights - floor)
        return set_diagonal(weights.masked_fill(weights < 0, -torch.inf), own).softmax(-1)
    for sample, low in zip(weights, floor, strict=True):
        for rows in sample.split(max(1, BLOCK // sample.shape[1])):
            rows.sub_(low).mul_(gamma).masked_fill_(rows < 0, -torch.inf)
    set_diagonal(weights, own)
    for sample in weights:
        for rows in sample.split(max(1, BLOCK // sample.shape[1])):
            rows.copy_(rows.softmax(-1))
    return weights


def mean_similarity(guide: Tensor) -> Tensor:
    """(B, C, H, W) -> (B,) float32: the mean cosine of all pairs of patches, |sum of unit features|^2 / N^2."""
    unit = F.normalize(guide.float().flatten(2), dim=1)
    return unit.mean(-1).square().sum(-1)


@dataclass(frozen=True)
class ProxyCLIP:
    """ProxyCLIP (spec 2.5): how alike patches look to a vision model. The block lies on the guide's grid."""

    beta: float = 1.2  # similarities below beta times their mean are masked
    gamma: float = 3.0  # what similarities are multiplied with

    def __post_init__(self) -> None:
        require(self.gamma > 0, "gamma", self.gamma, "above 0")

    def __call__(self, block: LastBlock) -> Shared:
        """The operator of an opened block. Raises OptionError where it has no guide."""
        if block.guide is None:
            raise OptionError("proxyclip needs the features of a vision model", "name one with --vision, such as dino")
        return Shared(proxy_weights(block.guide, self.beta, self.gamma).to(block.v.dtype))

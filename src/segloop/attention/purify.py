"""SFP: self-adaptive feature purifier (ICCV 2025; spec 4), and SC-CLIP from the same parts (spec 2.7).

Its constants as one record, and its steps as functions of tokens: repair outliers from their neighbours, aggregate
what looks alike, and let likeness join the attention.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ..common.records import constant, require_finite
from ..errors import OptionError, nearest
from .operators import Operator, Shared, Sum
from .outliers import BlockAttention, Detection
from .types import Mix

PUBLISHED_DEPTH = 12  # blocks of the ViT-B that SFP's layer choices were made for
EPSILON = 1e-6  # of sums of similarities
CHOICES = {
    "repair": ("once", "each", "none"),
    "isolated": ("auto", "keep", "zero"),
    "integrate": ("states", "enhanced", "attention", "none"),
}


@dataclass(frozen=True)
class Layers:
    """The layers of SFP as numbers of blocks, from 1."""

    similarity: int  # S1
    detail: int  # S2
    states: tuple[int, ...]


@dataclass(frozen=True)
class SFP(Detection):
    """The constants of SFP; defaults are the published ones.

    A layer is a block: a fraction of the depth below 1, or a block's number from 1 (the papers' h[j] is block j+1).
    So every depth of ViT has the layers that the 12 blocks of ViT-B have. Raises OptionError.
    """

    repair: str = constant("once", off="none")  # at the last block but one; "each": at every block (ours, 4.4)
    isolated: str = "auto"  # outliers without a healthy neighbour: "keep", "zero", or what the fidelity does
    similarity_layer: float = 9 / 12  # S1, h[8]
    detail_layer: float = 4 / 12  # S2, h[3]
    state_layers: tuple[float, ...] = tuple(block / 12 for block in range(4, 11))  # h[3] to h[9]; one may come twice
    similarity_threshold: float = 0.4  # similarities below it do not aggregate
    raw_similarity: bool = False  # similarities join the attention before the threshold (SC-CLIP)
    sharpness: float = 3.0  # of similarities in the attention
    class_residual: float = 0.3  # rho: how much of the class token is added to every patch
    integrate: str = constant("states", off="none")  # "enhanced": SC-CLIP; "attention": many layers (ours)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_finite(self)
        for name, allowed in CHOICES.items():
            value = getattr(self, name)
            if value not in allowed:
                raise OptionError(f"unknown {name} {value!r}", nearest(value, allowed))
        if not self.state_layers or min(*self.state_layers, self.similarity_layer, self.detail_layer, 1) <= 0:
            raise OptionError("layers of sfp are above 0", "give fractions of the depth, or numbers of blocks from 1")
        if self.sharpness <= 0:
            raise OptionError(f"sharpness={self.sharpness} is not possible", "it must be above 0")

    @property
    def layers(self) -> Layers:
        """Of a record that is settled `on` a depth."""
        states = tuple(int(layer) for layer in self.state_layers)
        return Layers(int(self.similarity_layer), int(self.detail_layer), states)

    def on(self, depth: int, reference: bool = False) -> "SFP":
        """The same for a ViT of `depth` blocks: every layer a block's number, `isolated` settled.

        `reference` is the release: the layers of 12 blocks also where there are more, zeros for isolated outliers.
        Raises OptionError for a ViT of one block, which has none before its last.
        """
        if depth < 2:
            raise OptionError("sfp needs a CLIP of at least 2 blocks", "take a deeper one, or another method")
        base = min(depth, PUBLISHED_DEPTH) if reference else depth

        def number(layer: float) -> int:
            block = int(layer if layer >= 1 else layer * base + 0.5)
            return min(max(block, 1), depth - 1)

        return replace(
            self,
            similarity_layer=number(self.similarity_layer),
            detail_layer=number(self.detail_layer),
            state_layers=tuple(number(layer) for layer in self.state_layers),
            isolated=("zero" if reference else "keep") if self.isolated == "auto" else self.isolated,
        )


def interpolate(tokens: Tensor, mask: Tensor, grid: tuple[int, int], isolated: str = "keep") -> Tensor:
    """Outliers become the mean of those of their 8 neighbours that are none (spec 4.3): (B, N, D) -> (B, N, D).

    mask (B, N) bool, grid (rows, columns). All means are taken of the tokens as they came. An outlier without such
    a neighbour keeps its value, or becomes zero where `isolated` is "zero", as SFP's release does.
    """
    sample, patch = mask.nonzero(as_tuple=True)
    around = torch.tensor([(r, c) for r in (-1, 0, 1) for c in (-1, 0, 1) if r or c], device=tokens.device)
    rows = (patch // grid[1])[:, None] + around[:, 0]
    columns = (patch % grid[1])[:, None] + around[:, 1]
    inside = (rows >= 0) & (rows < grid[0]) & (columns >= 0) & (columns < grid[1])
    index = (rows * grid[1] + columns).where(inside, patch[:, None])  # an outlier stands for what is outside
    healthy = ~mask[sample[:, None], index]
    found = tokens[sample[:, None], index].to(torch.promote_types(tokens.dtype, torch.float32))
    count = healthy.sum(1, keepdim=True)
    mean = found.masked_fill(~healthy[..., None], 0).sum(1) / count.clamp_min(1)
    lonely = tokens[sample, patch].to(mean) if isolated == "keep" else torch.zeros_like(mean)
    return tokens.index_put((sample, patch), mean.where(count > 0, lonely).to(tokens.dtype))


def similarity(tokens: Tensor) -> Tensor:
    """Cosines between patches: (B, N, D) -> (B, N, N), at least float32."""
    unit = F.normalize(tokens.to(torch.promote_types(tokens.dtype, torch.float32)), dim=-1)
    return unit @ unit.mT


def drop_below(s: Tensor, threshold: float) -> Tensor:
    """Similarities below the threshold become 0: (B, N, N) -> (B, N, N)."""
    return s.masked_fill(s < threshold, 0)


def aggregation(s: Tensor) -> Tensor:
    """The weights of Agg(Z, S) = (S / row sums) Z (spec 4.1, step 6): (B, N, N) -> (B, N, N)."""
    return s / (s.sum(-1, keepdim=True) + EPSILON)


def semantic_weights(s: Tensor, sharpness: float) -> Tensor:
    """M (spec 4.1, step 7): softmax of sharpness (S - mean S) where that is not negative. (B, N, N) -> (B, N, N).

    The mean is each sample's own. A patch always sees itself, so that flat pictures stay finite.
    """
    z = (s - s.mean((1, 2), keepdim=True)).mul_(sharpness)
    own = z.diagonal(dim1=1, dim2=2).clone()
    z.masked_fill_(z < 0, -torch.inf).diagonal(dim1=1, dim2=2).copy_(own)
    return z.softmax(-1)


def enhanced(host: Mix, semantic: Shared) -> Operator:
    """The mean of the host's softmaxes and M: A_j of spec 4.1, step 7. Rows sum to 1."""
    parts: tuple = (host, semantic)
    return Sum(parts, weight=1 / (getattr(host, "row_sum", 1.0) + semantic.row_sum))


def layered_attention(blocks: Iterable[BlockAttention]) -> Tensor:
    """The mean attention from patch to patch over blocks and heads, rows made to sum to 1: (B, N, N).

    segloop's reading of the "multi-layer attention maps" of SFP's abstract, which its release does not use (4.4).
    """
    total = sum(block.between_patches() for block in blocks)
    if not isinstance(total, Tensor):
        raise OptionError("integrate=attention names no layers", "give state_layers")
    return total / total.sum(-1, keepdim=True)

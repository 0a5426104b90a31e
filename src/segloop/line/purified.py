"""SFP as a stage: purified tokens in, likeness in the attention, layers integrated on the way out (spec 4.1).

What `purify.py` does to tokens, applied to one network. It stands on any host: the parts of its attention are those
of the host, and on a guide's grid all that it reads is resampled there, behind detection and repair.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..attention.operators import Operator, Shared
from ..attention.outliers import BlockAttention
from ..attention.purify import (
    SFP,
    aggregation,
    drop_below,
    enhanced,
    interpolate,
    layered_attention,
    semantic_weights,
    similarity,
)
from ..attention.types import LastBlock, Needs, RunBlock, States
from ..backbones.tower import Tower
from ..errors import OptionError
from .stages import Batch, Opened


def states_needed(sfp: SFP, depth: int) -> set[int]:
    """Which blocks' outputs SFP looks at; `sfp` has been settled `on` this depth."""
    layers = sfp.layers
    inputs = {number - 1 for number in layers.states} if sfp.integrate == "attention" else set()
    return {layers.similarity, layers.detail, depth - 2, depth - 1, *layers.states, *inputs}


def outlier_mask(tower: Tower, sfp: SFP, number: int, states: States, grid: tuple[int, int]) -> Tensor:
    """Outliers among the patches that block `number` gives, from these and its own attention: bool (B, N)."""
    stats = block_attention(tower, states[number - 1], number, grid)
    return sfp.mask(states[number][:, tower.first_patch :], stats)


def block_attention(tower: Tower, x: Tensor, number: int, grid: tuple[int, int]) -> BlockAttention:
    """The attention of block `number`, whose input is x (B, 1+N, D)."""
    block = tower.open_block(x, grid, number - 1)
    return BlockAttention(block.q, block.k, block.scale)


@dataclass(frozen=True)
class Purified:
    """SFP, and SC-CLIP by other constants, on the host that stands before it in the line."""

    sfp: SFP  # settled `on` the tower's depth

    def needs(self, depth: int) -> Needs:
        """States of earlier blocks, and with repair="each" every block's output before the next."""
        each = self.sfp.repair == "each"
        return Needs(
            states=frozenset(states_needed(self.sfp, depth)),
            pairs=True,
            around=self._mending if each else None,
            first_block=1 if each else None,
        )

    def __call__(self, opened: Opened) -> Opened:
        """Steps 2 to 10 of spec 4.1. Raises OptionError for a tower without a class token."""
        sfp, tower, states = self.sfp, opened.batch.tower, opened.states
        if not tower.first_patch:
            raise OptionError(f"sfp needs a class token, which {tower.name} does not have", "take another method")
        if tower.first_patch > 1:
            raise OptionError(f"sfp needs one class token, and {tower.name} has more", "take another method")
        x = states[tower.depth - 1]
        seen = (x, states[sfp.layers.similarity], states[sfp.layers.detail])
        tokens, alike, fine = (_patches(tower, y) for y in seen)
        if sfp.repair == "once" and sfp.detector != "none":
            mask = outlier_mask(tower, sfp, tower.depth - 1, states, opened.batch.grid)
            tokens, alike = (interpolate(patches, mask, opened.batch.grid, sfp.isolated) for patches in (tokens, alike))
        tokens, alike, fine = (opened.place(patches) for patches in (tokens, alike, fine))
        raw = similarity(alike)
        kept = drop_below(raw, sfp.similarity_threshold)
        tokens = aggregation(kept).to(tokens.dtype) @ tokens
        shared = Shared(semantic_weights(raw if sfp.raw_similarity else kept, sfp.sharpness).to(tokens.dtype))
        block = _reopened(opened, tokens)
        detail = aggregation(drop_below(similarity(fine), sfp.similarity_threshold)).to(tokens.dtype)
        layers = self._integrated(opened, shared, block)
        integrated = 0 if layers is None else detail @ layers
        host, class_token = opened.attention, sfp.class_residual * x[:, : tower.first_patch]

        def finish(tokens: Tensor) -> Tensor:
            return detail @ (tokens + class_token) + integrated

        return replace(
            opened,
            block=block,
            tokens=tokens,
            attention=lambda block: enhanced(host(block), shared),
            finish=finish,
        )

    def _integrated(self, opened: Opened, shared: Shared, block: LastBlock) -> Tensor | None:
        """H before its aggregation (step 9): (B, N, D), or None where layers are not integrated."""
        sfp, tower, states = self.sfp, opened.batch.tower, opened.states
        if sfp.integrate == "none":
            return None
        if sfp.integrate == "attention":
            maps = (block_attention(tower, states[n - 1], n, opened.batch.grid) for n in sfp.layers.states)
            mix: Operator = Shared(_placed_rows(opened, layered_attention(maps)).to(block.v.dtype))
            total = states[tower.depth - 1]
        else:
            total = torch.stack([states[n] for n in sfp.layers.states]).sum(0)
            block = _reopened(opened, opened.place(_patches(tower, total)))
            mix = enhanced(opened.attention(block), shared) if sfp.integrate == "enhanced" else shared
        class_token = sfp.class_residual * total[:, : tower.first_patch]
        return tower.close_block(mix(block.v), None, mlp=False) + class_token

    def _mending(self, batch: Batch, run: RunBlock) -> RunBlock:
        """With repair="each": outliers of every block's output are repaired before the next sees it.

        segloop's reading of the "mitigator acting at each layer" of SFP's abstract (spec 4.4).
        """
        tower, first = batch.tower, batch.tower.first_patch

        def mended(number: int, before: Tensor) -> Tensor:
            after = run(number, before)
            mask = outlier_mask(tower, self.sfp, number, {number - 1: before, number: after}, batch.grid)
            patches = interpolate(after[:, first:], mask, batch.grid, self.sfp.isolated)
            return torch.cat([after[:, :first], patches], 1)

        return mended


def _patches(tower: Tower, x: Tensor) -> Tensor:
    return x[:, tower.first_patch :]


def _reopened(opened: Opened, tokens: Tensor) -> LastBlock:
    """The last block for other patches (B, N, D) of the working grid, without a class token."""
    block = opened.batch.tower.open_block(tokens, opened.block.grid)
    guide, regions = opened.block.guide, opened.block.regions
    return replace(block, has_class_token=False, x=tokens, guide=guide, regions=regions)


def _placed_rows(opened: Opened, weights: Tensor) -> Tensor:
    """Attention between the tower's patches (B, N, N) on the working grid, rows made to sum to 1 again."""
    if opened.block.grid == opened.batch.grid:
        return weights
    moved = opened.place(opened.place(weights).mT).mT
    return moved / moved.sum(-1, keepdim=True)

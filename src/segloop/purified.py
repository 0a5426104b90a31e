"""SFP around a CLIP's last block: purified tokens in, enhanced attention, layers integrated on the way out (spec 4.1).

What `purify.py` does to tokens, applied to one network. Feedback can sit in the middle: it changes the attention only.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .attention import Operator, Shared
from .backbones.clip import Clip
from .outliers import BlockAttention
from .purify import (
    SFP,
    aggregation,
    drop_below,
    enhanced,
    interpolate,
    layered_attention,
    semantic_weights,
    similarity,
)
from .types import Attention, LastBlock

States = Mapping[int, Tensor]
"""Outputs of blocks by their number, (B, 1+N, D); 0 is the input of block 1."""


@dataclass(frozen=True)
class Purified:
    """The last block, opened on purified patches."""

    block: LastBlock  # without class token
    mix: Operator  # A_j
    tokens: Tensor  # Pt before the block, (B, N, D)
    finish: Callable[[Tensor], Tensor]  # steps 7 to 10 behind W_o: (B, N, D) -> (B, N, D)


def states_needed(sfp: SFP, depth: int) -> set[int]:
    """Which blocks' outputs SFP looks at; `sfp` has been settled `on` this depth."""
    layers = {int(layer) for layer in sfp.state_layers}
    inputs = {layer - 1 for layer in layers} if sfp.integrate == "attention" else set()
    return {int(sfp.similarity_layer), int(sfp.detail_layer), depth - 2, depth - 1, *layers, *inputs}


def outlier_mask(clip: Clip, sfp: SFP, number: int, states: States, grid: tuple[int, int]) -> Tensor:
    """Outliers among the patches that block `number` gives, from these and its own attention: bool (B, N)."""
    stats = block_attention(clip, states[number - 1], number, grid)
    return sfp.mask(states[number][:, 1:], stats)


def block_attention(clip: Clip, x: Tensor, number: int, grid: tuple[int, int]) -> BlockAttention:
    """The attention of block `number`, whose input is x (B, 1+N, D)."""
    block = clip.open_block(x, grid, number - 1)
    return BlockAttention(block.q, block.k, block.scale)


def mend_each(clip: Clip, sfp: SFP | None, grid: tuple[int, int]) -> Callable[[int, Tensor, Tensor], Tensor] | None:
    """With repair="each": what is done to the output of every block before the next, (number, input, output) -> same.

    segloop's reading of the "mitigator acting at each layer" of SFP's abstract (spec 4.4). Otherwise None.
    """
    if sfp is None or sfp.repair != "each":
        return None

    def mend(number: int, before: Tensor, after: Tensor) -> Tensor:
        mask = outlier_mask(clip, sfp, number, {number - 1: before, number: after}, grid)
        patches = interpolate(after[:, 1:], mask, grid, sfp.isolated)
        return torch.cat([after[:, :1], patches], 1)

    return mend


def purify(clip: Clip, sfp: SFP, states: States, grid: tuple[int, int], attention: Attention) -> Purified:
    """Steps 2 to 10 of spec 4.1: `states` holds what `states_needed` names, each (B, 1+N, D).

    `attention` is the per-head part of A_j: qq+kk for SFP, kk for SC-CLIP.
    """
    x = states[clip.depth - 1]
    tokens, alike = x[:, 1:], states[int(sfp.similarity_layer)][:, 1:]
    if sfp.repair == "once" and sfp.detector != "none":
        mask = outlier_mask(clip, sfp, clip.depth - 1, states, grid)
        tokens, alike = (interpolate(patches, mask, grid, sfp.isolated) for patches in (tokens, alike))
    raw = similarity(alike)
    kept = drop_below(raw, sfp.similarity_threshold)
    tokens = aggregation(kept).to(tokens.dtype) @ tokens
    weights = semantic_weights(raw if sfp.raw_similarity else kept, sfp.sharpness)
    shared = Shared(weights.to(tokens.dtype))
    block = replace(clip.open_block(tokens, grid), has_class_token=False)
    mix = enhanced(attention(block), shared)
    detail = similarity(states[int(sfp.detail_layer)][:, 1:])
    detail = aggregation(drop_below(detail, sfp.similarity_threshold)).to(tokens.dtype)
    layers = _integrated(clip, sfp, states, grid, attention, shared, block)
    integrated = 0 if layers is None else detail @ layers

    def finish(tokens: Tensor) -> Tensor:
        return detail @ (tokens + sfp.class_residual * x[:, :1]) + integrated

    return Purified(block, mix, tokens, finish)


def _integrated(
    clip: Clip,
    sfp: SFP,
    states: States,
    grid: tuple[int, int],
    attention: Attention,
    shared: Shared,
    block: LastBlock,
) -> Tensor | None:
    """H before its aggregation (step 9): (B, N, D), or None where layers are not integrated."""
    if sfp.integrate == "none":
        return None
    if sfp.integrate == "attention":
        maps = (block_attention(clip, states[int(n) - 1], int(n), grid) for n in sfp.state_layers)
        mix: Operator = Shared(layered_attention(maps).to(block.v.dtype))
        total = states[clip.depth - 1]
    else:
        total = torch.stack([states[int(n)] for n in sfp.state_layers]).sum(0)
        block = replace(clip.open_block(total[:, 1:], grid), has_class_token=False)
        mix = enhanced(attention(block), shared) if sfp.integrate == "enhanced" else shared
    return clip.close_block(mix(block.v), None, mlp=False) + sfp.class_residual * total[:, :1]

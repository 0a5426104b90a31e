"""CorrCLIP as the specification writes it (2.11): one window, every pair of patches by itself, copies as real tokens.

Slow on purpose, and apart from segloop: only torch, and the modules of a transformers CLIPModel.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from textbook_sfp import open_block

Grid = tuple[int, int]
MARGIN = -1


def near(ids: list[list[int]], size: Grid) -> list[list[int]]:
    rows, columns = len(ids), len(ids[0])
    return [[ids[r * rows // size[0]][c * columns // size[1]] for c in range(size[1])] for r in range(size[0])]


def published(ids: list[list[int]]) -> list[list[int]]:
    """Unsegmented, the lowest id, becomes 0; the margin is a region."""
    named = [[10_000 if one == MARGIN else one for one in row] for row in ids]
    lowest = min(min(row) for row in named)
    return [[0 if one == lowest else one + 20_000 for one in row] for row in named]


def chains(distance: Sequence[Sequence[float]], eps: float) -> list[set[int]]:
    """Groups that chains of neighbours hold together."""
    groups: list[set[int]] = []
    for start in range(len(distance)):
        if any(start in group for group in groups):
            continue
        group, waiting = {start}, [start]
        while waiting:
            here = waiting.pop()
            new = {there for there in range(len(distance)) if distance[here][there] <= eps} - group
            group |= new
            waiting += new
        groups.append(group)
    return groups


def merge(ids: list[list[int]], f: Tensor, eps: float) -> list[list[int]]:
    """f (C, h, w), unit."""
    flat = [one for row in ids for one in row]
    names = sorted({one for one in flat if one > 0})
    if len(names) < 2:
        return ids
    patches = f.flatten(1).T
    z = [torch.stack([p for p, one in zip(patches, flat, strict=True) if one == name]).mean(0) for name in names]
    z = [one / one.norm() for one in z]
    g = [[float(a @ b) for b in z] for a in z]
    most = max(max(row) for row in g)
    renamed = {}
    for number, group in enumerate(chains([[most - value for value in row] for row in g], eps)):
        renamed |= {names[member]: 50_000 + number for member in group}
    return [[renamed.get(one, one) for one in row] for row in ids]


def attention(f: Tensor, ids: list[list[int]], sharpness: float = 4.0) -> Tensor:
    """A (N, N)."""
    patches, flat = f.flatten(1).T, [one for row in ids for one in row]
    s = patches @ patches.T
    inside = [i for i, one in enumerate(flat) if one != MARGIN]
    sigma = s[inside][:, inside].mean()
    rows = []
    for i, own in enumerate(flat):
        row = torch.full((len(flat),), -torch.inf, dtype=s.dtype)
        for j, other in enumerate(flat):
            same = own == other and own > 0
            free = (own <= 0 or other <= 0) and bool(s[i, j] > sigma)
            if i == j or ((same or free) and other != MARGIN):
                row[j] = sharpness * s[i, j]
        rows.append(row.softmax(0))
    return torch.stack(rows)


def copies(model, x: Tensor, ids: list[int], names: list[int]) -> Tensor:
    """Copies run along as tokens of their own behind the ordinary ones x (1+N, D): their ends (R, D)."""
    tokens, count = len(x), len(names)
    x = torch.cat([x, x[:1].expand(count, -1)])
    allowed = torch.zeros(len(x), len(x), dtype=torch.bool)
    allowed[:tokens, :tokens] = True
    for number, name in enumerate(names):
        allowed[tokens + number, 0] = True
        for patch, own in enumerate(ids):
            allowed[tokens + number, 1 + patch] = own == name
    for block in model.vision_model.encoder.layers:
        q, k, v = open_block(block, x)
        weights = (q @ k.mT * q.shape[-1] ** -0.5).masked_fill(~allowed, -torch.inf).softmax(-1)
        x = x + block.self_attn.out_proj((weights @ v).transpose(0, 1).flatten(1))
        x = x + block.mlp(block.layer_norm2(x))
    return x[tokens:]


def window(
    model,
    states: Sequence[Tensor],
    text: Tensor,
    clip_grid: Grid,
    f: Tensor,
    ids: list[list[int]],
    weights: tuple[float, float] = (1.0, 0.5),
    sharpness: float = 4.0,
    blocks: Sequence[int] = (),
) -> Tensor:
    """(N_v, Q). states: input of block 1 and outputs of blocks (1+N, D); f (C, h, w) unit; ids on its grid, merged."""
    tower, depth, grid = model.vision_model, len(model.vision_model.encoder.layers), f.shape[1:]
    a, last = attention(f, ids, sharpness), tower.encoder.layers[-1]
    count = {12: 5, 24: 12, 32: 28}.get(depth, depth - 4)
    blocks = blocks or range(depth - 1 - count, depth - 1)
    spatial = sum(states[number] for number in blocks) / len(blocks)
    sides = []
    for z in (states[depth - 1], spatial):
        v = open_block(last, z)[2][:, 1:].mT.unflatten(-1, clip_grid)
        v = F.interpolate(v, size=grid, mode="bilinear").flatten(2).mT
        sides.append(last.self_attn.out_proj((a @ v).transpose(0, 1).flatten(1)))
    on_clip = near(ids, clip_grid)
    flat = [max(one, 0) for row in on_clip for one in row]
    seen = [one for row in on_clip for one in row]
    names = sorted(set(flat))
    ends = copies(model, states[0], seen, names)
    back = near([[max(one, 0) for one in row] for row in on_clip], grid)
    sides.append(torch.stack([ends[names.index(one)] for row in back for one in row]))
    first, second, third = (tower.post_layernorm(side) for side in sides)
    features = (first + weights[0] * second + weights[1] * third) @ model.visual_projection.weight.T
    return F.normalize(features, dim=-1) @ text.T

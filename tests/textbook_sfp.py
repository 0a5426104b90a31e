"""SFP and SC-CLIP as the specification writes them (4.1 to 4.3, 2.7): one photo, one patch, one neighbour at a time.

Slow on purpose, and apart from segloop: only torch, the modules of a transformers CLIPModel, and block outputs.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Grid = tuple[int, int]


def open_block(block, x: Tensor) -> tuple[Tensor, ...]:
    """(N, D) -> q, k, v (h, N, d)."""
    attention, y = block.self_attn, block.layer_norm1(x)
    maps = (attention.q_proj(y), attention.k_proj(y), attention.v_proj(y))
    return tuple(t.unflatten(-1, (attention.num_heads, -1)).transpose(0, 1) for t in maps)


def softmaxes(a: Tensor, b: Tensor) -> Tensor:
    return (a @ b.mT * a.shape[-1] ** -0.5).softmax(-1)


def mean_attention(block, x: Tensor) -> Tensor:
    """(1+N, 1+N), the mean over heads."""
    q, k, _ = open_block(block, x)
    return softmaxes(q, k).mean(0)


# --- 4.2 ---


def som(patches: Tensor, attention: Tensor, scale: float = 1.5, count: int = 10) -> set[int]:
    salient = {j: scale * attention[0, j + 1] for j in range(len(patches))}
    candidates = [j for j, value in salient.items() if value > attention[j + 1, j + 1]]
    return set(sorted(candidates, key=lambda j: -salient[j])[:count])


def l2(patches: Tensor, attention: Tensor, count: int = 10) -> set[int]:
    return set(sorted(range(len(patches)), key=lambda j: -patches[j].norm())[:count])


def release_lof(patches: Tensor, neighbours: int) -> list[float]:
    distance = [[float((a - b).norm()) ** 2 for b in patches] for a in patches]
    order = [sorted(range(len(row)), key=row.__getitem__)[1 : neighbours + 1] for row in distance]
    kd = [row[near[-1]] for row, near in zip(distance, order, strict=True)]
    density = [len(near) / sum(max(distance[i][n], kd[i]) for n in near) for i, near in enumerate(order)]
    return [sum(density[n] for n in near) / len(near) / density[i] for i, near in enumerate(order)]


def lof(patches: Tensor, attention: Tensor, neighbours: int = 5) -> set[int]:
    scores = torch.tensor(release_lof(patches, neighbours))
    return set((scores > scores.quantile(0.95)).nonzero()[:, 0].tolist())


# --- 4.3 ---


def interpolate(patches: Tensor, outliers: set[int], grid: Grid, zero: bool = False) -> Tensor:
    rows, columns = grid
    repaired = patches.clone()
    for outlier in outliers:
        r, c = divmod(outlier, columns)
        near = [(r + a, c + b) for a in (-1, 0, 1) for b in (-1, 0, 1) if (a, b) != (0, 0)]
        inside = [y * columns + x for y, x in near if 0 <= y < rows and 0 <= x < columns]
        healthy = [n for n in inside if n not in outliers]
        if healthy:
            repaired[outlier] = torch.stack([patches[n] for n in healthy]).mean(0)
        elif zero:
            repaired[outlier] = 0
    return repaired


# --- 4.1 ---


def cosines(patches: Tensor) -> Tensor:
    unit = torch.stack([row / row.norm() for row in patches])
    return unit @ unit.T


def cut(s: Tensor, threshold: float = 0.4) -> Tensor:
    return torch.where(s < threshold, 0, s)


def aggregate(z: Tensor, s: Tensor) -> Tensor:
    return (s / (s.sum(1, keepdim=True) + 1e-6)) @ z


def semantic(s: Tensor) -> Tensor:
    z = 3 * (s - s.mean())
    return torch.where(z < 0, -torch.inf, z).softmax(-1)


def outliers_of(model, states: dict[int, Tensor], number: int, detect: Callable) -> set[int]:
    """Of one photo: block outputs (1+N, D) by number."""
    block = model.vision_model.encoder.layers[number - 1]
    return detect(states[number][1:], mean_attention(block, states[number - 1]))


def photo_logits(
    model,
    states: dict[int, Tensor],
    text: Tensor,
    grid: Grid,
    detect: Callable,
    sc_clip: bool = False,
    layered: bool = False,
    feedback: Callable | None = None,
) -> Tensor:
    """(N, Q) of one 12-block photo. `feedback`: (A (1, h, N, N), v, readout) -> A* V, as textbook.fsa."""
    depth = len(model.vision_model.encoder.layers)
    last = model.vision_model.encoder.layers[-1]
    out_proj = last.self_attn.out_proj
    x, h = states[depth - 1], [states[m] for m in range(1, depth)]
    found = outliers_of(model, states, depth - 1, detect)
    raw = cosines(interpolate(h[8][1:], found, grid))
    s1, s2 = cut(raw), cut(cosines(h[3][1:]))
    patches = aggregate(interpolate(x[1:], found, grid), s1)
    m = semantic(raw if sc_clip else s1)

    def enhanced(q: Tensor, k: Tensor) -> Tensor:
        return (softmaxes(k, k) + m) / 2 if sc_clip else (softmaxes(q, q) + softmaxes(k, k) + m) / 3

    y = sum(h[j] for j in range(3, 10))
    q, k, v = open_block(last, y[1:])
    weights, residual = (enhanced(q, k) if sc_clip else m), y[0]
    if layered:
        maps = sum(mean_attention(model.vision_model.encoder.layers[j], states[j])[1:, 1:] for j in range(3, 10))
        weights, residual, v = maps / maps.sum(-1, keepdim=True), x[0], open_block(last, patches)[2]
    integrated = aggregate(out_proj((weights @ v).transpose(0, 1).flatten(1)) + 0.3 * residual, s2)

    def readout(mixed: Tensor) -> Tensor:
        tokens = out_proj(mixed.transpose(0, 1).flatten(1)) + 0.3 * x[0]
        tokens = aggregate(tokens, s2) + integrated
        return F.normalize(model.visual_projection(model.vision_model.post_layernorm(tokens)), dim=-1) @ text.T

    q, k, v = open_block(last, patches)
    host = enhanced(q, k)
    if feedback:
        return readout(feedback(host[None], v[None], lambda mixed: readout(mixed[0])[None])[0])
    return readout(host @ v)

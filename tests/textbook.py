"""Hosts and FSA as the specification writes them (2.1 to 2.5, 3.1, 3.6): every matrix stored, every row sorted whole.

Slow on purpose, and apart from segloop: only torch, and the modules of a transformers CLIPModel.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

EPSILON = 1e-10
TERMS = ("new_old", "old_new", "new")
HOSTS = {  # pairs, residual, MLP
    "clip": ("qk", True, True),
    "maskclip": ("", False, False),
    "sclip": ("qq+kk", True, True),
    "clearclip": ("qq", False, False),
    "naclip": ("kk", False, False),
}


# --- feedback: (B, N, Q) -> (B, N, N) ---


def kl(p: Tensor) -> Tensor:
    """sum_c P_ic (log P_ic - log P_jc), as a tensor (B, N, N, Q)."""
    log_p = (p + EPSILON).log()
    return (p[:, :, None] * (log_p[:, :, None] - log_p[:, None])).sum(-1)


def symmetric(p: Tensor) -> Tensor:
    return (kl(p) + kl(p).mT) / 2


def hellinger(p: Tensor) -> Tensor:
    return ((p.sqrt()[:, :, None] - p.sqrt()[:, None]) ** 2).sum(-1) / 2


def jensen_shannon(p: Tensor) -> Tensor:
    one, other = torch.broadcast_tensors(p[:, :, None], p[:, None])
    middle = (one + other) / 2

    def from_middle(q: Tensor) -> Tensor:
        return (q * ((q + EPSILON).log() - (middle + EPSILON).log())).sum(-1)

    return (from_middle(one) + from_middle(other)) / 2


DIVERGENCES = {"kl": kl, "symmetric": symmetric, "hellinger": hellinger, "js": jensen_shannon}


def similarity(p: Tensor, divergence: str = "kl") -> Tensor:
    return 1 / (1 + DIVERGENCES[divergence](p).clamp_min(0))


def keep_by_sort(s: Tensor, mass: float = 0.45) -> Tensor:
    """Sort, add up, cut, put back (spec 3.1, step 6)."""
    weights, order = s.softmax(-1).sort(-1, descending=True)
    kept = weights.cumsum(-1) <= mass
    kept[..., 0] = True
    return torch.zeros_like(kept).scatter(-1, order, kept)


def keep_by_ties(s: Tensor, mass: float = 0.45) -> Tensor:
    """The rule that keeps equal entries together (spec 3.3), entry by entry."""
    w = s.softmax(-1)
    larger = (w[..., None, :] * (s[..., None, :] > s[..., :, None])).sum(-1)
    return (larger + w <= mass) | (s == s.amax(-1, keepdim=True))


def keep_by_bisection(s: Tensor, mass: float = 0.45, steps: int = 60) -> Tensor:
    """The smallest threshold whose entries weigh at most `mass` (spec 3.5)."""
    w = s.softmax(-1)
    low, high = torch.zeros_like(s[..., :1]), torch.ones_like(s[..., :1])
    for _ in range(steps):
        middle = (low + high) / 2
        fits = (w * (s >= middle)).sum(-1, keepdim=True) <= mass
        low, high = torch.where(fits, low, middle), torch.where(fits, middle, high)
    return (s >= high) | (s == s.amax(-1, keepdim=True))


def sharpen(s: Tensor, keep: Tensor, lambda_: float = 3.0) -> Tensor:
    return (s * torch.exp(lambda_ * s)).masked_fill(~keep, -torch.inf).softmax(-1)


def new_attention(p: Tensor, lambda_: float = 3.0, mass: float = 0.45, divergence: str = "kl") -> Tensor:
    """A+ (B, N, N)."""
    s = similarity(p, divergence)
    return sharpen(s, keep_by_sort(s, mass), lambda_)


def fsa(
    host: Tensor,
    values: Tensor,
    readout: Callable[[Tensor], Tensor],
    *,
    class_token: bool = False,
    rounds: int = 1,
    isolation: bool = True,
    terms: tuple[str, ...] = TERMS,
    rho: float | None = None,
    scales: tuple[float, float] = (20, 35),
    **constants,
) -> Tensor:
    """A* V: stored host (B, h, N, N), values (B, h, N, d) -> (B, h, N, d); readout sees patches only."""
    first = int(class_token)
    uniform = torch.full_like(host, 1 / host.shape[-1])
    third = host.sum(-1, keepdim=True) if rho is None else rho
    mixed = host @ values
    for _ in range(rounds):
        delta = scales[0] * readout(mixed[:, :, first:])
        if isolation:
            delta = delta - scales[1] * readout((uniform @ values)[:, :, first:])
        new = F.pad(new_attention(delta.softmax(-1), **constants), (first, 0, first, 0))
        if class_token:
            new[:, 0, 0] = 1
        new = new[:, None].expand_as(host)
        parts = {"new_old": new @ host, "old_new": host @ new, "new": third * new}
        mixed = sum(parts[term] for term in terms) / len(terms) @ values
    return mixed


# --- hosts, as matrices ---


def products(q: Tensor, k: Tensor, v: Tensor, pairs: str, bias: Tensor | float = 0.0) -> Tensor:
    """A (B, h, N, N): the sum of softmax(alpha a b^T + bias) over pairs such as "qq+kk"; "" is the identity."""
    tokens = {"q": q, "k": k, "v": v}
    if not pairs:
        return torch.eye(v.shape[-2], dtype=v.dtype).expand(*v.shape[:2], -1, -1)
    maps = [tokens[a] @ tokens[b].mT * v.shape[-1] ** -0.5 + bias for a, b in pairs.split("+")]
    return sum(weights.softmax(-1) for weights in maps)


def neighbourhood(grid: tuple[int, int], sigma: float = 5.0) -> Tensor:
    """Omega (1+N, 1+N), zero for the class token."""
    rows, columns = torch.meshgrid(*(torch.arange(side, dtype=torch.float64) for side in grid), indexing="ij")
    place = torch.stack([rows.flatten(), columns.flatten()], -1)
    return F.pad(torch.exp(-(torch.cdist(place, place) ** 2) / (2 * sigma**2)), (1, 0, 1, 0))


def proxy(features: Tensor, beta: float = 1.2, gamma: float = 3.0) -> Tensor:
    """ProxyCLIP's A: (B, C, H, W) -> (B, N, N), one picture at a time, a patch always seeing itself (spec 2.5)."""
    maps = []
    for picture in features.flatten(2):
        unit = picture / picture.norm(dim=0).clamp_min(1e-12)
        cosines = unit.T @ unit
        scaled = gamma * (cosines - beta * cosines.mean())
        unseen = (scaled < 0) & ~torch.eye(len(scaled), dtype=torch.bool)
        maps.append(scaled.masked_fill(unseen, -torch.inf).softmax(-1))
    return torch.stack(maps)


# --- a whole model ---


def logits(
    model,
    pixels: Tensor,
    text: Tensor,
    host: str,
    *,
    features: Tensor | None = None,
    feedback: bool = True,
    layers: int = 1,
    **constants,
) -> Tensor:
    """Cosines (B, Q, rows, columns) of a CLIPModel on pixels of its own size.

    `host` is a row of HOSTS, a product, or "proxyclip", which looks at `features` (B, C, H, W). With `layers` above
    1, feedback reaches blocks before the last as well, in their own query-key attention.
    """
    vision = model.vision_model
    x = vision.pre_layrnorm(vision.embeddings(pixels))
    side = round((x.shape[1] - 1) ** 0.5)
    for block in vision.encoder.layers[:-layers]:
        x = _block(model, block, x, text, "qk", (True, True), (side, side), feedback=False)
    for block in vision.encoder.layers[-layers:-1]:
        x = _block(model, block, x, text, "qk", (True, True), (side, side), feedback, **constants)
    last = vision.encoder.layers[-1]
    if host == "proxyclip":
        return _on_guide_grid(model, last, x, text, features, feedback, **constants)
    pairs, *around = HOSTS.get(host, (host, False, False))
    naclip = {"bias": neighbourhood((side, side)).to(x)} if host == "naclip" else {}
    tokens = _block(model, last, x, text, pairs, tuple(around), (side, side), feedback, **naclip, **constants)
    return _cosines(model, tokens[:, 1:], text).mT.unflatten(-1, (side, side))


def _cosines(model, tokens: Tensor, text: Tensor) -> Tensor:
    return F.normalize(model.visual_projection(model.vision_model.post_layernorm(tokens)), dim=-1) @ text.T


def _open(block, x: Tensor) -> tuple[Tensor, ...]:
    attention, y = block.self_attn, block.layer_norm1(x)
    maps = (attention.q_proj(y), attention.k_proj(y), attention.v_proj(y))
    return tuple(t.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2) for t in maps)


def _close(block, mixed: Tensor, x: Tensor, around: tuple[bool, bool]) -> Tensor:
    residual, mlp = around
    tokens = block.self_attn.out_proj(mixed.transpose(1, 2).flatten(2))
    tokens = x + tokens if residual else tokens
    return tokens + block.mlp(block.layer_norm2(tokens)) if mlp else tokens


def _block(
    model,
    block,
    x: Tensor,
    text: Tensor,
    pairs: str,
    around: tuple[bool, bool],
    grid: tuple[int, int],
    feedback: bool,
    bias: Tensor | float = 0.0,
    **constants,
) -> Tensor:
    """(B, 1+N, D) -> (B, 1+N, D) with feedback in its attention, or without."""
    q, k, v = _open(block, x)
    host = products(q, k, v, pairs, bias)

    def readout(mixed: Tensor) -> Tensor:
        return _cosines(model, _close(block, mixed, x[:, 1:], around), text)

    mixed = fsa(host, v, readout, class_token=True, **constants) if feedback else host @ v
    return _close(block, mixed, x, around)


def _on_guide_grid(
    model, block, x: Tensor, text: Tensor, features: Tensor, feedback: bool, beta=1.2, gamma=3.0, **constants
) -> Tensor:
    """ProxyCLIP: values without the class token, resampled to the guide's grid, one matrix for all heads."""
    v = _open(block, x)[2][:, :, 1:]
    heads, (rows, columns) = v.shape[1], features.shape[-2:]
    side = round(v.shape[2] ** 0.5)
    maps = v.mT.flatten(1, 2).unflatten(-1, (side, side))
    maps = F.interpolate(maps, size=(rows, columns), mode="bilinear", align_corners=False)
    values = maps.flatten(2).unflatten(1, (heads, -1)).mT
    host = proxy(features, beta, gamma)[:, None].expand(-1, heads, -1, -1)

    def readout(mixed: Tensor) -> Tensor:
        return _cosines(model, _close(block, mixed, x, (False, False)), text)

    mixed = fsa(host, values, readout, **constants) if feedback else host @ values
    return readout(mixed).mT.unflatten(-1, (rows, columns))


def entropy_by_winner(scores):
    """Class values (C, ...) -> for each class the entropies of the pixels that it wins (spec 2.14), pixel by pixel."""
    found = [[] for _ in scores]
    for values in scores.flatten(1).T.tolist():
        winner = values.index(max(values))
        found[winner].append(-sum(p * math.log(p + 1e-10) for p in values))
    return found


def best_vote(maps):
    """Probabilities of every expert, the average last, (Q+1, Q, ...) -> (Q, ...), pixel by pixel (spec 2.14)."""
    *experts, average = maps.flatten(2)
    fused = average.clone()
    for pixel in range(fused.shape[1]):
        votes = {q: one[q, pixel].item() for q, one in enumerate(experts) if one[:, pixel].argmax().item() == q}
        if votes:
            fused[:, pixel] = experts[max(votes, key=votes.get)][:, pixel]
    return fused.view_as(maps[-1])

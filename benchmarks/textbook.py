"""The published pipeline of FSA on ProxyCLIP with DINO, written down plainly, for benchmarks to compare with.

One window at a time, float32, every attention matrix stored, one copy of the guide's matrix for each head, an N x N x Q
tensor in feedback, every map at full size. From the specification (0.3, 1.2 to 1.4, 2.5, 3.1), not from anyone's code.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from segloop.backbones.vision import renormalise
from segloop.images import normalise, resize_uint8

PAD = 56  # pixels: windows are brought to multiples of it
SCALE, THRESHOLD = 40.0, 0.20  # of VOC21


def heads_of(tokens: Tensor, count: int) -> Tensor:
    """(B, N, D) -> (B, h, N, d)."""
    return tokens.unflatten(-1, (count, -1)).transpose(1, 2)


def mixed(weights: Tensor, values: Tensor) -> Tensor:
    """Stored weights (B, h, N, N), values (B, h, N, d) -> (B, N, D)."""
    return (weights @ values).transpose(1, 2).flatten(2)


def stored_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(d)) v with its matrix in memory: (B, h, N, d) -> (B, N, D)."""
    return mixed((q @ k.mT * q.shape[-1] ** -0.5).softmax(-1), v)


def clip_input(model: Any, pixels: Tensor) -> Tensor:
    """All blocks of CLIP but the last: (1, 3, H, W) -> X (1, 1 + N, D)."""
    vision = model.vision_model
    x = vision.pre_layrnorm(vision.embeddings(pixels, interpolate_pos_encoding=True))
    for layer in vision.encoder.layers[:-1]:
        own, y = layer.self_attn, layer.layer_norm1(x)
        q, k, v = (heads_of(project(y), own.num_heads) for project in (own.q_proj, own.k_proj, own.v_proj))
        x = x + own.out_proj(stored_attention(q, k, v))
        x = x + layer.mlp(layer.layer_norm2(x))
    return x


def guide_features(model: Any, pixels: Tensor) -> Tensor:
    """DINO's patches behind the final norm: CLIP-normalised (1, 3, H, W) -> (1, C, H', W')."""
    x = model.embeddings(renormalise(pixels), interpolate_pos_encoding=True)
    for layer in model.layers:
        own, y = layer.attention, layer.layernorm_before(x)
        q, k, v = (heads_of(project(y), own.num_attention_heads) for project in (own.q_proj, own.k_proj, own.v_proj))
        x = x + own.o_proj(stored_attention(q, k, v))
        x = x + layer.mlp(layer.layernorm_after(x))
    patch = int(model.config.patch_size)
    return model.layernorm(x)[:, 1:].mT.unflatten(-1, (pixels.shape[-2] // patch, pixels.shape[-1] // patch))


def proxy_matrix(features: Tensor) -> Tensor:
    """Spec 2.5, steps 2 to 4: (1, C, H', W') -> (N, N)."""
    unit = F.normalize(features[0].flatten(1), dim=0)
    alike = unit.T @ unit
    alike = 3.0 * (alike - 1.2 * alike.mean())
    return alike.masked_fill(alike < 0, -torch.inf).softmax(-1)


def feedback(attention: Tensor, delta: Tensor) -> Tensor:
    """Spec 3.1 from step 3 on: stored A (1, h, N, N), isolated scores (N, Q) -> A* (1, h, N, N)."""
    p = delta.softmax(-1)
    log_p = (p + 1e-10).log()
    divergence = (p[:, None] * (log_p[:, None] - log_p[None])).sum(-1).clamp_min(0)  # N x N x Q
    s = 1 / (1 + divergence)
    order = s.sort(-1, descending=True)
    keep = s.softmax(-1).gather(-1, order.indices).cumsum(-1) <= 0.45
    keep[:, 0] = True
    mask = torch.zeros_like(keep).scatter(-1, order.indices, keep)
    new = (s * (3 * s).exp()).masked_fill(~mask, -torch.inf).softmax(-1).expand_as(attention)
    return (new @ attention + attention @ new + new) / 3


@dataclass(frozen=True)
class Textbook:
    """Frozen transformers models, and text rows (Q, E)."""

    clip: Any
    dino: Any
    text: Tensor
    fed: bool = True

    @torch.no_grad()
    def window(self, pixels: Tensor) -> Tensor:
        """CLIP-normalised (1, 3, H, W) -> cosines (1, Q, h, w) on the guide's grid."""
        vision = self.clip.vision_model
        last, features = vision.encoder.layers[-1], guide_features(self.dino, pixels)
        grid = (features.shape[-2], features.shape[-1])
        patch = int(vision.config.patch_size)
        y = last.self_attn.v_proj(last.layer_norm1(clip_input(self.clip, pixels)))[:, 1:]
        values = y.mT.unflatten(-1, (pixels.shape[-2] // patch, pixels.shape[-1] // patch))
        values = F.interpolate(values, size=grid, mode="bilinear").flatten(2).mT
        values = heads_of(values, last.self_attn.num_heads)
        attention = proxy_matrix(features).expand(1, last.self_attn.num_heads, -1, -1).contiguous()  # a copy a head
        cosines = self._read(mixed(attention, values))
        if self.fed:
            count = values.shape[2]
            uniform = torch.ones(count, count).softmax(-1).expand_as(attention)
            delta = 20 * cosines[0] - 35 * self._read(mixed(uniform, values))[0]
            cosines = self._read(mixed(feedback(attention, delta), values))
        return cosines.mT.unflatten(-1, grid)

    def _read(self, tokens: Tensor) -> Tensor:
        vision = self.clip.vision_model
        out = vision.encoder.layers[-1].self_attn.out_proj(tokens)
        features = self.clip.visual_projection(vision.post_layernorm(out))
        return F.normalize(features, dim=-1) @ self.text.T

    @torch.no_grad()
    def labels(self, image: np.ndarray, size: tuple[int, int], crop: int, stride: int) -> Tensor:
        """A photo (H0, W0, 3) uint8 -> labels (H0, W0): windows one after the other, every map at full size."""
        pixels = torch.from_numpy(normalise(resize_uint8(image, size)))[None]
        total, count = torch.zeros(1, len(self.text), *size), torch.zeros(1, 1, *size)
        for top in starts(size[0], crop, stride):
            for left in starts(size[1], crop, stride):
                place = (..., slice(top, top + crop), slice(left, left + crop))
                total[place] += F.interpolate(self.window(pixels[place]), size=(crop, crop), mode="bilinear")
                count[place] += 1
        full = F.interpolate(total / count, size=image.shape[:2], mode="bilinear")[0]
        best, labels = (full * SCALE).softmax(0).max(0)
        return labels.masked_fill(best < THRESHOLD, 0)


def starts(length: int, crop: int, stride: int) -> list[int]:
    """Where windows begin along one axis; the last is pushed back inside."""
    assert crop % PAD == 0 and length >= crop, "windows of this benchmark need no padding"
    return [
        min(at, length - crop) for at in range(0, max(1, length - crop + stride), stride) if at - stride < length - crop
    ]

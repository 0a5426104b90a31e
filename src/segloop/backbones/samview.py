"""SAM as a second look at a whole photo: how its last attention joins patches, and masks for prompts (spec 2.12, 5.6).

Through transformers' own modules. Blocks that attend globally are run by rows, so that no heads x 4096 x 4096 numbers
are ever held, of which the library makes several.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial, reduce
from hashlib import blake2b
from math import lcm
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..attention.affinity import Trident, affinity
from ..common.fitting import fitted, next_multiple
from ..errors import ModelError, nearest
from ..images import IMAGENET, normalise, resize_smoothly, resize_uint8
from .finite import sound, unsound
from .loading import load_weights, read_config, resolve
from .models import GUIDES

BLOCK = {"cpu": 2**22}  # floats of all heads' rows at once: on a CPU 16 MiB
LARGE_BLOCK = 2**26  # floats, elsewhere
TOGETHER = 16  # prompts in the decoder at once, of about 30 MiB each
RECENT = 8  # views that are kept, of about 20 MiB each: as many photos as go together
TRAINED = 1e-5  # epsilon of the decoder's layer norms, which the library has as 1e-6

Answer = tuple[Tensor, Callable[[Tensor], Tensor]]
"""Quality of masks (R,), and for a selection (k,) of them the greatest logit at every pixel of the photo, (H0, W0)."""

Prompted = Callable[[Tensor, Tensor, Tensor], Answer]
"""Points (R, 2), boxes (R, 4) and a mask (m, m) -> masks."""


@dataclass(frozen=True)
class Frame:
    """A photo as SAM is given it: fit into the upper left of a square."""

    pixels: Tensor  # (1, 3, side, side) float32, normalised; zeros to the right and below
    inside: tuple[int, int]  # (height, width) of the photo in it
    resized: tuple[int, int]  # (height, width) that it was made of
    photo: tuple[int, int]  # (H0, W0)

    def greatest(self, maps: Tensor) -> Tensor:
        """(R, h, w) over the whole square -> (H0, W0), the greatest of all: up, cut, back (spec 5.6.6)."""
        return reduce(torch.maximum, (self._back(one[None, None]) for one in maps))

    def _back(self, map_: Tensor) -> Tensor:
        whole = F.interpolate(map_, size=self.pixels.shape[-2:], mode="bilinear")
        cut = whole[..., : self.inside[0], : self.inside[1]]
        resized = F.interpolate(cut, size=self.resized, mode="bilinear")
        return F.interpolate(resized, size=self.photo, mode="bilinear")[0, 0]


@dataclass(frozen=True)
class Heads:
    """A global attention, opened: softmax(left right^T) on values, each (h, N, .)."""

    left: Tensor
    right: Tensor
    values: Tensor

    def rows(self, part: slice | Tensor) -> Tensor:
        """(h, r, N), each row sums to 1."""
        return (self.left[:, part] @ self.right.mT).softmax(-1)

    def mixed(self) -> Tensor:
        """(h, N, d)."""
        heads, count, _ = self.values.shape
        step = max(1, BLOCK.get(self.values.device.type, LARGE_BLOCK) // (heads * count))
        parts = (slice(start, start + step) for start in range(0, count, step))
        return torch.cat([self.rows(part) @ self.values for part in parts], 1)


@dataclass(frozen=True)
class View:
    """What SAM's encoder made of a frame before its last block."""

    sam: "Sam"
    frame: Frame
    x: Tensor  # (1, g, g, D)

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of the patches that lie whole in the photo, at least one."""
        patch = self.sam.patch
        return max(1, self.frame.inside[0] // patch), max(1, self.frame.inside[1] // patch)

    def affinity(self, constants: Trident) -> Tensor:
        """How patches of `grid` belong together: (N, N) float32, rows sum to 1 (spec 2.12.4)."""
        side = self.x.shape[1]
        heads = self.sam.opened(self.sam.layers[-1], self.x)
        (rows, columns), device = self.grid, self.x.device
        inside = (torch.arange(rows, device=device)[:, None] * side + torch.arange(columns, device=device)).flatten()
        whole = Heads(heads.left.float(), heads.right.float(), heads.values.float())
        # the softmax is over all patches, those beside the photo too; only then are they left out
        return affinity(lambda part: whole.rows(inside[part])[..., inside], whole.values[:, inside], constants)

    @cached_property
    def embedding(self) -> Tensor:
        """Behind the neck: (1, C, g, g)."""
        return self.sam.model.vision_encoder.neck(self.sam.through(self.sam.layers[-1], self.x))

    @torch.no_grad()
    def masks(self, points: Tensor, boxes: Tensor, mask: Tensor, norm: str) -> tuple[Tensor, Tensor]:
        """Masks for prompts (spec 5.6.3 to 5): logits (R, m, m) over the square, and their predicted quality (R,).

        Points (R, 2) and boxes (R, 4) are in pixels of the square, x first. The mask prompt (m, m) is shared by all;
        `norm` says what its embedding is normalised over: "rows", as in the release, or "channels", as SAM was trained.
        """
        model, device = self.sam.model, self.x.device
        dense = _dense(model.prompt_encoder.mask_embed, mask.to(model.prompt_encoder.no_mask_embed.weight), norm)
        found = []
        for some, own in zip(points.split(TOGETHER), boxes.split(TOGETHER), strict=True):
            labels = torch.ones(1, len(some), 1, dtype=torch.int64, device=device)
            sparse, _ = model.prompt_encoder(some.to(device)[None, :, None], labels, own.to(device)[None], None)
            masks, quality = model.mask_decoder(
                image_embeddings=self.embedding.to(dense.dtype),
                image_positional_embeddings=model.get_image_wide_positional_embeddings(),
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=False,
            )
            found.append((masks[0, :, 0].float(), quality[0, :, 0].float()))
        logits, quality = (torch.cat(parts) for parts in zip(*found, strict=True))
        return logits, quality

    def prompted(self, points: Tensor, boxes: Tensor, mask: Tensor, norm: str) -> Answer:
        """`masks`, brought back to the photo where they are asked for."""
        logits, quality = self.masks(points, boxes, mask, norm)
        return quality, lambda chosen: self.frame.greatest(logits[chosen])


@dataclass(frozen=True)
class Sam:
    """A frozen SAM, encoder and decoder. No call remembers another, unless it is told to keep recent views."""

    model: Any
    name: str  # short name, hub id or folder, as the user gave it
    dtype: torch.dtype
    multiple: int = 1  # pixels: photos' sides are raised to multiples of it first, those of CLIP's patch
    recent: dict[bytes, View] | None = field(default=None, repr=False, compare=False)  # where a photo is seen twice

    @property
    def side(self) -> int:
        """Of the square that photos are fit into, in pixels."""
        return int(self.model.config.vision_config.image_size)

    @property
    def patch(self) -> int:
        """Side of a patch in pixels."""
        return int(self.model.config.vision_config.patch_size)

    @property
    def layers(self) -> Any:
        """Blocks of the encoder."""
        return self.model.vision_encoder.layers

    @property
    def mask_side(self) -> int:
        """Of the square that mask prompts lie in."""
        return 4 * self.side // self.patch

    def frame(self, image: np.ndarray) -> Frame:
        """(H0, W0, 3) uint8 RGB -> its frame (spec 2.12.1)."""
        return next(self.frames(image, 1))

    def frames(self, image: np.ndarray, parts: int) -> Iterator[Frame]:
        """The same for a photo that is cut into so many equal parts, side by side."""
        height, width = image.shape[:2]
        resized = next_multiple(height, self.multiple), next_multiple(width, lcm(self.multiple, parts))
        whole = resize_uint8(image, resized)
        for part in np.split(whole, parts, 1):
            size = part.shape[0], part.shape[1]
            inside = fitted(*size, self.side)
            pixels = torch.from_numpy(normalise(resize_smoothly(part, inside), IMAGENET))
            square = F.pad(pixels, (0, self.side - inside[1], 0, self.side - inside[0]))
            yield Frame(square[None], inside, size, (height, width))

    def look(self, frame: Frame) -> View:
        """The encoder up to its last block. Raises ModelError where the network gives no numbers."""
        if self.recent is None:
            return self._seen(frame)
        key = blake2b(frame.pixels.numpy().data, digest_size=16).digest()
        view = self.recent.get(key) or self._seen(frame)
        self.recent[key] = view
        for old in list(self.recent)[:-RECENT]:
            self.recent.pop(old, None)
        return view

    @torch.no_grad()
    def _seen(self, frame: Frame) -> View:
        encoder = self.model.vision_encoder
        x = encoder.patch_embed(frame.pixels.to(next(encoder.parameters())))
        if encoder.pos_embed is not None:
            x = x + encoder.pos_embed
        for layer in self.layers[:-1]:
            x = self.through(layer, x)
        if not sound(x.abs().amax(), x):
            raise unsound(self.name, self.model.state_dict(), self.dtype)
        return View(self, frame, x)

    def through(self, layer: Any, x: Tensor) -> Tensor:
        """A block: (1, g, g, D) -> same. Those with windows are the library's own."""
        if layer.window_size:
            return layer(x)
        mixed = self.opened(layer, x).mixed()  # (h, N, d)
        x = x + layer.attn.proj(mixed.transpose(0, 1).flatten(1)).view_as(x)
        return x + layer.mlp(layer.layer_norm2(x))

    def opened(self, layer: Any, x: Tensor) -> Heads:
        """The attention of a global block for its input (1, g, g, D).

        Relative positions are a product, too: of what each query gives to a row or a column with that of the key.
        """
        attend, side = layer.attn, x.shape[1]
        packed = attend.qkv(layer.layer_norm1(x)).view(side * side, 3, attend.num_attention_heads, -1)
        q, k, v = packed.permute(1, 2, 0, 3)
        left, right = [q * attend.scale], [k]
        if attend.use_rel_pos:
            places = q.unflatten(1, (side, side))
            down, across = (attend.get_rel_pos(side, side, table) for table in (attend.rel_pos_h, attend.rel_pos_w))
            left.append(torch.einsum("hyxc,ykc->hyxk", places, down).flatten(1, 2))
            left.append(torch.einsum("hyxc,xkc->hyxk", places, across).flatten(1, 2))
            own = torch.eye(side, dtype=x.dtype, device=x.device)
            ends = own.repeat_interleave(side, 0), own.repeat(side, 1)
            right += [end.expand(len(k), -1, -1) for end in ends]
        return Heads(torch.cat(left, -1), torch.cat(right, -1), v)

    def prompted(self, image: np.ndarray, norm: str) -> Prompted:
        """Masks for prompts in a photo (H0, W0, 3), to be asked again and again; see `View.masks`."""
        return partial(self.look(self.frame(image)).prompted, norm=norm)


def _dense(embed: Any, mask: Tensor, norm: str) -> Tensor:
    """A mask prompt (m, m) as the decoder adds it to the photo: (1, C, g, g)."""
    x = embed.activation(_normed(embed.layer_norm1, embed.conv1(mask[None, None]), norm))
    x = embed.activation(_normed(embed.layer_norm2, embed.conv2(x), norm))
    return embed.conv3(x)


def _normed(layer: nn.LayerNorm, x: Tensor, norm: str) -> Tensor:
    """(1, C, H, W), normalised over channels, or over rows: the release's map has no batch axis (spec 5.6.4)."""
    over = 1 if norm == "channels" else 2
    centred = x - x.mean(over, keepdim=True)
    unit = centred / (centred.square().mean(over, keepdim=True) + layer.eps).sqrt()
    return unit * layer.weight[:, None, None] + layer.bias[:, None, None]


def load_sam(name: str, device: torch.device, dtype: torch.dtype, offline: bool = False) -> Sam:
    """Open a whole SAM by short name, hub id or folder: the encoder in `dtype`, prompts and masks in float32.

    Raises ModelError for what cannot be had or is no SAM.
    """
    import transformers

    folder = resolve(_hub_id(name), offline, guide=True)
    config = read_config(folder)
    if config.get("model_type") != "sam":
        what = f"model {name!r} is of type {config.get('model_type')!r}, not a SAM"
        raise ModelError(
            what, "give sam, facebook/sam-vit-huge or another folder of SAM, the first version, for affinity"
        )
    model: Any = load_weights(transformers.SamModel, folder, offline)
    for layer in model.mask_decoder.transformer.layers.modules():
        if isinstance(layer, nn.LayerNorm):
            layer.eps = TRAINED
    model.to(device)
    model.vision_encoder.to(dtype)
    return Sam(model, name, dtype)


def _hub_id(name: str) -> str:
    """The hub id behind a short name; anything else as given. Raises ModelError for an unknown word."""
    sams = {short: row.hub for short, row in GUIDES.items() if row.kind == "sam"}
    if name in sams:
        return sams[name]
    if "/" not in name and not Path(name).expanduser().exists():
        raise ModelError(f"unknown model {name!r} for affinity", f"{nearest(name, sams)}, or give a hub id or a folder")
    return name

"""Vision models that guide proxy attention: DINO, DINOv2, DINOv3, SAM, MAE (spec 2.5), RADIO. A new one is a row here.

Every guide takes windows as the pipeline has them for its CLIP, and answers with a map of features.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ModelError, OptionError, UserError, nearest
from ..images import CLIP, IMAGENET, Normalisation
from .finite import sound, unsound
from .folders import entries
from .kinds import no_guide
from .loading import library_class, load_weights, read_config, resolve
from .mae import load_timm
from .models import GUIDES, MODELS
from .positions import PositionRule, resample_positions

Fidelity = Literal["default", "reference"]


@dataclass(frozen=True)
class Guide:
    """A frozen vision model in `dtype`. Nothing is hooked or changed inside it; no call remembers another."""

    model: Any  # None for a function of the user's own
    name: str  # short name, hub id or folder, as the user gave it
    adapter: "Adapter"
    dtype: torch.dtype
    fidelity: Fidelity = "default"
    feature: str = "tokens"  # DINO also has q, k, v and q+k
    engine: Callable[[Tensor], Tensor] | None = None  # what runs the adapter's `encode` instead of torch

    @property
    def kind(self) -> str:
        """dino, dinov2, dinov3, sam, mae or radio; own for a function of the user's."""
        return self.adapter.kind

    @property
    def multiple(self) -> int:
        """Windows with sides that are multiples of it lose no margin: a patch; 1 where every window is resized."""
        return 1 if self.adapter.resizes else int(self.model.config.patch_size)

    @torch.no_grad()
    def __call__(self, pixels: Tensor, crop: int = 0, given: Normalisation = CLIP) -> Tensor:
        """Windows (B, 3, H, W), normalised as `given` -> features (B, C, Hv, Wv) float32 on the same device.

        The grid is one of whole patches; a remainder is dropped. `crop` matters to MAE only, which resizes every
        window to crop x crop (0: the window's own size). SAM's grid is 64 x 64 whatever the window.
        Raises UserError for windows smaller than a patch, ModelError where the network gives no numbers.
        """
        with _convolutions(self.fidelity):
            features = self.adapter.features(self, renormalise(pixels, given), crop).float()
        if len(features) and not sound(features.abs().amax(), features):
            raise unsound(self.name, self.model.state_dict(), self.dtype)
        return features

    def encode(self, x: Tensor) -> Tensor:
        """Embedded tokens (B, N, D) through all blocks: what its feature is made of, (B, N, C)."""
        if self.engine:
            return self.engine(x)
        assert self.adapter.encode is not None
        return self.adapter.encode(self.model, self.feature, x)

    def grid(self, pixels: Tensor) -> tuple[int, int]:
        """(rows, columns) of whole patches in (B, 3, H, W). Raises UserError where there are none."""
        patch = int(self.model.config.patch_size)
        height, width = pixels.shape[-2:]
        if min(height, width) < patch:
            remedy = "give larger windows, or another vision model"
            raise UserError(f"{height}x{width} pixels hold no patch of {patch} for {self.name}", remedy)
        return height // patch, width // patch


@dataclass(frozen=True)
class Adapter:
    """How one type of model is opened and asked."""

    kind: str
    load: Callable[[str, dict[str, Any], bool], Any]  # (resolved name, its config, offline) -> frozen float32 model
    features: Callable[
        [Guide, Tensor, int], Tensor
    ]  # (guide, ImageNet-normalised (B, 3, H, W), crop) -> (B, C, Hv, Wv)
    choices: tuple[str, ...] = ("tokens",)
    resizes: bool = False  # the whole window fills its grid, whatever the window's sides
    encode: Callable[[Any, str, Tensor], Tensor] | None = None  # (model, feature, tokens): what an engine can run


def renormalise(pixels: Tensor, given: Normalisation = CLIP) -> Tensor:
    """(B, 3, H, W) normalised as `given` -> by ImageNet's mean and deviation, SAM's too: one affine map per channel.

    Float32. Zero padding becomes the mean colour of CLIP, not zero (spec 2.5).
    """
    own_mean, own_std, mean, std = (
        torch.tensor(numbers, device=pixels.device)[:, None, None]
        for numbers in (given.mean, given.std, IMAGENET.mean, IMAGENET.std)
    )
    return pixels.float() * (own_std / std) + (own_mean - mean) / std


def _vit_features(guide: Guide, pixels: Tensor, rule: PositionRule) -> Tensor:
    """A plain ViT, block by block: positions by our own rules, tokens in order, q, k, v or q+k of the last block.

    Not the library's forward: its positions are not the published ones, and its MAE shuffles the tokens.
    """
    grid, parts = guide.grid(pixels), guide.model.embeddings
    patches = parts.patch_embeddings.projection(pixels.to(guide.dtype)).flatten(2).mT
    table = resample_positions(parts.position_embeddings[0], grid, rule).to(patches)
    x = torch.cat([parts.cls_token.expand(patches.shape[0], -1, -1), patches], 1) + table
    return _as_map(guide.encode(x)[:, 1:], grid)


def _vit_blocks(model: Any, feature: str, x: Tensor) -> Tensor:
    last = model.layers[-1]
    for block in model.layers[:-1]:
        x = block(x)
    if feature == "tokens":
        return model.layernorm(last(x))
    y = last.layernorm_before(x)
    return reduce(torch.add, (getattr(last.attention, f"{name}_proj")(y) for name in feature.split("+")))


def _dino(guide: Guide, pixels: Tensor, crop: int) -> Tensor:
    return _vit_features(guide, pixels, "dino" if guide.fidelity == "reference" else "exact")


def _mae(guide: Guide, pixels: Tensor, crop: int) -> Tensor:
    patch = int(guide.model.config.patch_size)
    height, width = (crop, crop) if crop else pixels.shape[-2:]
    if guide.fidelity == "default":  # the releases drop the remainder, and with it a margin of the window
        height, width = (-(-side // patch) * patch for side in (height, width))
    return _vit_features(guide, F.interpolate(pixels, size=(height, width), mode="bilinear"), "exact")


def _dinov2(guide: Guide, pixels: Tensor, crop: int) -> Tensor:
    """DINOv2 and DINOv3 by the library, whose positions are right: final norm, class and register tokens dropped."""
    grid = guide.grid(pixels)
    first = 1 + getattr(guide.model.config, "num_register_tokens", 0)
    pixels = pixels.to(guide.dtype)
    if guide.engine:
        tokens = guide.encode(guide.model.embeddings(pixels))
    else:
        tokens = guide.model(pixel_values=pixels).last_hidden_state
    return _as_map(tokens[:, first:], grid)


def _dinov2_blocks(model: Any, feature: str, x: Tensor) -> Tensor:
    for block in model.encoder.layer:
        x = block(x)
    return model.layernorm(x)


def _radio(guide: Guide, pixels: Tensor, crop: int) -> Tensor:
    """RADIO by the library, which gives pixels the mean and deviation of its own; class and register tokens dropped."""
    model, (rows, columns) = guide.model, guide.grid(pixels)
    patch = int(model.config.patch_size)
    mean, std = (
        torch.tensor(numbers, device=pixels.device)[:, None, None] for numbers in (IMAGENET.mean, IMAGENET.std)
    )
    levels = (pixels * std + mean)[..., : rows * patch, : columns * patch]  # of what it was trained on, 0 to 1
    own = model.input_conditioner(levels).to(guide.dtype)
    tokens = model.encoder(model.embeddings(own)).last_hidden_state
    return _as_map(tokens[:, model.config.num_summary_tokens :], (rows, columns))


def _sam(guide: Guide, pixels: Tensor, crop: int) -> Tensor:
    """After the neck. One window at a time: each needs heads x 4096 x 4096 numbers in its global blocks."""
    side = guide.model.config.image_size
    maps = []
    for window in pixels.split(1):
        resized = F.interpolate(window, size=(side, side), mode="bilinear")
        maps.append(guide.model(pixel_values=resized.to(guide.dtype)).last_hidden_state)
    return torch.cat(maps)


def _as_map(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """(B, N, C) -> (B, C, rows, columns)."""
    return tokens.mT.unflatten(-1, grid)


def _loader(model_class: str, *spare: str) -> Callable[[str, dict[str, Any], bool], Any]:
    """Opens a class of the library; weights that begin with one of `spare` may be missing."""

    def load(name: str, config: dict[str, Any], offline: bool) -> Any:
        return load_weights(library_class(model_class), name, offline, spare)

    return load


def _convolutions(fidelity: Fidelity) -> AbstractContextManager[None]:
    """Full float32 in convolutions for `reference`; GPUs round them to TF32 unless told not to."""
    if fidelity == "default":
        return nullcontext()
    return torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled, allow_tf32=False)


TIMM = "timm_wrapper"  # what the library calls a config in timm's style, which has no model_type
UNTRAINED = "embeddings.mask_token"  # only training reads it
ADAPTERS: dict[str, Adapter] = {
    "vit": Adapter("dino", _loader("ViTModel", "pooler."), _dino, ("tokens", "q", "k", "v", "q+k"), encode=_vit_blocks),
    "dinov2": Adapter("dinov2", _loader("Dinov2Model", UNTRAINED), _dinov2, encode=_dinov2_blocks),
    "dinov2_with_registers": Adapter(
        "dinov2", _loader("Dinov2WithRegistersModel", UNTRAINED), _dinov2, encode=_dinov2_blocks
    ),
    "dinov3_vit": Adapter("dinov3", _loader("DINOv3ViTModel", UNTRAINED), _dinov2),
    "sam": Adapter("sam", _loader("SamVisionModel"), _sam, resizes=True),
    "vit_mae": Adapter("mae", _loader("ViTMAEModel"), _mae, resizes=True, encode=_vit_blocks),
    "radio": Adapter("radio", _loader("RadioModel"), _radio),
    TIMM: Adapter("mae", load_timm, _mae, resizes=True, encode=_vit_blocks),
}
"""By the model_type of a folder's config. Short names of single models are in `models.GUIDES`."""


def load_guide(
    name: str,
    device: torch.device,
    dtype: torch.dtype,
    fidelity: Fidelity = "default",
    feature: str = "tokens",
    offline: bool = False,
) -> Guide:
    """Open a vision model.

    Args:
        name: a short name of GUIDES, a hub id or a local folder; its kind is read from its config.
        device: where the model goes; windows must come from there.
        dtype: what the model computes in; `reference` is float32 whatever is asked.
        fidelity: "reference" has DINO's published positions and MAE's dropped remainder.
        feature: "tokens" (after the final norm); for DINO also "q", "k", "v" or "q+k" of the last block.
        offline: never ask the hub.

    Raises ModelError for what cannot be had or is no such model, OptionError for a feature that it does not have.
    """
    folder = resolve(_hub_id(name), offline, guide=True)
    config = read_config(folder)
    kind = config.get("model_type") or (TIMM if "architecture" in config else None)
    if kind not in ADAPTERS:
        kinds = ", ".join(dict.fromkeys(adapter.kind for adapter in ADAPTERS.values()))
        raise no_guide(name, config, entries(Path(folder)), kinds)
    adapter = ADAPTERS[kind]
    if feature not in adapter.choices:
        what = f"{adapter.kind} has no feature {feature!r}"
        raise OptionError(what, f"set vision_feature to {' or '.join(adapter.choices)}")
    dtype = torch.float32 if fidelity == "reference" else dtype
    model = adapter.load(folder, config, offline).to(device, dtype)
    return Guide(model, name, adapter, dtype, fidelity, feature)


def _hub_id(name: str) -> str:
    """The hub id behind a short name; anything else as given. Raises ModelError for an unknown word."""
    if name in GUIDES:
        return GUIDES[name].hub
    if "/" not in name and name not in MODELS and not Path(name).expanduser().exists():
        remedy = f"{nearest(name, GUIDES)}, or give a hub id or a local folder"
        raise ModelError(f"unknown vision model {name!r}", remedy)
    return name

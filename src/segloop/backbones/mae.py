"""The MAE of the releases: timm's file of the pretraining encoder, read into a plain ViT without timm (spec 2.5)."""

import math
import re
from typing import Any

import torch
from torch import Tensor

from ..errors import ModelError
from .loading import load_tensors, require_weights
from .products import with_products

HEADS = {"tiny": 3, "small": 6, "base": 12, "large": 16, "huge": 16}  # timm's vit_*; its files do not say it
OUTSIDE = {  # timm's names -> those of transformers' ViTModel
    "cls_token": "embeddings.cls_token",
    "pos_embed": "embeddings.position_embeddings",
    "patch_embed.proj.weight": "embeddings.patch_embeddings.projection.weight",
    "patch_embed.proj.bias": "embeddings.patch_embeddings.projection.bias",
    "norm.weight": "layernorm.weight",
    "norm.bias": "layernorm.bias",
}
INSIDE = {
    "norm1": "layernorm_before",
    "attn.proj": "attention.o_proj",
    "norm2": "layernorm_after",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}
UNUSED = ("head.", "fc_norm.", "decoder", "mask_token")


def load_timm(name: str, config: dict[str, Any], offline: bool) -> torch.nn.Module:
    """A MAE encoder in timm's file of a `vit_*` -> a frozen transformers ViTModel in float32, without pooler.

    Takes a resolved name and its config.json in timm's style. Raises ModelError for another architecture, for weights
    other than MAE's where the config names them, and for missing or unknown tensors.
    """
    tag = config.get("pretrained_cfg", {}).get("tag") or "mae"
    architecture = str(config.get("architecture"))
    if not architecture.startswith("vit_") or not tag.startswith("mae"):
        what = f"model {name!r} is timm's {architecture} with weights {tag!r}, not a MAE encoder"
        raise ModelError(what, "give timm/vit_base_patch16_224.mae or a transformers folder")
    from transformers import ViTConfig, ViTModel

    tensors = load_tensors(name, offline)
    require_weights(name, {"pos_embed", "patch_embed.proj.weight", "blocks.0.mlp.fc1.weight"} - tensors.keys())
    weights = _renamed(name, tensors)
    with torch.device("meta"):  # every weight is put in below
        model = ViTModel(ViTConfig(**_sizes(name, config, tensors)), add_pooling_layer=False)
    require_weights(name, model.state_dict().keys() - weights.keys())
    try:
        model.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        raise ModelError(f"model {name!r} holds weights that do not fit together", "fetch it again") from error
    return with_products(model.eval().requires_grad_(False))


def _sizes(name: str, config: dict[str, Any], tensors: dict[str, Tensor]) -> dict[str, Any]:
    """The settings of a ViTConfig, from the shapes of the weights."""
    width, _, patch, _ = tensors["patch_embed.proj.weight"].shape
    size = config["architecture"].split("_")[1]
    heads = config.get("model_args", {}).get("num_heads") or HEADS.get(size, width // 64)
    base = math.isqrt(tensors["pos_embed"].shape[1])
    if tensors["pos_embed"].shape[1] != base * base + 1 or not heads or width % heads:
        what = f"model {name!r} has {tensors['pos_embed'].shape[1]} positions and {heads} heads of {width} channels"
        raise ModelError(what, "give a ViT with a class token, such as timm/vit_base_patch16_224.mae")
    return {
        "hidden_size": width,
        "num_hidden_layers": 1 + max(int(key.split(".")[1]) for key in tensors if key.startswith("blocks.")),
        "num_attention_heads": heads,
        "intermediate_size": len(tensors["blocks.0.mlp.fc1.weight"]),
        "image_size": base * patch,
        "patch_size": patch,
        "layer_norm_eps": 1e-6,  # timm's
    }


def _renamed(name: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        block = re.fullmatch(r"blocks\.(\d+)\.(.+)\.(weight|bias)", key)
        number, part, leaf = block.groups() if block else ("", "", "")
        if part == "attn.qkv":  # rows [0, D) are q, then k, then v (spec 0.2)
            for letter, rows in zip("qkv", tensor.chunk(3), strict=True):
                weights[f"layers.{number}.attention.{letter}_proj.{leaf}"] = rows
        elif part in INSIDE:
            weights[f"layers.{number}.{INSIDE[part]}.{leaf}"] = tensor
        elif key in OUTSIDE:
            weights[OUTSIDE[key]] = tensor
        elif not key.startswith(UNUSED):
            what = f"model {name!r} has weights that a plain ViT has not, such as {key}"
            raise ModelError(what, "give timm/vit_base_patch16_224.mae or a transformers folder")
    return weights

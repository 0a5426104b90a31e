"""Reduced networks with random weights, in local folders: CLIPs that keep what matters of the true ones, and guides."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
import transformers
from torch import Tensor
from transformers import (
    CLIPConfig,
    Dinov2Config,
    Dinov2WithRegistersConfig,
    DINOv3ViTConfig,
    RadioConfig,
    Sam2Config,
    SamConfig,
    ViTConfig,
    ViTMAEConfig,
)

VIT = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3}
SAM = {
    "vision_config": {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 64,
        "patch_size": 16,
        "window_size": 3,
        "global_attn_indexes": [1],
        "output_channels": 8,
        "num_pos_feats": 4,
        "mlp_dim": 32,
    },
    "prompt_encoder_config": {"hidden_size": 8, "image_size": 64, "image_embedding_size": 4, "mask_input_channels": 4},
    "mask_decoder_config": {
        "hidden_size": 8,
        "num_attention_heads": 2,
        "num_hidden_layers": 1,
        "mlp_dim": 16,
        "iou_head_hidden_dim": 8,
    },
}
SAM2 = {
    "vision_config": {
        "backbone_config": {
            "model_type": "sam2_hiera_det_model",
            "hidden_size": 8,
            "image_size": [64, 64],
            "window_positional_embedding_background_size": [4, 4],
            "blocks_per_stage": [1, 1, 2, 1],
            "embed_dim_per_stage": [8, 16, 24, 32],
            "num_attention_heads_per_stage": [1, 2, 2, 2],
            "window_size_per_stage": [8, 4, 4, 4],
            "global_attention_blocks": [3],
            "mlp_ratio": 2.0,
        },
        "backbone_channel_list": [32, 24, 16, 8],
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        "fpn_hidden_size": 8,
    },
    "prompt_encoder_config": {"hidden_size": 8, "image_size": 64, "patch_size": 16, "mask_input_channels": 4},
    "mask_decoder_config": SAM["mask_decoder_config"],
}
GUIDES = {
    "dino": ("ViTModel", ViTConfig(**VIT, intermediate_size=48, image_size=32, patch_size=8)),
    "dino-b16": ("ViTModel", ViTConfig(**VIT, intermediate_size=48, image_size=64, patch_size=16)),
    "dinov2": (
        "Dinov2WithRegistersModel",
        Dinov2WithRegistersConfig(**VIT, mlp_ratio=2, image_size=70, patch_size=14, num_register_tokens=4),
    ),
    "dinov2-plain": ("Dinov2Model", Dinov2Config(**VIT, mlp_ratio=2, image_size=70, patch_size=14)),
    "dinov3": (
        "DINOv3ViTModel",
        DINOv3ViTConfig(**VIT, intermediate_size=48, image_size=64, patch_size=16, num_register_tokens=4),
    ),
    "sam": ("SamModel", SamConfig(**SAM)),
    "mae": (
        "ViTMAEModel",
        ViTMAEConfig(**VIT, intermediate_size=48, image_size=64, patch_size=16, mask_ratio=0.0, layer_norm_eps=1e-6),
    ),
    "radio": (
        "RadioModel",
        RadioConfig(**VIT, mlp_ratio=2.0, max_img_size=96, patch_size=16, num_cls_tokens=3, num_registers=4),
    ),
}
MASKERS = {"sam": ("SamModel", SamConfig(**SAM)), "sam2": ("Sam2Model", Sam2Config(**SAM2))}
WIDTH = 64  # of the joint embedding
BACKBONES = {  # patch, width of a head, activation as in the true ones; pixels as in nothing
    "b16": {"patch_size": 16, "hidden_size": 128, "hidden_act": "quick_gelu", "image_size": 112},
    "l14": {"patch_size": 14, "hidden_size": 128, "hidden_act": "quick_gelu", "image_size": 84},
    "h14": {"patch_size": 14, "hidden_size": 160, "hidden_act": "gelu", "image_size": 84},
}


def guide_model(name: str):
    """A guide of the library, random but the same each time."""
    model_class, config = GUIDES[name]
    return _random(getattr(transformers, model_class)(config), lambda shape: 0.3, seed=len(name))


def masker_model(name: str):
    """A SAM or SAM 2 of 64 pixels, random but the same each time; its logits are large, so that masks are stable."""
    model_class, config = MASKERS[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)  # of the position embedding, too, which is no parameter of SAM 2
        model = getattr(transformers, model_class)(config).eval().requires_grad_(False)
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=parameter[0].numel() ** -0.5)
    for head in model.mask_decoder.output_hypernetworks_mlps:
        head.proj_out.weight.mul_(16)
    return model


def clip_model(name: str):
    """A CLIP of two heads and three blocks; weights so large that its attention is neither flat nor one-hot."""
    towers = {"intermediate_size": 64, "num_attention_heads": 2, "projection_dim": WIDTH}
    words = towers | {"hidden_size": 16, "num_hidden_layers": 1, "vocab_size": 4, "bos_token_id": 0, "eos_token_id": 1}
    eyes = towers | {"num_hidden_layers": 3} | BACKBONES[name]
    config = CLIPConfig(text_config=words, vision_config=eyes, projection_dim=WIDTH)
    model = _random(transformers.CLIPModel(config), lambda shape: 1.5 * shape[1:].numel() ** -0.5, seed=1)
    table = model.vision_model.embeddings.position_embedding.weight
    table.copy_(0.5 * torch.randn(table.shape, generator=torch.Generator().manual_seed(2)))
    return model


def _random(model, spread: Callable[[torch.Size], float], seed: int):
    model = model.eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.copy_(spread(parameter.shape) * torch.randn(parameter.shape, generator=generator))
    return model


@cache
def masker_folder(root: Path, name: str) -> Path:
    """A folder below `root` with one of MASKERS, written once."""
    masker_model(name).save_pretrained(root / f"masker-{name}")
    return root / f"masker-{name}"


@cache
def folder(root: Path, name: str) -> Path:
    """A folder below `root` with one of BACKBONES or GUIDES, written once."""
    (clip_model if name in BACKBONES else guide_model)(name).save_pretrained(root / name)
    return root / name


def pixels(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def text_rows(queries: int, width: int = WIDTH) -> Tensor:
    """Unit rows (Q, E)."""
    return torch.nn.functional.normalize(pixels(queries, width, seed=queries), dim=-1)

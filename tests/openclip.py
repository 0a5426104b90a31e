"""Folders as OpenCLIP's repositories have them, made of a CLIP of transformers."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

SAFE, OLD = "open_clip_model.safetensors", "open_clip_pytorch_model.bin"
PARTS = {"self_attn.out_proj": "attn.out_proj", "layer_norm1": "ln_1", "layer_norm2": "ln_2"}
PARTS |= {"mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}


def state(model: Any) -> dict[str, Tensor]:
    """The weights of a CLIPModel by OpenCLIP's names."""
    eyes, words = model.vision_model, model.text_model
    found = {
        "visual.class_embedding": eyes.embeddings.class_embedding,
        "visual.positional_embedding": eyes.embeddings.position_embedding.weight,
        "visual.conv1.weight": eyes.embeddings.patch_embedding.weight,
        "visual.proj": model.visual_projection.weight.T,
        "positional_embedding": words.embeddings.position_embedding.weight,
        "token_embedding.weight": words.embeddings.token_embedding.weight,
        "text_projection": model.text_projection.weight.T,
        "logit_scale": model.logit_scale,
    }
    norms = {"visual.ln_pre": eyes.pre_layrnorm, "visual.ln_post": eyes.post_layernorm}
    for name, norm in {**norms, "ln_final": words.final_layer_norm}.items():
        found |= {f"{name}.weight": norm.weight, f"{name}.bias": norm.bias}
    for start, tower in (("visual.transformer", eyes), ("transformer", words)):
        for number, block in enumerate(tower.encoder.layers):
            place, attention = f"{start}.resblocks.{number}.", block.self_attn
            three = (attention.q_proj, attention.k_proj, attention.v_proj)
            for leaf in ("weight", "bias"):
                found[f"{place}attn.in_proj_{leaf}"] = torch.cat([getattr(one, leaf) for one in three])
                for own, theirs in PARTS.items():
                    found[f"{place}{theirs}.{leaf}"] = getattr(block.get_submodule(own), leaf)
    return {key: weight.detach().clone().contiguous() for key, weight in found.items()}


def config(model: Any, **more: Any) -> dict[str, Any]:
    """What open_clip_config.json says of such a CLIP."""
    eyes, words = model.config.vision_config, model.config.text_config
    vision = {"image_size": eyes.image_size, "patch_size": eyes.patch_size, "width": eyes.hidden_size}
    vision |= {"layers": eyes.num_hidden_layers, "head_width": eyes.hidden_size // eyes.num_attention_heads}
    vision |= {"mlp_ratio": eyes.intermediate_size / eyes.hidden_size}
    text = {"context_length": words.max_position_embeddings, "vocab_size": words.vocab_size}
    text |= {"width": words.hidden_size, "heads": words.num_attention_heads, "layers": words.num_hidden_layers}
    text |= {"mlp_ratio": words.intermediate_size / words.hidden_size}
    quick = {"quick_gelu": True} if eyes.hidden_act == "quick_gelu" else {}
    return {"embed_dim": model.config.projection_dim, **quick, "vision_cfg": vision, "text_cfg": text, **more}


def write(folder: Path, model: Any, weights: dict[str, Tensor] | None = None, file: str = SAFE, **more: Any) -> Path:
    """A folder with OpenCLIP's two files."""
    folder.mkdir(exist_ok=True)
    kept = state(model) if weights is None else weights
    (save_file if file.endswith(".safetensors") else torch.save)(kept, folder / file)
    pixels = {"mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711]}
    told = {"model_cfg": config(model, **more), "preprocess_cfg": pixels}
    (folder / "open_clip_config.json").write_text(json.dumps(told))
    return folder

"""CLIPs in OpenCLIP's files, LAION's and MetaCLIP's among them: their weights under the names of transformers.

`open_clip_config.json` says how such a CLIP is built. A plain one is a transformers CLIPModel with other names for its
parts, and becomes one; whatever else OpenCLIP builds is refused by the name of what makes it another.
"""

import re
from typing import Any

import torch
from torch import Tensor

from ..errors import ModelError
from ..images import CLIP, Normalisation
from .clip import Clip, clip_class
from .folders import again, like
from .kept import OPENCLIP_WEIGHTS
from .loading import load_tensors, require_weights
from .pixels import channels, normalisation_of
from .products import with_products
from .tower import Source

EPSILON = 1e-5  # of all layer norms
HEAD_WIDTH, MLP_RATIO = 64, 4.0  # where a config does not say
READ = {  # options that are read here, and such as make no other network of a plain CLIP, whatever they say
    "model_cfg": {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu", "custom_text", "init_logit_scale"},
    "vision_cfg": {"image_size", "layers", "width", "head_width", "mlp_ratio", "patch_size"}
    | {"patch_dropout", "output_tokens", "attn_pooler_queries", "attn_pooler_heads"}
    | {"timm_model_pretrained", "timm_pool", "timm_proj"},
    "text_cfg": {"context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio"}
    | {"pad_id", "eos_id", "output_tokens", "hf_model_pretrained", "hf_proj_type", "hf_pooler_type"},
}
USUAL = {"pool_type": ("tok", "argmax"), "pos_embed_type": ("learnable",), "proj_type": ("linear",)}
"""Any other option may only be empty, as it is unless told otherwise, or one of these."""

OUTSIDE = {  # OpenCLIP's names -> those of a CLIPModel
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.ln_pre.weight": "vision_model.pre_layrnorm.weight",
    "visual.ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "visual.ln_post.weight": "vision_model.post_layernorm.weight",
    "visual.ln_post.bias": "vision_model.post_layernorm.bias",
    "visual.proj": "visual_projection.weight",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
    "text_projection": "text_projection.weight",
    "logit_scale": "logit_scale",
}
TURNED = ("visual.proj", "text_projection")  # (from, to), where a linear layer has (to, from)
BLOCK = re.compile(
    r"(?P<tower>visual\.)?transformer\.resblocks\.(?P<number>\d+)\.(?P<part>.+?)[._](?P<leaf>weight|bias)"
)
INSIDE = {
    "ln_1": "layer_norm1",
    "attn.out_proj": "self_attn.out_proj",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
UNUSED = ("attn_mask",)  # made anew by the library


def open_openclip(source: Source) -> Clip:
    """A folder with open_clip_config.json and OpenCLIP's weights -> its tower, a transformers CLIPModel.

    Raises ModelError for a CLIP that is built otherwise, and for weights that are missing, too many or of other shapes.
    """
    name = source.name
    config = clip_config(name, source.config)
    weights = renamed(name, load_tensors(source.folder, source.offline, OPENCLIP_WEIGHTS))
    with torch.device("meta"):  # every weight is put in below
        model = clip_class()(config)
    wanted = {key: weight.shape for key, weight in model.state_dict().items()}
    require_weights(name, (theirs(key) for key in wanted.keys() - weights.keys()))
    for key in sorted(weights):
        if key not in wanted:
            what = f"model {name!r} has weights that its open_clip_config.json does not, such as {theirs(key)}"
            raise ModelError(what, f"give the weights and the config of one model, or {like(name)}")
        if weights[key].shape != wanted[key]:
            shapes = f"{tuple(weights[key].shape)}, not {tuple(wanted[key])}"
            what = f"the weight {theirs(key)} of model {name!r} is of another shape than its config, {shapes}"
            raise ModelError(what, again(name))
    model.load_state_dict(weights, assign=True, strict=False)  # numbers of positions are no weights
    _count_positions(model)
    with_products(model.eval().requires_grad_(False)).to(source.device)
    model.vision_model.to(source.dtype)
    model.visual_projection.to(source.dtype)
    said = source.config.get("preprocess_cfg")
    pixels = _normalisation(name, said) if said else normalisation_of(source.folder)
    return Clip(model, name, source.folder, source.device, source.dtype, source.positions, pixels)


def clip_config(name: str, config: dict[str, Any]) -> Any:
    """OpenCLIP's config -> a transformers CLIPConfig. Raises ModelError for what is no plain CLIP."""
    try:
        given = config["model_cfg"]
        parts = {"model_cfg": given, "vision_cfg": given["vision_cfg"], "text_cfg": given["text_cfg"]}
        odd = _odd(parts)
        made = None if odd else _config(*parts.values())
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
        lost = f"{error}" if isinstance(error, KeyError) else "a number"
        what = f"the open_clip_config.json of model {name!r} does not say how its CLIP is built, {lost} is missing"
        raise ModelError(what, f"{again(name)}, or give {like(name)}") from None
    if odd:
        what = f"model {name!r} is no plain CLIP: its open_clip_config.json has {odd}"
        raise ModelError(what, f"give a plain ViT, such as {like(name)}")
    return made


def _odd(parts: dict[str, dict[str, Any]]) -> str | None:
    """The first option that makes another network than a CLIPModel, and where it stands."""
    for place, part in parts.items():
        for option, value in part.items():
            known = option in READ[place] and (option in parts or not isinstance(value, list))  # layers of a ResNet
            if value and not known and value not in USUAL.get(option, ()):
                return f"{option} in {place}"
    return None


def _config(given: dict[str, Any], vision: dict[str, Any], text: dict[str, Any]) -> Any:
    from transformers import CLIPConfig

    width, act = int(given["embed_dim"]), "quick_gelu" if given.get("quick_gelu") else "gelu"
    both = {"hidden_act": act, "layer_norm_eps": EPSILON, "projection_dim": width}
    heads = int(vision["width"]) // int(vision.get("head_width", HEAD_WIDTH))
    eyes = both | _sizes(vision, heads) | {key: int(vision[key]) for key in ("image_size", "patch_size")}
    words = both | _sizes(text, int(text["heads"]))
    words |= {"max_position_embeddings": int(text["context_length"]), "vocab_size": int(text["vocab_size"])}
    return CLIPConfig(text_config=words, vision_config=eyes, projection_dim=width)


def _sizes(tower: dict[str, Any], heads: int) -> dict[str, Any]:
    width = int(tower["width"])
    return {
        "hidden_size": width,
        "num_hidden_layers": int(tower["layers"]),
        "num_attention_heads": heads,
        "intermediate_size": int(width * float(tower.get("mlp_ratio", MLP_RATIO))),
    }


def renamed(name: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights by OpenCLIP's names -> by those of a CLIPModel. Raises ModelError for names of no plain CLIP."""
    if "text.token_embedding.weight" in tensors:  # where the text tower is a module of its own
        tensors = {key.removeprefix("text."): tensor for key, tensor in tensors.items()}
    weights: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        block = BLOCK.fullmatch(key)
        where = f"{'vision' if block['tower'] else 'text'}_model.encoder.layers.{block['number']}." if block else ""
        if block and block["part"] == "attn.in_proj":  # rows [0, D) are q, then k, then v (spec 0.2)
            for letter, rows in zip("qkv", tensor.chunk(3), strict=True):
                weights[f"{where}self_attn.{letter}_proj.{block['leaf']}"] = rows
        elif block and block["part"] in INSIDE:
            weights[f"{where}{INSIDE[block['part']]}.{block['leaf']}"] = tensor
        elif key in OUTSIDE:
            weights[OUTSIDE[key]] = tensor.T.contiguous() if key in TURNED else tensor
        elif key not in UNUSED:
            what = f"model {name!r} has weights that no plain CLIP of OpenCLIP has, such as {key}"
            raise ModelError(what, f"give a plain ViT, such as {like(name)}")
    return weights


def theirs(key: str) -> str:
    """A CLIPModel's name of a weight -> OpenCLIP's, for who looks into the file."""
    known = {new: old for old, new in OUTSIDE.items()}
    found = re.fullmatch(r"(vision|text)_model\.encoder\.layers\.(\d+)\.(.+)\.(weight|bias)", key)
    if not found:
        return known.get(key, key)
    tower, number, part, leaf = found.groups()
    place = f"{'visual.' if tower == 'vision' else ''}transformer.resblocks.{number}."
    if re.fullmatch(r"self_attn\.[qkv]_proj", part):
        return f"{place}attn.in_proj_{leaf}"
    return place + next(old for old, new in INSIDE.items() if new == part) + f".{leaf}"


def _count_positions(model: Any) -> None:
    """The numbers of positions, which no file has."""
    for parts in (model.vision_model.embeddings, model.text_model.embeddings):
        parts.position_ids = torch.arange(parts.position_embedding.weight.shape[0])[None]


def _normalisation(name: str, said: Any) -> Normalisation:
    """Mean and deviation as the config's `preprocess_cfg` has them; CLIP's where it does not say."""
    try:
        mean, std = channels(said.get("mean", CLIP.mean)), channels(said.get("std", CLIP.std))
        if min(std) <= 0:
            raise ValueError("no deviation")
    except (TypeError, ValueError, AttributeError):
        what = f"the open_clip_config.json of model {name!r} names no mean and deviation of three channels"
        raise ModelError(what, f"mend mean and std, or {again(name)}") from None
    return Normalisation(mean, std)

"""Models of another kind than what is asked for: what they are, and what to give instead."""

from collections.abc import Collection, Iterable
from typing import Any

from ..errors import ModelError
from .folders import like
from .kept import CONFIGS
from .models import GUIDES

OPENCLIP_CONFIG = CONFIGS[1]

VISION = "it is the vision tower alone, which encodes no text"
NAFLEX = "it is a SigLIP 2 for sides of any ratio (NaFlex), and segloop opens those of one size, whose type is siglip"
TRAINED = "it is trained to segment, and segloop opens plain CLIPs"
DETECTOR = "it is trained to find boxes, and segloop opens plain CLIPs"
BEGUN = "its towers are built otherwise, which segloop does not open yet"
WHY = {  # model_type -> what it is
    "clip_vision_model": VISION,
    "clip_text_model": "it is the text tower alone, which sees no photo",
    "siglip2": NAFLEX,
    "siglip_vision_model": VISION,
    "siglip2_vision_model": VISION,
    "clipseg": TRAINED,
    "groupvit": TRAINED,
    "owlvit": DETECTOR,
    "owlv2": DETECTOR,
    "metaclip_2": BEGUN,
    "chinese_clip": BEGUN,
    "altclip": BEGUN,
    "align": BEGUN,
    "xclip": BEGUN,
    "flava": BEGUN,
    "blip": BEGUN,
    "blip-2": BEGUN,
    "vision-text-dual-encoder": BEGUN,
}


def no_clip(
    name: str, config: dict[str, Any], files: set[str], kinds: Iterable[str], guides: Collection[str]
) -> ModelError:
    """What a model is whose config is of none of the `kinds` that open, perhaps one of `guides`.

    `files` are those of its folder.
    """
    kind = config.get("model_type")
    if told := _untyped(f"model {name!r}", name, config, files):
        return told
    what = f"model {name!r} is of type {kind!r}, not {' or '.join(map(repr, kinds))}"
    if kind in guides:
        return ModelError(f"{what}: it guides attention", f"give it as --vision, and as model {like(name)}")
    if "auto_map" in config:
        return ModelError(f"{what}: it brings code of its own, which segloop never runs", f"give {like(name)}")
    why = f": {WHY[kind]}" if kind in WHY else ""
    return ModelError(what + why, f"give {like(name)}")


def no_guide(name: str, config: dict[str, Any], files: set[str], kinds: str) -> ModelError:
    """What a model is whose config is not that of a guide; `kinds` are those that are."""
    kind = config.get("model_type")
    what = f"vision model {name!r} is of type {kind!r}, which cannot guide"
    if kind == "clip":
        return ModelError(f"{what}: it is a CLIP", f"give it as --clip, and as --vision one of {', '.join(GUIDES)}")
    if "auto_map" in config:
        what = f"{what}: it brings code of its own, which segloop never runs"
    return ModelError(what, f"give a model of kind {kinds}; short names are {', '.join(GUIDES)}")


def _untyped(what: str, name: str, config: dict[str, Any], files: set[str]) -> ModelError | None:
    """Configs of other libraries, which name no type."""
    if config.get("model_type"):
        return None
    if OPENCLIP_CONFIG in files:
        return ModelError(f"the {OPENCLIP_CONFIG} of {what} has no model_cfg", f"fetch it again, or give {like(name)}")
    if "_clip_" in str(config.get("architecture")):
        other = like(str(config["architecture"]) + name)
        return ModelError(f"{what} is timm's vision tower of a CLIP, which encodes no text", f"give {other}")
    if "architecture" in config:
        return ModelError(f"{what} is timm's {config['architecture']}, not a CLIP", f"give {like(name)}")
    if "_class_name" in config:
        return ModelError(f"{what} is a part of a diffusers pipeline, not a CLIP", f"give {like(name)}")
    return ModelError(f"the config.json of {what} names no model_type", f"give {like(name)}, saved by transformers")

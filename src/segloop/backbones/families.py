"""Families of CLIP: how a folder becomes a tower, by the type that its config names. Adding one is adding a row."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from .clip import open_clip
from .folders import entries
from .hub import files_of
from .kept import CONFIGS, OPENCLIP_WEIGHTS, WEIGHTS, has_weights, weights_folder
from .kinds import no_clip
from .loading import read_config, resolve
from .openclip import open_openclip
from .positions import PositionRule
from .siglip import open_siglip
from .tips import open_tips
from .tower import Source, Tower
from .vision import ADAPTERS

OPENCLIP = "open_clip"
FAMILIES: dict[str, Callable[[Source], Tower]] = {
    "clip": open_clip,
    OPENCLIP: open_openclip,
    "siglip": open_siglip,
    "tipsv2": open_tips,
}
"""What `kind_of` reads in a config -> what opens such a folder. Raises ModelError."""


def load_clip(
    name: str, device: torch.device, dtype: torch.dtype, positions: PositionRule = "exact", offline: bool = False
) -> Tower:
    """Open a model of any family: hub id, local folder, or "tiny". Raises ModelError with the remedy."""
    folder = resolve(name, offline)
    config = read_config(folder)
    files = files_of(folder) or entries(Path(folder))
    if _is_openclip(folder, kind_of(config), files):
        config = read_config(folder, CONFIGS[1:])
    kind = kind_of(config)
    if kind not in FAMILIES:
        raise no_clip(name, config, files, FAMILIES, ADAPTERS)
    return FAMILIES[kind](Source(name, folder, config, device, dtype, positions, offline))


def kind_of(config: dict[str, Any]) -> str:
    """A config's model_type, else OPENCLIP for OpenCLIP's, else its architecture; empty where it names nothing."""
    own = OPENCLIP if "model_cfg" in config else config.get("architecture")
    return str(config.get("model_type") or own or "")


def _is_openclip(folder: str, kind: str, files: set[str]) -> bool:
    """Whether OpenCLIP's config counts beside a config.json: one in timm's style, or one without its weights."""
    if not (Path(folder) / CONFIGS[1]).is_file():
        return False
    if kind not in FAMILIES:
        return True
    own = has_weights(Path(weights_folder(folder))) or not files.isdisjoint(WEIGHTS)
    return not own and not files.isdisjoint(OPENCLIP_WEIGHTS)

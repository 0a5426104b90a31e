"""Families of CLIP: how a folder becomes a tower, by the type that its config names. Adding one is adding a row."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from .clip import open_clip
from .folders import entries
from .hub import files_of
from .kinds import no_clip
from .loading import read_config, resolve
from .positions import PositionRule
from .tower import Source, Tower
from .vision import ADAPTERS

FAMILIES: dict[str, Callable[[Source], Tower]] = {"clip": open_clip}
"""What `kind_of` reads in a config -> what opens such a folder. Raises ModelError."""

OPENCLIP = "open_clip"


def load_clip(
    name: str, device: torch.device, dtype: torch.dtype, positions: PositionRule = "exact", offline: bool = False
) -> Tower:
    """Open a model of any family: hub id, local folder, or "tiny". Raises ModelError with the remedy."""
    folder = resolve(name, offline)
    config = read_config(folder)
    kind = kind_of(config)
    if kind not in FAMILIES:
        raise no_clip(name, config, files_of(folder) or entries(Path(folder)), FAMILIES, ADAPTERS)
    return FAMILIES[kind](Source(name, folder, config, device, dtype, positions, offline))


def kind_of(config: dict[str, Any]) -> str:
    """A config's model_type, else OPENCLIP for OpenCLIP's, else its architecture; empty where it names nothing."""
    own = OPENCLIP if "model_cfg" in config else config.get("architecture")
    return str(config.get("model_type") or own or "")

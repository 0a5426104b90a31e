"""How runs, methods, backbones and data sets are called in tables, and in which order they stand."""

import hashlib
from collections.abc import Mapping
from typing import Any

from ..backbones.models import GUIDES, MODELS
from ..common.keys import EIGHT, LARGE, OWN
from ..common.visible import shortened
from .runs import Run

OTHERS = (*LARGE, "camvid", "loveda", "potsdam", "scenes", "folder")
SHORT = dict(zip(EIGHT, ("V21", "C60", "Obj", "V20", "C59", "Stf", "City", "ADE"), strict=True))
SHORT |= {"ade847": "A847", "context459": "C459", "camvid": "CamVid", "loveda": "LoveDA", "potsdam": "Potsdam"}

LETTERS = 40  # of a path or a value in a cell
METHODS = {  # in the papers' order; the rest follows by name
    "clip": "CLIP",
    "maskclip": "MaskCLIP",
    "sclip": "SCLIP",
    "clearclip": "ClearCLIP",
    "naclip": "NACLIP",
    "proxyclip": "ProxyCLIP",
    "sfp": "SFP",
    "sc-clip": "SC-CLIP",
    "resclip": "ResCLIP",
    "lposs": "LPOSS",
    "lposs+": "LPOSS+",
    "trident": "Trident",
    "corrclip": "CorrCLIP",
    "corrclip-v2": "CorrCLIP v2",
}
BACKBONES = {name.split("/")[-1]: row.size for name, row in MODELS.items() if row.size}
HUB_IDS = {row.hub: name for name, row in reversed(GUIDES.items())}  # of two names, the first


def backbone(run: Run) -> str:
    """ViT-B/16 and its like for published models, else the model's last name."""
    last = str(run.settings.get("model", "?")).rstrip("/").replace("\\", "/").split("/")[-1]
    return BACKBONES.get(last, last)


def guide(run: Run) -> str | None:
    """The short name of the vision model that guides the attention, where there is one."""
    vision = run.settings.get("vision")
    if vision is None:
        return None
    known = GUIDES.get(str(vision))
    return HUB_IDS.get(known.hub if known else str(vision), str(vision))


def method_title(base: str, vision: str | None = None, feedback: bool = False) -> str:
    """ "ProxyCLIP (dino) + FSA"."""
    title = METHODS.get(base, base)
    if vision:
        title = f"{title} ({shortened(vision, LETTERS)})"
    return f"{title} + FSA" if feedback else title


def run_title(run: Run) -> str:
    """The method of a run, as its row is called."""
    return method_title(run.base, guide(run), run.has_feedback)


def column_keys(runs: list[Run]) -> dict[Run, str]:
    """The column of each run: its data set, and which one of several image folders or sets of scenes, from 1."""
    sets: dict[str, list[str]] = {}
    for run in runs:
        sets.setdefault(run.data_name, []).append(_own_hash(run))
    sets = {dataset: list(dict.fromkeys(hashes)) for dataset, hashes in sets.items()}
    several = {dataset for dataset, hashes in sets.items() if len(hashes) > 1}
    return {
        run: f"{run.data_name} {sets[run.data_name].index(_own_hash(run)) + 1}"
        if run.data_name in several
        else run.data_name
        for run in runs
    }


def column_order(keys: Mapping[Run, str]) -> list[str]:
    """Data sets that are no part of the papers' eight and occur in runs, in a fixed order."""
    known = {key: place for place, key in enumerate(OTHERS)}
    extra = {key for key in keys.values() if key not in EIGHT}
    return sorted(extra, key=lambda key: (known.get(key.split()[0], len(known)), len(key), key))


def rank(name: str, order: Mapping[str, Any]) -> tuple[int, str]:
    """Sorts known names first, in their table's order, then the others by name."""
    return (list(order).index(name) if name in order else len(order), name)


def backbone_rank(name: str) -> tuple[int, str]:
    """Sorts ViT-B/16, ViT-L/14, ViT-H/14, then the others by name."""
    return rank(name, dict.fromkeys(BACKBONES.values()))


def plain(value: Any) -> str:
    """A setting as words."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list):
        return ",".join(plain(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def flat_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with the records of feedback and purify opened: {"feedback.lambda_": 3.0 ...}."""
    opened: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            opened |= {f"{key}.{name}": item for name, item in value.items()}
        else:
            opened[key] = value
    return opened


def _own_hash(run: Run) -> str:
    """What tells the images and classes of a data set that may be any; empty for others."""
    if run.dataset not in OWN:
        return ""
    parts = (str(run.settings.get("images_hash")), *run.classes)
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogateescape")).hexdigest()

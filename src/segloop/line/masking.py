"""What `masks=` and --masks mean, and what masks switch on."""

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from ..backbones.models import MASKERS
from ..backbones.proposals import Proposing
from ..backbones.shared import Models, weights_hash
from ..choice.plan import Plan
from ..common.records import Constants, constants_of, override
from ..common.visible import shortened
from ..errors import OptionError
from ..images.program import program_of
from ..images.regions import open_regions
from .regions import Computed, Filed, Given, Made, Masked, Source

Masks = Any
"""A folder or a file, a network as "sam2", "cmd: ...", a function of photos; with a call also arrays."""

COMMAND = re.compile(r"cmd:\s*(?P<line>.*)", re.DOTALL)
NETWORKS = " or ".join(", ".join(MASKERS).rsplit(", ", 1))
PROPOSING = tuple(constants_of(Proposing()))
VOTING = ("mask_vote", "mask_lowest")

Opened = TypeVar("Opened")  # a Segmenter


def source_of(
    masks: Masks, how: Constants, device: torch.device, offline: bool = False, models: Models | None = None
) -> Source | None:
    """What `masks=` means; None for none. `how` are those settings of `Proposing` that are said.

    Raises OptionError for what is none, ModelError for a network that cannot be had.
    """
    if isinstance(masks, (str, os.PathLike)):
        kind, colon, name = os.fspath(masks).partition(":")
        if kind in MASKERS and bool(colon) == bool(name):
            called, proposing = f"{kind}:{_without_path(name)}" if name else kind, override(Proposing(), how)
            masker = (models or Models()).masker(name or kind, device, offline)
            return Made(called, partial(masker, how=proposing), partial(weights_hash, masker.model), vars(proposing))
    if how:
        what = f"setting {next(iter(how))!r} belongs to masks that a network makes"
        raise OptionError(what, f"add --masks {NETWORKS} (in Python masks=), or leave it out")
    if masks is None or isinstance(masks, (Filed, Made, Computed)):
        return masks
    if isinstance(masks, (str, os.PathLike)):
        return _elsewhere(os.fspath(masks))
    if callable(masks):
        return Computed(masks)
    what = f"masks came as {type(masks).__name__}, which are those of one photo"
    raise OptionError(what, "give them with it, as in segmenter(photo, words, masks=...)")


def _elsewhere(text: str) -> Source:
    command = COMMAND.fullmatch(text)
    if command:
        program = program_of(command["line"])
        return Made(program.said, program, lambda: program.fingerprint)
    if not Path(text).expanduser().exists():
        remedy = f"check the path, or give {NETWORKS}, or cmd: and a command"
        raise OptionError(f"there are no masks at {shortened(text)}", remedy)
    return Filed(open_regions(text))


def split(overrides: Constants) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings of a plan, and those of `Proposing`."""
    own = {name: value for name, value in overrides.items() if name in PROPOSING}
    return {name: value for name, value in overrides.items() if name not in own}, own


def check_heeded(changes: Constants, masks: str | None) -> None:
    """Raises OptionError for settings of masks where none come."""
    idle = [name for name in (*PROPOSING, *VOTING) if changes.get(name) not in (None, False)]
    if idle and masks is None:
        raise OptionError(f"setting {idle[0]!r} came without masks", "add --masks, and where they come from")


def voting(plan: Plan, masks: Any) -> Plan:
    """A plan whose regions vote where masks come, unless its method or a setting says otherwise."""
    said = {name: value for step in plan.label_steps for name, value in constants_of(step).items()}
    return plan.changed({"mask_vote": True}) if masks is not None and said.get("mask_vote") is None else plan


def with_masks(segmenter: Opened, photos: Sequence[Any], masks: Masks, many: bool) -> tuple[Opened, Sequence[Any]]:
    """A Segmenter and the photos of a call that came with masks; `many`: the photos are a list, so arrays are one too.

    Raises OptionError, and as `source_of`.
    """
    if masks is None:
        return segmenter, photos
    opened: Any = segmenter
    shared = isinstance(masks, (str, os.PathLike, Filed, Made, Computed)) or callable(masks)
    source = source_of(masks, {}, opened.clip.device) if shared else Given()
    network = replace(opened.network, plan=voting(opened.plan, source))
    opened = replace(opened, network=network, masks=source)
    if shared:
        return opened, photos
    if many and not isinstance(masks, (list, tuple)):
        raise OptionError(f"one array of masks came with a list of {len(photos)} photos", "give a list of arrays")
    own = masks if many else [_stacked(masks)]
    if len(own) != len(photos):
        raise OptionError(f"masks of {len(own)} photos came with {len(photos)} photos", "give as many")
    return opened, [Masked(photo, one) for photo, one in zip(photos, own, strict=True)]


def whole_masks(text: str | None) -> str | None:
    """What --masks says, for a process that works in another folder."""
    if text is None:
        return None
    command = COMMAND.fullmatch(text)
    if command:
        return f"cmd: {program_of(command['line']).elsewhere()}"
    kind, _, name = text.partition(":")
    if kind in MASKERS:
        return f"{kind}:{_whole(name)}" if name else text
    return _whole(text)


def _whole(name: str) -> str:
    path = Path(name).expanduser()
    return os.path.abspath(path) if path.exists() else name


def _without_path(name: str) -> str:
    path = Path(name).expanduser()
    return path.resolve().name if path.exists() else name


def _stacked(masks: Any) -> Any:
    """Masks of one photo, where they are a list, as one array."""
    return np.stack([np.asarray(one) for one in masks]) if isinstance(masks, (list, tuple)) else masks

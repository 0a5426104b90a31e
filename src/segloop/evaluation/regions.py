"""The regions that vote where a run is decided anew: its own, or those of masks that came to it afterwards."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..backbones.device import pick_device
from ..errors import OptionError, UserError
from ..line.masking import PROPOSING, source_of, split
from ..line.regions import Source
from ..runs.folder import starts_of
from ..runs.inputs import regions_hash


@dataclass(frozen=True)
class Regions:
    """What --masks and --set mean for a run that kept its cosines."""

    changes: Mapping[str, Any]  # of what decides
    source: Source | None = None  # None: nothing votes
    said: Mapping[str, Any] = field(default_factory=dict)  # settings that the run did not have


def regions_anew(folder: Path, settings: Mapping[str, Any], changes: Mapping[str, Any], masks: str | None) -> Regions:
    """Regions of the run in `folder` under `changes`; `masks` is what --masks says, None for what the run had.

    Raises OptionError for masks that are not said or not heeded, UserError for others than those the run saw.
    """
    plain, own = split(changes)
    before = "regions" in settings
    unsaid = bool(settings.get("mask_vote")) if before else masks is not None
    if not plain.get("mask_vote", unsaid):
        if masks is not None or own:
            what = f"{'--masks' if masks is not None else f'setting {next(iter(own))!r}'} came, and no region votes"
            raise OptionError(what, "leave it out, or add --set mask_vote=true")
        return Regions(plain)
    place = masks or (_place(folder) if before else None)
    if place is None:
        what = f"{folder} does not say where its masks lie" if before else "mask_vote needs masks of regions"
        raise OptionError(what, "name them with --masks")
    how = {name: settings[name] for name in PROPOSING if name in settings} | own
    source = source_of(place, how, pick_device())
    assert source is not None
    said = {**source.said, **regions_hash(source)}
    if before and any(settings.get(name) != value for name, value in said.items() if name != "regions"):
        raise UserError(f"{place} gives other masks than the run saw", "give the same with --masks, or evaluate anew")
    lowest = {"mask_lowest": settings.get("fidelity") == "reference"} if "mask_lowest" not in settings else {}
    return Regions({**lowest, **plain, "mask_vote": True}, source, {} if before else said)


def _place(folder: Path) -> str | None:
    """Where the run's masks came from, by its log."""
    found = [start["masks"] for start in starts_of(folder) if isinstance(start.get("masks"), str)]
    return found[-1] if found else None

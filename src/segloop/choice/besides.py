"""What the parts of a plan ask for besides their constants: a SAM, windows that end at patches, a switch."""

from collections.abc import Iterable
from typing import Any

from ..common.records import Constants, constants_of, switches_of
from ..errors import OptionError
from ..maps.refine import Switched
from .guidance import Guidance

DEFAULT_SAM = "sam"
ON = {"refine": "sam", "presence_threshold": "0.5, or another probability"}  # what switches are switched on with, else
NUMBER = "10, or another number"


def affinity_of(
    parts: Iterable[Any], called: str, given: str | None, of_folder: str | None, said: bool = False
) -> str | None:
    """The SAM that some of `parts` look at, stages and steps that are on, by its name; None where none does.

    Raises OptionError for one that was given in vain; `called` is the method. Where it was `said` that labels are not
    refined, as in one of several runs, that is as it should be.
    """
    if any(getattr(part, "wants_affinity", False) for part in parts):
        return given or of_folder or DEFAULT_SAM
    if given and not said:
        what = f"affinity {given} came with method {called}, which looks at no SAM"
        raise OptionError(what, "leave it out, take trident, or refine labels with --set refine=sam")
    return None


def sees_photos_twice(stages: Iterable[Any], steps: Iterable[Any]) -> bool:
    """Whether a SAM looks at the same whole photo for a stage and again for a step that is on."""
    stage = any(getattr(one, "wants_affinity", False) and not getattr(one, "affinity_halves", False) for one in stages)
    return stage and any(getattr(step, "wants_affinity", False) for step in steps if step.is_on)


def in_whole_patches(stages: Iterable[Any]) -> bool:
    """Whether windows have to begin and end at patches of CLIP."""
    return any(getattr(stage, "in_whole_patches", False) for stage in stages)


def refuse_view(called: str, guidance: Guidance | None, stages: Iterable[Any]) -> None:
    """Raises OptionError for a vision model that would see whole photos for a method that joins what it sees."""
    joined = any(hasattr(stage, "makes_one_map") for stage in stages) or in_whole_patches(stages)
    if guidance and guidance.sees_photos and joined:
        raise OptionError(f"vision_view=photo came with {called}, which joins windows itself", "leave it out")


def refuse_idle(steps: Iterable[Switched], given: Constants) -> None:
    """Raises OptionError for a constant of a step that stays off without a word of its switch."""
    for step in steps:
        own, switches = [name for name in constants_of(step) if name in given], switches_of(step)
        switch = min(switches, default="")
        off = getattr(step, switch, None)
        if own and switches.isdisjoint(own) and not step.is_on and (off is not None or switch in ON):
            what = f"setting {own[0]!r} came, and {switch}={'off' if off is False else off} keeps its step off"
            raise OptionError(what, f"add --set {switch}={ON.get(switch, 'on' if off is False else NUMBER)}")

"""Which methods, hosts, guides and CLIPs a sweep runs on each data set."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..choice.naming import takes_affinity, takes_guide
from ..choice.presets import Configuration, configuration, every_method, preset
from ..errors import OptionError

SWITCH = {"off": False, "on": True}
ALL = "all"


def configurations_of(
    common: Mapping[str, Any], methods: str | None, fsa: str, name: str | None, given: Sequence[str]
) -> list[dict[str, Any]]:
    """Fields of the task of each run on a data set: method, host, guide, and CLIP where one is named.

    `common` are the fields that all share, `methods`, `fsa`, `name` and `given` what --methods, --fsa, --preset and
    --clip say. Raises OptionError for options that contradict each other.
    """
    made = _configurations(common, methods, fsa, name, given)
    several = methods is not None or name is not None
    return [_fields(one) | others for one, others in zip(made, _looking_alone(made, common, several), strict=True)]


def _configurations(
    common: Mapping[str, Any], methods: str | None, fsa: str, name: str | None, given: Sequence[str]
) -> list[Configuration]:
    clips: Sequence[str | None] = [*given] or [None]
    if name is not None:
        _check_alone(common, "--preset", ("method", "host", "recipe", "vision"), methods or fsa != "off")
        return [one for clip in clips for one in preset(name).configurations(clip)]
    if methods is None:
        if fsa != "off":
            raise OptionError("--fsa came without --methods", "write --host METHOD for feedback on one method")
        return [Configuration(common.get("method"), common.get("host"), common.get("vision"), clip) for clip in clips]
    _check_alone(common, "--methods", ("method", "host", "recipe"))
    names = every_method() if methods == ALL else [name.strip() for name in methods.split(",")]
    deaf = set(every_method()).difference(every_method(feedback=True)) if methods == ALL else set()
    switches = _switches(fsa)
    made = [
        configuration(name, switch, common.get("vision"), clip)
        for clip in clips
        for name in dict.fromkeys(names)
        for switch in switches
        if not (switch and name in deaf)
    ]
    return _guided_alone(made, common.get("vision"))


def _guided_alone(made: list[Configuration], vision: str | None) -> list[Configuration]:
    """The vision model for those that it serves only. Raises OptionError where that is none of them."""
    if vision is None:
        return made
    served = [takes_guide(one.method, one.host) for one in made]
    if not any(served):
        what = f"--vision {vision} came with methods that no guide serves"
        raise OptionError(what, "leave it out, or add proxyclip to --methods")
    return [
        one if guided else Configuration(one.method, one.host, None, one.clip)
        for one, guided in zip(made, served, strict=True)
    ]


def _looking_alone(made: list[Configuration], common: Mapping[str, Any], several: bool) -> list[dict[str, Any]]:
    """The SAM for those of several that look at one only. Raises OptionError where that is none of them."""
    sam = common.get("affinity")
    if sam is None or not several or "refine" in common.get("changes", {}):
        return [{} for _ in made]
    looking = [takes_affinity(one.method, one.host) for one in made]
    if not any(looking):
        raise OptionError(f"--affinity {sam} came with methods that look at no SAM", "leave it out, or add trident")
    return [{} if looks else {"affinity": None} for looks in looking]


def _check_alone(common: Mapping[str, Any], option: str, others: Sequence[str], sweeps: object = False) -> None:
    given = [f"--{name}" for name in others if common.get(name)] + (["--methods or --fsa"] if sweeps else [])
    if given:
        raise OptionError(f"{' and '.join(given)} came with {option}", "leave one of them out")


def _switches(fsa: str) -> list[bool]:
    switches = [part.strip() for part in fsa.split(",")]
    unknown = next((part for part in switches if part not in SWITCH), None)
    if unknown is not None:
        raise OptionError(f"--fsa {unknown!r}", "write off, on, or off,on")
    return [SWITCH[switch] for switch in dict.fromkeys(switches)]


def _fields(one: Configuration) -> dict[str, Any]:
    """Fields of Task; a CLIP that nobody named stays as it is there."""
    named = {"method": one.method, "host": one.host, "vision": one.vision}
    return named | ({"clip": one.clip} if one.clip else {})

"""One wish of the command line, many runs: data sets x methods x feedback off and on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..common.keys import EIGHT
from ..data.layouts import DATASETS
from ..data.masks import USUAL
from ..errors import OptionError, nearest
from .task import Task

OUT = Path("segloop-out")
SWITCH = {"off": False, "on": True}


@dataclass(frozen=True)
class Wish:
    """What was asked for, in the words of the command line."""

    keys: str  # "all", or keys joined by commas
    out: Path | None
    methods: str | None  # joined by commas
    fsa: str  # "off", "on", "off,on"
    common: Mapping[str, Any]  # fields of Task that all runs share


def tasks_of(wish: Wish) -> list[Task]:
    """The runs, data set by data set. One run lies in `out` itself, several in `out`/KEY/METHOD.

    Raises OptionError for unknown keys and for options that contradict each other.
    """
    keys = _keys(wish.keys)
    if len(keys) > 1 and wish.common.get("masks", USUAL) != USUAL:
        what = f"options of label maps (--mask-suffix and its like) came with {len(keys)} data sets"
        raise OptionError(what, "evaluate one data set at a time with them")
    attentions = _attentions(wish)
    tasks = [Task(**{**wish.common, "key": key, "out": OUT, **own}) for key in keys for own in attentions]
    alone = len(tasks) == 1 and wish.out is not None
    placed = [wish.out] if alone else _apart([(wish.out or OUT) / task.key / task.label for task in tasks])
    return [Task(**{**vars(task), "out": place}) for task, place in zip(tasks, placed, strict=True)]


def _apart(places: Sequence[Path]) -> list[Path]:
    """Places that differ: the second of two files of one name has a 2 behind it."""
    before = [places[:number].count(place) for number, place in enumerate(places)]
    return [
        place.with_name(f"{place.name}-{count + 1}") if count else place
        for place, count in zip(places, before, strict=True)
    ]


def _keys(text: str) -> list[str]:
    if text == "all":
        return list(EIGHT)
    keys = list(dict.fromkeys(key.strip() for key in text.split(",")))
    for key in keys:
        if key not in DATASETS:
            raise OptionError(
                f"there is no data set {key!r}", f"{nearest(key, DATASETS)}, or all for the papers' eight"
            )
    return keys


def _attentions(wish: Wish) -> list[dict[str, Any]]:
    """Method and host of each run of a data set."""
    if wish.methods is None:
        if wish.fsa != "off":
            raise OptionError("--fsa came without --methods", "write --host METHOD for feedback on one method")
        return [{}]
    given = [f"--{name}" for name in ("method", "host", "recipe") if wish.common.get(name)]
    if given:
        raise OptionError(f"{' and '.join(given)} came with --methods", "leave one of them out")
    switches = [part.strip() for part in wish.fsa.split(",")]
    unknown = next((part for part in switches if part not in SWITCH), None)
    if unknown is not None:
        raise OptionError(f"--fsa {unknown!r}", "write off, on, or off,on")
    names = list(dict.fromkeys(name.strip() for name in wish.methods.split(",")))
    return [
        {"method": None, "host": name} if SWITCH[switch] else {"method": name, "host": None}
        for name in names
        for switch in dict.fromkeys(switches)
    ]

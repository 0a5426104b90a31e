"""One wish of the command line, many runs: data sets x methods x feedback off and on x values of settings."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from ..choice.naming import Choice
from ..choice.plan import known_constants, resolve
from ..common.keys import EIGHT
from ..data.layouts import DATASETS
from ..data.masks import USUAL
from ..data.places import Place, check_named, read_places
from ..errors import OptionError, nearest
from ..runs.inputs import attention_of
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
    """The runs, data set by data set. One run lies in `out` itself, several in `out`/KEY/METHOD, and where settings
    have several values, in `out`/KEY/METHOD/stride=80,crop=224.

    Raises OptionError for unknown keys and for options that contradict each other.
    """
    keys = _keys(wish.keys, read_places(wish.common.get("places", ())))
    if len(keys) > 1 and wish.common.get("masks", USUAL) != USUAL:
        what = f"options of label maps (--mask-suffix and its like) came with {len(keys)} data sets"
        raise OptionError(what, "evaluate one data set at a time with them")
    attentions = _attentions(wish)
    tasks = [Task(**{**wish.common, "key": key, "out": OUT, **own}) for key in keys for own in attentions]
    grids = [grid_of(task) for task in tasks]
    if len(tasks) == 1 and len(grids[0]) == 1 and wish.out is not None:
        return [replace(tasks[0], out=wish.out, changes=next(iter(grids[0].values())))]
    placed = _apart([(wish.out or OUT) / task.key / task.label for task in tasks])
    return [
        replace(task, out=place / name, changes=changes)
        for task, place, grid in zip(tasks, placed, grids, strict=True)
        for name, changes in grid.items()
    ]


def grid_of(task: Task) -> dict[str, Mapping[str, Any]]:
    """Its changes for every combination of values, by what a folder is called after them: "stride=80,crop=224".

    A setting whose one value is a list, such as pamr_dilations, is not swept. Raises OptionError for values that no
    folder can be called after.
    """
    lists = _lists(task)
    swept = {name: value for name, value in task.changes.items() if isinstance(value, tuple) and name not in lists}
    choices = [[(name, value) for value in dict.fromkeys(values)] for name, values in swept.items()]
    found: dict[str, Mapping[str, Any]] = {}
    for chosen in product(*choices):
        name = ",".join(f"{field}={'none' if value is None else value}" for field, value in chosen)
        if os.sep in name:
            raise OptionError(f"--set {name} cannot be the name of a folder", "give one value, and --out")
        found[name] = {**task.changes, **dict(chosen)}
    return found


def _lists(task: Task) -> set[str]:
    """Settings of which one value is a list, the method's own among them."""
    if not any(isinstance(value, tuple) for value in task.changes.values()):
        return set()
    known = [known_constants()]
    if task.method or task.host or task.recipe:
        plan = resolve(Choice(attention_of(task.method), attention_of(task.host), recipe=task.recipe))
        known += [plan.constants, *plan.records.values()]
    nested = [value for some in known for value in some.values() if isinstance(value, dict)]
    return {name for some in (*known, *nested) for name, value in some.items() if isinstance(value, tuple)}


def _apart(places: Sequence[Path]) -> list[Path]:
    """Places that differ: the second of two files of one name has a 2 behind it."""
    before = [places[:number].count(place) for number, place in enumerate(places)]
    return [
        place.with_name(f"{place.name}-{count + 1}") if count else place
        for place, count in zip(places, before, strict=True)
    ]


def _keys(text: str, places: Sequence[Place]) -> list[str]:
    """Keys of data sets, and names of folders that places give. Raises OptionError for others, and for idle names."""
    keys = [*EIGHT] if text == "all" else list(dict.fromkeys(key.strip() for key in text.split(",")))
    own = [place.key for place in places if place.key]
    for key in keys:
        if key not in DATASETS and key not in own:
            folder = f"; or name a folder of your own with --data {key}=DIR"
            raise OptionError(
                f"there is no data set {key!r}",
                f"{nearest(key, [*DATASETS, *own])}, or all for the papers' eight{folder}",
            )
    check_named(places, keys)
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

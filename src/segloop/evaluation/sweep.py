"""One wish of the command line, many runs: data sets x methods x feedback x values of settings, on every CLIP."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from ..choice.naming import Choice
from ..choice.plan import known_constants, resolve
from ..common.keys import EIGHT
from ..common.visible import plain
from ..data.datasets import check
from ..data.layouts import DATASETS
from ..data.masks import USUAL
from ..data.places import Place, check_named, said_places
from ..errors import OptionError, nearest
from ..runs.inputs import attention_of
from .configurations import ALL, configurations_of
from .task import Task, clip_label

OUT = Path("segloop-out")


@dataclass(frozen=True)
class Wish:
    """What was asked for, in the words of the command line."""

    keys: str  # "all", or keys joined by commas
    out: Path | None
    methods: str | None  # joined by commas
    fsa: str  # "off", "on", "off,on"
    common: Mapping[str, Any]  # fields of Task that all runs share
    preset: str | None = None  # instead of methods
    clips: Sequence[str] = ()  # none: the preset's, or Task's own


def tasks_of(wish: Wish, say: Callable[[str], None] = lambda sentence: None) -> list[Task]:
    """The runs, data set by data set. One run lies in `out` itself, several in `out`/KEY/METHOD, and where settings
    have several values, in `out`/KEY/METHOD/stride=80,crop=224.

    Of several CLIPs each has a folder between these two. `say` is told which data sets of `all` are left out. Raises
    OptionError for unknown keys and for options that contradict each other.
    """
    places = said_places(wish.common.get("places", ()))
    keys = _there(wish, places, say) if wish.keys == ALL else _keys(wish.keys, places)
    if len(keys) > 1 and wish.common.get("masks", USUAL) != USUAL:
        what = f"options of label maps (--mask-suffix and its like) came with {len(keys)} data sets"
        raise OptionError(what, "evaluate one data set at a time with them")
    attentions = configurations_of(wish.common, wish.methods, wish.fsa, wish.preset, wish.clips)
    tasks = [Task(**{**wish.common, "key": key, "out": OUT, **own}) for key in keys for own in attentions]
    odd = next((task.label for task in tasks if Path(task.label).name != task.label), None)
    if odd is not None:
        raise OptionError(f"there is no method {odd!r}", "`segloop methods` lists them; a file is FILE.py:function")
    grids = [grid_of(task) for task in tasks]
    for sentence in dict.fromkeys(one for task in tasks for one in _doubles(task)):
        say(sentence)
    if len(tasks) == 1 and len(grids[0]) == 1 and wish.out is not None:
        return [replace(tasks[0], out=wish.out, changes=next(iter(grids[0].values())))]
    placed = _apart(_places(wish.out or OUT, tasks))
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
        name = ",".join(f"{field}={_said(value, swept[field])}" for field, value in chosen)
        if os.sep in name:
            raise OptionError(f"--set {name} cannot be the name of a folder", "give one value, and --out")
        found[name] = {**task.changes, **dict(chosen)}
    return found


def _doubles(task: Task) -> list[str]:
    """Which values of settings came twice, and are done once."""
    swept = {name: values for name, values in task.changes.items() if isinstance(values, tuple)}
    twice = {
        name: dict.fromkeys(one for place, one in enumerate(values) if one in values[:place])
        for name, values in swept.items()
    }
    lists = _lists(task) if any(twice.values()) else set()  # it runs the user's own file
    return [
        f"{plain(value)} came twice in --set {name}: it is done once"
        for name, values in twice.items()
        if name not in lists
        for value in values
    ]


def _said(value: Any, beside: Sequence[Any]) -> str:
    """A value as it is typed; what switches a constant off is "off" beside "on", and "none" beside numbers."""
    switch = value is None and all(one is None or isinstance(one, bool) for one in beside)
    return plain(False if switch else value)


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


def _places(out: Path, tasks: Sequence[Task]) -> list[Path]:
    """A folder for each; guides are named where there are several."""
    clips = list(dict.fromkeys(task.clip for task in tasks))
    below = {clip: clip_label(clip, clips) if len(clips) > 1 else "" for clip in clips}
    guided = len({task.vision for task in tasks if task.vision}) > 1
    return [out / task.key / below[task.clip] / (task.guided_label if guided else task.label) for task in tasks]


def _there(wish: Wish, places: Sequence[Place], say: Callable[[str], None]) -> list[str]:
    """Those of the papers' eight that can be opened; the others are told. Raises OptionError where none can."""
    check_named(places, EIGHT)
    common = wish.common
    checks = [check(key, common["places"], common.get("split"), common.get("limit")) for key in EIGHT]
    keys = [one.key for one in checks if one.opened]
    if not keys:
        what = f"none of the papers' eight data sets is at {', '.join(map(str, common['places']))}"
        raise OptionError(what, "see what is missing with `segloop datasets --data DIR`")
    missing = [one.key for one in checks if one.root is None]
    if missing:
        say(f"not there, and left out: {', '.join(missing)}; `segloop datasets --data DIR` says how to get them")
    for one in checks:
        if one.root is not None and one.problem:
            say(f"left out: {one.key}: {one.problem}")
    return keys


def _keys(text: str, places: Sequence[Place]) -> list[str]:
    """Keys of data sets, and names of folders that places give. Raises OptionError for others, and for idle names."""
    keys = list(dict.fromkeys(key.strip() for key in text.split(",")))
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

"""Whether two runs are the same: their settings, versions and lists, also where records of other times say less."""

import hashlib
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..common.visible import plain
from ..errors import MachineError, OptionError
from .folder import RUN, read_json

HASHED = {  # settings whose values are hashes -> what they are of
    "images_hash": "photos",
    "labels_hash": "label maps",
    "masks.table_hash": "colours or values of label maps",
    "model_hash": "weights",
    "vision_hash": "weights of the guide",
    "bank": "memory bank",
    "aliases": "aliases of words",
    "regions_hash": "masks, or another program or network that makes them",
    "affinity_hash": "weights of SAM",
    "templates": "templates",
    "code_hash": "code of your attention",  # in records that know one file only
}
CODE = {  # settings that hold the hashes of files -> what these are
    "code": "code of your attention",
    "rows_code": "code of your step on text rows",
    "vision_code": "code of your guide",
    "regions_code": "code of your masks",
}
KEEPS = {"maps": "--save-maps", "scores": "--scores"}
OPTIONS = {
    "store": "--store",
    "engine": "--engine",
    "regions": "--masks",
    "masks.suffix": "--mask-suffix",
    "masks.image_suffix": "--image-suffix",
    "masks.values": "--mask-values",
    "masks.turned": "--turn-masks",
}


def check_same(folder: Path | str, kept: dict[str, Any], wanted: dict[str, Any], unsaid: Mapping[str, Any]) -> None:
    """Raises OptionError naming what differs between the run in `folder` and this one.

    Another segloop may have written constants of methods that are not in use, or not known one that is: the former do
    not matter, the latter were what they are where nothing is said.
    """
    known = _with_files(kept.get("settings", {}), wanted["settings"])
    kept = {**kept, "settings": _as_wanted(known, wanted["settings"], unsaid)}
    differing = [
        _difference(name, there.get(name), now.get(name))
        for there, now in (
            (_opened(side.get(part, {})) for side in (kept, wanted)) for part in ("settings", "versions")
        )
        for name in dict.fromkeys([*there, *now])
        if there.get(name) != now.get(name)
    ]
    differing += [f"another list of {name}" for name in ("classes", "queries") if kept.get(name) != wanted[name]] or (
        ["other words for some class"] if kept.get("query_index") != wanted["query_index"] else []
    )
    if differing:
        more = f", and {len(differing) - 3} more" if len(differing) > 3 else ""
        what = f"{folder} holds a run with other settings: {'; '.join(differing[:3])}{more}"
        raise OptionError(what, "choose another --out, or start anew with --overwrite")


def hashed(name: str) -> str | None:
    """What a setting is a hash of, in words: "weights", "code of your attention (helper.py)"; None for any other."""
    part, _, file = name.partition(".")
    return f"{CODE[part]}{f' ({file})' if file else ''}" if part in CODE else HASHED.get(name)


def _with_files(kept: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Kept settings; where they have one hash of the file that held the attention, as was once done, it is that file's.

    Files that this one imports were not known to such a record, so that it is another run where there are some.
    """
    others = {name: value for name, value in kept.items() if name != "code_hash"}
    if "code_hash" not in kept:
        return others
    first = next(iter(wanted.get("code") or {"": ""}))
    return {**others, "code": {first: kept["code_hash"]}}


def run_print(inputs: Mapping[str, Any]) -> str:
    """What tells a run's inputs from another's: the same for all that `check_same` takes for one run."""
    from ..choice.plan import known_constants  # with torch, which reports do without

    known = {**inputs, "settings": _said(inputs["settings"], json.loads(json.dumps(known_constants())))}
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:32]


def _said(settings: Mapping[str, Any], unsaid: Mapping[str, Any]) -> dict[str, Any]:
    """Settings without those that are what they are where nothing is said; records within are treated alike."""
    opened = {
        name: _said(value, unsaid.get(name, {})) if isinstance(value, dict) else value
        for name, value in settings.items()
    }
    return {name: value for name, value in opened.items() if name not in unsaid or value != unsaid[name]}


def _as_wanted(kept: Mapping[str, Any], wanted: Mapping[str, Any], unsaid: Mapping[str, Any]) -> dict[str, Any]:
    """Kept settings with the names that are wanted now; records within are treated alike."""
    same = {name: value for name, value in kept.items() if name in wanted or name not in unsaid}
    for name, value in wanted.items():
        if isinstance(value, dict) and isinstance(same.get(name), dict):
            same[name] = _as_wanted(same[name], value, unsaid.get(name, {}))
        elif name not in same and name in unsaid:
            same[name] = unsaid[name]
    return same


def _opened(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, those of label maps and of code each under a name of its own; not what is said beside them."""
    parts = ("masks", *CODE)
    others = {name: value for name, value in settings.items() if name not in (*parts, "code_unseen")}
    inside = {f"{part}.{name}": value for part in parts for name, value in (settings.get(part) or {}).items()}
    return others | inside


def _difference(name: str, there: Any, now: Any) -> str:
    if what := hashed(name):
        return f"other {what}"
    if name == "keeps":
        there, now = (" and ".join(KEEPS.get(one, one) for one in side or ()) or "none kept" for side in (there, now))
        return f"{there} there, {now} now"
    return f"{OPTIONS.get(name, name)} {_short(there)} there, {_short(now)} now"


def _short(value: Any) -> str:
    text = plain(value) if value is None or isinstance(value, bool) else json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."


def check_agreed(kept: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Raises MachineError where a process that helps with a run has settled something else than its inputs say."""
    there, here = kept["settings"], own["settings"]
    differing = [HASHED.get(name, name) for name in there if there[name] != here.get(name)]
    if differing or kept["versions"] != own["versions"]:
        what = f"the processes of this run do not agree on {', '.join(differing) or 'versions'}"
        raise MachineError(what, "give all of them the same files, models and versions")


def check_there(folder: Path, inputs: Mapping[str, Any]) -> None:
    """Raises MachineError where a process that helps with a run does not see its folder, which others write too."""
    there = (read_json(folder / RUN) or {}).get("settings", {})
    if any(there.get(name) != inputs["settings"].get(name) for name in ("images_hash", "model_hash")):
        remedy = "let --out lie on a disk that all machines share under one name"
        raise MachineError(f"{platform.node()} does not see the run's folder {folder}", remedy)

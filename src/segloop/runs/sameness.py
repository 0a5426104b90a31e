"""Whether two runs are the same: their settings, versions and lists, also where records of other times say less."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import OptionError


def check_same(folder: Path, kept: dict[str, Any], wanted: dict[str, Any], unsaid: Mapping[str, Any]) -> None:
    """Raises OptionError naming what differs between the run in `folder` and this one.

    Another segloop may have written constants of methods that are not in use, or not known one that is: the former do
    not matter, the latter were what they are where nothing is said.
    """
    kept = {**kept, "settings": _as_wanted(kept.get("settings", {}), wanted["settings"], unsaid)}
    differing = [
        f"{name} {_short(kept.get(part, {}).get(name))} there, {_short(wanted[part].get(name))} now"
        for part in ("settings", "versions")
        for name in dict.fromkeys([*kept.get(part, {}), *wanted[part]])
        if kept.get(part, {}).get(name) != wanted[part].get(name)
    ]
    differing += [
        f"another list of {name}" for name in ("classes", "queries", "query_index") if kept.get(name) != wanted[name]
    ]
    if differing:
        more = f", and {len(differing) - 3} more" if len(differing) > 3 else ""
        what = f"{folder} holds a run with other settings: {'; '.join(differing[:3])}{more}"
        raise OptionError(what, "choose another --out, or start anew with --overwrite")


def _as_wanted(kept: Mapping[str, Any], wanted: Mapping[str, Any], unsaid: Mapping[str, Any]) -> dict[str, Any]:
    """Kept settings with the names that are wanted now; records within are treated alike."""
    same = {name: value for name, value in kept.items() if name in wanted or name not in unsaid}
    for name, value in wanted.items():
        if isinstance(value, dict) and isinstance(same.get(name), dict):
            same[name] = _as_wanted(same[name], value, unsaid.get(name, {}))
        elif name not in same and name in unsaid:
            same[name] = unsaid[name]
    return same


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."

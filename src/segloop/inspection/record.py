"""The numbers of an inspection as one object, fit for strict JSON."""

import math
from typing import Any

import numpy as np

from .look import Change, Inspection, Map, Seen, Tokens

DIGITS = 6  # of every number that is not whole


def record(found: Inspection) -> dict[str, Any]:
    """What `<stem>.inspect.json` holds: maps, changes, points, windows and every constant; no times, no machine."""
    height, width = found.photo.target
    names = found.classes
    made = {
        "source": found.photo.source,
        "size": {"height": height, "width": width},
        "classes": names,
        "maps": {side.name: _map(side) for side in found.maps},
        "changes": [_change(change, names) for change in found.changes],
        "points": [_point(found, seen) for seen in found.seen],
        "windows": [_window(found, tokens) for tokens in found.tokens],
        "settings": found.settings,
    }
    return _plain(made)


def reach(row: np.ndarray) -> float:
    """How many patches a row of weights listens to: 2 to its entropy in bits, 1 for one patch, P for all alike."""
    weights = np.abs(row) / (np.abs(row).sum() or 1)
    some = weights[weights > 0]
    return float(np.exp(-(some * np.log(some)).sum()))


def _map(side: Map) -> dict[str, Any]:
    entropy = {"mean": float(side.entropy.mean()), "median": float(np.median(side.entropy))}
    return {"method": side.title, "share": side.share, "grid": list(side.grid), "entropy_bits": entropy}


def _change(change: Change, names: list[str]) -> dict[str, Any]:
    top = [{"from": names[a], "to": names[b], "share": share} for a, b, share in change.transitions]
    return {"before": change.before, "after": change.after, "share": change.share, "transitions": top}


def _point(found: Inspection, seen: Seen) -> dict[str, Any]:
    spot = seen.place
    host, fed = seen.host.mean(0), seen.fed.mean(0)
    rows = {
        name: {"sum": float(row.sum()), "largest": float(row.max()), "reach": reach(row), "class_token": given}
        for name, row, given in zip(("host", "fsa"), (host, fed), seen.class_token or (None, None), strict=True)
    }
    return {
        "x": spot.point[0],
        "y": spot.point[1],
        "why": spot.why,
        "window": spot.window,
        "patch": {"row": spot.patch[0], "column": spot.patch[1]},
        "heads": len(seen.fed),
        "rows": rows,
        "kept": int(seen.kept.sum()),
        "patches": len(seen.kept),
        "similarity": {"mean": float(seen.similarity.mean()), "least_kept": float(seen.similarity[seen.kept].min())},
        "scores": {
            name: dict(zip(found.classes, values.tolist(), strict=True))
            for name, values in (("host", seen.host_scores), ("fsa", seen.fed_scores))
        },
    }


def _window(found: Inspection, tokens: Tokens) -> dict[str, Any]:
    window = tokens.window
    index = np.flatnonzero(tokens.outliers)
    outliers = [
        {
            "index": int(patch),
            "row": int(patch) // tokens.grid[1],
            "column": int(patch) % tokens.grid[1],
            "norm": {"before": float(tokens.before[patch]), "after": float(tokens.after[patch])},
            "class_attention": float(tokens.class_attention[patch]),
            "self_attention": float(tokens.self_attention[patch]),
        }
        for patch in index
    ]
    norms = {name: values.tolist() for name, values in (("before", tokens.before), ("after", tokens.after))}
    return {
        "number": window.number,
        "box": dict(zip(("top", "bottom", "left", "right"), window.box, strict=True)),
        "grid": {"attention": list(window.grid), "tokens": list(tokens.grid)},
        "kept_share": found.kept_share[window.number],
        "detector": found.detector,
        "median_norm": float(np.median(tokens.before)),
        "outliers": outliers,
        "norms": norms,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return value if value is None or isinstance(value, (str, int)) else str(value)

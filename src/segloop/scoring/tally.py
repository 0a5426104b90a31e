"""What an evaluation counts: outcomes of images, shard by shard on disk, and the record's tables made of them.

Bytes depend on the outcomes alone, so that a run that was interrupted ends in the same files as one that was not.
"""

import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..common.archives import DamagedError, read_npz
from ..common.sheets import csv_text
from ..labels.strays import Uncounted
from .bootstrap import intervals
from .metrics import Confusion, Counts, scores

AREAS = ("intersection", "prediction", "label")
MAP = ("pixels", "void", "rest")  # of `Uncounted`
FAR = 3  # times as many pixels are far more


@dataclass(frozen=True, eq=False)
class Scored:
    """An image that was counted."""

    name: str
    size: tuple[int, int]  # (H, W)
    confusion: Confusion
    boundary: Counts | None = None  # of boundaries, (C,)
    uncounted: Uncounted | None = None  # void and values of no class; None in parts from before these were counted


@dataclass(frozen=True)
class Failed:
    """An image that could not be, with the sentence that says why."""

    name: str
    source: str
    error: str
    remedy: str


Outcome = Scored | Failed


def encode_shard(outcomes: Sequence[Outcome], seal: str) -> bytes:
    """Outcomes of a shard, in order, as one file; `seal` says which shard of which run it is."""
    counted = [outcome for outcome in outcomes if isinstance(outcome, Scored)]
    failed = [vars(outcome) if isinstance(outcome, Failed) else None for outcome in outcomes]
    arrays: dict[str, np.ndarray] = {
        "seal": np.array(seal),
        "failed": np.array(json.dumps(failed)),
        "names": np.array([outcome.name for outcome in counted], dtype=np.str_),
        "sizes": np.array([outcome.size for outcome in counted], np.int64).reshape(-1, 2),
        **_cells(counted, ""),
    }
    arrays |= _boundaries(counted) | _uncounted(counted)
    return _npz(arrays)


def decode_shard(data: bytes, classes: int, seal: str) -> list[Outcome] | None:
    """What `encode_shard` was given; None for bytes that are not whole, or bear another seal."""
    try:
        arrays = read_npz(data)
        if str(arrays.get("seal", seal)) != seal:  # parts from before there were seals bear none
            return None
        counted = iter(_counted(arrays, classes))
        return [Failed(**line) if line else next(counted) for line in json.loads(str(arrays["failed"]))]
    except (DamagedError, ValueError, LookupError, TypeError, RecursionError, StopIteration):
        return None


def _counted(arrays: dict[str, np.ndarray], classes: int) -> list[Scored]:
    found = []
    for number, name in enumerate(arrays["names"].tolist()):
        own = arrays["image"] == number
        cells = Confusion(classes, *(arrays[part][own] for part in ("label", "prediction", "pixels")))
        if max(cells.label.max(initial=0), cells.prediction.max(initial=0)) > classes:
            raise ValueError("pixels of no class")
        edges = [arrays[f"boundary_{part}"][number] for part in AREAS] if "boundary_label" in arrays else None
        height, width = arrays["sizes"][number].tolist()
        left = _left(arrays, number) if "map_pixels" in arrays else None
        found.append(Scored(name, (height, width), cells, Counts(*edges) if edges else None, left))
    return found


def _left(arrays: dict[str, np.ndarray], number: int) -> Uncounted:
    own = arrays["stray_image"] == number
    pixels, void, rest = (int(arrays[f"map_{part}"][number]) for part in MAP)
    values, areas = (tuple(arrays[f"stray_{part}"][own].tolist()) for part in ("value", "pixels"))
    return Uncounted(pixels, void, values, areas, rest)


def counts_file(outcomes: Sequence[Scored], classes: int) -> bytes:
    """counts.npz: per image the areas of each class (n, C) int64, and every cell of its confusion, sparse."""
    areas = [outcome.confusion.counts() for outcome in outcomes]
    arrays = {"images": np.array([outcome.name for outcome in outcomes], dtype=np.str_)}
    arrays |= {part: _rows([getattr(area, part) for area in areas], classes) for part in AREAS}
    arrays |= _cells(outcomes, "pair_") | _boundaries(outcomes)
    return _npz(arrays)


def images_file(outcomes: Sequence[Scored]) -> bytes:
    """images.csv: one line an image, in the data set's order; scores in percent over the classes it holds."""
    lines: list[Sequence[Any]] = [("image", "height", "width", "pixels", "correct", "aAcc", "mIoU")]
    for outcome in outcomes:
        counts = outcome.confusion.counts()
        found = scores(counts)
        pixels, correct = int(counts.label.sum()), int(counts.intersection.sum())
        lines.append((outcome.name, *outcome.size, pixels, correct, _number(found.aAcc), _number(found.mIoU)))
    return _csv(lines)


def summary(outcomes: Sequence[Scored], names: Sequence[str]) -> tuple[dict[str, Any], bytes]:
    """Scores of all images: (what run.json says of them, classes.csv).

    The first holds `metrics` in percent, None where nothing is defined, and their 95 % `intervals` over images; the
    second one line a class.
    """
    per_image = stacked(outcomes, len(names))
    total = per_image.total()
    found, spread = scores(total), _spread(per_image)
    values = {name: getattr(found, name) for name in ("aAcc", "mIoU", "mAcc")}
    ends = {name: spread.get(name) for name in values}
    edges = [outcome.boundary for outcome in outcomes if outcome.boundary]
    if edges:
        boundaries = Counts.stack(edges)
        values["boundary_mIoU"] = scores(boundaries.total()).mIoU
        ends["boundary_mIoU"] = _spread(boundaries).get("mIoU")
    record = {
        "metrics": {name: _finite(value) for name, value in values.items()},
        "intervals": {name: [_finite(end.low), _finite(end.high)] for name, end in ends.items() if end},
    }
    return record, _classes_file(total, names, spread.get("IoU", np.full((len(names), 2), np.nan)))


def _spread(per_image: Counts) -> dict[str, Any]:
    return dict(intervals(per_image)) if len(per_image.label) else {}


def _classes_file(total: Counts, names: Sequence[str], spread: np.ndarray) -> bytes:
    found = scores(total)
    union = total.prediction + total.label - total.intersection
    lines: list[Sequence[Any]] = [
        ("class", "name", "IoU", "IoU_low", "IoU_high", "Acc", "intersection", "union", "prediction", "label")
    ]
    for k, name in enumerate(names):
        percents = [_number(value) for value in (found.IoU[k], *spread[k], found.Acc[k])]
        pixels = [int(area[k]) for area in (total.intersection, union, total.prediction, total.label)]
        lines.append((k, name, *percents, *pixels))
    return _csv(lines)


def stacked(outcomes: Sequence[Scored], classes: int) -> Counts:
    """Areas of each class in each image, (n, C)."""
    areas = [outcome.confusion.counts() for outcome in outcomes]
    return Counts(*(_rows([getattr(area, part) for area in areas], classes) for part in AREAS))


def moved(outcomes: Sequence[Scored]) -> int:
    """-1 or 1 where labels with that added agree with predictions on most pixels, and far more than as they are; or 0.

    Labels that are counted from another number than the class list do so.
    """
    label, prediction, pixels = (
        np.concatenate([getattr(one.confusion, part) for one in outcomes] or [np.empty(0, np.int64)])
        for part in ("label", "prediction", "pixels")
    )
    agreeing = {step: int(pixels[prediction == label + step].sum()) for step in (-1, 0, 1)}
    best = max(agreeing, key=lambda step: agreeing[step])
    return best if agreeing[best] > max(FAR * agreeing[0], pixels.sum() // 2) else 0


def _rows(rows: Sequence[np.ndarray], classes: int) -> np.ndarray:
    return np.array(rows, np.int64).reshape(-1, classes)


def _cells(outcomes: Sequence[Scored], prefix: str) -> dict[str, np.ndarray]:
    owners = [np.full(len(outcome.confusion.pixels), number) for number, outcome in enumerate(outcomes)]
    columns: dict[str, list[np.ndarray]] = {"image": owners}
    columns |= {
        part: [getattr(outcome.confusion, part) for outcome in outcomes] for part in ("label", "prediction", "pixels")
    }
    return {prefix + part: np.concatenate([np.zeros(0, np.int64), *column]) for part, column in columns.items()}


def _boundaries(outcomes: Sequence[Scored]) -> dict[str, np.ndarray]:
    edges = [outcome.boundary for outcome in outcomes if outcome.boundary]
    if not edges:
        return {}
    return {f"boundary_{part}": np.array([getattr(edge, part) for edge in edges], np.int64) for part in AREAS}


def _uncounted(outcomes: Sequence[Scored]) -> dict[str, np.ndarray]:
    left = [outcome.uncounted for outcome in outcomes if outcome.uncounted]
    if len(left) < len(outcomes):
        return {}
    arrays = {f"map_{part}": np.array([getattr(one, part) for one in left], np.int64) for part in MAP}
    arrays["stray_image"] = np.array([n for n, one in enumerate(left) for _ in one.values], np.int64)
    arrays["stray_value"] = np.array([value for one in left for value in one.values], np.int64)
    arrays["stray_pixels"] = np.array([area for one in left for area in one.areas], np.int64)
    return arrays


def _npz(arrays: dict[str, Any]) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def _csv(lines: Sequence[Sequence[Any]]) -> bytes:
    return csv_text(lines).encode("utf-8", "backslashreplace")


def _number(value: float) -> str:
    """Six decimals of a percentage: far below a pixel, and readable. Empty where undefined."""
    return f"{value:.6f}" if math.isfinite(value) else ""


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None

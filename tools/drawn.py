"""Runs on drawn scenes, for the pages that are made of them: cases, their records, what one gains on another."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segloop.evaluation.task import Task
from segloop.results.overlay import draw_overlay
from segloop.runs.crew import Crew
from segloop.runs.folder import read_run
from segloop.scenes.draw import CLASSES
from segloop.scenes.textures import GROUNDS
from segloop.scoring.bootstrap import Paired, paired
from segloop.scoring.metrics import Counts, scores

IS_GROUND = np.array([name in GROUNDS for name in CLASSES])
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Case:
    """One run: its name, which is a folder's, and what it is compared with."""

    name: str
    host: str
    base: str  # another case's name; its own where there is none
    what: str  # the one thing that differs from the base
    group: str
    options: Mapping[str, Any] = field(default_factory=dict)  # fields of Task
    changes: Mapping[str, Any] = field(default_factory=dict)  # of --set

    def task(self, work: Path) -> Task:
        """float32 and one thread, so that other machines agree."""
        where = {"key": "scenes", "places": (str(work / "scenes"),), "out": work / "runs" / self.name}
        return Task(**where, dtype="float32", threads=1, changes=dict(self.changes), **self.options)


@dataclass(frozen=True)
class Done:
    """A case whose run is finished."""

    case: Case
    run: dict[str, Any]  # run.json
    counts: Counts  # (n, C)

    @cached_property
    def score(self) -> str:
        """MIoU with its interval."""
        low, high = self.run["intervals"]["mIoU"]
        return f"{self.mean:.1f} ({low:.1f} to {high:.1f})"

    @property
    def mean(self) -> float:
        """MIoU in percent."""
        return float(self.run["metrics"]["mIoU"])

    @cached_property
    def parts(self) -> tuple[float, float]:
        """MIoU over the grounds, and over the colours."""
        each = scores(self.counts.total()).IoU
        return float(np.nanmean(each[IS_GROUND])), float(np.nanmean(each[~IS_GROUND]))


def crew_of(processes: int) -> Crew:
    """So many processes with one thread each; their records are the same."""
    return Crew(["cpu"] * processes if processes > 1 else [])


def finished(case: Case, work: Path) -> Done | None:
    """The record of a case's run, or None where it has not ended."""
    folder = work / "runs" / case.name
    run = read_run(folder) if folder.is_dir() else None
    if run is None or "metrics" not in run or not (folder / "counts.npz").exists():
        return None
    with np.load(folder / "counts.npz") as kept:
        return Done(case, run, Counts(*(kept[part] for part in ("intersection", "prediction", "label"))))


def gain(done: dict[str, Done], name: str, base: str | None = None) -> Paired | None:
    """What a run gains on another, its own base unless one is given; None where either is missing."""
    second = done.get(name)
    first = done.get(base or (second.case.base if second else ""))
    return paired(first.counts, second.counts) if first is not None and second is not None else None


def told(found: Paired | None) -> str:
    """A gain with its interval, bold where it is more than chance; a small one with two decimals."""
    if found is None:
        return "-"
    one = found.mIoU
    if one.value == one.interval.low == one.interval.high == 0:
        return "0, the same"
    digits = 1 if abs(one.value) >= 0.1 else 2
    text = f"{one.value:+.{digits}f} ({one.interval.low:+.{digits}f} to {one.interval.high:+.{digits}f})"
    return f"**{text}**" if one.p < SIGNIFICANT else text


def sheet(photo: np.ndarray, maps: Sequence[np.ndarray]) -> bytes:
    """A photo and label maps of CLASSES side by side, as PNG."""
    views = [Image.fromarray(photo).resize(np.array(photo.shape[1::-1]) * 2)]
    views += [draw_overlay(photo, labels, list(CLASSES), alpha=0.75, legend=False) for labels in maps]
    width, height = views[-1].size
    whole = Image.new("RGB", (len(views) * (width + 8) - 8, height), "white")
    for number, view in enumerate(views):
        whole.paste(view.resize((width, height)), (number * (width + 8), 0))
    stream = io.BytesIO()
    whole.quantize(128).save(stream, "PNG", optimize=True)
    return stream.getvalue()

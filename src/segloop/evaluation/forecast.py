"""What an evaluation would take, from a few images of each data set: how many, how long, how large. Nothing is written.

A few images go the way of all, through every run of their data set side by side; what runs share, they share here too.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial

import numpy as np
from torch import Tensor

from ..backbones.shared import Memory, Models
from ..choice.settings import Geometry
from ..common.attempts import attempt
from ..common.visible import counted
from ..data.datasets import OpenDataset, Sample
from ..errors import ImageError, MissingModelError
from ..line.steps import prepare
from ..results.segmentation import label_png
from ..runs.forecast import TRIED, spread
from ..runs.record import Record
from ..runs.work import work
from ..scoring.tally import Outcome
from .counting import Compared, Counting, job_of
from .record import COUNTED
from .run import Say, by_data, look
from .task import Settled, Task, plan_of, settle


@dataclass(frozen=True)
class Forecast:
    """Figures of all runs on one data set, as if none of them had begun."""

    dataset: str
    runs: int
    images: int
    tried: int
    unusable: int  # of those tried
    windows: int  # of all runs together
    seconds: float  # on this machine, of the runs whose networks are on it, as are the following
    record: int  # bytes
    maps: int  # bytes of label maps that are kept
    scores: int  # bytes of cosines that are kept
    untimed: int = 0  # runs whose networks are neither on this machine nor to be had now


@dataclass(frozen=True)
class Weighed(Record[Outcome]):
    """A record that says how large its shards would be, and keeps none."""

    bytes: list[int] = field(default_factory=list)

    def keep(self, shard: int, outcomes: Sequence[Outcome]) -> None:
        """How many bytes they would take."""
        self.bytes.append(len(self.shards.encode(outcomes, self.seal(shard))))


@dataclass(frozen=True)
class Trial(Counting):
    """A run in work that says how large its files would be, and writes none."""

    windows_seen: list[int] = field(default_factory=list)
    map_bytes: list[int] = field(default_factory=list)
    score_bytes: list[int] = field(default_factory=list)

    def done(self, item: Sample, photo: Compared, decided: np.ndarray, tiles: Tensor) -> Outcome:
        """Its counts. Raises ImageError."""
        self.windows_seen.append(len(photo.photo.windows))
        if self.maps:
            self.map_bytes.append(len(label_png(decided, self.classes)))
        if self.encode:
            self.score_bytes.append(len(self.encode(photo.photo, tiles)))
        return self.counted(item, photo, decided)


def forecast(tasks: Sequence[Task], say: Say, tried: int = TRIED) -> list[Forecast]:
    """Judge all tasks, data set by data set. Data sets are checked as for `evaluate`, words are encoded before.

    Runs whose networks are not here are counted without being timed, and told. Raises as `evaluate` does, but for
    folders and records, which are not looked into.
    """
    models = Models(Memory() if len(tasks) > 1 else None)
    return [_of(group, models, tried, say) for group in by_data(look(tasks, say))]


def _of(group: Sequence[tuple[Task, OpenDataset]], models: Models, tried: int, say: Say) -> Forecast:
    data = group[0][1]
    chosen = data.samples[spread(len(data.samples), tried)]
    settled, missing = _settled(group, models, say)
    trials = [_trial(one, replace(one.data, samples=chosen)) for one in settled]
    start = time.perf_counter()
    work(trials, [0], lambda images: None, models.memory)
    factor = len(data.samples) / len(chosen)
    seconds = (time.perf_counter() - start) * factor if trials else 0.0
    plans = [plan_of(task, models) for task in missing]
    by_geometry = {geometry: _windows(geometry, chosen) for geometry in {plan.geometry for plan in plans}}
    seen = [*(by_geometry[plan.geometry] for plan in plans), *(trial.windows_seen for trial in trials)]
    return Forecast(
        dataset=data.name,
        runs=len(seen),
        images=len(data.samples),
        tried=len(chosen),
        unusable=len(chosen) - min(map(len, seen)),
        windows=round(sum(map(sum, seen)) * factor),
        seconds=seconds,
        record=round(sum(sum(trial.record.bytes) for trial in trials if isinstance(trial.record, Weighed)) * factor),
        maps=round(sum(sum(trial.map_bytes) for trial in trials) * factor),
        scores=round(sum(sum(trial.score_bytes) for trial in trials) * factor),
        untimed=len(missing),
    )


def _settled(group: Sequence[tuple[Task, OpenDataset]], models: Models, say: Say) -> tuple[list[Settled], list[Task]]:
    """Tasks that can be tried, and those whose networks are not here, which are told."""
    settled, missing = [], []
    told: dict[str, int] = {}
    for task, data in group:
        try:
            settled.append(settle(task, data, models))
        except MissingModelError as error:
            missing.append(task)
            told[str(error)] = told.get(str(error), 0) + 1
    for sentence, runs in told.items():
        say(f"{counted(runs, 'run')} without a time: {sentence}")
    return settled, missing


def _windows(geometry: Geometry, samples: Sequence[Sample]) -> list[int]:
    """How many windows each photo has that can be read."""
    photos = (attempt(partial(prepare, sample.image, geometry, 1, 1), str(sample.image)) for sample in samples)
    return [len(photo.windows) for photo in photos if not isinstance(photo, ImageError)]


def _trial(settled: Settled, data: OpenDataset) -> Trial:
    record = Weighed(settled.task.out, settled.inputs.as_json(), COUNTED)
    job = job_of(replace(settled, data=data), record, [0])
    own = {one.name: getattr(job, one.name) for one in fields(job)}
    return Trial(**{**own, "shards": [slice(0, len(data.samples))]})

"""Runs of evaluations in plain values, so that other processes do some of their shards."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..backbones.shared import Memory, Models
from ..data.splits import is_list
from ..line.masking import whole_masks
from ..runs.networks import whole_file, whole_place
from ..runs.record import Record
from ..runs.sameness import check_agreed, check_there
from .counting import Counting, job_of
from .record import COUNTED
from .task import Task, find, settle

NAMED = ("clip", "method", "host", "vision", "affinity")  # fields of a task that may be folders or files


@dataclass(frozen=True)
class Sent:
    """Tasks, what their records say, and which shards each misses; see `runs.work.Portable`."""

    tasks: tuple[Task, ...]
    inputs: tuple[dict[str, Any], ...]
    missing: tuple[frozenset[int], ...]

    def jobs(self, device: str) -> tuple[list[Counting], Memory | None]:
        """The jobs, with networks of their own. Raises MachineError where they would not give the same counts."""
        models = Models(Memory() if len(self.tasks) > 1 else None)
        jobs = []
        for task, known, missing in zip(self.tasks, self.inputs, self.missing, strict=True):
            check_there(task.out, known)
            settled = settle(replace(task, device=device), find(task), models)
            check_agreed(known, settled.inputs.as_json())
            jobs.append(job_of(settled, Record(task.out, known, COUNTED), missing))
        return jobs, models.memory


def sent(tasks: Sequence[Task], jobs: Sequence[Counting], offline: bool) -> Sent:
    """Jobs of tasks, in their order, for others; `offline` where models have been fetched for them."""
    known = tuple(job.record.inputs for job in jobs)
    return Sent(tuple(_elsewhere(task, offline) for task in tasks), known, tuple(job.missing for job in jobs))


def _elsewhere(task: Task, offline: bool) -> Task:
    """The same for a process that works in another folder; the record is there, and is not begun anew."""
    named: dict[str, Any] = {name: whole_place(getattr(task, name)) for name in NAMED}
    places = tuple(_whole(place) for place in task.places)
    split = os.path.abspath(os.path.expanduser(task.split)) if task.split and is_list(task.split) else task.split
    own: dict[str, Any] = {"out": task.out.absolute(), "overwrite": False, "offline": offline or task.offline}
    own |= {"bank": whole_file(task.bank), "aliases": whole_file(task.aliases)}
    return replace(task, **named, **own, places=places, split=split, regions=whole_masks(task.regions))


def _whole(place: str) -> str:
    """A value of --data, DIR or key=DIR."""
    key, equals, folder = place.rpartition("=")
    return f"{key}{equals}{os.path.abspath(os.path.expanduser(folder))}"

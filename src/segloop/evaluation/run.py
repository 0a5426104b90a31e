"""Runs from their tasks: what is there is continued, what is missing is done, and the record is put together."""

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import groupby
from pathlib import Path
from typing import Any

from ..backbones.shared import Memory, Models
from ..data.datasets import OpenDataset
from ..errors import OptionError
from ..line.masking import whole_masks
from ..runs.crew import Crew, Work
from ..runs.folder import locked
from ..runs.inputs import tell_unseen
from ..runs.machine import command_line, machine
from ..runs.record import open_record
from ..runs.told import Advance, Progress, Step, adding, silent
from .counting import Counting, job_of
from .preflight import check_labels, orientation_notes
from .record import COUNTED, LAYOUT, MAPS, Evaluation, finish
from .sent import sent
from .task import Settled, Task, find, settle

Say = Callable[[str], None]


@dataclass(frozen=True)
class Finished:
    """A run that has ended."""

    task: Task
    folder: Path
    run: dict[str, Any]  # run.json


def evaluate(
    tasks: Sequence[Task], crew: Crew | None = None, say: Say = print, progress: Progress = silent
) -> list[Finished]:
    """Do all tasks, those of one data set side by side: they share networks, words and what a window's pixels give.

    Every data set is checked before anything starts, and every folder is locked while it is worked on. Runs in
    folders that hold the same run are continued; those that are done are only read, unless their tasks are to try again
    what failed. Raises as `open_dataset`,
    `check_labels`, `Segmenter.from_pretrained` and `open_record` do, MachineError where a helping process was lost.
    """
    crew = crew or Crew()
    found = look(tasks, say if crew.leads else lambda sentence: None)
    for task, data in found if crew.leads else []:
        _check_apart(task, data)
    models = Models(Memory() if len(tasks) > 1 else None)
    advance = adding(progress, sum(len(data.samples) for _, data in found))
    return [one for group in by_data(found) for one in _side_by_side(group, models, crew, say, advance)]


def look(tasks: Sequence[Task], say: Say) -> list[tuple[Task, OpenDataset]]:
    """Every task with its data set, checked before anything starts; `say` is told what to know of them."""
    found = [(task, find(task)) for task in tasks]
    for note in dict.fromkeys(note for _, data in found for note in data.notes):
        say(note)
    for data in {_which(task): data for task, data in found}.values():
        check_labels(data)
        for note in orientation_notes(data):
            say(note)
    return found


def by_data(found: Sequence[tuple[Task, OpenDataset]]) -> list[list[tuple[Task, OpenDataset]]]:
    """Tasks that are done side by side: those of one data set."""
    return [list(group) for _, group in groupby(found, lambda pair: _which(pair[0]))]


def _which(task: Task) -> tuple[Any, ...]:
    return task.key, task.split, task.limit


def _check_apart(task: Task, data: OpenDataset) -> None:
    """Raises OptionError where a run that begins anew would take away label maps that it is judged by."""
    gone = Path(os.path.realpath(task.out / MAPS))
    folders = {sample.label.parent for sample in data.samples} if task.overwrite else set()
    if any(Path(os.path.realpath(folder)).is_relative_to(gone) for folder in folders):
        raise OptionError(f"--overwrite would delete the label maps in {task.out / MAPS}", "choose another --out")


def _side_by_side(
    group: Sequence[tuple[Task, OpenDataset]], models: Models, crew: Crew, say: Say, advance: Advance
) -> list[Finished]:
    with ExitStack() as stack:
        if crew.leads:
            for task, _ in group:
                stack.enter_context(locked(task.out, LAYOUT))
        measure = say if crew.settles_alone else None
        settled = [settle(task, data, models, measure) for task, data in group]
        tell_unseen([one.inputs.settings for one in settled if crew.leads], say)
        begun = crew.agree(lambda: [_begin(one, say) for one in settled], [one.inputs for one in settled], COUNTED)
        jobs = [job_of(one, *own) for one, own in zip(settled, begun, strict=True)]
        advance(Step(sum(len(job.data.samples) - job.images for job in jobs), earlier=True))
        for _, alike in groupby([job for job in jobs if job.missing], lambda job: job.shards):
            _work(list(alike), settled, models, crew, advance)
        if not crew.leads:
            return []
        return [_finish(one, record) for one, (record, _) in zip(settled, begun, strict=True)]


def _begin(settled: Settled, say: Say) -> tuple[Evaluation, list[int]]:
    """The record of a task, and which of its shards are to be done: those that are missing or are to be tried again."""
    task, shards = settled.task, len(settled.shards)
    record = open_record(task.out, settled.inputs, COUNTED, task.overwrite)
    done = record.finished
    if done and not (task.retry_failed and done["failed"]):
        say(f"{task.out} holds this run, done")
        return record, []
    missing = record.missing(shards, say)
    todo = sorted({*missing, *(record.failing(range(shards)) if task.retry_failed else ())})
    if done:
        record.reopen()
    if done or len(missing) < shards:
        say(f"{task.out}: going on, {len(todo)} of {shards} shards are left")
    return record, todo


def _work(jobs: Sequence[Counting], settled: Sequence[Settled], models: Models, crew: Crew, advance: Advance) -> None:
    """The missing shards of jobs whose shards are alike, by this process and those that help it."""
    todo = sorted(set().union(*(job.missing for job in jobs)))
    total = sum(job.images for job in jobs)
    names = {job.record.folder for job in jobs}
    tasks = [one.task for one in settled if one.task.out in names]
    entry = {
        "started": datetime.now(timezone.utc).isoformat(),
        "command": command_line(),
        "machine": machine(),
        "devices": [str(settled[0].segmenter.clip.device)],
        **crew.told,
        "data": [str(jobs[0].data.root)],
        "split": tasks[0].split,
        **({"masks": whole_masks(regions)} if (regions := tasks[0].regions) else {}),
        "images": total,
    }
    for job in jobs if crew.leads else []:
        job.record.log(entry)
    portable = sent(tasks, jobs, offline=crew.near) if crew.helped else None
    seconds = crew.do(Work(jobs, todo, portable, models.memory), advance)
    for job in jobs if crew.leads else []:
        ended = datetime.now(timezone.utc).isoformat()
        job.record.log({**entry, "ended": ended, "seconds": seconds, "runs_side_by_side": len(jobs)})


def _finish(settled: Settled, record: Evaluation) -> Finished:
    return Finished(settled.task, record.folder, record.finished or finish(record, len(settled.shards)))

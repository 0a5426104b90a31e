"""Runs jobs on threads, which overlap waiting for the disk with work.

Two processes took 0.6 of the time of two threads on COCO's maps, 5 ms a photo: encoders hold Python's lock. They
would ask every script that calls `prepare` for a main guard, and a photo costs too little for that.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import ImageError, SegloopError
from .work import Making, decoding, stored_ids, writing

AHEAD = 4  # jobs a worker that are started before the first result is taken


@dataclass(frozen=True)
class Done:
    """What became of a job."""

    job: Making
    kept: bool = False  # the target was there, and right
    ids: frozenset[int] = frozenset()  # class numbers it holds
    error: SegloopError | None = None


def run_jobs(
    jobs: Sequence[Making],
    allowed: frozenset[int],
    *,
    workers: int,
    overwrite: bool,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Done]:
    """Do the jobs, and yield what became of each in their order.

    A target is kept where it decodes, has the size that is wanted and holds no number outside `allowed`; another
    picture in its place is reported, and replaced with `overwrite`. A job whose raw file is missing or damaged is
    reported. Raises OutputError and MachineError: they would meet every job.
    """
    pool = ThreadPoolExecutor(workers)
    waiting: deque[Future[Done]] = deque()
    try:
        finished = 0
        todo = iter(jobs)
        while True:
            while len(waiting) < AHEAD * workers and (job := next(todo, None)) is not None:
                waiting.append(pool.submit(_one, job, allowed, overwrite))
            if not waiting:
                return
            yield waiting.popleft().result()
            finished += 1
            if progress is not None:
                progress(finished, len(jobs))
    finally:
        pool.shutdown(cancel_futures=True)


def _one(job: Making, allowed: frozenset[int], overwrite: bool) -> Done:
    try:
        if not overwrite and job.target.is_file():
            seen = _look(job)
            if seen is not None and seen <= allowed:
                return Done(job, kept=True, ids=seen)
            if _is_picture(job.target):
                what = f"{job.target} is there and is not what would be made"
                return Done(job, error=ImageError(what, "move it away, or replace it with --overwrite"))
        if job.target.is_symlink() and job.target.exists():  # perhaps to the raw file itself
            return Done(job, error=ImageError(f"{job.target} is a link", "remove it, or move it away"))
        with writing(), decoding(job.source):
            job.write()
        seen = _look(job)
    except ImageError as error:
        return Done(job, error=error)
    if seen is None:
        return Done(job, error=ImageError(f"{job.target} was written and cannot be read", "check the disk"))
    return Done(job, ids=seen)


def _is_picture(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False
    return True


def _look(job: Making) -> frozenset[int] | None:
    """The numbers a target holds (a photo: none); None where it does not decode or has another size."""
    with decoding(job.source):
        size = job.size()
    try:
        if job.photo:
            with Image.open(job.target) as image:
                image.load()
                return frozenset() if (image.height, image.width) == size else None
        labels = stored_ids(job.target)
    except (ImageError, OSError, SyntaxError, ValueError):
        return None
    return frozenset(np.bincount(labels.ravel()).nonzero()[0].tolist()) if labels.shape == size else None

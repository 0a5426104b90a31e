"""Shards of a data set through a source of label maps: threads read ahead and count behind, the network never waits."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from threading import Lock
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

from ..backbones.shared import Memory
from ..common.attempts import attempt
from ..common.earlier import check_replaced
from ..common.files import write_whole
from ..data.datasets import OpenDataset, Sample
from ..errors import ImageError, TooLargeError
from ..labels.strays import uncounted
from ..results.segmentation import label_png
from ..scoring.boundary import boundary_counts
from ..scoring.metrics import Void, confusion
from ..scoring.tally import Failed, Outcome, Scored
from .record import MAP, MAPS, Evaluation
from .source import Live, Source, write_scores
from .task import Settled

READERS = 4  # threads that read ahead and count
AHEAD = 12  # photos that are read before they are needed

Progress = Callable[[int, int], None]
"""(images done, images in all)"""

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Job:
    """One run in work: where labels come from, what they are counted against, where outcomes go."""

    record: Evaluation
    data: OpenDataset
    source: Source
    classes: list[str]
    void: Void
    shards: list[slice]
    missing: frozenset[int]
    boundary: bool = False
    maps: bool = False
    encode: Callable[[Any, Tensor], bytes] | None = None  # a photo and its windows' cosines, where they are kept

    @property
    def images(self) -> int:
        """How many are still to be done."""
        return sum(self.shards[shard].stop - self.shards[shard].start for shard in self.missing)


def job_of(settled: Settled, record: Evaluation, missing: Iterable[int]) -> Job:
    """The work that a settled task still has: its missing shards."""
    task = settled.task
    rows = settled.vocabulary.embeddings
    assert rows is not None
    source = Live(settled.segmenter, rows, settled.rule)
    return Job(
        record=record,
        data=settled.data,
        source=source,
        classes=settled.vocabulary.classes,
        void=settled.void,
        shards=settled.shards,
        missing=frozenset(missing),
        boundary=task.boundary,
        maps=task.maps,
        encode=source.encode if task.scores else None,
    )


@dataclass
class Clock:
    """Seconds by stage, from any thread."""

    seconds: dict[str, float] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Add what happens inside to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            with self.lock:
                self.seconds[stage] = self.seconds.get(stage, 0.0) + spent


@dataclass(frozen=True)
class _Read:
    """A photo and its truth, or why there is none; and what for."""

    job: Job
    shard: int
    sample: Sample
    photo: Any = None  # Ready
    truth: np.ndarray | None = None  # (H0, W0)
    failed: ImageError | None = None


def adding(progress: Progress, total: int) -> Callable[[int], None]:
    """A function that is told of each few images done, and tells `progress` of all so far."""
    done = 0

    def advance(images: int) -> None:
        nonlocal done
        done += images
        progress(done, total)

    advance(0)
    return advance


def work(
    jobs: Sequence[Job], shards: Iterable[int], advance: Callable[[int], None], memory: Memory | None = None
) -> dict[str, float]:
    """Do these shards for every job that misses them -> seconds by stage.

    Jobs share the data set and are done shard by shard, so that what `memory` keeps of a window serves all of them.
    `advance(n)` is told of images done. Stages in threads (read, count) go on beside network, decide and wait, which
    is for a photo that is not read yet.
    """
    clock, by_id = Clock(), {id(job): job for job in jobs}
    calls = (
        (job, shard, sample)
        for shard in shards
        for job in jobs
        if shard in job.missing
        for sample in job.data.samples[job.shards[shard]]
    )
    with ThreadPoolExecutor(READERS) as pool:
        reads = _timed(ahead(pool, lambda call: _read(*call, clock), calls), clock)
        last = None
        for (shard, own), photos in groupby(reads, lambda one: (one.shard, id(one.job))):
            job = by_id[own]
            if memory is not None and shard != last:
                memory.forget()
            done = _shard(job.source, photos, pool, clock)
            job.record.keep(shard, done)
            advance(len(done))
            last = shard
    return {stage: round(seconds, 3) for stage, seconds in sorted(clock.seconds.items())}


def _shard(source: Source, photos: Iterable[_Read], pool: ThreadPoolExecutor, clock: Clock) -> list[Outcome]:
    """Do one shard of one job; batches begin and end with it. Photos that memory does not hold beside others come last.

    Then each of them is alone, so that a giant does not cost its neighbours their score.
    """
    outcomes: dict[str, Future[Outcome] | None] = {}
    waiting: list[_Read] = []
    late: list[_Read] = []

    def flush() -> None:
        with clock("network"):
            tiles = _tiles(source, waiting)
        if isinstance(tiles, ImageError):
            late.extend(map(_bare, waiting))
            tiles = []
        for one, found in zip(waiting, tiles, strict=False):
            with clock("decide"):
                labels = attempt(partial(source.labels, one.photo, found), one.sample.image)
            if isinstance(labels, ImageError):
                late.append(_bare(one))
            else:
                outcomes[one.sample.name] = pool.submit(_count, one, labels, found, clock)
        waiting.clear()

    for one in photos:
        outcomes[one.sample.name] = pool.submit(_failure, one.sample, one.failed) if one.failed else None
        if one.failed is None:
            waiting.append(one)
        elif isinstance(one.failed, TooLargeError):
            late.append(one)
        if sum(len(other.photo.windows) for other in waiting) >= source.batch:
            flush()
    flush()
    done = {name: outcome.result() for name, outcome in outcomes.items() if outcome}
    done |= {one.sample.name: _alone(source, one, clock) for one in late}
    return [done[name] for name in outcomes]


def _alone(source: Source, late: _Read, clock: Clock) -> Outcome:
    """One photo from its file to its counts, nothing else of its shard in memory."""
    one = _read(late.job, late.shard, late.sample, clock)
    with clock("network"):
        tiles = one.failed or _tiles(source, [one])
    if isinstance(tiles, ImageError):
        return _failure(one.sample, tiles)
    with clock("decide"):
        labels = attempt(partial(source.labels, one.photo, tiles[0]), one.sample.image)
    return _failure(one.sample, labels) if isinstance(labels, ImageError) else _count(one, labels, tiles[0], clock)


def _tiles(source: Source, photos: Sequence[_Read]) -> list[Tensor] | ImageError:
    if not photos:
        return []
    return attempt(lambda: source.tiles([one.photo for one in photos]), photos[0].sample.image)


def _read(job: Job, shard: int, sample: Sample, clock: Clock) -> _Read:
    def both() -> _Read:
        photo = job.source.read(sample)
        return _Read(job, shard, sample, photo, job.data.truth(sample, photo.target))

    with clock("read"):
        found = attempt(both, sample.image)
    return _Read(job, shard, sample, failed=found) if isinstance(found, ImageError) else found


def _bare(one: _Read) -> _Read:
    return _Read(one.job, one.shard, one.sample)


def _count(one: _Read, labels: np.ndarray, tiles: Tensor, clock: Clock) -> Outcome:
    with clock("count"):
        found = attempt(partial(_counted, one, labels, tiles), one.sample.image)
    return _failure(one.sample, found) if isinstance(found, ImageError) else found


def _counted(one: _Read, labels: np.ndarray, tiles: Tensor) -> Scored:
    job, sample, classes = one.job, one.sample, len(one.job.classes)
    truth = one.truth if one.truth is not None else labels[:0]
    cells = confusion(labels, truth, classes, job.void)
    edges = boundary_counts(labels, truth, classes, job.void) if job.boundary else None
    if job.maps:
        target = job.record.folder / MAPS / f"{sample.name}.png"
        check_replaced({target: MAP}, "move it away, or choose another --out")
        write_whole(target, label_png(labels, job.classes))
    if job.encode:
        write_scores(job.record.folder, sample, job.encode(one.photo, tiles))
    left = uncounted(truth, classes, job.data.dataset.rule)
    return Scored(sample.name, (labels.shape[0], labels.shape[1]), cells, edges, left)


def _failure(sample: Sample, error: ImageError) -> Failed:
    return Failed(sample.name, str(sample.image), error.what, error.remedy)


def ahead(pool: ThreadPoolExecutor, do: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Results in order, some of them computed before they are asked for."""
    waiting: deque[Future[Result]] = deque()
    for item in items:
        waiting.append(pool.submit(do, item))
        if len(waiting) > AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _timed(items: Iterator[Item], clock: Clock) -> Iterator[Item]:
    while True:
        with clock("wait"):
            item = next(items, None)
        if item is None:
            return
        yield item

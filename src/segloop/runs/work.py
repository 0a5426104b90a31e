"""Shards of photos through a source of label maps: threads read ahead and finish behind, the network never waits.

What is done with a photo's labels is the job's own: counted against a label map, or written where labels are wanted.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from threading import Lock
from typing import Any, Generic, Protocol, TypeVar

from torch import Tensor

from ..backbones.shared import Memory
from ..common.ahead import ahead, hold_back, threads
from ..common.attempts import attempt
from ..errors import ImageError, TooLargeError
from ..line.batches import full, weight
from ..line.steps import Cut
from .record import Outcome, Record
from .told import ONE, Advance, Kept, Step

DECIDED = 5  # times the bytes of a photo: with its labels in 64 bits and their confidence

Item = TypeVar("Item")


class Job(Protocol[Item, Outcome]):
    """One run in work. An item names a photo; `read`, `done` and `failed` are called in threads."""

    @property
    def record(self) -> Record[Outcome]:
        """Where outcomes go."""

    @property
    def missing(self) -> frozenset[int]:
        """Shards that are still to be done."""

    @property
    def batch(self) -> int:
        """Windows that are worth going together."""

    def items(self, shard: int) -> Sequence[Item]:
        """The photos of a shard."""

    def place(self, item: Item) -> Path | str:
        """Where the photo lies, no other item does."""

    def read(self, item: Item) -> Any:
        """The photo as the other methods take it. Raises ImageError."""

    def cut(self, photo: Any) -> Cut:
        """The photo and its windows."""

    def tiles(self, photos: Sequence[Any]) -> list[Tensor]:
        """Cosines of each photo's windows, (n, Q, h, w) float32."""

    def decide(self, photo: Any, tiles: Tensor) -> Any:
        """The photo's labels, as `done` takes them."""

    def done(self, item: Item, photo: Any, decided: Any, tiles: Tensor) -> Outcome:
        """What becomes of it. Raises ImageError."""

    def failed(self, item: Item, error: ImageError) -> Outcome:
        """What becomes of a photo that could not be used."""


class Portable(Protocol):
    """Jobs in plain values, so that another process, perhaps on another machine, can open them and do some shards."""

    def jobs(self, device: str) -> tuple[Sequence[Job], Memory | None]:
        """The jobs with networks of their own on a device, and what keeps features for several of them.

        Raises MachineError where they do not see the run's folder, or would not give the same results.
        """


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
class _Read(Generic[Item, Outcome]):
    """A photo, or why there is none; and what for."""

    job: Job[Item, Outcome]
    shard: int
    item: Item
    photo: Any = None
    error: ImageError | None = None

    @property
    def place(self) -> Path | str:
        return self.job.place(self.item)

    def weight(self) -> int:
        """Bytes of the photo."""
        return 0 if self.error else weight(self.job.cut(self.photo))

    def bare(self) -> "_Read[Item, Outcome]":
        """The same, nothing of the photo in memory."""
        return _Read(self.job, self.shard, self.item)


def work(
    jobs: Sequence[Job[Item, Outcome]],
    shards: Iterable[int],
    advance: Advance,
    memory: Memory | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> dict[str, float]:
    """Do these shards for every job that misses them, until it is `stopped` behind one of them -> seconds by stage.

    Jobs share their photos and are done shard by shard, so that what `memory` keeps of a window serves all of them.
    `advance` is told of each image, and of each shard that is kept. Stages in threads (read, count) go on beside
    network, decide and wait, which is for a photo that is not read yet.
    """
    clock, by_id = Clock(), {id(job): job for job in jobs}
    calls = (
        (job, shard, item) for shard in shards for job in jobs if shard in job.missing for item in job.items(shard)
    )
    with threads() as pool:
        reads = _timed(ahead(pool, lambda call: _read(*call, clock), calls, _Read.weight), clock)
        last = None
        for (shard, own), photos in groupby(reads, lambda one: (one.shard, id(one.job))):
            job = by_id[own]
            if memory is not None and shard != last:
                memory.forget()
            done = _shard(job, photos, pool, clock, advance)
            job.record.keep(shard, done)
            advance(Step(0, job.record.folder, Kept(shard, len(done), job.record.failures(done))))
            if stopped():
                break
            last = shard
    return {stage: round(seconds, 3) for stage, seconds in sorted(clock.seconds.items())}


def _shard(
    job: Job[Item, Outcome],
    photos: Iterable[_Read[Item, Outcome]],
    pool: ThreadPoolExecutor,
    clock: Clock,
    advance: Advance,
) -> list[Outcome]:
    """Do one shard of one job; batches begin and end with it. Photos that memory does not hold beside others come last.

    Then each of them is alone, so that a giant does not cost its neighbours their result.
    """
    outcomes: dict[Path | str, Future[Outcome] | None] = {}
    waiting: list[_Read[Item, Outcome]] = []
    late: list[_Read[Item, Outcome]] = []
    behind: deque[tuple[Future[Outcome], int]] = deque()

    def flush() -> None:
        with clock("network"):
            tiles = _tiles(job, waiting)
        if isinstance(tiles, ImageError):
            late.extend(one.bare() for one in waiting)
            tiles = []
        for one, found in zip(waiting, tiles, strict=False):
            with clock("decide"):
                decided = attempt(partial(job.decide, one.photo, found), one.place)
            if isinstance(decided, ImageError):
                late.append(one.bare())
            else:
                outcomes[one.place] = future = pool.submit(_done, one, decided, found, clock)
                behind.append((future, DECIDED * one.weight()))
                hold_back(behind)
                advance(ONE)
        waiting.clear()

    for one in photos:
        outcomes[one.place] = pool.submit(job.failed, one.item, one.error) if one.error else None
        if one.error is None:
            waiting.append(one)
        elif isinstance(one.error, TooLargeError):
            late.append(one)
        else:
            advance(ONE)
        if full([job.cut(other.photo) for other in waiting], job.batch):
            flush()
    flush()
    done = {place: outcome.result() for place, outcome in outcomes.items() if outcome}
    for one in late:
        done[one.place] = _alone(one, clock)
        advance(ONE)
    return [done[place] for place in outcomes]


def alone(job: Job[Item, Outcome], shard: int, item: Item) -> Outcome:
    """One item of a shard by itself, from its file to its outcome."""
    return _alone(_Read(job, shard, item), Clock())


def _alone(late: _Read[Item, Outcome], clock: Clock) -> Outcome:
    """One photo from its file to its outcome, nothing else of its shard in memory."""
    job = late.job
    one = _read(job, late.shard, late.item, clock)
    with clock("network"):
        tiles = one.error or _tiles(job, [one])
    if isinstance(tiles, ImageError):
        return job.failed(one.item, tiles)
    with clock("decide"):
        decided = attempt(partial(job.decide, one.photo, tiles[0]), one.place)
    return job.failed(one.item, decided) if isinstance(decided, ImageError) else _done(one, decided, tiles[0], clock)


def _tiles(job: Job[Item, Outcome], photos: Sequence[_Read[Item, Outcome]]) -> list[Tensor] | ImageError:
    if not photos:
        return []
    return attempt(lambda: job.tiles([one.photo for one in photos]), photos[0].place)


def _read(job: Job[Item, Outcome], shard: int, item: Item, clock: Clock) -> _Read[Item, Outcome]:
    with clock("read"):
        found = attempt(partial(job.read, item), job.place(item))
    error = found if isinstance(found, ImageError) else None
    return _Read(job, shard, item, None if error else found, error)


def _done(one: _Read[Item, Outcome], decided: Any, tiles: Tensor, clock: Clock) -> Outcome:
    with clock("count"):
        found = attempt(partial(one.job.done, one.item, one.photo, decided, tiles), one.place)
    return one.job.failed(one.item, found) if isinstance(found, ImageError) else found


def _timed(items: Iterator[Item], clock: Clock) -> Iterator[Item]:
    while True:
        with clock("wait"):
            item = next(items, None)
        if item is None:
            return
        yield item

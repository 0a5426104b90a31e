"""Who works on runs: this process alone, or with helpers that it starts on other devices.

Shards are what is handed out. Their bytes do not depend on who does them, so neither does the record. Other crews are
the ranks of torchrun (`ranks`) and the actors of Ray (`cluster`).
"""

import multiprocessing
import queue
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any

from ..backbones.shared import Memory
from ..errors import MachineError, SegloopError
from .record import Inputs, Record, Shards
from .told import Advance
from .work import Job, Portable, work

Begun = tuple[Record[Any], list[int]]
"""A record and the shards that it misses."""

Stopped = Callable[[], bool]


@dataclass(frozen=True)
class Work:
    """Shards that some runs miss, for this process and for others."""

    jobs: Sequence[Job]  # of runs whose shards are alike
    todo: Sequence[int]  # shards that one of them misses
    portable: Portable | None = None  # the same jobs for others; None: they cannot be sent
    memory: Memory | None = None


@dataclass
class Crew:
    """This process alone, or the first of `devices` with one helper for each of the others."""

    devices: list[str] = field(default_factory=list)
    leads: bool = True  # whether this process opens and finishes the record

    @property
    def helped(self) -> bool:
        """Whether other processes open networks of their own."""
        return len(self.devices) > 1

    @property
    def near(self) -> bool:
        """Whether all are on this machine, where models have been fetched when they start."""
        return True

    @property
    def settles_alone(self) -> bool:
        """Whether one process settles what the others take from the record."""
        return True

    @property
    def told(self) -> dict[str, Any]:
        """What the log of a run says of them."""
        return {"devices": self.devices} if self.devices else {}

    def agree(self, begin: Callable[[], list[Begun]], inputs: Sequence[Inputs], shards: Shards[Any]) -> list[Begun]:
        """The records that everybody works on, and what they miss."""
        return begin()

    def do(self, todo: Work, advance: Advance, stopped: Stopped = lambda: False) -> dict[str, float]:
        """Do all shards, or stop behind those in hand -> seconds by stage of this process.

        Raises what a helper raised, MachineError where one was lost.
        """
        if todo.portable is None or not self.helped:
            return work(todo.jobs, todo.todo, advance, todo.memory, stopped)
        with _helpers(todo.portable, self.devices[1:], todo.todo, advance, stopped) as shards:
            return work(todo.jobs, shards, advance, todo.memory, stopped)


@contextmanager
def _helpers(
    portable: Portable, devices: Sequence[str], todo: Sequence[int], advance: Advance, stopped: Stopped
) -> Iterator[Iterator[int]]:
    """Shards for this process to do; helpers take others from the same heap until it is empty."""
    context = multiprocessing.get_context("spawn")
    heap, told = context.Value("i", 0), context.Queue()
    started = [
        context.Process(target=_help, args=(portable, device, [*todo], heap, told), daemon=True) for device in devices
    ]
    for process in started:
        process.start()
    try:
        with when(stopped, lambda: _empty(heap, len(todo))):
            yield _told_first(_from_heap(todo, heap), told, advance)
            while any(process.is_alive() for process in started):
                _listen(told, advance, wait=0.2)
            _listen(told, advance)
        if any(process.exitcode for process in started) and not stopped():
            raise MachineError("a helping process was lost", "run the same command again, it goes on where it stopped")
    finally:
        for process in started:
            process.kill()  # between two renames: what it writes is whole or absent
            process.join()


@contextmanager
def when(stopped: Stopped, act: Callable[[], Any]) -> Iterator[None]:
    """Beside what happens inside, do `act` once, soon after `stopped()` has become true."""
    over = Event()

    def watch() -> None:
        while not over.wait(0.2):
            if stopped():
                act()
                return

    thread = Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _help(portable: Portable, device: str, todo: Sequence[int], heap: Any, told: Any) -> None:
    """A helper's whole life; SIGTERM, which some supervisors send to all, ends it behind the shard in hand."""
    from ..common.console import quiet_libraries, warnings_as_sentences

    stop = Event()
    signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
    quiet_libraries()
    try:
        with warnings_as_sentences():
            jobs, memory = portable.jobs(device)
            work(jobs, _while_led(_from_heap(todo, heap)), told.put, memory, stop.is_set)
    except Exception as error:
        told.put(error if isinstance(error, SegloopError) else f"{type(error).__name__}: {error}")


def _empty(heap: Any, size: int) -> None:
    with heap.get_lock():
        heap.value = max(heap.value, size)


def _from_heap(todo: Sequence[int], heap: Any) -> Iterator[int]:
    while True:
        with heap.get_lock():
            place = heap.value
            heap.value += 1
        if place >= len(todo):
            return
        yield todo[place]


def _while_led(shards: Iterator[int]) -> Iterator[int]:
    """Stop when the process that leads was killed: nobody would finish the record."""
    leader = multiprocessing.parent_process()
    for shard in shards:
        if leader is not None and not leader.is_alive():
            return
        yield shard


def _told_first(shards: Iterator[int], told: Any, advance: Advance) -> Iterator[int]:
    for shard in shards:
        _listen(told, advance)
        yield shard


def _listen(told: Any, advance: Advance, wait: float = 0.0) -> None:
    """Hear what helpers have done; one that failed ends the run, since its machine or its options are not right."""
    while True:
        try:
            news = told.get(timeout=wait) if wait else told.get_nowait()
        except queue.Empty:
            return
        if isinstance(news, SegloopError):
            raise news
        if isinstance(news, str):
            raise MachineError(f"a helping process stopped: {news.rstrip('.')}", "run the same command again")
        advance(news)

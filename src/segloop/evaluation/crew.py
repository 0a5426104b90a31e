"""Who works on a run: this process, helpers that it starts on other devices, or the ranks that torchrun started.

Shards are what is handed out. Their bytes do not depend on who does them, so neither does the record.
"""

import multiprocessing
import os
import queue
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..backbones.shared import Memory, Models
from ..common.system import check_count
from ..errors import MachineError, OptionError, SegloopError
from ..runs.record import Inputs, Record
from ..runs.work import work
from .counting import job_of
from .record import COUNTED, Evaluation
from .task import Task, find, settle

Advance = Callable[[int], None]
Begun = tuple[Evaluation, list[int]]
"""A record and the shards that it misses."""


@dataclass
class Crew:
    """This process alone, or the first of `devices` with one helper for each of the others."""

    devices: list[str] = field(default_factory=list)
    leads: bool = True  # whether this process opens and finishes the record

    def agree(self, begin: Callable[[], list[Begun]], inputs: Sequence[Inputs]) -> list[Begun]:
        """The records that everybody works on, and what they miss."""
        return begin()

    @contextmanager
    def helpers(self, tasks: Sequence[Task], todo: Sequence[int], advance: Advance) -> Iterator[Iterator[int]]:
        """Shards for this process to do; helpers take others from the same heap until it is empty."""
        if len(self.devices) < 2:
            yield iter(todo)
            return
        context = multiprocessing.get_context("spawn")
        heap, told = context.Value("i", 0), context.Queue()
        started = [
            context.Process(target=_help, args=([*tasks], device, [*todo], heap, told), daemon=True)
            for device in self.devices[1:]
        ]
        for process in started:
            process.start()
        try:
            yield _told_first(_from_heap(todo, heap), told, advance)
            while any(process.is_alive() for process in started):
                _listen(told, advance, wait=0.2)
            _listen(told, advance)
        finally:
            for process in started:
                process.terminate()
                process.join()


@dataclass
class Ranks(Crew):
    """One of the processes that torchrun started, on one machine or several with a common disk."""

    rank: int = 0
    world: int = 1

    def agree(self, begin: Callable[[], list[Begun]], inputs: Sequence[Inputs]) -> list[Begun]:
        """Rank 0 opens the records and tells the others, who must have settled the same; so is its error."""
        import torch.distributed as dist

        if not dist.is_initialized():
            dist.init_process_group("gloo")
        message: list[Any] = [None]
        failure: SegloopError | None = None
        begun: list[Begun] = []
        if self.leads:
            try:
                begun = begin()
                message = [[(str(record.folder), record.inputs, missing) for record, missing in begun]]
            except SegloopError as error:
                failure = error
        dist.broadcast_object_list(message)
        if failure:
            raise failure
        if message[0] is None:
            raise SystemExit(0)  # rank 0 says why
        if not self.leads:
            begun = [(Record(Path(folder), known, COUNTED), missing) for folder, known, missing in message[0]]
            _check_same([record for record, _ in begun], inputs)
        return begun

    @contextmanager
    def helpers(self, tasks: Sequence[Task], todo: Sequence[int], advance: Advance) -> Iterator[Iterator[int]]:
        """Every `world`-th shard for this rank; then all wait for each other."""
        import torch.distributed as dist

        yield iter(todo[self.rank :: self.world])
        dist.barrier()


def crew_of(devices: str | None, device: str = "auto") -> tuple[Crew, str]:
    """(who works, the device of this process) from --devices, --device and torchrun's environment.

    `devices` is a list such as cuda:0,cuda:1 or cpu,cpu, or a number of processes. Raises OptionError.
    """
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if world > 1:
        if devices:
            raise OptionError(
                "--devices came under torchrun", "leave it out: torchrun says how many processes there are"
            )
        return Ranks([], rank == 0, rank, world), _local(device)
    if not devices:
        return Crew(), device
    if device != "auto":
        raise OptionError("--device and --devices came together", "leave one of them out")
    check_count("--devices", int(devices) if devices.isdigit() else 0)
    names = _numbered(int(devices)) if devices.isdigit() else [name.strip() for name in devices.split(",")]
    if not names or not all(names):
        raise OptionError(f"--devices {devices!r} names none", "give a list such as cuda:0,cuda:1, or a number")
    return Crew(names), names[0]


def _numbered(count: int) -> list[str]:
    import torch

    there = torch.cuda.device_count()
    if there and count > there:
        raise OptionError(f"{count} devices were asked for, {there} are there", f"give at most --devices {there}")
    return [f"cuda:{index}" for index in range(count)] if there else ["cpu"] * count


def _local(device: str) -> str:
    import torch

    if device in ("auto", "cuda") and torch.cuda.is_available():
        return f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
    return device


def _help(tasks: Sequence[Task], device: str, todo: Sequence[int], heap: Any, told: Any) -> None:
    """A helper's whole life."""
    from ..common.console import quiet_libraries, warnings_as_sentences

    quiet_libraries()
    try:
        models = Models(Memory() if len(tasks) > 1 else None)
        own = [replace(task, device=device, overwrite=False, offline=True) for task in tasks]  # the leader has asked
        settled = [settle(task, find(task), models) for task in own]
        records = [Record(one.task.out, one.inputs.as_json(), COUNTED) for one in settled]
        jobs = [
            job_of(one, record, record.missing(len(one.shards))) for one, record in zip(settled, records, strict=True)
        ]
        with warnings_as_sentences():
            work(jobs, _while_led(_from_heap(todo, heap)), told.put, models.memory)
    except Exception as error:
        told.put(error if isinstance(error, SegloopError) else f"{type(error).__name__}: {error}")


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


def _check_same(records: Sequence[Evaluation], inputs: Sequence[Inputs]) -> None:
    for record, own in zip(records, inputs, strict=True):
        mine, kept = own.as_json(), record.inputs
        differing = [name for name in kept["settings"] if kept["settings"][name] != mine["settings"].get(name)]
        if differing or kept["versions"] != mine["versions"]:
            what = f"the processes of this run do not agree on {', '.join(differing) or 'versions'}"
            raise MachineError(what, "give all of them the same files, models and versions")

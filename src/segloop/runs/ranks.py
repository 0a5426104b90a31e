"""The processes that torchrun started, on one machine or several with a common disk."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import SegloopError
from .crew import Begun, Crew, Stopped, Work
from .record import Inputs, Record, Shards
from .sameness import check_agreed
from .told import Advance
from .work import work


@dataclass
class Ranks(Crew):
    """One of them: the first opens the records, every `world`-th shard is this one's."""

    rank: int = 0
    world: int = 1

    @property
    def settles_alone(self) -> bool:
        """Each settles all, and they have to agree."""
        return False

    def agree(self, begin: Callable[[], list[Begun]], inputs: Sequence[Inputs], shards: Shards[Any]) -> list[Begun]:
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
            begun = [(Record(Path(folder), known, shards), missing) for folder, known, missing in message[0]]
            for (record, _), own in zip(begun, inputs, strict=True):
                check_agreed(record.inputs, own.as_json())
        return begun

    def do(self, todo: Work, advance: Advance, stopped: Stopped = lambda: False) -> dict[str, float]:
        """Every `world`-th shard; then all wait for each other."""
        import torch.distributed as dist

        seconds = work(todo.jobs, todo.todo[self.rank :: self.world], advance, todo.memory, stopped)
        dist.barrier()
        return seconds

"""How far a run is: shards that are done, as those who do them tell, and the pace and the time left by them."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Failure = tuple[str, str, str]
"""(source, what is wrong, the remedy) of a photo that could not be used."""


@dataclass(frozen=True)
class Kept:
    """A shard that is done and on the disk."""

    shard: int
    images: int
    failures: tuple[Failure, ...] = ()


@dataclass(frozen=True)
class Step:
    """What was done since the last was told."""

    images: int = 0
    run: Path | None = None  # whose shard was kept
    kept: Kept | None = None
    earlier: bool = False  # whether that was at another start


ONE = Step(1)


@dataclass(frozen=True)
class State:
    """How far the work is."""

    done: int  # images, those that could not be used among them
    total: int
    failed: int = 0  # of those in shards that are kept
    seconds: float = 0.0  # since the work began
    earlier: int = 0  # of those that are done: at another start
    step: Step = Step()

    @property
    def rate(self) -> float | None:
        """Images a second; None while there is none."""
        return (self.done - self.earlier) / self.seconds if self.done > self.earlier and self.seconds else None

    @property
    def left(self) -> float | None:
        """Seconds at the same pace; None while nobody knows."""
        return (self.total - self.done) / self.rate if self.rate else None


Advance = Callable[[Step], None]
Progress = Callable[[State], None]


def silent(state: State) -> None:
    """Progress that nobody watches."""


def adding(progress: Progress, total: int) -> Advance:
    """A function that is told of each step, and tells `progress` of all so far; first, of none."""
    began, done, earlier, failed = time.perf_counter(), 0, 0, 0

    def advance(step: Step) -> None:
        nonlocal done, earlier, failed
        done, earlier = done + step.images, earlier + step.images * step.earlier
        failed += len(step.kept.failures) if step.kept else 0
        progress(State(done, total, failed, time.perf_counter() - began, earlier, step))

    progress(State(0, total))
    return advance

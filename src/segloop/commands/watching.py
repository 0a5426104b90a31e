"""What a user sees of a run at work: a bar with its pace and failures, or events as lines of JSON."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..common import console
from ..common.strict import one_line

if TYPE_CHECKING:
    from ..runs.told import Progress, State


@contextmanager
def watched(label: str, events: bool = False) -> Iterator["Progress"]:
    """A bar on stderr; with `events`, also a line on stdout for the start, for each shard and for each failure."""
    with console.progress(label, 0) as advance:

        def progress(state: "State") -> None:
            advance(state.done, state.total, _note(state))
            for line in _events(state) if events else ():
                tell_event(line)

        yield progress


def tell_event(line: Mapping[str, Any]) -> None:
    """One event on stdout."""
    console.tell(one_line(line))


def _note(state: "State") -> str:
    pace = f"{state.rate:.3g} a second" if state.rate else ""
    return f"{pace}, {state.failed} failed" if state.failed else pace


def _events(state: "State") -> Iterator[dict[str, Any]]:
    from ..runs.told import Step

    if state.step == Step():
        yield {"event": "start", "images": state.total}
    kept = state.step.kept
    if kept is None:
        return
    for source, error, remedy in kept.failures:
        yield {"event": "failure", "source": source, "error": error, "remedy": remedy}
    yield {
        "event": "shard",
        "shard": kept.shard,
        "images": kept.images,
        "failed": len(kept.failures),
        "images_done": state.done,
        "images_left": state.total - state.done,
        "images_a_second": None if state.rate is None else round(state.rate, 3),
        "seconds_left": None if state.left is None else round(state.left, 1),
    }

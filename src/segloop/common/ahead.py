"""Work in threads beside the main one: what is needed next is begun before, what was made is finished behind.

Both are bounded by number and by weight, so that memory stays flat however many items there are, and however large.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, TypeVar

READERS = 4  # threads that read ahead, or finish behind
AHEAD = 12  # results that are made before they are needed
BEHIND = 8  # items that wait to be finished
ROOM = 256 * 2**20  # bytes of those that may wait beside the one at hand

Item = TypeVar("Item")
Result = TypeVar("Result")


def _nothing(found: Any) -> int:
    return 0


@contextmanager
def threads(count: int = READERS) -> Iterator[ThreadPoolExecutor]:
    """Threads for what happens inside; at its end, also an early one, what was not begun never is."""
    pool = ThreadPoolExecutor(count)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def ahead(
    pool: ThreadPoolExecutor,
    do: Callable[[Item], Result],
    items: Iterable[Item],
    weigh: Callable[[Result], int] = _nothing,
) -> Iterator[Result]:
    """Results in order, some of them made before they are asked for; `weigh` gives the bytes of one.

    Those that wait are at most AHEAD, and fewer where the last ones known say that so many would fill ROOM.
    """
    waiting: deque[Future[Result]] = deque()
    weight = None if weigh is not _nothing else 0
    for item in items:
        waiting.append(pool.submit(do, item))
        while True:
            known = [weigh(one.result()) for one in waiting if one.done() and one.exception() is None]
            weight = max(known, default=weight)
            room = 1 if weight is None else max(1, ROOM // weight if weight else AHEAD)
            if len(waiting) <= min(room, AHEAD):
                break
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def behind(
    pool: ThreadPoolExecutor, do: Callable[[Item], Result], items: Iterable[Item], weigh: Callable[[Item], int]
) -> Iterator[Result]:
    """Results in order, made beside the next items: at most BEHIND of those wait, and no more than ROOM bytes.

    Where there is no next item but an error, or Ctrl-C, what waits is given first: it was made before.
    """
    waiting: deque[tuple[Future[Result], int]] = deque()
    source, error = iter(items), None
    while True:
        try:
            item = next(source)
        except StopIteration:
            break
        except BaseException as caught:
            error = caught
            break
        waiting.append((pool.submit(do, item), weigh(item)))
        del item  # nothing of it stays here while the next one is made
        while waiting and (waiting[0][0].done() or _too_much(waiting)):
            yield waiting.popleft()[0].result()
    while waiting:
        yield waiting.popleft()[0].result()
    if error is not None:
        raise error


def hold_back(waiting: deque[tuple[Future[Any], int]]) -> None:
    """Wait until what is being finished, (future, bytes) each, is no longer too much; what is done is taken out."""
    while waiting and (waiting[0][0].done() or _too_much(waiting)):
        wait([waiting.popleft()[0]])


def _too_much(waiting: deque[tuple[Future[Any], int]]) -> bool:
    return len(waiting) > BEHIND or sum(weight for _, weight in waiting) > ROOM

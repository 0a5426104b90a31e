"""Work in threads, as many at once as are allowed, a limited number waiting, each with its time."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from ..errors import memory_ran_out
from .limits import Limits
from .refusals import BUSY, MEMORY, SLOW, Refusal

Result = TypeVar("Result")


class Queue:
    """First come, first served. Counts what waits and what runs; knows nothing of the work."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.pool = ThreadPoolExecutor(limits.workers, thread_name_prefix="segloop")
        self.unfinished = 0
        self.lock = threading.Lock()

    @property
    def waiting(self) -> int:
        """How many wait for a worker."""
        return max(0, self.unfinished - self.limits.workers)

    def check(self, known: bool = False) -> None:
        """Raises Refusal where there is no place left; who is `known` has a result already, and places of their own."""
        places = self.limits.workers + self.limits.waiting
        if self.unfinished >= (2 * places if known else places):
            raise Refusal(BUSY, f"{self.waiting} others are waiting already", "try again in a minute")

    async def do(self, job: Callable[[], Result], gone: Callable[[], Awaitable[None]], known: bool = False) -> Result:
        """What `job` gives. Ends early, and a job that has not begun never begins, where `gone` ends first.

        Raises Refusal where no place is left, and after `limits.seconds`; else what the job raises.
        """
        future = asyncio.wrap_future(self._submit(job, known))
        leaving = asyncio.ensure_future(gone())
        try:
            both: set[asyncio.Future[Any]] = {future, leaving}
            await asyncio.wait(both, timeout=self.limits.seconds, return_when=asyncio.FIRST_COMPLETED)
            if future.done():
                return _given(future)
            if leaving.done():
                raise Refusal(BUSY, "the visitor has left", "send it again")
            raise Refusal(SLOW, f"this took longer than {self.limits.seconds:g} seconds", "try a smaller photo")
        finally:
            future.cancel()
            leaving.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await leaving

    def _submit(self, job: Callable[[], Result], known: bool) -> Future[Result]:
        with self.lock:
            self.check(known)
            self.unfinished += 1
        future = self.pool.submit(job)
        future.add_done_callback(self._ended)
        return future

    def _ended(self, _: object) -> None:
        with self.lock:
            self.unfinished -= 1

    def close(self) -> None:
        """Nothing new begins."""
        self.pool.shutdown(wait=False, cancel_futures=True)


def _given(future: "asyncio.Future[Result]") -> Result:
    """The result. Raises Refusal where memory ran out, and lets go of all that filled it."""
    error = future.exception()
    if error is None or not memory_ran_out(error):
        return future.result()
    error.__traceback__ = None
    raise Refusal(BUSY, *MEMORY)

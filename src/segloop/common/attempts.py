"""Trying what one photo of many may be too much for: memory that runs out on it is an error of that photo alone."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from ..errors import ImageError, TooLargeError, memory_ran_out
from .ahead import ahead, threads
from .visible import shortened

Ready = TypeVar("Ready")
Middle = TypeVar("Middle")
Result = TypeVar("Result")

REMEDY = "make it smaller first, use a smaller --batch, or close other programs"


def attempt(do: Callable[[], Result], photo: object) -> Result | ImageError:
    """What `do` gives, or why it cannot for this photo: TooLargeError where memory ran out, else its own ImageError."""
    try:
        return do()
    except ImageError as error:
        return error
    except Exception as error:
        if not memory_ran_out(error):
            raise
    # made out here: the error that was caught still holds all that was in memory
    name = shortened(os.fspath(photo)) if isinstance(photo, (str, os.PathLike)) else "the photo"
    return TooLargeError(f"memory ran out on {name}", REMEDY)


@dataclass(frozen=True)
class Line(Generic[Ready, Middle, Result]):
    """Three steps of photos: the first and the last of each alone, the second of many at once."""

    prepare: Callable[[Any], Ready]
    through: Callable[[Sequence[Ready]], Sequence[Middle]]
    finish: Callable[[Ready, Middle], Result]
    readers: int = 0  # threads that do the first step before its turn; 0: it waits for that
    weigh: Callable[[Ready], int] = lambda ready: 0  # bytes of what the first step gives

    def results(
        self,
        photos: Iterable[Any],
        enough: Callable[[Sequence[Ready]], bool],
        failed: Callable[[Any, ImageError], None],
    ) -> Iterator[Result]:
        """Results in the photos' order, the second step for as many as are `enough`; other photos go to `failed`."""
        waiting: list[tuple[Any, Ready]] = []
        for photo, ready in self._prepared(photos):
            if isinstance(ready, ImageError):
                failed(photo, ready)
            else:
                waiting.append((photo, ready))
            del ready  # no photo that is done stays beside the next one
            if enough([one for _, one in waiting]):
                yield from self._finished(waiting, failed)
                waiting = []
        yield from self._finished(waiting, failed)

    def _prepared(self, photos: Iterable[Any]) -> Iterator[tuple[Any, Ready | ImageError]]:
        def prepared(photo: Any) -> tuple[Any, Ready | ImageError]:
            return photo, attempt(partial(self.prepare, photo), photo)

        def weight(found: tuple[Any, Ready | ImageError]) -> int:
            return 0 if isinstance(found[1], ImageError) else self.weigh(found[1])

        if not self.readers:
            yield from map(prepared, photos)
            return
        with threads(self.readers) as pool:
            yield from ahead(pool, prepared, photos, weight)

    def _finished(
        self, waiting: Sequence[tuple[Any, Ready]], failed: Callable[[Any, ImageError], None]
    ) -> Iterator[Result]:
        for (photo, ready), middle in self._through(waiting):
            made = middle if isinstance(middle, ImageError) else attempt(partial(self.finish, ready, middle), photo)
            if isinstance(made, ImageError):
                failed(photo, made)
            else:
                yield made

    def _through(self, waiting: Sequence[tuple[Any, Ready]]) -> Iterator[tuple[tuple[Any, Ready], Middle | ImageError]]:
        """All at once; where memory does not hold that, each alone."""
        if not waiting:
            return
        found = attempt(lambda: self.through([ready for _, ready in waiting]), waiting[0][0])
        if not isinstance(found, ImageError):
            yield from zip(waiting, found, strict=True)
        elif len(waiting) == 1:
            yield waiting[0], found
        else:
            for one in waiting:
                yield from self._through([one])

"""Trying what one photo of many may be too much for: memory that runs out on it is an error of that photo alone."""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from .errors import ImageError, TooLargeError, memory_ran_out
from .visible import shortened

Item = TypeVar("Item")
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


def together(
    do: Callable[[Sequence[Item]], Sequence[Result]], items: Sequence[Item], photo: Callable[[Item], object]
) -> Iterator[tuple[Item, Result | ImageError]]:
    """`do` for all items at once; where memory does not hold that, for each alone. `photo` gives an item's name."""
    found = attempt(lambda: do(items), photo(items[0])) if items else []
    if not isinstance(found, ImageError):
        yield from zip(items, found, strict=True)
    elif len(items) == 1:
        yield items[0], found
    else:
        for item in items:
            yield from together(do, [item], photo)

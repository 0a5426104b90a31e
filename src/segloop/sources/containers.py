"""What containers share: how they are opened, what is broken about one, which of them stay open."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from threading import Lock
from typing import IO, Any, Generic, TypeVar

from ..common import stores
from ..errors import ImageError
from ..images.paths import open_file
from .photos import Container

OPEN = 4  # files that a source keeps open at most

Cursor = TypeVar("Cursor")


@dataclass(frozen=True)
class Broken:
    """What cannot be read of a container, as one photo that fails."""

    address: str
    error: ImageError

    def __len__(self) -> int:
        return 1

    def member(self, number: int) -> str:
        """A name that no photo has."""
        return "(rest)"

    stem = member

    def fetch(self, number: int) -> Any:
        """Raises what there is to say."""
        raise self.error


def opened(address: str) -> IO[bytes]:
    """A file of a disk or of a store, in which one can seek. Raises ImageError, MachineError."""
    return stores.stream(address) if stores.is_address(address) else open_file(address)


@dataclass(eq=False)
class _Slot(Generic[Cursor]):
    lock: Lock = field(default_factory=Lock)
    cursor: Cursor | None = None


@dataclass(eq=False)
class Lately(Generic[Cursor]):
    """Files that were opened last, each with its place in it; one thread at a time uses one."""

    slots: "OrderedDict[str, _Slot[Cursor]]" = field(default_factory=OrderedDict)
    lock: Lock = field(default_factory=Lock)

    @contextmanager
    def __call__(self, address: str, start: Callable[[], Cursor]) -> Iterator[Cursor]:
        """The cursor of a file; after an error it is begun anew."""
        with self.lock:
            slot = self.slots.setdefault(address, _Slot())
            self.slots.move_to_end(address)
            if len(self.slots) > OPEN:
                self.slots.popitem(last=False)  # whoever is at it still has it; then it is closed
        with slot.lock:
            if slot.cursor is None:
                slot.cursor = start()
            try:
                yield slot.cursor
            except BaseException:
                slot.cursor = None
                raise

    def __reduce__(self) -> tuple[Any, ...]:
        """In another process nothing is open."""
        return Lately, ()


@dataclass(frozen=True)
class Asked:
    """What the user says about containers."""

    column: str | None = None  # of a table, where paths or photos stand; of tar shards, the photos' suffix
    fps: Fraction | None = None  # frames of a video that are taken in a second
    lately: Lately[Any] = field(default_factory=Lately)  # for all containers of a source


Opener = Callable[[str, Asked], Iterable[str | Container]]
"""(a file's path or address, what is asked for) -> the containers that it is, or the paths and addresses it lists."""

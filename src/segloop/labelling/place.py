"""Where the results of a labelling lie: beside its record on a disk, or in a store.

In a store each file is put under its own name in one go, since a rename is a copy there; run.json says that the rest is
whole, and comes last. The record, its lock and its parts stay on the disk.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ..common import stores
from ..common.earlier import FAILED, Kind, check_replaced
from ..common.files import explaining, replacing, write_whole
from ..errors import ImageError, OptionError
from ..runs.folder import RUN
from ..runs.sameness import check_same
from .outcomes import CLASSES, LAYOUT, PHOTOS, Labellings

ANOTHER = "move it away, or choose another --out"


@dataclass(frozen=True)
class Place:
    """Where results lie. Names are paths below it, `/` between folders."""

    folder: Path
    store: str | None = None

    def __str__(self) -> str:
        return self.store or str(self.folder)

    def write(self, name: str, data: bytes, kind: Kind) -> None:
        """Make a file, whole. Raises OptionError where a stranger lies there, OutputError, MachineError."""
        if self.store:
            stores.put(f"{self.store}/{name}", data)
            return
        target = self.folder / name
        check_replaced({target: kind}, ANOTHER)
        write_whole(target, data)

    @contextmanager
    def writing(self, name: str, kind: Kind) -> Iterator[IO[bytes]]:
        """A stream whose bytes become a file at the end; on their way into a store they lie in the run's folder.

        Raises as `write`.
        """
        target = self.folder / name
        check_replaced({target: kind}, ANOTHER)
        with replacing(target) as stream:
            yield stream
        self.moved(name)

    def moved(self, name: str) -> None:
        """Put a file of the run's folder into the store, where there is one, and take it away here."""
        if self.store:
            stores.put_file(f"{self.store}/{name}", self.folder / name)
            self._take_away(name)

    def read(self, name: str) -> bytes:
        """A file's bytes. Raises ImageError where it is gone, MachineError."""
        if self.store:
            return stores.read(f"{self.store}/{name}")
        with explaining(self.folder / name):
            return (self.folder / name).read_bytes()

    def _take_away(self, name: str) -> None:
        (self.folder / name).unlink()
        for folder in (self.folder / name).relative_to(self.folder).parents[:-1]:
            if not os.listdir(self.folder / folder):
                (self.folder / folder).rmdir()


def place_of(record: Labellings) -> Place:
    """Where the results of a labelling lie."""
    return Place(record.folder, record.inputs["settings"].get("store"))


def claim(record: Labellings, overwrite: bool) -> None:
    """See that the store is this labelling's own, and say so there.

    Raises OptionError where something else lies there, MachineError.
    """
    store = record.inputs["settings"].get("store")
    if store is None:
        return
    kept = _run_of(store)
    if kept is None and (others := stores.below(store)):
        raise OptionError(f"{store} is not empty and holds no run ({others[0]} is there)", "choose another --store")
    if kept and overwrite:
        for name in (RUN, *LAYOUT.beside, *LAYOUT.kept):
            stores.remove_all(f"{store}/{name}")
    elif kept:
        check_same(store, kept, record.inputs, {})
    if overwrite or kept is None:
        stores.put(f"{store}/{RUN}", _encoded({**record.inputs, "state": "running"}))


def hand_over(record: Labellings, found: Mapping[str, Any]) -> None:
    """Put tables and, behind all else, the record of a labelling that is done into its store. Raises MachineError."""
    store = record.inputs["settings"].get("store")
    if store is None:
        return
    for name in (PHOTOS, CLASSES, FAILED):
        if (record.folder / name).is_file():
            stores.put_file(f"{store}/{name}", record.folder / name)
        else:
            stores.remove_all(f"{store}/{name}")
    stores.put(f"{store}/{RUN}", _encoded({**record.inputs, "state": "done", **found}))


def _run_of(store: str) -> dict[str, Any] | None:
    """The record that lies in a store. Raises OptionError where it is none of a labelling."""
    try:
        run = json.loads(stores.read(f"{store}/{RUN}"))
        settings = run["settings"]["kind"] == LAYOUT.kind[:5]
    except ImageError:
        return None
    except (ValueError, LookupError, TypeError):
        settings = False
    if not settings:
        raise OptionError(f"{store} holds a {RUN} that is no labelling's", "choose another --store")
    return run


def _encoded(run: Mapping[str, Any]) -> bytes:
    text = json.dumps(run, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode("utf-8", "backslashreplace")

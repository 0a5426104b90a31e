"""Files that are whole or absent: a reader, or a run that starts again, never sees half a file."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from .system import unwritten


def write_whole(target: Path, data: bytes) -> None:
    """Write `data` beside `target`, then rename; on any failure nothing of it remains.

    Raises OutputError where the folder cannot be written, MachineError where the disk is full.
    """
    with replacing(target) as stream:
        stream.write(data)


@contextmanager
def replacing(target: Path) -> Iterator[IO[bytes]]:
    """A stream whose bytes become `target` at the end; after a failure there is what was there before.

    Raises as `write_whole`.
    """
    part = target.with_name(f".{target.name[:40]}.{uuid.uuid4().hex[:8]}.part")
    with explaining(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(part, "xb") as stream:
                yield stream
            os.replace(part, target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


@contextmanager
def explaining(target: Path) -> Iterator[None]:
    """Turn what the disk refuses into OutputError or MachineError that names `target`."""
    try:
        yield
    except OSError as error:
        raise unwritten(error, target) from error


def probe(folder: Path) -> None:
    """Make a folder and see that it can be written. Raises OutputError, MachineError."""
    part = folder / f".{uuid.uuid4().hex}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(part, "xb"):
            pass
        part.unlink()
    except OSError as error:
        raise unwritten(error, folder) from error

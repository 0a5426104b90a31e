"""Files that are whole or absent: a reader, or a run that starts again, never sees half a file."""

import errno
import hashlib
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from ..errors import OutputError
from .system import unwritten
from .visible import shortened

CHUNK = 2**20  # bytes that are read at once


def write_whole(target: Path, data: bytes) -> None:
    """Write `data` beside `target`, then rename; on any failure nothing of it remains. A link stays a link.

    Raises OutputError where the folder cannot be written or `target` is a pipe or a device, MachineError where the
    disk is full.
    """
    with replacing(target) as stream:
        stream.write(data)


@contextmanager
def replacing(target: Path) -> Iterator[IO[bytes]]:
    """A stream whose bytes become `target` at the end; after a failure there is what was there before.

    Raises as `write_whole`.
    """
    place = lands_at(target)
    part = place.with_name(f".{place.name[:40]}.{uuid.uuid4().hex[:8]}.part")
    with explaining(target):
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(part, "xb") as stream:
                yield stream
            os.replace(part, place)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


def lands_at(target: Path) -> Path:
    """The file that a write to `target` makes or replaces: where a link leads, else `target` itself.

    Raises OutputError for a folder, a pipe, a device, a socket, a link that leads back to itself.
    """
    with explaining(target):
        try:
            kind = os.stat(target).st_mode
        except (FileNotFoundError, NotADirectoryError):
            kind = stat.S_IFREG
        if stat.S_ISDIR(kind):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    if not stat.S_ISREG(kind):
        raise OutputError(f"{shortened(target)} is a pipe or a device, not a file", "name a file of a disk")
    return Path(os.path.realpath(target)) if target.is_symlink() else target


def regular(path: Path) -> Path:
    """The path, to be read. Raises OSError where it is not there, and for a pipe or a device: they may never end."""
    kind = os.stat(path).st_mode
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
        raise OSError(errno.ESPIPE, "it is a pipe or a device", str(path))
    return path


def digest_of(path: Path) -> bytes | None:
    """SHA-256 of a file's content, 32 bytes; None for one that cannot be read, and for a pipe or a device."""
    digest = hashlib.sha256()
    try:
        with open(regular(path), "rb") as stream:
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
    except OSError:
        return None
    return digest.digest()


@contextmanager
def explaining(target: Path) -> Iterator[None]:
    """Turn what the disk refuses into OutputError or MachineError that names `target`."""
    try:
        yield
    except OSError as error:
        raise unwritten(error, target) from error


@contextmanager
def leaving_nothing(folder: Path) -> Iterator[None]:
    """After an error, `folder` and those above it that were made meanwhile are taken away, where nothing is in them."""
    made = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
    try:
        yield
    except BaseException:
        for path in made:
            with suppress(OSError):
                path.rmdir()
        raise


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

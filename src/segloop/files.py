"""Files that are whole or absent: a reader, or a run that starts again, never sees half a file."""

import os
import uuid
from pathlib import Path

from .system import unwritten


def write_whole(target: Path, data: bytes) -> None:
    """Write `data` beside `target`, then rename; on any failure nothing of it remains.

    Raises OutputError where the folder cannot be written, MachineError where the disk is full.
    """
    part = target.with_name(f".{target.name[:40]}.{uuid.uuid4().hex[:8]}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(part, "xb") as stream:
                stream.write(data)
            os.replace(part, target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
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

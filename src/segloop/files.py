"""Files that are whole or absent: a reader, or a run that starts again, never sees half a file."""

import errno
import os
import uuid
from pathlib import Path

from .errors import MachineError, OutputError, SegloopError

NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


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
        raise _explain(error, target) from error


def _explain(error: OSError, target: Path) -> SegloopError:
    if error.errno in NO_SPACE:
        what = f"the disk is full, {target} was not written"
        return MachineError(what, "free some space and run the same command again")
    reason = (error.strerror or str(error)).lower()
    return OutputError(f"cannot write {target} ({reason})", "choose another folder with --out")

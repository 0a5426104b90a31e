"""NumPy's archives (npz), read whole and checked: every member bears a checksum, and none of it is left unread."""

import io
import zipfile
from pathlib import Path

import numpy as np

from ..errors import memory_ran_out
from .files import regular


class DamagedError(ValueError):
    """Bytes that are no archive of arrays, or not the ones that were written."""


def read_npz(source: Path | bytes) -> dict[str, np.ndarray]:
    """All arrays of an archive, by name; `source` is a file, or its bytes.

    Raises DamagedError, and OSError where the file is not there or no file of a disk.
    """
    try:
        with io.BytesIO(source) if isinstance(source, bytes) else open(regular(source), "rb") as stream:
            with zipfile.ZipFile(stream) as archive:
                spoilt = archive.testzip()  # before: reading an array ends where its header says, perhaps too early
            if spoilt is not None:
                raise DamagedError(f"{spoilt} is not what was written")
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as stored:
                return dict(stored)
    except (OSError, DamagedError):
        raise
    except Exception as error:  # zipfile, zlib, struct, ast and NumPy raise whatever a broken header leads them to
        if memory_ran_out(error):
            raise
        raise DamagedError((str(error) or type(error).__name__).splitlines()[0]) from error

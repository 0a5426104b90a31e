"""Which files are meant: paths, patterns, and a door that says why it stays closed."""

import glob
import os
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from ..errors import ImageError

PHOTOS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jp2")
RAW = (
    ".dng",
    ".nef",
    ".cr2",
    ".cr3",
    ".arw",
    ".orf",
    ".rw2",
    ".raf",
    ".pef",
    ".srw",
)  # told one by one, not passed over
SUFFIXES = (*PHOTOS, *RAW)


def expand_photos(patterns: Iterable[str], but: str | Path | None = None) -> list[Path]:
    """Paths, folders with all photos below and glob patterns (`**` allowed) -> paths, each once.

    A pattern's own files and a folder's come in sorted order; of a folder, what lies below `but`, where results go, is
    no photo. What is not a pattern stays as it is, a missing file or a folder without a photo too: reading it says what
    to do. Raises ImageError naming a pattern that matches no file.
    """
    results = os.path.join(os.path.realpath(but), "") if but else None
    found: dict[str, Path] = {}
    for pattern in patterns:
        if os.path.isdir(pattern):
            below = photos_below(pattern)
            others = [name for name in below if not (results and os.path.realpath(name).startswith(results))]
            matches = others or [pattern]
        elif not glob.has_magic(pattern) or os.path.lexists(pattern) or is_web_address(pattern):
            matches = [pattern]
        else:
            matches = sorted(name for name in glob.glob(pattern, recursive=True) if os.path.isfile(name))
        if not matches:
            raise ImageError(f"no file matches {pattern!r}", "check the folder and the spelling")
        for name in matches:
            found.setdefault(os.path.abspath(name), Path(name))
    return list(found.values())


def photos_below(folder: str | Path) -> Iterator[str]:
    """Every photo below a folder, by its suffix; hidden files and folders are none of it."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name[0] != ".")
        yield from (os.path.join(place, name) for name in sorted(files) if _is_photo(name))


def _is_photo(name: str) -> bool:
    return name[0] != "." and name.lower().endswith(SUFFIXES)


def open_file(name: str) -> IO[bytes]:
    """A regular file, open for reading. Raises ImageError that says why it cannot be."""
    if is_web_address(name):
        address = re.sub(r"^(\w+):/+", r"\1://", name)  # pathlib makes one slash of two
        raise ImageError(f"{address} is a web address", "download the photo first and give its path")
    try:
        info = os.stat(name)
        if stat.S_ISDIR(info.st_mode):
            if next(photos_below(name), None):
                raise ImageError(f"{name} is a folder, not a photo", "give the path of one of its photos")
            kinds = ", ".join(SUFFIXES[:4])
            raise ImageError(f"{name} is a folder and holds no photo", f"give another; photos end in {kinds} ...")
        if not stat.S_ISREG(info.st_mode):
            raise ImageError(f"{name} is a pipe or a device, not a file", "save the photo to a file first")
        if info.st_size == 0:
            raise ImageError(f"{name} is empty", "copy or download it again")
        return open(name, "rb")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ImageError(f"there is no file {name}", "check the path") from error
    except PermissionError as error:
        raise ImageError(f"{name} may not be read", "ask for permission, or copy it to a place of yours") from error
    except OSError as error:
        raise ImageError(f"{name} cannot be opened ({error.strerror})", "check the path") from error
    except ImageError:
        raise
    except ValueError as error:  # a zero byte in the name
        raise ImageError(f"{name!r} cannot be a file name", "check the path") from error


def is_web_address(name: str) -> bool:
    """Whether a name is a URL of the web."""
    return re.match(r"https?:/", name, re.IGNORECASE) is not None

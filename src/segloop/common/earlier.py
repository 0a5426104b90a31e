"""Results of an earlier run, told by what they hold: nothing else is replaced or removed.

A kind of file is a function that looks into one and says whether it is of that kind. Pictures bear a text chunk with
the kind's name, since all PNGs look alike; other kinds are told by their keys, columns or members.
"""

import json
import os
import re
import zipfile
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import IO

from PIL.PngImagePlugin import PngInfo

from ..errors import OptionError
from .files import lands_at
from .visible import shortened

Kind = Callable[[IO[bytes]], bool]

PNG = b"\x89PNG\r\n\x1a\n"
FIRST_CHUNKS = 128  # bytes: the header, and the name of the text behind it
GDAL_TAGS = 42112  # of TIFF: an XML text
LINE = 4096  # bytes of a first line, at most
PART = re.compile(r"\..{1,40}\.[0-9a-f]{8}\.part", re.DOTALL)  # of `files.replacing`, when it was killed
UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, RecursionError, EOFError, zipfile.BadZipFile)


def check_replaced(files: Mapping[Path, Kind], remedy: str) -> None:
    """See that a write to each of `files` replaces nothing but an earlier result of its kind, or an empty file.

    Raises OptionError for the first that is something else, OutputError for what is no file of a disk.
    """
    for path, kind in files.items():
        lands_at(path)
        if not is_free(path, kind):
            raise OptionError(f"{shortened(path)} is there and is not what segloop wrote", remedy)


def is_free(path: Path, kind: Kind) -> bool:
    """Whether nothing is at `path`, or a file that may go: one of this kind, or one without a byte."""
    try:
        return os.stat(path).st_size == 0 or is_a(path, kind)
    except (FileNotFoundError, NotADirectoryError):
        return True


def is_a(path: Path, kind: Kind) -> bool:
    """Whether `path` is a file of this kind."""
    try:
        if not path.is_file():
            return False
        with open(path, "rb") as stream:
            return kind(stream)
    except (OSError, *UNREADABLE):
        return False


def anything(stream: IO[bytes]) -> bool:
    """Any file."""
    return True


# kinds ---------------------------------------------------------------------------------------------------------


def mark(kind: str, text: str = "") -> PngInfo:
    """The text chunk by which `png_of(kind)` tells a PNG."""
    chunks = PngInfo()
    chunks.add_text(f"segloop:{kind}", text)
    return chunks


def png_of(kind: str) -> Kind:
    """PNGs that were saved with `mark(kind)`."""
    name = f"segloop:{kind}\0".encode()

    def look(stream: IO[bytes]) -> bool:
        head = stream.read(FIRST_CHUNKS)
        return head.startswith(PNG) and name in head

    return look


def json_of(keys: Collection[str]) -> Kind:
    """JSON objects that have these keys."""
    return lambda stream: set(keys) <= set(dict(json.load(stream)))


def lines_of(keys: Collection[str]) -> Kind:
    """Lines of JSON objects that have exactly these keys."""
    return lambda stream: all(set(dict(json.loads(line))) == set(keys) for line in stream)


def npz_of(names: Collection[str]) -> Kind:
    """Archives of NumPy that have these arrays."""

    def look(stream: IO[bytes]) -> bool:
        with zipfile.ZipFile(stream) as archive:
            return {f"{name}.npy" for name in names} <= set(archive.namelist())

    return look


def exactly(data: bytes) -> Kind:
    """Files that hold these bytes and nothing else."""
    return lambda stream: stream.read(len(data) + 1) == data


def beginning(start: bytes) -> Kind:
    """Files that begin with these bytes."""
    return lambda stream: stream.read(len(start)) == start


def ending(end: bytes) -> Kind:
    """Files that end with these bytes."""

    def look(stream: IO[bytes]) -> bool:
        stream.seek(max(0, stream.seek(0, os.SEEK_END) - len(end)))
        return stream.read() == end

    return look


def saying(words: bytes, within: int = LINE) -> Kind:
    """Files that have these bytes near their beginning."""
    return lambda stream: words in stream.read(within)


def saying_at_end(words: bytes) -> Kind:
    """Parquet tables that have these bytes in what they say of themselves behind their rows."""

    def look(stream: IO[bytes]) -> bool:
        stream.seek(-8, os.SEEK_END)
        tail = stream.read()
        stream.seek(-8 - int.from_bytes(tail[:4], "little"), os.SEEK_END)
        return tail[4:] == b"PAR1" and words in stream.read()

    return look


def tiff_saying(word: str) -> Kind:
    """TIFF files whose GDAL tags have this word."""

    def look(stream: IO[bytes]) -> bool:
        from tifffile import TiffFile, TiffFileError

        try:
            with TiffFile(stream) as file:
                return word in str(file.pages[0].tags.valueof(GDAL_TAGS))  # type: ignore[union-attr]
        except TiffFileError:
            return False

    return look


def lines_like(pattern: bytes) -> Kind:
    """Texts whose every line is of a pattern."""
    return lambda stream: all(re.fullmatch(pattern, line.rstrip(b"\n")) for line in stream)


def any_of(*kinds: Kind) -> Kind:
    """Files of one of several kinds."""

    def look(stream: IO[bytes]) -> bool:
        return any(_is(stream, kind) for kind in kinds)

    def _is(stream: IO[bytes], kind: Kind) -> bool:
        stream.seek(0)
        try:
            return kind(stream)
        except (OSError, *UNREADABLE):
            return False

    return look


FAILED = "failed.jsonl"
FAILURES = lines_of(("source", "error", "remedy"))
"""The kind of FAILED, which `segment`, `label` and `evaluate` write: a line for each photo that could not be used."""


def failure_lines(failures: Iterable[tuple[str, str, str]]) -> bytes:
    """What FAILED holds, of (source, error, remedy) of each photo."""
    keys = ("source", "error", "remedy")
    return "".join(json.dumps(dict(zip(keys, line, strict=True))) + "\n" for line in failures).encode()

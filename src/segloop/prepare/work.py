"""What a preparation is made of: jobs, the plan of a split, and reading and writing maps of class numbers."""

import io
import json
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image, features

from ..common.files import regular, write_whole
from ..errors import ImageError, OutputError, SegloopError, TooLargeError, UserError

Size = tuple[int, int]  # (H, W) in pixels
WIDE_VOID = 65535
MOST_PIXELS = 2**28  # of a map that an annotation file describes
SHOWN = 200  # letters of a decoder's reason


@dataclass(frozen=True)
class Making:
    """One file to make."""

    source: Path  # the raw file, named where it cannot be read
    target: Path
    write: Callable[[], None]  # puts the target there, whole
    size: Callable[[], Size]  # what the target's must be
    photo: bool = False  # else a map of class numbers


@dataclass(frozen=True)
class SplitPlan:
    """What is to be done for one split."""

    jobs: list[Making]
    origin: str  # which raw files it rests on
    lists: Mapping[Path, list[str]] = field(default_factory=dict)  # list files that are written where absent
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Preparation:
    """A conversion: what it needs, what it makes, how many files the official splits have."""

    key: str
    title: str
    needs: str  # the raw files, below the root
    makes: str
    get: str  # the remedy where they are missing
    expected: Mapping[str, int]  # split -> label files; the first split is the usual one
    ids: int  # class numbers 0 .. ids - 1
    void: int | None
    plan: Callable[..., SplitPlan | None]  # of (root, split); None: no raw files of this split below that root
    roots: tuple[str, ...] = ()  # where the root may lie below the folder given


def label_job(source: Path, target: Path, labels: Callable[[], np.ndarray], size: Callable[[], Size]) -> Making:
    """A job whose target holds the map that `labels` returns, (H, W) uint8 for .png or uint16 for .tif."""
    return Making(source, target, lambda: write_whole(target, encode(labels(), target.suffix)), size)


def failing(source: Path, what: str, remedy: str) -> Making:
    """A job in the place of one that cannot be: its failure is told as that of any other."""

    def fail() -> Any:
        raise ImageError(what, remedy)

    return Making(source, source, fail, fail)


def stated_size(height: Any, width: Any, path: Path) -> Size:
    """(H, W) that an annotation file says. Raises ImageError for what is no size of a photo."""
    if not all(type(side) is int and side > 0 for side in (height, width)) or height * width > MOST_PIXELS:
        what = f"{path} says that its photo is {str(height)[:20]} high and {str(width)[:20]} wide"
        raise ImageError(what, "give the original annotation file")
    return height, width


def is_inside(name: str) -> bool:
    """Whether the id of a photo stays in the folder that its label goes to."""
    parts = PurePosixPath(name.replace("\\", "/"))
    return bool(parts.name) and not parts.is_absolute() and ".." not in parts.parts and "\0" not in name


def encode(labels: np.ndarray, suffix: str) -> bytes:
    """(H, W) uint8 -> a grey PNG, or (H, W) uint16 -> a grey TIFF, compressed; the same bytes every time."""
    stream = io.BytesIO()
    if suffix == ".tif":
        packed = {"compression": "tiff_adobe_deflate"} if features.check("libtiff") else {}
        Image.fromarray(labels.astype(np.uint16, copy=False)).save(stream, "TIFF", **packed)
    else:
        Image.fromarray(labels.astype(np.uint8, copy=False)).save(stream, "PNG")
    return stream.getvalue()


@contextmanager
def decoding(path: Path) -> Iterator[None]:
    """Turn whatever a decoder stumbles over into ImageError naming `path`."""
    try:
        yield
    except FileNotFoundError as error:
        raise ImageError(f"there is no file {path}", "unpack the download again") from error
    except MemoryError as error:
        raise TooLargeError(f"{path} does not fit into memory", "close other programs, or use fewer workers") from error
    except SegloopError:
        raise
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:SHOWN]
        raise ImageError(f"{path} is damaged or cut off ({reason})", "copy or download it again") from error


@contextmanager
def writing() -> Iterator[None]:
    """Say of a place that cannot be written what helps here: labels lie where the data set does."""
    try:
        yield
    except OutputError as error:
        raise OutputError(error.what, "allow writing there, or copy the data set to a place of yours") from error


def image_size(path: Path) -> Size:
    """(H, W) from an image's header."""
    with decoding(path), Image.open(regular(path)) as image:
        return image.height, image.width


def stored_ids(path: Path) -> np.ndarray:
    """Stored class numbers of a palette or grey image: (H, W) uint8 or uint16. Raises ImageError."""
    with decoding(path), Image.open(regular(path)) as image:
        if image.mode not in ("L", "P", "I;16", "I;16B", "I"):
            what = f"{path} holds colours ({image.mode}), not class numbers"
            raise ImageError(what, "give the original files, not pictures of them")
        stored = np.array(image)
    return stored if stored.dtype == np.uint8 else stored.astype(np.uint16)


def colours(path: Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB as stored, without turning by EXIF. Raises ImageError."""
    with decoding(path), Image.open(regular(path)) as image:
        return np.array(image.convert("RGB"))


def through(table: np.ndarray, stored: np.ndarray, path: Path, what: str) -> np.ndarray:
    """Look up each stored number; -1 in `table` (n,) marks numbers that must not occur: ImageError names them."""
    found = table[np.minimum(stored, len(table) - 1)]
    wrong = (found < 0) | (stored >= len(table))
    if wrong.any():
        values = ", ".join(map(str, np.unique(stored[wrong])[:5]))
        raise ImageError(f"{path} holds {values}, which no label of {what} has", "give the original files")
    return found


def read_json(path: Path, *keys: str) -> Any:
    """A JSON object that has `keys`. Raises UserError."""
    try:
        data = json.loads(regular(path).read_bytes().decode("utf-8", "replace"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read ({str(error)[:SHOWN]})", "download it again") from error
    if not isinstance(data, dict) or not all(key in data for key in keys):
        raise UserError(f"{path} has no {' and '.join(keys)}", "give the original annotation file")
    return data


def read_list(path: Path) -> list[str]:
    """The ids of a split: the first word of each line, with no suffix."""
    with decoding(path):
        lines = regular(path).read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    return [line.split()[0].removesuffix(".jpg") for line in lines if line.strip()]


def link_or_copy(source: Path, target: Path) -> None:
    """A hard link where the disk allows one, else a copy; whole or absent, and safe to repeat."""
    part = target.with_name(f".{target.name[:40]}.{uuid.uuid4().hex[:8]}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(source, part)
        os.replace(part, target)
        part.unlink(missing_ok=True)  # two names of one file: the rename did nothing
    except OSError:
        part.unlink(missing_ok=True)
        with decoding(source):
            data = regular(source).read_bytes()
        write_whole(target, data)


def entry(path: Path, name: str) -> Path:
    """How a message names one photo of an annotation file."""
    return Path(f"{path} ({name})")


def below(root: Path, *places: str) -> Path | None:
    """The first of `places` below `root` that is a folder with something in it."""
    return next((root / place for place in places if (root / place).is_dir() and any((root / place).iterdir())), None)

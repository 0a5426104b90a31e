"""Which photos are meant: a folder, a pattern, a list; each with the name that its label map bears."""

import csv
import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ..common.kinds import not_text
from ..common.sheets import cell_name
from ..common.visible import shortened
from ..errors import ImageError, OptionError, nearest
from ..images import SUFFIXES, expand_photos, photos_below

TEXTS, TABLES = (".txt", ".list"), (".csv", ".tsv")
COLUMNS = ("path", "file", "filename", "file_name", "image", "photo")  # that a table's paths may stand under


@dataclass(frozen=True)
class Photo:
    """One photo of a source."""

    name: str  # of its results, below the run: the path below the common folder, `/` between folders, no suffix
    path: Path


@dataclass(frozen=True)
class Photos:
    """All photos of a source, in the order of their names: paths, so that millions of them fit into memory."""

    root: Path  # the folder that all have in common
    paths: tuple[str, ...]  # below the root, `/` between folders
    alike: frozenset[str]  # results that several would bear, in lower case: those keep their own suffix

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, part: slice) -> list[Photo]:
        """Some of them."""
        return [self._photo(path) for path in self.paths[part]]

    def __iter__(self) -> Iterator[Photo]:
        return map(self._photo, self.paths)

    def _photo(self, path: str) -> Photo:
        stem = _stem(path)
        return Photo(path if stem.casefold() in self.alike else stem, self.root / path)


def _stem(path: str) -> str:
    return os.path.splitext(path)[0]


def photos_of(source: str, column: str | None = None, but: Path | None = None) -> Photos:
    """A folder (with all below it), a pattern, one photo, a text list or a table with a column of paths -> its photos.

    Paths of a list are relative to the list. Photos come in the order of their names, each once; those whose results
    would bear one name keep their own suffix. What lies below the folder `but`, where results go, is no photo. Raises
    ImageError where there is none, OptionError for a table without such a column.
    """
    results = os.path.join(os.path.abspath(but), "") if but else None
    every = dict.fromkeys(os.path.abspath(path) for path in _paths(source, column))
    paths = [path for path in every if results is None or not path.startswith(results)]
    if not paths:
        raise ImageError(f"{source} holds no photo", f"a photo ends in {', '.join(SUFFIXES[:4])} ...; or give a list")
    if not any(map(os.path.lexists, paths)):
        told = shortened(source) if paths == [os.path.abspath(source)] else f"what {shortened(source)} names"
        raise ImageError(f"{told} is not there", "check the path; those of a list are relative to the list")
    root = os.path.commonpath([os.path.dirname(path) for path in paths])
    below = [os.path.relpath(path, root).replace(os.sep, "/") for path in paths]
    below.sort(key=lambda path: (_stem(path).casefold(), path))
    stems = map(str.casefold, map(_stem, below))
    alike = frozenset(one for one, other in pairwise(stems) if one == other)
    return Photos(Path(root), tuple(below), alike)


def _paths(source: str, column: str | None) -> Iterable[str | Path]:
    place = Path(source)
    if place.is_dir():
        return photos_below(place)
    suffix = place.suffix.lower()
    if suffix in TABLES and place.is_file():
        return [place.parent / path for path in _column(place, column)]
    if column:
        raise OptionError(f"--column came with {source}", "it goes with a table: .csv or .tsv")
    if suffix in TEXTS and place.is_file():
        lines = _text(place).splitlines()
        return [place.parent / line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if glob.has_magic(source) and not place.exists():
        return [path for path in expand_photos([source]) if path.suffix.lower() in SUFFIXES]
    return expand_photos([source])


def _column(table: Path, column: str | None) -> list[str]:
    """The paths of a table. Raises OptionError naming its columns."""
    lines = csv.DictReader(_text(table).splitlines(), delimiter="\t" if table.suffix.lower() == ".tsv" else ",")
    heads = [head for head in lines.fieldnames or [] if head]
    known = column or next((head for name in COLUMNS for head in heads if head.strip().lower() == name), None)
    if known is None or known not in heads:
        what = f"{table} has no column {column!r}" if column else f"no column of {table} is known to hold paths"
        raise OptionError(what, nearest(column or "path", heads) if heads else "give a table with a heading")
    return [cell_name(line[known]) for line in lines if line.get(known)]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise OptionError(*not_text(path, path.read_bytes(), "give a text file with one photo a line")) from None

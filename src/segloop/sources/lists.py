"""Lists of photos: text with one a line, tables with a column of paths."""

import csv
import os
from collections.abc import Iterator
from pathlib import Path

from ..common import stores
from ..common.kinds import not_text
from ..common.sheets import cell_name
from ..errors import OptionError, nearest
from .containers import Asked

COLUMNS = ("path", "file", "filename", "file_name", "image", "photo")  # that a table's paths may stand under


def beside(place: str, name: str) -> str:
    """Where a list at `place` means a file of this name to lie: absolute, `/` between folders, or an address."""
    if stores.is_address(place) or stores.is_address(name):
        return stores.beside(place, name)
    return os.path.abspath(os.path.join(os.path.dirname(place), name)).replace(os.sep, "/")


def open_lines(place: str, asked: Asked) -> Iterator[str]:
    """The lines of a text that are not empty and no comments."""
    lines = (line.strip() for line in _text(place).splitlines())
    return (line for line in lines if line and not line.startswith("#"))


def open_sheet(place: str, asked: Asked) -> list[str]:
    """The paths of a table. Raises OptionError naming its columns."""
    lines = csv.DictReader(_text(place).splitlines(), delimiter="\t" if place.lower().endswith(".tsv") else ",")
    heads, column = [head for head in lines.fieldnames or [] if head], asked.column
    known = column or next((head for name in COLUMNS for head in heads if head.strip().lower() == name), None)
    if known is None or known not in heads:
        what = f"{place} has no column {column!r}" if column else f"no column of {place} is known to hold paths"
        raise OptionError(what, nearest(column or "path", heads) if heads else "give a table with a heading")
    return [cell_name(line[known]) for line in lines if line.get(known)]


def _text(place: str) -> str:
    data = stores.read(place) if stores.is_address(place) else Path(place).read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise OptionError(*not_text(place, data, "give a text file with one photo a line")) from None

"""Class lists in a workbook (xlsx): the first sheet with something in it, as lines of a table or of names."""

import csv
import io
import zipfile
from typing import Any

from ..errors import VocabularyError
from .lines import Line

REMEDY = "save it again, or as CSV"


def sheet_lines(data: bytes, file: str) -> tuple[str, list[Line]]:
    """(name of the sheet, its rows as lines with commas between their cells).

    Raises VocabularyError where openpyxl is missing, for a damaged workbook, and for one without words.
    """
    try:
        from openpyxl import load_workbook  # type: ignore[import-untyped]
    except ImportError:
        what = f"{file} is a workbook, which openpyxl reads, and that is missing"
        raise VocabularyError(what, 'pip install "segloop[xlsx]", or save it as CSV') from None
    try:
        book = load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        sheets = {sheet.title: [_cells(row) for row in sheet.iter_rows(values_only=True)] for sheet in book.worksheets}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, SyntaxError, zipfile.BadZipFile) as error:
        raise VocabularyError(f"{file} is a damaged workbook", REMEDY) from error
    for name, rows in sheets.items():
        lines = _lines(rows)
        if lines:
            return name, lines
    raise VocabularyError(f"{file} names no class", "write one class a row")


def _lines(rows: list[list[str]]) -> list[Line]:
    """Rows that hold something, without the columns that none of them uses."""
    used = [place for place in range(max(map(len, rows), default=0)) if any(row[place:] and row[place] for row in rows)]
    found = []
    for number, row in enumerate(rows, 1):
        cells = [row[place] if place < len(row) else "" for place in used]
        if any(cells):
            found.append(Line(cells[0] if len(used) == 1 else _joined(cells), f"row {number}"))
    return found


def _joined(cells: list[str]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="").writerow(cells)
    return stream.getvalue()


def _cells(row: tuple[Any, ...]) -> list[str]:
    return [" ".join(str(_plain(value)).split()) if value is not None else "" for value in row]


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value

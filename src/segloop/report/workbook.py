"""Reports as workbooks (xlsx): a sheet a table, numbers as numbers. Needs openpyxl, the extra `xlsx`."""

import io
import re
import zipfile
from collections.abc import Sequence
from typing import IO, Any

from ..common.sheets import armed
from ..errors import OptionError
from .cells import Report, Table, Value, flat, letter

EPOCH = (1980, 1, 1, 0, 0, 0)  # the date of every file in a workbook, so that the same report has the same bytes
WIDEST = 60  # letters of a column in a workbook


def check_openpyxl() -> None:
    """Raises OptionError where what writes workbooks is missing."""
    try:
        import openpyxl  # type: ignore[import-untyped]  # noqa: F401
    except ImportError:
        raise OptionError("workbooks need openpyxl", 'pip install "segloop[xlsx]", or choose --format csv') from None


def is_workbook(stream: IO[bytes]) -> bool:
    """Whether it is a workbook that `workbook` has made."""
    with zipfile.ZipFile(stream) as archive:
        return b">segloop</dc:creator>" in archive.read("docProps/core.xml")


def workbook(report: Report) -> bytes:
    """An xlsx file with a sheet a table. Raises OptionError where openpyxl is missing."""
    check_openpyxl()
    from openpyxl import Workbook

    book = Workbook()
    book.properties.creator = "segloop"
    book.remove(book.active)
    for made in report.tables:
        _sheet(book.create_sheet(made.name[:31]), made)
    stream = io.BytesIO()
    book.save(stream)
    return _timeless(stream.getvalue())


def _sheet(sheet: Any, made: Table) -> None:
    """Header, rows of numbers as numbers, then title, sentences and footnotes below."""
    from openpyxl.styles import Font  # type: ignore[import-untyped]
    from openpyxl.utils import get_column_letter  # type: ignore[import-untyped]

    header, rows = flat(made)
    formats = _number_formats(made)
    lines: list[Sequence[Value]] = [header, *rows]
    for line, values in enumerate(lines, start=1):
        for place, value in enumerate(values, start=1):
            _write(sheet.cell(line, place), value, formats[place - 1] if line > 1 else None)
    for cell in sheet[1]:
        cell.font = Font(bold=True)
    sheet.freeze_panes = "A2"
    for place in range(len(header)):
        longest = max(len(_width_of(row[place])) for row in lines)
        sheet.column_dimensions[get_column_letter(place + 1)].width = min(longest, WIDEST) + 2
    below = [made.title, *made.lead, *(f"({letter(mark)}) {note}" for mark, note in enumerate(made.notes))]
    for line, words in enumerate(below, start=len(rows) + 3):
        _write(sheet.cell(line, 1), words, None)


def _write(cell: Any, value: Any, number_format: str | None) -> None:
    if isinstance(value, str):
        cell.value = re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]", " ", value)
        cell.data_type = "s"  # a class called "=1" is no formula
        cell.quotePrefix = armed(value)  # nor will it be one when somebody edits it
    else:
        cell.value = value
        if number_format and value is not None:
            cell.number_format = number_format


def _number_formats(made: Table) -> list[str | None]:
    """The number format of every column of `flat`."""
    found: list[str | None] = []
    for column in made.columns:
        decimals = "0." + "0" * column.digits if column.digits else "0"
        kinds = {"percent": decimals, "points": f"+{decimals};-{decimals};{decimals}", "count": "0", "p": "0.000"}
        found += [kinds.get(column.kind)] * (3 if column.interval else 1)
    return [*found, None] if made.notes else found


def _width_of(value: Any) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value or "")


def _timeless(data: bytes) -> bytes:
    """The same workbook without the time it was made at."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "docProps/core.xml":
                content = re.sub(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", b"1980-01-01T00:00:00Z", content)
            new.writestr(zipfile.ZipInfo(name, EPOCH), content, zipfile.ZIP_DEFLATED)
    return stream.getvalue()

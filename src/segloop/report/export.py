"""Reports as files: Markdown, CSV, JSON and workbooks, all from the same cells."""

import io
import json
import os
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from ..common.earlier import LINE, Kind, check_replaced, ending, saying
from ..common.sheets import armed, csv_text, first_line
from ..common.visible import visible
from ..errors import OptionError, nearest
from ..evaluation.record import LAYOUT
from ..runs.folder import RUN as RECORD
from .cells import Cell, Column, Report, Table, Value, flat, letter, text
from .page import page
from .runs import Run

SUFFIXES = {"md": (".md", ".markdown", ".txt"), "csv": (".csv",), "xlsx": (".xlsx",), "html": (".html", ".htm")}
FORMATS = tuple(SUFFIXES)
PLAIN = {f"+FSA {what}" for what in ("published", "run", "diff")}  # headings that programs know without a quote
EPOCH = (1980, 1, 1, 0, 0, 0)  # the date of every file in a workbook, so that the same report has the same bytes
MARK = b"\n<!-- written by segloop report -->\n"  # the last line of a file in Markdown
WIDEST = 60  # letters of a column in a workbook


def check_format(form: str | None, out: Path | None, pictures: int = 0, against: str | None = None) -> str:
    """The format that is meant: `form`, or what `out` ends in, or md.

    Raises OptionError before any work for an unknown one, for a name that ends as another kind of file does, and for
    wishes that the format cannot hold.
    """
    ending = out.suffix.lower() if out else ""
    meant = next((name for name, suffixes in SUFFIXES.items() if ending in suffixes), None)
    chosen = (form or meant or "md").strip().lower()
    if chosen not in FORMATS:
        raise OptionError(f"there is no format {form!r}", nearest(chosen, FORMATS))
    if chosen == "xlsx" and out is None:
        raise OptionError("a workbook cannot be printed", "add --out FILE.xlsx")
    if out is not None and out.is_dir():
        raise OptionError(f"{out} is a folder", f"name a file in it, such as {out / ('report.' + chosen)}")
    if out is not None and ending and meant != chosen:
        _refuse_ending(out, meant, chosen if form else None)
    if pictures and chosen != "html":
        raise OptionError(f"pictures do not go into {chosen}", "add --format html, or leave --pictures out")
    if against not in (None, "published"):
        raise OptionError(f"unknown --against {against!r}", "the only choice is published")
    return chosen


def _refuse_ending(out: Path, meant: str | None, form: str | None) -> None:
    if form is None:
        kinds = ", ".join(suffixes[0] for suffixes in SUFFIXES.values())
        raise OptionError(f"reports are not written as {out.suffix} ({out})", f"end --out in one of {kinds}")
    both = f", or leave --format {form} out" if meant else ""
    what = f"--format {form} came with a file that ends in {out.suffix} ({out})"
    raise OptionError(what, f"name it {out.with_suffix(SUFFIXES[form][0])}{both}")


def files(report: Report, form: str, out: Path) -> dict[Path, bytes]:
    """What is written for `out`: one file, or for CSV one a table, the first under the given name.

    `form` is one of FORMATS. Raises OptionError where openpyxl is missing.
    """
    if form == "csv":
        first, *others = report.tables
        beside = {out.with_name(f"{out.stem}.{made.name}{out.suffix or '.csv'}"): csv_table(made) for made in others}
        return {path: _bytes(words) for path, words in {out: csv_table(first), **beside}.items()}
    if form == "md":
        return {out: _bytes(printed(report, form)) + MARK}
    return {out: workbook(report) if form == "xlsx" else _bytes(printed(report, form))}


def check_files(written: Mapping[Path, bytes], form: str, runs: Sequence[Run]) -> None:
    """See that what `files` has given replaces earlier reports only, and gets between no files of these runs.

    Raises OptionError, OutputError.
    """
    records = {os.path.realpath(run.folder / name) for run in runs for name in (RECORD, *LAYOUT.beside)}
    for path in written:
        if os.path.realpath(path) in records:
            raise OptionError(f"{path} is a part of the run that is reported", "choose another --out")
    kinds = {path: _table_like(content) if form == "csv" else KINDS[form] for path, content in written.items()}
    check_replaced(kinds, "move it away, or choose another --out")


def _table_like(content: bytes) -> Kind:
    """CSV files with the first and half of all columns of a table."""
    header = first_line(content.decode("utf-8", "replace"))

    def look(stream: IO[bytes]) -> bool:
        there = first_line(stream.readline(LINE).decode())
        return there[:1] == header[:1] and 2 * len({*there} & {*header}) >= min(len(there), len(header))

    return look


def _is_workbook(stream: IO[bytes]) -> bool:
    with zipfile.ZipFile(stream) as archive:
        return b">segloop</dc:creator>" in archive.read("docProps/core.xml")


KINDS: dict[str, Kind] = {"md": ending(MARK), "html": saying(b"<title>segloop: "), "xlsx": _is_workbook}


def _bytes(words: str) -> bytes:
    return words.encode("utf-8", "backslashreplace")  # odd bytes of a file name


def printed(report: Report, form: str) -> str:
    """The report as text of one of md, csv, html."""
    return {"md": markdown, "csv": csv_blocks, "html": page}[form](report)


def markdown(report: Report) -> str:
    """Tables of Markdown whose columns also line up as plain text."""
    return "\n".join(_markdown_table(made) for made in report.tables)


def csv_blocks(report: Report) -> str:
    """All tables, the first from the first line on, the others each after an empty line and `# title`."""
    first, *others = report.tables
    return csv_table(first) + "".join(f"\n# {made.title}\n{csv_table(made)}" for made in others)


def csv_table(made: Table) -> str:
    """One table with a header, numbers at full precision, nothing where there is no value."""
    header, rows = flat(made)
    return ",".join(map(_heading, header)) + "\n" + csv_text(rows)


def _heading(name: str) -> str:
    return name if name in PLAIN else csv_text([[name]])[:-1]


def json_object(report: Report) -> dict[str, Any]:
    """The whole report for programs: tables by name, their rows as objects, numbers at full precision."""
    return {"title": report.title, "tables": {made.name: _json_table(made) for made in report.tables}}


def json_text(report: Report) -> str:
    """`json_object` in one line of strict JSON."""
    return json.dumps(json_object(report), ensure_ascii=False, allow_nan=False)


def workbook(report: Report) -> bytes:
    """An xlsx file with a sheet a table. Raises OptionError where openpyxl is missing."""
    try:
        from openpyxl import Workbook  # type: ignore[import-untyped]
    except ImportError:
        raise OptionError("workbooks need openpyxl", 'pip install "segloop[xlsx]", or choose --format csv') from None
    book = Workbook()
    book.properties.creator = "segloop"
    book.remove(book.active)
    for made in report.tables:
        _sheet(book.create_sheet(made.name[:31]), made)
    stream = io.BytesIO()
    book.save(stream)
    return _timeless(stream.getvalue())


def _markdown_table(made: Table) -> str:
    header = [_escaped(column.name) for column in made.columns]
    rows = [[_marked(cell, column) for cell, column in zip(row, made.columns, strict=True)] for row in made.rows]
    widths = [max(3, *(len(row[place]) for row in [header, *rows])) for place in range(len(header))]
    left = [column.kind == "text" for column in made.columns]
    rule = ["-" * width if is_left else "-" * (width - 1) + ":" for width, is_left in zip(widths, left, strict=True)]
    lines = [f"## {_escaped(made.title)}", ""]
    lines += [line for words in made.lead for line in (_escaped(words), "")]
    for cells in (header, rule, *rows):
        padded = [
            cell.ljust(width) if is_left else cell.rjust(width)
            for cell, width, is_left in zip(cells, widths, left, strict=True)
        ]
        lines.append(f"| {' | '.join(padded)} |")
    if made.notes:
        lines += ["", *(f"- ({letter(mark)}) {_escaped(note)}" for mark, note in enumerate(made.notes))]
    return "\n".join([*lines, ""])


def _marked(cell: Cell, column: Column) -> str:
    marks = ",".join(letter(mark) for mark in cell.marks)
    return _escaped(text(cell, column)) + (f" ({marks})" if marks else "")


def _escaped(words: str) -> str:
    """Text that Markdown shows as it is: names may hold any sign."""
    return re.sub(r"([\\`*|<]|(?<!\w)_|_(?!\w))", r"\\\1", visible(" ".join(words.split())))


def _json_table(made: Table) -> dict[str, Any]:
    header, rows = flat(made)
    return {
        "title": made.title,
        "sentences": list(made.lead),
        "rows": [dict(zip(header, row, strict=True)) for row in rows],
        "notes": list(made.notes),
    }


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

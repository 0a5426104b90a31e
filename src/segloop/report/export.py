"""Reports as files: Markdown, CSV, LaTeX, JSON, pages and workbooks, all from the same cells."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from ..common.earlier import LINE, Kind, anything, beginning, check_replaced, ending, saying
from ..common.sheets import csv_text, first_line
from ..errors import OptionError, nearest
from ..evaluation.record import LAYOUT
from ..runs.folder import RUN as RECORD
from .cells import Report, Table, flat
from .latex import HEAD, latex
from .markdown import markdown
from .page import page
from .runs import Run
from .workbook import check_openpyxl, is_workbook, workbook

PLAIN = {f"+FSA {what}" for what in ("published", "run", "diff")}  # headings that programs know without a quote
MARK = b"\n<!-- written by segloop report -->\n"  # the last line of a file in Markdown


def check_format(form: str | None, out: Path | None, pictures: int = 0, against: str | None = None) -> str:
    """The format that is meant: `form`, or what `out` ends in, or md.

    Raises OptionError before any work for an unknown one, for a name that ends as another kind of file does, and for
    wishes that the format cannot hold.
    """
    ending = out.suffix.lower() if out else ""
    meant = next((name for name, row in FORMATS.items() if ending in row.suffixes), None)
    chosen = (form or meant or "md").strip().lower()
    if chosen not in FORMATS:
        raise OptionError(f"there is no format {form!r}", nearest(chosen, FORMATS))
    if chosen == "xlsx" and out is None:
        raise OptionError("a workbook cannot be printed", "add --out FILE.xlsx")
    if chosen == "xlsx":
        check_openpyxl()
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
        kinds = ", ".join(row.suffixes[0] for row in FORMATS.values())
        raise OptionError(f"reports are not written as {out.suffix} ({out})", f"end --out in one of {kinds}")
    both = f", or leave --format {form} out" if meant else ""
    what = f"--format {form} came with a file that ends in {out.suffix} ({out})"
    raise OptionError(what, f"name it {out.with_suffix(FORMATS[form].suffixes[0])}{both}")


def files(report: Report, form: str, out: Path) -> dict[Path, bytes]:
    """What is written for `out`: one file, or for CSV one a table, the first under the given name.

    `form` is one of FORMATS. Raises OptionError where openpyxl is missing.
    """
    if form == "csv":
        first, *others = report.tables
        beside = {out.with_name(f"{out.stem}.{made.name}{out.suffix or '.csv'}"): csv_table(made) for made in others}
        return {path: _bytes(words) for path, words in {out: csv_table(first), **beside}.items()}
    return {out: FORMATS[form].data(replace(report, file=out.stem))}


def check_files(written: Mapping[Path, bytes], form: str, runs: Sequence[Run]) -> None:
    """See that what `files` has given replaces earlier reports only, and gets between no files of these runs.

    Raises OptionError, OutputError.
    """
    records = {os.path.realpath(run.folder / name) for run in runs for name in (RECORD, *LAYOUT.beside)}
    for path in written:
        if os.path.realpath(path) in records:
            raise OptionError(f"{path} is a part of the run that is reported", "choose another --out")
    kinds = {path: _table_like(content) if form == "csv" else FORMATS[form].kind for path, content in written.items()}
    check_replaced(kinds, "move it away, or choose another --out")


def _table_like(content: bytes) -> Kind:
    """CSV files with the first and half of all columns of a table."""
    header = first_line(content.decode("utf-8", "replace"))

    def look(stream: IO[bytes]) -> bool:
        there = first_line(stream.readline(LINE).decode())
        return there[:1] == header[:1] and 2 * len({*there} & {*header}) >= min(len(there), len(header))

    return look


def _bytes(words: str) -> bytes:
    return words.encode("utf-8", "backslashreplace")  # odd bytes of a file name


def printed(report: Report, form: str) -> str:
    """The report as text of one of FORMATS but xlsx."""
    return FORMATS[form].data(report).decode().removesuffix(MARK.decode())


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


def _json_table(made: Table) -> dict[str, Any]:
    header, rows = flat(made)
    return {
        "title": made.title,
        "sentences": list(made.lead),
        "rows": [dict(zip(header, row, strict=True)) for row in rows],
        "notes": list(made.notes),
    }


@dataclass(frozen=True)
class Format:
    """A row of FORMATS: what its files end in, what they hold, and how an earlier one is told from any other file."""

    suffixes: tuple[str, ...]
    data: Callable[[Report], bytes]
    kind: Kind = anything  # of CSV each file has its own


FORMATS: dict[str, Format] = {
    "md": Format((".md", ".markdown", ".txt"), lambda report: _bytes(markdown(report)) + MARK, ending(MARK)),
    "csv": Format((".csv",), lambda report: _bytes(csv_blocks(report))),
    "tex": Format((".tex",), lambda report: _bytes(latex(report)), beginning(HEAD.encode())),
    "xlsx": Format((".xlsx",), workbook, is_workbook),
    "html": Format((".html", ".htm"), lambda report: _bytes(page(report)), saying(b"<title>segloop: ")),
}

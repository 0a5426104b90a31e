"""A report as one page that needs nothing else: tables that sort, bars with their intervals, pictures."""

from dataclasses import dataclass
from pathlib import Path

from ..common.pages import filled
from .bars import Bar, bar, span
from .cells import Cell, Column, Report, Table, letter, number, text
from .pictures import data_uri


@dataclass(frozen=True)
class Mark:
    """A footnote."""

    letter: str
    words: str


@dataclass(frozen=True)
class Shown:
    """A cell as the page shows it."""

    column: Column
    sort: str  # what the page's script sorts by; empty for nothing
    value: str
    interval: str  # "[1.0, 2.0]", or empty
    marks: tuple[Mark, ...]
    bar: Bar | None


@dataclass(frozen=True)
class Line:
    """A row of a table."""

    cells: tuple[Shown, ...]
    difference: bool  # to the row of its host


@dataclass(frozen=True)
class Section:
    """A table as the page shows it."""

    table: Table
    lines: tuple[Line, ...]
    marks: tuple[Mark, ...]


def page(report: Report) -> str:
    """The whole report as HTML, in the reader's choice of light or dark."""
    sections = [section(made) for made in report.tables]
    folder = Path(__file__).parent
    return filled(folder, title=report.title, sections=sections, galleries=report.galleries, data_uri=data_uri)


def section(made: Table) -> Section:
    """A table, ready to be laid out."""
    marks = tuple(Mark(letter(place), words) for place, words in enumerate(made.notes))
    spans = [span(made, place) if column.bar else None for place, column in enumerate(made.columns)]
    lines = []
    for row in made.rows:
        cells = tuple(_shown(*each, marks) for each in zip(row, made.columns, spans, strict=True))
        lines.append(Line(cells, difference=any(cell.signed for cell in row)))
    return Section(made, tuple(lines), marks)


def _shown(cell: Cell, column: Column, ends: tuple[float, float] | None, marks: tuple[Mark, ...]) -> Shown:
    value, interval = _parts(cell, column)
    return Shown(
        column=column,
        sort="" if cell.absent else str(cell.value),
        value=value,
        interval=interval,
        marks=tuple(marks[place] for place in cell.marks),
        bar=bar(cell, column, ends) if ends else None,
    )


def _parts(cell: Cell, column: Column) -> tuple[str, str]:
    """The cell's text as its value and, where it has one, its interval."""
    whole = text(cell, column)
    if cell.absent or not column.interval or not whole.endswith("]"):
        return whole, ""
    value = number(cell.value, column)  # type: ignore[arg-type]  # a number, since it has an interval
    return value, whole[len(value) + 1 :]

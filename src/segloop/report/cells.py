"""Tables of typed cells: what every format of a report is made from, so that no two can disagree."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from string import ascii_lowercase
from typing import Literal

ColumnKind = Literal["text", "count", "percent", "points", "p"]
Value = str | int | float | None
ABSENT = "-"


@dataclass(frozen=True)
class Column:
    """What stands under one heading. `points` are signed differences of percentages."""

    name: str  # unique within its table
    kind: ColumnKind = "text"
    digits: int = 1  # decimals of percentages and points
    interval: bool = False  # cells may carry the ends of a 95 % interval
    bar: bool = False  # worth a drawing where a format can draw
    rising_is_worse: bool = False  # of points: colours of the drawing change sides


@dataclass(frozen=True)
class Cell:
    """One value at full precision; None (or NaN) where there is none."""

    value: Value = None
    low: float | None = None
    high: float | None = None
    marks: tuple[int, ...] = ()  # places of its footnotes in the table's notes
    signed: bool = False  # a difference that stands in a column of percentages

    @property
    def absent(self) -> bool:
        """Whether there is nothing to show."""
        return self.value is None or (isinstance(self.value, float) and math.isnan(self.value))


@dataclass(frozen=True)
class Table:
    """Rows of cells below their columns, sentences above (`lead`) and footnotes below (`notes`)."""

    name: str  # for files, sheets and JSON
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    lead: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Picture:
    """One image of a gallery: `data` is a whole JPEG file."""

    caption: str
    data: bytes = field(repr=False)
    size: tuple[int, int]  # width, height in pixels


@dataclass(frozen=True)
class Strip:
    """The same photo several ways, side by side, with the colours of its classes."""

    caption: str
    pictures: tuple[Picture, ...]
    legend: tuple[tuple[str, str], ...]  # (class, "#rrggbb")


@dataclass(frozen=True)
class Gallery:
    """Strips under one heading."""

    title: str
    strips: tuple[Strip, ...]


@dataclass(frozen=True)
class Report:
    """All that a report says."""

    title: str
    tables: tuple[Table, ...]
    galleries: tuple[Gallery, ...] = ()
    file: str = ""  # what it is written to, without folder and suffix


class Notes:
    """Collects the footnotes of a table while it is built; the same words are the same note."""

    def __init__(self) -> None:
        self._words: list[str] = []

    def mark(self, cell: Cell, *words: str) -> Cell:
        """The cell with one more mark for each of `words`."""
        for note in words:
            if note not in self._words:
                self._words.append(note)
        new = (self._words.index(note) for note in words)
        return replace(cell, marks=tuple(sorted({*cell.marks, *new})))

    def words(self) -> tuple[str, ...]:
        """All notes in order of their marks."""
        return tuple(self._words)


def table(
    name: str,
    title: str,
    columns: Sequence[Column],
    rows: Iterable[Sequence[Cell | Value]],
    lead: Iterable[str] = (),
    notes: Notes | None = None,
) -> Table:
    """A Table from rows of cells or bare values."""
    made = tuple(tuple(cell if isinstance(cell, Cell) else Cell(cell) for cell in row) for row in rows)
    return Table(name, title, tuple(columns), made, tuple(lead), notes.words() if notes else ())


def letter(mark: int) -> str:
    """Footnote 0 is `a`, 26 is `aa`: letters are not taken for digits of the number they stand at."""
    return ("" if mark < 26 else letter(mark // 26 - 1)) + ascii_lowercase[mark % 26]


def number(value: float | None, column: Column) -> str:
    """A number as a column of its kind prints it; `-` for None and NaN, no sign before a zero."""
    if value is None or math.isnan(value):
        return ABSENT
    if column.kind == "count":
        return f"{value:.0f}"
    if column.kind == "p":
        return "< 0.001" if value < 0.001 else f"{value:.3f}"
    shown = f"{value:.{column.digits}f}"
    zero = float(shown) == 0
    if zero:
        return shown.lstrip("-")
    return f"+{shown}" if column.kind == "points" and value > 0 else shown


def text(cell: Cell, column: Column) -> str:
    """The cell as words: value and interval, without footnote marks."""
    if cell.absent:
        return ABSENT
    if isinstance(cell.value, str):
        return cell.value
    if cell.signed:
        column = replace(column, kind="points")
    shown = number(cell.value, column)
    if not column.interval or cell.low is None or cell.high is None or math.isnan(cell.low):
        return shown
    return f"{shown} [{number(cell.low, column)}, {number(cell.high, column)}]"


def flat(made: Table) -> tuple[list[str], list[list[Value]]]:
    """(header, rows) of plain values at full precision: intervals and footnotes get columns of their own."""
    header: list[str] = []
    for column in made.columns:
        header += [column.name, f"{column.name} low", f"{column.name} high"] if column.interval else [column.name]
    if made.notes:
        header.append("notes")
    return header, [_flat_row(made, row) for row in made.rows]


def _flat_row(made: Table, row: tuple[Cell, ...]) -> list[Value]:
    values: list[Value] = []
    for cell, column in zip(row, made.columns, strict=True):
        values.append(None if cell.absent else cell.value)
        if column.interval:
            values += [None if end is None or math.isnan(end) else end for end in (cell.low, cell.high)]
    if made.notes:
        said = [
            f"{column.name}: {made.notes[mark]}"
            for cell, column in zip(row, made.columns, strict=True)
            for mark in cell.marks
        ]
        values.append("; ".join(said))
    return values

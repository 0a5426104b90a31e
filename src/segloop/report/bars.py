"""Drawings of single numbers: a bar from zero to the value, with its interval."""

import math
from dataclasses import dataclass

from .cells import Cell, Column, Table, text

ENDS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0)  # of bars, where 100 would be too far
WIDTH, PAD = 120, 2  # pixels of a drawing, and what it leaves free on both sides
THINNEST = 0.5  # pixels of a bar


@dataclass(frozen=True)
class Bar:
    """A drawing, in pixels from its left side."""

    kind: str  # bar, gain or loss
    start: float
    length: float
    zero: float
    whisker: tuple[float, float] | None  # the ends of the interval
    spoken: str  # for those who cannot see it


def bar(cell: Cell, column: Column, span: tuple[float, float]) -> Bar | None:
    """The bar of one value between the ends of `span`; None where there is no value."""
    if cell.absent or isinstance(cell.value, str):
        return None
    value = float(cell.value)  # type: ignore[arg-type]  # absent is None
    zero, end = _place(0, span), _place(value, span)
    better = (value >= 0) != column.rising_is_worse
    return Bar(
        kind="bar" if column.kind != "points" else "gain" if better else "loss",
        start=min(zero, end),
        length=round(max(abs(end - zero), THINNEST), 1),
        zero=zero,
        whisker=_whisker(cell, span) if column.interval else None,
        spoken=f"{column.name} {text(cell, column)}",
    )


def span(made: Table, place: int) -> tuple[float, float]:
    """What the bars of one column reach over: from 0 to a round end, differences evenly on both sides of 0."""
    values = [value for row in made.rows for value in (row[place].value, row[place].low, row[place].high)]
    found = [abs(value) for value in values if isinstance(value, (int, float)) and not math.isnan(value)]
    most = next((end for end in ENDS if end >= max(found, default=0.0)), 100.0)
    return (-most, most) if made.columns[place].kind == "points" else (0.0, most)


def _place(value: float, span: tuple[float, float]) -> float:
    low, high = span
    return round(PAD + (min(max(value, low), high) - low) / (high - low) * (WIDTH - 2 * PAD), 1)


def _whisker(cell: Cell, span: tuple[float, float]) -> tuple[float, float] | None:
    if cell.low is None or cell.high is None or math.isnan(cell.low) or math.isnan(cell.high):
        return None
    return _place(cell.low, span), _place(cell.high, span)

"""Reports in Markdown, whose tables also line up as plain text."""

import re

from ..common.visible import visible
from .cells import Cell, Column, Report, Table, letter, text


def markdown(report: Report) -> str:
    """Tables of Markdown whose columns also line up as plain text."""
    return "\n".join(_markdown_table(made) for made in report.tables)


def _markdown_table(made: Table) -> str:
    header = [escaped(column.name) for column in made.columns]
    rows = [[_marked(cell, column) for cell, column in zip(row, made.columns, strict=True)] for row in made.rows]
    widths = [max(3, *(len(row[place]) for row in [header, *rows])) for place in range(len(header))]
    left = [column.kind == "text" for column in made.columns]
    rule = ["-" * width if is_left else "-" * (width - 1) + ":" for width, is_left in zip(widths, left, strict=True)]
    lines = [f"## {escaped(made.title)}", ""]
    lines += [line for words in made.lead for line in (escaped(words), "")]
    for cells in (header, rule, *rows):
        padded = [
            cell.ljust(width) if is_left else cell.rjust(width)
            for cell, width, is_left in zip(cells, widths, left, strict=True)
        ]
        lines.append(f"| {' | '.join(padded)} |")
    if made.notes:
        lines += ["", *(f"- ({letter(mark)}) {escaped(note)}" for mark, note in enumerate(made.notes))]
    return "\n".join([*lines, ""])


def _marked(cell: Cell, column: Column) -> str:
    marks = ",".join(letter(mark) for mark in cell.marks)
    return escaped(text(cell, column)) + (f" ({marks})" if marks else "")


def escaped(words: str) -> str:
    """Text that Markdown shows as it is: names may hold any sign."""
    return re.sub(r"([\\`*|<]|(?<!\w)_|_(?!\w))", r"\\\1", visible(" ".join(words.split())))

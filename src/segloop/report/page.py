"""A report as one page that needs nothing else: tables that sort, bars with their intervals, pictures."""

import math
from html import escape
from importlib.resources import files

from .cells import Cell, Column, Gallery, Report, Strip, Table, letter, number, text
from .pictures import data_uri

ENDS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0)  # of bars, where 100 would be too far
WIDTH, HEIGHT, PAD = 120, 14, 2  # pixels of a bar's drawing


def page(report: Report) -> str:
    """The whole report as HTML, in the reader's choice of light or dark."""
    style, script = (files(__package__).joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    title = escape(f"segloop: {report.title}")
    parts = [*map(_section, report.tables), *map(_gallery, report.galleries)]
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            '<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{title}</title>",
            f"<style>\n{style}</style></head>",
            f"<body><main><h1>{title}</h1>",
            *parts,
            f"</main><script>\n{script}</script></body></html>",
            "",
        ]
    )


def bar(cell: Cell, column: Column, span: tuple[float, float]) -> str:
    """A drawing of one value and its interval between the ends of `span`; nothing where there is no value."""
    if cell.absent or isinstance(cell.value, str):
        return ""
    low, high = span

    def place(value: float) -> float:
        return round(PAD + (min(max(value, low), high) - low) / (high - low) * (WIDTH - 2 * PAD), 1)

    value = float(cell.value)  # type: ignore[arg-type]  # absent is None
    start, end = sorted((place(0), place(value)))
    better = (value >= 0) != column.rising_is_worse
    kind = "bar" if column.kind != "points" else "gain" if better else "loss"
    shapes = [f'<rect class="{kind}" x="{start}" y="3" width="{max(end - start, 0.5):.1f}" height="8" rx="1.5"/>']
    shapes.append(f'<path class="axis" d="M{place(0)} 0V{HEIGHT}"/>')
    ends = cell.low, cell.high
    if column.interval and all(one is not None and not math.isnan(one) for one in ends):
        left, right = (place(one) for one in ends if one is not None)
        shapes.append(f'<path class="whisker" d="M{left} 7H{right}M{left} 4.5V9.5M{right} 4.5V9.5"/>')
    drawing = "".join(shapes)
    return f'<svg width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{_spoken(cell, column)}">{drawing}</svg>'


def span(made: Table, place: int) -> tuple[float, float]:
    """What the bars of one column reach over: from 0 to a round end, differences evenly on both sides of 0."""
    values = [value for row in made.rows for value in (row[place].value, row[place].low, row[place].high)]
    found = [abs(value) for value in values if isinstance(value, (int, float)) and not math.isnan(value)]
    most = next((end for end in ENDS if end >= max(found, default=0.0)), 100.0)
    return (-most, most) if made.columns[place].kind == "points" else (0.0, most)


def _section(made: Table) -> str:
    spans = [span(made, place) if column.bar else (0.0, 1.0) for place, column in enumerate(made.columns)]
    heads = "".join(
        f'<th scope="col"{_kind(column)} aria-sort="none"><button type="button">{escape(column.name)}</button></th>'
        for column in made.columns
    )
    rows = []
    for row in made.rows:
        cells = (_cell(made, cell, column, ends) for cell, column, ends in zip(row, made.columns, spans, strict=True))
        difference = ' class="difference"' if any(cell.signed for cell in row) else ""
        rows.append(f"<tr{difference}>{''.join(cells)}</tr>")
    lead = "".join(f"<p>{escape(words)}</p>" for words in made.lead)
    notes = "".join(f"<li><sup>{letter(mark)}</sup> {escape(note)}</li>" for mark, note in enumerate(made.notes))
    below = f'<ul class="notes">{notes}</ul>' if notes else ""
    return (
        f'<section id="{escape(made.name)}"><h2>{escape(made.title)}</h2>{lead}'
        f'<div class="scroll"><table data-name="{escape(made.name)}"><thead><tr>{heads}</tr></thead>\n'
        f"<tbody>\n{chr(10).join(rows)}\n</tbody></table></div>{below}</section>"
    )


def _cell(made: Table, cell: Cell, column: Column, ends: tuple[float, float]) -> str:
    sort = "" if cell.absent else str(cell.value)
    shown = number(cell.value, column) if _only_value(cell, column) else text(cell, column)  # type: ignore[arg-type]
    drawing = bar(cell, column, ends) if column.bar else ""
    range_ = f" <small>{escape(text(cell, column)[len(shown) + 1 :])}</small>" if _only_value(cell, column) else ""
    marks = "".join(f'<sup title="{escape(made.notes[mark])}">{letter(mark)}</sup>' for mark in cell.marks)
    return f'<td{_kind(column)} data-value="{escape(sort)}">{drawing}<span>{escape(shown)}</span>{range_}{marks}</td>'


def _only_value(cell: Cell, column: Column) -> bool:
    """Whether the cell's text goes on after its value, with an interval."""
    return not cell.absent and column.interval and text(cell, column).endswith("]")


def _kind(column: Column) -> str:
    return "" if column.kind == "text" else ' class="number"'


def _spoken(cell: Cell, column: Column) -> str:
    return escape(f"{column.name} {text(cell, column)}")


def _gallery(gallery: Gallery) -> str:
    strips = "\n".join(map(_strip, gallery.strips))
    return f'<section class="gallery"><h2>{escape(gallery.title)}</h2>\n{strips}</section>'


def _strip(strip: Strip) -> str:
    pictures = "".join(
        f'<figure><img src="{data_uri(one)}" width="{one.size[0]}" height="{one.size[1]}" '
        f'alt="{escape(f"{one.caption} of {strip.caption}")}"><figcaption>{escape(one.caption)}</figcaption></figure>'
        for one in strip.pictures
    )
    legend = "".join(f'<li><i style="background:{colour}"></i>{escape(name)}</li>' for name, colour in strip.legend)
    return f'<h3>{escape(strip.caption)}</h3><div class="strip">{pictures}</div><ul class="legend">{legend}</ul>'

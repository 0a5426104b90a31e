"""Class lists as tables: a heading that says which column holds the name, the number, the colour."""

import csv
import re
from collections.abc import Sequence

from ..common.visible import plain
from .entries import Entry, Form, colour_of, unclear
from .lines import Line

NAMES = ("name", "names", "class name", "label name", "class", "classes", "category", "label", "labels", "title")
ALONE = ("name", "names", "class name", "label name", "class", "classes", "labels")  # what no class is called
NUMBERS = ("id", "idx", "index", "number", "class id", "label id", "category id", "value", "pixel", "mask value")
QUERIES = ("query", "queries", "prompt", "prompts", "words")  # what is looked for, where the name is only a label
COLOURS = ("color", "colour", "rgb", "hex", "color rgb", "colour rgb")
RGB = (("r", "g", "b"), ("red", "green", "blue"))
USED = {*NAMES, *NUMBERS, *QUERIES, *COLOURS, *RGB[0], *RGB[1]}
SIGNS = {",": "commas", ";": "semicolons", "\t": "tabs"}
TABLES = (".csv", ".tsv", ".xlsx")  # files of cells, whose first line may be a heading even alone
HEADINGS = (
    "call its columns name (or class, label), id (or index, value), query (or prompt, words), color (or rgb, hex)"
)


def from_table(lines: Sequence[Line], file: str) -> Form | None:
    """A table with a heading understood; None where the first line is none.

    Raises VocabularyError for a heading of other words, and for rows that do not fit it.
    """
    if len(lines) < 2:
        return None
    for sign, name in SIGNS.items():
        heading = _cells(lines[0].text, sign)
        place = _name_place(heading, lines, sign)
        alone = sign == "," and (heading[0] in ALONE or file.lower().endswith(TABLES))
        if place is not None and (len(heading) > 1 or alone):
            kind = f"a table with a heading, separated by {name}" if len(heading) > 1 else "one column with a heading"
            kind += ", the words to look for under a heading of their own" if set(QUERIES) & set(heading) else ""
            unused = [word for column, word in enumerate(heading) if column != place and word not in USED]
            named = " and ".join(repr(word) for word in unused)
            kind += f", without its column{'s' * (len(unused) > 1)} {named}" if unused else ""
            return Form(kind, _rows(lines, sign, heading, place, file), any_numbers=True)
        _check_heading(lines, sign, file)
    return None


def _check_heading(lines: Sequence[Line], sign: str, file: str) -> None:
    """Raises VocabularyError for words that seem to be a heading: above numbers or colours, or in a file of tables."""
    heading, *rows = [_cells(line.text, sign, keep=True) for line in lines]
    if len(heading) == 1 and sign == ",":  # bars part synonyms, and no class has a number as one
        heading, *rows = [line.text.split("|") for line in lines]
    like = all(re.search(r"[^\W\d]", cell) and not _is_value(cell) for cell in heading)
    if not like or not all(len(row) == len(heading) > 1 for row in rows):
        return
    if file.lower().endswith(TABLES) or any(all(map(_is_value, column)) for column in zip(*rows, strict=True)):
        what = f"the first line of {file} ({lines[0].text[:40]!r}) is no heading that is understood"
        raise unclear(what, f"{HEADINGS}, with commas between them")


def _is_value(cell: str) -> bool:
    return cell.strip().isdigit() or colour_of(cell) is not None


def _name_place(heading: Sequence[str], lines: Sequence[Line], sign: str) -> int | None:
    """The column that holds names: of two that could, the one without numbers."""
    found = [place for place, word in enumerate(heading) if word in NAMES]
    if len(found) > 1:
        rows = [_cells(line.text, sign, keep=True) for line in lines[1:]]
        found = [place for place in found if not all(len(row) > place and row[place].isdigit() for row in rows)]
        found = sorted(found, key=lambda place: NAMES.index(heading[place]))[:1]
    return found[0] if len(found) == 1 else None


def _rows(lines: Sequence[Line], sign: str, heading: Sequence[str], place: int, file: str) -> tuple[Entry, ...]:
    others = [column for column in range(len(heading)) if column != place]
    number = next((column for column in others if heading[column] in NUMBERS), None)
    if number is None:  # class,label with the number under either word
        rows = [_cells(line.text, sign, keep=True) for line in lines[1:]]
        number = next(
            (c for c in others if heading[c] in NAMES and all(len(row) > c and row[c].isdigit() for row in rows)), None
        )
    colour = next((column for column in others if heading[column] in COLOURS), None)
    query = next((column for column in others if heading[column] in QUERIES), None)
    parts = next(([heading.index(word) for word in rgb] for rgb in RGB if set(rgb) <= set(heading)), None)
    made = []
    for line in lines[1:]:
        cells = _cells(line.text, sign, keep=True)
        if not any(cells):
            continue
        if len(cells) != len(heading):
            what = f"{line.where} of {file} has {len(cells)} columns, its heading {len(heading)}"
            raise unclear(what, "put quotes around names with separators in them")
        if not cells[place]:
            what = f"{line.where} of {file} has an empty cell under {heading[place]!r} ({line.text[:40]!r})"
            raise unclear(what, "write what the class is called there, or take the row out")
        if number is not None and not cells[number].isdigit():
            raise unclear(f"{line.where} of {file} has no number ({cells[number]!r})", "number the classes from 0")
        paint = cells[colour] if colour is not None else [cells[column] for column in parts or ()]
        if paint and colour_of(paint) is None:
            raise unclear(
                f"{line.where} of {file} has no colour ({plain(paint)})", "write 0,128,0 in quotes, or #008000"
            )
        own = None if number is None else int(cells[number])
        words = None if query is None else cells[query] or cells[place]  # without words, the name is looked for
        made.append(Entry(cells[place], line.where, own, colour_of(paint), words))
    return tuple(made)


def _cells(text: str, sign: str, keep: bool = False) -> list[str]:
    """The cells of a line; without `keep` as words to compare: "Class_Name" is "class name"."""
    cells = [cell.strip() for cell in next(csv.reader([text.strip(" ")], delimiter=sign, skipinitialspace=True), [])]
    return cells if keep else [cell.casefold().replace("_", " ").replace("-", " ").strip('"') for cell in cells]

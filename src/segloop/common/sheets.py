"""Comma-separated values that a spreadsheet shows and does not compute, and their way back."""

import csv
import io
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any

FORMULA = "=+-@"  # a spreadsheet computes a cell that begins so
QUOTE = "'"  # and shows one that begins with this as it is


def armed(text: str) -> bool:
    """Whether a spreadsheet would compute the text: it begins, after blanks, with a sign of formulas in any width.

    A leading tab or line end counts too: some programs drop it and compute the rest.
    """
    bare = text.lstrip()
    first = unicodedata.normalize("NFKC", bare[:1])[:1]
    return text[:1] in ("\t", "\r", "\n") or (bool(first) and first in FORMULA)


def cell_text(value: Any) -> Any:
    """A value for a cell: text that would be computed with a quote before it, everything else as it is."""
    return QUOTE + value if isinstance(value, str) and armed(value.lstrip(QUOTE)) else value


def cell_name(text: str) -> str:
    """The text that `cell_text` was given."""
    return text[1:] if text.startswith(QUOTE) and armed(text.lstrip(QUOTE)) else text


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    """Rows as comma-separated values with line feeds; line ends of any kind within a cell are kept."""
    lines = _Lines()
    writer = csv.writer(lines, lineterminator="\r\n")  # the writer quotes what is in its line end, and only that
    writer.writerows([cell_text(value) for value in row] for row in rows)
    return "".join(lines)


def csv_rows(stream: IO[str]) -> Iterator[dict[str, str]]:
    """The rows of `csv_text` by their headings. Raises csv.Error where the text is none."""
    for row in csv.DictReader(stream, strict=True):
        yield {key: cell_name(value) if isinstance(value, str) else value for key, value in row.items()}


class _Lines(list[str]):
    def write(self, line: str) -> None:
        self.append(line.removesuffix("\r\n") + "\n")


def first_line(text: str) -> list[str]:
    """The headings of comma-separated values; empty where the text begins with none."""
    try:
        return next(csv.reader(io.StringIO(text)), [])
    except csv.Error:
        return []

"""A class file, from bytes to classes."""

import errno
import re
import warnings
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from ..common.files import regular
from ..common.kinds import not_text
from ..errors import VocabularyError, nearest
from .entries import (
    NOT_A_CLASS,
    ClassList,
    Colours,
    Form,
    label_and_words,
    line_of,
    places_of,
    settle_entries,
    unclear,
    written,
)
from .lines import from_lines, lines_of
from .tables import TABLES, from_table
from .trees import LISTS, from_json, from_xml, from_yaml
from .workbook import sheet_lines

FIRST = re.compile(rf"({'|'.join(LISTS)})\s*:", re.IGNORECASE)
OPEN_ALREADY = re.compile(r"/dev/(stdin$|fd/)|/proc/self/fd/")
SEPARATORS = {"commas": ",", "semicolons": ";", "ends of lines": r"\r?(?:\n\r?)+"}  # of names on the command line
NUMBERED = re.compile(r"\s*\d+\s*(?:[:;)]\s*\S|\.\s*[^\s\d])")
COUNTED = re.compile(r"\s*(\d+)\s+[^\W\d]")
COMMAS = str.maketrans("，、،；｜＝", ",,,;|=")  # as other keyboards write what parts names
WORKBOOK = ".xlsx"
LONGEST = 2**24  # bytes that are read of a pipe
HEADING = re.compile(rf"({'|'.join(LISTS)})\s*:\s*([\[{{].*)?", re.IGNORECASE)  # of a list in YAML


def parse_classes(text: str) -> list[str]:
    """`"road, car|automobile"` -> `["road", "car | automobile"]`; `"Straße=road|street"` has a label.

    Where there is no comma, semicolons or else lines separate names; full-width signs count as the plain ones. Raises
    VocabularyError on an empty name, on numbers beside names, and where two kinds of separators could mean two things.
    """
    text = text.translate(COMMAS)
    if not text.strip():
        raise VocabularyError("no class is named", 'write some, such as --classes "road, tree, sky"')
    if text.lstrip()[0] in "[{":
        remedy = 'write words and commas alone, "grass, sand", or give a file with --classes-file'
        raise VocabularyError("the classes look like a list of a program", remedy)
    parts = _names(text)
    if not parts[-1].strip():  # what a shell makes of a list without quotes
        what = f"the classes end in an empty name, behind {text.rstrip()[-1]!r}"
        raise VocabularyError(what, 'put the list in quotes, as in --classes "grass, sand", or take the last sign away')
    _check_numbers(parts)
    return [line_of(*label_and_words(part, f"class {n}")) for n, part in enumerate(parts, 1)]


def _check_numbers(parts: Sequence[str]) -> None:
    """Raises VocabularyError for `0;grass`, `0: grass` and `1. grass`, which are rows of a class file."""
    numbers = [part for part in parts if part.strip().isdigit()]
    numbered = [part for part in parts if NUMBERED.match(part)]
    counted = [int(match[1]) for part in parts if (match := COUNTED.match(part))]
    if len(parts) > 1 and counted in (list(range(len(parts))), list(range(1, len(parts) + 1))):
        numbered = list(parts)
    if (numbers and len(numbers) < len(parts)) or (numbered and len(numbered) == len(parts)):
        what = f"the classes have numbers among them ({(numbers or numbered)[0].strip()!r})"
        raise VocabularyError(what, "write words alone; rows of a number and a name are for a --classes-file")


def _names(text: str) -> list[str]:
    text = re.sub(r"([,;])\s*\n\s*", r"\1", text.strip())  # a list that was broken behind its separators
    there = [said for said, sign in SEPARATORS.items() if re.search(sign, text)]
    if re.fullmatch(r"\s*\d+\s*;[^;,]*(\n\s*\d+\s*;[^;,]*)+", text):
        return text.split("\n")  # rows of numbers and names, which are told as such
    if len(there) > 1:
        raise VocabularyError(f"the classes have {' and '.join(there)} between them", "join them by commas alone")
    return re.split(SEPARATORS[there[0]], text) if there else [text]


def read_class_file(path: str | PathLike[str]) -> list[str]:
    """The classes of a file, `|` between synonyms: as `read_classes`, with a warning that says an unusual form."""
    found = read_classes(path)
    if found.said:
        warnings.warn(found.said, stacklevel=2)
    return list(found.names)


def read_classes(path: str | PathLike[str]) -> ClassList:
    """The classes of a UTF-8 file, and what it says of their numbers and colours in masks.

    As documented: one a line, `|` between synonyms, `#` comments, commas belong to names. Other forms are taken where
    they are clear, and said in `said`: labels before `=`, one line of names, numbered lines, names with colours, tables
    with a heading (a column `query` has the words to look for), workbooks, lists and mappings in JSON and YAML, label
    maps of CVAT, labelme, Label Studio, COCO, detectron and transformers.

    Raises VocabularyError where the file is missing, empty, not UTF-8, has an empty name, or can be read in two ways.
    """
    file = str(path)
    return settle_entries(_form_of_file(path, file), file)


def read_colours(path: str | PathLike[str], names: Sequence[str]) -> Colours:
    """A table beside the class file, in any of its forms that have colours -> (0xRRGGBB, class; None: no class).

    A class may have several colours. Raises VocabularyError as `read_classes`, for a name that is no class, a class
    without colour, and a colour that comes twice.
    """
    file = str(path)
    entries = _form_of_file(path, file).entries
    if any(entry.colour is None for entry in entries):
        raise unclear(f"{file} has names without colours", "write a colour behind each, as in `grass: 0,128,0`")
    known = places_of(names)
    found: dict[int, int | None] = {}
    for entry in entries:
        name = entry.name.strip().casefold()
        if name not in known and name not in NOT_A_CLASS:
            what = f"{entry.where} of {file} names {entry.name.strip()!r}, which is no class"
            raise unclear(what, f"{nearest(name, known)}, or void")
        if entry.colour in found:
            raise unclear(f"{file} has the colour {written(entry.colour or 0)} twice", "write it once")
        found[entry.colour or 0] = known.get(name)
    bare = [line for place, line in enumerate(names) if place not in found.values()]
    if bare:
        raise unclear(f"{file} has no colour for {bare[0]!r}", "write a colour for each class")
    return tuple(found.items())


def read_lines(path: str | PathLike[str], holds: str) -> list[str]:
    """The lines of a UTF-8 file that are neither empty nor comments (`#`).

    Raises VocabularyError, saying what it should hold, where the file is missing or no text.
    """
    lines = [line.strip() for line in _text(path, holds).splitlines()]
    return [line for line in lines if line and line[0] != "#"]


def _form_of_file(path: str | PathLike[str], file: str) -> Form:
    if Path(file).suffix.lower() != WORKBOOK:
        return _form(_text(path), file)
    sheet, lines = sheet_lines(_data(path, "a class a row"), file)
    form = from_table(lines, file) or from_lines(lines, file)
    return form.within(f"sheet {sheet!r} of a workbook, {form.said or 'one name a row'}")


def _form(text: str, file: str) -> Form:
    suffix, start = Path(file).suffix.lower(), text.lstrip()[:1]
    if suffix == ".json" or start in tuple("[{"):
        return from_json(text, file)
    if start == "(" and text.rstrip().endswith(")") and "," in text:  # a tuple of Python
        return from_yaml(f"[{text.strip()[1:-1]}]", file)
    if start == "<":
        return from_xml(text, file)
    lines = lines_of(text)
    if not lines:
        raise unclear(f"{file} names no class")
    listed = all(re.match(r"\s*- \S", line.text) for line in lines)
    keys = any(HEADING.fullmatch(line.text) for line in lines) or FIRST.match(lines[0].text)
    if keys or (suffix in (".yaml", ".yml") and (listed or any(":" in line.text for line in lines))):
        return from_yaml(text, file)
    form = from_table(lines, file) or from_lines(lines, file)
    return form if form.said or suffix not in TABLES else form.within("one column without a heading")


def _data(path: str | PathLike[str], holds: str) -> bytes:
    try:
        return _bytes(Path(path))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise VocabularyError(f"cannot read {path} ({reason})", f"give a text file with {holds}") from error


def _text(path: str | PathLike[str], holds: str = "one class a line") -> str:
    data = _data(path, holds)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:  # UTF-16 of plain English decodes without an error
        raise VocabularyError(*not_text(path, data, f"give a text file with {holds}"))
    return text


def _bytes(path: Path) -> bytes:
    """What is in a file, or in a pipe that is open already: of a shell's `<(...)`, or stdin. Raises OSError."""
    if not OPEN_ALREADY.match(str(path)):
        return regular(path).read_bytes()
    with open(path, "rb") as stream:
        data = stream.read(LONGEST + 1)
    if len(data) > LONGEST:
        raise OSError(errno.EFBIG, "it does not end")
    return data

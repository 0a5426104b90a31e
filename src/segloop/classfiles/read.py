"""A class file, from bytes to classes."""

import re
import warnings
from os import PathLike
from pathlib import Path

from ..errors import VocabularyError
from .entries import ClassList, Form, settle, synonyms, unclear
from .lines import from_lines, lines_of
from .tables import from_table
from .trees import LISTS, from_json, from_xml, from_yaml

FIRST = re.compile(rf"({'|'.join(LISTS)})\s*:", re.IGNORECASE)
HEADING = re.compile(rf"({'|'.join(LISTS)})\s*:\s*([\[{{].*)?", re.IGNORECASE)  # of a list in YAML


def parse_classes(text: str) -> list[str]:
    """`"road, car|automobile"` -> `["road", "car | automobile"]`. Raises VocabularyError on an empty name."""
    return [" | ".join(synonyms(part, f"class {n}")) for n, part in enumerate(text.split(","), 1)]


def read_class_file(path: str | PathLike[str]) -> list[str]:
    """The classes of a file, `|` between synonyms: as `read_classes`, with a warning that says an unusual form."""
    found = read_classes(path)
    if found.said:
        warnings.warn(found.said, stacklevel=2)
    return list(found.names)


def read_classes(path: str | PathLike[str]) -> ClassList:
    """The classes of a UTF-8 file, and what it says of their numbers and colours in masks.

    As documented: one a line, `|` between synonyms, `#` comments, commas belong to names. Other forms are taken where
    they are clear, and said in `said`: one line of names, numbered lines, names with colours, tables with a heading,
    lists and mappings in JSON and YAML, label maps of CVAT, labelme, Label Studio, COCO, detectron and transformers.

    Raises VocabularyError where the file is missing, empty, not UTF-8, has an empty name, or can be read in two ways.
    """
    text = _text(path)
    file = str(path)
    return settle(_form(text, file), file)


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
    return from_table(lines, file) or from_lines(lines, file)


def _text(path: str | PathLike[str]) -> str:
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise VocabularyError(f"cannot read {path} ({reason})", "give a text file with one class a line") from error
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:  # UTF-16 of plain English decodes without an error
        raise VocabularyError(f"{path} is not UTF-8", "save it again as UTF-8 text")
    return text

"""What a class file says of one class: its name, and where they are given its number and its colour in masks."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from ..common.visible import shortened
from ..errors import VocabularyError

NOT_A_CLASS = {"void", "ignore", "ignored", "unlabelled", "unlabeled", "__ignore__"}  # names of colours without one
PLAIN = "write one class a line"
HEX = r"#[0-9a-fA-F]{6}"
TRIPLE = r"[\[(]?\s*\d{1,3}\s*[\s,;]\s*\d{1,3}\s*[\s,;]\s*\d{1,3}\s*[\])]?"
COLOUR = rf"(?:{HEX}|{TRIPLE})"
LABELLED = "write a label, =, and the words to look for: Straße = road | street"


Colours = tuple[tuple[int, int | None], ...]
"""(0xRRGGBB, class; None: no class)"""


@dataclass(frozen=True)
class Entry:
    """One class as its file has it."""

    name: str
    where: str  # "line 3", for an error
    number: int | None = None
    colour: int | None = None  # 0xRRGGBB
    query: str | None = None  # the words to look for, "|" between synonyms, where the name is only its label


@dataclass(frozen=True)
class Form:
    """A file understood: in which form, and what it says."""

    said: str | None  # "a list in JSON"; None: one name a line, as documented
    entries: tuple[Entry, ...]
    any_numbers: bool = False  # numbers are ids that may leave some out

    def within(self, said: str) -> "Form":
        """The same inside something else: "`names` of a mapping in YAML"."""
        return replace(self, said=said)


@dataclass(frozen=True)
class ClassList:
    """The classes of a file."""

    names: tuple[str, ...]  # " | " between the synonyms of a class, "label = " before them where it has one
    numbers: tuple[int, ...] | None = None  # what stands for each in masks, where that is not 0, 1, 2 ...
    colours: Colours = ()
    said: str | None = None  # the form in half a sentence, where it is not one name a line


def unclear(what: str, remedy: str = PLAIN) -> VocabularyError:
    """The error of a file that can be read in more than one way."""
    return VocabularyError(what, remedy)


def synonyms(entry: object, where: str) -> list[str]:
    """The names of one class, first one first; runs of blanks are one, as for the tokenizer.

    Raises VocabularyError for what is not text, and for an empty name.
    """
    if not isinstance(entry, str):
        what = f"{where} is {type(entry).__name__}, not text"
        raise VocabularyError(what, 'give one text a class, its names between bars: "car | automobile"')
    if any("\ud800" <= sign <= "\udfff" for sign in entry):  # what Python makes of bytes that are no text
        raise VocabularyError(f"{where} holds bytes that are no text ({entry!r})", "write it in UTF-8")
    names = [" ".join(name.split()) for name in entry.split("|")]
    if not all(names):
        raise VocabularyError(f"{where} has an empty name ({entry.strip()!r})", "remove the extra separator")
    return names


def label_and_words(entry: object, where: str) -> tuple[str, list[str]]:
    """What results call a class, and the words to look for: "Straße = road | street"; one without `=` is its own label.

    Raises VocabularyError as `synonyms`, and where label or words are missing or hold a `=` of their own.
    """
    label, sign, words = entry.partition("=") if isinstance(entry, str) else ("", "", "")
    if not sign:
        names = synonyms(entry, where)
        return names[0], names
    (label,) = synonyms(label, where) if label.strip() and "|" not in label else ("",)
    if not label or not words.strip() or "=" in words:
        raise VocabularyError(f"{where} is no label with words ({shortened(str(entry).strip())!r})", LABELLED)
    return label, synonyms(words, where)


def line_of(label: str, words: Sequence[str]) -> str:
    """The entry that `label_and_words` reads back."""
    joined = " | ".join(words)
    return joined if label == words[0] else f"{label} = {joined}"


def names_of(entry: str) -> list[str]:
    """All that a class of a list may be called, its label first, in lower case."""
    return [" ".join(name.split()).casefold() for name in re.split(r"[=|]", entry)]


def places_of(entries: Sequence[str]) -> dict[str, int]:
    """Every name of a list -> its class; a label is its own class's, whatever words others have."""
    every = {name: place for place, entry in enumerate(entries) for name in names_of(entry)}
    return every | {names_of(entry)[0]: place for place, entry in enumerate(entries)}


def colour_of(value: Any) -> int | None:
    """0xRRGGBB of "#008000", "0,128,0", "0 128 0" or [0, 128, 0]; None for anything else."""
    if isinstance(value, (list, tuple)):
        value = ",".join(map(str, value[:3])) if len(value) in (3, 4) else ""
    if not isinstance(value, str):
        return None
    text = value.strip()
    if re.fullmatch(HEX, text):
        return int(text[1:], 16)
    if not re.fullmatch(TRIPLE, text):
        return None
    red, green, blue = map(int, re.findall(r"\d+", text))
    return (red << 16) | (green << 8) | blue if max(red, green, blue) <= 255 else None


def written(colour: int) -> str:
    """0x008000 -> "0,128,0"."""
    return f"{colour >> 16},{colour >> 8 & 255},{colour & 255}"


def settle_entries(form: Form, file: str) -> ClassList:
    """Classes in the order of their numbers, else of the file.

    Raises VocabularyError where some classes have a number or a colour and others not, where numbers leave some out or
    come twice, and where two classes share a colour.
    """
    entries = list(form.entries)
    numbers = [entry.number for entry in entries]
    coloured = [entry for entry in entries if entry.colour is not None]
    if None in numbers and any(number is not None for number in numbers):
        raise unclear(f"{file} gives numbers to some of its classes only", "number all of them or none")
    if coloured and len(coloured) < len(entries):
        bare = next(entry for entry in entries if entry.colour is None)
        raise unclear(f"{bare.where} of {file} has no colour, others have", "write a colour for each class or for none")
    void = [entry for entry in coloured if entry.name.strip().casefold() in NOT_A_CLASS]
    kept = [entry for entry in entries if entry not in void]
    if not kept:
        raise unclear(f"{file} names no class")
    known = [entry.number for entry in kept if entry.number is not None]
    if known:
        _check_numbers(known, form.any_numbers, file)
        kept.sort(key=lambda entry: entry.number or 0)
    names = tuple(_line(entry, file) for entry in kept)
    colours = [(entry.colour, place) for place, entry in enumerate(kept)] + [(entry.colour, None) for entry in void]
    found = tuple((colour, place) for colour, place in colours if colour is not None)
    _check_colours(found, names, file)
    own = sorted(known)
    own_numbers = tuple(own) if own and own != list(range(len(own))) else None
    return ClassList(names, own_numbers, found, form.said and _said(file, form.said, names, own_numbers, found))


def _line(entry: Entry, file: str) -> str:
    where = f"{entry.where} of {file}"
    if entry.query is None:
        return line_of(*label_and_words(entry.name, where))
    if re.search(r"[=|]", entry.name) or "=" in entry.query:
        what = f"{where} has a label or words with a sign in them that parts names ({entry.name!r}, {entry.query!r})"
        raise unclear(what, "write labels without = and |, and words without =")
    return line_of(*label_and_words(f"{entry.name} = {entry.query}", where))


def _check_numbers(numbers: Sequence[int], any_numbers: bool, file: str) -> None:
    own = sorted(numbers)
    twice = next((first for first, second in pairwise(own) if first == second), None)
    if twice is not None:
        raise unclear(f"{file} gives the number {twice} twice", "number the classes from 0, or write names alone")
    if any_numbers:
        return
    if own[0] > 1 or own[-1] - own[0] + 1 != len(own):
        missing = next(number for number in range(min(own[0], 1), own[-1]) if number not in own)
        what = f"{file} numbers its classes from {own[0]} to {own[-1]} and leaves out {missing}"
        remedy = "number them without a gap, or write names alone, one a line, in quotes if they begin with a number"
        raise unclear(what, remedy)


def _check_colours(colours: Sequence[tuple[int, int | None]], names: Sequence[str], file: str) -> None:
    seen: dict[int, int | None] = {}
    for colour, place in colours:
        if colour in seen:
            both = [names[one] if one is not None else "void" for one in (seen[colour], place)]
            raise unclear(f"{file} gives the colour {written(colour)} to {both[0]} and {both[1]}", "write it once")
        seen[colour] = place


def _said(
    file: str,
    form: str,
    names: Sequence[str],
    numbers: Sequence[int] | None,
    colours: Sequence[tuple[int, int | None]],
) -> str:
    shown = ", ".join(_whole(name) for name in names[:4]) + (" ..." if len(names) > 4 else "")
    with_colours = f"{', colours of label maps to be read' if colours else ''}"
    counted = f"{len(names)} class{'es' if len(names) > 1 else ''}{with_colours}"
    own = f"; label maps to be read have {numbers[0]} to {numbers[-1]} for them" if numbers else ""
    from_one = f"{own}, results 0 to {len(names) - 1}" if numbers else ""
    left = [written(colour) for colour, place in colours if place is None]
    void = f"; {' and '.join(left)} is no class" if left else ""
    phrase = next((part.strip() for name in names for part in re.split("[=|]", name) if "," in part), None)
    one = f'; "{phrase}" is one phrase, write | between synonyms' if phrase else ""
    return f"{file} is read as {form}: {counted} ({shown}){from_one}{void}{one}"


def _whole(name: str) -> str:
    """A line of a class with quotes around each name that holds a comma, so that a list of them says which is which."""
    return re.sub(r"[^\s=|][^=|]*,[^=|]*[^\s=|]", r'"\g<0>"', name)

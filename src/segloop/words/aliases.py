"""Other words for the words of a list: a small table of ours, or a file of the user's own.

A class then takes the best of all its words, as it does of synonyms in a class file. What a list means is not changed:
an alias that is a word or a label of another class of it, or that two classes would share, is left out.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import Any

from ..errors import VocabularyError, nearest
from .read import read_lines

BUILTIN = "builtin"
HOLDS = "a word a line, then a colon and its aliases: `sand: beach, desert`"
NAME = r"\s*[^\s|=][^|=]*"  # signs that part names in class files stand in none
SHOWN = 3  # aliases that are told

Given = str | PathLike[str] | Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Expanded:
    """The words of every class with their aliases behind them."""

    words: tuple[tuple[str, ...], ...]
    added: int  # aliases that came
    left_out: tuple[tuple[str, str], ...]  # aliases that stayed away, each with the class that they would be of
    digest: str  # of the table: what records of runs have of it

    @property
    def said(self) -> str | None:
        """What is to know of it in a sentence, or None."""
        if not self.added and not self.left_out:
            return "no word of the list has an alias there: it stays as it is"
        if not self.left_out:
            return None
        some = ", ".join(f"{alias!r} of {owner!r}" for alias, owner in self.left_out[:SHOWN])
        more = f" and {len(self.left_out) - SHOWN} more" if self.left_out[SHOWN:] else ""
        return f"aliases that other classes of the list bear too are left out: {some}{more}"


def expand(labels: Sequence[str], words: Sequence[Sequence[str]], given: Given) -> Expanded:
    """Labels and words of C classes -> the words with aliases. Raises VocabularyError for a table that is none."""
    table = aliases_of(given)
    known = [{label.casefold(), *map(str.casefold, own)} for label, own in zip(labels, words, strict=True)]
    wished = [_aliases(own, there, table) for own, there in zip(words, known, strict=True)]
    found, left_out = [], []
    for number, (own, aliases) in enumerate(zip(words, wished, strict=True)):
        others = set().union(*known[:number], *known[number + 1 :], *wished[:number], *wished[number + 1 :])
        found.append((*own, *(alias for key, alias in aliases.items() if key not in others)))
        left_out += [(alias, labels[number]) for key, alias in aliases.items() if key in others]
    added = sum(map(len, found)) - sum(map(len, words))
    digest = hashlib.sha256(json.dumps(sorted(table.items())).encode()).hexdigest()[:16]
    return Expanded(tuple(found), added, tuple(left_out), digest)


def _aliases(words: Sequence[str], known: set[str], table: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Aliases of a class's words that it does not have yet, by their lower case."""
    found = [alias for word in words for alias in table.get(word.casefold(), ())]
    return {alias.casefold(): alias for alias in found if alias.casefold() not in known}


def aliases_of(given: Given) -> dict[str, tuple[str, ...]]:
    """Word in lower case -> its aliases: "builtin", a text file, a JSON file, or a mapping. Raises VocabularyError."""
    if isinstance(given, Mapping):
        return _table(given, "the mapping of aliases")
    if given == BUILTIN:
        return _table(json.loads(_builtin()), "the built-in table")
    name = str(given)
    if not Path(name).expanduser().exists() and "." not in name and "/" not in name:
        what = f"there is no table of aliases {name!r}"
        raise VocabularyError(what, f"{nearest(name, [BUILTIN])}, or name a file: {HOLDS}")
    lines = read_lines(name, HOLDS)
    if lines and lines[0].startswith("{"):
        try:
            stored = json.loads("\n".join(lines))
        except (ValueError, RecursionError):
            raise VocabularyError(f"{name} is not valid JSON", 'write {"sand": ["beach", "desert"]}') from None
        return _table(stored, name)
    return _table(dict(_pair(line, name) for line in lines), name)


def _builtin() -> str:
    return (files(__package__) / "aliases.json").read_text(encoding="utf-8")


def _pair(line: str, file: str) -> tuple[str, list[str]]:
    word, colon, aliases = line.partition(":")
    found = [part for part in aliases.split(",") if part.strip()]
    if not colon or not word.strip() or not found:
        raise VocabularyError(f"a line of {file} names no aliases ({line[:40]!r})", f"write {HOLDS}")
    return word, found


def _table(given: Any, where: str) -> dict[str, tuple[str, ...]]:
    """Checked, blanks in order, one spelling of a word's key."""
    if not isinstance(given, Mapping) or not all(_names_aliases(word, aliases) for word, aliases in given.items()):
        raise VocabularyError(f"{where} holds no words with lists of aliases", 'write {"sand": ["beach", "desert"]}')
    if not given:
        raise VocabularyError(f"{where} is empty", f"write {HOLDS}")
    found: dict[str, tuple[str, ...]] = {}
    for word, aliases in given.items():
        key = " ".join(word.split()).casefold()
        if key in found:
            raise VocabularyError(f"{where} has the word {key!r} twice", "write all its aliases behind one")
        found[key] = tuple(dict.fromkeys(" ".join(one.split()) for one in aliases))
    return found


def _names_aliases(word: Any, aliases: Any) -> bool:
    known = [word, *aliases] if isinstance(aliases, (list, tuple)) and aliases else [None]
    return all(isinstance(one, str) and re.fullmatch(NAME, one) for one in known)

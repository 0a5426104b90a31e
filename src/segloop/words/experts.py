"""Templates that speak for single classes (FLOSS, spec 2.14): which they are, and the file that names them.

`segloop experts` ranks templates on photos of your own, without labels, and writes such a file; `--templates` takes it.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from ..common.files import regular
from ..errors import VocabularyError

EXPERTS = "experts"  # the key that tells such a file
AGAIN = "run `segloop experts` again with this list"


@dataclass(frozen=True)
class Experts:
    """Templates, and for each class the numbers of those that speak for it."""

    templates: tuple[str, ...]
    chosen: Mapping[str, tuple[int, ...]]  # class -> numbers in `templates`, from 0, at least one
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # class -> the words that it was ranked with
    text_tower: str | None = None  # fingerprint of what ranked them; None where that is not known

    def of(self, classes: Sequence[str]) -> tuple[tuple[int, ...], ...]:
        """The templates of each class. Raises VocabularyError for a class that has none."""
        missing = [name for name in classes if name not in self.chosen]
        if missing:
            more = f" and of {len(missing) - 1} more" if len(missing) > 1 else ""
            what = f"the file of experts names no templates of {missing[0]!r}{more}"
            raise VocabularyError(what, AGAIN)
        return tuple(self.chosen[name] for name in classes)

    def other_words(self, classes: Sequence[str], words: Sequence[Sequence[str]]) -> list[str]:
        """Classes that were ranked with other words than these."""
        pairs = zip(classes, words, strict=True)
        return [name for name, own in pairs if name in self.words and tuple(own) != tuple(self.words[name])]

    @property
    def digest(self) -> str:
        """What records of runs have of it."""
        return hashlib.sha256(json.dumps(sorted(self.chosen.items())).encode()).hexdigest()[:16]

    def as_json(self) -> dict[str, Any]:
        """What its file says, but for the figures of the ranking."""
        return {
            "templates": list(self.templates),
            EXPERTS: {name: list(numbers) for name, numbers in self.chosen.items()},
            "words": {name: list(words) for name, words in self.words.items()},
            "text_tower": self.text_tower,
        }


def read_experts(path: str | PathLike[str]) -> Experts:
    """A file that `segloop experts` wrote. Raises VocabularyError."""
    try:
        said = json.loads(regular(Path(path)).read_text(encoding="utf-8"))
        templates = tuple(map(_text, said["templates"]))
        chosen = {name: tuple(_number(one, len(templates)) for one in own) for name, own in said[EXPERTS].items()}
        words = {name: tuple(map(_text, own)) for name, own in said.get("words", {}).items()}
        if not templates or not all(chosen.values()):
            raise ValueError("nothing chosen")
        tower = said.get("text_tower")
        return Experts(templates, chosen, words, None if tower is None else _text(tower))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise VocabularyError(f"{path} cannot be read ({reason})", "check the path") from None
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError):
        remedy = "give one that `segloop experts` wrote, or the name of a set of templates"
        raise VocabularyError(f"{path} names no experts", remedy) from None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value


def _number(value: Any, end: int) -> int:
    if type(value) is not int or not 0 <= value < end:
        raise ValueError("no number of a template")
    return value

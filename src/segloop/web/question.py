"""What a visitor asks: fields of a form made into words, a method and a threshold."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .. import Vocabulary
from ..errors import OptionError
from .choices import Choices
from .limits import Limits
from .refusals import MALFORMED, Refusal

SWITCH = {"true": True, "false": False}
FIELDS: dict[str, dict[str, Any]] = {  # what a form may hold beside the photo, as OpenAPI describes it
    "words": {
        "type": "string",
        "minLength": 1,
        "description": "What to look for, joined by commas; synonyms by |, a label before =.",
        "examples": ["road, car | automobile, tree, sky"],
    },
    "background": {
        "type": "boolean",
        "default": False,
        "description": "Add a class of general words for everything else.",
    },
    "background_threshold": {
        "type": "number",
        "minimum": 0,
        "maximum": 1,
        "default": 0,
        "description": "Pixels whose class is less probable become background; 0 is off.",
    },
    "method": {"type": "string", "description": "Of /choices, or fsa: feedback on a host."},
    "host": {"type": "string", "description": "What fsa stands on, of /choices."},
    "vision": {"type": "string", "description": "The guide of a guided method, of /choices."},
}


@dataclass(frozen=True)
class Question:
    """Settled: every name is one of the tables."""

    words: tuple[str, ...]  # one a class, as a command has them between commas
    method: str
    host: str | None = None
    vision: str | None = None
    background: Literal[0] | bool | None = None  # as `Vocabulary` takes it: 0 is a class of that name that comes first
    threshold: float = field(default=0.0, compare=False)  # may change without the network

    def vocabulary(self) -> Vocabulary:
        """The classes. Raises VocabularyError."""
        return Vocabulary(list(self.words), background=self.background)


def question_of(given: Mapping[str, str], choices: Choices, limits: Limits) -> Question:
    """Fields of a form -> what they ask. Raises UserError for what cannot be meant, Refusal for a field unknown."""
    for name in given:
        if name not in FIELDS:
            raise Refusal(MALFORMED, f"there is no field {name!r}", f"known are photo, {', '.join(FIELDS)}")
    words = given.get("words", "")
    if not words.strip():
        raise OptionError("no words came", "name what to look for, such as road, car | automobile, sky")
    if len(words) > limits.letters:
        raise OptionError(f"the words have {len(words)} letters", f"give at most {limits.letters}")
    names, is_first = choices.read(words)
    if len(names) > limits.classes:
        raise OptionError(f"{len(names)} classes came", f"give at most {limits.classes}")
    method, host, vision = choices.settled(given.get("method"), given.get("host"), given.get("vision"))
    threshold = threshold_of(given.get("background_threshold", "0"))
    added = _switch(given.get("background", "false"))
    found = Question(tuple(names), method, host, vision, 0 if is_first else added or None, threshold)
    if found.vocabulary().background is None and threshold:
        what = "a background_threshold came, and the words have no background"
        raise OptionError(what, "set background=true, or put a class background first")
    return found


def threshold_of(text: str) -> float:
    """A probability. Raises OptionError."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise OptionError(f"a threshold of {text[:40]!r} is no probability", "give a number from 0 (off) to 1")
    return value


def _switch(text: str) -> bool:
    if text not in SWITCH:
        raise OptionError(f"background={text[:40]!r} is neither true nor false", "give true or false")
    return SWITCH[text]

"""What the server's addresses share: networks, tables, limits, the queue, and what is kept."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from .. import Segmenter, Vocabulary
from ..line.finishing import ALONE
from .choices import Choices
from .limits import Limits
from .question import Question
from .queue import Queue
from .sessions import Sessions

TYPED = "add --background (in Python background=True)"  # as the library says it
LONGEST = 600  # letters of a sentence
CLICKED = "take everything else as background"  # as the page and its interface do

Open = Callable[[str, str | None, str | None], Segmenter]
"""(method, host, vision) of the tables -> networks opened; asks nothing of any network."""


@dataclass
class Opened:
    """Segmenters by what makes them, each opened once, and words encoded, one visitor's at a time."""

    make: Open
    kept: dict[tuple[str, str | None, str | None], Segmenter] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, question: Question) -> tuple[Segmenter, Vocabulary, list[str]]:
        """For a question's method, host and guide, with its words as rows, and what is to know of these words.

        Raises ModelError, OptionError.

        Tokenizers hold what they were last told of padding and cutting, so that two threads may not ask one at once.
        """
        key = question.method, question.host, question.vision
        with self.lock:
            if key not in self.kept:
                self.kept[key] = self.make(*key)
            notices: list[str] = []
            words = self.kept[key].encoded(question.vocabulary(), say=notices.append)
            if len(words.classes) == 1:
                notices.append(f"every pixel becomes {words.classes[0]!r}, {ALONE}")
            return self.kept[key], words, [_for_the_page(sentence) for sentence in notices]


def _for_the_page(sentence: str) -> str:
    """With what the page calls things; of very long words both ends, since headers are short."""
    said = sentence.replace(TYPED, CLICKED)
    return said if len(said) <= LONGEST else f"{said[: LONGEST // 2]}...{said[-LONGEST // 2 :]}"


@dataclass(frozen=True)
class Desk:
    """All that a request may reach."""

    choices: Choices
    limits: Limits
    opened: Opened
    queue: Queue
    sessions: Sessions
    loopback: bool = True  # whether only this machine reaches it
    photos: Path | None = None  # the one folder whose files other tools may name

    @classmethod
    def of(
        cls,
        choices: Choices,
        make: Open,
        limits: Limits | None = None,
        loopback: bool = True,
        photos: Path | None = None,
    ) -> "Desk":
        """Tables and a way to open networks -> a desk where nobody has been."""
        limits = limits or Limits()
        return cls(choices, limits, Opened(make), Queue(limits), Sessions(limits), loopback, photos)

"""Answers by a random token, in memory alone: forgotten when their visitor leaves, after a while, or for others."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from .answer import Answer
from .limits import Limits
from .refusals import GONE, Refusal


@dataclass
class Kept:
    """An answer and when it was last looked at."""

    answer: Answer
    used: float


@dataclass
class Sessions:
    """Token -> answer. The server's one thread asks; nothing here waits."""

    limits: Limits
    clock: Callable[[], float] = time.monotonic
    kept: dict[str, Kept] = field(default_factory=dict)

    def put(self, answer: Answer) -> str:
        """Keep an answer -> its token. Of all the others, those not looked at for longest give way to it."""
        self.sweep()
        room = self.limits.keep_bytes - answer.nbytes
        for token in sorted(self.kept, key=lambda token: self.kept[token].used):
            if sum(one.answer.nbytes for one in self.kept.values()) <= room:
                break
            del self.kept[token]
        token = secrets.token_urlsafe(24)
        self.kept[token] = Kept(answer, self.clock())
        return token

    def get(self, token: str | None) -> Answer:
        """The answer of this token. Raises Refusal where there is none, or none any more."""
        self.sweep()
        found = self.kept.get(token or "")
        if found is None:
            raise Refusal(GONE, "this result is not kept any more", "press Segment again")
        found.used = self.clock()
        return found.answer

    def drop(self, token: str | None) -> None:
        """Forget at once."""
        self.kept.pop(token or "", None)

    def sweep(self) -> None:
        """Forget what nobody has looked at for long."""
        oldest = self.clock() - self.limits.keep_seconds
        for token in [token for token, one in self.kept.items() if one.used < oldest]:
            del self.kept[token]

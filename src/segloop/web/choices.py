"""What can be asked for here: attentions, guides and examples that are there, as the page and the interface tell it."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np

from .. import Segmentation
from ..errors import OptionError, nearest

FEEDBACK = "fsa"


@dataclass(frozen=True)
class Attention:
    """A method that stands alone, and under feedback as its host."""

    name: str
    summary: str
    guided: bool = False  # a vision model lends it its patches
    plugs_in: bool = False  # it can stand on another host
    takes_feedback: bool = True
    looks_whole: bool = False  # a SAM looks at the whole photo, too


@dataclass(frozen=True)
class Guide:
    """A vision model."""

    name: str
    about: str
    ready: bool  # on this machine, so that it opens without a network


@dataclass(frozen=True)
class Example:
    """A picture to begin with."""

    name: str  # of its file
    words: str
    png: bytes = field(repr=False)


class Format(Protocol):
    """A file of a result."""

    @property
    def suffix(self) -> str:
        """Behind the photo's name."""

    @property
    def encode(self) -> Callable[[Segmentation], bytes]:
        """The file's bytes."""


@dataclass(frozen=True)
class Choices:
    """The tables, and what is chosen where nothing is said."""

    clip: str
    attentions: tuple[Attention, ...]
    guides: tuple[Guide, ...]
    method: str  # of the model's own settings, without feedback
    formats: Mapping[str, Format]
    read: Callable[[str], tuple[list[str], bool]] = field(repr=False)  # words -> classes, whether background is first
    palette: Callable[[int], np.ndarray] = field(repr=False)  # (n, 3) uint8
    vision: str | None = None
    examples: tuple[Example, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()  # of the networks, where not as by default: ("dtype", "float32")
    affinity: str | None = None  # the SAM of those that look at one, where it is not as by default

    @property
    def ready(self) -> list[str]:
        """Names of guides that can be asked for."""
        return [one.name for one in self.guides if one.ready]

    def settings_of(self, method: str, host: str | None) -> tuple[tuple[str, str], ...]:
        """Settings of the networks, as a command has to have them for these."""
        named = {method, *(host or "").split(":")}
        looks = any(one.looks_whole and one.name in named for one in self.attentions)
        return (*self.settings, *([("affinity", self.affinity)] if self.affinity and looks else []))

    def told(self) -> dict[str, Any]:
        """For the page, without the pictures."""
        return {
            "clip": self.clip,
            "attentions": [asdict(one) for one in self.attentions],
            "guides": [asdict(one) for one in self.guides],
            "method": self.method,
            "vision": self.vision,
            "examples": [{"name": one.name, "words": one.words} for one in self.examples],
        }

    def settled(self, method: str | None, host: str | None, vision: str | None) -> tuple[str, str | None, str | None]:
        """(method, host, vision) of what was asked for, each of the tables. Raises OptionError naming the nearest.

        Without either, feedback on the model's own attention; a host alone is one of feedback.
        """
        method = FEEDBACK if method is None else method
        host = self.method if host is None and method == FEEDBACK else host
        attentions = {one.name: one for one in self.attentions}
        named = [] if method == FEEDBACK else [method]
        named += [] if host is None else host.split(":")
        for name in named:
            if name not in attentions:
                known = [FEEDBACK, *attentions] if name == method else attentions
                raise OptionError(f"there is no method {name[:40]!r} here", nearest(name, known))
        guided = any(attentions[name].guided for name in named)
        if not guided and vision is not None:
            raise OptionError(f"guide {vision[:40]!r} came with {named[-1]}, which no guide serves", "leave it out")
        if not guided:
            return method, host, None
        if not self.ready:
            remedy = "take another method, or start the server with a guide of this machine: --vision"
            raise OptionError(f"{named[-1]} needs a guide, and none is on this machine", remedy)
        if vision is None:
            vision = self.vision if self.vision in self.ready else self.ready[0]
        if vision not in self.ready:
            raise OptionError(f"guide {vision[:40]!r} is not on this machine", nearest(vision, self.ready))
        return method, host, vision

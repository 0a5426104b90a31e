"""Grids of configurations by name, for one `segloop evaluate`: attentions, sizes of CLIP, feedback off and on."""

from dataclasses import dataclass

from ..backbones.models import MODELS, SIZES
from ..errors import OptionError, nearest
from .methods import METHODS

OFF, BOTH = (False,), (False, True)
BASE, LARGE, HUGE, LAION = SIZES


@dataclass(frozen=True)
class Configuration:
    """What a run of a sweep is of; None: as the command says."""

    method: str | None
    host: str | None = None
    vision: str | None = None
    clip: str | None = None


@dataclass(frozen=True)
class Part:
    """Attentions with each of these sizes, guides and feedbacks."""

    attentions: tuple[str, ...]
    sizes: tuple[str, ...] = (BASE,)
    feedback: tuple[bool, ...] = OFF
    guides: tuple[str | None, ...] = (None,)


@dataclass(frozen=True)
class Preset:
    """A row of PRESETS."""

    summary: str
    parts: tuple[Part, ...]

    def configurations(self, clip: str | None = None) -> list[Configuration]:
        """All of them; `clip` instead of the sizes that the preset names."""
        hubs = {row.size: hub for hub, row in MODELS.items()}
        made = [
            configuration(name, on, guide, clip or hubs[size])
            for part in self.parts
            for size in part.sizes
            for name in part.attentions
            for guide in part.guides
            for on in part.feedback
        ]
        return list(dict.fromkeys(made))


GUIDES = ("dino", "dinov2", "sam", "mae")

PRESETS = {
    "paper": Preset(
        "11 attentions (query-key, self-self, values, 4 guides) x 3 sizes, 33 in all, each without and with feedback; "
        "the FSA paper counts as many and lists none, so that these need not be its own",
        (
            Part(("clip", "maskclip", "sclip", "clearclip", "kk", "vv", "qq+kk+vv"), (BASE, LARGE, HUGE), BOTH),
            Part(("proxyclip",), (BASE, LARGE, HUGE), BOTH, GUIDES),
        ),
    ),
    "published": Preset(
        "what `segloop report --against published` has a figure of, 21 rows on the eight data sets",
        (
            Part(("maskclip", "sclip", "clearclip", "proxyclip"), (BASE,), BOTH),
            Part(("clip", "naclip", "resclip", "sc-clip", "sfp")),
            Part(("sclip", "clearclip", "naclip", "proxyclip"), (LARGE,)),
            Part(("proxyclip",), (HUGE,)),
            Part(("lposs",), (LAION,)),
            Part(("trident",), (BASE, HUGE)),
        ),
    ),
}
"""Rows of `--preset` by name."""


def configuration(name: str, feedback: bool, vision: str | None = None, clip: str | None = None) -> Configuration:
    """An attention by its name, alone or with feedback on it."""
    return Configuration(None, name, vision, clip) if feedback else Configuration(name, None, vision, clip)


def preset(name: str) -> Preset:
    """A row of PRESETS. Raises OptionError naming the nearest."""
    if name not in PRESETS:
        raise OptionError(f"there is no preset {name!r}", nearest(name, PRESETS))
    return PRESETS[name]


def every_method(feedback: bool = False) -> list[str]:
    """All methods that stand alone and need no masks, what `--methods all` means, or those that take feedback."""
    rows = {name: row for name, row in METHODS.items() if name != "fsa" and not row.masks}
    return [name for name, row in rows.items() if row.takes_feedback or not feedback]

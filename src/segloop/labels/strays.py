"""What a score leaves out: values of label maps that no class has, counted and named, with the remedy."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd
from typing import Any

import numpy as np

from ..common.keys import OWN
from ..errors import UserError
from ..words.entries import written
from .files import COLOUR_LINE, percent
from .read import COLOUR, VOID, LabelRule, Span, stored_of

WIDE_FROM = 256  # classes: from here on 255 is one of them, and void is 65535
KEPT = 256  # different values that an image keeps apart
LISTED, SHOWN = 20, 3  # different values in a record, and in a sentence
FROM_ONE = "if the label maps count classes from 1"
FROM_SECOND = "if 0 of the label maps is the second class of the list"
MANY = 8  # different values of no class: numbers of objects, or edges between classes


@dataclass(frozen=True)
class Uncounted:
    """The pixels of one label map, and those of no class."""

    pixels: int  # all of the map
    void: int = 0
    values: tuple[int, ...] = ()  # stored numbers of no class; COLOUR + 0xRRGGBB for colours
    areas: tuple[int, ...] = ()  # their pixels
    rest: int = 0  # pixels of still other values

    @property
    def stray(self) -> int:
        """Pixels that are neither of a class nor void."""
        return sum(self.areas) + self.rest

    @property
    def counted(self) -> int:
        """Pixels of a class."""
        return self.pixels - self.void - self.stray


def uncounted(labels: np.ndarray, classes: int, rule: LabelRule) -> Uncounted:
    """What `read_label` gave under `rule`, (H, W), counted: void, and values that no class has."""
    void = labels == rule.void_value if rule.void_value >= classes else np.zeros(labels.shape, bool)
    outside = labels[((labels < 0) | (labels >= classes)) & ~void]
    found, areas = np.unique(outside, return_counts=True)
    order = np.lexsort((found, -areas))[:KEPT]
    kept = [(_stored(int(found[one]), rule), int(areas[one])) for one in order]
    rest = outside.size - sum(area for _, area in kept)
    values, pixels = zip(*kept, strict=True) if kept else ((), ())
    return Uncounted(labels.size, int(void.sum()), values, pixels, rest)


def _stored(label: int, rule: LabelRule) -> int:
    value, is_colour = stored_of(label, rule)
    return COLOUR + value if is_colour else value


@dataclass(frozen=True)
class Facts:
    """The label maps of a run, summed up."""

    key: str  # of the data set
    areas: Sequence[int]  # (C,) label pixels of each class
    pixels: int
    void: int
    void_value: int
    strays: dict[int, int]  # value, as in `Uncounted` -> pixels
    rest: int
    images: int  # that hold a stray value
    tabled: bool = False  # read by a table of values already
    rare_first: bool = False  # nobody wonders where the first class does not occur beside void
    void_unsaid: bool = False  # the table does not say what the number of void is
    moved: int = 0  # -1 or 1 where labels would agree far better with predictions after this is added to them

    @property
    def stray(self) -> int:
        """Pixels of values that no class has."""
        return sum(self.strays.values()) + self.rest

    @property
    def used(self) -> list[int]:
        """Stored numbers that occur, void too, where they are known one by one."""
        seen = [number for number, area in enumerate(self.areas) if area]
        return sorted({*seen, *self.strays, *([self.void_value] if self.void else [])})


def gather(
    found: Sequence[Uncounted],
    areas: Sequence[int],
    key: str,
    wide: bool = False,
    tabled: bool = False,
    rare_first: bool = False,
    void_unsaid: bool = False,
    moved: int = 0,
) -> Facts:
    """The facts of many label maps."""
    strays: Counter[int] = Counter()
    for one in found:
        strays.update(dict(zip(one.values, one.areas, strict=True)))
    return Facts(
        key=key,
        areas=areas,
        pixels=sum(one.pixels for one in found),
        void=sum(one.void for one in found),
        void_value=65535 if wide else VOID,
        strays=dict(strays),
        rest=sum(one.rest for one in found),
        images=sum(one.stray > 0 for one in found),
        tabled=tabled,
        rare_first=rare_first,
        void_unsaid=void_unsaid,
        moved=moved,
    )


def record(facts: Facts) -> dict[str, Any]:
    """The facts fit for run.json: pixels of values that no class has, most frequent first, and the remedy."""
    order = sorted(facts.strays, key=lambda value: (-facts.strays[value], value))
    listed = [_named(value) | {"pixels": facts.strays[value]} for value in order[:LISTED]]
    known = sum(one["pixels"] for one in listed)
    return {
        "pixels": facts.pixels,
        "void": facts.void,
        "stray": facts.stray,
        "images": facts.images,
        "values": listed,
        "others": facts.stray - known,
        "remedy": remedy(facts),
    }


def sentence(labels: dict[str, Any], void: str = "corrected") -> str | None:
    """A record's values of no class in one sentence with the remedy; None where there is nothing to say."""
    if not labels.get("stray"):
        if not labels.get("remedy"):
            return None
        if labels["remedy"].startswith(FROM_ONE):
            return f"no pixel of the label maps is of the first class; {labels['remedy']}"
        if labels["remedy"].startswith(FROM_SECOND):
            return f"maps agree far better with the class behind the one that label maps say; {labels['remedy']}"
        share = percent(labels["void"], labels["pixels"])
        return f"255, which is void, is on {share} of the label maps' pixels; {labels['remedy']}"
    shares = [f"{_word(one)} on {percent(one['pixels'], labels['pixels'])}" for one in labels["values"][:SHOWN]]
    more = " ..." if labels["others"] or len(labels["values"]) > SHOWN else ""
    effect = "count as errors of what is predicted there" if void == "reference" else "are left out of every score"
    share = percent(labels["stray"], labels["pixels"])
    what = f"values that no class has are on {share} of the label maps' pixels ({', '.join(shares)}{more}) and {effect}"
    return f"{what}; {labels['remedy']}"


def remedy(facts: Facts) -> str | None:
    """What to do about values that no class has; None where nothing is strange."""
    if facts.key not in OWN:
        return "check that these are the label maps of this data set" if facts.stray else None
    if any(value >= COLOUR for value in facts.strays):
        return f"{COLOUR_LINE}, or `void: R,G,B` for what counts nowhere"
    return next((said for said in (find(facts) for find in KINDS) if said), None)


def _binary(facts: Facts) -> str | None:
    """0 and 255: the second class was drawn as white."""
    count = len(facts.areas)
    if facts.stray or facts.tabled or not facts.void or count < 2 or not facts.areas[0] or sum(facts.areas[1:]):
        return None
    number = "1" if count == 2 else "CLASS"
    return f"no pixel is of a class but the first: if 255 is one, add --mask-values 0=0,255={number}"


def _unsaid(facts: Facts) -> str | None:
    """255 beside a table that leaves it out, and a class without a pixel."""
    if facts.stray or not (facts.void and facts.void_unsaid) or all(facts.areas):
        return None
    value = facts.void_value
    return f"if {value} is a class, add {value}=CLASS to --mask-values, else {value}=void"


def _from_one(facts: Facts) -> str | None:
    """1 to C: the classes were counted from one."""
    count = len(facts.areas)
    if facts.tabled or set(facts.strays) != {count} or facts.rest:
        return None
    spans = Span(1, count, 0, paired=True)
    if facts.areas[0] and not all(facts.areas):
        return None
    if facts.areas[0]:
        return f"if 0 means no class here, add --mask-values {spans}; else the class list lacks one"
    return f"the label maps count classes from 1: add --mask-values {spans}"


def _not_from_zero(facts: Facts) -> str | None:
    """1 to C - 1 without a 0: perhaps counted from one, and the last class does not occur."""
    count = len(facts.areas)
    if facts.tabled or facts.stray or count < 3 or facts.areas[0]:
        return None
    if facts.moved != -1 and (not all(facts.areas[1:]) or (facts.void and facts.rare_first)):
        return None
    return f"{FROM_ONE}, add --mask-values {Span(1, count, 0, paired=True)}"


def _without_first(facts: Facts) -> str | None:
    """0 to C - 2, and every map agrees with the class behind: the list has a first class that maps do not count."""
    count = len(facts.areas)
    if facts.tabled or facts.stray or facts.moved != 1 or facts.areas[-1]:
        return None
    return f"{FROM_SECOND}, add --mask-values {Span(0, count - 2, 1, paired=True)}"


def _spread(facts: Facts) -> str | None:
    """0, 80, 160, 240: classes drawn as greys that the eye can tell apart."""
    count, used = len(facts.areas), facts.used
    if facts.tabled or not facts.strays or facts.rest or count < 2:
        return None
    step = gcd(*used)
    if len(used) == count:
        spans = [Span(value, value, place) for place, value in enumerate(used)]
    elif step > 1 and used[-1] // step < count:
        spans = [Span(place * step, place * step, place) for place in range(count) if place * step <= facts.void_value]
    else:
        return None
    shown = ",".join(map(str, spans[:LISTED])) + (",..." if len(spans) > LISTED else "")
    return f"if these are the classes in their order, add --mask-values {shown}"


def _many(facts: Facts) -> str | None:
    """Numbers of objects, or edges smoothed by resizing."""
    if len(facts.strays) < MANY and not facts.rest:
        return None
    one = "; for one class of objects add --mask-values 0=0,1-254=1" if len(facts.areas) == 2 else ""
    return f"so many values are numbers of objects, or edges that resizing has smoothed: save class numbers{one}"


def _beyond(facts: Facts) -> str | None:
    if not facts.stray:
        return None
    count = len(facts.areas)
    some = min(facts.strays, default=count)
    if facts.tabled:
        return f"--mask-values or the class file leaves them out: say what they are, as in {some}=void"
    own = Span(0, count - 1, 0, paired=True)
    names = f"the class list names {count}, 0 to {count - 1}: name the others too"
    return f"{names}, or say what they are, as in --mask-values {own},{some}=void"


KINDS = (_binary, _unsaid, _not_from_zero, _without_first, _from_one, _spread, _many, _beyond)


def nothing(facts: Facts, failure: tuple[str, str] | None = None) -> UserError:
    """The error of label maps of which no pixel counts; `failure` says why the first one could not be read."""
    if not facts.pixels and failure:
        return UserError(f"no image can be counted: {failure[0]}", failure[1])
    said = sentence(record(facts))
    void = f"{percent(facts.void, facts.pixels)} of them are void ({facts.void_value})"
    what, _, advice = (said or f"{void}; check that these are the label maps of this data set").rpartition("; ")
    return UserError(f"no pixel of the label maps counts: {what}", advice)


def _named(value: int) -> dict[str, Any]:
    return {"colour": written(value - COLOUR)} if value >= COLOUR else {"value": value}


def _word(one: dict[str, Any]) -> str:
    return str(one["colour"] if "colour" in one else one["value"])

"""Label maps of a folder of your own that are not as usual: called otherwise, with other values, or turned."""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import pairwise
from typing import Any

from ..common.keys import OWN
from ..errors import OptionError, nearest
from ..labels.colours import POTSDAM, voc_colours
from ..labels.files import MOST
from ..labels.read import LabelRule, Span
from ..words.entries import places_of
from .layouts import ANY_IMAGE, ANY_MASK, Dataset

ITEM = re.compile(r"(?P<low>\d{1,5})(-(?P<high>\d{1,5}))?|#(?P<colour>[0-9a-fA-F]{6})")
RANGE = re.compile(r"(?P<low>\d{1,5})-(?P<high>\d{1,5})")
VOIDS = ("void", "ignore")
WRITE = "write it as 0=0,255=1 (value=class), 1-4=0-3, #008000=grass or 9=void"

Colours = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Masks:
    """What --mask-suffix, --image-suffix, --mask-values and --turn-masks say; None: as usual."""

    suffix: str | None = None  # what follows a photo's name in its label map's, such as "_mask.png"
    image_suffix: str | None = None  # what a photo's file has behind the name, such as "_sat.jpg"
    values: str | None = None  # "0=0,255=1", or the name of a palette
    turned: bool = False  # drawn on the photos as they are stored, without their EXIF orientation

    def called(self, dataset: Dataset) -> Dataset:
        """The row with the suffixes of its files. Raises OptionError where a benchmark's values are to be others."""
        if self.values and dataset.key not in OWN:
            what = f"--mask-values came with {dataset.key}, whose values are published"
            raise OptionError(what, "leave it out, or evaluate `folder`")
        if self.suffix:
            dataset = replace(dataset, label_suffix=suffixes(self.suffix, ANY_MASK))
        if self.image_suffix:
            dataset = replace(dataset, image_suffix=suffixes(self.image_suffix, ANY_IMAGE))
        return dataset

    def as_settings(self, rule: LabelRule, own: bool) -> dict[str, Any]:
        """What determines the labels and is not as usual, fit for a run's record."""
        said = {name: value for name, value in asdict(self).items() if value}
        if not own:
            return said
        if rule.values and not self.values:
            said["numbered_by_file"] = True
        if rule.values or rule.colours:
            said["table_hash"] = hashlib.sha256(repr((rule.values, rule.colours)).encode()).hexdigest()[:16]
        return said

    @staticmethod
    def of(settings: Mapping[str, Any]) -> "Masks":
        """Those that a run was made with."""
        kept = settings.get("masks") or {}
        return Masks(**{field.name: kept[field.name] for field in fields(Masks) if field.name in kept})


USUAL = Masks()


def suffixes(text: str, known: Sequence[str]) -> tuple[str, ...]:
    """ "_mask.png" or ".png,.gif" -> suffixes; one without a dot gets each of the `known` endings."""
    made: list[str] = []
    for one in (part.strip() for part in text.split(",")):
        if not one:
            raise OptionError(f"the suffix {text!r} is empty", "write what follows a photo's name, as in _mask.png")
        made += (
            [one]
            if "." in one
            else [f".{one}"]
            if f".{one}" in (*known, *ANY_IMAGE, ".gif")
            else [one + ending for ending in known]
        )
    return tuple(dict.fromkeys(made))


def value_table(text: str, names: Sequence[str], rule: LabelRule) -> tuple[tuple[Span, ...], Colours]:
    """--mask-values -> (spans of stored values, colours), classes by their number or name.

    Raises OptionError for what is no such table, a class that does not exist, and a value that comes twice.
    """
    if text.strip().lower() in PALETTES:
        return (), PALETTES[text.strip().lower()](len(names), rule)
    spans: list[Span] = []
    colours: dict[int, int] = {}
    for item in text.split(","):
        value, sign, meant = (part.strip() for part in item.partition("="))
        match = ITEM.fullmatch(value)
        if match is None or not sign or not meant:
            raise OptionError(f"--mask-values {item.strip()!r} is not understood", WRITE)
        if match["colour"]:
            found, _ = _class(meant, names)
            colours[int(match["colour"], 16)] = rule.void_value if found is None else found
        else:
            spans.append(_span(int(match["low"]), int(match["high"] or match["low"]), meant, names))
    _check_once(spans)
    return tuple(sorted(spans, key=lambda span: span.low)), tuple(colours.items())


def leaves_out(text: str, value: int) -> bool:
    """Whether --mask-values lists stored numbers, and not this one; colours and palettes list none."""
    found = (ITEM.fullmatch(item.partition("=")[0].strip()) for item in text.split(","))
    spans = [(int(item["low"]), int(item["high"] or item["low"])) for item in found if item and item["low"]]
    return bool(spans) and not any(low <= value <= high for low, high in spans)


def _span(low: int, high: int, meant: str, names: Sequence[str]) -> Span:
    if not low <= high <= MOST:
        raise OptionError(f"--mask-values {low}-{high} is no range of values", f"values are 0 to {MOST}")
    paired = RANGE.fullmatch(meant)
    if paired is None:
        return Span(low, high, _class(meant, names)[0])
    first, last = (_class(paired[end], names)[1] for end in ("low", "high"))
    if last - first != high - low:
        raise OptionError(f"--mask-values {low}-{high}={meant} are not as many values as classes", WRITE)
    return Span(low, high, first, paired=True)


def _class(meant: str, names: Sequence[str]) -> tuple[int | None, int]:
    """(class or None for void, class or -1) of a number or a name."""
    known = places_of(names)
    if meant.isdigit():
        if int(meant) >= len(names):
            raise OptionError(f"--mask-values names class {meant}, and they go from 0 to {len(names) - 1}", WRITE)
        return int(meant), int(meant)
    if meant.casefold() in known:
        return known[meant.casefold()], known[meant.casefold()]
    if meant.casefold() in VOIDS:
        return None, -1
    raise OptionError(f"--mask-values names {meant!r}, which is no class", nearest(meant, [*known, "void"]))


def _check_once(spans: Sequence[Span]) -> None:
    order = sorted(spans, key=lambda span: span.low)
    for first, second in pairwise(order):
        if second.low <= first.high:
            raise OptionError(f"--mask-values says twice what {second.low} is", "say each value once")


def _voc(count: int, rule: LabelRule) -> Colours:
    return voc_colours(min(count, 256), rule.void_value)


def _potsdam(count: int, rule: LabelRule) -> Colours:
    """Classes in Potsdam's order; the black rim is void."""
    return tuple((colour, number - 1 if number else rule.void_value) for colour, number in POTSDAM if number <= count)


PALETTES: Mapping[str, Callable[[int, LabelRule], Colours]] = {"voc": _voc, "potsdam": _potsdam}

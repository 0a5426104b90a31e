"""Label maps as data: the class numbers a mask file stores, or its colours, and which of them are void."""

import os
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from ..errors import ImageError, OptionError
from .files import MOST, read_stored

VOID = 255  # in maps whose classes fit into a byte
WIDE_VOID = 65535  # in 16-bit maps, where 255 is a class
COLOUR = 1 << 24  # added to 0xRRGGBB of no class: such a number is beyond every class and every void
UNLISTED = 1 << 25  # added to a stored value that a table of values leaves out


@dataclass(frozen=True)
class Span:
    """Stored values and the classes they are: `low`..`high` -> `first`, or `first`, `first` + 1 ... where `paired`."""

    low: int
    high: int
    first: int | None  # None: void
    paired: bool = False

    def __str__(self) -> str:
        """As --mask-values has it: "255=1", "1-4=0-3"."""
        stored = f"{self.low}" if self.low == self.high else f"{self.low}-{self.high}"
        if self.first is None:
            return f"{stored}=void"
        more = self.paired and self.high > self.low
        return f"{stored}={self.first}" + (f"-{self.first + self.high - self.low}" if more else "")


@dataclass(frozen=True)
class LabelRule:
    """How the stored values of a data set become classes (spec 7)."""

    reduce_zero: bool = False  # 0 becomes void, all others count one less
    void: tuple[int, ...] = (VOID,)  # stored values without a class
    wide: bool = False  # 16-bit maps: void stays 65535, so that 255 can be a class
    values: tuple[Span, ...] = ()  # a table of stored values; what it leaves out is void or of no class
    numbered_by: str = ""  # the class file that the table is of: a value that it leaves out is then an error
    colours: tuple[tuple[int, int], ...] = ()  # (0xRRGGBB, what a map of numbers would store); for maps of colours
    by_palette: bool = False  # these colours count in palettes too, before the indices

    @property
    def void_value(self) -> int:
        """The one number that stands for void in what `apply` returns: 255, or 65535 where `wide`."""
        return WIDE_VOID if self.wide else VOID

    def apply(self, stored: np.ndarray) -> np.ndarray:
        """(H, W) stored values, 0..65535 -> (H, W) int64 classes and void.

        `void` is meant before `reduce_zero`. Values that are neither a class nor void stay what they are; the
        metrics decide on them. With a table, values that it leaves out have UNLISTED added.

        Spec 6 turns on the number that void has. Maps of a byte carry 255, which both modes of the metrics
        ignore; where one of them is stored in 16 bits its 65535 becomes 255, as for a reader of bytes. Wide maps
        keep 65535: the reference mode then counts it against the predicted class and ignores class 255, the
        corrected mode ignores 65535 and keeps class 255. Both follow from the map, so it is read only once.

        Raises ImageError where a map that must fit into a byte holds a value from 256 to 65534: wrapped to a byte
        it would become some class. Raises OptionError where a class file numbers the classes and leaves a value out.
        """
        if self.values:
            return self._listed(stored)
        values = stored.astype(np.int64)
        if not self.wide:
            values[values == WIDE_VOID] = VOID
            if values.size and values.max() > VOID:
                what = f"the label map holds {values.max()}, and class numbers here end at {VOID}"
                remedy = "check that these are the labels of this data set"
                raise ImageError(what, f"{remedy}; numbers of objects need --mask-values, as in 0=0,1-999=1")
        void = np.isin(values, self.void)
        if self.reduce_zero:
            void |= (values == 0) | (values == self.void_value)
            values -= 1
        values[void] = self.void_value
        return values

    def paint(self, colours: np.ndarray) -> np.ndarray:
        """(H, W) 0xRRGGBB, -1 for transparent -> (H, W) int64 classes and void; COLOUR is added to the others."""
        known = np.array([colour for colour, _ in self.colours], np.int64)
        stored = np.array([number for _, number in self.colours], np.int64)
        order = np.argsort(known)
        place = np.searchsorted(known[order], colours).clip(max=len(known) - 1)
        found = known[order][place] == colours
        labels = replace(self, values=(), colours=()).apply(np.where(found, stored[order][place], self.void_value))
        return np.where(found | (colours < 0), labels, COLOUR + colours)

    def _listed(self, stored: np.ndarray) -> np.ndarray:
        labels = _table(self.values, self.void if self.wide else (*self.void, WIDE_VOID), self.void_value)[stored]
        if self.numbered_by and labels.size and labels.max() >= UNLISTED:
            value = int(stored[labels >= UNLISTED].min())
            known = ",".join(map(str, self.values[:4])) + (",..." if len(self.values) > 4 else "")
            low, high = self.values[0].low, self.values[-1].high
            what = f"the label map holds {value}, and {self.numbered_by} numbers its classes from {low} to {high}"
            remedy = (
                f"number them as the label maps do, or, if {value} is no class, add --mask-values {value}=void,{known}"
            )
            raise OptionError(what, remedy)
        return labels


@lru_cache(maxsize=8)
def _table(spans: tuple[Span, ...], void: tuple[int, ...], void_value: int) -> np.ndarray:
    """(65536,) int64: the class of every stored value."""
    table = np.arange(MOST + 1, dtype=np.int64) + UNLISTED
    table[list(void)] = void_value
    for span in spans:
        own = slice(span.low, span.high + 1)
        if span.first is None:
            table[own] = void_value
        else:
            table[own] = span.first + (np.arange(span.high + 1 - span.low) if span.paired else 0)
    table.setflags(write=False)
    return table


def reduce_zero(values: np.ndarray) -> np.ndarray:
    """Class numbers from 1, with 0 for void -> from 0, void last: 0 becomes 255 and 255 stays.

    For (H, W) uint8; in uint16, void is 65535 in the same way.
    """
    top = np.iinfo(values.dtype).max
    return np.where((values == 0) | (values == top), top, values - 1).astype(values.dtype)


def read_label(path: str | os.PathLike[str], rule: LabelRule | None = None) -> np.ndarray:
    """A label file under a rule -> (H, W) int64 classes, void as 255, or 65535 for a wide rule (see `apply`).

    PNG and TIFF of 1 to 16 bits: the stored indices of a palette, or the grey values as they are stored; colours where
    the rule has a table of them. As spec 7 has it, the EXIF orientation is not applied.

    Raises ImageError for a file that is missing, damaged, or holds no class numbers; MachineError where memory
    runs out; OptionError as `LabelRule.apply`.
    """
    rule = rule or LabelRule()
    stored, coloured = read_stored(path, [colour for colour, _ in rule.colours], rule.by_palette)
    try:
        return rule.paint(stored) if coloured else rule.apply(stored)
    except (ImageError, OptionError) as error:
        raise type(error)(f"{os.fspath(path)}: {error.what}", error.remedy) from error


def stored_values(path: str | os.PathLike[str]) -> np.ndarray:
    """The numbers a label file stores, (H, W) int64 in 0..65535, no rule applied. Raises as `read_label`."""
    return read_stored(path)[0]


def stored_of(label: int, rule: LabelRule) -> tuple[int, bool]:
    """What a label that is no class was in its file: (number, False) or (0xRRGGBB, True)."""
    if label >= UNLISTED:
        return label - UNLISTED, False
    return (label - COLOUR, True) if label >= COLOUR else (label + rule.reduce_zero, False)

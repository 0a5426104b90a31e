"""Label maps as data: the class numbers a mask file stores, never its colours, and which of them are void."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from .errors import ImageError, MachineError, SegloopError

VOID = 255  # in maps whose classes fit into a byte
WIDE_VOID = 65535  # in 16-bit maps, where 255 is a class

NUMBERS = {"1", "P", "L", "I", "I;16", "I;16B", "I;16L", "I;16N"}  # Pillow's modes with one whole number a pixel
SPREAD = {"L;2": 85, "L;4": 17}  # Pillow spreads the greys of these over 0..255; the file stores 0..3 or 0..15
INDICES = "save the class numbers as a PNG with a palette, or in 8 or 16 bits of grey"


@dataclass(frozen=True)
class LabelRule:
    """How the stored values of a data set become classes (spec 7)."""

    reduce_zero: bool = False  # 0 becomes void, all others count one less
    void: tuple[int, ...] = (VOID,)  # stored values without a class
    wide: bool = False  # 16-bit maps: void stays 65535, so that 255 can be a class

    @property
    def void_value(self) -> int:
        """The one number that stands for void in what `apply` returns: 255, or 65535 where `wide`."""
        return WIDE_VOID if self.wide else VOID

    def apply(self, stored: np.ndarray) -> np.ndarray:
        """(H, W) stored values, 0..65535 -> (H, W) int64 classes and void.

        `void` is meant before `reduce_zero`. Values that are neither a class nor void stay what they are; the
        metrics decide on them.

        Spec 6 turns on the number that void has. Maps of a byte carry 255, which both modes of the metrics
        ignore; where one of them is stored in 16 bits its 65535 becomes 255, as for a reader of bytes. Wide maps
        keep 65535: the reference mode then counts it against the predicted class and ignores class 255, the
        corrected mode ignores 65535 and keeps class 255. Both follow from the map, so it is read only once.

        Raises ImageError where a map that must fit into a byte holds a value from 256 to 65534: wrapped to a byte
        it would become some class.
        """
        values = stored.astype(np.int64)
        if not self.wide:
            values[values == WIDE_VOID] = VOID
            if values.size and values.max() > VOID:
                what = f"the label map holds {values.max()}, and class numbers here end at {VOID}"
                raise ImageError(what, "check that these are the labels of this data set")
        void = np.isin(values, self.void)
        if self.reduce_zero:
            void |= (values == 0) | (values == self.void_value)
            values -= 1
        values[void] = self.void_value
        return values


def reduce_zero(values: np.ndarray) -> np.ndarray:
    """Class numbers from 1, with 0 for void -> from 0, void last: 0 becomes 255 and 255 stays.

    For (H, W) uint8; in uint16, void is 65535 in the same way.
    """
    top = np.iinfo(values.dtype).max
    return np.where((values == 0) | (values == top), top, values - 1).astype(values.dtype)


def read_label(path: str | os.PathLike[str], rule: LabelRule | None = None) -> np.ndarray:
    """A label file under a rule -> (H, W) int64 classes, void as 255, or 65535 for a wide rule (see `apply`).

    PNG and TIFF of 1 to 16 bits: the stored indices of a palette, or the grey values. As spec 7 has it, the EXIF
    orientation is not applied.

    Raises ImageError for a file that is missing, damaged, or holds no class numbers; MachineError where memory
    runs out.
    """
    stored = stored_values(path)
    try:
        return (rule or LabelRule()).apply(stored)
    except ImageError as error:
        raise ImageError(f"{os.fspath(path)}: {error.what}", error.remedy) from error


def stored_values(path: str | os.PathLike[str]) -> np.ndarray:
    """The numbers a label file stores, (H, W) int64 in 0..65535, no rule applied. Raises as `read_label`."""
    name = os.fspath(path)
    try:
        with Image.open(name) as image:
            spread = SPREAD.get(_raw_mode(image), 1)
            image.load()
            _check_numbers(image, name)
            values = np.array(image).astype(np.int64)
    except SegloopError:
        raise
    except Exception as error:  # Pillow's readers raise whatever a broken header makes them stumble over
        raise _explain(error, name) from error
    if values.size and (values.min() < 0 or values.max() > WIDE_VOID):
        what = f"{name} holds values from {values.min()} to {values.max()}, class numbers are 0 to {WIDE_VOID}"
        raise ImageError(what, "check that this is a label map")
    return values if spread == 1 else values // spread


def _check_numbers(image: Image.Image, name: str) -> None:
    if image.format in ("JPEG", "MPO"):
        raise ImageError(f"{name} is a JPEG, which changes class numbers", INDICES)
    if image.mode == "F":
        raise ImageError(f"{name} holds floating-point numbers, not class numbers", INDICES)
    if image.mode not in NUMBERS:
        raise ImageError(f"{name} holds colours ({image.mode}), not class numbers", INDICES)


def _raw_mode(image: Image.Image) -> str:
    """How the file stores a pixel, in Pillow's words; "" where its reader does not say. Only before `load`."""
    tile: Sequence[Any] = next(iter(getattr(image, "tile", ())), ())
    arguments = tile[3] if len(tile) > 3 else ""
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def _explain(error: Exception, name: str) -> SegloopError:
    if isinstance(error, MemoryError):
        return MachineError(f"{name} does not fit into memory", "make photo and label smaller first")
    if isinstance(error, FileNotFoundError):
        return ImageError(f"there is no label file {name}", "check the folder of the labels")
    if isinstance(error, Image.DecompressionBombError):
        return ImageError(f"{name} has more pixels than is safe to open", "make photo and label smaller first")
    if isinstance(error, Image.UnidentifiedImageError):
        return ImageError(f"{name} is not a label map that can be read", "copy it again, or save it as PNG")
    if isinstance(error, OSError) and error.strerror:
        return ImageError(f"{name} cannot be read ({error.strerror.lower()})", "check the path and its permissions")
    return ImageError(f"{name} is damaged or cut off ({error})", "copy or make it again")

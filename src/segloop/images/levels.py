"""Stored numbers as red, green and blue bytes: which bands, and which numbers are black and white."""

import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from ..common.visible import plain
from ..errors import ImageError, OptionError, PhotoWarning, nearest

DARK = 1 / 4  # of white: where 99 % of the numbers lie below, a photo looks almost black; 14 bits in 16 reach it
FLAT = 1 / 16  # of white: the least spread of a photo that can be seen
LOOKED_AT = 2**20  # numbers that are enough to know that

SPREAD = "spread them with --stretch percentile or minmax (stretch= in Python)"
KNOWN_WHITE = "set them with --stretch minmax or percentile (stretch= in Python), or save it with 8 or 16 bits"

_warning_filters = threading.Lock()  # they are the whole process's: one thread at a time may change them

Ends = tuple[float, float]

STRETCHES: dict[str, Ends] = {"minmax": (0, 100), "percentile": (2, 98)}
"""The percentiles of the numbers that become black and white."""


@dataclass(frozen=True)
class Reading:
    """How stored numbers are to be read."""

    bands: tuple[int, ...] | None = None  # which are red, green and blue, from 1 as in GIS; one is grey
    stretch: str = "none"  # none, or a name of STRETCHES: the numbers that become black and white
    channels: str = "rgb"  # of arrays: rgb, or bgr as OpenCV has them; files and PIL images know their order

    def said(self) -> dict[str, Any]:
        """What is not as usual, fit for a record's settings; `recorded` reads it."""
        bands = {"bands": list(self.bands)} if self.bands else {}
        return bands | ({} if self.stretch == "none" else {"stretch": self.stretch})


PLAIN = Reading()


@dataclass(frozen=True, eq=False)
class Stored:
    """A picture as its file stores it."""

    name: str
    values: np.ndarray  # (H, W, C), any numbers
    white: int | None  # the number that is white, black being 0; None where the file does not say
    alpha: np.ndarray | None = None  # (H, W) uint8, 0 is clear
    premultiplied: bool = False  # colours are multiplied by alpha already
    empty: float | None = None  # the number that means "no data"
    part: bool = False  # some rows of a picture that is known as a whole: nothing is said of it


def reading(bands: str | Sequence[int] | None = None, stretch: str | None = None, channels: str = "rgb") -> Reading:
    """`--bands` (or a sequence of numbers) and `--stretch` as a Reading; `channels` of arrays. Raises OptionError."""
    stretch = stretch or "none"
    if stretch not in ("none", *STRETCHES):
        raise OptionError(f"there is no stretch {stretch!r}", nearest(stretch, ["none", *STRETCHES]))
    if channels not in ("rgb", "bgr"):
        raise OptionError(f"there are no channels {channels!r}", "choose rgb or bgr")
    if bands is None:
        return Reading(None, stretch, channels)
    if channels == "bgr":
        raise OptionError("bands and channels='bgr' came together", "name blue, green and red by their bands alone")
    parts = bands.split(",") if isinstance(bands, str) else bands
    try:
        numbers = tuple(int(part) for part in parts)
    except (TypeError, ValueError):
        numbers = ()
    if len(numbers) not in (1, 3) or min(numbers) < 1:
        what = f"bands {plain(bands)} are not possible"
        raise OptionError(what, "write three numbers from 1 for red, green and blue, such as 4,3,2, or one for grey")
    return Reading(numbers, stretch)


def recorded(settings: Mapping[str, Any]) -> Reading:
    """The Reading that a record's settings tell of."""
    return reading(settings.get("bands"), settings.get("stretch"))


def to_rgb(stored: Stored, reading: Reading, ends: Ends | None = None) -> np.ndarray:
    """Bands chosen, levels set, laid over white where transparent: (H, W, 3) uint8, a fresh array.

    Without a stretch the high byte of 16 bits is kept, as OpenCV does. `minmax` makes the smallest number black
    and the largest white, `percentile` the 2nd and the 98th percentile, the same for all three bands, so that
    colours keep their balance; pixels without data, or clear ones, are left out of that. `ends` are
    the numbers that become black and white, where they are known.

    Raises ImageError where bands or levels are not known; warns where a photo of more than 8 bits uses so little
    of its range that hardly anything can be seen.
    """
    chosen = _bands(stored, reading)
    there = _there(stored, chosen)
    if reading.stretch == "none":
        levels = _plain(stored, chosen, there)
    else:
        levels = _spread(chosen, ends or _ends(chosen if there is None else chosen[there], reading.stretch))
    rgb = np.repeat(levels, 3, axis=2) if levels.shape[2] == 1 else np.ascontiguousarray(levels)
    if stored.alpha is None or reading.bands:
        return rgb
    return over_white(np.dstack([rgb, stored.alpha]), stored.premultiplied)


def over_white(rgba: np.ndarray, premultiplied: bool = False) -> np.ndarray:
    """(H, W, 4) uint8 -> (H, W, 3) uint8, transparency laid over white."""
    height, width, _ = rgba.shape
    image = Image.frombytes("RGBa" if premultiplied else "RGBA", (width, height), rgba.tobytes())
    white = Image.new("RGBA", image.size, "white")
    return np.array(Image.alpha_composite(white, image.convert("RGBA")).convert("RGB"))


def scaled(values: np.ndarray, white: int) -> np.ndarray:
    """Whole numbers from 0 to `white` as bytes, rounded."""
    return ((values.astype(np.uint32) * 255 + white // 2) // white).astype(np.uint8)


def note(what: str, remedy: str) -> None:
    """Warn in one sentence; on the command line it is one line on stderr."""
    with _warning_filters:
        warnings.warn(PhotoWarning(f"{what}; {remedy}"), stacklevel=2)


@contextmanager
def quiet() -> Iterator[None]:
    """A library without its warnings; never around `note`."""
    with _warning_filters, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def depth(dtype: np.dtype) -> str:
    """A number format in words."""
    bits = dtype.itemsize * 8
    kinds = {"u": f"{bits}-bit", "i": f"signed {bits}-bit", "f": f"{bits}-bit floating-point", "c": "complex"}
    return f"{kinds.get(dtype.kind, str(dtype))} numbers"


def check_bands(name: str, count: int, reading: Reading) -> None:
    """Raises ImageError where one of the bands that are chosen is not among `count`."""
    missing = next((band for band in reading.bands or () if band > count), None)
    if missing is not None:
        have = "1 band" if count == 1 else f"{count} bands"
        raise ImageError(f"{name} has {have}, and no band {missing}", f"choose from 1 to {count}")


def _bands(stored: Stored, reading: Reading) -> np.ndarray:
    """(H, W, 1) or (H, W, 3): the bands that are shown."""
    count = stored.values.shape[2]
    if reading.bands:
        check_bands(stored.name, count, reading)
        return stored.values[..., [band - 1 for band in reading.bands]]
    if count not in (1, 3):
        what = f"{stored.name} has {count} bands of {depth(stored.values.dtype)}, none of them said to be red"
        remedy = "name those that are red, green and blue, such as --bands 3,2,1 (bands=(3, 2, 1) in Python)"
        remedy = remedy if count > 2 else "name the one that is grey, such as --bands 1 (bands=(1,) in Python)"
        raise ImageError(what, remedy)
    return stored.values


def _there(stored: Stored, chosen: np.ndarray) -> np.ndarray | None:
    """(H, W) bool: pixels that hold something; None means all."""
    parts = [] if stored.alpha is None else [stored.alpha > 0]
    if chosen.dtype.kind == "f":
        parts.append(np.isfinite(chosen).all(axis=2))
    if stored.empty is not None:
        parts.append((chosen != stored.empty).any(axis=2))
    return np.logical_and.reduce(parts) if parts else None


def _plain(stored: Stored, chosen: np.ndarray, there: np.ndarray | None) -> np.ndarray:
    if stored.white is None:
        low, high = _range(chosen, there)
        numbers = f"{depth(chosen.dtype)} from {low:.6g} to {high:.6g}"
        raise ImageError(f"{stored.name} holds {numbers}, whose black and white are unknown", KNOWN_WHITE)
    if stored.white > 255 and not stored.part:
        _warn_if_dark(stored.name, stored.white, _sample(chosen, there))
    shift = stored.white.bit_length() - 8
    if shift >= 0 and stored.white == 2 ** (shift + 8) - 1:
        return (chosen >> shift).astype(np.uint8)
    return scaled(chosen, stored.white)


def _ends(kept: np.ndarray, stretch: str) -> Ends:
    """Of numbers, those that become black and white."""
    shares = STRETCHES[stretch]
    if not kept.size:
        return 0.0, 0.0
    low, high = (kept.min(), kept.max()) if shares == (0, 100) else np.percentile(kept, shares)
    return float(low), float(high)


def counts(stored: Stored, reading: Reading) -> np.ndarray:
    """How often each number of at most 16 bits occurs where pixels hold something: (65536,) int64."""
    chosen = _bands(stored, reading)
    there = _there(stored, chosen)
    return np.bincount((chosen if there is None else chosen[there]).ravel(), minlength=2**16)


def ends_of(found: np.ndarray, stretch: str) -> Ends:
    """What a stretch makes black and white of numbers that occur so often; as NumPy's percentiles, bit for bit."""
    total, upto = int(found.sum()), found.cumsum()
    if not total:
        return 0.0, 0.0

    def percentile(share: float) -> float:
        place = share / 100 * (total - 1)
        before = int(place)
        one, other = (float(np.searchsorted(upto, min(at, total - 1), "right")) for at in (before, before + 1))
        part = place - before
        return one + (other - one) * part if part < 0.5 else other - (other - one) * (1 - part)

    low, high = map(percentile, STRETCHES[stretch])
    return low, high


def _spread(chosen: np.ndarray, ends: Ends) -> np.ndarray:
    low, high = ends
    scale = 255 / (high - low) if high > low else 0.0
    levels = np.empty(chosen.shape, np.uint8)
    for band in range(chosen.shape[2]):  # one after the other, as doubles are eight times as large
        with np.errstate(invalid="ignore", over="ignore"):  # numbers that are none, infinite ones
            spread = (chosen[..., band].astype(np.float64) - low) * scale
        levels[..., band] = np.rint(np.nan_to_num(spread, nan=0, posinf=255, neginf=0).clip(0, 255))
    return levels


def _range(chosen: np.ndarray, there: np.ndarray | None) -> tuple[float, float]:
    kept = chosen if there is None else chosen[there]
    return (float(kept.min()), float(kept.max())) if kept.size else (float("nan"), float("nan"))


def _sample(chosen: np.ndarray, there: np.ndarray | None) -> np.ndarray:
    """Numbers of pixels that lie evenly in the picture, few enough to be sorted at once."""
    step = 1 + int((chosen.size / LOOKED_AT) ** 0.5)
    few = chosen[::step, ::step]
    return few if there is None else few[there[::step, ::step]]


def _warn_if_dark(name: str, white: int, values: np.ndarray) -> None:
    if not values.size:
        return
    low, high = (float(level) for level in np.percentile(values, (1, 99)))
    bits = white.bit_length()
    if high == low:
        return
    used = f"{low:.0f} to {high:.0f} of 0 to {white}"
    if high < DARK * white:
        note(f"{name} looks almost black: most of its {bits}-bit numbers are {used}", SPREAD)
    elif low > (1 - DARK) * white:
        note(f"{name} looks almost white: most of its {bits}-bit numbers are {used}", SPREAD)
    elif high - low < FLAT * white:
        note(f"{name} has hardly any contrast: most of its {bits}-bit numbers are {used}", SPREAD)

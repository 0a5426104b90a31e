"""TIFF files: which of their pages is the photo, who reads it, and what its numbers mean."""

import logging
import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from PIL import Image

from ..common.kinds import RAW, SAVE_AGAIN, SLICE, TONE
from ..errors import ImageError, TooManyPixelsError
from .levels import Reading, Stored, depth, note, scaled
from .room import allowed_pixels, check_room

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, MASK, CMYK, YCBCR, LAB = 0, 1, 2, 3, 4, 5, 6, 8
COLOURS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, CMYK: 4}  # samples of a photometric interpretation
ASSOCIATED, ALPHA = 1, 2  # extra samples
CFA, LINEAR_RAW = 32803, 34892  # what a camera's sensor saw
RAW_COMPRESSIONS = {262, 32767, 32769, 32770, 34713, 65535}  # Kodak, Sony, Epson, Samsung, Nikon, Pentax
OLD_JPEG = 6  # which keeps its data elsewhere
LOG = {32844, 32845}  # LogL, LogLuv
DNG_VERSION, GDAL_NODATA = 50706, 42113
REDUCED = 1  # bit of NewSubfileType
RAW_NAME = re.compile(
    r"\.(nef|nrw|cr2|arw|srf|sr2|dng|pef|srw|3fr|fff|iiq|mos|mef|erf|kdc|dcr|k25|dcs|rwl|gpr)$", re.IGNORECASE
)
READ_BY_PILLOW = {  # photometric interpretation, samples, extra samples; of 8 bits and fewer
    *((photometric, 1, ()) for photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO, PALETTE, YCBCR)),
    *((photometric, 3, ()) for photometric in (RGB, YCBCR, LAB)),
    *((photometric, 4, ()) for photometric in (RGB, CMYK)),
    *((photometric, 2, (alpha,)) for photometric in (BLACK_IS_ZERO, PALETTE) for alpha in (ASSOCIATED, ALPHA)),
    *((RGB, 4, (alpha,)) for alpha in (ASSOCIATED, ALPHA)),
}
LOOKED_AT = 64  # pages, to find the photo among them
LARGER = 2.2  # times the pixels of the first page: then that is a thumbnail. A3 beside A4 has twice as many
MANY = 8  # bands of the largest photo that is safe: as many numbers in all


@dataclass(frozen=True, eq=False)
class Found:
    """The page that is the photo."""

    page: Any  # tifffile's TiffPage
    frame: int | None  # its number in the file; None where it lies below another page

    @property
    def plain(self) -> bool:
        """Whether Pillow reads it right."""
        page = self.page
        extras = tuple(int(extra) for extra in page.extrasamples)
        kind = (int(page.photometric or 0), page.samplesperpixel, extras)
        bits = page.bitspersample
        few = isinstance(bits, int) and bits <= 8 and page.sampleformat == 1
        usual = bits == 8 or page.samplesperpixel == 1
        raw = int(page.compression) == 1 and (page.fillorder != 1 or page.planarconfig != 1)  # no work for libtiff
        return self.frame is not None and few and usual and not raw and kind in READ_BY_PILLOW

    @property
    def orientation(self) -> int:
        """As EXIF has it: 1 is upright."""
        return int(self.page.tags.valueof(274, default=1))


@contextmanager
def opened(stream: IO[bytes], name: str) -> Iterator[Found | None]:
    """The photo of a TIFF file; None where tifffile cannot tell. Raises ImageError for a raw file of a camera."""
    import tifffile

    logging.getLogger("tifffile").addHandler(logging.NullHandler())  # it would tell programmers on stderr
    try:
        raw = RAW_NAME.search(name) is not None or _head(stream)[8:10] == b"CR"
        stream.seek(0)  # where tifffile takes the file to begin
        found = _find(tifffile.TiffFile(stream, name=os.path.basename(name)), name, raw)
    except ImageError:
        raise
    except Exception:  # of a broken file, Pillow may still make sense, or say what is wrong
        found = None
    yield found


def stored(found: Found, name: str, reading: Reading) -> Stored:
    """The numbers of a page with what they mean. Raises ImageError for what cannot be read, else what readers raise."""
    from .tiff_pixels import pixels

    page = found.page
    _check_size(page, name)
    photometric = int(page.photometric) if 262 in page.tags else BLACK_IS_ZERO
    _check_colours(page, name, photometric)
    bits = page.bitspersample if isinstance(page.bitspersample, int) else 16  # decoding may change what a page says
    return meant(page, name, reading, _in_one(pixels(page, name), page, name), bits)


def meant(page: Any, name: str, reading: Reading, values: np.ndarray, bits: int, part: bool = False) -> Stored:
    """Numbers of a page (H, W, C) of so many bits, all or some of its rows, with what they mean. Raises as `stored`."""
    photometric = int(page.photometric) if 262 in page.tags else BLACK_IS_ZERO
    white = 2**bits - 1 if values.dtype.kind == "u" and bits <= 16 else None
    empty = page.nodata if GDAL_NODATA in page.tags else None
    if photometric == WHITE_IS_ZERO:
        values = white - values if white else -values.astype(np.float64)
        empty = None if empty is None else (white or 0) - empty
    if reading.bands:
        return Stored(name, values, white, empty=empty, part=part)
    if photometric == PALETTE:
        return Stored(name, np.moveaxis(page.colormap[:, values[..., 0]], 0, -1), 65535)
    return _coloured(Stored(name, values, white, empty=empty, part=part), page, photometric)


def _find(file: Any, name: str, raw: bool) -> Found:
    count = len(file.pages)
    found = []
    for number in range(min(count, LOOKED_AT)):
        page = file.pages[number]
        found += [Found(page, number), *(Found(below, None) for below in page.pages or ())]
    if raw or any(_is_raw(one.page) for one in found):
        raise ImageError(RAW.sentence(name), RAW.remedy)
    whole = [one for one in found if not int(one.page.subfiletype) & (REDUCED | MASK)] or found
    largest = max(whole, key=lambda one: _area(one.page))
    chosen = largest if _area(largest.page) > LARGER * _area(whole[0].page) else whole[0]
    if chosen.page.imagedepth > 1:
        raise ImageError(f"{name} is a volume of {chosen.page.imagedepth} slices", SLICE)
    if _parts_missing(chosen.page):
        raise ImageError(f"{name} is damaged or cut off (parts of the picture are missing)", SAVE_AGAIN)
    images = max(count - len(found), 0) + len(whole)
    if file.is_imagej:
        images = max(images, int((file.imagej_metadata or {}).get("images", 1)))
    if images > 1:
        size = f"{chosen.page.imagewidth}x{chosen.page.imagelength}"
        which = "first" if chosen is whole[0] else "largest"
        note(f"{name} holds {images} pictures, the {which} ({size}) is taken", "save another as a file of its own")
    return chosen


def _is_raw(page: Any) -> bool:
    photometric, compression = int(page.photometric or 0), int(page.compression)
    return photometric in (CFA, LINEAR_RAW) or compression in RAW_COMPRESSIONS or DNG_VERSION in page.tags


def _parts_missing(page: Any) -> bool:
    """Whether a file lists fewer strips or tiles than its picture has; readers would fill in black."""
    return int(page.compression) != OLD_JPEG and len(page.dataoffsets) < math.prod(page.chunked)


def _head(stream: IO[bytes]) -> bytes:
    stream.seek(0)
    return stream.read(16)


def _area(page: Any) -> int:
    return page.imagewidth * page.imagelength


def _check_size(page: Any, name: str) -> None:
    check_room(name, page.imagewidth, page.imagelength)
    limit = Image.MAX_IMAGE_PIXELS
    if limit and not allowed_pixels() and _area(page) * page.samplesperpixel > MANY * limit:
        raise TooManyPixelsError(f"{name} has more pixels than is safe to open", "make it smaller first")


def _check_colours(page: Any, name: str, photometric: int) -> None:
    if photometric in LOG:
        raise ImageError(f"{name} holds light in logarithms (LogLuv)", TONE)
    if photometric not in COLOURS:
        kind = getattr(page.photometric, "name", photometric)
        what = f"{name} holds {depth(np.dtype(page.dtype))} of colours in {kind}, which cannot be read here"
        raise ImageError(what, "convert it to RGB of 8 or 16 bits first")


def _in_one(pixels: np.ndarray, page: Any, name: str) -> np.ndarray:
    """Tifffile's (separate samples, 1, H, W, samples side by side) -> (H, W, C)."""
    pixels = pixels.astype(np.uint8) if pixels.dtype.kind == "b" else pixels
    if pixels.dtype.kind not in "uif":
        raise ImageError(f"{name} holds {depth(pixels.dtype)}", "save it with 8 or 16 bits")
    separate, _, height, width, together = page.shaped
    planes = pixels.reshape(separate, height, width, together)
    return np.moveaxis(planes, 0, 2).reshape(height, width, separate * together)


def _coloured(whole: Stored, page: Any, photometric: int) -> Stored:
    """What a file says of its samples: colours first, then alpha, then what is no colour."""
    values, name, count = whole.values, whole.name, COLOURS.get(photometric, 3)  # YCbCr comes as RGB
    extras = [int(extra) for extra in page.extrasamples]
    extras = [0] * (values.shape[2] - count - len(extras)) + extras
    at = next((count + i for i, extra in enumerate(extras) if extra in (ASSOCIATED, ALPHA)), None)
    alpha = None if at is None else _bytes(values[..., at], whole.white)
    others = [count + i for i, extra in enumerate(extras) if extra not in (ASSOCIATED, ALPHA)]
    premultiplied = at is not None and extras[at - count] == ASSOCIATED
    if count > 1 and others and not whole.part:
        said = "red, green and blue" if count == 3 else "CMYK"
        what = f"{name} has {values.shape[2]} bands and calls the first {count} {said}, the others are left out"
        note(what, "choose with --bands (bands= in Python)")
    elif count == 1 and others:  # grey with more of it: all are bands of one kind
        values = values[..., [0, *others]]
    if photometric == CMYK:
        inks = np.ascontiguousarray(_bytes(values[..., :4], whole.white))
        rgb = Image.frombytes("CMYK", inks.shape[1::-1], inks.tobytes()).convert("RGB")
        return Stored(name, np.asarray(rgb), 255, alpha, premultiplied)
    colours = values[..., :3] if count == 3 else values if others else values[..., :1]
    return Stored(name, colours, whole.white, alpha, premultiplied, whole.empty, whole.part)


def _bytes(values: np.ndarray, white: int | None) -> np.ndarray:
    """Numbers up to `white` as bytes; floats are taken as 0 to 1."""
    if white is None:
        return np.rint(values.astype(np.float64).clip(0, 1) * 255).astype(np.uint8)
    return scaled(values, white)

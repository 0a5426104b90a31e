"""Label maps as files: the numbers that they store, or the colours, whatever a reader of pictures would show."""

import os
import re
import stat
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from PIL import Image

from ..errors import ImageError, SegloopError, TooLargeError, memory_ran_out
from ..images.tiff import opened
from ..images.tiff_pixels import pixels
from ..words.entries import written

MOST = 65535  # class numbers have 16 bits
NUMBERS = {"1", "P", "L", "I", "I;16", "I;16B", "I;16L", "I;16N"}  # Pillow's modes with one whole number a pixel
COLOURED = {"RGB", "RGBA", "RGBX"}
RAW = re.compile(r"(?P<kind>[1L])(;(?P<bits>[124])?(?P<inverted>I)?R?)?")  # how a file stores greys, in Pillow's words
SPREAD = {"2": 85, "4": 17}  # Pillow spreads the greys of so many bits over 0..255; the file stores 0..3 or 0..15
LOSSY_TIFF = {6, 7, 33003, 33005, 34712}  # JPEG, JPEG 2000
TIFF_HEADS = {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}
LOSSY = {"JPEG", "MPO", "JPEG2000"}
INDICES = "save the class numbers as a PNG with a palette, or in 8 or 16 bits of grey"
COLOUR_LINE = "write the colour of each class of your own behind its name in classes.txt, as in `grass: 0,128,0`"
SHOWN, PHOTO = 3, 256  # colours that a message names; of more than so many it is no drawing


def read_stored(
    path: str | os.PathLike[str], colours: Collection[int] = (), by_palette: bool = False
) -> tuple[np.ndarray, bool]:
    """What a label file stores, (H, W) int64, and whether these are colours.

    Numbers are 0..65535: the stored indices of a palette, or the greys as they are stored, also where white is zero.
    With `colours`, 0xRRGGBB of each class, a file of colours gives 0xRRGGBB, or -1 where it is transparent and of no
    class; with `by_palette` so does a palette of which most entries in use are such. No EXIF orientation is applied.

    Raises ImageError for a file that is missing, damaged, or holds neither; MachineError where memory runs out.
    """
    name = os.fspath(path)
    try:
        values = _from_file(name)
        if values is not None:
            return values, False
        with Image.open(name) as image:
            _check_kind(image, name)
            raw = _raw_mode(image)
            image.load()
            if image.mode in COLOURED and colours:
                return _colours(image, colours), True
            values = _numbers(image, raw, name)
            if image.mode == "P" and by_palette:
                entries, used = _palette(image), np.unique(values)
                if 2 * np.isin(entries[used], np.fromiter(colours, np.int64)).sum() > len(used):
                    return entries[values], True
    except SegloopError:
        raise
    except Exception as error:  # readers raise whatever a broken header makes them stumble over
        raise _explain(error, name) from error
    return _within(values, name), False


def percent(pixels: int, of: int) -> str:
    """ "31.0 %"; what is there is never 0."""
    share = 100 * pixels / of if of else 0.0
    return "< 0.1 %" if 0 < share < 0.05 else f"{share:.1f} %"


def _from_file(name: str) -> np.ndarray | None:
    """The numbers of a TIFF with one whole number a pixel, as stored; None for what Pillow reads as well.

    Raises ImageError for what is no file, for a JPEG, and for several pages of one size.
    """
    if not stat.S_ISREG(os.stat(name).st_mode) and not os.path.isdir(name):
        raise ImageError(f"{name} is a pipe or a device, not a file", "save the label map to a file first")
    with open(name, "rb") as stream:
        if stream.read(4) not in TIFF_HEADS:
            return None
        stream.seek(0)
        with opened(stream, name) as found:
            if found is None:
                return None
            page = found.page
            sizes = [(other.imagewidth, other.imagelength) for other in page.parent.pages]
            _check_pages(sizes.count((page.imagewidth, page.imagelength)), name)
            if int(page.compression) in LOSSY_TIFF:
                raise ImageError(f"{name} is a JPEG, which changes class numbers", INDICES)
            if found.plain or page.samplesperpixel != 1 or page.dtype.kind not in "iu":
                return None
            values = pixels(page, name).reshape(page.imagelength, page.imagewidth)
            return _within(values.astype(np.int64), name)


def _within(values: np.ndarray, name: str) -> np.ndarray:
    """The values, unless some are beyond 16 bits. Raises ImageError."""
    if values.size and (values.min() < 0 or values.max() > MOST):
        what = f"{name} holds values from {values.min()} to {values.max()}, class numbers are 0 to {MOST}"
        raise ImageError(what, "check that this is a label map")
    return values


def _check_pages(pages: int, name: str) -> None:
    if pages > 1:
        raise ImageError(f"{name} holds {pages} pages, and a label map is one", "save the class numbers as one picture")


def _numbers(image: Image.Image, raw: str, name: str) -> np.ndarray:
    """(H, W) int64 as stored. Raises ImageError where the image holds no whole numbers."""
    if image.mode == "F":
        raise ImageError(f"{name} holds floating-point numbers, not class numbers", INDICES)
    if image.mode == "LA" and np.asarray(image)[..., 1].min(initial=255) == 255:
        return np.asarray(image)[..., 0].astype(np.int64)
    if image.mode not in NUMBERS:
        raise ImageError(f"{name} holds colours ({image.mode}), not class numbers", _colour_remedy(image))
    values = np.array(image).astype(np.int64)
    stored = RAW.fullmatch(raw)
    if stored is None:
        return values
    values //= SPREAD.get(stored["bits"] or "", 1)
    if stored["inverted"]:
        bits = 1 if stored["kind"] == "1" else int(stored["bits"] or 8)
        values = (1 << bits) - 1 - values
    return values


def _colours(image: Image.Image, known: Collection[int]) -> np.ndarray:
    """(H, W) int64, 0xRRGGBB; -1 where a pixel is fully transparent and of no known colour."""
    pixels = np.asarray(image)
    codes = _code(pixels)
    if image.mode == "RGBA":
        clear = (pixels[..., 3] == 0) & ~np.isin(codes, np.fromiter(known, np.int64))
        codes[clear] = -1
    return codes


def _palette(image: Image.Image) -> np.ndarray:
    """(256,) 0xRRGGBB of each index; indices beyond the palette are black, as a viewer shows them."""
    entries = np.zeros((256, 3), np.uint8)
    listed = np.array(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)[:256]
    entries[: len(listed)] = listed
    return _code(entries)


def _code(pixels: np.ndarray) -> np.ndarray:
    red, green, blue = (pixels[..., channel].astype(np.int64) for channel in range(3))
    return (red << 16) | (green << 8) | blue


def _colour_remedy(image: Image.Image) -> str:
    """What to do with colours, which are named."""
    if image.mode not in COLOURED:
        return INDICES
    codes = _code(np.asarray(image))
    if ((codes >> 16 == codes & 255) & (codes >> 8 & 255 == codes & 255)).all() and codes.any():
        return f"{INDICES}: its three channels are alike, keep one of them"
    found, pixels = np.unique(codes, return_counts=True)
    if len(found) > PHOTO:
        return f"{INDICES}: it has {len(found)} colours, as a photo has or a drawing with smooth edges"
    order = np.argsort(-pixels, kind="stable")[:SHOWN]
    named = ", ".join(f"{written(int(found[one]))} on {percent(int(pixels[one]), codes.size)}" for one in order)
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return f"{INDICES}, or {COLOUR_LINE} (here are {named} of the pixels{more})"


def _check_kind(image: Image.Image, name: str) -> None:
    """Raise ImageError for files whose numbers were changed by saving, or of which only a part would be read."""
    if image.format in LOSSY or image.info.get("compression") in ("jpeg", "tiff_jpeg"):
        raise ImageError(f"{name} is a JPEG, which changes class numbers", INDICES)
    if image.format == "PPM" and _scaled(image):
        what = f"{name} stores greys up to {_scaled(image)}, which are scaled when it is opened"
        raise ImageError(what, INDICES)
    if image.format != "TIFF":  # in one of those, smaller pages are overviews of the first
        _check_pages(getattr(image, "n_frames", 1), name)


def _scaled(image: Image.Image) -> int:
    """The largest grey of a PGM, where Pillow scales it to fill the byte; else 0."""
    arguments = _tile(image)
    largest = arguments[1] if len(arguments) > 1 and isinstance(arguments[1], int) else 255
    return 0 if largest in (0, 255, MOST) else largest


def _raw_mode(image: Image.Image) -> str:
    """How the file stores a pixel, in Pillow's words; "" where its reader does not say. Only before `load`."""
    arguments = _tile(image)
    return arguments[0] if arguments and isinstance(arguments[0], str) else ""


def _tile(image: Image.Image) -> tuple[Any, ...]:
    tile: Sequence[Any] = next(iter(getattr(image, "tile", ())), ())
    arguments = tile[3] if len(tile) > 3 else ()
    return arguments if isinstance(arguments, tuple) else (arguments,)


def _explain(error: Exception, name: str) -> SegloopError:
    if memory_ran_out(error):
        return TooLargeError(f"{name} does not fit into memory", "make photo and label smaller first")
    if isinstance(error, FileNotFoundError):
        return ImageError(f"there is no label file {name}", "check the folder of the labels")
    if isinstance(error, Image.DecompressionBombError):
        return ImageError(f"{name} has more pixels than is safe to open", "make photo and label smaller first")
    if isinstance(error, Image.UnidentifiedImageError):
        return ImageError(f"{name} is not a label map that can be read", "copy it again, or save it as PNG")
    if isinstance(error, OSError) and error.strerror:
        return ImageError(f"{name} cannot be read ({error.strerror.lower()})", "check the path and its permissions")
    return ImageError(f"{name} is damaged or cut off ({error})", "copy or make it again")

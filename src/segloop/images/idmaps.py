"""Region masks of one photo as a file: id maps, stacks of masks, COCO's run lengths; all become (H, W) int64 ids.

0 is no region. Masks may overlap: they are painted by ascending area, so that larger ones lie on top (spec 2.11.9).
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..common.visible import shortened
from ..errors import ImageError, SegloopError, TooLargeError, UserError, memory_ran_out
from . import rle
from .levels import quiet
from .polygons import filled
from .room import without_limit

Size = tuple[int, int]  # (H, W)

FORMS = "a PNG of ids, .npy or .npz of (H, W) ids or (n, H, W) bool, or .json of COCO's masks"
IDS = {"1", "P", "L", "I", "I;16", "I;16B", "I;16L", "I;16N"}  # Pillow's modes with one whole number a pixel
NAMED = "masks"  # the array of an .npz that counts where there are several
AGAIN = "make or copy it again"


@dataclass(frozen=True)
class Mask:
    """A mask within the box that holds its pixels."""

    top: int
    left: int
    inside: np.ndarray  # (h, w) bool

    @property
    def area(self) -> int:
        """Its pixels."""
        return int(self.inside.sum())

    @staticmethod
    def of(mask: np.ndarray) -> "Mask":
        """(H, W) bool, cut to its box; one without pixels has a box without pixels."""
        rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
        if not len(rows):
            return Mask(0, 0, mask[:0, :0])
        box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        return Mask(int(rows[0]), int(columns[0]), mask[box].copy())


def paint(masks: Iterable[Mask], size: Size, largest_on_top: bool = True) -> np.ndarray:
    """Overlapping masks -> (H, W) int64 ids: 1..n in the order in which they are painted; 0 where no mask is.

    Painted by ascending area, so that larger ones lie on top, or by descending area. Of equal areas the later one lies
    on top.
    """
    ids = np.zeros(size, np.int64)
    sign = 1 if largest_on_top else -1
    for number, one in enumerate(sorted(masks, key=lambda mask: sign * mask.area), start=1):
        height, width = one.inside.shape
        ids[one.top : one.top + height, one.left : one.left + width][one.inside] = number
    return ids


def ids_of(array: Any, name: str, size: Size) -> np.ndarray:
    """An array or a tensor, (H, W) whole numbers or (n, H, W) bool, -> (H, W) int64 ids for a photo of `size`.

    Raises ImageError for other numbers, another shape, or another size: masks are never resized.
    """
    values = np.asarray(array.detach().cpu() if hasattr(array, "detach") else array)
    if values.ndim == 3 and values.dtype == bool:
        check_size(name, values.shape[1:], size)
        return paint(map(Mask.of, values), size)
    if values.ndim != 2:
        what = f"{name} has shape {values.shape}"
        hint = "array.astype(bool), where it is a stack of masks" if values.ndim == 3 else "one id for each pixel"
        raise ImageError(what, f"give (H, W) ids or (n, H, W) bool: {hint}")
    if values.dtype.kind not in "biu":
        raise ImageError(f"{name} holds {values.dtype}, not whole numbers", "give ids such as array.astype(np.int64)")
    check_size(name, values.shape, size)
    if values.size and values.dtype.kind == "u" and values.max() > np.iinfo(np.int64).max:
        raise ImageError(f"{name} holds the id {values.max()}", "give ids of at most 63 bits")
    return values.astype(np.int64)


def check_size(name: str, found: Sequence[int], size: Size) -> None:
    """Raises ImageError where masks are of another size than their photo, (H, W) both."""
    if tuple(found) == size:
        return
    what = f"{name} is {found[1]}x{found[0]} pixels, its photo {size[1]}x{size[0]}"
    turned = tuple(found[::-1]) == size
    hint = ", turned as its EXIF orientation says" if turned else ""
    raise ImageError(what, f"make masks of the photo at its own size{hint}; they are not resized")


def read_ids(path: str | os.PathLike[str], size: Size) -> np.ndarray:
    """A file of masks -> (H, W) int64 ids for a photo of `size`, 0 (and what is negative) for no region.

    PNG: the greys of 1 to 16 bits or the indices of a palette; colours are ids R + 256 G + 65536 B, as COCO's panoptic
    maps have them. .npy and .npz: (H, W) whole numbers, or (n, H, W) bool. .json: a list of masks, or an object with
    `annotations`, each with `segmentation` as run lengths or polygons of COCO. Raises ImageError for all else, for what
    is damaged or of another size, TooLargeError where memory runs out, UserError where polygons cannot be drawn.
    """
    name = shortened(path)
    reader = READERS.get(Path(path).suffix.lower())
    if reader is None:
        raise ImageError(f"{name} is no file of masks", f"give {FORMS}")
    try:
        return reader(Path(path), name, size)
    except SegloopError:
        raise
    except Exception as error:  # readers raise whatever a broken header makes them stumble over
        raise _explain(error, name) from error


def masks_in(found: Iterable[Any], name: str, size: Size) -> np.ndarray:
    """Records with `segmentation`, COCO's annotations of one photo, -> (H, W) int64 ids. Raises ImageError."""
    return paint([Mask.of(_decoded(one, name, size)) for one in found], size)


def read_json(path: Path) -> Any:
    """Raises OSError, ValueError, RecursionError."""
    return json.loads(path.read_text(encoding="utf-8"))


def _decoded(one: Any, name: str, size: Size) -> np.ndarray:
    """(H, W) bool."""
    lengths = one.get("segmentation") if isinstance(one, Mapping) else None
    try:
        if isinstance(lengths, list):
            return filled(lengths, size, "write masks as run lengths")
        if not isinstance(lengths, Mapping) or "counts" not in lengths:
            what = f"{name} has a mask without run lengths or polygons"
            raise ImageError(what, "write each as COCO's `segmentation`: size, counts")
        if "size" in lengths:
            check_size(name, lengths["size"], size)
        return rle.decode({"size": size, "counts": lengths["counts"]})
    except (ValueError, TypeError, OverflowError, AttributeError) as error:
        if isinstance(error, UserError):
            raise
        raise ImageError(f"{name} has a mask that cannot be read ({error})", AGAIN) from error


def _png(path: Path, name: str, size: Size) -> np.ndarray:
    with quiet(), without_limit():  # the size is known before a pixel is decoded
        image = Image.open(path, formats=("PNG",))
    with image:
        check_size(name, image.size[::-1], size)
        deep = any("16B" in str(tile[3]) and "RGB" in str(tile[3]) for tile in image.tile)
        if deep or getattr(image, "n_frames", 1) > 1:
            what = f"{name} holds {'16 bits a colour' if deep else 'several pictures'}"
            raise ImageError(what, "write ids as greys of 8 or 16 bits, or as colours of 8")
        pixels = np.asarray(image)
        if image.mode in IDS:
            return pixels.astype(np.int64)
        clear = image.mode == "RGBA" and pixels[..., 3].min(initial=255) < 255
        if image.mode not in ("RGB", "RGBA") or clear:
            raise ImageError(f"{name} is transparent", "write ids as greys or colours without transparency")
        red, green, blue = (pixels[..., band].astype(np.int64) for band in range(3))
        return red | green << 8 | blue << 16


def _npy(path: Path, name: str, size: Size) -> np.ndarray:
    return ids_of(np.load(path, allow_pickle=False), name, size)


def _npz(path: Path, name: str, size: Size) -> np.ndarray:
    with np.load(path, allow_pickle=False) as stored:
        names = list(stored)
        chosen = names[0] if len(names) == 1 else NAMED
        if chosen not in names:
            raise ImageError(f"{name} holds the arrays {', '.join(names) or 'none'}", f"keep one, or call it {NAMED}")
        return ids_of(stored[chosen], name, size)


def _json(path: Path, name: str, size: Size) -> np.ndarray:
    data = read_json(path)
    found = data.get("annotations") if isinstance(data, Mapping) else data
    if not isinstance(found, list):
        raise ImageError(f"{name} lists no masks", "give a list of masks, or an object with `annotations`")
    return masks_in(found, name, size)


READERS: dict[str, Callable[[Path, str, Size], np.ndarray]] = {
    ".png": _png,
    ".npy": _npy,
    ".npz": _npz,
    ".json": _json,
}
"""By the suffix of a file."""


def _explain(error: Exception, name: str) -> SegloopError:
    if memory_ran_out(error):
        return TooLargeError(f"{name} does not fit into memory", "make photo and masks smaller first")
    if isinstance(error, FileNotFoundError):
        return ImageError(f"there is no file of masks {name}", "check the path")
    if isinstance(error, OSError) and error.strerror:
        return ImageError(f"{name} cannot be read ({error.strerror.lower()})", "check the path and its permissions")
    return ImageError(f"{name} is damaged, or no {name.rpartition('.')[2]} at all", AGAIN)

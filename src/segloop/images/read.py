"""A photo of any accepted kind as an upright array of bytes."""

import io
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import IO, Any

import numpy as np
from PIL import Image, ImageFile

from ..common.kinds import HEAD, HEIC_PHOTO, TIFF, recognise
from ..errors import ImageError, SegloopError
from . import png, tiff
from .arrays import from_array, from_tensor
from .levels import PLAIN, Reading, note, quiet, to_rgb
from .paths import open_file
from .pillow import deep_colours, explain_failure, from_pillow, orientation, tell_of_others, upright
from .room import allowed_pixels, check_room, without_limit


@dataclass(frozen=True, eq=False)
class Elsewhere:
    """A photo that is no file of a disk: its name, as people are told, and the way to it."""

    name: str
    fetch: Callable[[], Any]  # -> a file's bytes, or what else `read_image` takes. Raises ImageError, MachineError.

    def __fspath__(self) -> str:
        return self.name


def read_image(photo: object, reading: Reading = PLAIN) -> np.ndarray:
    """One photo of any accepted kind -> (H, W, 3) uint8 RGB, upright, a fresh array.

    `photo` is a path, a file's bytes, a PIL image, an array (H, W, 3) or (H, W) of uint8 or uint16 in RGB or grey, a
    torch tensor (3, H, W) of uint8 or of floats in [0, 1], or the way to one of these (Elsewhere). The EXIF
    orientation is applied, colour profiles are not. Of 16 bits the high byte is kept, as OpenCV does. Transparent
    photos are laid over white. Of an animation, a path gives the first frame and a PIL image its current one.
    `reading` chooses bands and stretches levels.

    Raises ImageError where this is not a photo, not a whole one, or one too large for this machine by what its file
    declares (SEGLOOP_MAX_PIXELS allows more), MachineError where memory runs out. Warns
    (PhotoWarning) where a photo is very likely not what it was meant to be: nearly black in 16 bits, one of several.
    """
    if isinstance(photo, np.ndarray):
        return from_array(photo, reading)
    if isinstance(photo, Image.Image):
        return from_pillow(photo, getattr(photo, "filename", "") or "the PIL image", reading)
    torch = sys.modules.get("torch")  # who holds a tensor has imported it
    if torch is not None and isinstance(photo, torch.Tensor):
        return from_tensor(photo, reading)
    if isinstance(photo, Elsewhere):
        found = photo.fetch()
        return _from_bytes(found, photo.name, reading) if isinstance(found, bytes) else read_image(found, reading)
    if isinstance(photo, (bytes, bytearray, memoryview)):
        return _from_bytes(bytes(photo), "the photo", reading)
    if isinstance(photo, (str, os.PathLike)):
        return _from_file(os.fsdecode(photo), reading)
    raise ImageError(
        f"{type(photo).__name__} is not a photo",
        "give a path, a file's bytes, a PIL image, an array (H, W, 3) or a tensor (3, H, W)",
    )


def _from_file(name: str, reading: Reading) -> np.ndarray:
    with open_file(name) as stream:
        return _from_stream(stream, name, reading)


def _from_bytes(data: bytes, name: str, reading: Reading) -> np.ndarray:
    if not data:
        raise ImageError(f"{name} is empty", "copy or download it again")
    return _from_stream(io.BytesIO(data), name, reading)


def _from_stream(stream: IO[bytes], name: str, reading: Reading) -> np.ndarray:
    head = stream.read(HEAD)
    try:
        if recognise(head) is TIFF:
            return _from_tiff(stream, name, reading, head)
        return _opened(stream, name, reading, head)
    except ImageError:
        if not png.is_png(head):
            raise
        stream.seek(0)
        return _repaired(stream.read(), name, reading)
    except SegloopError:
        raise
    except Exception as error:  # readers raise whatever a broken header makes them stumble over
        raise explain_failure(error, name, head) from error


def _opened(stream: IO[bytes], name: str, reading: Reading, head: bytes, frame: int = 0) -> np.ndarray:
    """By Pillow."""
    try:
        stream.seek(0)
        image = _open(stream, head)
        check_room(name, image.width, image.height)
        if isinstance(image, ImageFile.StubImageFile):  # known by name only
            raise Image.UnidentifiedImageError
        if frame:
            image.seek(frame)
        tell_of_others(image, name)
        deep = deep_colours(image, stream, name)
        if deep is None:
            return from_pillow(image, name, reading, head)
        return upright(to_rgb(deep, reading), orientation(image))
    except SegloopError:
        raise
    except Exception as error:
        raise explain_failure(error, name, head) from error


def _open(stream: IO[bytes], head: bytes) -> Image.Image:
    try:
        with quiet():
            return Image.open(stream)
    except Image.DecompressionBombError:
        if allowed_pixels() is None:
            raise
        with quiet(), without_limit():
            return Image.open(stream)
    except Image.UnidentifiedImageError:
        if recognise(head) is not HEIC_PHOTO or not find_spec("pillow_heif"):
            raise
    import pillow_heif

    pillow_heif.register_heif_opener()
    return Image.open(stream)


def _from_tiff(stream: IO[bytes], name: str, reading: Reading, head: bytes) -> np.ndarray:
    with tiff.opened(stream, name) as found:
        if found is None or found.plain:
            return _opened(stream, name, reading, head, (found and found.frame) or 0)
        return upright(to_rgb(tiff.stored(found, name, reading), reading), found.orientation)


def _repaired(data: bytes, name: str, reading: Reading) -> np.ndarray:
    """A PNG without what is damaged or too large beside its pixels. Raises as if it were read as it is."""
    failed: ImageError | None = None
    for whole, lost in png.repaired(data):
        try:
            rgb = _opened(io.BytesIO(whole), name, reading, whole[:HEAD])
        except ImageError as error:
            failed = failed or error
        else:
            if lost:
                note(f"{name} is damaged beside its pixels: its {lost} is left out", "save it again")
            return rgb
    assert failed is not None
    raise failed

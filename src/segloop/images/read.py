"""Photos as arrays: read and orient."""

import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image

from ..errors import ImageError, MachineError, SegloopError
from .paths import open_file

SHAPES = "give (H, W, 3) or (H, W), uint8 or uint16"
EXIF_ORIENTATION = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
DRAWINGS = {"EPS", "WMF"}  # to open one, Pillow starts Ghostscript or asks Windows
WIDE_GREY = {"PNG", "PPM"}  # 16-bit greys that some releases of Pillow unpack to mode I

_warning_filters = threading.Lock()


def read_image(photo: object) -> np.ndarray:
    """One photo of any accepted kind -> (H, W, 3) uint8 RGB, upright, a fresh array.

    `photo` is a path, a PIL image, an array (H, W, 3) or (H, W) of uint8 or uint16 in RGB or grey, or a torch
    tensor (3, H, W) of uint8 or of floats in [0, 1]. The EXIF orientation is applied. Of 16 bits the high byte
    is kept, as OpenCV does. Transparent photos are laid over white. Of an animation, a path gives the first
    frame and a PIL image its current one.

    Raises ImageError where this is not a photo or not a whole one, MachineError where memory runs out.
    """
    if isinstance(photo, np.ndarray):
        return _from_array(photo)
    if isinstance(photo, Image.Image):
        return _from_pillow(photo, getattr(photo, "filename", "") or "the PIL image")
    torch = sys.modules.get("torch")  # who holds a tensor has imported it
    if torch is not None and isinstance(photo, torch.Tensor):
        return _from_tensor(photo)
    if isinstance(photo, (str, os.PathLike)):
        return _from_file(os.fsdecode(photo))
    raise ImageError(
        f"{type(photo).__name__} is not a photo",
        "give a path, a PIL image, an array (H, W, 3) or a tensor (3, H, W)",
    )


def _from_array(photo: np.ndarray) -> np.ndarray:
    grey = photo.ndim == 2
    if not (grey or (photo.ndim == 3 and photo.shape[2] == 3)):
        raise ImageError(f"an array of shape {photo.shape} is not a photo", SHAPES)
    if photo.dtype.kind != "u" or photo.dtype.itemsize > 2:
        raise ImageError(f"an array of {photo.dtype} is not a photo", SHAPES)
    if photo.size == 0:
        raise ImageError(f"the array of shape {photo.shape} has no pixels", SHAPES)
    bytes_ = (photo >> 8 if photo.dtype.itemsize == 2 else photo).astype(np.uint8)
    return np.repeat(bytes_[..., None], 3, axis=2) if grey else np.ascontiguousarray(bytes_)


def _from_tensor(photo: Any) -> np.ndarray:
    shape = tuple(photo.shape)
    allowed = "give (3, H, W), uint8 or floats in [0, 1]; for several photos, a list"
    if len(shape) != 3 or shape[0] != 3 or 0 in shape:
        raise ImageError(f"a tensor of shape {shape} is not a photo", allowed)
    if str(photo.dtype) != "torch.uint8" and not photo.is_floating_point():
        raise ImageError(f"a tensor of {photo.dtype} is not a photo", allowed)
    levels = photo.detach().cpu()
    round_off = 0.5 / 255  # half a level beyond the ends is an earlier resize's overshoot, not a mistake
    if levels.is_floating_point():
        low, high = levels.min().item(), levels.max().item()  # both nan where there is one
        if not (round_off >= -low and round_off >= high - 1):
            raise ImageError(f"the tensor's values go from {low:.4g} to {high:.4g}", allowed)
        levels = (levels.float() * 255).round().clamp(0, 255)
    return np.ascontiguousarray(levels.numpy().astype(np.uint8).transpose(1, 2, 0))


def _from_file(name: str) -> np.ndarray:
    with open_file(name) as stream:
        try:
            with _quiet():
                image = Image.open(stream)
        except Exception as error:  # Pillow's readers raise whatever a broken header makes them stumble over
            raise _explain(error, name) from error
        return _from_pillow(image, name)


def _from_pillow(image: Image.Image, name: str) -> np.ndarray:
    if image.format in DRAWINGS:
        raise ImageError(f"{name} is a drawing ({image.format}), not a photo", "export it as PNG first")
    if 0 in image.size:
        raise ImageError(f"{name} has no pixels", "give a photo of at least 1x1")
    try:
        image.load()
        turn = UPRIGHT.get(_orientation(image))
        rgb = _to_rgb(image, name)
        return np.array(rgb if turn is None else rgb.transpose(turn))
    except SegloopError:
        raise
    except Exception as error:
        raise _explain(error, name) from error


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in WIDE_GREY):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        kind = "32-bit whole numbers" if image.mode == "I" else "floating-point numbers"
        raise ImageError(f"{name} holds {kind}, whose black and white are unknown", "save it with 8 or 16 bits")
    if image.mode == "La":
        image = image.convert("LA")  # the only way out of premultiplied grey
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def _orientation(image: Image.Image) -> Any:
    try:
        with _quiet():
            return image.getexif().get(EXIF_ORIENTATION)
    except Exception:  # a damaged EXIF block says nothing about the pixels
        return None


def _explain(error: Exception, name: str) -> SegloopError:
    if isinstance(error, MemoryError):
        return MachineError(f"{name} does not fit into memory", "make it smaller first")
    if isinstance(error, Image.DecompressionBombError):
        return ImageError(f"{name} has more pixels than is safe to open", "make it smaller first")
    if isinstance(error, Image.UnidentifiedImageError):
        return ImageError(f"{name} is not a photo that can be read", "convert it to JPEG or PNG first")
    return ImageError(f"{name} is damaged or cut off ({error})", "copy or download it again")


@contextmanager
def _quiet() -> Iterator[None]:
    """Pillow without its warnings. The filters are the whole process's, so one thread at a time changes them."""
    with _warning_filters, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield

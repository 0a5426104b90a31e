"""What Pillow has opened, as stored numbers and as bytes."""

from typing import IO, Any

import numpy as np
from PIL import Image

from ..common.kinds import recognise
from ..errors import ImageError, SegloopError, TooLargeError, TooManyPixelsError, memory_ran_out
from .levels import PLAIN, Reading, Stored, note, over_white, quiet, to_rgb
from .room import SETTING

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
ONE_PICTURE = {"MPO", "PSD", "TIFF"}  # frames are views or layers of what is shown; TIFF's pages are told elsewhere


def from_pillow(image: Image.Image, name: str, reading: Reading = PLAIN, head: bytes = b"") -> np.ndarray:
    """An opened image -> (H, W, 3) uint8 RGB, upright, a fresh array; `head` are its file's first bytes, if known.

    Numbers are taken as they are stored, an embedded colour profile is not applied (OpenCV and the published
    pipelines do so too); CIELab is turned into sRGB, CMYK by the simple formula. Raises ImageError, MachineError.
    """
    if image.format in DRAWINGS:
        raise ImageError(f"{name} is a drawing ({image.format}), not a photo", "export it as PNG first")
    if 0 in image.size:
        raise ImageError(f"{name} has no pixels", "give a photo of at least 1x1")
    try:
        if _misread(image):
            raise ImageError(f"{name} is a TIFF that Pillow reads wrong", "give its path, not the PIL image")
        image.load()
        turn = orientation(image)
        return upright(_rgb(image, name, reading), turn)
    except SegloopError:
        raise
    except Exception as error:
        raise explain_failure(error, name, head) from error


def upright(rgb: np.ndarray, turned: Any) -> np.ndarray:
    """(H, W, 3) uint8 turned as an EXIF orientation asks; what is none is left alone."""
    turn = UPRIGHT.get(turned)
    return rgb if turn is None else np.array(Image.fromarray(rgb).transpose(turn))


def orientation(image: Image.Image) -> Any:
    """What EXIF says of how the camera was held, 1 to 8; anything where it is damaged."""
    try:
        with quiet():
            return image.getexif().get(EXIF_ORIENTATION)
    except Exception:  # a damaged EXIF block says nothing about the pixels
        return None


def deep_colours(image: Image.Image, stream: IO[bytes], name: str) -> Stored | None:
    """All 16 bits of a colour PNG or PPM, of which Pillow alone keeps 8; None for others. `image` is not loaded."""
    tile: Any = image.tile[0] if len(image.tile or ()) == 1 else (None, None, 0, None)
    codec, _, offset, arguments = tile
    if image.format == "PPM" and codec == "ppm" and arguments[0] == "RGB" and arguments[1] > 255:
        stream.seek(offset)
        values = np.frombuffer(stream.read(image.width * image.height * 6), ">u2")
        return Stored(name, values.astype(np.uint16).reshape(image.height, image.width, 3), arguments[1])
    if image.format != "PNG" or arguments not in ("RGB;16B", "RGBA;16B", "LA;16B"):
        return None
    high = np.asarray(image).astype(np.uint16)
    clear = image.info.get("transparency")
    if arguments == "LA;16B":  # four bytes a pixel, as RGBA of 8 bits has
        whole = _unpacked_as(stream, "RGBA").astype(np.uint16)
        return Stored(name, whole[..., :1] << 8 | whole[..., 1:2], 65535, whole[..., 2].astype(np.uint8))
    values = high << 8 | _unpacked_as(stream, arguments.replace("16B", "16L"))
    if arguments == "RGBA;16B":
        return Stored(name, values[..., :3], 65535, high[..., 3].astype(np.uint8))
    alpha = None if clear is None else np.where((values == clear).all(axis=2), 0, 255).astype(np.uint8)
    return Stored(name, values, 65535, alpha)


def explain_failure(error: Exception, name: str, head: bytes = b"") -> SegloopError:
    """What went wrong while a photo was read, and what to do about it."""
    if memory_ran_out(error):
        return TooLargeError(f"{name} does not fit into memory", "make it smaller first")
    if isinstance(error, Image.DecompressionBombError):
        remedy = f"make it smaller first, or allow more with {SETTING}=PIXELS"
        return TooManyPixelsError(f"{name} has more pixels than is safe to open", remedy)
    kind = recognise(head) if head else None
    unidentified = isinstance(error, Image.UnidentifiedImageError)
    if kind and (unidentified or not kind.readable):
        return ImageError(kind.sentence(name), kind.remedy)
    if unidentified:
        return ImageError(f"{name} is not a photo that can be read", "convert it to JPEG or PNG first")
    return ImageError(f"{name} is damaged or cut off ({error})", "copy or download it again")


def tell_of_others(image: Image.Image, name: str) -> None:
    """Say so where a file holds more pictures than the one that is opened."""
    sizes = image.info.get("sizes", ())  # of an icon
    if len(sizes) > 1:
        what = f"{name} holds {len(sizes)} pictures, the largest ({image.width}x{image.height}) is taken"
        note(what, "save another as a file of its own")
    try:
        frames = 1 if image.format in ONE_PICTURE else getattr(image, "n_frames", 1)
    except Exception:  # a broken frame further on says nothing about the first
        return
    if frames > 1:
        note(f"{name} holds {frames} frames, the first is taken", "save others as files of their own")


def _unpacked_as(stream: IO[bytes], raw: str) -> np.ndarray:
    """A PNG's pixels with its bytes read in another way."""
    stream.seek(0)
    with quiet():
        image = Image.open(stream)
    codec, extents, offset, _ = image.tile[0]
    image.tile = [(codec, extents, offset, raw)]
    return np.asarray(image)


def _misread(image: Image.Image) -> bool:
    """Whether this is a TIFF that Pillow scrambles or inverts without a word; from a path, `tiff` reads it."""
    tags = getattr(image, "tag_v2", {})
    bits, formats = tags.get(258, (1,)), tags.get(339, (1,))
    planes, negative, reversed_ = tags.get(284) == 2, tags.get(262) == 0, tags.get(266) == 2
    if max(bits) > 8:
        return planes or negative
    plain = tags.get(259, 1) == 1  # no work for libtiff
    return (plain and planes and (reversed_ or len(bits) == 1)) or (max(bits) == 8 and 2 in formats)


def _rgb(image: Image.Image, name: str, reading: Reading) -> np.ndarray:
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in WIDE_GREY):
        values = np.asarray(image).astype(np.uint16)
        clear = image.info.get("transparency")
        alpha = np.where(values == clear, 0, 255).astype(np.uint8) if isinstance(clear, int) else None
        return to_rgb(Stored(name, values[..., None], 65535, alpha), reading)
    if image.mode in ("I", "F"):
        return to_rgb(Stored(name, np.asarray(image)[..., None], None), reading)
    image = _simple(image)
    clear = image.mode in ("LA", "RGBA")
    if reading == PLAIN:
        return over_white(np.asarray(image.convert("RGBA"))) if clear else np.array(_in_colour(image))
    values = np.asarray(image).reshape(image.height, image.width, -1)
    if reading.bands or not clear:
        return to_rgb(Stored(name, values, 255), reading)
    return to_rgb(Stored(name, values[..., :-1], 255, values[..., -1]), reading)


def _simple(image: Image.Image) -> Image.Image:
    """One of the modes L, LA, RGB, RGBA."""
    if image.mode == "LAB":
        return _from_lab(image)
    if image.mode == "La":
        image = image.convert("LA")  # the only way out of premultiplied grey
    if image.has_transparency_data:
        return image if image.mode == "LA" else image.convert("RGBA")
    if image.mode in ("L", "RGB"):
        return image  # `convert` would copy a large photo for nothing
    return image.convert("L" if image.mode == "1" else "RGB")


def _in_colour(image: Image.Image) -> Image.Image:
    return image if image.mode == "RGB" else image.convert("RGB")


def _from_lab(image: Image.Image) -> Image.Image:
    from PIL import ImageCms

    profiles = (ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"))
    converted = ImageCms.applyTransform(image, ImageCms.buildTransform(*profiles, "LAB", "RGB"))
    assert converted is not None  # only in place it is None
    return converted

"""A file that a visitor sent: its size is looked at before anything is unpacked."""

import io
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from PIL import Image

from ..errors import ImageError
from .limits import Limits
from .refusals import TOO_LARGE, Refusal

LONGEST = 120  # letters of a name
UNNAMED = "photo.jpg"


@dataclass(frozen=True)
class Upload:
    """The bytes of a photo, and what the visitor calls it: a word to show, never a path to open."""

    name: str
    data: bytes = field(repr=False)


def checked(name: str | None, data: bytes, limits: Limits) -> Upload:
    """A photo that may be unpacked. Raises ImageError for what is none, Refusal for one that is too large."""
    if not data:
        raise ImageError("no photo came", "choose a picture file")
    if len(data) > limits.upload:
        raise too_heavy(limits)
    check_size(_size(data), limits)
    return Upload(shown_name(name), data)


def too_heavy(limits: Limits) -> Refusal:
    """For a file above the limit."""
    return Refusal(TOO_LARGE, f"the file is larger than {limits.upload / 2**20:g} MiB", "make the photo smaller first")


def check_size(size: tuple[int, int], limits: Limits) -> None:
    """Raises Refusal for a photo of (height, width) above the limit."""
    height, width = size
    if width * height > limits.pixels:
        what = f"the photo has {width} x {height} pixels, more than {limits.pixels / 1e6:g} million"
        raise Refusal(TOO_LARGE, what, "make it smaller first")


def shown_name(name: str | None) -> str:
    """The last part of a name, without signs that could do anything."""
    signs = "".join(sign for sign in name or "" if sign.isprintable()).replace("\\", "/")
    return PurePosixPath(signs).name[-LONGEST:] or UNNAMED


def _size(data: bytes) -> tuple[int, int]:
    """(height, width) as the file's head declares it; (0, 0) where only a slower reader can say, or nobody."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.height, image.width
    except Image.DecompressionBombError:
        raise Refusal(TOO_LARGE, "the photo has far too many pixels", "make it smaller first") from None
    except Exception:  # readers raise whatever a broken header makes them stumble over
        return 0, 0

"""Whether a photo is too large, by the size that its file declares: before a pixel of it is decoded."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

from ..common.memory import free_memory
from ..common.visible import shortened
from ..errors import OptionError, TooLargeError, TooManyPixelsError

SETTING = "SEGLOOP_MAX_PIXELS"
A_PIXEL = 40  # bytes that segmenting takes of a photo's pixel, whatever the number of classes: measured
USUAL = 2**27  # pixels, where Pillow has no limit
SMALL = 2**24  # pixels, below which memory is not asked


def check_room(name: str, width: int, height: int) -> None:
    """Raises TooManyPixelsError for more pixels than are allowed, TooLargeError where memory would run out on them.

    SEGLOOP_MAX_PIXELS allows as many as it says, whatever memory there seems to be.
    """
    pixels, allowed = width * height, allowed_pixels()
    size = f"{shortened(name)} is {width}x{height}, {pixels / 1e6:.0f} million pixels"
    most = allowed or 2 * (Image.MAX_IMAGE_PIXELS or USUAL)  # where Pillow takes a photo for a bomb
    if pixels > most:
        more = f"make it smaller first, or allow more with {SETTING}={pixels}"
        raise TooManyPixelsError(f"{size}, more pixels than is safe to open ({most / 1e6:.0f})", more)
    if allowed or pixels < SMALL:
        return
    free = free_memory()
    if free is not None and pixels * A_PIXEL > free:
        what = f"{size}: segmenting it takes about {pixels * A_PIXEL / 2**30:.1f} GiB, and {free / 2**30:.1f} are free"
        more = f"make it smaller first, close other programs, or try it all the same with {SETTING}={pixels}"
        raise TooLargeError(what, more)


@contextmanager
def without_limit() -> Iterator[None]:
    """Pillow without its own limit, which is of the whole program: inside `quiet`, where one thread is at a time."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def allowed_pixels() -> int | None:
    """What SEGLOOP_MAX_PIXELS says; None where it is not set. Raises OptionError for what is no number of pixels."""
    said = os.environ.get(SETTING, "").strip()
    if not said:
        return None
    if not said.isascii() or not said.isdigit() or int(said) < 1:
        raise OptionError(f"{SETTING}={said[:40]!r} is no number of pixels", f"write one such as {SETTING}=400000000")
    return int(said)

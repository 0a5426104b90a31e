"""A TIFF file of more pixels than fit into memory, by bands of rows: together the bytes of the whole.

tifffile says what the numbers mean, as for photos that are read whole; rasterio reads rows of them, or Pillow.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

import numpy as np

from ..common.memory import free_memory
from ..errors import ImageError
from . import tiff
from .levels import Ends, Reading, Stored, check_bands, counts, ends_of, quiet, to_rgb
from .paths import open_file
from .tiff_rows import Segments, segments_of

NUMBERS = 2**23  # of a band, about
LOOKED_AT = 2**20  # pixels, to tell whether a scene is dark
CACHE = 64  # MiB of decoded tiles that GDAL keeps
BITS = (8, 16)
JPEG = 7
MOST = 2**26  # pixels of a row of JPEG tiles, which Pillow decodes together
AS_JPEG = {(tiff.YCBCR, 3), (tiff.RGB, 3), (tiff.BLACK_IS_ZERO, 1)}  # colours, samples
A_PIXEL = 4  # bytes that its map takes while it is written, at most
MISSING = "or label it by bands of rows: pip install 'segloop[geo]'"
AS_BANDS = (
    "by bands of rows only an upright TIFF of one picture is read, grey or RGB of 8 or 16 bits "
    "(gdal_translate -co TILED=YES -co COMPRESS=DEFLATE makes one)"
)
DAMAGED = "copy or download it again"


@dataclass(frozen=True)
class Scene:
    """Where its rows are, and how its numbers are read."""

    path: str
    size: tuple[int, int]  # (H, W)
    indexes: tuple[int, ...]  # bands that are read, from 1
    reading: Reading  # of those
    meaning: tiff.Found
    step: int  # rows of a band
    jpeg: Segments | None = None  # where they are coded so
    ends: Ends | None = None  # numbers that become black and white

    def bands(self) -> Iterator[np.ndarray]:
        """(r, W, 3) uint8 RGB, from top to bottom: together what `read_image` gives. Raises ImageError."""
        for stored in self.stored():
            yield to_rgb(stored, self.reading, self.ends)

    def stored(self) -> Iterator[Stored]:
        """The same as the file has them."""
        from rasterio.windows import Window

        height, width = self.size
        for start in range(0, height, self.step):
            rows = min(self.step, height - start)
            if self.jpeg:
                values = self._decoded(self.jpeg, start, start + rows)
            else:
                values = self._read(window=Window(0, start, width, rows))
            yield self._meant(values, part=True)

    def sample(self) -> Stored:
        """Pixels that lie evenly in it; of 8 bits, of which nothing is to be said, one that is black."""
        if self.meaning.page.bitspersample == 8:
            return self._meant(np.zeros((1, 1, len(self.indexes)), np.uint8), part=False)
        less = 1 + int((self.size[0] * self.size[1] / LOOKED_AT) ** 0.5)
        shape = (len(self.indexes), *(-(-side // less) for side in self.size))
        return self._meant(self._read(out_shape=shape), part=False)

    def _decoded(self, jpeg: Segments, start: int, stop: int) -> np.ndarray:
        try:
            with open_file(self.path) as stream:
                return jpeg.rows(stream, start, stop)[..., [band - 1 for band in self.indexes]]
        except (OSError, ValueError, SyntaxError) as error:  # Pillow's, of broken data
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> ImageError:
        return ImageError(f"{self.path} is damaged or cut off ({error})", DAMAGED)

    def _read(self, **what: Any) -> np.ndarray:
        import rasterio
        from rasterio.errors import RasterioError

        try:
            with rasterio.Env(GDAL_CACHEMAX=CACHE):
                with quiet():  # it warns of files without a place on earth
                    file = rasterio.open(self.path)
                with file:
                    return np.moveaxis(file.read(list(self.indexes), **what), 0, 2)
        except RasterioError as error:
            raise self._damaged(error) from error

    def _meant(self, values: np.ndarray, part: bool) -> Stored:
        page = self.meaning.page
        found = tiff.meant(page, self.path, self.reading, values, page.bitspersample, part)
        return replace(found, empty=None) if self.meaning.plain else found  # Pillow does not know of it


def scene_of(path: Any, reading: Reading, refused: ImageError) -> Scene:
    """A photo that `read_image` has `refused` for its size, to be read by bands.

    A stretch looks at all rows first. Raises `refused`, with what would help, where it is nothing that can be read so.
    """
    if not isinstance(path, str) or not path.lower().endswith((".tif", ".tiff")):
        raise refused
    if not find_spec("rasterio"):
        raise type(refused)(refused.what, f"{refused.remedy}, {MISSING}")
    with open_file(path) as stream, tiff.opened(stream, path) as meaning:
        if meaning is None or not _simple(meaning):
            raise type(refused)(refused.what, f"{refused.remedy}; {AS_BANDS}")
        page, free = meaning.page, free_memory()
        if free is not None and page.imagewidth * page.imagelength * A_PIXEL > free:
            raise refused  # not even the map has room
        check_bands(path, page.samplesperpixel, reading)
        indexes = reading.bands or tuple(range(1, page.samplesperpixel + 1))
        block = page.tilelength if page.is_tiled else page.rowsperstrip
        rows = max(1, NUMBERS // (page.imagewidth * len(indexes)))
        jpeg = segments_of(page) if int(page.compression) == JPEG else None
        step = -(-rows // block) * block if block < rows or jpeg else rows
        own = replace(reading, bands=tuple(range(1, len(indexes) + 1)) if reading.bands else None)
        scene = Scene(path, (page.imagelength, page.imagewidth), indexes, own, meaning, step, jpeg)
    if reading.stretch != "none":
        found = np.zeros(2**16, np.int64)
        for part in scene.stored():
            found += counts(part, own)
        return replace(scene, ends=ends_of(found, reading.stretch))
    to_rgb(scene.sample(), own)  # says what is to be said of the whole
    return scene


def _simple(found: tiff.Found) -> bool:
    """Whether rasterio gives the numbers that `read_image` does."""
    page = found.page
    if found.frame != 0 or found.orientation != 1 or page.sampleformat != 1 or page.bitspersample not in BITS:
        return False
    if tiff.ASSOCIATED in map(int, page.extrasamples):
        return False
    colours = int(page.photometric)
    if int(page.compression) == JPEG:
        block = page.tilelength if page.is_tiled else page.rowsperstrip
        few = page.imagewidth * min(block, page.imagelength) <= MOST
        return found.plain and few and page.planarconfig == 1 and (colours, page.samplesperpixel) in AS_JPEG
    return colours in (tiff.RGB, tiff.BLACK_IS_ZERO)

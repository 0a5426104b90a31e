"""Label maps as GeoTIFF, with the reference system and the place of the scenes that they are of."""

import io
import json
import warnings
from typing import Any

import numpy as np

from ..common.visible import counted
from ..errors import ImageError, Notice, OptionError
from ..results.filters import unlabelled
from ..results.palette import palette
from ..sources.photos import Photo
from .maps import Maps
from .outcomes import GEO_TAG, IS_GEOTIFF

MISSING = "pip install 'segloop[geo]'"
FOLDER = "geotiff"
SUFFIXES = (".tif", ".tiff")
UPRIGHT = 274  # TIFF's tag of the orientation


def geotiff(maps: Maps) -> str:
    """`geotiff/NAME.tif` for each scene that has a reference system: class numbers, their colours, its place on earth.

    Pixels without a class are its "no data". Scenes without a reference, or whose file is turned, get none, and are
    told.
    """
    try:
        import rasterio  # noqa: F401
    except ImportError:
        raise OptionError("this format needs the package rasterio", MISSING) from None
    without = made = 0
    for photo, one in maps:
        reference = _reference(photo, one.size)
        if reference is None:
            without += 1
        else:
            made += 1
            data = encoded(maps.labels(one), maps.classes, reference)
            maps.place.write(f"{FOLDER}/{one.photo}.tif", data, IS_GEOTIFF)
    if without:
        what = f"{counted(without, 'photo')} without a reference system {'has' if without == 1 else 'have'} no GeoTIFF"
        warnings.warn(Notice(f"{what}; the PNG is there"), stacklevel=2)
    return f"{FOLDER}/" if made else ""


def encoded(labels: np.ndarray, classes: list[str], reference: dict[str, Any]) -> bytes:
    """(H, W) class numbers as a GeoTIFF of 8 or 16 bits, compressed, in tiles."""
    from rasterio.io import MemoryFile

    nothing = unlabelled(len(classes))
    kind = np.uint8 if nothing < 256 else np.uint16
    how = {"driver": "GTiff", "count": 1, "compress": "deflate", "tiled": True, "blockxsize": 256, "blockysize": 256}
    height, width = labels.shape
    with MemoryFile() as file:
        with file.open(height=height, width=width, dtype=kind, nodata=nothing, **how, **reference) as scene:
            scene.write(labels.astype(kind, copy=False), 1)
            scene.update_tags(**{GEO_TAG: json.dumps(classes)})
            if kind is np.uint8:
                scene.write_colormap(1, {number: tuple(colour) for number, colour in enumerate(palette(256).tolist())})
        return file.read()


def _reference(photo: Photo, size: tuple[int, int]) -> dict[str, Any] | None:
    """Where a scene lies, as rasterio takes it; None where its file does not say so for the pixels of the map."""
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    if not photo.place.lower().endswith(SUFFIXES):
        return None
    try:
        file = photo.file if isinstance(photo.file, str) else photo.file.fetch()
    except ImageError:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(file if isinstance(file, str) else io.BytesIO(file)) as scene:
                points, system = scene.gcps
                if scene.shape != size or _is_turned(file):
                    return None
                if points and system:
                    return {"gcps": points, "crs": system}
                return {"crs": scene.crs, "transform": scene.transform} if scene.crs else None
    except RasterioError:
        return None


def _is_turned(file: str | bytes) -> bool:
    """Whether the file asks for its pixels to be turned, which GDAL does not do."""

    import tifffile

    with tifffile.TiffFile(file if isinstance(file, str) else io.BytesIO(file)) as tiff:
        return tiff.pages[0].tags.valueof(UPRIGHT, default=1) != 1  # type: ignore[union-attr]

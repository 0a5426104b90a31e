"""Files of a whole labelling, made of its maps when all are done: adding one is adding a row."""

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from ..common.stores import is_address
from ..errors import OptionError, nearest
from ..results.segmentation import Together
from .columns import dataset, parquet
from .geo import geotiff
from .maps import Maps
from .outcomes import CONFIDENCE, TOGETHER
from .tarred import webdataset
from .yolo import yolo

MAPS = "png"  # the maps themselves, which every labelling has

Export = Callable[[Maps], str]
"""(all maps) -> the name of the file or folder that it made in their place."""


def collected(maps: Maps, together: Together) -> str:
    """A format's one file of all photos, such as COCO's, one photo in memory at a time."""
    root = "/" if is_address(maps.photos.root) or not maps.photos.root else maps.photos.root
    with together.collect(maps.record.folder / together.name, maps.classes) as collection:
        for photo, one in maps:
            collection.add(Path(root, maps.path(photo)), maps.labels(one))
        collection.write(root)
    maps.place.moved(together.name)
    return together.name


EXPORTS: dict[str, Export] = {
    **{name: partial(collected, together=together) for name, together in TOGETHER.items()},
    "parquet": parquet,
    "parquet-rle": partial(parquet, rle=True),
    "datasets": dataset,
    "webdataset": webdataset,
    "geotiff": geotiff,
    "yolo": yolo,
}
"""Formats of a whole labelling, beside its maps."""

PACKAGES = dict.fromkeys(("parquet", "parquet-rle", "datasets"), ("pyarrow", "parquet")) | {
    "geotiff": ("rasterio", "geo")
}
"""What some need, and the extra that brings it; looked for before the work begins."""


def exports_of(formats: str) -> list[str]:
    """ "png,coco" -> what is meant beside the maps, each once. Raises OptionError naming the nearest, or a package."""
    names = list(dict.fromkeys(name.strip() for name in formats.split(",")))
    for name in names:
        if name not in (MAPS, CONFIDENCE, *EXPORTS):
            raise OptionError(
                f"there is no format {name!r} of many photos", nearest(name, [MAPS, CONFIDENCE, *EXPORTS])
            )
    for name in names:
        package, extra = PACKAGES.get(name, ("", ""))
        if package and not find_spec(package):
            raise OptionError(f"the format {name} needs the package {package}", f"pip install 'segloop[{extra}]'")
    return [name for name in names if name != MAPS]

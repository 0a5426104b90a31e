"""Files of many results."""

import os
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

from ..errors import OptionError
from .annotations import collecting
from .segmentation import Segmentation


def save_coco(results: Iterable[Segmentation], path: str | Path, *, polygons: bool = False) -> Path:
    """Write one COCO file for many photos, such as those that `Segmenter.stream` yields, one in memory at a time.

    `file_name` is a photo's path below the folder that all have in common; images come by name, and image and
    annotation ids count from 1, so that the bytes do not depend on the order of `results`. A mask is compressed run
    lengths, with `polygons` the outlines of its regions, which pycocotools draws as exactly the same mask. A file
    that is there is replaced.

    Raises OptionError where no result came, one has no `source`, two are of one photo, or their classes differ;
    OutputError and MachineError as `Segmentation.save`.
    """
    waiting = iter(results)
    first = next(waiting, None)
    if first is None:
        raise OptionError("no result came", "give at least one Segmentation")
    with collecting(Path(path), first.classes, polygons) as collection:
        for number, result in enumerate(chain([first], waiting), start=1):
            if not result.source:
                what = f"result {number} has no source, so that COCO cannot name its photo"
                raise OptionError(what, 'say it with dataclasses.replace(result, source="photo.jpg")')
            if result.classes != first.classes:
                remedy = "segment all photos with the same words, or write a file for each list"
                raise OptionError(f"{result.source} has other classes than {first.source}", remedy)
            if os.path.abspath(result.source) in collection.photos:
                raise OptionError(f"{result.source} came twice", "give one result for each photo")
            collection.add(result.source, result.labels)
        collection.write()
    return Path(path)

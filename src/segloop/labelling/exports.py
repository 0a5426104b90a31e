"""Files of a whole labelling, made of its maps when all are done: adding one is adding a row."""

from collections.abc import Callable, Iterator
from functools import partial

from ..errors import OptionError, nearest
from ..labels.read import stored_values
from ..results.annotations import collecting
from .outcomes import COCO_FILES, Labelled, Labellings
from .sources import Photos

MAPS = "png"  # the maps themselves, which every labelling has

Export = Callable[[Labellings, Photos, int], str]
"""(a labelling whose shards are all done, its photos, how many shards) -> the name of the file that it wrote."""


def coco(record: Labellings, photos: Photos, shards: int, form: str) -> str:
    """One COCO file, a mask of run lengths or polygons for each class of a photo, one photo in memory at a time."""
    paths = {photo.name: photo.path for photo in photos}
    target = record.folder / COCO_FILES[form]
    with collecting(target, record.inputs["classes"], polygons=form == "coco-polygons") as collection:
        for one in labelled(record, shards):
            collection.add(paths[one.photo], stored_values(record.folder / one.labels))
        collection.write(str(photos.root))
    return target.name


def labelled(record: Labellings, shards: int) -> Iterator[Labelled]:
    """Photos that have a map, in order."""
    for shard in range(shards):
        yield from (one for one in record.outcomes(shard) or [] if isinstance(one, Labelled))


EXPORTS: dict[str, Export] = {form: partial(coco, form=form) for form in COCO_FILES}
"""Formats of a whole labelling, beside its maps."""


def exports_of(formats: str) -> list[str]:
    """ "png,coco" -> the exports that are meant, each once. Raises OptionError naming the nearest."""
    names = list(dict.fromkeys(name.strip() for name in formats.split(",")))
    for name in names:
        if name != MAPS and name not in EXPORTS:
            raise OptionError(f"there is no format {name!r} of many photos", nearest(name, [MAPS, *EXPORTS]))
    return [name for name in names if name != MAPS]

"""Files of a whole labelling, made of its maps when all are done: adding one is adding a row."""

from collections.abc import Callable, Iterator
from functools import partial

from ..errors import OptionError, nearest
from ..labels.read import stored_values
from ..results.segmentation import Together
from .outcomes import CONFIDENCE, TOGETHER, Labelled, Labellings
from .sources import Photos

MAPS = "png"  # the maps themselves, which every labelling has

Export = Callable[[Labellings, Photos, int], str]
"""(a labelling whose shards are all done, its photos, how many shards) -> the name of the file that it wrote."""


def collected(record: Labellings, photos: Photos, shards: int, together: Together) -> str:
    """A format's one file of all photos, such as COCO's, one photo in memory at a time."""
    paths = {photo.name: photo.path for photo in photos}
    target = record.folder / together.name
    with together.collect(target, record.inputs["classes"]) as collection:
        for one in labelled(record, shards):
            collection.add(paths[one.photo], stored_values(record.folder / one.labels))
        collection.write(str(photos.root))
    return target.name


def labelled(record: Labellings, shards: int) -> Iterator[Labelled]:
    """Photos that have a map, in order."""
    for shard in range(shards):
        yield from (one for one in record.outcomes(shard) or [] if isinstance(one, Labelled))


EXPORTS: dict[str, Export] = {name: partial(collected, together=together) for name, together in TOGETHER.items()}
"""Formats of a whole labelling, beside its maps."""


def exports_of(formats: str) -> list[str]:
    """ "png,coco" -> what is meant beside the maps, each once. Raises OptionError naming the nearest."""
    names = list(dict.fromkeys(name.strip() for name in formats.split(",")))
    for name in names:
        if name not in (MAPS, CONFIDENCE, *EXPORTS):
            raise OptionError(
                f"there is no format {name!r} of many photos", nearest(name, [MAPS, CONFIDENCE, *EXPORTS])
            )
    return [name for name in names if name != MAPS]

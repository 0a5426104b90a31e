"""All label maps of a labelling that is done, one at a time, for what is made of them."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL.PngImagePlugin import PngImageFile

from ..errors import ImageError
from ..sources.photos import Photo, Photos
from .outcomes import Labelled, Labellings
from .place import Place, place_of

PER_FILE = 1024  # photos of a shard that others read, about


@dataclass(frozen=True)
class Maps:
    """The photos that have a map, and where."""

    record: Labellings
    photos: Photos
    shards: Sequence[slice]  # of the run

    @property
    def classes(self) -> list[str]:
        """By number."""
        return self.record.inputs["classes"]

    @property
    def settings(self) -> dict[str, Any]:
        """What made the maps."""
        return self.record.inputs["settings"]

    @property
    def place(self) -> Place:
        """Where results lie."""
        return place_of(self.record)

    def __iter__(self) -> Iterator[tuple[Photo, Labelled]]:
        """In the photos' order."""
        for number in range(len(self.shards)):
            yield from self.part(number)

    def part(self, number: int) -> Iterator[tuple[Photo, Labelled]]:
        """Those of a shard of the run."""
        outcomes = self.record.outcomes(number) or []
        for photo, one in zip(self.photos[self.shards[number]], outcomes, strict=True):
            if isinstance(one, Labelled):
                yield photo, one

    def files(self) -> list[range]:
        """Shards of the run that go together into a file, so that names and bytes depend on the photos alone."""
        together = max(1, PER_FILE // self.settings["shard"])
        parts = len(self.shards)
        return [range(start, min(start + together, parts)) for start in range(0, parts, together)]

    def path(self, photo: Photo) -> str:
        """A photo's path below the source."""
        return self.photos.below(photo)

    def png(self, one: Labelled) -> bytes:
        """A map's file. Raises ImageError where it is gone, MachineError."""
        return self.place.read(one.labels)

    def labels(self, one: Labelled) -> np.ndarray:
        """A map, (H, W) whole numbers. Raises as `png`."""
        try:
            return np.asarray(PngImageFile(io.BytesIO(self.png(one))))  # `Image.open` refuses large ones
        except ImageError:
            raise
        except Exception as error:  # Pillow raises whatever a broken file makes it stumble over
            what = f"{self.place}/{one.labels} is damaged"
            raise ImageError(what, "put it back, or label again with --overwrite") from error

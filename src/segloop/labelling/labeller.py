"""Labelling from Python: results of a source one after another, and a callable for batches of other libraries."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..errors import ImageError, OptionError, nearest
from ..line.segmenter import Segmenter
from ..results.filters import EVERYTHING, Filter
from ..results.segmentation import Segmentation
from ..sources.find import photos_of
from ..sources.photos import Photos
from ..words.vocabulary import Vocabulary


def iter_results(
    source: Photos | str | Path,
    segmenter: Segmenter,
    words: Vocabulary | Sequence[str],
    *,
    column: str | None = None,
    fps: str | float | None = None,
    scores: bool = False,
    keep: Filter = EVERYTHING,
    on_error: Callable[[str, ImageError], None] | None = None,
) -> Iterator[Segmentation]:
    """Segment all photos of a source, in the order of their names; nothing is written.

    A source, `column` and `fps` are those of `photos_of`: a folder, a list, tar shards, videos, addresses ... Of each
    result, `source` says where its photo lies. A photo that cannot be used goes to `on_error`, with its place, and is
    passed over; without `on_error` its ImageError is raised.
    """
    photos = source if isinstance(source, Photos) else photos_of(str(source), column, fps=fps)
    told = on_error and (lambda file, error: on_error(os.fspath(file), error))
    yield from segmenter.stream((photo.file for photo in photos), words, scores=scores, keep=keep, on_error=told)


class Labeller:
    """Batches of photos to batches of label maps, as `datasets.Dataset.map(batched=True)`, a DataLoader and Ray ask.

    Called with a mapping, it takes the photos of `column` and returns {into: maps}, with `others` all columns beside
    them (Ray replaces a batch by what comes back; datasets adds it). Called with a sequence of photos it returns the
    maps, so that it is a `collate_fn` too. A map is (H, W) uint8, uint16 above 255 classes; with `pictures` a PIL
    image, which datasets keeps as PNG. Photos are paths, bytes, PIL images, arrays, tensors, or datasets' records of
    bytes and path. One that cannot be used raises its ImageError; with `on_error` it is told, and its map is None.
    """

    def __init__(
        self,
        segmenter: Segmenter | str | Path,
        words: Vocabulary | Sequence[str],
        *,
        column: str = "image",
        into: str = "labels",
        others: bool = False,
        pictures: bool = False,
        keep: Filter = EVERYTHING,
        on_error: Callable[[ImageError], None] | None = None,
        **options: Any,
    ) -> None:
        """With a model's name instead of a Segmenter, `options` open it, as `Segmenter.from_pretrained` takes them.

        So an actor of Ray is made from plain values. Raises ModelError, OptionError, VocabularyError.
        """
        opened = segmenter if isinstance(segmenter, Segmenter) else Segmenter.from_pretrained(segmenter, **options)
        self.segmenter = opened
        self.words = opened.encoded(words if isinstance(words, Vocabulary) else Vocabulary(words))
        self.column, self.into, self.others, self.pictures = column, into, others, pictures
        self.keep, self.on_error = keep, on_error
        keep.check(self.words.classes)

    @property
    def classes(self) -> list[str]:
        """By number."""
        return self.words.classes

    def __call__(self, batch: Any) -> Any:
        """A batch -> its maps, as the class says. Raises ImageError, OptionError for a batch without the column."""
        if not isinstance(batch, Mapping):
            return self._maps(list(batch))
        if self.column not in batch:
            raise OptionError(f"the batch has no column {self.column!r}", nearest(self.column, map(str, batch)))
        found = {self.into: self._maps(list(batch[self.column]))}
        return {**batch, **found} if self.others else found

    def _maps(self, photos: Sequence[Any]) -> list[Any]:
        files = [_file(photo) for photo in photos]
        failed: list[int] = []

        def told(file: Any, error: ImageError) -> None:
            if self.on_error is None:
                raise error
            self.on_error(error)
            failed.append(next(number for number, one in enumerate(files) if one is file and number not in failed))

        results = self.segmenter.stream(files, self.words, keep=self.keep, on_error=told)
        maps = [self._map(result) for result in results]
        for number in sorted(failed):
            maps.insert(number, None)
        return maps

    def _map(self, result: Segmentation) -> Any:
        few = len(result.classes) <= 255
        labels = result.labels.astype(np.uint8 if few else np.uint16)
        return Image.fromarray(labels) if self.pictures else labels


def _file(photo: Any) -> Any:
    """What `read_image` takes, of a record that the datasets library keeps of a picture that is not decoded too."""
    if isinstance(photo, Mapping):
        return photo.get("bytes") or photo.get("path")
    return photo

"""A labelling in work: photos through the networks, label maps onto the disk."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ..common.visible import shortened
from ..errors import ImageError, TooLargeError, TooManyPixelsError
from ..line.bands import BandedPhoto
from ..line.segmenter import Segmenter
from ..line.steps import Cut
from ..line.steps import Photo as Ready
from ..maps.decide import Decision, Rule, decide_strips
from ..results.filters import EVERYTHING, Filter
from ..results.segmentation import confidence_png, label_png
from ..runs.inputs import images_in
from ..sources.photos import Photo, Photos
from ..words.vocabulary import Vocabulary
from ..words.voting import Text
from .large import Finished, finished, joined, read_by_bands
from .outcomes import CONFIDENCE, LABELS, LAYOUT, Labelled, Labellings, Outcome, Unlabelled
from .place import place_of

LONGEST = 250  # bytes of a file's name that every disk takes, its suffix included


@dataclass(frozen=True)
class Labelling:
    """What `runs.work` does for a labelling; see `Job` there."""

    record: Labellings
    segmenter: Segmenter
    text: Text  # (Q, E)
    rule: Rule
    classes: list[str]
    photos: Photos
    shards: Sequence[slice]
    missing: frozenset[int]
    keep: Filter = EVERYTHING
    confidence: bool = False  # whether a picture of it is written too

    @property
    def batch(self) -> int:
        """As the segmenter has it."""
        return self.segmenter.batch

    @property
    def images(self) -> int:
        """How many are still to be done."""
        return images_in(self.shards, self.missing)

    def items(self, shard: int) -> Sequence[Photo]:
        """The photos of a shard."""
        return self.photos[self.shards[shard]]

    def place(self, item: Photo) -> str:
        """Where the photo lies."""
        return item.place

    def read(self, item: Photo) -> Ready | BandedPhoto:
        """Read, resize and cut; what is too large for that, by bands of rows.

        Raises ImageError, also where its map's name would be too long or lead elsewhere.
        """
        _check_name(item)
        try:
            return self.segmenter.prepare(item.file)
        except (TooManyPixelsError, TooLargeError) as error:
            refused = error
        return read_by_bands(self.segmenter, self.keep, item.file, refused)

    def copied(self, item: Photo, made: Labelled) -> Labelled:
        """The map of an equal photo under this one's name. Raises as `read` and `done`."""
        _check_name(item)
        for folder in (LABELS, CONFIDENCE) if self.confidence else (LABELS,):
            there = place_of(self.record).read(f"{folder}/{made.photo}.png")
            self._write(f"{folder}/{item.name}.png", folder, there)
        return replace(made, photo=item.name, labels=f"{LABELS}/{item.name}.png")

    def cut(self, photo: Cut) -> Cut:
        """The photo and its windows."""
        return photo

    def tiles(self, photos: Sequence[Cut]) -> list[Tensor]:
        """Through the networks."""
        return self.segmenter.tiles(photos, self.text)

    @torch.no_grad()
    def decide(self, photo: Cut, tiles: Tensor) -> Decision | Finished:
        """Average, decide; of a photo that is read by bands, finish too."""
        parts = self.segmenter.parts(photo, tiles, self.rule.query_index)
        if isinstance(photo, BandedPhoto):
            strips = decide_strips(parts, photo.target[1], self.rule)
            return joined((self._finished(strip) for _, strip in strips), photo.target, self.classes)
        return self.segmenter.decided(photo, parts, self.rule)

    def done(self, item: Photo, photo: Cut, decided: Decision | Finished, tiles: Tensor) -> Outcome:
        """Its label map, written. Raises OptionError where a stranger lies there, OutputError, MachineError."""
        made = decided if isinstance(decided, Finished) else self._finished(decided)
        below = f"{LABELS}/{item.name}.png"
        self._write(below, LABELS, label_png(made.labels, self.classes))
        if made.levels is not None:
            self._write(f"{CONFIDENCE}/{item.name}.png", CONFIDENCE, confidence_png(made.levels))
        pixels = {number: count for number, count in enumerate(made.counts.tolist()) if count}
        return Labelled(item.name, below, photo.target, pixels)

    def _finished(self, decided: Decision) -> Finished:
        return finished(decided, self.keep, self.classes, self.confidence)

    def _write(self, below: str, folder: str, data: bytes) -> None:
        place_of(self.record).write(below, data, LAYOUT.kept[folder])

    def failed(self, item: Photo, error: ImageError) -> Outcome:
        """Its line of failed.jsonl."""
        return Unlabelled(item.name, item.place, error.what, error.remedy)


def _check_name(item: Photo) -> None:
    if len(f"{Path(item.name).name}.png".encode("utf-8", "surrogateescape")) > LONGEST:
        raise ImageError(f"{shortened(item.place)} has a name that is too long for its label map", "shorten it")
    if not item.apart:
        raise ImageError(f"{shortened(item.place)} has a name that leads out of its folder", "rename it")


def job_of(
    record: Labellings,
    segmenter: Segmenter,
    words: Vocabulary,
    photos: Photos,
    shards: Sequence[slice],
    missing: Iterable[int],
    keep: Filter,
    confidence: bool,
) -> Labelling:
    """The work that a labelling still has; `words` are encoded."""
    rows = words.embeddings
    assert rows is not None
    rule, todo = segmenter.rule(words), frozenset(missing)
    return Labelling(record, segmenter, rows, rule, words.classes, photos, shards, todo, keep, confidence)

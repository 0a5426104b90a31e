"""A run of an evaluation in work: photos beside their label maps, labels into counts."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ..common.earlier import check_replaced
from ..common.files import write_whole
from ..data.datasets import OpenDataset, Sample
from ..errors import ImageError
from ..labels.strays import uncounted
from ..results.segmentation import label_png
from ..runs.inputs import images_in
from ..scoring.boundary import boundary_counts
from ..scoring.metrics import Void, confusion
from ..scoring.tally import Failed, Outcome, Scored
from .record import MAP, MAPS, Evaluation
from .source import Live, Ready, Source, write_scores
from .task import Settled


@dataclass(frozen=True)
class Compared:
    """A photo and what it is compared with."""

    photo: Ready
    truth: np.ndarray  # (H0, W0)


@dataclass(frozen=True)
class Counting:
    """One run in work: where labels come from, what they are counted against, where outcomes go."""

    record: Evaluation
    data: OpenDataset
    source: Source
    classes: list[str]
    void: Void
    shards: list[slice]
    missing: frozenset[int]
    boundary: bool = False
    maps: bool = False
    encode: Callable[[Any, Tensor], bytes] | None = None  # a photo and its windows' cosines, where they are kept

    @property
    def images(self) -> int:
        """How many are still to be done."""
        return images_in(self.shards, self.missing)

    @property
    def batch(self) -> int:
        """As the source has it."""
        return self.source.batch

    def items(self, shard: int) -> Sequence[Sample]:
        """The samples of a shard."""
        return self.data.samples[self.shards[shard]]

    def place(self, item: Sample) -> Path:
        """The photo's file."""
        return item.image

    def read(self, item: Sample) -> Compared:
        """The photo and its label map, of the photo's size. Raises ImageError."""
        photo = self.source.read(item)
        return Compared(photo, self.data.truth(item, photo.target))

    def cut(self, photo: Compared) -> Any:
        """The photo and its windows."""
        return photo.photo

    def tiles(self, photos: Sequence[Compared]) -> list[Tensor]:
        """Cosines of each photo's windows, (n, Q, h, w) float32."""
        return self.source.tiles([one.photo for one in photos])

    def decide(self, photo: Compared, tiles: Tensor) -> np.ndarray:
        """(H0, W0) int64, index into the classes."""
        return self.source.labels(photo.photo, tiles)

    def done(self, item: Sample, photo: Compared, decided: np.ndarray, tiles: Tensor) -> Outcome:
        """Its counts; map and cosines are kept where they are wanted. Raises ImageError, OutputError, MachineError."""
        if self.maps:
            target = self.record.folder / MAPS / f"{item.name}.png"
            check_replaced({target: MAP}, "move it away, or choose another --out")
            write_whole(target, label_png(decided, self.classes))
        if self.encode:
            write_scores(self.record.folder, item, self.encode(photo.photo, tiles))
        return self.counted(item, photo, decided)

    def counted(self, item: Sample, photo: Compared, labels: np.ndarray) -> Outcome:
        """Its labels against what they are compared with. Raises ImageError."""
        count, truth = len(self.classes), photo.truth
        cells = confusion(labels, truth, count, self.void)
        edges = boundary_counts(labels, truth, count, self.void) if self.boundary else None
        left = uncounted(truth, count, self.data.dataset.rule)
        return Scored(item.name, (labels.shape[0], labels.shape[1]), cells, edges, left)

    def failed(self, item: Sample, error: ImageError) -> Outcome:
        """Its line of failed.jsonl."""
        return Failed(item.name, str(item.image), error.what, error.remedy)


def job_of(settled: Settled, record: Evaluation, missing: Iterable[int]) -> Counting:
    """The work that a settled task still has: its missing shards."""
    task = settled.task
    rows = settled.vocabulary.embeddings
    assert rows is not None
    source = Live(settled.segmenter, rows, settled.rule)
    return Counting(
        record=record,
        data=settled.data,
        source=source,
        classes=settled.vocabulary.classes,
        void=settled.void,
        shards=settled.shards,
        missing=frozenset(missing),
        boundary=task.boundary,
        maps=task.maps,
        encode=source.encode if task.scores else None,
    )

"""What a labelling would take, from a few of its photos: how many, how long, how large."""

import time
from dataclasses import dataclass

from ..errors import ImageError
from ..line.segmenter import Segmenter
from ..results.segmentation import label_png
from ..runs.forecast import TRIED, spread
from ..sources.photos import Photos
from ..words.vocabulary import Vocabulary


@dataclass(frozen=True)
class Forecast:
    """Figures of the photos that were tried, and of all by them."""

    photos: int
    tried: int
    unusable: int  # of those tried
    seconds: float  # for all, on this machine
    bytes: int  # of all label maps


def forecast(photos: Photos, segmenter: Segmenter, vocabulary: Vocabulary, tried: int = TRIED) -> Forecast:
    """Label a few photos spread over the source, write nothing, and multiply. Words are encoded before."""
    encoded = segmenter.encoded(vocabulary)
    chosen = [photo.file for photo in photos[spread(len(photos), tried)]]
    failed: list[ImageError] = []
    start = time.perf_counter()
    results = segmenter.stream(chosen, encoded, on_error=lambda _, error: failed.append(error))
    sizes = [len(label_png(result.labels, result.classes)) for result in results]
    factor = len(photos) / len(chosen)
    seconds = (time.perf_counter() - start) * factor
    return Forecast(len(photos), len(chosen), len(failed), seconds, round(sum(sizes) * factor))

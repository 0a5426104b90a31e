"""What a labelling would take, from a few of its photos: how many, how long, how large."""

import time
from dataclasses import dataclass
from typing import Any

from ..common.attempts import attempt
from ..errors import ImageError, TooLargeError, TooManyPixelsError
from ..line.segmenter import Segmenter
from ..results.filters import EVERYTHING
from ..results.segmentation import label_png
from ..runs.forecast import TRIED, spread
from ..sources.photos import Photos
from ..words.vocabulary import Vocabulary
from .large import read_by_bands


@dataclass(frozen=True)
class Forecast:
    """Figures of the photos that were tried, and of all by them."""

    photos: int
    tried: int
    unusable: int  # of those tried
    large: int  # of those tried: scenes that are read by bands of rows, too large for a trial and in no other figure
    seconds: float  # for all, on this machine
    bytes: int  # of all label maps


def forecast(photos: Photos, segmenter: Segmenter, vocabulary: Vocabulary, tried: int = TRIED) -> Forecast:
    """Label a few photos spread over the source, write nothing, and multiply. Words are encoded before."""
    encoded = segmenter.encoded(vocabulary)
    chosen = [photo.file for photo in photos[spread(len(photos), tried)]]
    failed: list[ImageError] = []
    large = 0

    def told(photo: Any, error: ImageError) -> None:
        nonlocal large
        if isinstance(error, (TooManyPixelsError, TooLargeError)):
            found = attempt(lambda: read_by_bands(segmenter, EVERYTHING, photo, error), photo)
            if not isinstance(found, ImageError):
                large += 1
                return
        failed.append(error)

    start = time.perf_counter()
    results = segmenter.stream(chosen, encoded, on_error=told)
    sizes = [len(label_png(result.labels, result.classes)) for result in results]
    factor = len(photos) / len(chosen)
    seconds = (time.perf_counter() - start) * factor
    return Forecast(len(photos), len(chosen), len(failed), large, seconds, round(sum(sizes) * factor))

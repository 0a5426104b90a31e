"""What a labelling would take, from a few of its photos: how many, how long, how large."""

import time
from dataclasses import dataclass

from ..errors import ImageError
from ..line.segmenter import Segmenter
from ..results.segmentation import label_png
from ..words.vocabulary import Vocabulary
from .sources import Photos

TRIED = 8  # photos, spread over the source


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
    step = max(1, len(photos) // tried)
    chosen = [photo.path for photo in photos[::step][:tried]]
    failed: list[ImageError] = []
    start = time.perf_counter()
    results = segmenter.stream(map(str, chosen), encoded, on_error=lambda _, error: failed.append(error))
    sizes = [len(label_png(result.labels, result.classes)) for result in results]
    factor = len(photos) / len(chosen)
    seconds = (time.perf_counter() - start) * factor
    return Forecast(len(photos), len(chosen), len(failed), seconds, round(sum(sizes) * factor))


def duration(seconds: float) -> str:
    """In the unit that people would say: "40 seconds", "12 minutes", "3.5 hours", "9 days"."""
    for most, unit in ((90, 1), (90 * 60, 60), (48 * 3600, 3600)):
        if seconds < most:
            name = {1: "seconds", 60: "minutes", 3600: "hours"}[unit]
            return f"{seconds / unit:.2g} {name}"
    return f"{seconds / 86400:.3g} days"

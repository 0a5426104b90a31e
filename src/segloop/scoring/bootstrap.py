"""How far scores would move with other images: percentile bootstrap over images, from their counts alone.

A draw takes n of the n images with replacement, adds up their counts and scores the sum, as the data set itself is
scored. Counts are integers and their sums stay below 2**53, so that float64 holds them exactly: the result depends on
neither the order of summation nor the number of threads. A class that a draw does not hold is left out of that draw's
means, and its missing values out of its percentiles. Of few images, all draws may so lie beside the score itself:
bounds are widened to hold it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from ..errors import OptionError
from .metrics import Counts, Scores, scores

BLOCK = 1 << 21  # image weights, or class totals, held at once: 16 MB
NOISE = 1e-9  # percent; a smaller difference is rounding


@dataclass(frozen=True)
class Interval:
    """Bounds in percent, or in percentage points for a difference; NaN where no draw defines the score."""

    low: float
    high: float


class Intervals(TypedDict):
    """One interval for each score; of IoU an array (C, 2) of low and high."""

    aAcc: Interval
    mIoU: Interval
    mAcc: Interval
    IoU: np.ndarray


@dataclass(frozen=True)
class Difference:
    """A gain (second minus first run) in percentage points; NaN where a run does not define the score.

    p answers "could this gain be chance?" and is two-sided: twice the smaller of (1 + draws with a difference <= 0) /
    (1 + draws) and (1 + draws with a difference >= 0) / (1 + draws), counting the draws that define it. The 1 is the
    data set itself, so that p is never 0. It is at most 1, and at least `least`: more draws do not make up for images.
    """

    value: float
    interval: Interval
    p: float
    images: int = 0  # that say something of it: for a class those that hold it, in label or prediction

    @property
    def least(self) -> float:
        """The smallest p that can come of so few images: 2**(1 - images), the least that any test of signs can say."""
        return min(1.0, 2.0 ** (1 - self.images))


@dataclass(frozen=True)
class Paired:
    """Differences between two runs over the same images."""

    aAcc: Difference
    mIoU: Difference
    mAcc: Difference
    IoU: tuple[Difference, ...]  # C of them


def intervals(counts: Counts, draws: int = 1000, seed: int = 0, level: float = 0.95) -> Intervals:
    """Counts of n images (n, C) -> the interval that holds `level` of the draws, for each score, in percent.

    One image says nothing of others: where only one holds a class, or is there at all, the interval is NaN. Raises
    OptionError for fewer than one draw, a level outside (0, 1), or counts that are not (n, C).
    """
    _check([counts], draws, level)
    bounds = _bounds(_drawn([counts], draws, seed)[0], level, _figures(scores(counts.total())))
    bounds[_holding(counts) < 2] = np.nan
    pixels, overlap, accuracy = (Interval(*row) for row in bounds[:3].tolist())
    return {"aAcc": pixels, "mIoU": overlap, "mAcc": accuracy, "IoU": bounds[3:]}


def paired(first: Counts, second: Counts, draws: int = 1000, seed: int = 0, level: float = 0.95) -> Paired:
    """Counts of two runs over the same images in the same order, (n, C) each -> what the second gains on the first.

    Both runs are scored on the same draws: images that are hard for both do not blur the difference. Images without a
    class say nothing of it, so that the p of a class is bounded by the images that hold it (`Difference.least`).
    Raises OptionError as `intervals`, and for runs of different images or classes.
    """
    _check([first, second], draws, level)
    old, new = _drawn([first, second], draws, seed)
    gains = new - old
    value = _figures(scores(second.total())) - _figures(scores(first.total()))
    images = _holding(first, second)
    bounds = _bounds(gains, level, value)
    bounds[images < 2] = np.nan
    chance = np.where(np.isnan(value), np.nan, _chance(gains, images))
    table = zip(value.tolist(), bounds.tolist(), chance.tolist(), images.tolist(), strict=True)
    found = (Difference(gain, Interval(*ends), p, count) for gain, ends, p, count in table)
    pixels, overlap, accuracy, *classes = found
    return Paired(pixels, overlap, accuracy, tuple(classes))


def _holding(*runs: Counts) -> np.ndarray:
    """How many images say something of each figure, (3 + C,) int64: those with pixels, and those with the class.

    A class is held where a label map has it or a run predicts it: both count for its union.
    """
    holds = sum(counts.label + counts.prediction for counts in runs) > 0
    return np.concatenate([np.repeat(holds.any(1).sum(), 3), holds.sum(0)])


def _drawn(runs: Sequence[Counts], draws: int, seed: int) -> list[np.ndarray]:
    """Figures (draws, 3 + C) of each run, every run on the same draws."""
    images, classes = runs[0].label.shape
    rng = np.random.default_rng(seed)
    step = max(1, BLOCK // max(images, classes))
    blocks = []
    for start in range(0, draws, step):
        weights = _weights(rng, min(step, draws - start), images)
        blocks.append([_figures(scores(_weighted(weights, counts))) for counts in runs])
    return [np.concatenate(figures) for figures in zip(*blocks, strict=True)]


def _weights(rng: np.random.Generator, draws: int, images: int) -> np.ndarray:
    """How often each image is drawn, (draws, n) float64 from a multinomial; whole numbers make it, not logarithms."""
    picks = rng.integers(max(images, 1), size=(draws, images))
    picks += images * np.arange(draws)[:, None]
    return np.bincount(picks.ravel(), minlength=draws * images).reshape(draws, images).astype(np.float64)


def _weighted(weights: np.ndarray, counts: Counts) -> Counts:
    """Totals (draws, C) in float64, which BLAS multiplies and int64 it does not."""
    parts = (counts.intersection, counts.prediction, counts.label)
    return Counts(*(weights @ part.astype(np.float64) for part in parts))


def _figures(made: Scores) -> np.ndarray:
    """aAcc, mIoU, mAcc, then IoU by class: (..., 3 + C)."""
    return np.concatenate([np.stack([made.aAcc, made.mIoU, made.mAcc], -1), made.IoU], -1)


def _bounds(figures: np.ndarray, level: float, value: np.ndarray) -> np.ndarray:
    """(draws, K) and what they are draws of, (K,) -> (K, 2): percentiles that leave (1 - level) / 2 on either side."""
    tail = (1 - level) / 2
    bounds = np.full((figures.shape[1], 2), np.nan)
    known = ~np.isnan(figures).all(0)  # nanquantile warns of columns without a value, and fails on no column
    if known.any():
        bounds[known] = np.nanquantile(figures[:, known], [tail, 1 - tail], axis=0).T
    return np.stack([np.fmin(bounds[:, 0], value), np.fmax(bounds[:, 1], value)], 1)


def _chance(gains: np.ndarray, images: np.ndarray) -> np.ndarray:
    """(draws, K) and how many images say something of each, (K,) -> p of `Difference`, (K,)."""
    losses, wins = (gains <= NOISE).sum(0), (gains >= -NOISE).sum(0)
    share = (1 + np.minimum(losses, wins)) / (1 + (~np.isnan(gains)).sum(0))
    return np.clip(2 * share, np.minimum(1.0, 2.0 ** (1 - images)), 1.0)


def _check(runs: Sequence[Counts], draws: int, level: float) -> None:
    if draws < 1:
        raise OptionError(f"{draws} draws make no interval", "use 1000")
    if not 0 < level < 1:
        raise OptionError(f"an interval cannot hold {level} of the draws", "give a share between 0 and 1 such as 0.95")
    shapes = [counts.label.shape for counts in runs]
    if any(len(shape) != 2 for shape in shapes):
        raise OptionError(f"counts of shape {shapes[0]} are not one row an image", "stack the images' counts to (n, C)")
    if len(set(shapes)) > 1:
        listed = " and ".join(f"{images} images of {classes} classes" for images, classes in shapes)
        raise OptionError(f"runs over {listed} are not pairs", "compare runs over the same images and classes")

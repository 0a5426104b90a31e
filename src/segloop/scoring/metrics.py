"""Pixel counts of predictions against labels, and the scores made of them (spec 6).

Everything is counted in integers, image by image; sums over images, scores and intervals come later and from the
counts alone. A map that is 255 somewhere is read in one of two ways. `corrected`: whatever is not a class is void.
`reference`, as the published evaluations: exactly 255 is void, even where it is a class, and any other value that is
no class (65535) still costs the class predicted there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from ..errors import ImageError, OptionError, nearest

Void = Literal["corrected", "reference"]
IGNORED = 255
DENSE = 1 << 22  # up to so many cells a table is faster than sorting; beyond, it costs too much memory


@dataclass(frozen=True, eq=False)
class Counts:
    """Areas in pixels, each (..., C) int64; leading axes are images. A union is prediction + label - intersection."""

    intersection: np.ndarray
    prediction: np.ndarray
    label: np.ndarray

    def total(self) -> "Counts":
        """The sum over all leading axes: (..., C) -> (C,)."""
        classes = self.label.shape[-1]
        parts = (self.intersection, self.prediction, self.label)
        return Counts(*(part.reshape(-1, classes).sum(0) for part in parts))

    @staticmethod
    def stack(images: "Sequence[Counts]") -> "Counts":
        """Counts (C,) of n images -> (n, C), in the same order. Raises OptionError for none at all."""
        _some(images)
        return Counts(
            np.stack([image.intersection for image in images]),
            np.stack([image.prediction for image in images]),
            np.stack([image.label for image in images]),
        )


@dataclass(frozen=True, eq=False)
class Confusion:
    """Pixels by label and prediction, of one image or of many: cells that are not zero, sorted by (label, prediction).

    C in place of a class stands for "outside". A label is outside only in reference mode, a prediction only where a
    map holds numbers that no class has.
    """

    classes: int
    label: np.ndarray  # (P,) int64, 0..C
    prediction: np.ndarray  # (P,) int64, 0..C
    pixels: np.ndarray  # (P,) int64, at least 1

    def counts(self) -> Counts:
        """Areas of each class, (C,) int64: I_k, Z_k and Y_k of spec 6."""
        same = self.label == self.prediction
        return Counts(
            _areas(self.label[same], self.pixels[same], self.classes),
            _areas(self.prediction, self.pixels, self.classes),
            _areas(self.label, self.pixels, self.classes),
        )

    @staticmethod
    def total(images: "Sequence[Confusion]") -> "Confusion":
        """The sum of many. Raises OptionError for none at all, or for different numbers of classes."""
        _some(images)
        sizes = sorted({image.classes for image in images})
        if len(sizes) > 1:
            listed = " and ".join(map(str, sizes))
            raise OptionError(f"counts of {listed} classes do not add up", "use one class list for all images")
        base = sizes[0] + 1
        codes = np.concatenate([image.label * base + image.prediction for image in images])
        found, where = np.unique(codes, return_inverse=True)
        pixels = np.zeros(len(found), np.int64)
        np.add.at(pixels, where, np.concatenate([image.pixels for image in images]))
        return Confusion(sizes[0], found // base, found % base, pixels)


@dataclass(frozen=True, eq=False)
class Scores:
    """In percent, NaN where nothing is defined: floats and (C,) float64 from counts (C,).

    From counts with leading axes each field has them too: (D,) and (D, C).
    """

    aAcc: Any  # share of the pixels that are right
    mIoU: Any  # means over the classes where IoU or Acc is defined
    mAcc: Any
    IoU: np.ndarray
    Acc: np.ndarray


def confusion(prediction: np.ndarray, label: np.ndarray, classes: int, void: Void = "corrected") -> Confusion:
    """Count two maps (H, W) of class numbers, any integer dtype, against each other.

    Raises ImageError for maps of different sizes or of something else than integers, OptionError for an unknown
    `void`. Maps without a pixel that counts give no cells.
    """
    predicted, labelled, counted = numbered(prediction, label, classes, void)
    base = classes + 1
    codes = (labelled * base + predicted)[counted]
    if base * base <= DENSE:
        table = np.bincount(codes, minlength=base * base)
        found = np.flatnonzero(table)
        pixels = table[found]
    else:
        found, pixels = np.unique(codes, return_counts=True)
    return Confusion(classes, found // base, found % base, pixels.astype(np.int64, copy=False))


def numbered(
    prediction: np.ndarray, label: np.ndarray, classes: int, void: Void
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both maps as (H, W) int64 with C for every number outside 0..C-1, and which pixels count, (H, W) bool.

    Raises as `confusion`.
    """
    if void not in get_args(Void):
        raise OptionError(f"there is no reading of void {void!r}", nearest(void, get_args(Void)))
    predicted, labelled = _integers(prediction, "prediction"), _integers(label, "label map")
    if predicted.shape != labelled.shape:
        sizes = [f"{height}x{width}" for height, width in (labelled.shape, predicted.shape)]
        what = f"the label map has {sizes[0]} pixels and the photo {sizes[1]} (height x width)"
        raise ImageError(what, "put the label map that belongs to this photo beside it")
    outside = (labelled < 0) | (labelled >= classes)
    counted = ~outside if void == "corrected" else labelled != IGNORED
    labelled = np.where(outside, classes, labelled)
    predicted = np.where((predicted < 0) | (predicted >= classes), classes, predicted)
    return predicted, labelled, counted


def scores(counts: Counts) -> Scores:
    """IoU_k = I_k / U_k, Acc_k = I_k / Y_k, aAcc = sum I / sum Y and the means over classes, in percent (spec 6).

    0/0 is NaN and left out of the means: a class in neither map has no IoU, one without labels no Acc. A class that
    is predicted but not labelled has IoU 0, which counts. Not rounded; published figures have two decimals.
    """
    right = 100.0 * counts.intersection
    iou = _ratio(right, counts.prediction + counts.label - counts.intersection)
    acc = _ratio(right, counts.label)
    return Scores(_ratio(right.sum(-1), counts.label.sum(-1))[()], _mean(iou), _mean(acc), iou, acc)


def _mean(values: np.ndarray) -> Any:
    """Over the last axis, without NaN; NaN where nothing is left."""
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values, 0.0).sum(-1), defined.sum(-1))[()]


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    below = np.asarray(below)
    return np.divide(above, below, out=np.full(below.shape, np.nan), where=below != 0)


def _areas(index: np.ndarray, pixels: np.ndarray, classes: int) -> np.ndarray:
    """Pixels summed by class, (C,) int64, what is outside left out."""
    sums = np.zeros(classes + 1, np.int64)
    np.add.at(sums, index, pixels)
    return sums[:classes]


def _integers(values: np.ndarray, name: str) -> np.ndarray:
    array = np.asarray(values)
    if array.ndim != 2 or array.dtype.kind not in "biu":
        what = f"a {name} of shape {array.shape} and {array.dtype} does not hold one class number a pixel"
        raise ImageError(what, "give integers of shape (H, W)")
    return array.astype(np.int64, copy=False)


def _some(images: Sequence[Any]) -> None:
    if not images:
        raise OptionError("there are no counts to add up", "count at least one image")

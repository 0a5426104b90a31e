"""Boundary IoU (Cheng et al., CVPR 2021): areas of the rims of masks instead of whole masks.

The rim of a class is its mask without the mask eroded by d steps of a 3x3 square, outside the image being outside the
mask: the pixels with anything else in the (2d+1)x(2d+1) square around them. A pixel is no rim of its class exactly if
that square lies in the image and holds one class only, so that one pass over a map serves all its classes.
"""

import math

import numpy as np

from ..errors import OptionError
from .metrics import Counts, Void, numbered


def boundary_counts(
    prediction: np.ndarray, label: np.ndarray, classes: int, void: Void = "corrected", width: float = 0.02
) -> Counts:
    """Areas of the rims in two maps (H, W) of class numbers -> (C,) int64 each, fit for `scores`.

    `width` is the rim's share of the image's diagonal; d = max(1, round(width * diagonal)) pixels. Void pixels, as
    in `metrics.confusion`, belong to no class in either map, so that masks end there. Raises what `confusion` raises,
    and OptionError for a width that is not positive.
    """
    if not (width > 0 and math.isfinite(width)):
        raise OptionError(f"a boundary of {width} of the diagonal is none", "give a positive share such as 0.02")
    predicted, labelled, counted = numbered(prediction, label, classes, void)
    predicted[~counted] = classes
    labelled[~counted] = classes
    steps = max(1, round(width * math.hypot(*labelled.shape)))
    rim, true_rim = ~interior(predicted, steps), ~interior(labelled, steps)
    both = rim & true_rim & (predicted == labelled)
    return Counts(_areas(labelled[both], classes), _areas(predicted[rim], classes), _areas(labelled[true_rim], classes))


def interior(values: np.ndarray, steps: int) -> np.ndarray:
    """Where all of the (2 steps + 1) square around a pixel lies in the map and has one value: (H, W) -> (H, W) bool.

    Runs of equal values are numbered; a window is even if its two ends lie in one run. First along the rows, then down
    the columns, where a run ends at a row that is not even as well.
    """
    found = np.zeros(values.shape, bool)
    if min(values.shape) <= 2 * steps:
        return found
    across = np.zeros(values.shape, np.int32)
    np.cumsum(values[:, 1:] != values[:, :-1], axis=1, out=across[:, 1:])
    even = across[:, 2 * steps :] == across[:, : -2 * steps]
    middle = values[:, steps:-steps]
    breaks = ~even
    breaks[1:] |= middle[1:] != middle[:-1]
    down = np.cumsum(breaks, axis=0, dtype=np.int32)
    found[steps:-steps, steps:-steps] = (down[2 * steps :] == down[: -2 * steps]) & even[: -2 * steps]
    return found


def _areas(values: np.ndarray, classes: int) -> np.ndarray:
    return np.bincount(values, minlength=classes + 1)[:classes].astype(np.int64, copy=False)

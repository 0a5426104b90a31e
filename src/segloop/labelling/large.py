"""Scenes too large to be read whole: who may be labelled by bands of rows, and how bands become one map."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..common.records import switches_of
from ..errors import ImageError
from ..line.bands import BandedPhoto
from ..line.segmenter import Segmenter
from ..maps.decide import Decision
from ..results.filters import Filter, unlabelled
from ..results.segmentation import confidence_levels


@dataclass(frozen=True)
class Finished:
    """A map, or some rows of one, as it is written."""

    labels: np.ndarray  # (H, W), whole numbers
    levels: np.ndarray | None  # (H, W) uint8, how sure they are, where asked for
    counts: np.ndarray  # (C,) int64, pixels of each class


def read_by_bands(segmenter: Segmenter, keep: Filter, photo: Any, refused: ImageError) -> BandedPhoto:
    """A photo that was `refused` for its size. Raises ImageError where settings need its whole map, or else."""
    plan = segmenter.plan
    whole = (step for step in plan.steps if step.is_on)
    steps = [name for step in whole for name in sorted(switches_of(step))]
    if segmenter.network.joint or segmenter.masks:
        joins = f"with another method: {plan.method} joins its windows"
        how = joins if segmenter.network.joint else "without --masks: masks cover the whole photo"
        raise type(refused)(refused.what, f"{refused.remedy}, or label it {how}")
    without = [f"with --set {name}=none" for name in steps] + ["without --min-area"] * (keep.min_area > 0)
    if without:
        remedy = f"{refused.remedy}, or label it {' and '.join(without)}: that looks at the whole map"
        raise type(refused)(refused.what, remedy)
    return segmenter.prepare_by_bands(photo, refused)


def finished(decided: Decision, keep: Filter, classes: list[str], confidence: bool) -> Finished:
    """What is kept of a decision, and how often each class occurs."""
    sure = decided.confidence.cpu().numpy()
    labels = keep(decided.labels.cpu().numpy(), sure, classes)
    counts = np.bincount(labels.ravel(), minlength=len(classes))[: len(classes)]
    return Finished(labels, confidence_levels(sure) if confidence else None, counts)


def joined(strips: Iterable[Finished], size: tuple[int, int], classes: list[str]) -> Finished:
    """Strips from top to bottom as one map of a byte a pixel, two above 255 classes, and one more for `levels`."""
    labels = np.empty(size, np.uint8 if unlabelled(len(classes)) < 256 else np.uint16)
    levels, counts, top = None, np.zeros(len(classes), np.int64), 0
    for strip in strips:
        rows = slice(top, top + len(strip.labels))
        labels[rows] = strip.labels
        if strip.levels is not None:
            levels = np.empty(size, np.uint8) if levels is None else levels
            levels[rows] = strip.levels
        counts += strip.counts
        top = rows.stop
    return Finished(labels, levels, counts)

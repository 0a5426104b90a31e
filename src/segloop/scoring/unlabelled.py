"""Classes that a run predicts and no label holds: their IoU is 0 and counts, so that a few pixels move a mean."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..common.visible import counted
from .metrics import Counts, scores

SHOWN = 3  # names that are told


@dataclass(frozen=True)
class Unlabelled:
    """What such classes do to a run's mIoU."""

    names: tuple[str, ...]
    pixels: int  # predicted as one of them
    labelled: int  # classes that labels hold
    mIoU: float  # over those, in percent


def unlabelled(counts: Counts, names: Sequence[str]) -> Unlabelled | None:
    """Of areas (C,) summed over a run; None where every predicted class is in some label."""
    strange = (counts.label == 0) & (counts.prediction > 0)
    if not strange.any() or not counts.label.any():
        return None
    own = in_labels(counts)
    found = tuple(name for name, there in zip(names, strange, strict=True) if there)
    pixels = int(counts.prediction[strange].sum())
    return Unlabelled(found, pixels, len(own.label), float(scores(own).mIoU))


def in_labels(counts: Counts, labelled: np.ndarray | None = None) -> Counts:
    """Areas (..., C) of the classes (C,) bool that labels hold; by default those of their own total."""
    there = counts.total().label > 0 if labelled is None else labelled
    return Counts(counts.intersection[..., there], counts.prediction[..., there], counts.label[..., there])


def sentence(found: Unlabelled) -> str:
    """ "orange is in no label, and the 5 pixels predicted so make its IoU 0: over the 10 of the labels mIoU is ..."."""
    shown = ", ".join(found.names[:SHOWN]) + (" ..." if found.names[SHOWN:] else "")
    which = found.names[0] if len(found.names) == 1 else f"{len(found.names)} classes ({shown})"
    verb, whose = ("is", "its") if len(found.names) == 1 else ("are", "their")
    pixels = f"{counted(found.pixels, 'pixel')} predicted so {'makes' if found.pixels == 1 else 'make'}"
    over = f"over the {found.labelled} of the labels mIoU is {found.mIoU:.2f}"
    return f"{which} {verb} in no label, and {pixels} {whose} IoU 0: {over}"

"""What of a label map is kept: only some classes, only what is sure, no small patches; the rest has no class."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from importlib import import_module
from typing import Any

import numpy as np

from ..errors import OptionError, UserError, nearest


def unlabelled(classes: int) -> int:
    """The value of pixels without a class in maps of that many classes: 255, and 65535 where 255 may be a class."""
    return 255 if classes <= 255 else 65535


@dataclass(frozen=True)
class Filter:
    """Which pixels keep their class; by default all. Raises OptionError for values that mean nothing."""

    only: tuple[str, ...] = ()  # names of the classes that are kept; none: all
    min_confidence: float = 0.0  # probability of the class at a pixel, from 0 to 1
    min_area: float = 0.0  # of a region, in pixels; below 1 a share of the photo's pixels

    def __post_init__(self) -> None:
        object.__setattr__(self, "only", tuple(self.only))
        if not 0 <= self.min_confidence <= 1:
            raise OptionError(f"a confidence of {self.min_confidence} is impossible", "choose one from 0 to 1")
        if not (math.isfinite(self.min_area) and self.min_area >= 0):
            raise OptionError(f"an area of {self.min_area} is impossible", "give pixels, or a share below 1")

    @property
    def is_on(self) -> bool:
        """Whether it can take a pixel's class away."""
        return self != EVERYTHING

    def as_settings(self) -> dict[str, Any]:
        """What of it is in use, fit for JSON."""
        changed = {one.name: getattr(self, one.name) for one in fields(self) if getattr(self, one.name) != one.default}
        return {name: list(value) if name == "only" else value for name, value in changed.items()}

    def check(self, classes: Sequence[str]) -> None:
        """Raises OptionError for a name that is no class, UserError where a library is missing; before any work."""
        for name in self.only:
            if name not in classes:
                raise OptionError(f"{name!r} is to be kept and is none of the classes", nearest(name, list(classes)))
        if self.min_area:
            _scipy()

    def __call__(self, labels: np.ndarray, confidence: np.ndarray, classes: Sequence[str]) -> np.ndarray:
        """(H, W) int64 labels and (H, W) float32 probabilities of them -> labels, `unlabelled` where nothing is kept.

        Classes first, then confidence, then the regions of what is left: pixels of one class that hang together over
        their edges.
        """
        if not self.is_on:
            return labels
        self.check(classes)
        keep = confidence >= np.float32(self.min_confidence)
        if self.only:
            keep &= np.isin(labels, [classes.index(name) for name in self.only])
        nothing = unlabelled(len(classes))
        kept = np.where(keep, labels, nothing)
        least = self.min_area if self.min_area >= 1 else self.min_area * labels.size
        if least > 1:
            kept[_small(kept, (int(one) for one in np.unique(kept) if one != nothing), least)] = nothing
        return kept


EVERYTHING = Filter()


def _small(labels: np.ndarray, numbers: Iterable[int], least: float) -> np.ndarray:
    """(H, W) bool: pixels of these classes in regions of fewer than `least` pixels."""
    measure = _scipy()
    small = np.zeros(labels.shape, bool)
    for number in numbers:
        regions, count = measure.label(labels == number)
        sizes = np.bincount(regions.ravel(), minlength=count + 1)
        sizes[0] = labels.size  # what is of another class
        small |= (sizes < least)[regions]
    return small


def _scipy() -> Any:
    try:
        return import_module("scipy.ndimage")
    except ImportError as error:
        what = "regions are measured by scipy, which is not installed"
        raise UserError(what, "install it: pip install 'segloop[regions]'") from error

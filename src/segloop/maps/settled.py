"""Steps on labels, behind deciding: votes of regions, masks that are drawn anew.

A step is a frozen record of its constants, whose fields are settings, and a function of what is known of the photo.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from .decide import Blocks, Decision, Rule
from .refine import Switched


@dataclass(frozen=True)
class Settled:
    """A photo behind deciding: what a step on labels may look at."""

    decision: Decision  # (H0, W0) each
    parts: Blocks  # the cosines that it was decided from
    rule: Rule
    image: np.ndarray | None = None  # (H0, W0, 3) uint8 RGB; None where only cosines were kept
    regions: np.ndarray | None = None  # (H0, W0) int64 region ids, 0 for none; None where no masks came
    models: Mapping[str, Any] = field(default_factory=dict)  # networks that came besides CLIP, by their settings


class LabelStep(Switched, Protocol):
    """What changes labels at the photo's own size."""

    def __call__(self, settled: Settled) -> Decision:
        """The labels that take the place of those decided. Raises OptionError where it lacks what it needs."""

"""From a photo's decision to the result that a user holds."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import ImageError, OptionError
from ..maps.decide import Blocks, Decision, Rule, class_scores
from ..results.filters import Filter
from ..results.segmentation import Segmentation
from .steps import Photo, full_map, statistics

ALONE = "the only class; add --background (in Python background=True), or name what else there is, between commas"


def segmentation(
    photo: Photo,
    decision: Decision,
    classes: Sequence[str],
    settings: Mapping[str, Any],
    keep: Filter,
    scores: np.ndarray | None,
) -> Segmentation:
    """What was decided, filtered and counted. `scores` are probabilities of classes, (C, H0, W0), where wanted."""
    names, sure = list(classes), decision.confidence.cpu().numpy()
    labels = keep(decision.labels.cpu().numpy(), sure, names)
    share, confidence = statistics(labels, sure, names)
    filtered = {"filter": keep.as_settings()} if keep.is_on else {}
    return Segmentation(
        labels=labels,
        classes=names,
        scores=scores,
        share=share,
        confidence=confidence,
        image=photo.image,
        source=photo.source,
        settings={**settings, **filtered},
        confidence_map=sure,
    )


def raised(photo: Any, error: ImageError) -> None:
    """What happens to a photo that cannot be used where nobody else cares."""
    raise error


def scores_of(parts: Blocks, shape: tuple[int, int, int], rule: Rule) -> np.ndarray:
    """Probabilities of classes over the whole photo: (C, H0, W0) float32."""
    return class_scores(full_map(parts, shape), rule).numpy()


def check_map(shape: tuple[int, int, int], limit: int) -> None:
    """Raises OptionError for a full map of cosines of more than `limit` bytes."""
    size = shape[0] * shape[1] * shape[2] * 4
    if size > limit:
        what = f"the cosine map would take {size / 2**30:.1f} GiB, more than {limit / 2**30:.1f}"
        raise OptionError(what, "call segmenter(photo, words), which works by strips, or raise limit=")


def tell_alone(classes: Sequence[str], told: set[str]) -> None:
    """Warn of a single class, unless it is among those that were `told` before."""
    if len(classes) == 1 and classes[0] not in told:
        told.add(classes[0])
        warnings.warn(f"every pixel becomes {classes[0]!r}, {ALONE}", stacklevel=3)

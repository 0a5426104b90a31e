"""From a photo's decision to the result that a user holds."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..maps.decide import Blocks, Decision, Rule, class_scores
from ..results.filters import Filter
from ..results.segmentation import Segmentation
from .steps import Photo, full_map, statistics


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


def scores_of(parts: Blocks, shape: tuple[int, int, int], rule: Rule) -> np.ndarray:
    """Probabilities of classes over the whole photo: (C, H0, W0) float32."""
    return class_scores(full_map(parts, shape), rule).numpy()

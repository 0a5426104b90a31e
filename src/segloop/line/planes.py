"""What a page needs of a map to change its threshold by itself, and to say what stands at a pixel."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..backbones.shared import Memory
from ..maps.decide import class_scores, undecided
from ..maps.windows import ScoreMap
from ..words.vocabulary import Vocabulary
from .segmenter import Segmenter
from .steps import Photo, rule_of, statistics

SAMPLES = 192  # of the longer side, for what comes second and third
LISTED = 3  # classes of a sample
MEMORY = 2**29  # bytes of features that a photo's sides share


@dataclass(frozen=True, eq=False)
class Planes:
    """A photo's map before the background threshold, and what that needs."""

    labels: np.ndarray  # (H, W) in the smallest type of whole numbers, the most probable class
    confidence: np.ndarray  # (H, W) float32, its probability
    ground: np.ndarray | None  # (H, W) float32, probability of class 0 where that is the background
    ranked: np.ndarray  # (K, h, w) int64, classes at samples of the photo, the most probable first
    probability: np.ndarray  # (K, h, w) float32, theirs

    @property
    def nbytes(self) -> int:
        """Of all arrays."""
        return sum(one.nbytes for one in vars(self).values() if one is not None)

    def decided(self, threshold: float) -> tuple[np.ndarray, np.ndarray]:
        """(labels int64, confidence) as a run with this background threshold has them; 0 is off."""
        labels = self.labels.astype(np.int64)
        if not threshold or self.ground is None:
            return labels, self.confidence
        unsure = self.confidence < np.float32(threshold)
        return np.where(unsure, 0, labels), np.where(unsure, self.ground, self.confidence)

    def told(self, threshold: float, classes: Sequence[str]) -> tuple[dict[str, float], dict[str, float | None]]:
        """Share of the pixels and mean confidence of each class at this threshold."""
        return statistics(*self.decided(threshold), classes)


@torch.no_grad()
def planes(segmenter: Segmenter, photo: Photo, logits: Tensor, vocabulary: Vocabulary) -> Planes:
    """Cosines of a photo's windows, (n, Q, h, w) -> its planes. The area rule is applied, the threshold is not."""
    rule = rule_of(vocabulary, segmenter.plan.deciding, segmenter.clip.device)  # of one class the page says it itself
    score_map = segmenter.score_map(photo, logits)
    best, ground = undecided(segmenter.parts(photo, logits, rule.query_index), photo.target, rule)
    scores = class_scores(_samples(score_map), rule)
    probability, ranked = scores.topk(min(LISTED, rule.classes), 0)
    return Planes(
        best.labels.cpu().numpy().astype(np.min_scalar_type(rule.classes - 1)),
        best.confidence.cpu().numpy(),
        None if vocabulary.background is None else ground.cpu().numpy(),
        ranked.cpu().numpy(),
        probability.cpu().numpy(),
    )


def _samples(score_map: ScoreMap) -> Tensor:
    """The map at the middles of equal parts of the photo, (Q, h, w) float32: before any step on the map."""
    _, height, width = score_map.shape
    scale = min(1, SAMPLES / max(height, width))
    middles = []
    for size in (height, width):
        count = max(1, round(size * scale))
        middles.append(((torch.arange(count) + 0.5) * size / count).long())
    rows, columns = (
        matrix[at.to(matrix.device)] for matrix, at in zip((score_map.rows, score_map.columns), middles, strict=True)
    )
    return ScoreMap(score_map.mosaic, rows, columns).queries(slice(None))


def remembering(segmenter: Segmenter) -> Segmenter:
    """The same with a memory of its own: plans on its networks share what they say of a photo's windows."""
    return replace(segmenter, network=replace(segmenter.network, memory=Memory(MEMORY)))

"""From a question to its answer: maps of host and feedback, kept before the threshold, and what is made of them."""

import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import Segmentation, Segmenter, Vocabulary
from ..inspection.point import PointSeen, look_at
from ..inspection.sides import sides_of
from ..line.planes import Planes, planes, remembering
from .choices import Choices
from .limits import STOPS, Limits
from .photo import Upload, check_size

HOST, FEEDBACK = "host", "fsa"
LEVELS = (np.arange(STOPS + 2) / STOPS).astype(np.float32)  # the stops, and one that nothing reaches


@dataclass(frozen=True, eq=False)
class Answer:
    """One photo's maps; nothing of it is written anywhere."""

    name: str  # of the photo, as the visitor calls it
    image: np.ndarray = field(repr=False)  # (H, W, 3) uint8
    vocabulary: Vocabulary = field(repr=False)  # with its rows
    sides: Mapping[str, Planes] = field(repr=False)  # "host", and with feedback "fsa": the last is what was asked for
    settings: Mapping[str, Any] = field(repr=False)
    segmenter: Segmenter = field(repr=False)
    notices: Sequence[str] = ()  # what is to know of the words

    @property
    def nbytes(self) -> int:
        """What it takes to keep."""
        return self.image.nbytes + sum(one.nbytes for one in self.sides.values())

    @property
    def asked(self) -> str:
        """The side that was asked for."""
        return list(self.sides)[-1]

    def result(self, threshold: float) -> Segmentation:
        """What was asked for at this threshold, as a run with it has it."""
        found, classes = self.sides[self.asked], list(self.vocabulary.classes)
        labels, sure = found.decided(threshold)
        share, confidence = found.told(threshold, classes)
        settings = dict(self.settings) | {"background_threshold": threshold or None}
        return Segmentation(labels, classes, None, share, confidence, self.image, self.name, settings, sure)

    def told(self, choices: Choices) -> dict[str, Any]:
        """What the page has to know beside the planes."""
        height, width, _ = self.image.shape
        classes = list(self.vocabulary.classes)
        return {
            "size": {"height": height, "width": width},
            "classes": classes,
            "words": self.vocabulary.words(),
            "colours": choices.palette(len(classes)).tolist(),
            "background": self.vocabulary.background is not None,
            "samples": list(self.sides[self.asked].ranked.shape),
            "sides": list(self.sides),
            "stops": STOPS,
            "notices": list(self.notices),
        }


def answered(
    segmenter: Segmenter, vocabulary: Vocabulary, notices: Sequence[str], photo: Upload, limits: Limits
) -> Answer:
    """A photo and words with their rows through the network. Raises ImageError, Refusal for too many pixels."""
    sharing = remembering(segmenter)
    ready = segmenter.prepare(photo.data)
    check_size(ready.target, limits)
    text = segmenter.text(vocabulary)
    named = {HOST: sharing}
    if segmenter.plan.feedback:
        named = {HOST: sides_of(sharing).host, FEEDBACK: sharing}
    sides = {}
    for name, side in named.items():
        (logits,) = side.tiles([ready], text)
        sides[name] = planes(side, ready, logits, vocabulary)
    return Answer(photo.name, ready.image, vocabulary, sides, segmenter.describe(vocabulary), segmenter, notices)


def point(answer: Answer, x: int, y: int) -> PointSeen:
    """Attention of the patch at a pixel, before and after feedback. Raises OptionError outside the photo."""
    return look_at(sides_of(remembering(answer.segmenter)), answer.image, answer.vocabulary, (x, y))


def packed(found: Planes) -> bytes:
    """Planes as the page reads them, one after the other in bytes, gzipped.

    (H, W) labels; (H, W) levels of the probability; with a background (H, W) levels of its own; then (K, h, w) classes
    and (K, h, w) levels of the samples. A level is the last of STOPS that is not above: a probability is below stop k
    exactly where its level is.
    """
    parts = [found.labels, levels(found.confidence)]
    parts += [] if found.ground is None else [levels(found.ground)]
    parts += [found.ranked, levels(found.probability)]
    return gzip.compress(b"".join(part.astype(np.uint8).tobytes() for part in parts), compresslevel=1, mtime=0)


def levels(probability: np.ndarray) -> np.ndarray:
    """Probabilities -> 0 to STOPS: how many stops above 0 each reaches, compared in float32 as thresholds are."""
    level = np.clip(probability * np.float32(STOPS), 0, STOPS).astype(np.int64)
    level -= LEVELS[level] > probability
    level += LEVELS[level + 1] <= probability
    return level.astype(np.uint8)

"""For CVAT: `cvat-cli task auto-annotate ID --function-module segloop.web.cvat -p words="str:road, sky"`.

CVAT hands each picture to `detect` and writes what comes back into its task, whose labels have the classes' names.
"""

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import numpy as np

from .. import Filter, Segmentation, Segmenter, Vocabulary
from ..errors import OptionError, UserError


def create(words: str, clip: str = "", background: bool = False, **options: Any) -> "Function":
    """What cvat-cli calls with its parameters: classes joined by commas, a CLIP, options as `Segmenter` takes them.

    Raises UserError without cvat-sdk, VocabularyError, ModelError, OptionError.
    """
    if "channels" in options:
        raise OptionError("channels came", "leave it out: CVAT's pictures are RGB")
    vocabulary = Vocabulary([part.strip() for part in words.split(",")], background=background or None)
    return Function(Segmenter.from_pretrained(*([clip] if clip else []), **options), vocabulary)


class Function:
    """A detection function as cvat-sdk describes it: one mask a class, none for an added background."""

    def __init__(self, segmenter: Segmenter, vocabulary: Vocabulary) -> None:
        try:
            self.cvat, self.masks = import_module("cvat_sdk.auto_annotation"), import_module("cvat_sdk.masks")
        except ImportError as error:
            raise UserError("cvat-sdk is not installed", "install it: pip install cvat-cli") from error
        self.segmenter = segmenter
        self.vocabulary = segmenter.encoded(vocabulary)
        first = 0 if vocabulary.background is None else 1
        self.numbers = range(first, len(vocabulary.classes))  # of the classes that are annotated

    @property
    def spec(self) -> Any:
        """Labels by the number of their class."""
        labels = [self.cvat.label_spec(self.vocabulary.classes[c], c, type="mask") for c in self.numbers]
        return self.cvat.DetectionFunctionSpec(labels=labels)

    def detect(self, context: Any, image: Any) -> list[Any]:
        """Masks, or polygons where the context asks for them, of pixels that reach its threshold."""
        sure = Filter(min_confidence=context.conf_threshold or 0.0)
        result = self.segmenter(image.convert("RGB"), self.vocabulary, keep=sure)
        shapes = self._polygons if context.conv_mask_to_poly else self._masks
        return list(shapes(result))

    def _masks(self, result: Segmentation) -> Iterator[Any]:
        for c in self.numbers:
            here = result.labels == c
            if here.any():
                yield self.cvat.mask(c, self.masks.encode_mask(here))

    def _polygons(self, result: Segmentation) -> Iterator[Any]:
        for c in self.numbers:
            for ring in result.polygons(result.classes[c]):
                yield self.cvat.polygon(c, np.ravel(ring).astype(float).tolist())

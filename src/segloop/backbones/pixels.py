"""How a model was given its pixels, as the preprocessor's file in its folder has it."""

import json
from math import isfinite
from pathlib import Path
from typing import Any

from ..errors import ModelError
from ..images import CLIP, Normalisation
from .folders import again
from .kept import hub_id

PREPROCESSORS = ("preprocessor_config.json", "processor_config.json")  # the latter holds an image_processor


def normalisation_of(folder: str, usual: Normalisation = CLIP) -> Normalisation:
    """Mean and deviation of the pixels of a resolved model; `usual` where its folder does not say.

    Raises ModelError where what it says makes no sense.
    """
    path = next((path for name in PREPROCESSORS if (path := Path(folder) / name).is_file()), None)
    if path is None:
        return usual
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        said = said.get("image_processor", said)
        if said.get("do_normalize") is False:
            return Normalisation((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        mean = _channels(said.get("image_mean", usual.mean))
        std = _channels(said.get("image_std", usual.std))
        if min(std) <= 0:
            raise ValueError("no deviation")
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        name = hub_id(folder) or folder
        what = f"{path.name} of model {name!r} names no mean and deviation of three channels"
        raise ModelError(what, f"mend image_mean and image_std, or {again(name)}") from None
    return Normalisation(mean, std)


def _channels(given: Any) -> tuple[float, float, float]:
    """A number for each of red, green and blue. Raises TypeError, ValueError."""
    red, green, blue = map(float, given)
    if not all(map(isfinite, (red, green, blue))):
        raise ValueError("not finite")
    return red, green, blue

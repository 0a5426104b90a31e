"""How a model was given its pixels, as the preprocessor's file in its folder has it, and pixels as it wants them."""

import json
from math import isfinite
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ModelError
from ..images import CLIP, Normalisation
from .folders import again
from .kept import hub_id

UNIT = Normalisation((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))  # pixels as they are in [0, 1]
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
            return UNIT
        mean = channels(said.get("image_mean", usual.mean))
        std = channels(said.get("image_std", usual.std))
        if min(std) <= 0:
            raise ValueError("no deviation")
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        name = hub_id(folder) or folder
        what = f"{path.name} of model {name!r} names no mean and deviation of three channels"
        raise ModelError(what, f"mend image_mean and image_std, or {again(name)}") from None
    return Normalisation(mean, std)


def in_unit(pixels: Tensor, given: Normalisation) -> Tensor:
    """RGB in [0, 1] of pixels (..., 3, H, W) that `images.normalise` made, float32."""
    mean, std = (torch.from_numpy(numbers).to(pixels.device)[:, None, None] for numbers in given.in_bytes)
    return (pixels.float() * std + mean) / 255


def framed(pixels: Tensor, given: Normalisation, patch: int, wanted: Normalisation) -> Tensor:
    """Windows (B, 3, H, W) with black to the right and below, up to whole patches (spec 2.8), normalised as `wanted`.

    In units of [0, 1] and to the last digit, where `images.normalise`, which made them as `given` says, rounds.
    """
    height, width = pixels.shape[-2:]
    seen = F.pad(in_unit(pixels, given), (0, -width % patch, 0, -height % patch))
    mean, std = (torch.tensor(numbers, device=pixels.device)[:, None, None] for numbers in (wanted.mean, wanted.std))
    return (seen - mean) / std


def channels(given: Any) -> tuple[float, float, float]:
    """A number for each of red, green and blue. Raises TypeError, ValueError."""
    red, green, blue = map(float, given)
    if not all(map(isfinite, (red, green, blue))):
        raise ValueError("not finite")
    return red, green, blue

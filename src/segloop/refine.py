"""PAMR: pixel-adaptive refinement of score maps (spec 5.3)."""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

CENTRE_FLOOR = 1e-8  # added to the standard deviation
CONTRAST = 0.1  # fraction of the local standard deviation that counts as one unit of difference


def _shifts(maps: Tensor, dilations: Sequence[int], centre: bool) -> Iterator[Tensor]:
    """Views of (B, C, H, W) moved by d * (a, b), a and b in -1, 0, 1, with replicated borders."""
    height, width = maps.shape[-2:]
    reach = max(dilations)
    padded = F.pad(maps, (reach,) * 4, mode="replicate")
    for d in dilations:
        for a in (-d, 0, d):
            for b in (-d, 0, d):
                if a or b or centre:
                    yield padded[..., reach + a : reach + a + height, reach + b : reach + b + width]


def pamr_weights(image: Tensor, dilations: Sequence[int] = (8, 16)) -> Tensor:
    """Affinity of every pixel with its 8 * len(dilations) neighbours: (B, 3, H, W) -> (B, n, H, W), sums to 1.

    The centre counts once per dilation in the standard deviation (unbiased), and not among the neighbours.
    """
    samples = 9 * len(dilations)
    mean = torch.zeros_like(image)
    for shifted in _shifts(image, dilations, centre=True):
        mean += shifted / samples
    variance = torch.zeros_like(image)
    for shifted in _shifts(image, dilations, centre=True):
        variance += (shifted - mean) ** 2 / (samples - 1)
    unit = CENTRE_FLOOR + CONTRAST * variance.sqrt()
    weights = image.new_empty(len(image), 8 * len(dilations), *image.shape[-2:])
    for i, shifted in enumerate(_shifts(image, dilations, centre=False)):
        weights[:, i] = (image - shifted).abs_().div_(unit).mean(1).neg_()
    weights.sub_(weights.amax(1, keepdim=True)).exp_()  # a softmax without a second stack of maps
    return weights.div_(weights.sum(1, keepdim=True))


def pamr_apply(weights: Tensor, maps: Tensor, steps: int, dilations: Sequence[int] = (8, 16)) -> Tensor:
    """`steps` times: every pixel becomes the weighted mean of its neighbours. (B, Q, H, W) -> same.

    One neighbour at a time, so that the stack of n * Q maps never exists.
    """
    for _ in range(steps):
        mixed = torch.zeros_like(maps)
        for i, shifted in enumerate(_shifts(maps, dilations, centre=False)):
            mixed.addcmul_(weights[:, i : i + 1], shifted)
        maps = mixed
    return maps


def pamr(image: Tensor, maps: Tensor, steps: int = 10, dilations: Sequence[int] = (8, 16)) -> Tensor:
    """Refine maps (B, Q, h, w) by the image (B, 3, H, W) -> (B, Q, H, W) float32.

    Maps of another size are first resized with align_corners, as NACLIP does.
    """
    if maps.shape[-2:] != image.shape[-2:]:
        maps = F.interpolate(maps, size=image.shape[-2:], mode="bilinear", align_corners=True)
    return pamr_apply(pamr_weights(image, dilations), maps, steps, dilations)

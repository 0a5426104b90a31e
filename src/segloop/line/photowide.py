"""A vision model's features of the whole photo, cut with the windows (spec 2.11.8): the guide is one, values are many.

By definition the features are resized to the network's size, made unit at every pixel, cut, resized to twice CLIP's
grid and made unit again. Of those pixels a window's grid reads four a cell, and no others are made here.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..backbones.tower import Tower
from ..backbones.vision import Guide
from ..errors import ImageError
from ..images import normalise
from ..maps.windows import Layout, Span, interpolation
from .stages import finer
from .steps import Cut


def cut_features(features: Tensor, size: tuple[int, int], where: Layout, grid: tuple[int, int]) -> Tensor:
    """Features (C, h, w) of a photo of `size` (height, width) -> those of its windows, (n, C, *grid) float32.

    What a window is padded with has the features of its nearest pixel.
    """
    rows, columns = (
        [_taps(span, pad, cells, length, own, features.device) for span in spans]
        for spans, pad, cells, length, own in zip(
            (where.rows, where.columns),
            (where.pad_rows, where.pad_columns),
            grid,
            size,
            features.shape[-2:],
            strict=True,
        )
    )
    found = [_cells(features.float(), top, left) for top in rows for left in columns]
    return torch.stack(found)


Taps = tuple[Tensor, Tensor]
"""Weights of the features for the two pixels that each cell reads, (2 * cells, h), and the share of the second."""


def _taps(span: Span, pad: Span, cells: int, length: int, own: int, device: torch.device) -> Taps:
    """One axis of a window: `own` features over `length` pixels, of which `span` and its padding become cells."""
    start, end = span
    inside = end - start + sum(pad)
    place = ((torch.arange(cells, dtype=torch.float64) + 0.5) * inside / cells - 0.5).clamp_min(0)
    first = place.floor().long()
    pixels = torch.stack([first, (first + 1).clamp_max(inside - 1)], 1).flatten()
    pixels = (pixels + start - pad[0]).clamp(start, end - 1)
    weights = interpolation(own, length)[pixels]
    return weights.to(device, torch.float32), (place - first).to(device, torch.float32)


def _cells(features: Tensor, rows: Taps, columns: Taps) -> Tensor:
    """(C, h, w) -> (C, rows, columns), unit."""
    pixels = F.normalize(rows[0] @ (features @ columns[0].T), dim=0)
    upper, lower = pixels.unflatten(1, (-1, 2)).unbind(2)
    left, right = torch.lerp(upper, lower, rows[1][:, None]).unflatten(2, (-1, 2)).unbind(3)
    return F.normalize(torch.lerp(left, right, columns[1]), dim=0)


def window_features(guide: Guide, tower: Tower, longest: int, photo: Cut) -> Tensor:
    """What a guide says of a photo at the photo's own size, cut with its windows: (n, C, rows, columns) float32.

    The photo's sides become the nearest multiples of the guide's patch, and are `longest` pixels at most. Raises
    ImageError for a photo that is read by bands.
    """
    if photo.image is None:
        what = f"{photo.source} is too large to be read whole, which vision_view=photo needs"
        raise ImageError(what, "make it smaller, or take vision_view=window")
    pixels = torch.from_numpy(normalise(photo.image, tower.normalisation))[None].to(tower.device)
    scale = min(1, longest / max(photo.target))
    height, width = (max(1, round(side * scale / guide.multiple)) * guide.multiple for side in photo.target)
    pixels = F.interpolate(pixels, size=(height, width), mode="bilinear")
    features = guide(pixels, given=tower.normalisation)[0]
    return cut_features(features, photo.size, photo.where, finer(tower.grid(photo.windows)))

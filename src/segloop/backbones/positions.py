"""Positional tables on other grids than the one they were trained on (spec 1.5)."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

PositionRule = Literal["published", "dino", "exact"]


def resample_positions(table: Tensor, grid: tuple[int, int], rule: PositionRule, first_patch: int = 1) -> Tensor:
    """A table ([1+]M*M, D), any class token first, on `grid` (rows, columns) -> ([1+]rows*columns, D) float32.

    "published" is what the releases do to CLIP: bicubic by the scale factor (G + 0.1) / M, which shifts the sampling
    places, and no resampling at all where the count of patches agrees, even on a grid of another shape.
    "dino" is what DINO does: the same shifted places, but as trained only on the M x M grid itself.
    "exact" samples by size, whenever the grid differs from M x M: MAE's own rule, and the corrected one of the others.
    """
    base = round((table.shape[0] - first_patch) ** 0.5)
    rows, columns = grid
    as_trained = rows * columns == base * base if rule == "published" else grid == (base, base)
    table = table.float()
    if as_trained:
        return table
    patches = table[first_patch:].T.reshape(1, -1, base, base)
    if rule == "exact":
        patches = F.interpolate(patches, size=grid, mode="bicubic")
    else:
        factor = ((rows + 0.1) / base, (columns + 0.1) / base)
        patches = F.interpolate(patches, scale_factor=factor, mode="bicubic")
    return torch.cat([table[:first_patch], patches.flatten(2)[0].T])

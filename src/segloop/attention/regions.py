"""Regions of a window, as patches see them: ids on a grid, what is unsegmented, which regions are one (spec 2.11.3).

Ids are whole numbers: 0 lies in no region, `MARGIN` outside the photo, and any number above names a region.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .types import MARGIN

PUBLISHED_MARGIN = 10_000  # the region that CorrCLIP's release makes of what a window was padded with


def near(ids: Tensor, size: tuple[int, int]) -> Tensor:
    """The nearest id: (B, H, W) -> (B, *size), where output i reads input floor(i n_in / n_out), exactly."""
    rows, columns = (
        torch.arange(out, device=ids.device) * length // out for out, length in zip(size, ids.shape[-2:], strict=True)
    )
    return ids[:, rows[:, None], columns]


def as_published(ids: Tensor) -> Tensor:
    """CorrCLIP's reading of ids (B, h, w): the lowest that is present is unsegmented, the margin a region like others.

    So a window that is segmented everywhere loses its lowest region (spec 2.11.1). The corrected mode has no need of
    this: 0 is unsegmented, whether it is there or not.
    """
    ids = ids.masked_fill(ids == MARGIN, PUBLISHED_MARGIN)
    return ids - ids.amin((1, 2), keepdim=True)


def merged(ids: Tensor, features: Tensor, distance: float) -> Tensor:
    """Regions that look alike become one, whose id is the lowest of theirs: (B, h, w) -> (B, h, w).

    features (B, C, h, w) are made unit. Regions r and s, by their mean features z made unit, are neighbours where
    max(z z^T) - z_r z_s is at most `distance`, and one region where a chain of neighbours leads from r to s: DBSCAN
    with one sample (spec 2.11.3).
    """
    units = F.normalize(features.float().flatten(2), dim=1)
    return torch.stack([_merged(one, unit, distance) for one, unit in zip(ids, units, strict=True)])


def _merged(ids: Tensor, unit: Tensor, distance: float) -> Tensor:
    """(h, w), (C, N) -> (h, w)."""
    names, place = ids.unique(return_inverse=True)
    first = int((names <= 0).sum())
    if len(names) - first < 2:
        return ids
    numbers = torch.arange(first, len(names), device=ids.device)
    inside = place.flatten() == numbers[:, None]  # a sum by index has no fixed order on a GPU
    z = F.normalize(inside.to(unit) @ unit.T, dim=1)
    alike = z @ z.T
    joined = names.clone()
    joined[first:] = names[first:][components(alike.amax() - alike <= distance)]
    return joined[place]


def components(neighbours: Tensor) -> Tensor:
    """Which nodes of a graph hang together: bool (R, R) -> (R,), the lowest number that each can be reached from."""
    count = len(neighbours)
    either = neighbours | neighbours.T
    either.fill_diagonal_(True)
    lowest = torch.arange(count, device=neighbours.device)
    while True:
        found = torch.where(either, lowest, count).amin(1)
        found = found[found]  # what is known of the lowest neighbour holds too: chains are walked in leaps
        if torch.equal(found, lowest):
            return lowest
        lowest = found

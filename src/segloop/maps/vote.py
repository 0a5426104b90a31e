"""Mask voting (spec 5.5): every region of a photo takes the label that most of its pixels have."""

import torch
from torch import Tensor

COUNTERS = 2**24  # of regions and labels that are held at once, in int64 128 MiB


def vote(labels: Tensor, regions: Tensor, reserve_zero: bool = True) -> Tensor:
    """(H, W) int64 labels from 0, (H, W) int64 ids of regions -> (H, W) int64 labels.

    All pixels of a region get its most frequent label, of equally frequent ones the smallest. Pixels that no region
    has stay as they are: those of id 0 and of negative ids; as published, without `reserve_zero`, those of the lowest
    id that is there, whichever it is, so that a map without such pixels loses its lowest region.
    """
    if not labels.numel():
        return labels
    lowest = int(regions.min())
    known, place = _numbered(regions, lowest)
    winners = _winners(place.flatten(), labels.flatten(), known)
    left = regions <= 0 if reserve_zero else regions == lowest
    return torch.where(left, labels, winners[place])


def _numbered(regions: Tensor, lowest: int) -> tuple[int, Tensor]:
    """(how many, (H, W) numbers from 0): ids as they lie, where they lie close, without sorting all pixels."""
    span = int(regions.max()) - lowest + 1
    if span <= regions.numel():
        return span, regions - lowest
    ids, place = regions.unique(return_inverse=True)
    return len(ids), place


def _winners(place: Tensor, labels: Tensor, regions: int) -> Tensor:
    """(N,) regions from 0, (N,) labels -> (R,) the label that each region has most often, 0 for one without pixels."""
    classes = int(labels.max()) + 1
    together = min(regions, max(1, COUNTERS // classes))
    if together == regions:
        return _counted(place, labels, (regions, classes))
    parts = []
    for start in range(0, regions, together):
        inside = (place >= start) & (place < start + together)
        size = min(together, regions - start), classes
        parts.append(_counted(place[inside] - start, labels[inside], size))
    return torch.cat(parts)


def _counted(place: Tensor, labels: Tensor, size: tuple[int, int]) -> Tensor:
    regions, classes = size
    counts = torch.bincount(place * classes + labels, minlength=regions * classes)
    return counts.view(regions, classes).argmax(1)  # the first of equal ones

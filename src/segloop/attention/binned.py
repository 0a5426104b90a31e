"""The cut of `pruning` without a sort: where numpy has none that works in vectors, counting into bins is faster.

Weights of a row are summed by bins of similarity; only the bin in which the cut lies is sorted, and that is a few
entries. What comes out is exact: bins only decide what needs no sorting.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

SHARED = 4  # entries of a row for each of its bins: fewer bins are summed faster, fewer entries are sorted faster
CROWDED = 48  # entries of one bin, from which on sorting the whole row is no loss


@dataclass(frozen=True)
class Cut:
    """Where the running sum of each row's weights, the largest first, passes its limit: (R,) each."""

    smallest: Tensor  # similarity of the last entry within it
    next_one: Tensor  # of the first one beyond
    inside: Tensor  # float64, the sum up to the former
    beyond: Tensor  # float64, the sum with the latter
    found: Tensor  # bool; False where bins do not tell, and all else says nothing


def cut_by_bins(s: Tensor, weights: Tensor, limit: Tensor) -> Cut:
    """Similarities and weights (R, N) float32 on a CPU, limits (R,) float64 -> Cut."""
    rows, number = len(s), max(1, s.shape[1] // SHARED)
    start = torch.arange(0, rows * number, number)[:, None]
    bins = _bins(s, number).add_(start)
    sums = np.bincount(bins.flatten().numpy(), weights.flatten().numpy(), rows * number).reshape(rows, number)
    running = torch.from_numpy(sums).flip(1).cumsum_(1)  # of the highest bins
    whole = torch.searchsorted(running, limit[:, None], right=True)  # bins that are within the limit
    above = running.gather(1, (whole - 1).clamp_min(0)).where(whole > 0, 0.0)[:, 0]
    cut = number - 1 - whole + start
    inside_cut = bins == cut
    count = inside_cut.sum(1)
    found = (count <= CROWDED) & (count > 0) & limit.isfinite()
    lowest_above = torch.where(bins > cut, s, torch.inf).amin(1)
    return _within(s, weights, limit, (inside_cut & found[:, None]).nonzero(), above, lowest_above, found)


def _bins(s: Tensor, number: int) -> Tensor:
    """The bin of each entry in its row, (R, N) int64: never lower for a larger entry; 0 where there is no number."""
    low, high = s.aminmax(dim=1, keepdim=True)
    scale = (number - 1) / (high - low)
    scale = scale.where(scale.isfinite(), 0.0)
    return ((s - low) * scale).nan_to_num_(0.0, 0.0, 0.0).to(torch.int64)


def _within(
    s: Tensor, weights: Tensor, limit: Tensor, places: Tensor, above: Tensor, lowest_above: Tensor, found: Tensor
) -> Cut:
    """The cut among the entries at `places`, (n, 2) in order of rows; `above` is the sum of those that go before."""
    row, column = places.unbind(1)
    value = s[row, column]
    order = torch.from_numpy(np.lexsort((-value.numpy(), row.numpy())))
    value, weight = value[order], weights[row, column][order].double()
    count = torch.bincount(row, minlength=len(s))
    first = count.cumsum(0) - count  # of a row's entries
    sums = torch.cat([weight.new_zeros(1), weight.cumsum(0)])
    fits = above[row] + (sums[1:] - sums[first[row]]) <= limit[row]
    kept = torch.bincount(row[fits], minlength=len(s))
    found = found & (kept < count) & ((kept > 0) | lowest_above.isfinite())
    last = (first + kept).clamp_max(max(0, len(value) - 1))
    before = (last - 1).clamp_min(0)
    if not len(value):
        value, sums = s.new_zeros(1), weight.new_zeros(2)
    inside = above + sums[first + kept] - sums[first]
    smallest = torch.where(kept > 0, value[before], lowest_above)
    return Cut(smallest, value[last], inside, inside + value[last].double().exp(), found)

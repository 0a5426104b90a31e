"""Which similarities a row of feedback keeps (FSA, step 6; spec 3.1, 3.3), decided alike wherever it is asked.

Similarities and sums that mathematics makes equal differ in their last digits by the order in which a processor adds,
and so by block, batch and machine. Decisions are therefore made in float64, where such differences stay near 1e-15,
and what differs by less than a stated tolerance counts as equal. Most rows need no float64: what float32 cannot
mistake is settled there.
"""

from functools import cache

import numpy as np
import torch
from torch import Tensor

from .binned import cut_by_bins
from .tracing import traced

TIES = {torch.float64: 1e-9, torch.float32: 4e-6}
"""What counts as equal: absolute for similarities, relative for sums. In float32 K is good to 3e-6 (spec 3.5)."""

ROUNDED = 2.0**-22  # a similarity made in float32 of an exact K: three roundings of 2^-24, and one to spare
SUMMED = 3e-6  # relative, of sums of exponentials of those: 2^-22, two units of an exponential's last place, 32 terms


def sorts_in_vectors() -> bool:
    """Whether numpy's sort of float32 works in vectors here: AVX-512 since numpy 1.25, AVX2 and ARM since 2.0."""
    core = getattr(np, "_core", None) or np.core
    has = {name for name, there in core._multiarray_umath.__cpu_features__.items() if there}
    first = int(np.__version__.partition(".")[0])
    return bool(has & ({"AVX512_SKX", "X86_V4"} | ({"AVX2", "X86_V3", "ASIMD"} if first >= 2 else set())))


BY_BINS = not sorts_in_vectors()


@cache
def has_float64(kind: str) -> bool:
    """Whether a type of device computes in float64; Apple's mps does not."""
    try:
        torch.zeros(1, dtype=torch.float64, device=kind)
    except (TypeError, RuntimeError):
        return False
    return True


def precise(tensor: Tensor) -> Tensor:
    """The same in float64, or in float32 where the device has no float64."""
    return tensor.to(torch.float64 if has_float64(tensor.device.type) else torch.float32)


def prune(s: Tensor, mass: float) -> Tensor:
    """Step 6: which entries of each row stay, (..., N) -> bool (..., N).

    With w the softmax of the row, sorted from the largest s: entries stay while their running sum is at most `mass`,
    the largest always. Entries equal within TIES stay or go together, so the mask does not depend on their order.
    """
    s = precise(s.detach())
    tie = TIES[s.dtype]
    reach = _reach(s, mass)
    largest = -_sorted(-s)[..., :reach]  # nan last: a patch without a direction keeps to itself
    running = largest.exp().cumsum(-1)
    fitting = (running <= mass * (1 + tie) * s.exp().sum(-1, keepdim=True)).sum(-1, keepdim=True)
    return s >= largest.gather(-1, (fitting - 1).clamp_min_(0)) - tie


def settle_most(s: Tensor, mass: float) -> tuple[Tensor, Tensor]:
    """Step 6 in float32: s (..., N), made of an exact K with an error below ROUNDED -> the smallest entry kept by
    each row, (..., 1), and bool (...): whether that is certain.

    It is where neither the sum at the cut nor the gap below it is within the error. Of such a row exactly those
    entries stay that `prune` keeps of the float64 similarities; the others have to ask it.
    """
    s = s.detach()
    return _settle_by_bins(s, mass) if BY_BINS and s.device.type == "cpu" else _settle_by_sort(s, mass)


def _settle_by_sort(s: Tensor, mass: float) -> tuple[Tensor, Tensor]:
    falling = _sorted(-s).neg_()
    weights = falling.exp()
    limit = mass * _sum(weights)
    running = weights[..., : _reach(s, mass)].cumsum(-1, dtype=torch.float64)
    fitting = torch.searchsorted(running, limit, right=True)
    kept = fitting.clamp_min(1)
    smallest, next_one = falling.gather(-1, torch.cat([kept - 1, kept.clamp_max(s.shape[-1] - 1)], -1)).split(1, -1)
    around = running.gather(-1, torch.cat([kept - 1, fitting.clamp_max(running.shape[-1] - 1)], -1))
    return smallest, _certain(smallest, next_one, around, limit)


def _settle_by_bins(s: Tensor, mass: float) -> tuple[Tensor, Tensor]:
    """The same; rows of which bins do not tell are sorted."""
    rows = s.reshape(-1, s.shape[-1])
    weights = rows.exp()
    limit = mass * _sum(weights)
    cut = cut_by_bins(rows, weights, limit[:, 0])
    smallest = cut.smallest[:, None]
    certain = _certain(smallest, cut.next_one[:, None], torch.stack([cut.inside, cut.beyond], -1), limit)
    if not cut.found.all():
        left = ~cut.found
        smallest[left], certain[left] = _settle_by_sort(rows[left], mass)
    return smallest.view(*s.shape[:-1], 1), certain.view(s.shape[:-1])


def _certain(smallest: Tensor, next_one: Tensor, around: Tensor, limit: Tensor) -> Tensor:
    """(..., 1) each, and (..., 2) the sums on both sides of the cut -> bool (...)."""
    apart = smallest - next_one > 2 * ROUNDED + TIES[torch.float64]
    return (((around - limit).abs() > SUMMED * limit) & apart).all(-1)


def _sum(rows: Tensor, terms: int = 32) -> Tensor:
    """Sums of rows (..., N) -> (..., 1) float64: of a few terms in float32, of those sums in float64."""
    whole = rows.shape[-1] // terms * terms
    parts = rows[..., :whole].unflatten(-1, (terms, -1)).sum(-2)
    return parts.sum(-1, True, dtype=torch.float64) + rows[..., whole:].sum(-1, True, dtype=torch.float64)


def _reach(s: Tensor, mass: float) -> int:
    """How many of the largest entries can be kept, and one more where there is one: they weigh at least the mean."""
    count = s.shape[-1]
    return min(int(mass * count) + 1, count)


def _sorted(rows: Tensor) -> Tensor:
    """Rows in rising order, in place; on a CPU numpy's vectorised sort beats torch's sort, top-k and bisection."""
    if rows.device.type == "cpu" and not traced():
        rows.numpy().sort(axis=-1)
        return rows
    return rows.sort(-1).values

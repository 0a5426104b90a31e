"""float16 where it holds: networks are opened in it and tried before they are trusted.

float16 has the digits (its labels agree with float32's where bfloat16's do not) and not the range: above 65504 there is
only infinity. So where nobody chose it by hand it is tried on windows of extreme colours, and given up for float32.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from ..errors import ModelError
from ..images import CLIP, Normalisation
from .tower import Tower
from .vision import Guide

LARGEST = 65504.0 / 4  # of what a block gives on a trial window; a photo may ask for some more
PATCHES = 14  # of a trial window's side

Pair = tuple[Tower, Guide | None]


def first_that_fits(dtypes: Sequence[torch.dtype], open_pair: Callable[[torch.dtype], Pair]) -> Pair:
    """A tower and its guide in the first of `dtypes` that holds them; the last is not tried.

    Raises what `open_pair` raises.
    """
    *uncertain, safe = dtypes
    for dtype in uncertain:
        pair = open_pair(dtype)
        if fits(*pair):
            return pair
    return open_pair(safe)


@torch.no_grad()
def fits(tower: Tower, guide: Guide | None) -> bool:
    """Whether all that the networks say of trial windows is finite, and the tower's blocks stay below LARGEST."""
    pixels = trial_windows(PATCHES * tower.patch, tower.normalisation).to(tower.device)
    try:
        within = all(bool(said.abs().max() <= LARGEST) for said in _said(tower, pixels))  # no for NaN
        return within and (guide is None or bool(guide(pixels, given=tower.normalisation).isfinite().all()))
    except ModelError:
        return False


def trial_windows(side: int, how: Normalisation = CLIP) -> Tensor:
    """Normalised windows (5, 3, side, side): black, white, noise, a board of black and white, coarse colours."""
    noise, coarse = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    place = torch.arange(side) // 8
    board = ((place[:, None] + place) % 2).float().expand(3, -1, -1)
    coarse = coarse[:, place][..., place]
    windows = torch.stack([torch.zeros_like(noise), torch.ones_like(noise), noise, board, coarse])
    mean, std = (torch.tensor(numbers)[:, None, None] for numbers in (how.mean, how.std))
    return (windows - mean) / std


def _said(tower: Tower, pixels: Tensor) -> Iterator[Tensor]:
    """Outputs of all blocks, the last one's q, k and v, and the dense head's features, as cosines with the axes."""
    x, states = tower.tokens(pixels, range(tower.depth))
    yield from states.values()
    block = tower.open_block(x, tower.grid(pixels))
    yield from (x, block.q, block.k, block.v)
    first = tower.first_patch
    tokens = tower.close_block(block.v[:, :, first:], x[:, first:], mlp=True)
    yield tokens
    yield tower.cosines(tokens, torch.eye(tower.width, device=tower.device))

"""ResCLIP as a stage (spec 2.9): a first pass over the window says which patches belong together, a second listens."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from ..attention.operators import Operator
from ..attention.resclip import ResCLIP, cross_correlated, drawn_together, patch_labels, relation
from ..attention.types import LastBlock, Mix, Needs
from ..maps.decide import Block, Rule, decide
from ..maps.refine import PAMR
from .stages import Opened, resample

BAND_BYTES = 64 * 2**20  # of cosines refined at once


@dataclass(frozen=True)
class Rescued:
    """ResCLIP on the host that stands before it in the line."""

    constants: ResCLIP  # settled `on` the tower's depth

    def needs(self, depth: int) -> Needs:
        """Some blocks before the last; a matrix of relations that heads share."""
        blocks = frozenset(self.constants.rcs_blocks) if self.constants.rcs else frozenset()
        return Needs(blocks=blocks, pairs=self.constants.sfr)

    def __call__(self, opened: Opened) -> Opened:
        """Both residuals around the host's attention."""
        first = replace(opened, attention=partial(self._attention, opened, None))
        if not self.constants.sfr:
            return first
        return replace(opened, attention=partial(self._attention, opened, self._relations(first)))

    def _attention(self, opened: Opened, relations: Tensor | None, block: LastBlock) -> Operator | Mix:
        host = opened.attention(block)
        if relations is not None:
            host = drawn_together(host, relations, self.constants)
        if not self.constants.rcs:
            return host
        earlier = [opened.earlier(number) for number in self.constants.rcs_blocks]
        return cross_correlated(host, earlier, self.constants)  # type: ignore[arg-type]

    def _relations(self, first: Opened) -> Tensor:
        """Steps 2 to 4 of each window: (B, [1+]N, [1+]N) float32, zero where the class token stands."""
        cosines, pixels, grid = first.cosines(), first.batch.pixels, first.block.grid
        token = first.block.first_patch
        made = []
        for number in range(len(cosines)):
            labels = window_labels(cosines[number], pixels[number], self.constants)
            made.append(relation(patch_labels(labels, grid), grid, self.constants))
        return F.pad(torch.stack(made), (token, 0, token, 0))


def window_labels(cosines: Tensor, pixels: Tensor, constants: ResCLIP) -> Tensor:
    """Step 2: cosines (Q, h, w) of a window, its pixels (3, H, W) normalised -> the query of every pixel (H, W) int64.

    Upsampled and refined by PAMR; where the best of the softmax over queries lies below the threshold, it is query 0.
    """
    queries, size = len(cosines), (pixels.shape[-2], pixels.shape[-1])
    refine = PAMR(constants.refine_steps)
    ready = refine.ready(pixels.float()) if refine.is_on else None
    step = max(1, BAND_BYTES // (4 * size[0] * size[1]))

    def blocks() -> Iterator[Block]:
        for start in range(0, queries, step):
            part = slice(start, min(start + step, queries))
            maps = resample(cosines[None, part], size)[0]
            yield Block(slice(0, size[0]), part, ready(maps) if ready else maps)

    index = torch.arange(queries, device=cosines.device)
    rule = Rule(index, queries, constants.logit_scale, constants.feedback_threshold)
    return decide(blocks, size, rule).labels

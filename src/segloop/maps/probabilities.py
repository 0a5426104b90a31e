"""Probabilities of classes at every pixel, some classes at a time: all of them at once may not fit (spec 0.6)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from .decide import Blocks, Rule

AT_ONCE = 256 * 2**20  # bytes of classes' maps that are made in one pass over the cosines


@dataclass(frozen=True)
class Probabilities:
    """What `class_scores` gives, u' of spec 0.6, of a map that comes in blocks."""

    blocks: Blocks
    size: tuple[int, int]  # (H, W)
    rule: Rule

    def __call__(self, classes: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
        """Of each of these classes its number and its probability at every pixel, (H, W) float32, in this order."""
        step = max(1, AT_ONCE // (4 * self.size[0] * self.size[1]))
        for start in range(0, len(classes), step):
            some = classes[start : start + step]
            yield from zip(some, self._maps(some), strict=True)

    @cached_property
    def _total(self) -> Tensor:
        """(H, W): the logarithm of the softmax's denominator."""
        total = torch.full(self.size, -torch.inf, device=self.rule.query_index.device)
        for block in self.blocks():
            own = (block.cosines * self.rule.logit_scale).logsumexp(0)
            total[block.rows] = torch.logaddexp(total[block.rows], own)
        return total

    def _maps(self, classes: Sequence[int]) -> Tensor:
        place = torch.full((self.rule.classes,), -1, device=self._total.device)
        place[list(classes)] = torch.arange(len(classes), device=place.device)
        best = torch.full((len(classes), *self.size), -torch.inf, device=place.device)
        for block in self.blocks():
            owner = place[self.rule.query_index[block.queries]]
            wanted = (owner >= 0).nonzero()[:, 0]
            cosines = block.cosines[wanted]
            index = owner[wanted][:, None, None].expand_as(cosines)
            best[:, block.rows] = best[:, block.rows].scatter_reduce(0, index, cosines, "amax")
        return best.mul_(self.rule.logit_scale).sub_(self._total).exp_()

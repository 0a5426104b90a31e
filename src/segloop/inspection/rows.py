"""Rows of attention before and after feedback: what some patches listen to, without any N x N matrix per head.

The composed attention of spec 3.1, step 8, is A* = (A+ A + A A+ + rho A+) / 3. Its rows need few rows of A and A+
themselves and one pass over each, a block of rows at a time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..attention.feedback import FSA, Feedback, Readout, prune, sharpen
from ..attention.types import LastBlock, Mix

BLOCK = 2**22  # floats of a block of rows, over all heads
ALL = slice(0, 1)  # the one sample that is looked at


@dataclass(frozen=True)
class Rows:
    """What I patches of one window listen to; h is 1 where heads share one matrix, N counts the class token."""

    host: Tensor  # (h, I, N) float32, rows of A
    fed: Tensor  # (h, I, N) float32, rows of A*; with no feedback applied, those of A
    similarity: Tensor  # (I, P) float32 in (0, 1], s of step 5, between patches
    kept: Tensor  # (I, P) bool, what pruning keeps (step 6)
    new: Tensor  # (I, P) float32, rows of A+ (step 7), each sums to 1
    kept_share: float  # of all P * P pairs of the window
    host_cosines: Tensor  # (P, Q) float32, what the host alone says
    fed_cosines: Tensor  # (P, Q) float32, after feedback


@torch.no_grad()
def rows_of(fsa: FSA, block: LastBlock, mix: Mix, readout: Readout, patches: Sequence[int]) -> Rows:
    """Rows of `patches` (numbers from 0, without the class token) in an opened window (B = 1)."""
    first = block.first_patch
    told = fsa.explain(mix, block.v, readout, class_token=block.has_class_token)
    host = matrix_rows(mix, block, [patch + first for patch in patches])
    seen = _one_pass(told.new, host[..., first:], patches)
    return Rows(
        host=host,
        fed=_composed(fsa, mix, block, host, seen),
        similarity=seen.similarity,
        kept=seen.kept,
        new=seen.new,
        kept_share=seen.kept_share,
        host_cosines=told.heard[0][0],
        fed_cosines=readout(told.mixed[:, :, first:])[0],
    )


def matrix_rows(mix: Mix, block: LastBlock, index: Sequence[int]) -> Tensor:
    """Rows of an attention's matrix by token numbers, (h, len(index), N) float32; h is 1 where heads share them.

    From the operator's own `rows`; any other Mix is applied to one-hot values, whose results are columns.
    """
    if hasattr(mix, "rows"):
        return mix.rows(index)[0].to(block.v.device, torch.float32)
    return torch.cat([columns[:, list(index)] for columns in _columns(mix, block)], -1)


def through(weights: Tensor, mix: Mix, block: LastBlock) -> Tensor:
    """Weights over patches (I, P) times the patches' rows of the matrix -> (h, I, N) float32."""
    first = int(block.has_class_token)
    heads, tokens = block.v.shape[1:3]
    if not hasattr(mix, "rows"):
        return torch.cat([weights @ columns[:, first:] for columns in _columns(mix, block)], -1)
    total = torch.zeros(1, device=block.v.device)
    step = max(1, BLOCK // (heads * tokens))
    for start in range(0, tokens - first, step):
        index = range(start, min(start + step, tokens - first))
        part = matrix_rows(mix, block, [patch + first for patch in index])
        total = total + weights[:, index.start : index.stop] @ part
    return total


def _columns(mix: Mix, block: LastBlock) -> Iterator[Tensor]:
    """Blocks of columns of a matrix, (h, N, at most d) float32 each: the operator applied to one-hot values."""
    _, heads, tokens, width = block.v.shape
    for start in range(0, tokens, width):
        count = min(width, tokens - start)
        values = block.v.new_zeros(1, heads, tokens, width)
        place = torch.arange(count, device=values.device)
        values[:, :, start + place, place] = 1
        yield mix(values)[0, ..., :count].float()


@dataclass(frozen=True)
class _Pass:
    """What one pass over the rows of A+ gives."""

    similarity: Tensor  # (I, P)
    kept: Tensor  # (I, P)
    new: Tensor  # (I, P)
    old_new: Tensor  # (h, I, P), A A+
    kept_share: float


def _one_pass(new: Feedback, host: Tensor, patches: Sequence[int]) -> _Pass:
    """All rows of A+, a block at a time; `host` (h, I, P) are rows of A between patches."""
    count = new.p.shape[1]
    found: dict[int, tuple[Tensor, Tensor, Tensor]] = {}
    old_new, kept = torch.zeros_like(host), 0
    step = max(1, BLOCK // count)
    for start in range(0, count, step):
        rows = slice(start, min(start + step, count))
        s = new.similarity(ALL, rows)[0]
        keep = prune(s, new.mass)
        weights = sharpen(s, keep, new.lambda_)
        kept += int(keep.sum())
        old_new += host[..., rows] @ weights.float()
        for patch in patches:
            if rows.start <= patch < rows.stop:
                at = patch - rows.start
                found[patch] = s[at].float(), keep[at], weights[at].float()
    similarity, mask, own = (torch.stack(parts) for parts in zip(*(found[patch] for patch in patches), strict=True))
    return _Pass(similarity, mask, own, old_new, kept / count**2)


def _composed(fsa: FSA, mix: Mix, block: LastBlock, host: Tensor, seen: _Pass) -> Tensor:
    """Rows of A*: the mean of the ensemble's terms, with the class token left as it is (spec 3.6)."""
    first = int(block.has_class_token)
    parts = []
    if "new_old" in fsa.terms:
        parts.append(through(seen.new, mix, block))
    if "old_new" in fsa.terms:
        parts.append(torch.cat([host[..., :first], seen.old_new], -1))
    if "new" in fsa.terms:
        rho = fsa.third_term if fsa.third_term is not None else getattr(mix, "row_sum", None)
        parts.append((host.sum(-1, keepdim=True) if rho is None else rho) * F.pad(seen.new[None], (first, 0)))
    return sum(parts[1:], parts[0]) / len(parts)

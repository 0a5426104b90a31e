"""From cosines to labels (spec 0.6, 5.1, 5.2), by strips, without ever holding all classes at full size.

Every pixel keeps a few running numbers: the largest logit, the sum of exponentials under it, the best allowed
query. Blocks of rows or of queries update them in any order, so that 847 classes cost no more memory than one.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rule:
    """How cosines become labels."""

    query_index: Tensor  # (Q,) int64, the class of each query
    classes: int
    logit_scale: float = 40.0
    background_threshold: float | None = None  # strict: a best probability below it is class 0
    area_threshold: float | None = None  # a class with at most this share of the foreground is dropped


@dataclass(frozen=True)
class Block:
    """A part of the cosine map: some queries at some rows."""

    rows: slice
    queries: slice
    cosines: Tensor  # (q, r, W) float32


Blocks = Callable[[], Iterable[Block]]
"""Gives the same blocks at every call; together they cover the map once."""


@dataclass(frozen=True)
class Decision:
    """Labels and how sure they are."""

    labels: Tensor  # (H, W) int64
    confidence: Tensor  # (H, W) float32, probability of the label's class


@dataclass(frozen=True)
class _Running:
    peak: Tensor  # (H, W) largest logit so far
    total: Tensor  # (H, W) sum of exp(logit - peak)
    best: Tensor  # (H, W) largest logit of a query that may win
    label: Tensor  # (H, W) int32, its class
    ground: Tensor  # (H, W) largest logit of class 0


def decide(blocks: Blocks, size: tuple[int, int], rule: Rule) -> Decision:
    """Cosines (Q, H, W) in blocks -> labels (H, W).

    Softmax over queries of scale * cosine, best synonym per class, area rule, argmax, threshold: in this order.
    The area rule counts in integers and needs a second pass only where it drops a class.
    """
    may_win = torch.ones(rule.classes, dtype=torch.bool, device=rule.query_index.device)
    state = _run(blocks, size, rule, may_win)
    if rule.area_threshold is not None:
        counts = torch.bincount(state.label.flatten().long(), minlength=rule.classes)
        may_win = counts > rule.area_threshold * counts[1:].sum()
        may_win[0] = True
        if bool((counts[~may_win] > 0).any()):
            state = _run(blocks, size, rule, may_win)
    labels = state.label.long()
    confidence = (state.best - state.peak).exp_().div_(state.total)
    if rule.background_threshold is not None:
        unsure = confidence < rule.background_threshold
        labels = labels.masked_fill_(unsure, 0)
        ground = (state.ground - state.peak).exp_().div_(state.total)
        confidence = torch.where(unsure, ground, confidence)
    return Decision(labels, confidence)


def _run(blocks: Blocks, size: tuple[int, int], rule: Rule, may_win: Tensor) -> _Running:
    device = rule.query_index.device
    low = [torch.full(size, -torch.inf, device=device) for _ in range(3)]
    state = _Running(
        peak=low[0],
        total=torch.zeros(size, device=device),
        best=low[1],
        label=torch.zeros(size, dtype=torch.int32, device=device),
        ground=low[2],
    )
    for block in blocks():
        _update(state, block, rule, may_win)
    return state


def _update(state: _Running, block: Block, rule: Rule, may_win: Tensor) -> None:
    rows, owner = block.rows, rule.query_index[block.queries]
    logits = block.cosines * rule.logit_scale
    of_ground = (owner == 0).nonzero()[:, 0]
    if len(of_ground):
        torch.maximum(state.ground[rows], logits[of_ground].amax(0), out=state.ground[rows])
    allowed = may_win[owner]
    if bool(allowed.all()):
        best, winner = logits.max(0)
    else:
        best, winner = logits.masked_fill(~allowed[:, None, None], -torch.inf).max(0)
    better = best > state.best[rows]
    state.label[rows] = torch.where(better, owner[winner].int(), state.label[rows])
    torch.maximum(state.best[rows], best, out=state.best[rows])
    before, peak = state.peak[rows], torch.maximum(state.peak[rows], logits.amax(0))
    state.total[rows] *= (before - peak).exp_()
    state.total[rows] += logits.sub_(peak).exp_().sum(0)
    state.peak[rows] = peak


def class_scores(cosines: Tensor, rule: Rule) -> Tensor:
    """Probability of each class, u' of spec 0.6: (Q, H, W) -> (C, H, W) float32, before area rule and threshold.

    The best synonym speaks for its class, so that the values of a pixel need not sum to 1.
    """
    probability = (cosines * rule.logit_scale).softmax(0)
    pooled = probability.new_zeros(rule.classes, *cosines.shape[1:])
    owner = rule.query_index[:, None, None].expand_as(probability)
    return pooled.scatter_reduce_(0, owner, probability, "amax")

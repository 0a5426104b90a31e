"""From cosines to labels (spec 0.6, 5.1, 5.2), by strips, without ever holding all classes at full size.

Every pixel keeps a few running numbers: the largest logit, the sum of exponentials under it, the best allowed
query. Blocks of rows or of queries update them in any order, so that 847 classes cost no more memory than one.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

GROUP = 16  # queries, of which the largest is found together
MANY = 256  # queries, from which on groups are faster
SMALLEST = torch.finfo(torch.float32).tiny  # of a probability, for its logarithm


@dataclass(frozen=True)
class Rule:
    """How cosines become labels."""

    query_index: Tensor  # (Q,) int64, the class of each query
    classes: int
    logit_scale: float = 40.0
    background_threshold: float | None = None  # strict: a best probability below it is class 0
    area_threshold: float | None = None  # a class with at most this share of the foreground is dropped
    probabilities: bool = False  # what comes are probabilities of queries, such as experts vote for, and no cosines

    def as_cosines(self, scores: Tensor) -> Tensor:
        """Scores as cosines, of which the softmax makes these probabilities again."""
        return scores.clamp_min(SMALLEST).log() / self.logit_scale if self.probabilities else scores


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
    """What each pixel remembers, (H, W) each; cosines are kept unscaled."""

    peak: Tensor  # largest cosine so far
    total: Tensor  # sum of exp(scale * (cosine - peak))
    best: Tensor  # largest cosine of a query that may win
    label: Tensor  # int32, its class
    ground: Tensor  # largest cosine of class 0

    def probability(self, cosine: Tensor, scale: float) -> Tensor:
        """Softmax of a query with this cosine, once all blocks were seen."""
        largest_is_one = self.total.clamp_min(1)  # in mathematics it is at least 1; rounding may leave less
        return (cosine - self.peak).mul_(scale).exp_().div_(largest_is_one)


def decide(blocks: Blocks, size: tuple[int, int], rule: Rule) -> Decision:
    """Cosines (Q, H, W) in blocks -> labels (H, W).

    Softmax over queries of scale * cosine, best synonym per class, area rule, argmax, threshold: in this order.
    The area rule counts in integers and needs a second pass only where it drops a class. Rows that come with all
    queries are decided at once, and only their labels and confidence are kept.
    """
    decision = _empty(size, rule)

    def take(rows: slice, state: _Running) -> None:
        found = _decided(state, rule)
        decision.labels[rows], decision.confidence[rows] = found.labels, found.confidence

    _take(blocks, size, rule, take)
    return decision


def undecided(blocks: Blocks, size: tuple[int, int], rule: Rule) -> tuple[Decision, Tensor]:
    """What `decide` gives for every threshold: its decision without one, and (H, W) the probability of class 0.

    Where the confidence is below a threshold, that decides for class 0, with the latter as its confidence.
    """
    decision, ground = _empty(size, rule), torch.empty(size, device=rule.query_index.device)

    def take(rows: slice, state: _Running) -> None:
        decision.labels[rows] = state.label.long()
        decision.confidence[rows] = state.probability(state.best, rule.logit_scale)
        ground[rows] = state.probability(state.ground, rule.logit_scale)

    _take(blocks, size, rule, take)
    return decision, ground


def decide_strips(blocks: Blocks, width: int, rule: Rule) -> Iterator[tuple[slice, Decision]]:
    """`decide` for blocks that are rows with all queries: (rows, their Decision), one after the other.

    Nothing is kept of rows that are done. The area rule needs two passes here.
    """
    may_win = _all(rule)
    if rule.area_threshold is not None:
        counts = torch.zeros_like(may_win, dtype=torch.int64)
        for _, state in _settled(blocks, (0, width), rule, may_win):
            counts += torch.bincount(state.label.flatten().long(), minlength=rule.classes)
        may_win = _large_enough(counts, rule.area_threshold)
    for rows, state in _settled(blocks, (0, width), rule, may_win):
        yield rows, _decided(state, rule)


def _take(blocks: Blocks, size: tuple[int, int], rule: Rule, take: Callable[[slice, _Running], None]) -> None:
    """Give all rows to `take` once they have seen all queries; a second time where the area rule drops a class."""
    may_win = _all(rule)
    counts = torch.zeros_like(may_win, dtype=torch.int64)
    for rows, state in _settled(blocks, size, rule, may_win):
        if rule.area_threshold is not None:
            counts += torch.bincount(state.label.flatten().long(), minlength=rule.classes)
        take(rows, state)
    if rule.area_threshold is not None:
        may_win = _large_enough(counts, rule.area_threshold)
        if bool((counts[~may_win] > 0).any()):
            for rows, state in _settled(blocks, size, rule, may_win):
                take(rows, state)


def _settled(blocks: Blocks, size: tuple[int, int], rule: Rule, may_win: Tensor) -> Iterator[tuple[slice, _Running]]:
    """Rows that have seen all queries, as soon as they have; only queries that come apart need the whole map."""
    whole: _Running | None = None
    for block in blocks():
        if len(block.cosines) == len(rule.query_index):
            height = block.cosines.shape[1]
            strip = _fresh((height, size[1]), rule)
            _update(strip, replace(block, rows=slice(0, height)), rule, may_win)
            yield block.rows, strip
        else:
            whole = whole or _fresh(size, rule)
            _update(whole, block, rule, may_win)
    if whole is not None:
        yield slice(0, size[0]), whole


def _all(rule: Rule) -> Tensor:
    return torch.ones(rule.classes, dtype=torch.bool, device=rule.query_index.device)


def _empty(size: tuple[int, int], rule: Rule) -> Decision:
    device = rule.query_index.device
    return Decision(torch.empty(size, dtype=torch.int64, device=device), torch.empty(size, device=device))


def _large_enough(counts: Tensor, share: float) -> Tensor:
    """(C,) pixels of each class -> (C,) bool: classes that the area rule leaves."""
    enough = counts > share * counts[1:].sum()
    enough[0] = True
    return enough


def _decided(state: _Running, rule: Rule) -> Decision:
    labels = state.label.long()
    confidence = state.probability(state.best, rule.logit_scale)
    if rule.background_threshold is not None:
        unsure = confidence < rule.background_threshold
        labels = labels.masked_fill_(unsure, 0)
        confidence = torch.where(unsure, state.probability(state.ground, rule.logit_scale), confidence)
    return Decision(labels, confidence)


def _fresh(size: tuple[int, int], rule: Rule) -> _Running:
    """Pixels that have seen no query."""
    device = rule.query_index.device
    low = [torch.full(size, -torch.inf, device=device) for _ in range(3)]
    return _Running(
        peak=low[0],
        total=torch.zeros(size, device=device),
        best=low[1],
        label=torch.zeros(size, dtype=torch.int32, device=device),
        ground=low[2],
    )


def _update(state: _Running, block: Block, rule: Rule, may_win: Tensor) -> None:
    rows, owner, cosines = block.rows, rule.query_index[block.queries], rule.as_cosines(block.cosines)
    of_ground = (owner == 0).nonzero()[:, 0]
    if len(of_ground):
        torch.maximum(state.ground[rows], cosines[of_ground].amax(0), out=state.ground[rows])
    best, winner = _largest(cosines)
    peak = torch.maximum(state.peak[rows], best)
    allowed = may_win[owner]
    if not bool(allowed.all()):
        best, winner = _largest(cosines.masked_fill(~allowed[:, None, None], -torch.inf))
    better = best > state.best[rows]
    state.label[rows] = torch.where(better, owner[winner].int(), state.label[rows])
    torch.maximum(state.best[rows], best, out=state.best[rows])
    scale = rule.logit_scale
    state.total[rows] *= (state.peak[rows] - peak).mul_(scale).exp_()
    state.total[rows] += torch.add(peak * -scale, cosines, alpha=scale).exp_().sum(0)
    state.peak[rows] = peak


def _largest(cosines: Tensor) -> tuple[Tensor, Tensor]:
    """The largest of each pixel and the first query that has it: (q, r, W) -> (r, W) and (r, W) int64.

    Of many queries the largest of each group is found first and then its place in one group: torch takes eight times
    as long for the places of 4000 queries as for their largest.
    """
    whole = len(cosines) // GROUP * GROUP
    if whole < MANY:
        return cosines.max(0)
    best, group = cosines[:whole].unflatten(0, (-1, GROUP)).amax(1).max(0)
    first = group * GROUP
    place = torch.arange(GROUP, device=cosines.device)[:, None, None]
    winner = first + cosines.gather(0, first + place).argmax(0)
    if whole < len(cosines):
        rest, place = cosines[whole:].max(0)
        winner = torch.where(rest > best, whole + place, winner)
        best = torch.maximum(best, rest)
    return best, winner


def class_scores(cosines: Tensor, rule: Rule) -> Tensor:
    """Probability of each class, u' of spec 0.6: (Q, H, W) -> (C, H, W) float32, before area rule and threshold.

    The best synonym speaks for its class, so that the values of a pixel need not sum to 1.
    """
    probability = (rule.as_cosines(cosines) * rule.logit_scale).softmax(0)
    pooled = probability.new_zeros(rule.classes, *cosines.shape[1:])
    owner = rule.query_index.to(cosines.device)[:, None, None].expand_as(probability)
    return pooled.scatter_reduce_(0, owner, probability, "amax")

"""Words that are nowhere in a photo, taken out: an option of segloop, off by default.

Of a long list, most words are absent from any one photo, and together they take pixels here and there. A class that
wins no pixel with some confidence is taken for absent; then the map is decided again without its words, so that the
softmax is one of the others.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..common.records import constant, require
from .decide import Block, Blocks, Decision, Rule, decide
from .settled import Settled


@dataclass(frozen=True)
class Presence:
    """Classes that nowhere win with this probability lose their words, and the rest decide again."""

    presence_threshold: float | None = constant(None, off=None)  # a probability; None: off
    presence_rounds: int = 1  # at most so often; it ends where no class is absent any more

    def __post_init__(self) -> None:
        threshold = self.presence_threshold
        require(threshold is None or 0 < threshold <= 1, "presence_threshold", threshold, "above 0, up to 1, or none")
        require(1 <= self.presence_rounds <= 100, "presence_rounds", self.presence_rounds, "1 to 100")

    @property
    def is_on(self) -> bool:
        """Whether a threshold came."""
        return self.presence_threshold is not None

    def __call__(self, settled: Settled) -> Decision:
        """Decided without the words of classes that are absent. Class 0 of a rule with a threshold stays."""
        decision, rule = settled.decision, settled.rule
        size = (decision.labels.shape[0], decision.labels.shape[1])
        kept = torch.ones(rule.classes, dtype=torch.bool, device=rule.query_index.device)
        for _ in range(self.presence_rounds):
            there = kept & self.present(decision, rule)
            if not there.any() or there.equal(kept):
                break
            kept = there
            parts, narrowed = _without(settled.parts, rule, kept)
            decision = decide(parts, size, narrowed)
        return decision

    def present(self, decision: Decision, rule: Rule) -> Tensor:
        """(C,) bool: classes that some pixel is given with the threshold's confidence or more."""
        assert self.presence_threshold is not None
        sure = torch.zeros(rule.classes, device=decision.confidence.device)
        sure.scatter_reduce_(0, decision.labels.flatten(), decision.confidence.flatten(), "amax")
        found = sure >= self.presence_threshold
        if rule.background_threshold is not None:
            found[0] = True
        return found.to(rule.query_index.device)


def _without(parts: Blocks, rule: Rule, kept: Tensor) -> tuple[Blocks, Rule]:
    """The same cosines without the queries of classes that are not kept, and their rule; classes keep their numbers."""
    queries = kept[rule.query_index]
    place = torch.cumsum(queries, 0) - 1  # of a query among those that are left

    def narrowed() -> Iterator[Block]:
        for block in parts():
            here = queries[block.queries]
            if here.any():
                first = int(place[block.queries][here][0])
                some = slice(first, first + int(here.sum()))
                yield replace(block, queries=some, cosines=block.cosines[here.to(block.cosines.device)])

    return narrowed, replace(rule, query_index=rule.query_index[queries])

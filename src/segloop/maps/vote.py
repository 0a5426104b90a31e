"""Mask voting (spec 5.5): every region of a photo takes the label that most of its pixels have."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..common.records import constant
from ..errors import OptionError
from .decide import Blocks, Decision, Rule
from .settled import Settled

COUNTERS = 2**24  # of regions and labels that are held at once, in int64 128 MiB


@dataclass(frozen=True)
class Vote:
    """Every region takes the label that most of its pixels have; the confidence of what changes is that label's."""

    mask_vote: bool | None = constant(None, off=False)  # None: as masks come, unless a method says otherwise
    mask_lowest: bool | None = None  # the lowest id that is there is no region, not 0; None: as the fidelity has it

    @property
    def is_on(self) -> bool:
        """Whether regions vote."""
        return bool(self.mask_vote)

    def on(self, depth: int, reference: bool = False) -> "Vote":
        """As published, the lowest id counts."""
        return self if self.mask_lowest is not None else replace(self, mask_lowest=reference)

    def __call__(self, settled: Settled) -> Decision:
        """Raises OptionError where no masks came."""
        if settled.regions is None:
            remedy = "give them with --masks (in Python masks=), or add --set mask_vote=none"
            raise OptionError("mask_vote needs masks of regions", remedy)
        before = settled.decision
        regions = torch.from_numpy(settled.regions).to(before.labels.device)
        labels = vote(before.labels, regions, reserve_zero=not self.mask_lowest)
        changed = labels != before.labels
        if not bool(changed.any()):
            return before
        sure = sureness(labels, settled.parts, settled.rule)
        return Decision(labels, torch.where(changed, sure, before.confidence))


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


def sureness(labels: Tensor, parts: Blocks, rule: Rule) -> Tensor:
    """(H, W) labels, whoever has decided them -> (H, W) float32, the probability of each one's class (spec 0.6).

    Softmax over queries, best synonym of the class: of the cosines in `parts`, block by block.
    """
    size = labels.shape
    every, own = (torch.full(size, -torch.inf, device=labels.device) for _ in range(2))
    for block in parts():
        logits, rows = rule.as_cosines(block.cosines) * rule.logit_scale, block.rows
        mine = rule.query_index[block.queries, None, None] == labels[rows]
        every[rows] = torch.logaddexp(every[rows], logits.logsumexp(0))
        own[rows] = torch.maximum(own[rows], logits.masked_fill(~mine, -torch.inf).amax(0))
    return (own - every).exp().clamp_max(1)

"""FLOSS (spec 2.14): templates ranked for each class by how sure their maps are, and maps of experts joined by votes.

No label is read anywhere: a template is good for a class where the pixels that it gives to it have a low entropy.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

EXPERTS = 4  # templates of a class, as published
FLOOR = 1e-10  # inside the logarithm of the published entropy


@dataclass(frozen=True)
class Sureness:
    """Statistics of each template's maps over photos: what templates are ranked by."""

    total: Tensor  # (T, C) float64, entropies of the pixels that a class wins, added up
    count: Tensor  # (T, C) int64, those pixels

    @classmethod
    def none(cls, templates: int, classes: int) -> "Sureness":
        """Before the first photo."""
        return cls(torch.zeros(templates, classes, dtype=torch.float64), torch.zeros(templates, classes).long())

    def __add__(self, other: "Sureness") -> "Sureness":
        return Sureness(self.total + other.total, self.count + other.count)

    @property
    def entropy(self) -> Tensor:
        """(T, C) float64: the mean over pixels, 0 where there are none."""
        return self.total / self.count.clamp_min(1)

    def ranking(self) -> list[list[int]]:
        """For each class its templates by rising entropy, earlier ones first among equals.

        Those whose maps never have the class are left out, so that a list may be short or empty.
        """
        order = self.entropy.argsort(dim=0, stable=True).T.tolist()
        won = (self.count > 0).T.tolist()
        return [[t for t in templates if wins[t]] for templates, wins in zip(order, won, strict=True)]

    def chosen(self, most: int = EXPERTS) -> list[list[int]]:
        """The first `most` templates of each class's ranking; all templates for a class that none of them finds."""
        every = list(range(len(self.count)))
        return [templates[:most] or every for templates in self.ranking()]


def sureness(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Class values (C, ...) of one template's map -> (C,) float64 added entropies and (C,) int64 pixels, by winner.

    H = -sum_c p_c ln(p_c + 1e-10) in float32, of values as they are: the best synonym's probability, which need not add
    up to 1. A pixel counts for the first of its largest classes. On the CPU, so that sums have one order.
    """
    entropy = -(scores * (scores + FLOOR).log()).sum(0).flatten().cpu()
    winner = scores.max(0).indices.flatten().cpu()
    classes = len(scores)
    return torch.bincount(winner, entropy.double(), classes), torch.bincount(winner, minlength=classes)


@dataclass(frozen=True)
class Voice:
    """What one set of templates says, and the queries that it is the expert of."""

    probability: Tensor  # (Q, ...) float32, softmax over queries with the rows of these templates
    experts: Tensor  # (Q,) bool


def fuse(voices: Iterable[Voice], average: Tensor) -> Tensor:
    """Where an expert's own query wins its own map it votes, and the surest vote gives the pixel all its values.

    `average` (Q, ...) float32, the map of all templates, stands where nobody votes; of equal votes the first query's
    counts. Voices come one after the other and are not kept: beside them there are two maps of one number a pixel.
    """
    fused = average.clone()
    sure = torch.zeros_like(average[0])
    voter = torch.full_like(average[0], len(average), dtype=torch.int64)
    for voice in voices:
        own, winner = voice.probability.max(0)
        better = voice.experts[winner] & ((own > sure) | ((own == sure) & (winner < voter)))
        fused = torch.where(better, voice.probability, fused)
        sure, voter = torch.where(better, own, sure), torch.where(better, winner, voter)
    return fused

"""Text by which maps are voted (FLOSS, spec 2.14): rows of single templates, and whose experts they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import OptionError
from .banked import BankedRows


@dataclass(frozen=True)
class Panel:
    """A set of templates, and the queries that it is the expert of."""

    templates: list[int]  # numbers in the table
    experts: Tensor  # (Q,) bool
    length: Tensor  # (Q,) float32, of the mean row of these templates, before it is made a unit row


@dataclass(frozen=True, eq=False)
class ExpertRows:
    """Every query has an expert: the unit mean of its own templates' rows, of all queries.

    Those Q times Q rows are never made: a cosine with one is the mean of cosines with rows of the table, by its length.
    """

    votes: ClassVar[bool] = True  # tells it from plain rows

    mean: Tensor  # (Q, E) float32 unit rows of all templates: what attention, feedback and pixels without a vote read
    table: Tensor  # (T, Q, E) float32 unit rows, a template each
    chosen: tuple[tuple[int, ...], ...]  # Q times the templates of a query's expert, numbers in the table

    @classmethod
    def of(cls, mean: Tensor, table: Tensor, chosen: Sequence[Sequence[int]]) -> "ExpertRows":
        """The same without templates that nobody uses; `table` is (T, Q, E)."""
        used = sorted({number for own in chosen for number in own})
        place = {number: at for at, number in enumerate(used)}
        return cls(mean, table[used].contiguous(), tuple(tuple(place[one] for one in own) for own in chosen))

    @property
    def shape(self) -> torch.Size:
        """(Q, E), as of plain rows."""
        return self.mean.shape

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self.mean.device

    def to(self, *how: Any) -> "ExpertRows":
        """As of a tensor: these very rows where nothing changes, with the panels that are known."""
        mean = self.mean.to(*how)
        return self if mean is self.mean else ExpertRows(mean, self.table.to(*how), self.chosen)

    def cpu(self) -> "ExpertRows":
        """As of a tensor."""
        return self.to("cpu")

    @cached_property
    def panels(self) -> list[Panel]:
        """Each set of templates once, however many queries it is the expert of."""
        found = []
        rows = self.table.transpose(0, 1)
        products = rows @ rows.mT  # (Q, T, T): the length of a mean is that of all pairs of its rows
        for own in map(list, dict.fromkeys(self.chosen)):
            experts = torch.tensor([list(one) == own for one in self.chosen], device=self.device)
            length = products[:, own][:, :, own].mean((1, 2)).clamp_min(1e-24).sqrt()
            found.append(Panel(own, experts, length))
        return found

    def rows(self, panel: Panel) -> Tensor:
        """What a panel reads, written out: (Q, E) unit rows."""
        return F.normalize(self.table[panel.templates].mean(0), dim=-1)


Text = Tensor | ExpertRows | BankedRows
TEXTS = (Tensor, ExpertRows, BankedRows)


def only_plain(text: Text, who: str) -> Tensor:
    """The rows of `text`. Raises OptionError where they are of experts, or of a bank, whom `who` cannot ask."""
    if isinstance(text, Tensor):
        return text
    if isinstance(text, BankedRows):
        raise OptionError(f"{who} can read words alone, and a memory bank came", "leave the bank out")
    raise OptionError(f"{who} reads one row a word, and experts have many", "take another set of templates")


def plain_rows(text: Text) -> Tensor:
    """(Q, E) float32: what the image side reads."""
    return text if isinstance(text, Tensor) else text.mean

"""Records that travel between the rooms, with their shapes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ..errors import OptionError

Mix = Callable[[Tensor], Tensor]
"""An attention as an operator: values (B, h, N, d) -> mixed values (B, h, N, d)."""


MARGIN = -1
"""The region of pixels that a window was padded with."""


class Asked(dict[int, Tensor]):
    """States by the number of their block; one that nobody asked for is told by how to ask."""

    def __missing__(self, number: int) -> Tensor:
        """Raises OptionError."""
        raise _unasked(self, f"the output of block {number!r}", "states")


class Earlier(dict[int, "LastBlock"]):
    """Opened blocks by their number from 1; one that nobody asked for is told by how to ask."""

    def __missing__(self, number: int) -> "LastBlock":
        """Raises OptionError."""
        raise _unasked(self, f"queries and keys of block {number!r}", "blocks")


def _unasked(found: Mapping[int, Any], wanted: str, need: str) -> OptionError:
    have = f"there are those of {', '.join(map(str, sorted(found)))}" if found else "there are none"
    remedy = f"ask for it: let its needs(depth) return Needs({need}=frozenset({{number, ...}}))"
    return OptionError(f"the attention reads {wanted}, and {have}", remedy)


@dataclass(frozen=True)
class LastBlock:
    """The final CLIP block, opened: what an attention may look at (spec 0.3).

    Token 0 is the class token where `has_class_token`; the patches follow row by row. `q`, `k` and `v` carry
    their biases and are not scaled yet.
    """

    q: Tensor  # (B, h, N, d)
    k: Tensor  # (B, h, N, d)
    v: Tensor  # (B, h, N, d)
    scale: float  # alpha = d ** -0.5
    grid: tuple[int, int]  # (rows, columns) of the patches
    has_class_token: bool = True
    guide: Tensor | None = None  # (B, C, H, W) features of a vision model, where the method has one
    x: Tensor | None = None  # (B, N, D), the block's input, token by token: what q, k and v were made of
    states: "States" = field(default_factory=Asked)  # outputs of the blocks that `needs` asked for, on CLIP's own grid
    earlier: Mapping[int, "LastBlock"] = field(default_factory=Earlier)  # blocks that it asked for, on this one's grid
    regions: Tensor | None = None  # (B, H, W) int64, of the window's pixels where masks came: 0 for none, MARGIN

    @property
    def first_patch(self) -> int:
        """Its number among the tokens: 1 behind a class token, else 0."""
        return int(self.has_class_token)


Attention = Callable[[LastBlock], Mix]
"""A method of attention: builds its operator from the opened block. A frozen record where it has constants."""

States = Mapping[int, Tensor]
"""Outputs of blocks by their number, (B, [1+]N, D); 0 is the input of block 1."""

RunBlock = Callable[[int, Tensor], Tensor]
"""(number of a block, its input (B, [1+]N, D)) -> its output."""


@dataclass(frozen=True)
class Needs:
    """What stages ask for, gathered into one request before the networks run."""

    states: frozenset[int] = frozenset()  # numbers of the blocks whose outputs are read
    blocks: frozenset[int] = frozenset()  # numbers, from 1, of blocks before the last whose q, k and v are read
    guide: bool = False  # features of a vision model
    pairs: bool = False  # an N x N matrix will be held for every window
    around: Callable[[Any, RunBlock], RunBlock] | None = None  # (Batch, ...): how earlier blocks are run instead
    first_block: int | None = None  # the first of those

    @property
    def all_states(self) -> frozenset[int]:
        """Numbers of the blocks whose outputs are kept: those that are read, and the inputs of those opened."""
        return self.states | {number - 1 for number in self.blocks}

    def __or__(self, other: "Needs") -> "Needs":
        """Both; what the other puts around blocks lies within."""
        inner, outer = other.around, self.around
        both = (lambda batch, run: outer(batch, inner(batch, run))) if inner and outer else outer or inner
        firsts = [first for first in (self.first_block, other.first_block) if first is not None]
        return Needs(
            self.states | other.states,
            self.blocks | other.blocks,
            self.guide or other.guide,
            self.pairs or other.pairs,
            both,
            min(firsts, default=None),
        )

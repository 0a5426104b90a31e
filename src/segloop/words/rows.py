"""Steps on text rows: every query in every template -> one row a query. The first row of their table is the mean.

A step is a function of the whole table, or a frozen record of its constants, whose fields are settings. Rows are made
unit rows behind it. Where it says `alone`, a query's row rests on that query only: rows are then made and kept on disk
query by query, under the step's name and constants. Of any other step the template-wise rows are kept, which are as
many times larger as there are templates, and never go stale when its code changes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from ..common.records import constants_of
from ..errors import OptionError, nearest

RowStep = Callable[[Tensor], Tensor]
"""(Q, T, E) float32 unit rows, queries by templates -> (Q, E), of any length but zero."""


@dataclass(frozen=True)
class Mean:
    """The mean over the templates: "prompt ensembling" of CLIP (Radford et al. 2021, 3.1.4), as spec 0.4 has it."""

    alone: ClassVar[bool] = True

    def __call__(self, table: Tensor) -> Tensor:
        """(Q, T, E) -> (Q, E)."""
        return table.mean(1)


MEAN = Mean()
ROWS: dict[str, RowStep] = {"mean": MEAN}


def row_step(given: Any) -> RowStep:
    """The step of a name in ROWS, or a step itself. Raises OptionError naming the nearest."""
    if isinstance(given, str) and given in ROWS:
        return ROWS[given]
    if callable(given):
        return given
    raise OptionError(f"there is no step {given!r} for text rows", nearest(str(given), ROWS))


def step_name(step: RowStep) -> str:
    """What records call a step: its name in ROWS, whatever its constants, else module:function."""
    own = constants_of(step)
    known = (name for name, row in ROWS.items() if row is step or (own and type(row) is type(step)))
    named = step if hasattr(step, "__qualname__") else type(step)
    return next(known, f"{named.__module__}:{named.__qualname__}")


def is_alone(step: RowStep) -> bool:
    """Whether the row of a query rests on that query only."""
    return bool(getattr(step, "alone", False))

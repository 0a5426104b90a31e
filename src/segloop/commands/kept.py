"""Options that take the class of some pixels away."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from .amounts import area, share

if TYPE_CHECKING:
    from ..results.filters import Filter

Only = Annotated[
    str | None, typer.Option("--only", help="Classes that are kept, joined by commas; other pixels get no class.")
]
MinConfidence = Annotated[
    str, typer.Option("--min-confidence", help="Pixels whose class is less probable get none: 0.5, or 50%.")
]
MinArea = Annotated[
    str, typer.Option("--min-area", help="Smaller regions get no class: pixels, or a share of the photo such as 0.1%.")
]


@dataclass(frozen=True, kw_only=True)
class Kept:
    """Which pixels keep their class."""

    only: Only = None
    min_confidence: MinConfidence = "0"
    min_area: MinArea = "0"

    def filter(self, classes: Sequence[str]) -> "Filter":
        """As results take it, checked against the classes. Raises OptionError, UserError."""
        from ..results.filters import Filter

        only = tuple(name.strip() for name in (self.only or "").split(",") if name.strip())
        found = Filter(only, share(self.min_confidence), area(self.min_area))
        found.check(classes)
        return found

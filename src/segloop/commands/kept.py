"""Options that take the class of some pixels away."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import OptionError

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


def share(text: str) -> float:
    """ "0.5" or "50%" -> 0.5. Raises OptionError."""
    try:
        number = float(text.strip().removesuffix("%")) / (100 if text.strip().endswith("%") else 1)
    except ValueError:
        number = -1
    if not 0 <= number <= 1:
        raise OptionError(f"--min-confidence {text!r} is no probability", "give one such as 0.5, with a point, or 50%")
    return number


def area(text: str) -> float:
    """ "400" -> 400 pixels; "0.5%" -> 0.005, a share of the photo. Raises OptionError."""
    try:
        number = float(text.strip().removesuffix("%"))
    except ValueError:
        number = -1
    share = text.strip().endswith("%")
    if not 0 <= number < float("inf") or (share and number >= 100) or (not share and number % 1):
        raise OptionError(
            f"--min-area {text!r} is no area", "give pixels, such as 400, or a share such as 0.5%, with a point"
        )
    return number / 100 if share else number

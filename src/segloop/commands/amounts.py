"""Shares and areas as they are typed."""

from ..errors import OptionError


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

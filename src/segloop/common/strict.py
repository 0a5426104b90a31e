"""JSON that any reader takes: numbers that are none become null."""

import json
import math
from typing import Any


def strict(value: Any) -> Any:
    """The value in what JSON has: numbers of NumPy as Python's, NaN and infinity as None, what is unknown as text."""
    if isinstance(value, dict):
        return {str(key): strict(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [strict(item) for item in value]
    if type(value).__module__ == "numpy" and getattr(value, "ndim", 1) == 0:
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, (str, int, float)) else str(value)


def one_line(value: Any) -> str:
    """JSON in one line."""
    return json.dumps(strict(value), allow_nan=False)

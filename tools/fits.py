"""How a cost grows: exponents by least squares on logarithms, and where two lines fit far better than one."""

from collections.abc import Sequence

import numpy as np

BENT = 0.25  # least change of slope that is called a bend
LEFT = 0.5  # of the straight line's squared error that two lines may leave


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Exponent of y in x, both positive: 1 is proportional, 0 does not grow."""
    return float(_fitted(np.log10(x), np.log10(y), None)[1][1])


def bend(x: Sequence[float], y: Sequence[float]) -> tuple[float, float, float] | None:
    """(x of the point where two lines meet, slope before, slope behind); None where one line is nearly as good.

    Four points or more, all positive; with fewer there is nothing to tell.
    """
    if len(x) < 4:
        return None
    across, up = np.log10(x), np.log10(y)
    straight, _ = _fitted(across, up, None)
    error, found, knot = min(((*_fitted(across, up, at), at) for at in across[1:-1]), key=lambda one: one[0])
    before, behind = float(found[1]), float(found[1] + found[2])
    if abs(behind - before) < BENT or error > LEFT * straight:
        return None
    return float(10**knot), before, behind


def _fitted(across: np.ndarray, up: np.ndarray, knot: float | None) -> tuple[float, np.ndarray]:
    """Squared error and coefficients: constant, slope, and what the slope gains behind the knot."""
    columns = [np.ones_like(across), across, *([] if knot is None else [np.maximum(0, across - knot)])]
    basis = np.stack(columns, 1)
    found = np.linalg.lstsq(basis, up, rcond=None)[0]
    return float(((basis @ found - up) ** 2).sum()), found

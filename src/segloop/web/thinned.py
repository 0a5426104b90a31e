"""Outlines with fewer corners, for tools in which people drag them."""

import numpy as np


def thinned(ring: np.ndarray, share: float) -> np.ndarray:
    """(n, 2) corners of a closed outline -> those needed to stay within a share of its length (Douglas and Peucker).

    What would fall to less than a triangle stays as it is.
    """
    sides = np.linalg.norm(np.roll(ring, -1, 0) - ring, axis=1)
    far = int(np.linalg.norm(ring - ring[0], axis=1).argmax())
    most = share * float(sides.sum())
    closed = np.append(ring, ring[:1], 0).astype(np.float64)
    kept = np.zeros(len(closed), bool)
    kept[[0, far]] = True
    waiting = [(0, far), (far, len(ring))]
    while waiting:
        first, last = waiting.pop()
        distance = _distances(closed[first + 1 : last], closed[first], closed[last])
        if distance.size and distance.max() > most:
            middle = first + 1 + int(distance.argmax())
            kept[middle] = True
            waiting += [(first, middle), (middle, last)]
    found = ring[kept[:-1]]
    return found if len(found) > 2 else ring


def _distances(points: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """(n, 2) points to the stretch between two, (n,)."""
    along, away = last - first, points - first
    length = float(along @ along)
    place = np.clip(away @ along / length, 0, 1) if length else np.zeros(len(points))
    return np.linalg.norm(away - place[:, None] * along, axis=1)

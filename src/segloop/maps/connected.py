"""Parts of a map that hang together, over edges or corners (spec 5.6, step 2)."""

import numpy as np


def connected(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Bool (H, W) -> int64 (H, W), 0 beside the mask, and how many regions there are.

    Pixels that touch at an edge or a corner are of one region. Numbers go by each region's first pixel, row by row.
    Runs of pixels are joined, not pixels: every run takes the least number of those it touches, until none changes.
    """
    height, width = mask.shape
    edges = np.diff(np.pad(mask.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    row, start = np.nonzero(edges == 1)
    end = np.nonzero(edges == -1)[1]
    above, below = _touching(row, start, end, width)
    number = np.arange(len(row))
    while True:
        one, other = number[above], number[below]
        apart = one != other
        if not apart.any():
            break
        np.minimum.at(number, np.maximum(one, other)[apart], np.minimum(one, other)[apart])
        while (number[number] != number).any():
            number = number[number]
    least, order = np.unique(number, return_inverse=True)
    regions = np.zeros((height, width), np.int64)
    regions[mask] = np.repeat(order + 1, end - start)
    return regions, len(least)


def _touching(row: np.ndarray, start: np.ndarray, end: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of runs in rows that follow each other: numbers of the upper and of the lower."""
    line = width + 2  # so that the end of a row and the start of the next do not touch
    first = np.searchsorted(row * line + end, (row - 1) * line + start, "left")
    last = np.searchsorted(row * line + start, (row - 1) * line + end, "right")
    count = np.maximum(last - first, 0)
    below = np.repeat(np.arange(len(row)), count)
    above = np.arange(len(below)) - np.repeat(np.cumsum(count) - count, count) + np.repeat(first, count)
    return above, below

"""COCO's run lengths back to masks: the reverse of `coco.compress`."""

from collections.abc import Mapping
from typing import Any

import numpy as np


def decode(segmentation: Mapping[str, Any]) -> np.ndarray:
    """`{"size": [H, W], "counts": text or list}` -> (H, W) bool. Raises ValueError where they do not fit."""
    height, width = segmentation["size"]
    counts = segmentation["counts"]
    runs = np.asarray(counts, np.int64) if isinstance(counts, list) else expand(counts)
    if (runs < 0).any() or runs.sum() != height * width:
        raise ValueError(f"run lengths do not fill {width}x{height} pixels")
    inside = np.arange(len(runs)) % 2 == 1
    return np.repeat(inside, runs).reshape(width, height).T


def expand(text: str | bytes) -> np.ndarray:
    """COCO's text of run lengths -> the counts, int64: pixels off, on, off ... down the columns."""
    data = text.encode("ascii") if isinstance(text, str) else text
    codes = np.frombuffer(data, np.uint8).astype(np.int64) - 48
    last = codes & 32 == 0
    if not last.size or not last[-1] or codes.min() < 0:
        raise ValueError("run lengths are cut off")
    ends = np.flatnonzero(last)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    places = np.arange(len(codes)) - np.repeat(starts, lengths)
    values = np.add.reduceat((codes & 31) << (5 * places), starts)
    values -= np.where(codes[ends] & 16, np.int64(1) << (5 * lengths), 0)
    values[1::2] = np.cumsum(values[1::2])  # each is a step from the count two before, save the first three
    values[2::2] = np.cumsum(values[2::2])
    return values

"""COCO's polygons into masks, also as other programs write them; pycocotools draws them."""

import math
from collections.abc import Iterable
from importlib import import_module
from typing import Any

import numpy as np

from ..errors import UserError
from . import rle

Size = tuple[int, int]  # (H, W)


def filled(segmentation: list[Any], size: Size, otherwise: str) -> np.ndarray:
    """A `segmentation` of polygons -> (H, W) bool. Raises ValueError for what are none, and as `drawing`."""
    parts = polygons(segmentation)
    if not parts:
        return np.zeros(size, bool)
    _check(parts, size)
    api = drawing(otherwise)
    return rle.decode(api.merge(api.frPyObjects(parts, *size)))


def drawing(otherwise: str) -> Any:
    """Pycocotools' masks. Raises UserError where it is not installed; `otherwise` is what else may be done then."""
    try:
        return import_module("pycocotools.mask")
    except ImportError as error:
        what = "COCO's polygons are drawn by pycocotools, which is not installed"
        raise UserError(what, f"install it (pip install pycocotools), or {otherwise}") from error


def polygons(segmentation: list[Any]) -> list[list[Any]]:
    """COCO's [[x, y, x, y, ...], ...], also where a single one has no list around it or points are pairs [x, y].

    A polygon of fewer than three points covers nothing and is left out.
    """
    alone = not any(isinstance(part, list) for part in segmentation) or (len(segmentation) > 2 and _pairs(segmentation))
    parts = [segmentation] if alone else [part if isinstance(part, list) else [part] for part in segmentation]
    flat = ([value for point in part for value in point] if _pairs(part) else part for part in parts)
    return [part for part in flat if len(part) >= 6 or any(isinstance(value, dict) for value in part)]


def _check(parts: Iterable[list[Any]], size: Size) -> None:
    """Raise ValueError for what is no outline of a region in a photo of this size."""
    far = 10 * max(size) + 1000  # pycocotools walks along every pixel of an edge
    for part in parts:
        if len(part) % 2 or not all(type(value) in (int, float) and math.isfinite(value) for value in part):
            raise ValueError("a polygon is not pairs of numbers")
        if max(map(abs, part)) > far:
            raise ValueError("a polygon lies far outside the photo")


def _pairs(points: list[Any]) -> bool:
    return bool(points) and all(isinstance(point, list) and len(point) == 2 for point in points)

"""Which patches are looked at, and in which window: between the photo's pixels and the grid of a window."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import OptionError

if TYPE_CHECKING:
    from ..line.steps import Photo  # at run time it brings torch, seconds before a wrong point is told
    from ..maps.windows import Span

Point = tuple[int, int]  # x, y in pixels of the photo, from its upper left corner
MOST_POINTS = 16  # each is five pictures


@dataclass(frozen=True)
class Window:
    """Where one window lies in its photo, and how its grid of patches lies in it."""

    number: int  # from 0, row by row
    rows: Span  # pixels of the resized photo
    columns: Span
    pads: tuple[Span, Span]  # zeros above and below, left and right
    grid: tuple[int, int]  # patches that the attention works on, over the window with its padding
    box: tuple[int, int, int, int]  # top, bottom, left, right in pixels of the photo

    def cells(self, size: tuple[int, int], grid: tuple[int, int] | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The row and the column of the patch that each pixel of a view (height, width) shows; (height,), (width,)."""
        lengths = (self.rows[1] - self.rows[0], self.columns[1] - self.columns[0])
        row, column = (
            ((np.arange(pixels) + 0.5) * length / pixels + pad[0]) * count / (length + sum(pad))
            for pixels, length, pad, count in zip(size, lengths, self.pads, grid or self.grid, strict=True)
        )
        return row.astype(np.intp), column.astype(np.intp)


@dataclass(frozen=True)
class Spot:
    """A patch that is looked at."""

    why: str
    point: Point
    window: int
    patch: tuple[int, int]  # row, column in the window's grid

    def number(self, grid: tuple[int, int]) -> int:
        """Row by row, from 0."""
        return self.patch[0] * grid[1] + self.patch[1]


def parse_point(text: str) -> Point:
    """ "120,80" -> (120, 80). Raises OptionError."""
    x, comma, y = (part.strip() for part in text.partition(","))
    if not (comma and x.isdigit() and y.isdigit()):
        raise OptionError(
            f"point {text!r} is not x,y", "give pixels from the upper left corner, such as --point 120,80"
        )
    return int(x), int(y)


def check_points(points: Sequence[Point], size: tuple[int, int]) -> None:
    """Raises OptionError for a point outside a photo of (height, width), and for too many."""
    height, width = size
    for x, y in points:
        if not (0 <= x < width and 0 <= y < height):
            what = f"point {x},{y} lies outside the photo"
            raise OptionError(what, f"x goes from 0 to {width - 1} and y from 0 to {height - 1}")
    if len(points) > MOST_POINTS:
        raise OptionError(f"{len(points)} points came", f"give at most {MOST_POINTS} at once")


def windows_of(photo: Photo, grid: tuple[int, int]) -> list[Window]:
    """All windows of a photo, row by row."""
    scale = [target / size for target, size in zip(photo.target, photo.size, strict=True)]
    found: list[Window] = []
    for rows in photo.where.rows:
        for columns in photo.where.columns:
            box = (*_scaled(rows, scale[0]), *_scaled(columns, scale[1]))
            pads = (photo.where.pad_rows, photo.where.pad_columns)
            found.append(Window(len(found), rows, columns, pads, grid, box))
    return found


def _scaled(span: Span, scale: float) -> Span:
    return math.floor(span[0] * scale + 1e-6), math.ceil(span[1] * scale - 1e-6)  # at least one pixel


def place(photo: Photo, windows: Sequence[Window], point: Point, why: str) -> Spot:
    """The patch under a point, in the window whose middle is nearest to it."""
    x, y = (
        (at + 0.5) * size / target for at, size, target in zip(point, photo.size[::-1], photo.target[::-1], strict=True)
    )

    def distance(window: Window) -> float:
        (top, bottom), (left, right) = window.rows, window.columns
        outside = not (top <= y < bottom and left <= x < right)
        return float("inf") if outside else (y - (top + bottom) / 2) ** 2 + (x - (left + right) / 2) ** 2

    window = min(windows, key=distance)  # the first of equals
    row, column = (
        min(int((at - span[0] + pad[0]) * count / (span[1] - span[0] + sum(pad))), count - 1)
        for at, span, pad, count in zip((y, x), (window.rows, window.columns), window.pads, window.grid, strict=True)
    )
    return Spot(why, point, window.number, (row, column))


def default_points(host: np.ndarray, fed: np.ndarray, entropy: np.ndarray, size: tuple[int, int]) -> dict[Point, str]:
    """Up to three points and why: where feedback changes most, where the host is least decided, the photo's centre.

    `host` and `fed` are class distributions (C, R, S) over the photo, `entropy` (R, S) the host's; `size` is the
    photo's (height, width). The change is half the L1 distance of the two distributions.
    """
    change = np.abs(fed - host).sum(0) / 2
    height, width = size
    points: dict[Point, str] = {}
    for values, why in ((change, "feedback changes it most"), (entropy, "the host is least decided")):
        row, column = np.unravel_index(int(values.argmax()), values.shape)
        at = zip((column, row), (width, height), values.shape[::-1], strict=True)
        x, y = ((2 * int(cell) + 1) * length // (2 * count) for cell, length, count in at)
        points.setdefault((x, y), why)
    points.setdefault((width // 2, height // 2), "the photo's centre")
    return points

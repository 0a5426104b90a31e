"""The outline of every region of a label map, as polygons along pixel edges that give the map back exactly.

A region is what hangs together over the edges of pixels; where two pixels touch at a corner only, it ends. COCO's
polygons know no holes: a hole is joined to the outline above it by a seam, a line that is walked down and up again
and has no area. Whoever fills what a ring runs around, as pycocotools does, draws exactly the mask.
"""

from typing import NamedTuple

import numpy as np

# The sides of a pixel in the order of a walk around it that keeps it on the right: along its top to the east, down
# its right side, along its bottom to the west, up its left side.
RIGHT, LEFT = 1, 3
ACROSS = np.array([(-1, 0), (0, 1), (1, 0), (0, -1)])  # (row, column) from a pixel to its neighbour at each side
BEGINS = np.array([(0, 0), (1, 0), (1, 1), (0, 1)])  # (x, y) from a pixel's corner to where the walk of a side begins


class Rings(NamedTuple):
    """Closed walks along edges, R of them."""

    pixels: np.ndarray  # (R,) int64, the first pixel inside each: row * width + column
    starts: np.ndarray  # (R,) int64, where each begins among the corners
    corners: np.ndarray  # (n, 2) int64, x and y


def outlines(labels: np.ndarray) -> dict[int, list[list[int]]]:
    """(H, W) labels -> for each class that occurs, its regions' rings [x0, y0, x1, y1, ...] in pixels.

    (0, 0) is the map's upper left corner and (W, H) its lower right one. Rings run clockwise, as one looks at the
    photo, and do not repeat their first point. Regions come by their first pixel, rows before columns.
    """
    edges = _edges(labels)
    rings = _rings(edges)
    holes = np.flatnonzero(_areas(rings) < 0)
    if len(holes):
        _sew(edges, labels, rings, holes)
        rings = _rings(edges)
    found: dict[int, list[list[int]]] = {}
    points, ends = rings.corners.ravel().tolist(), [*rings.starts[1:].tolist(), len(rings.corners)]
    for index, start, end in zip(labels.flat[rings.pixels].tolist(), rings.starts.tolist(), ends, strict=True):
        found.setdefault(index, []).append(points[2 * start : 2 * end])
    return dict(sorted(found.items()))


def _edges(labels: np.ndarray) -> np.ndarray:
    """(H, W, 4) bool: which sides of a pixel part it from another class or from what lies outside."""
    edges = np.ones((*labels.shape, 4), bool)
    edges[1:, :, 0] = edges[:-1, :, 2] = labels[1:] != labels[:-1]
    edges[:, 1:, LEFT] = edges[:, :-1, RIGHT] = labels[:, 1:] != labels[:, :-1]
    return edges


def _sew(edges: np.ndarray, labels: np.ndarray, rings: Rings, holes: np.ndarray) -> None:
    """Add a seam from each hole's upper left corner straight up to the first edge.

    Of the four pixels around that corner one is the hole's first and three are its region's, else the hole would
    begin earlier. So a seam lies inside its region, and joins the hole to a ring that begins above it.
    """
    ends = np.append(rings.starts[1:], len(rings.corners))
    for hole in holes:
        x, y = rings.corners[rings.starts[hole] : ends[hole]].T
        row = y.min()
        column = x[y == row].min()
        others = (labels[:row, column - 1 : column + 1] != labels.flat[rings.pixels[hole]]).any(1)
        top = row - others[::-1].argmax() if others.any() else 0
        edges[top:row, column, LEFT] = edges[top:row, column - 1, RIGHT] = True


def _rings(edges: np.ndarray) -> Rings:
    """Walk along all edges."""
    width = edges.shape[1]
    flat = edges.reshape(-1)
    walk = np.flatnonzero(flat)  # an edge is 4 * pixel + side
    follow = np.searchsorted(walk, _next(flat, walk, width))
    pixel, side = walk // 4, walk % 4
    turns = np.zeros(len(walk), bool)
    turns[follow] = side[follow] != side
    members, starts = _cycles(follow.tolist())
    order = np.array(members)
    kept = order[turns[order]]
    corners = np.stack([pixel[kept] % width, pixel[kept] // width], 1) + BEGINS[side[kept]]
    before = np.cumsum(turns[order]) - turns[order]  # corners in front of each edge
    return Rings(pixel[order[starts]], before[starts], corners)


def _next(flat: np.ndarray, walk: np.ndarray, width: int) -> np.ndarray:
    """The edge that follows each: the sharpest right turn there is, which keeps to one region's edges."""
    step = ACROSS @ [width, 1]
    pixel, side = walk // 4, walk % 4
    turn = (side + 1) % 4
    around = 4 * pixel + turn
    beside = 4 * (pixel + step[turn]) + side
    beyond = 4 * (pixel + step[turn] + step[side]) + (side - 1) % 4
    sharp = flat[around]
    straight = ~sharp
    straight[straight] = flat[beside[straight]]
    return np.where(sharp, around, np.where(straight, beside, beyond))


def _cycles(follow: list[int]) -> tuple[list[int], list[int]]:
    """A permutation -> (its members, cycle after cycle, each from its smallest; where each cycle starts)."""
    seen = bytearray(len(follow))
    order: list[int] = []
    starts: list[int] = []
    for first in range(len(follow)):
        if seen[first]:
            continue
        starts.append(len(order))
        place = first
        while not seen[place]:
            seen[place] = 1
            order.append(place)
            place = follow[place]
    return order, starts


def _areas(rings: Rings) -> np.ndarray:
    """Twice the area that each ring runs around, (R,) int64; negative for a hole."""
    after = np.arange(1, len(rings.corners) + 1)
    after[np.append(rings.starts[1:], len(rings.corners)) - 1] = rings.starts
    (x, y), (x_after, y_after) = rings.corners.T, rings.corners[after].T
    return np.add.reduceat(x * y_after - x_after * y, rings.starts)

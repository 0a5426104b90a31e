"""One point of a photo, looked at alone: what its patch listens to before and after feedback, as two pictures."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw

from ..words.vocabulary import Vocabulary
from ..words.voting import only_plain
from .colours import heat, outline, view
from .look import window_seen
from .pictures import strength
from .places import Point, check_points, place, windows_of
from .sides import Sides

LONGEST = 420  # pixels of a picture


@dataclass(frozen=True, eq=False)
class PointSeen:
    """A patch of the window whose middle is nearest."""

    point: Point
    box: tuple[int, int, int, int]  # the window: top, bottom, left, right in pixels of the photo
    patch: tuple[int, int]  # row, column
    pictures: tuple[Image.Image, Image.Image]  # before and after feedback: attention over the window
    host_scores: np.ndarray  # (C,) float32, what the classes get at this patch
    fed_scores: np.ndarray  # (C,) float32


@torch.no_grad()
def look_at(sides: Sides, photo: Any, vocabulary: Vocabulary, point: Point) -> PointSeen:
    """Look at one point of a photo (as `Segmenter` takes it). Raises ImageError, OptionError outside the photo."""
    ready = sides.host.prepare(photo)
    check_points([point], ready.target)
    text = only_plain(sides.host.text(vocabulary), "inspect")
    grid = sides.fsa.network.window(ready, 0, text).block.grid
    windows = windows_of(ready, grid)
    spot = place(ready, windows, point, "as asked")
    window = windows[spot.window]
    (seen,), _ = window_seen(sides, ready, window, [spot], text, vocabulary)
    top, bottom, left, right = window.box
    below = view(ready.image[top:bottom, left:right], LONGEST)
    cells = window.cells(below.shape[:2])
    drawn = []
    for rows in (seen.host, seen.fed):
        picture = Image.fromarray(heat(below, strength(rows.mean(0)).reshape(window.grid), cells))
        outline(ImageDraw.Draw(picture), cells, spot.patch)
        drawn.append(picture)
    return PointSeen(point, window.box, spot.patch, (drawn[0], drawn[1]), seen.host_scores, seen.fed_scores)

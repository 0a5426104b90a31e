"""Heat over a photo: colours whose lightness only rises, or that part at zero, and marks on patches."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

RISING = ((18, 14, 46), (76, 37, 121), (167, 48, 121), (236, 104, 78), (251, 182, 92), (255, 247, 196))
PARTING = ((26, 116, 190), (118, 178, 222), (132, 132, 136), (240, 168, 108), (214, 84, 8))  # blue, grey, orange
DIMMED = 0.30  # brightness of a photo below what is not meant
INK, HALO = (255, 255, 255), (0, 0, 0)

Cells = tuple[np.ndarray, np.ndarray]
"""The row and the column of the patch that each pixel of a view shows: (height,), (width,)."""


def view(image: np.ndarray, longest: int) -> np.ndarray:
    """(H, W, 3) uint8 -> the same with its longer side `longest` pixels, no side below 32."""
    height, width = image.shape[:2]
    scale = longest / max(height, width)
    size = max(round(width * scale), 32), max(round(height * scale), 32)
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def grey(photo: np.ndarray, brightness: float = 1.0) -> np.ndarray:
    """(h, w, 3) uint8 -> (h, w, 3) float32 without colour."""
    luminance = photo.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.repeat(luminance[..., None] * np.float32(brightness), 3, axis=2)


def ramp(values: np.ndarray, stops: tuple[tuple[int, int, int], ...]) -> np.ndarray:
    """Values in [0, 1] -> (..., 3) float32 colours, straight lines between the stops."""
    at = np.clip(values, 0, 1) * (len(stops) - 1)
    table = np.array(stops, np.float32)
    low = np.minimum(at.astype(np.intp), len(stops) - 2)
    part = (at - low)[..., None].astype(np.float32)
    return table[low] * (1 - part) + table[low + 1] * part


def heat(photo: np.ndarray, values: np.ndarray, cells: Cells) -> np.ndarray:
    """(h, w, 3) uint8 under (rows, columns) values in [0, 1], a colour a patch: (h, w, 3) uint8."""
    strength = _spread(np.clip(values, 0, 1), cells)
    alpha = (0.62 + 0.33 * strength)[..., None]
    return _rounded(grey(photo, 0.9) * (1 - alpha) + ramp(strength, RISING) * alpha)


def difference(photo: np.ndarray, values: np.ndarray, cells: Cells) -> np.ndarray:
    """The same for values in [-1, 1]: blue below zero, orange above, the photo where nothing changes."""
    strength = _spread(np.clip(values, -1, 1), cells)
    alpha = (0.25 + 0.7 * np.abs(strength))[..., None]
    return _rounded(grey(photo, 0.75) * (1 - alpha) + ramp((strength + 1) / 2, PARTING) * alpha)


def dim(picture: np.ndarray, photo: np.ndarray, meant: np.ndarray, cells: Cells) -> np.ndarray:
    """A picture (h, w, 3) where patches are `meant` (rows, columns) bool, elsewhere the photo, dark."""
    return np.where(_spread(meant, cells)[..., None], picture, _rounded(grey(photo, DIMMED)))


def outline(pen: ImageDraw.ImageDraw, cells: Cells, patch: tuple[int, int], colour: tuple[int, int, int] = INK) -> None:
    """A frame around one patch, with a dark rim that shows on any ground."""
    ends = []
    for index, at in zip(cells, patch, strict=True):
        shown = np.flatnonzero(index == at)
        if not len(shown):  # the patch lies in the window's padding
            return
        ends.append((int(shown[0]), int(shown[-1])))
    (top, bottom), (left, right) = ends
    height, width = len(cells[0]), len(cells[1])
    frame(pen, (max(left, 3), max(top, 3), min(right, width - 4), min(bottom, height - 4)), colour)


def frame(pen: ImageDraw.ImageDraw, box: tuple[int, int, int, int], colour: tuple[int, int, int] = INK) -> None:
    """A frame of two pixels with a dark rim; box is left, top, right, bottom."""
    left, top, right, bottom = box
    pen.rectangle((left - 3, top - 3, right + 3, bottom + 3), outline=HALO)
    pen.rectangle((left - 2, top - 2, right + 2, bottom + 2), outline=colour, width=2)


def badge(pen: ImageDraw.ImageDraw, middle: tuple[float, float], text: str, limit: tuple[int, int]) -> None:
    """A number in a disc, kept inside a picture of `limit` (width, height)."""
    radius = 16
    x, y = (
        min(max(at, radius + 1), max(most - radius - 2, radius + 1)) for at, most in zip(middle, limit, strict=True)
    )
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=HALO, outline=INK, width=2)
    pen.text((x, y), text, INK, ImageFont.load_default(19), anchor="mm")


def _spread(values: np.ndarray, cells: Cells) -> np.ndarray:
    return values[cells[0][:, None], cells[1]]


def _rounded(picture: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(picture, 0, 255)).astype(np.uint8)

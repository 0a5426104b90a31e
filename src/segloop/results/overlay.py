"""A label map over its photo, with a legend: a picture for the eye, sized to be looked at."""

import math
import unicodedata
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..errors import OptionError
from .palette import palette

SMALLEST, LARGEST, THINNEST = 320, 2048, 32  # pixels: the view's longest side, and what no side falls below
ROWS = 20
NAME_WIDTH = 12  # of a class name in the legend, in text sizes
PAPER, INK, FAINT = (255, 255, 255), (34, 34, 34), (110, 110, 110)
BOUNDARY = 0.35  # of the brightness that surrounds it
DRAWN_SIGNS = "‘’“”«»…"  # what Pillow's own font has beyond ASCII


def draw_overlay(
    image: np.ndarray, labels: np.ndarray, classes: list[str], alpha: float = 0.55, legend: bool = True
) -> Image.Image:
    """(H, W, 3) uint8 photo and (H, W) labels -> a PIL image in RGB: class colours, boundaries and a legend.

    Each pixel is `alpha` class colour and the rest photo. The view keeps the photo's size, except that its longer
    side is brought between 320 and 2048 pixels and very thin photos are widened to 32. The legend lists the
    classes that occur, by falling share of the pixels, beside a tall photo and below a wide one. Pixels without a
    class show the photo.

    Raises OptionError for an alpha outside [0, 1].
    """
    if not 0 <= alpha <= 1:
        raise OptionError(f"an overlay's alpha of {alpha} is impossible", "choose one from 0 (photo) to 1 (colours)")
    size = view_size(*labels.shape)
    colours = palette(len(classes))
    picture = Image.fromarray(_blend(_resample(image, size), _nearest(labels, size), colours, alpha))
    if not legend:
        return picture
    return _with_legend(picture, _entries(labels, classes, colours))


def view_size(height: int, width: int) -> tuple[int, int]:
    """The (height, width) a map of this size is shown at: small ones grow by whole factors, big ones shrink."""
    longest = max(height, width)
    scale = LARGEST / longest if longest > LARGEST else math.ceil(SMALLEST / longest)
    return max(round(height * scale), THINNEST), max(round(width * scale), THINNEST)


def _resample(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if image.shape[:2] == size:
        return image
    shrinks = image.shape[0] > size[0] or image.shape[1] > size[1]
    how = Image.Resampling.LANCZOS if shrinks else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(image).resize(size[::-1], how))


def _nearest(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    rows, columns = (np.arange(m) * n // m for m, n in zip(size, labels.shape, strict=True))
    return labels[rows[:, None], columns]


def _blend(photo: np.ndarray, labels: np.ndarray, colours: np.ndarray, alpha: float) -> np.ndarray:
    """(h, w, 3) uint8 and (h, w) labels -> (h, w, 3) uint8, regions parted by a line that grows with the view."""
    mixed = photo * np.float32(1 - alpha)
    shown = np.where((labels < len(colours))[..., None], colours[np.minimum(labels, len(colours) - 1)], photo)
    mixed += shown * np.float32(alpha)
    edge = np.zeros(labels.shape, bool)
    edge[:-1] |= labels[1:] != labels[:-1]
    edge[:, :-1] |= labels[:, 1:] != labels[:, :-1]
    for _ in range(round(max(labels.shape) / 900)):
        edge[1:] |= edge[:-1].copy()
        edge[:, 1:] |= edge[:, :-1].copy()
    mixed[edge] *= BOUNDARY
    return np.rint(mixed).astype(np.uint8)


LegendEntry = tuple[tuple[int, ...] | None, str, str]  # colour, name, share as text


def _entries(labels: np.ndarray, classes: list[str], colours: np.ndarray) -> list[LegendEntry]:
    counts = np.bincount(labels.ravel(), minlength=len(classes))
    without = int(counts[len(classes) :].sum())
    counts = counts[: len(classes)]
    order = sorted(np.flatnonzero(counts).tolist(), key=lambda index: -counts[index])
    entries: list[LegendEntry] = [
        (tuple(colours[index].tolist()), drawable(classes[index], index), _percent(counts[index] / labels.size))
        for index in order[:ROWS]
    ]
    if len(order) > ROWS:
        rest = counts[order[ROWS:]].sum() / labels.size
        entries.append((None, f"and {len(order) - ROWS} more", _percent(rest)))
    if without:
        entries.append((None, "no class", _percent(without / labels.size)))
    return entries


def drawable(name: str, index: int) -> str:
    """A class name in the letters that Pillow's own font has: accents go, another script becomes `class 7`."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", name) if unicodedata.category(c) != "Mn")
    plain = " ".join(plain.split())
    known = plain and all((c.isascii() and c.isprintable()) or c in DRAWN_SIGNS for c in plain)
    return plain if known else f"class {index}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.0005 else "< 0.1 %"


def _with_legend(picture: Image.Image, entries: list[LegendEntry]) -> Image.Image:
    width, height = picture.size
    text = min(max(round(0.022 * max(width, height)), 12), 36)
    font = ImageFont.load_default(text)
    entries = [(colour, _shorten(name, font, NAME_WIDTH * text), share) for colour, name, share in entries]
    line, margin = round(1.7 * text), text
    names, shares = (max(math.ceil(font.getlength(entry[part])) for entry in entries) for part in (1, 2))
    cell = round(1.7 * text) + names + text + shares
    beside = height >= width
    across = 1 if beside else max(1, (width - margin) // (cell + 2 * margin))
    down = math.ceil(len(entries) / across)
    box = 2 * margin + across * cell + (across - 1) * 2 * margin, 2 * margin + down * line
    if beside:
        canvas, corner = (width + box[0], max(height, box[1])), (width + margin, margin)
    else:
        canvas, corner = (max(width, box[0]), height + box[1]), (margin, height + margin)
    sheet = Image.new("RGB", canvas, PAPER)
    sheet.paste(picture, (0, 0))
    pen = ImageDraw.Draw(sheet)
    for place, entry in enumerate(entries):
        column, row = divmod(place, down)
        _draw_entry(pen, font, entry, (corner[0] + column * (cell + 2 * margin), corner[1] + row * line), cell)
    return sheet


def _draw_entry(
    pen: Any, font: ImageFont.FreeTypeFont, entry: LegendEntry, corner: tuple[int, int], width: int
) -> None:
    (colour, name, share), (x, y) = entry, corner
    size = round(font.size)
    middle = y + round(0.85 * size)
    if colour is not None:
        square = x, middle - size // 2, x + size, middle + size - size // 2
        pen.rounded_rectangle(square, size // 5, fill=colour, outline=FAINT)
    pen.text((x + round(1.7 * size), middle), name, INK, font, anchor="lm")
    pen.text((x + width, middle), share, FAINT, font, anchor="rm")


def _shorten(name: str, font: ImageFont.FreeTypeFont, room: float) -> str:
    if len(name) <= 200 and font.getlength(name) <= room:
        return name
    name = name[:200]
    while name and font.getlength(name + "…") > room:
        name = name[:-1]
    return name.rstrip() + "…"

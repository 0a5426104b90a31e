"""The pictures of an inspection, by name: maps of the whole photo, and heat over the windows that are looked at."""

import math
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageDraw

from ..results.overlay import draw_overlay
from ..results.palette import palette
from .colours import Cells, badge, difference, dim, frame, grey, heat, outline, view
from .look import Inspection, Map, Seen, Tokens
from .places import Window

PHOTO, WINDOW, SCORE, HEAD = 560, 360, 280, 150  # longest side of views, in pixels
OUTLIER = (64, 224, 240)
QUANTILE = 0.99
SHOWN_CLASSES = 8  # score maps

Named = Iterator[tuple[str, Image.Image]]


def pictures(found: Inspection) -> dict[str, Image.Image]:
    """Name (without suffix) -> RGB picture; the order is that of the page."""
    return dict([*_maps(found), *_points(found), *_tokens(found), *_scores(found)])


def shown_classes(found: Inspection) -> list[int]:
    """The classes whose score maps are drawn: the largest in either map, then the most probable."""
    host, fsa, _ = found.maps
    share = [max(host.share[name], fsa.share[name]) for name in found.classes]
    mean = host.scores.mean((1, 2))
    return sorted(range(len(share)), key=lambda c: (-share[c], -mean[c]))[:SHOWN_CLASSES]


def strength(values: np.ndarray) -> np.ndarray:
    """Weights -> their square roots, 1 at `brightest` and above; negative ones keep their sign."""
    return np.sign(values) * np.sqrt(np.minimum(np.abs(values) / (brightest(values) or 1), 1))


def brightest(values: np.ndarray) -> float:
    """Where the colours of weights end: the 99th percentile, so that one patch cannot darken all the others.

    At least a twentieth of the largest weight, or a row that listens to one patch would show its noise.
    """
    sizes = np.abs(values)
    return max(float(np.quantile(sizes, QUANTILE)), float(sizes.max()) / 20)


def norm_range(tokens: Tokens) -> tuple[float, float]:
    """The norms that a window's two pictures of tokens reach from and to."""
    both = np.concatenate([tokens.before, tokens.after])
    return float(both.min()), float(both.max())


def _maps(found: Inspection) -> Named:
    photo = view(found.photo.image, PHOTO)
    yield "photo", _marked(found, photo)
    labels = {side.name: _nearest(side.labels, photo) for side in found.maps}
    for side in found.maps:
        yield side.name, draw_overlay(photo, labels[side.name], found.classes, legend=False)
    colours = palette(len(found.classes)).astype(np.float32)
    for name in ("fsa", "sfp"):
        changed = (labels[name] != labels["host"])[..., None]
        picture = np.where(changed, colours[labels[name]], grey(photo, 0.45))
        yield f"changed-{name}", Image.fromarray(np.rint(picture).astype(np.uint8))
    host, fsa, _ = found.maps
    cells, most = _cells(host, photo), _most_entropy(found)
    for side in (host, fsa):
        yield f"entropy-{side.name}", Image.fromarray(heat(photo, side.entropy / most, cells))
    change = difference(photo, strength(fsa.entropy - host.entropy), cells)
    yield "entropy-difference", Image.fromarray(change)


def _marked(found: Inspection, photo: np.ndarray) -> Image.Image:
    """The photo with its inspected windows and numbered points."""
    picture = Image.fromarray(photo)
    pen = ImageDraw.Draw(picture)
    sizes = zip(picture.size, found.photo.image.shape[1::-1], strict=True)
    across, down = (shown / full for shown, full in sizes)
    for number in sorted(found.kept_share):
        top, bottom, left, right = found.windows[number].box
        box = (left * across + 3, top * down + 3, right * across - 4, bottom * down - 4)
        frame(pen, tuple(round(at) for at in box))
    for number, seen in enumerate(found.seen, start=1):
        x, y = seen.place.point
        badge(pen, ((x + 0.5) * across, (y + 0.5) * down), str(number), picture.size)
    return picture


def _points(found: Inspection) -> Named:
    for number, seen in enumerate(found.seen, start=1):
        window = found.windows[seen.place.window]
        photo = window_view(found, window, WINDOW)
        cells = window.cells(photo.shape[:2])
        host, fed = seen.host.mean(0), seen.fed.mean(0)
        drawn = {
            "host": heat(photo, _grid(strength(host), window), cells),
            "fsa": heat(photo, _grid(strength(fed), window), cells),
            "difference": difference(photo, _grid(strength(fed - host), window), cells),
            "similarity": heat(photo, _grid(seen.similarity, window), cells),
        }
        kept = heat(photo, _grid(strength(seen.new), window), cells)
        drawn["kept"] = dim(kept, photo, _grid(seen.kept, window), cells)
        for what, picture in drawn.items():
            yield f"point-{number}-{what}", _with_patch(picture, cells, seen)
        if len(seen.fed) > 1:
            for what, rows in (("host", seen.host), ("fsa", seen.fed)):
                yield f"point-{number}-heads-{what}", _heads(found, seen, rows)


def _heads(found: Inspection, seen: Seen, rows: np.ndarray) -> Image.Image:
    """One small heat map for each head, six in a line, each with its own scale."""
    window = found.windows[seen.place.window]
    photo = window_view(found, window, HEAD)
    cells = window.cells(photo.shape[:2])
    tiles = [_with_patch(heat(photo, _grid(strength(row), window), cells), cells, seen) for row in rows]
    across, gap = min(len(tiles), 6), 6
    width, height = tiles[0].size
    lines = math.ceil(len(tiles) / across)
    sheet = Image.new("RGBA", (across * (width + gap) - gap, lines * (height + gap) - gap))
    for place, tile in enumerate(tiles):
        line, column = divmod(place, across)
        sheet.paste(tile, (column * (width + gap), line * (height + gap)))
    return sheet


def _tokens(found: Inspection) -> Named:
    for tokens in found.tokens:
        photo = window_view(found, tokens.window, WINDOW)
        cells = tokens.window.cells(photo.shape[:2], tokens.grid)
        low, high = norm_range(tokens)
        for what, norms in (("before", tokens.before), ("after", tokens.after)):
            scaled = (norms - low) / ((high - low) or 1)
            picture = Image.fromarray(heat(photo, scaled.reshape(tokens.grid), cells))
            pen = ImageDraw.Draw(picture)
            for patch in np.flatnonzero(tokens.outliers):
                row, column = divmod(int(patch), tokens.grid[1])
                outline(pen, cells, (row, column), OUTLIER)
            yield f"window-{tokens.window.number}-{what}", picture


def _scores(found: Inspection) -> Named:
    photo = view(found.photo.image, SCORE)
    for number, index in enumerate(shown_classes(found), start=1):
        for side in found.maps[:2]:
            picture = heat(photo, side.scores[index], _cells(side, photo))
            yield f"score-{number}-{side.name}", Image.fromarray(picture)


def window_view(found: Inspection, window: Window, longest: int) -> np.ndarray:
    """The photo's part below a window, (h, w, 3) uint8."""
    top, bottom, left, right = window.box
    return view(found.photo.image[top:bottom, left:right], longest)


def _with_patch(picture: np.ndarray, cells: Cells, seen: Seen) -> Image.Image:
    made = Image.fromarray(picture)
    outline(ImageDraw.Draw(made), cells, seen.place.patch)
    return made


def _grid(values: np.ndarray, window: Window) -> np.ndarray:
    return values.reshape(window.grid)


def _cells(side: Map, photo: np.ndarray) -> Cells:
    rows, columns = (np.arange(n) * cells // n for n, cells in zip(photo.shape, side.entropy.shape, strict=False))
    return rows, columns


def _most_entropy(found: Inspection) -> float:
    """Bits; the entropy of a distribution that knows nothing."""
    return math.log2(max(len(found.classes), 2))


def _nearest(labels: np.ndarray, photo: np.ndarray) -> np.ndarray:
    rows, columns = (np.arange(n) * full // n for n, full in zip(photo.shape, labels.shape, strict=False))
    return labels[rows[:, None], columns]

"""Procedural scenes: textured grounds and coloured shapes with exact masks and captions, drawn from a seed.

They stand in for photographs where none can be had: the bundled model is trained on them, and tests, examples
and the data set `scenes` measure on them.
"""

import io
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from ..common.earlier import check_replaced, exactly, lines_of, mark, png_of
from ..common.files import write_whole
from ..common.visible import shortened
from ..errors import OptionError
from .textures import GROUNDS, Rng, colour, texture

# hue in degrees, then the ranges of saturation and value
COLOURS: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "red": ((352, 365), (0.85, 1.0), (0.75, 0.95)),
    "green": ((112, 145), (0.75, 1.0), (0.5, 0.8)),
    "blue": ((222, 240), (0.8, 1.0), (0.65, 0.95)),
    "yellow": ((50, 60), (0.85, 1.0), (0.88, 1.0)),
    "purple": ((272, 296), (0.65, 0.95), (0.5, 0.8)),
    "orange": ((24, 33), (0.9, 1.0), (0.92, 1.0)),
    "black": ((0, 360), (0.0, 0.1), (0.03, 0.13)),
    "white": ((0, 360), (0.0, 0.02), (0.95, 1.0)),
}
# corners around the centre: (angle in turns, radius), both relative to the shape's own size
SHAPES: dict[str, list[tuple[float, float]]] = {
    "circle": [(step / 64, 0.88) for step in range(64)],
    "square": [(0.125 + step / 4, 1.05) for step in range(4)],
    "triangle": [(0.25 + step / 3, 1.15) for step in range(3)],
    "star": [(0.25 + step / 10, 1.15 if step % 2 == 0 else 0.5) for step in range(10)],
    "diamond": [(step / 4, 1.2 if step % 2 else 0.75) for step in range(4)],
}
CLASSES: tuple[str, ...] = (*GROUNDS, *COLOURS)
CLASS_FILE = ("\n".join(CLASSES) + "\n").encode()
# on these grounds a shape of that colour would hardly be seen
CLASHES = {"grass": "green", "water": "blue", "brick": "red", "snow": "white"}
SUPERSAMPLING = 4


@dataclass(frozen=True)
class Scene:
    """One picture, its truth and its words."""

    image: np.ndarray  # (H, W, 3) uint8 RGB
    mask: np.ndarray  # (H, W) uint8, index into CLASSES; a shape has the class of its colour
    caption: str  # names every ground, and every shape with its colour
    shapes: tuple[tuple[str, str], ...]  # (colour, shape), first drawn first


Renderer = Callable[[int, tuple[int, int]], Scene]
"""A seed and a size (H, W) -> the scene of this seed, the same bytes every time."""


def scene(seed: int, size: tuple[int, int] = (192, 256)) -> Scene:
    """The scene of this seed at this size (H, W) in pixels; the same bytes every time.

    Grounds, borders and shapes do not depend on the size: a larger picture of the same sides' ratio shows the
    same scene.
    """
    if seed < 0 or min(size) < 16:
        what = f"a scene of seed {seed} and size {size[0]}x{size[1]} pixels"
        raise OptionError(what, "give a seed of at least 0 and sides of at least 16 pixels")
    rng = np.random.default_rng([seed, 20])
    grounds = [str(name) for name in rng.permutation(list(GROUNDS))[: rng.choice([1, 2, 3], p=[0.2, 0.5, 0.3])]]
    regions = bands(rng, size, len(grounds))
    unit = min(size) / 192
    painted = np.zeros((*size, 3), np.float32)
    for index, ground in enumerate(grounds):
        layer = texture(ground, np.random.default_rng([seed, 21, index]), size, unit)
        painted = np.where((regions == index)[..., None], layer, painted)
    mask = np.array([CLASSES.index(ground) for ground in grounds], np.uint8)[regions]
    image = painted * 255
    shapes = _draw_shapes(rng, image, mask, grounds)
    visible = [ground for ground in grounds if (mask == CLASSES.index(ground)).any()]
    rounded = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    return Scene(rounded, mask, caption(visible, shapes), shapes)


def caption(grounds: list[str], shapes: tuple[tuple[str, str], ...]) -> str:
    """Words for what is seen: "grass and sand with a red circle"."""
    things = [f"{'an' if tint[0] in 'aeiou' else 'a'} {tint} {shape}" for tint, shape in shapes]
    parts = [", ".join([*group[:-2], " and ".join(group[-2:])]) for group in (grounds, things) if group]
    return " with ".join(parts)


def write_scenes(
    folder: Path, count: int, seed: int, size: tuple[int, int] = (192, 256), renderer: Renderer | None = None
) -> None:
    """Write `count` scenes of size (H, W): images, masks, classes.txt and captions.jsonl.

    `renderer` draws them, `scene` where none is given. Scene i has the seed `seed * 1_000_000 + i`, so a longer run
    begins with the scenes of a shorter one. Scenes that are there are replaced. Raises OptionError where anything else
    bears the name of one, and where others would stay.
    """
    if not 1 <= count <= 1_000_000:
        raise OptionError(f"{count} scenes were asked for", "choose a count from 1 to 1000000")
    names = [f"{index:06d}.png" for index in range(count)]
    written = {folder / "classes.txt": exactly(CLASS_FILE), folder / "captions.jsonl": lines_of(("image", "caption"))}
    written |= {folder / below / name: png_of("scene") for below in ("images", "masks") for name in names}
    check_replaced(written, "move it away, or choose another folder")
    _check_whole(folder, names)
    lines = []
    for index, name in enumerate(names):
        drawn = (renderer or scene)(seed * 1_000_000 + index, size)
        write_whole(folder / "images" / name, _png(Image.fromarray(drawn.image)))
        write_whole(folder / "masks" / name, _png(palette_mask(drawn.mask)))
        lines.append(json.dumps({"image": f"images/{name}", "caption": drawn.caption}))
    write_whole(folder / "classes.txt", CLASS_FILE)
    write_whole(folder / "captions.jsonl", ("\n".join(lines) + "\n").encode())


def _check_whole(folder: Path, names: list[str]) -> None:
    """Raises OptionError for pictures that would stay among those drawn: nothing tells them apart afterwards."""
    left = {path.name for below in ("images", "masks") for path in (folder / below).glob("*.png")} - set(names)
    if left:
        what = f"{shortened(folder)} has {len(left)} more pictures, such as {min(left)}, which would stay among the new"
        raise OptionError(what, "choose another folder, or delete them")


def palette_mask(mask: np.ndarray) -> Image.Image:
    """Mask (H, W) of class numbers -> an 8-bit palette image that a person can read."""
    image = Image.fromarray(mask)
    image.putpalette([channel for rgb in PALETTE for channel in rgb])
    return image


PALETTE = (
    *((86, 152, 58), (222, 192, 138), (58, 132, 184), (158, 82, 62), (124, 84, 48), (226, 236, 246)),
    *((222, 32, 36), (20, 166, 80), (36, 64, 222), (248, 222, 32), (142, 50, 172), (250, 132, 18)),
    *((16, 16, 16), (255, 255, 255)),
)


def _png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG", pnginfo=mark("scene"))
    return stream.getvalue()


def bands(rng: Rng, size: tuple[int, int], count: int) -> np.ndarray:
    """Split the picture into `count` grounds: (H, W) region numbers.

    The borders are level lines of a slope in a random direction, straight or bent by two waves. Of two
    grounds, one is sometimes a band across the other.
    """
    height, width = size
    short = min(size)
    y, x = np.mgrid[:height, :width] / short
    angle = rng.uniform(0, 2 * math.pi)
    along, across = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    bend = rng.choice([0.0, 0.04, 0.07])
    for frequency in rng.uniform(0.7, 2.2, 2):
        along = along + bend * np.sin(2 * math.pi * (frequency * across + rng.uniform()))
    band = count == 2 and rng.uniform() < 0.3
    if count == 1:
        return np.zeros(size, np.intp)
    spans = [(0.3, 0.7)] if count == 2 and not band else [(0.25, 0.38), (0.62, 0.75)]
    cuts = [rng.uniform(*span) for span in spans]
    stripes = np.digitize(along, np.quantile(along, cuts))
    return stripes % 2 if band else stripes


def _draw_shapes(rng: Rng, image: np.ndarray, mask: np.ndarray, grounds: list[str]) -> tuple[tuple[str, str], ...]:
    """Draw 0 to 3 shapes of different colours, none over another, into image (H, W, 3) and mask (H, W)."""
    height, width = mask.shape
    hidden = {CLASHES.get(ground) for ground in grounds}
    tints = [str(tint) for tint in rng.permutation([tint for tint in COLOURS if tint not in hidden])]
    placed: list[tuple[float, float, float]] = []
    drawn = []
    for tint in tints[: rng.choice(4, p=[0.15, 0.35, 0.3, 0.2])]:
        shape = str(rng.choice(list(SHAPES)))
        radius = rng.uniform(0.1, 0.2) * min(height, width)
        spots = rng.uniform(radius, [width - radius, height - radius], (30, 2))
        free = [(x, y) for x, y in spots if all(math.hypot(x - a, y - b) > 1.25 * (radius + r) for a, b, r in placed)]
        if not free:
            continue
        placed.append((*free[0], radius))
        paint(rng, image, mask, tint, coverage(rng, mask.shape, shape, *placed[-1]))
        drawn.append((tint, shape))
    return tuple(drawn)


def coverage(rng: Rng, size: tuple[int, ...], shape: str, x: float, y: float, radius: float) -> np.ndarray:
    """Share of each pixel that the shape covers, (H, W) in [0, 1]."""
    turn = rng.uniform(-0.04, 0.04)
    corners = [
        (
            (x + radius * far * math.cos(2 * math.pi * (turns + turn))) * SUPERSAMPLING,
            (y - radius * far * math.sin(2 * math.pi * (turns + turn))) * SUPERSAMPLING,
        )
        for turns, far in SHAPES[shape]
    ]
    fine = Image.new("L", (size[1] * SUPERSAMPLING, size[0] * SUPERSAMPLING))
    ImageDraw.Draw(fine).polygon(corners, fill=255)
    return np.asarray(fine.reduce(SUPERSAMPLING), np.float32) / 255


def paint(rng: Rng, image: np.ndarray, mask: np.ndarray, tint: str, cover: np.ndarray) -> None:
    """Lay the colour, a little uneven and lit from one side, where the shape covers image and mask."""
    height, width = mask.shape
    slope = np.linspace(-1, 1, width) * rng.uniform(-0.08, 0.08)
    slope = slope + np.linspace(-1, 1, height)[:, None] * rng.uniform(-0.08, 0.08)
    grain = rng.spawn(1)[0].normal(0, rng.uniform(0, 4), (height, width, 1))
    ink = colour(rng, *COLOURS[tint]) * 255 * (1 + slope[..., None]) + grain
    image += cover[..., None] * (ink - image)
    mask[cover >= 0.5] = CLASSES.index(tint)

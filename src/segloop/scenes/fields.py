"""Six grounds as functions of a place, for the renderer `cells`: the words of `textures`, drawn another way.

A field is `(rng, x, y) -> (H, W, 3)` float RGB in about [0, 1], where x and y (H, W) are places in 192nds of the
scene's short side. It can be asked at any place, so a scene of any size shows the same ground. Fields are made of
summed plane waves and of distances to scattered points (Worley noise); `textures` draws strokes and resizes lattices.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .textures import Rng, colour

Field = Callable[[Rng, np.ndarray, np.ndarray], np.ndarray]
POINTS = 128  # cells of scattered points along a side, before they repeat


@dataclass(frozen=True)
class Scattered:
    """What lies nearest to each place, all (H, W) float32; distances in cells."""

    nearest: np.ndarray
    second: np.ndarray
    lot: np.ndarray  # of the nearest point, in [0, 1)


def field(name: str, rng: Rng, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """One ground, turned and lit at random, at the places x and y (H, W) -> (H, W, 3) float32 RGB in [0, 1]."""
    draw, tilt = FIELDS[name]
    rgb = draw(rng, *_turned(x, y, math.radians(rng.uniform(-tilt, tilt))))
    middle = rng.uniform(0, 200, 2)
    glow = np.exp(-((x - middle[0]) ** 2 + (y - middle[1]) ** 2) / rng.uniform(120, 260) ** 2)
    light = rng.uniform(0.84, 1.08) * (1 + rng.uniform(-0.12, 0.12) * (glow - 0.5))
    return np.clip(rgb * light[..., None], 0, 1).astype(np.float32)


def _turned(x: np.ndarray, y: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Places seen from a frame that is turned by `angle` in radians."""
    along, across = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    return x * along + y * across, y * along - x * across


def waves(
    rng: Rng,
    x: np.ndarray,
    y: np.ndarray,
    lengths: tuple[float, float],
    slope: float = 1.0,
    toward: float = 0.0,
    spread: float = math.pi,
    count: int = 20,
) -> np.ndarray:
    """A sum of plane waves (H, W) of mean square 1: `lengths` from shortest to longest, high as length ** slope.

    They run within `spread` of the angle `toward`, in radians.
    """
    length = np.exp(rng.uniform(math.log(lengths[0]), math.log(lengths[1]), count))
    angle, phase = toward + rng.uniform(-spread, spread, count), rng.uniform(0, 2 * math.pi, count)
    height = length**slope / math.sqrt((length ** (2 * slope)).sum() / 2)
    total = np.zeros(x.shape, np.float32)
    turns = 2 * math.pi / length
    for a, b, c, h in zip(turns * np.cos(angle), turns * np.sin(angle), phase, height, strict=True):
        total += np.float32(h) * np.sin(x * np.float32(a) + y * np.float32(b) + np.float32(c))
    return total


def scattered(rng: Rng, x: np.ndarray, y: np.ndarray, cell: tuple[float, float]) -> Scattered:
    """One point at random in each cell (width, height) of a grid; what is nearest to each place (H, W)."""
    points = rng.uniform(0.05, 0.95, (POINTS, POINTS, 2)).astype(np.float32)
    lots = rng.uniform(size=(POINTS, POINTS)).astype(np.float32)
    x, y = x / np.float32(cell[0]), y / np.float32(cell[1])
    left, top = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    nearest, second = (np.full(x.shape, 9, np.float32) for _ in range(2))
    lot = np.zeros(x.shape, np.float32)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            place = (top + down) % POINTS, (left + right) % POINTS
            spot = points[place]
            far = (x - left - right - spot[..., 0]) ** 2 + (y - top - down - spot[..., 1]) ** 2
            closer = far < nearest
            second = np.where(closer, nearest, np.minimum(second, far))
            lot = np.where(closer, lots[place], lot)
            nearest = np.where(closer, far, nearest)
    return Scattered(np.sqrt(nearest), np.sqrt(second), lot)


def _grass(rng: Rng, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Tall narrow cells, each a blade of its own green, in two layers."""
    green = colour(rng, (72, 125), (0.45, 0.8), (0.44, 0.7))
    straw = colour(rng, (58, 80), (0.35, 0.6), (0.5, 0.72))
    scale = rng.uniform(0.8, 1.4)
    sway = x + 2.5 * scale * waves(rng, x, y, (20, 60))
    below = scattered(rng, sway, y, (2.4 * scale, 12 * scale))
    above = scattered(rng, sway + 0.25 * y, y, (3.4 * scale, 15 * scale))
    tip = (above.lot > 0.55) & (above.nearest < 0.42)
    light = np.where(tip, 0.9 + 0.7 * (above.lot - 0.55), 0.5 + 0.6 * below.lot) * (1.12 - 0.35 * below.nearest)
    dry = np.where(tip, above.lot > 0.93, below.lot > 0.9)[..., None]
    return np.where(dry, 0.6 * straw + 0.4 * green, green) * light[..., None]


def _sand(rng: Rng, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Crests that fall off to one side, fine grain, some pebbles."""
    tan = colour(rng, (29, 47), (0.22, 0.48), (0.7, 0.92))
    scale = rng.uniform(0.8, 1.5)
    place = y / (rng.uniform(11, 24) * scale) + 0.35 * waves(rng, x, y, (40, 140))
    crest = (place - np.floor(place)) * np.minimum(1, 6 * (1 - (place - np.floor(place))))
    grain = waves(rng, x, y, (2.2, 4.5), 0.0, count=28)
    stones = scattered(rng, x, y, (4.2 * scale, 3.6 * scale))
    light = 0.96 + rng.uniform(0, 0.13) * (crest - 0.4) + 0.045 * grain
    light = light + np.where((stones.lot < 0.1) & (stones.nearest < 0.33), 4 * stones.lot - 0.3, 0)
    return tan * light[..., None]


def _water(rng: Rng, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A swell that runs toward the viewer, under a web of light wider than high."""
    blue = colour(rng, (182, 222), (0.5, 0.85), (0.45, 0.75))
    scale = rng.uniform(0.8, 1.5)
    swell = waves(rng, x, y, (5 * scale, 28 * scale), 0.8, math.pi / 2, 0.3, 24)
    bent = y + 1.5 * scale * swell + 2 * scale * waves(rng, x, y, (18, 50))
    web = scattered(rng, x + 3 * waves(rng, x, y, (14, 40)), bent, (27 * scale, 10 * scale))
    lines = np.clip(1 - 3.2 * (web.second - web.nearest), 0, 1) ** 2 * rng.uniform(0.25, 0.5)
    light = 1 + 0.13 * swell + 0.08 * (web.lot - 0.5)
    return blue * light[..., None] + lines[..., None] * np.array([0.6, 0.8, 0.85], np.float32)


def _brick(rng: Rng, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Long and short bricks in turn, with round corners and a bevel, in sunk mortar."""
    scale = rng.uniform(0.75, 1.4)
    long, short, high, gap = 24 * scale, 12 * scale, 12 * scale, rng.uniform(0.7, 1.2) * scale
    row = np.floor(y / high)
    shifted = x + (row % 2) * (long + short) / 2
    pair = np.floor(shifted / (long + short))
    inner = shifted - pair * (long + short)
    second = inner >= long
    half = np.where(second, short, long) / 2
    off = np.abs(inner - np.where(second, long + short / 2, long / 2)) - half + gap + 1.5 * scale
    up = y - (row + 0.5) * high
    rise = np.abs(up) - high / 2 + gap + 1.5 * scale
    edge = np.hypot(np.maximum(off, 0), np.maximum(rise, 0)) + np.minimum(np.maximum(off, rise), 0) - 1.5 * scale
    lots = rng.normal(0, 1, (POINTS, POINTS, 3)).astype(np.float32)
    own = lots[row.astype(np.int64) % POINTS, (2 * pair + second).astype(np.int64) % POINTS]
    red = colour(rng, (4, 20), (0.48, 0.72), (0.46, 0.72))
    rough = 0.05 * waves(rng, x, y, (2.4, 7), 0.3) + 0.05 * waves(rng, x, y, (10, 40))
    light = 1 + 0.13 * own[..., 0] + rough - 0.12 * np.clip(1 + edge / (1.6 * scale), 0, 1) * np.sign(up)
    face = red * light[..., None] + 0.02 * own
    mortar = colour(rng, (20, 50), (0.03, 0.14), (0.55, 0.8)) * (1 + 1.5 * rough)[..., None]
    return np.where((edge < 0)[..., None], face, mortar)


def _wood(rng: Rng, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Rings that bend around knots, fine fibre, now and then a joint between boards."""
    scale = rng.uniform(0.8, 1.5)
    brown = colour(rng, (20, 34), (0.45, 0.7), (0.45, 0.78))
    board = rng.uniform(38, 70) * scale
    lots = rng.uniform(-1, 1, POINTS).astype(np.float32)
    own = lots[np.floor(y / board).astype(np.int64) % POINTS]
    depth = y + 30 * own + 5 * scale * waves(rng, x, y, (70, 220), 1.0, 0.0, 0.6)
    knots = scattered(rng, x, y, (150 * scale, board))
    eye = np.exp(-((knots.nearest / 0.22) ** 2)) * (knots.lot > 0.55)
    ring = (depth + 16 * scale * eye) / (rng.uniform(6, 11) * scale)
    late = (ring - np.floor(ring)) ** 3
    fibre = waves(rng, x, y, (1.8, 6), 0.2, math.pi / 2, 0.035, 24)
    light = 1.04 + 0.08 * own - 0.26 * late + 0.05 * fibre - 0.4 * np.clip(eye - 0.45, 0, 1)
    joint = np.abs(y / board - np.rint(y / board)) * board < 0.8 * scale
    return brown * np.where(joint, 0.45, light)[..., None]


def _snow(rng: Rng, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Hollows and ridges under a low sun, with single sparks."""
    scale = rng.uniform(0.8, 1.5)
    sun = rng.uniform(0, 2 * math.pi)
    slope = waves(rng, x, y, (14 * scale, 90 * scale), 0.7, sun, 0.9) + 0.25 * waves(rng, x, y, (4, 12), 0.5, sun, 0.9)
    shade = np.clip(0.28 - 0.42 * slope, 0, 1)[..., None] * rng.uniform(0.4, 0.95)
    white = np.array([0.975, 0.985, 1.0], np.float32) * rng.uniform(0.95, 1.04)
    blue = colour(rng, (205, 228), (0.16, 0.32), (0.76, 0.92))
    sparks = scattered(rng, x, y, (3 * scale, 3 * scale))
    spark = 0.12 * ((sparks.lot > 0.9) & (sparks.nearest < 0.3))
    return white * (1 - shade) + blue * shade + spark[..., None]


# name -> how to draw it, and how far it may be turned either way, in degrees
FIELDS: dict[str, tuple[Field, float]] = {
    "grass": (_grass, 22),
    "sand": (_sand, 180),
    "water": (_water, 14),
    "brick": (_brick, 18),
    "wood": (_wood, 180),
    "snow": (_snow, 180),
}

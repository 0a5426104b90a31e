"""Six grounds drawn from a seed: grass, sand, water, brick, wood, snow.

Each texture is a function `(rng, side, unit) -> (side, side, 3)` float RGB in about [0, 1], where `unit` is
the length in pixels of 1/192 of the scene's short side, so that a scene looks the same at every size. Hue,
scale, contrast and light vary widely on purpose: a model that looks at many of them has to learn the ground and
not one colour.
"""

import colorsys
import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

Rng = np.random.Generator
Texture = Callable[[Rng, int, float], np.ndarray]


def texture(name: str, rng: Rng, size: tuple[int, int], unit: float) -> np.ndarray:
    """One ground under its own light and rotation -> (H, W, 3) float32 RGB in [0, 1]."""
    height, width = size
    side = math.ceil(math.hypot(height, width)) + 2
    draw, tilt = GROUNDS[name]
    flat = np.clip(draw(rng, side, unit) * 255, 0, 255).astype(np.uint8)
    turned = Image.fromarray(flat).rotate(rng.uniform(-tilt, tilt), Image.Resampling.BICUBIC)
    left, top = (side - width) // 2, (side - height) // 2
    cut = turned.crop((left, top, left + width, top + height))
    return _lit(rng, np.asarray(cut, np.float32) / 255)


def _lit(rng: Rng, rgb: np.ndarray) -> np.ndarray:
    """Brightness, contrast, a cast of the light and a slope across the picture."""
    height, width = rgb.shape[:2]
    angle = rng.uniform(0, 2 * math.pi)
    x, y = np.linspace(-1, 1, width), np.linspace(-1, 1, height)[:, None]
    slope = 1 + rng.uniform(0, 0.14) * (math.cos(angle) * x + math.sin(angle) * y)
    mean = rgb.mean((0, 1))
    contrasted = mean + (rgb - mean) * rng.uniform(0.75, 1.2)
    cast = rng.uniform(0.82, 1.1) * (1 + rng.normal(0, 0.025, 3))
    return np.clip(contrasted * cast * slope[..., None], 0, 1).astype(np.float32)


def colour(
    rng: Rng, hue: tuple[float, float], saturation: tuple[float, float], value: tuple[float, float]
) -> np.ndarray:
    """A random colour (3,) float RGB; hue in degrees, saturation and value in [0, 1]."""
    drawn = rng.uniform(*hue) / 360 % 1, rng.uniform(*saturation), rng.uniform(*value)
    return np.array(colorsys.hsv_to_rgb(*drawn), np.float32)


def noise(rng: Rng, side: int, across: float, down: float | None = None) -> np.ndarray:
    """Smooth noise (side, side) of mean 0 and deviation 1, with grains of across x down pixels."""
    cells = [max(2, math.ceil(side / max(length, 1)) + 2) for length in (across, down or across)]
    lattice = rng.standard_normal((min(cells[1], side), min(cells[0], side))).astype(np.float32)
    smooth = np.asarray(Image.fromarray(lattice).resize((side, side), Image.Resampling.BICUBIC))
    return (smooth - smooth.mean()) / (smooth.std() + 1e-6)


def _grass(rng: Rng, side: int, unit: float) -> np.ndarray:
    """Blades, dark ones below and light ones above."""
    green = colour(rng, (72, 125), (0.45, 0.8), (0.42, 0.68))
    scale = unit * rng.uniform(0.75, 1.5)
    image = Image.new("RGB", (side, side), tuple((green * 140).astype(int)))
    pen = ImageDraw.Draw(image)
    count = int(2.2 * (side / (4 * scale)) ** 2)
    roots, lean = rng.uniform(-0.03, 1.03, (count, 2)) * side, rng.normal(rng.uniform(-0.2, 0.2), 0.33, count)
    length, light = rng.uniform(5, 13, count) * scale, rng.uniform(0.5, 1.45, count)
    tint = green * np.sort(light)[:, None] + rng.normal(0, 0.03, (count, 3))
    tips = roots + np.stack([np.sin(lean), -np.cos(lean)], 1) * length[:, None]
    thickness = max(1, round(1.1 * scale))
    blades = np.concatenate([roots, tips], 1).tolist()
    for blade, ink in zip(blades, np.clip(tint * 255, 0, 255).astype(int).tolist(), strict=True):
        pen.line(blade, fill=tuple(ink), width=thickness)
    patches = 1 + 0.08 * noise(rng, side, 40 * unit)
    return np.asarray(image, np.float32) / 255 * patches[..., None]


def _sand(rng: Rng, side: int, unit: float) -> np.ndarray:
    """Grains, and the faint ripples that wind leaves."""
    tan = colour(rng, (29, 47), (0.22, 0.48), (0.68, 0.92))
    scale = unit * rng.uniform(0.8, 1.4)
    y = np.arange(side)[:, None] / (rng.uniform(9, 20) * scale)
    ripples = np.sin(2 * math.pi * y + 1.6 * noise(rng, side, 45 * scale))
    speckle = noise(rng, side, 1.1 * scale)
    light = 1 + 0.075 * speckle + rng.uniform(0, 0.06) * ripples + 0.035 * noise(rng, side, 30 * scale)
    light -= 0.22 * (noise(rng, side, 1.4 * scale) > 2.1)
    return tan * light[..., None]


def _water(rng: Rng, side: int, unit: float) -> np.ndarray:
    """Ripples wider than high, with glints on the crests."""
    blue = colour(rng, (178, 222), (0.5, 0.85), (0.42, 0.75))
    scale = unit * rng.uniform(0.75, 1.6)
    octaves = [(30, 6, 0.55), (14, 3, 0.6), (7, 1.6, 0.35)]
    waves = sum(weight * noise(rng, side, scale * wide, scale * high) for wide, high, weight in octaves)
    light = 1 + 0.17 * waves + 0.05 * noise(rng, side, 60 * unit)
    glint = np.clip(waves - rng.uniform(0.9, 1.4), 0, 1) * rng.uniform(0.35, 0.6)
    return blue * light[..., None] + glint[..., None] * np.array([0.75, 0.9, 1.0], np.float32)


def _brick(rng: Rng, side: int, unit: float) -> np.ndarray:
    """Rows of bricks, shifted by half a brick, between lines of mortar."""
    scale = unit * rng.uniform(0.7, 1.5)
    long, high, joint = 27 * scale, 11.5 * scale, rng.uniform(1.2, 2.0) * scale
    x, y = np.meshgrid(np.arange(side, dtype=np.float32), np.arange(side, dtype=np.float32))
    row = np.floor(y / high).astype(int)
    shifted = x + (row % 2) * long / 2
    column = np.floor(shifted / long).astype(int)
    red = colour(rng, (4, 20), (0.48, 0.72), (0.45, 0.72))
    table = red * (1 + rng.normal(0, 0.13, (row.max() + 1, column.max() + 1, 1)))
    table = table + rng.normal(0, 0.018, (*table.shape[:2], 3))
    rough = 1 + 0.07 * noise(rng, side, 1.3 * unit) + 0.05 * noise(rng, side, 5 * unit)
    bricks = table[row, column] * rough[..., None]
    mortar = colour(rng, (20, 50), (0.03, 0.14), (0.62, 0.85)) * rough[..., None]
    gap = np.minimum(y % high, shifted % long)
    return np.where((gap < joint)[..., None], mortar, bricks).astype(np.float32)


def _wood(rng: Rng, side: int, unit: float) -> np.ndarray:
    """Planks with grain along them and dark seams between."""
    scale = unit * rng.uniform(0.8, 1.5)
    brown = colour(rng, (20, 34), (0.45, 0.7), (0.42, 0.78))
    plank = rng.uniform(26, 46) * scale
    y = np.arange(side, dtype=np.float32)[:, None]
    index = np.floor(y / plank).astype(int)
    tone = 1 + rng.normal(0, 0.09, index.max() + 1)
    shift = rng.uniform(0, 20, index.max() + 1)
    warp = noise(rng, side, 70 * scale, 16 * scale)
    rings = np.sin(2 * math.pi * (y / (rng.uniform(4.5, 8) * scale) + 0.9 * warp + shift[index]))
    fibre = noise(rng, side, 26 * scale, 1.2 * scale)
    light = tone[index] * (1 + 0.09 * rings + 0.085 * fibre)
    light = np.where(y % plank < 1.3 * scale, 0.42, light)
    return brown * light[..., None]


def _snow(rng: Rng, side: int, unit: float) -> np.ndarray:
    """White drifts with soft blue shadows and a little glitter."""
    scale = unit * rng.uniform(0.8, 1.5)
    drift = noise(rng, side, 42 * scale, 26 * scale) + 0.45 * noise(rng, side, 17 * scale, 11 * scale)
    shadow = np.clip(drift * 0.5 + 0.3, 0, 1)[..., None] * rng.uniform(0.45, 1.0)
    white = np.array([0.98, 0.985, 1.0], np.float32) * rng.uniform(0.93, 1.03)
    blue = colour(rng, (205, 228), (0.16, 0.32), (0.78, 0.92))
    glitter = 0.02 * noise(rng, side, 1.2 * scale) + 0.08 * (noise(rng, side, 1.3 * scale) > 2.3)
    return white * (1 - shadow) + blue * shadow + glitter[..., None]


# name -> how to draw it, and how far it may be turned either way, in degrees
GROUNDS: dict[str, tuple[Texture, float]] = {
    "grass": (_grass, 25),
    "sand": (_sand, 180),
    "water": (_water, 15),
    "brick": (_brick, 20),
    "wood": (_wood, 180),
    "snow": (_snow, 30),
}

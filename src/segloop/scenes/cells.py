"""Another renderer of the same words, for pictures unlike those that the bundled models were trained on.

Grounds are cells around scattered sites, with straight borders; things are blobs, ellipses, rings and the like, shaded
and with a soft shadow. Classes, colours and captions are those of `draw`; lines and textures are not.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..errors import OptionError
from .draw import CLASHES, CLASSES, COLOURS, Scene, caption
from .fields import FIELDS, field
from .textures import Rng, colour

Outline = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Places (H, W) in radii from the centre, three numbers drawn for the thing -> (H, W): below 0 inside."""
FINE = 4  # places along each side of a pixel that are asked whether they lie inside


def scene(seed: int, size: tuple[int, int] = (192, 256)) -> Scene:
    """The scene of this seed at this size (H, W) in pixels; the same bytes every time.

    Whatever the size, pictures of the same sides' ratio show the same scene. Raises OptionError for a seed below 0
    and for sides below 16 pixels.
    """
    if seed < 0 or min(size) < 16:
        what = f"a scene of seed {seed} and size {size[0]}x{size[1]} pixels"
        raise OptionError(what, "give a seed of at least 0 and sides of at least 16 pixels")
    rng = np.random.default_rng([seed, 40])
    short = min(size)
    y, x = (np.mgrid[: size[0], : size[1]].astype(np.float32) + 0.5) / short
    sides = (size[1] / short, size[0] / short)
    grounds = [str(name) for name in rng.permutation(list(FIELDS))[: rng.choice([1, 2, 3], p=[0.2, 0.45, 0.35])]]
    regions = _cells(rng, x, y, sides, len(grounds))
    layers = [field(name, np.random.default_rng([seed, 41, n]), x * 192, y * 192) for n, name in enumerate(grounds)]
    image = np.take_along_axis(np.stack(layers), regions[None, ..., None], 0)[0]
    mask = np.array([CLASSES.index(ground) for ground in grounds], np.uint8)[regions]
    things = _things(rng, sides, grounds)
    for thing in things:
        image, mask = _laid(thing, image, mask, x, y)
    visible = [ground for ground in grounds if (mask == CLASSES.index(ground)).any()]
    shapes = tuple((thing.tint, thing.shape) for thing in things)
    rounded = np.clip(np.rint(image * 255), 0, 255).astype(np.uint8)
    return Scene(rounded, mask, caption(visible, shapes), shapes)


def _cells(rng: Rng, x: np.ndarray, y: np.ndarray, sides: tuple[float, float], count: int) -> np.ndarray:
    """Which of `count` grounds lies at each place: (H, W) int64.

    Each ground has one or two sites, kept apart, and whatever is nearer to them than to others; a second site lies far
    off as often as near, so that a ground may be in two pieces.
    """
    total = 1 if count == 1 else count + int(rng.integers(0, 2))
    tries = rng.uniform(0.12, 0.88, (60, 2)) * sides
    sites = [tries[0]]
    for _ in range(total - 1):
        apart = np.min([np.hypot(*(tries - site).T) for site in sites], axis=0)
        sites.append(tries[np.argmax(apart * rng.uniform(0.6, 1.0, len(tries)))])
    far = np.stack([(x - a) ** 2 + (y - b) ** 2 for a, b in sites])
    return np.argmin(far, 0) % count


@dataclass(frozen=True)
class Thing:
    """A coloured thing; places and lengths in short sides of the picture."""

    tint: str
    shape: str
    place: tuple[float, float]
    radius: float
    turn: float
    form: np.ndarray  # three numbers in [0, 1) for its outline
    paint: np.ndarray  # (3,) RGB
    light: tuple[float, float]  # where light comes from, in radii
    shadow: float  # how dark its shadow is


def _things(rng: Rng, sides: tuple[float, float], grounds: list[str]) -> tuple[Thing, ...]:
    """0 to 3 things of different colours, each in a room of its own of a grid of two by three."""
    hidden = {CLASHES.get(ground) for ground in grounds}
    tints = [str(tint) for tint in rng.permutation([tint for tint in COLOURS if tint not in hidden])]
    across, down = (3, 2) if sides[0] >= sides[1] else (2, 3)
    room = (sides[0] / across, sides[1] / down)
    found = []
    for tint, spot in zip(tints[: rng.choice(4, p=[0.12, 0.33, 0.33, 0.22])], rng.permutation(6), strict=False):
        radius = rng.uniform(0.55, 0.92) * min(room) / 2
        play = [(side - 2 * radius) * rng.uniform(0.05, 0.95) + radius for side in room]
        place = (spot % across * room[0] + play[0], spot // across * room[1] + play[1])
        bearing = rng.uniform(0, 2 * math.pi)
        found.append(
            Thing(
                tint,
                str(rng.choice(list(OUTLINES))),
                place,
                radius,
                rng.uniform(0, 2 * math.pi),
                rng.uniform(size=3),
                colour(rng, *COLOURS[tint]),
                (math.cos(bearing), math.sin(bearing)),
                rng.uniform(0.0, 0.4),
            )
        )
    return tuple(found)


def _laid(
    thing: Thing, image: np.ndarray, mask: np.ndarray, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The picture (H, W, 3) and its mask (H, W) with the thing on them, and its shadow on the ground."""
    u, v = (x - thing.place[0]) / thing.radius, (y - thing.place[1]) / thing.radius
    step = 1 / (min(mask.shape) * thing.radius)
    offsets = ((np.arange(FINE) + 0.5) / FINE - 0.5) * step
    cover = np.mean([_outline(thing, u + a, v + b) < 0 for a in offsets for b in offsets], axis=0)
    fallen = _outline(thing, u + 0.18 * thing.light[0], v + 0.18 * thing.light[1])
    shade = 1 - thing.shadow * np.clip(0.5 - fallen / 0.4, 0, 1) * np.isin(mask, range(len(FIELDS)))
    toward = np.clip(u * thing.light[0] + v * thing.light[1], -1, 1)
    edge = np.clip(np.hypot(u, v) - 0.5, 0, 0.5)
    paint = thing.paint * (1 + 0.08 * toward - 0.08 * edge)[..., None]
    laid = image * shade[..., None] * (1 - cover[..., None]) + np.minimum(paint, 1) * cover[..., None]
    return laid, np.where(cover >= 0.5, np.uint8(CLASSES.index(thing.tint)), mask)


def _outline(thing: Thing, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The thing's own outline in its own turn: (H, W), below 0 inside."""
    along, across = math.cos(thing.turn), math.sin(thing.turn)
    return OUTLINES[thing.shape](u * along + v * across, v * along - u * across, thing.form)


def _ellipse(u: np.ndarray, v: np.ndarray, form: np.ndarray) -> np.ndarray:
    return np.hypot(u / 0.98, v / (0.5 + 0.3 * form[0])) - 1


def _blob(u: np.ndarray, v: np.ndarray, form: np.ndarray) -> np.ndarray:
    angle = np.arctan2(v, u)
    bumps = 0.13 * np.sin(2 * angle + 6.3 * form[0]) + 0.1 * np.sin(3 * angle + 6.3 * form[1])
    return np.hypot(u, v) - 0.75 - bumps


def _hexagon(u: np.ndarray, v: np.ndarray, form: np.ndarray) -> np.ndarray:
    """Six sides, round where they meet: a norm between the sum and the largest."""
    turns = [math.pi / 3 * side for side in range(3)]
    sides = [np.abs(u * math.cos(turn) + v * math.sin(turn)) for turn in turns]
    power = 6 + 8 * form[0]
    return sum(side**power for side in sides) ** (1 / power) - 0.84


def _ring(u: np.ndarray, v: np.ndarray, form: np.ndarray) -> np.ndarray:
    return np.abs(np.hypot(u, v) - 0.66) - 0.22 - 0.08 * form[0]


def _cross(u: np.ndarray, v: np.ndarray, form: np.ndarray) -> np.ndarray:
    arm = 0.3 + 0.08 * form[0]
    upright = np.maximum(np.abs(u) - arm, np.abs(v) - 0.92)
    level = np.maximum(np.abs(v) - arm, np.abs(u) - 0.92)
    return np.minimum(upright, level)


def _crescent(u: np.ndarray, v: np.ndarray, form: np.ndarray) -> np.ndarray:
    bite = np.hypot(u - 0.55 - 0.15 * form[0], v) - 0.72
    return np.maximum(np.hypot(u, v) - 0.95, -bite)


OUTLINES: dict[str, Outline] = {
    "ellipse": _ellipse,
    "blob": _blob,
    "hexagon": _hexagon,
    "ring": _ring,
    "cross": _cross,
    "crescent": _crescent,
}

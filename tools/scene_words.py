"""Pictures and captions for a CLIP that learns from whole scenes.

Nothing here looks at a mask. A picture is a whole scene or most of one; its caption names all that is in it or some of
it, in other words each time. A caption is true of every picture whose own scene has all that it claims.
"""

import math
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

import numpy as np
from PIL import Image

from segloop.scenes.draw import CLASHES, COLOURS, SHAPES, Scene, bands, coverage, paint, scene
from segloop.scenes.textures import GROUNDS, texture
from tiny_captions import COLOURED, JOINTS, SYNONYMS, article, choose, templates

Thing = tuple[str, ...]
"""("sand",), or ("red", "circle"); as a claim also ("red",) or ("circle",)."""
Claims = tuple[Thing, ...]
KINDS = (tuple(GROUNDS), tuple(COLOURS), tuple(SHAPES))


@dataclass(frozen=True)
class Picture:
    """One picture and what is in it."""

    pixels: np.ndarray  # (S, S, 3) uint8 RGB
    things: tuple[Thing, ...]


def draw_pictures(first: int, count: int, size: int) -> tuple[list[Picture], list[Picture]]:
    """Scenes of consecutive seeds, as they are and with larger things: 2 * count; and single things: count // 2."""
    seeds = range(first, first + count)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as workers:
        drawn, larger, alone = (
            list(workers.map(partial(kind, size=size), part, chunksize=32))
            for kind, part in ((whole, seeds), (bold, seeds), (single, seeds[: count // 2]))
        )
    return drawn + larger, alone


def whole(seed: int, size: int) -> Picture:
    """A scene as `segloop scenes` draws it."""
    drawn = scene(seed, (size, size))
    return Picture(drawn.image, things_of(drawn))


def things_of(drawn: Scene) -> tuple[Thing, ...]:
    """What the caption of a scene names: "grass and sand with a red circle"."""
    grounds = drawn.caption.split(" with ")[0]
    return (*((name,) for name in GROUNDS if name in grounds), *drawn.shapes)


def bold(seed: int, size: int) -> Picture:
    """A scene whose one to three things are larger."""
    rng = np.random.default_rng([seed, 33])
    grounds = [str(name) for name in rng.permutation(list(GROUNDS))[: rng.choice([1, 2, 3], p=[0.35, 0.45, 0.2])]]
    regions = bands(rng, (size, size), len(grounds))
    image = np.zeros((size, size, 3), np.float32)
    for index, ground in enumerate(grounds):
        own = np.random.default_rng([seed, 34, index])
        layer = texture(ground, own, (size, size), size / 192 * rng.uniform(1, 1.6))
        image = np.where((regions == index)[..., None], layer * 255, image)
    put = _put(rng, image, grounds, (0.14, 0.28), (1, 2, 3))
    return Picture(_bytes(image), (*((name,) for name in grounds), *put))


def single(seed: int, size: int) -> Picture:
    """One large thing on one ground: what a curriculum starts with."""
    rng = np.random.default_rng([seed, 31])
    ground = choose(rng, list(GROUNDS))
    own = np.random.default_rng([seed, 32])
    image = texture(ground, own, (size, size), size / 192 * rng.uniform(1, 2)) * 255
    put = _put(rng, image, [ground], (0.2, 0.36), (1,))
    return Picture(_bytes(image), ((ground,), *put))


def _put(
    rng: np.random.Generator, image: np.ndarray, grounds: list[str], radii: tuple[float, float], counts: Sequence[int]
) -> list[Thing]:
    """Draw things of these radii, in sides of the picture, into image (S, S, 3), none over another; say which."""
    size = len(image)
    hidden = {CLASHES.get(ground) for ground in grounds}
    tints = [str(tint) for tint in rng.permutation([tint for tint in COLOURS if tint not in hidden])]
    placed: list[tuple[float, float, float]] = []
    put: list[Thing] = []
    for tint in tints[: choose_number(rng, counts)]:
        radius = rng.uniform(*radii) * size
        spots = rng.uniform(radius * 0.9, size - radius * 0.9, (30, 2))
        free = [(x, y) for x, y in spots if all(math.hypot(x - a, y - b) > 1.1 * (radius + r) for a, b, r in placed)]
        if free:
            placed.append((*free[0], radius))
            shape = choose(rng, list(SHAPES))
            unseen = np.zeros((size, size), np.uint8)  # the mask, which nobody looks at
            paint(rng, image, unseen, tint, coverage(rng, unseen.shape, shape, *placed[-1]))
            put.append((tint, shape))
    return put


def choose_number(rng: np.random.Generator, options: Sequence[int]) -> int:
    """One of the numbers."""
    return options[int(rng.integers(len(options)))]


def _bytes(image: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def view(rng: np.random.Generator, picture: Picture, side: int, least: float = 0.8) -> np.ndarray:
    """Most of a picture, flipped or not, under another light: (side, side, 3) uint8."""
    full = len(picture.pixels)
    length = round(full * rng.uniform(least, 1))
    top, left = (int(rng.integers(full - length + 1)) for _ in range(2))
    cut = Image.fromarray(picture.pixels[top : top + length, left : left + length])
    pixels = np.asarray(cut.resize((side, side), Image.Resampling.BICUBIC), np.float32)
    if rng.uniform() < 0.5:
        pixels = pixels[:, ::-1]
    mean = pixels.mean((0, 1))
    light = rng.uniform(0.88, 1.1) * (1 + rng.normal(0, 0.02, 3))
    return np.clip((mean + (pixels - mean) * rng.uniform(0.7, 1.15)) * light, 0, 255).astype(np.uint8)


class Narrator:
    """Draws captions of pictures, and false ones that differ from them in one word."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.templates = templates()

    def tell(self, things: Sequence[Thing], entire: float = 0.35) -> tuple[str, Claims]:
        """A caption of all things (with probability `entire`) or of some, fewer more often; and what it claims."""
        rng = self.rng
        count = len(things) if rng.uniform() < entire else 1 + int(rng.integers(len(things)) * rng.uniform())
        chosen = [things[index] for index in rng.permutation(len(things))[:count]]
        return self._sentence([self._loosely(thing) for thing in chosen])

    def twist(self, claims: Claims) -> tuple[str, Claims]:
        """The same claims but for one word, or for the shapes of two things changed about."""
        rng = self.rng
        twisted = list(claims)
        whole_things = [index for index, thing in enumerate(claims) if len(thing) == 2]
        if len(whole_things) > 1 and rng.uniform() < 0.5:
            one, other = whole_things[:2]
            twisted[one], twisted[other] = (claims[one][0], claims[other][1]), (claims[other][0], claims[one][1])
        else:
            at = int(rng.integers(len(claims)))
            words = list(claims[at])
            word = int(rng.integers(len(words)))
            kind = next(kind for kind in KINDS if words[word] in kind)
            words[word] = choose(rng, [name for name in kind if name != words[word]])
            twisted[at] = tuple(words)
        return self._sentence([(self._exactly(thing), thing) for thing in twisted])

    def _loosely(self, thing: Thing) -> tuple[str, Thing]:
        """Words for a thing, and what they claim: of a coloured shape sometimes its colour or its shape alone."""
        if len(thing) == 1:
            return self._exactly(thing), thing
        told = self.rng.uniform()
        claim = thing if told < 0.4 else thing[:1] if told < 0.85 else thing[1:]
        return self._exactly(claim), claim

    def _exactly(self, claim: Thing) -> str:
        if len(claim) == 2:
            return f"{claim[0]} {choose(self.rng, SYNONYMS[claim[1]])}"
        if claim[0] in COLOURS:
            return choose(self.rng, COLOURED).format(claim[0])
        return choose(self.rng, SYNONYMS[claim[0]])

    def _sentence(self, told: list[tuple[str, Thing]]) -> tuple[str, Claims]:
        rng = self.rng
        parts = [words for words, _ in told]
        if len(parts) > 1:
            parts = [article(rng, part) for part in parts]
        text = parts[0] + "".join(choose(rng, JOINTS) + part for part in parts[1:])
        text = choose(rng, self.templates).format(text) if rng.uniform() < 0.6 else article(rng, text)
        return text, tuple(claim for _, claim in told)


def truth(claims: Sequence[Claims], things: Sequence[tuple[Thing, ...]]) -> np.ndarray:
    """Which caption is true of which picture: (T, B) bool. Each claim must hold of some thing."""
    rows = {
        claim: np.array([any(set(claim) <= set(thing) for thing in seen) for seen in things])
        for each in claims
        for claim in each
    }
    return np.stack([np.logical_and.reduce([rows[claim] for claim in each]) for each in claims])

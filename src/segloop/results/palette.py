"""Colours for classes that stay apart for every eye: the Okabe-Ito set, then what is farthest from all before."""

from functools import lru_cache

import numpy as np

OKABE_ITO = (  # Okabe and Ito 2008, without black, in an order that keeps neighbours unlike
    (0, 114, 178),  # blue
    (230, 159, 0),  # orange
    (0, 158, 115),  # bluish green
    (204, 121, 167),  # reddish purple
    (86, 180, 233),  # sky blue
    (213, 94, 0),  # vermillion
    (240, 228, 66),  # yellow
)
SIGHTS = {  # Machado, Oliveira and Fernandes 2009, severity 1, on linear light
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}
TO_CONES = np.array(  # Ottosson 2020 (OKLab): linear light to cone responses, their cube roots to L, a, b
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
LIGHTNESS = 0.35, 0.95  # darker looks like a boundary, lighter like the legend's paper
LEVELS = np.linspace(0, 255, 16)
DISTINCT = 1000


def palette(count: int) -> np.ndarray:
    """The first `count` class colours, (count, 3) uint8 RGB; a longer palette begins with the shorter one.

    After the Okabe-Ito colours each next one is the candidate farthest (in OKLab) from all before it, taking
    the worst of normal sight, protanopia and deuteranopia. From the thousandth on, colours repeat.
    """
    return np.resize(_grow(), (count, 3))


def perceived(colours: np.ndarray, sight: str = "normal") -> np.ndarray:
    """(n, 3) uint8 sRGB -> (n, 3) OKLab as seen with one of SIGHTS; equal steps look about equally large."""
    share = colours / 255
    light = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    seen = (light @ SIGHTS[sight].T).clip(0, 1)
    return np.cbrt(seen @ TO_CONES.T) @ TO_LAB.T


@lru_cache(maxsize=1)
def _grow() -> np.ndarray:
    """(DISTINCT, 3) uint8: farthest-point sampling of a colour grid, started from the Okabe-Ito set."""
    grid = np.stack(np.meshgrid(LEVELS, LEVELS, LEVELS, indexing="ij"), axis=-1).reshape(-1, 3).astype(np.uint8)
    lightness = perceived(grid)[:, 0]
    grid = grid[(lightness > LIGHTNESS[0]) & (lightness < LIGHTNESS[1])]
    colours = np.concatenate([np.array(OKABE_ITO, np.uint8), grid])
    views = np.stack([perceived(colours, sight).T for sight in SIGHTS])
    views = np.rint(views * 10_000).astype(np.int32, order="C")  # (3, Lab, n); whole, to end alike everywhere
    gap = np.full(len(colours), np.iinfo(np.int32).max, np.int32)  # of each colour to the nearest chosen one
    chosen: list[int] = []
    for turn in range(DISTINCT):
        pick = turn if turn < len(OKABE_ITO) else int(gap.argmax())
        chosen.append(pick)
        step = views - views[..., pick, None]
        np.minimum(gap, (step * step).sum(axis=1).min(axis=0), out=gap)
    result = colours[chosen]
    result.setflags(write=False)
    return result

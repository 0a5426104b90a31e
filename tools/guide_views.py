"""Views of drawn scenes for the training of the guide `tiny-dino`: crops, their light, and where they overlap.

Only pictures are looked at: masks and captions of the scenes are thrown away when they are drawn.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from segloop.scenes.draw import scene

SIZE = (240, 320)  # of the scenes that crops are cut from
GLOBAL, LOCAL, PATCH = 64, 32, 8
LOCALS = 2
SIDES, LOCAL_SIDES = (34, 150), (18, 60)  # of the crops, in pixels of a scene
MEAN, STD = torch.tensor([0.485, 0.456, 0.406])[:, None, None], torch.tensor([0.229, 0.224, 0.225])[:, None, None]


@dataclass(frozen=True)
class Views:
    """Crops of B scenes: first all first views, then all second ones."""

    whole: Tensor  # (2B, 3, 64, 64) float32, normalised as for ImageNet
    part: Tensor  # (LOCALS * B, 3, 32, 32)
    twin: Tensor  # (2B, N) int64: the patch of the other view that shows the same place; -1 where none does


def draw_pictures(first: int, count: int) -> np.ndarray:
    """Scenes of consecutive seeds without their masks, (count, H, W, 3) uint8."""
    return np.stack([scene(seed, SIZE).image for seed in range(first, first + count)])


def draw_views(rng: np.random.Generator, pictures: np.ndarray, count: int) -> Views:
    """Two global views that overlap, and some local ones, of `count` scenes."""
    whole: list[list[np.ndarray]] = [[], []]
    boxes: list[list[np.ndarray]] = [[], []]
    part = []
    for index in rng.integers(len(pictures), size=count):
        picture = Image.fromarray(pictures[index])
        centre = rng.uniform([0, 0], [SIZE[1], SIZE[0]])
        for view in range(2):
            box, cut = _crop(rng, picture, centre, SIDES, GLOBAL)
            whole[view].append(cut)
            boxes[view].append(box)
        part += [_crop(rng, picture, centre, LOCAL_SIDES, LOCAL)[1] for _ in range(LOCALS)]
    both = [np.stack(one) for one in boxes]
    twin = np.concatenate([_twin(both[0], both[1]), _twin(both[1], both[0])])
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    return Views(lit(np.stack(whole[0] + whole[1]), generator), lit(np.stack(part), generator), torch.from_numpy(twin))


def _crop(
    rng: np.random.Generator, picture: Image.Image, centre: np.ndarray, sides: tuple[int, int], size: int
) -> tuple[np.ndarray, np.ndarray]:
    """A square near a place -> its box (left, top, side, flipped) and its pixels (size, size, 3)."""
    side = math.exp(rng.uniform(math.log(sides[0]), math.log(sides[1])))
    corner = centre - side / 2 + rng.uniform(-0.3, 0.3, 2) * side
    left, top = np.clip(corner, 0, [picture.width - side, picture.height - side])
    how = Image.Resampling.BICUBIC
    cut = np.asarray(picture.resize((size, size), how, (left, top, left + side, top + side)))
    flipped = rng.uniform() < 0.5
    return np.array([left, top, side, flipped]), cut[:, ::-1] if flipped else cut


def _twin(own: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Boxes (B, 4) of two views -> for each patch of the own view that of the other at the same place, (B, N)."""
    cells = GLOBAL // PATCH
    middle = (np.arange(cells) + 0.5) / cells
    across = np.where(own[:, 3:] > 0, 1 - middle, middle) * own[:, 2:3] + own[:, :1]  # (B, cells)
    down = middle * own[:, 2:3] + own[:, 1:2]
    column = (across - other[:, :1]) / other[:, 2:3]
    column = np.floor(np.where(other[:, 3:] > 0, 1 - column, column) * cells)
    row = np.floor((down - other[:, 1:2]) / other[:, 2:3] * cells)
    inside = ((row >= 0) & (row < cells))[:, :, None] & ((column >= 0) & (column < cells))[:, None]
    return np.where(inside, row[:, :, None] * cells + column[:, None], -1).reshape(len(own), -1).astype(np.int64)


def lit(images: np.ndarray, generator: torch.Generator) -> Tensor:
    """Another light for each picture, sometimes blur or grain: (B, S, S, 3) uint8 -> normalised (B, 3, S, S)."""
    pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float().div_(255)
    count = len(pixels)

    def uniform(low: float, high: float, channels: int = 1) -> Tensor:
        return torch.empty(count, channels, 1, 1).uniform_(low, high, generator=generator)

    blurred = F.avg_pool2d(F.pad(pixels, (1, 1, 1, 1), mode="replicate"), 3, 1)
    pixels = torch.lerp(pixels, blurred, (uniform(-1.5, 1)).clamp_min(0))
    mean = pixels.mean((2, 3), keepdim=True)
    light = uniform(0.85, 1.15) * uniform(0.97, 1.03, 3)
    pixels = (mean + (pixels - mean) * uniform(0.7, 1.2)) * light
    grain = torch.randn(pixels.shape, generator=generator) * uniform(-0.08, 0.04).clamp_min(0)
    return ((pixels + grain).clamp(0, 1) - MEAN) / STD

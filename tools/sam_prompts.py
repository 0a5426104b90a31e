"""Drawn scenes as SAM is asked about them, for the training of `tiny-sam`: frames, prompts and the masks they mean.

A mask is one region of one class that hangs together, as a person would click on it: a ground between its borders
without the things on it, or a thing.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from guide_views import lit
from segloop.common.fitting import fitted
from segloop.maps.connected import connected
from segloop.scenes.draw import CLASSES, scene

SIDE, PATCH = 256, 8  # of the square and of its patches
GRID, MASK = SIDE // PATCH, SIDE // 2  # sides of the patches' grid and of masks: four times finer
SIZE = (192, 256)  # of the scenes
EACH = 4  # prompts of each kind a frame: a point; a point and a box; both and a mask
LEAST = 16  # pixels of a mask


@dataclass(frozen=True)
class Drawn:
    """Scenes and their classes."""

    images: np.ndarray  # (n, H, W, 3) uint8
    labels: np.ndarray  # (n, H, W) uint8


@dataclass(frozen=True)
class Asked:
    """Frames, R = 3 * EACH prompts on each, and their answers."""

    pixels: Tensor  # (B, 3, SIDE, SIDE) float32, normalised; zeros beside the photo
    points: Tensor  # (B, R, 2) float32, x and y in pixels of the square
    boxes: Tensor  # (B, R, 4), left, top, right, bottom; those of the first kind are not shown
    hints: Tensor  # (B, EACH, MASK, MASK): mask prompts of the last kind
    masks: Tensor  # (B, R, MASK, MASK) float32, 0 or 1
    patches: Tensor  # (B, N) int64: the class of each patch's middle, -1 beside the photo


def draw(first: int, count: int) -> Drawn:
    """Scenes of consecutive seeds."""
    scenes = [scene(seed, SIZE) for seed in range(first, first + count)]
    return Drawn(np.stack([one.image for one in scenes]), np.stack([one.mask for one in scenes]))


def ask(rng: np.random.Generator, drawn: Drawn, count: int) -> Asked:
    """Frames of `count` scenes: parts of them, fit into the square, in another light."""
    frames, insides, truths = [], [], []
    for index in rng.integers(len(drawn.images), size=count):
        box = _part(rng)
        inside = fitted(box[3] - box[1], box[2] - box[0], SIDE)
        coarse = max(1, inside[0] // 2), max(1, inside[1] // 2)
        image = Image.fromarray(drawn.images[index]).resize(inside[::-1], Image.Resampling.BILINEAR, box)
        label = Image.fromarray(drawn.labels[index]).resize(coarse[::-1], Image.Resampling.NEAREST, box)
        flipped = slice(None, None, -1 if rng.uniform() < 0.5 else 1)
        frames.append(_squared(np.asarray(image)[:, flipped], SIDE, 0))
        insides.append(_squared(np.ones(inside, np.uint8), SIDE, 0))
        truths.append(_squared(np.asarray(label)[:, flipped].astype(np.int64), MASK, -1))
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    pixels = lit(np.stack(frames), generator) * torch.from_numpy(np.stack(insides))[:, None]
    prompts = [_prompts(rng, truth) for truth in truths]
    points, boxes, masks = (torch.from_numpy(np.stack(parts)) for parts in zip(*prompts, strict=True))
    middle = MASK // GRID // 2
    patches = np.stack(truths)[:, middle :: MASK // GRID, middle :: MASK // GRID]
    hints = torch.stack([_hint(generator, mask) for mask in masks[:, -EACH:].flatten(0, 1)])
    return Asked(
        pixels, points, boxes, hints.unflatten(0, (count, EACH)), masks, torch.from_numpy(patches.copy()).flatten(1)
    )


def _part(rng: np.random.Generator) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of a scene: two in five are seen whole, others down to half of their sides."""
    height, width = SIZE
    if rng.uniform() < 0.4:
        return 0, 0, width, height
    h, w = (int(side * rng.uniform(0.5, 1)) for side in SIZE)
    top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
    return left, top, left + w, top + h


def _squared(array: np.ndarray, side: int, value: int) -> np.ndarray:
    """(h, w, ...) -> (side, side, ...), filled to the right and below."""
    margins = [(0, side - array.shape[0]), (0, side - array.shape[1]), *[(0, 0)] * (array.ndim - 2)]
    return np.pad(array, margins, constant_values=value)


def regions(label: np.ndarray) -> Iterator[np.ndarray]:
    """Classes (H, W), -1 for none -> bool (H, W) of every region that is large enough."""
    for k in range(len(CLASSES)):
        numbers, count = connected(label == k) if (label == k).any() else (label, 0)
        for number in range(1, count + 1):
            if (numbers == number).sum() >= LEAST:
                yield numbers == number


def _prompts(rng: np.random.Generator, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points, boxes and masks of one frame, drawn from its regions."""
    found = list(regions(truth))
    points, boxes, masks = [], [], []
    scale = SIDE / MASK
    for index in rng.integers(len(found), size=3 * EACH):
        y, x = np.nonzero(found[index])
        at = int(rng.integers(len(y)))
        points.append([(x[at] + 0.5) * scale - 0.5, (y[at] + 0.5) * scale - 0.5])
        sides = np.array([np.ptp(x), np.ptp(y)] * 2) + 1
        edges = np.array([x.min(), y.min(), x.max(), y.max()]) + rng.uniform(-0.06, 0.06, 4) * sides
        boxes.append((edges * scale).clip(0, SIDE - 1))
        masks.append(found[index])
    return np.array(points, np.float32), np.array(boxes, np.float32), np.array(masks, np.float32)


def _hint(generator: torch.Generator, mask: Tensor) -> Tensor:
    """A mask (MASK, MASK) as another model might guess it: coarse, noisy, as a share or as logits of any scale."""

    def uniform(low: float, high: float) -> float:
        return float(torch.empty(()).uniform_(low, high, generator=generator))

    small = F.avg_pool2d(mask[None, None], 8 if uniform(0, 1) < 0.5 else 4)
    noise = torch.randn(small.shape, generator=generator) * uniform(0, 0.3)
    guess = F.interpolate((small + noise).clamp(0, 1), (MASK, MASK), mode="bilinear")[0, 0]
    scale = 10 ** uniform(-2.3, 0.9)
    return (2 * guess - 1) * scale if uniform(0, 1) < 0.5 else torch.where(guess > 0.15, guess * scale, 0.0)

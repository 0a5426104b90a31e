"""How well features of patches tell the classes of drawn scenes apart, with and without labels.

Used while the guide `tiny-dino` is trained, on scenes that it is not trained on. The labels of these scenes judge;
they teach nothing.
"""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from segloop.scenes.draw import CLASSES, scene

WINDOW, PATCH, SHORT = 64, 8, 384  # the geometry that `tiny` segments at
PURE = 0.9  # share of its commonest class from which a patch belongs to it, for pairs
Features = Callable[[Tensor], Tensor]  # windows (B, 3, 64, 64) in [0, 1] -> (B, N, D)


def windows_of(seeds: range) -> tuple[Tensor, Tensor, Tensor]:
    """Scenes cut into windows: pixels (B, 3, 64, 64) in [0, 1], class of each patch (B, N), its share (B, N)."""
    pixels, shares = [], []
    for seed in seeds:
        drawn = scene(seed)
        height, width = (side * SHORT // min(drawn.mask.shape) for side in drawn.mask.shape)
        image = np.asarray(Image.fromarray(drawn.image).resize((width, height), Image.Resampling.BICUBIC))
        mask = np.asarray(Image.fromarray(drawn.mask).resize((width, height), Image.Resampling.NEAREST))
        pixels.append(_cut(torch.from_numpy(image.copy()).permute(2, 0, 1).float() / 255, WINDOW))
        each = _cut(_cut(torch.from_numpy(mask.copy())[None], WINDOW).flatten(0, 1), PATCH)  # (N, B, 8, 8)
        shares.append(F.one_hot(each.flatten(2).long(), len(CLASSES)).float().mean(2).transpose(0, 1))
    share, label = torch.cat(shares).max(-1)
    return torch.cat(pixels), label, share


def _cut(image: Tensor, side: int) -> Tensor:
    """(C, H, W) -> squares (n, C, side, side), row by row; a remainder is dropped."""
    height, width = (length // side for length in image.shape[-2:])
    whole = image[..., : height * side, : width * side].unflatten(-1, (width, side)).unflatten(-3, (height, side))
    return whole.permute(1, 3, 0, 2, 4).flatten(0, 1)


def probe(train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], strength: float = 1e-3) -> float:
    """Ridge regression from features (n, D) to classes (n,) -> mean IoU in percent over the classes of the test."""
    mean, deviation = train[0].mean(0), train[0].std(0) + 1e-6
    x, y = ((part[0] - mean) / deviation for part in (train, test))
    x, y = (torch.cat([part, torch.ones(len(part), 1)], 1).double() for part in (x, y))
    weight = torch.bincount(train[1], minlength=len(CLASSES)).clamp_min(1).double().rsqrt()[train[1]][:, None]
    target = F.one_hot(train[1], len(CLASSES)).double()
    normal = x.mT @ (weight * x)
    normal += strength * normal.diagonal().mean() * torch.eye(len(normal), dtype=torch.double)
    guess = (y @ torch.linalg.solve(normal, x.mT @ (weight * target))).argmax(1)
    table = torch.bincount(test[1] * len(CLASSES) + guess, minlength=len(CLASSES) ** 2).reshape(len(CLASSES), -1)
    hit = table.diagonal()
    iou = hit / (table.sum(0) + table.sum(1) - hit).clamp_min(1)
    return 100 * float(iou[table.sum(1) > 0].mean())


def pair_auc(features: Tensor, label: Tensor, share: Tensor) -> float:
    """How often two patches of a window with one class are more alike than two with two: features (B, N, D).

    Patches that show more than one class do not count. By cosine; 0.5 is chance.
    """
    unit = F.normalize(features, dim=-1)
    alike = unit @ unit.mT
    pure = share >= PURE
    upper = torch.ones(alike.shape[1:]).triu(1).bool()
    counted = pure[:, :, None] & pure[:, None] & upper
    same = (label[:, :, None] == label[:, None])[counted]
    mixed = (counted & (label[:, :, None] != label[:, None])).flatten(1).any(1)  # windows with two classes
    where = mixed[:, None, None].expand_as(counted)[counted]
    return area(alike[counted][where], same[where])


def far_auc(unit: Tensor, label: Tensor, share: Tensor, count: int = 3000) -> float:
    """The same over patches drawn from all scenes: unit features (n, D)."""
    pure = (share >= PURE).nonzero()[:, 0]
    chosen = pure[torch.linspace(0, len(pure) - 1, count).long()]
    upper = torch.ones(count, count).triu(1).bool()
    unit, label = unit[chosen], label[chosen]
    return area((unit @ unit.mT)[upper], (label[:, None] == label)[upper])


def area(value: Tensor, positive: Tensor) -> float:
    """Area under the ROC curve of values (n,) for positives (n,) bool; ties are rare and split by order."""
    rank = torch.empty(len(value), dtype=torch.double)
    rank[value.argsort()] = torch.arange(1, len(value) + 1, dtype=torch.double)
    hits, misses = int(positive.sum()), int((~positive).sum())
    return float((rank[positive].sum() - hits * (hits + 1) / 2) / (hits * misses))


@torch.inference_mode()
def judge(features: Features, first: int, count: int = 12) -> dict[str, float]:
    """Probe and pairs of features on fresh scenes: the probe learns on `count` of them and is judged on the next."""
    taught, asked = windows_of(range(first, first + count)), windows_of(range(first + count, first + 2 * count))
    known, seen = features(taught[0]).float(), features(asked[0]).float()
    unit = F.normalize(seen, dim=-1).flatten(0, 1)
    return {
        "probe": probe((known.flatten(0, 1), taught[1].flatten()), (seen.flatten(0, 1), asked[1].flatten())),
        "pairs": pair_auc(seen, *asked[1:]),
        "far pairs": far_auc(unit, asked[1].flatten(), asked[2].flatten()),
        "mean cosine": float(unit.mean(0).square().sum()),
        "rank": float(_rank(unit)),
    }


def _rank(unit: Tensor) -> Tensor:
    """Effective number of directions of unit rows (n, D): exp of the entropy of their covariance's spectrum."""
    spectrum = torch.linalg.eigvalsh(torch.cov(unit.mT)).clamp_min(1e-12)
    spectrum = spectrum / spectrum.sum()
    return (-(spectrum * spectrum.log()).sum()).exp()


def colour_features(pixels: Tensor) -> Tensor:
    """Mean colour of each patch less grey, (B, 3, S, S) -> (B, N, 3)."""
    return F.avg_pool2d(pixels - 0.5, PATCH).flatten(2).mT

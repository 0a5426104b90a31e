"""What lies below and above a table: chance, a linear probe with labels, and exact masks, on drawn scenes.

    python tools/oracle.py [--count 20] [--taught 60] [--renderer cells] [--method sclip]

Chance is what a map without a look at the picture reaches: the most frequent class everywhere, or a class for each
pixel by lot, in expectation. A probe is what a linear reading of the patches could reach if it had labels: a ridge
regression on other scenes, at the same windows, from what the method compares with words, or from what enters the last
block. With exact masks each true region takes the class that most of its pixels have under the method, so that only
words can be wrong. None of these is a method: all but chance see the truth.
"""

import argparse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from segloop.common.console import quiet_libraries
from segloop.line.masking import with_masks
from segloop.line.segmenter import Segmenter
from segloop.line.steps import Photo
from segloop.scenes.draw import CLASSES, Scene
from segloop.scenes.renderers import RENDERERS
from segloop.scenes.textures import GROUNDS
from segloop.scoring.metrics import Counts, confusion, scores
from segloop.words.vocabulary import Vocabulary

Features = Callable[[Tensor], Tensor]
"""Normalised windows (n, 3, h, w) -> features (n, D, rows, columns)."""
SEED, TAUGHT = 7, 107  # of the scenes asked, and of those that the probe learns on
RIDGE = 1e-3  # of each feature's variance


@dataclass(frozen=True)
class Means:
    """Mean IoU in percent over all classes, the grounds and the colours."""

    all: float
    grounds: float
    colours: float

    @staticmethod
    def of(counts: Counts) -> "Means":
        """From counts (C,)."""
        return Means.of_iou(scores(counts).IoU)

    @staticmethod
    def of_iou(iou: np.ndarray) -> "Means":
        """From IoU (C,) in percent; NaN, of classes that are nowhere, is left out."""
        return Means(*(float(np.nanmean(part)) for part in (iou, iou[: len(GROUNDS)], iou[len(GROUNDS) :])))


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20, help="scenes asked")
    parser.add_argument("--taught", type=int, default=60, help="scenes that the probes learn on")
    parser.add_argument("--renderer", choices=list(RENDERERS), default="bands")
    parser.add_argument("--clip", default="tiny")
    parser.add_argument("--method", default="sclip", help="what the masks vote on")
    options = parser.parse_args()
    quiet_libraries()
    torch.set_num_threads(1)
    asked = drawn(options.renderer, SEED, options.count)
    taught = drawn(options.renderer, TAUGHT, options.taught)
    segmenter = Segmenter.from_pretrained(options.clip, method=options.method, dtype="float32")
    about = f"{options.count} scenes of {options.renderer}, probes learn on {options.taught}"
    print(f"{about}; {options.clip}, {options.method}: mIoU of all, grounds, colours")
    for name, means in oracle(segmenter, asked, taught).items():
        print(f"{name:<28} {means.all:5.1f} {means.grounds:5.1f} {means.colours:5.1f}", flush=True)


def drawn(renderer: str, seed: int, count: int) -> list[Scene]:
    """The first scenes that `segloop scenes --seed SEED --renderer RENDERER` draws."""
    return [RENDERERS[renderer](seed * 1_000_000 + index, (192, 256)) for index in range(count)]


def oracle(segmenter: Segmenter, asked: Sequence[Scene], taught: Sequence[Scene]) -> dict[str, Means]:
    """Chance, the method, exact masks and the probe on the scenes `asked`; the probe learns on those `taught`."""
    words = segmenter.encoded(Vocabulary(list(CLASSES)))
    plain = [segmenter(scene.image, words).labels for scene in asked]
    voted = [segmenter(scene.image, words, masks=regions(scene)).labels for scene in asked]
    return {
        **chance(asked),
        "the method": Means.of(counted(plain, asked)),
        "the method, exact masks": Means.of(counted(voted, asked)),
        **{
            f"linear probe of {name}": Means.of(counted(probed(segmenter, features(segmenter), asked, taught), asked))
            for name, features in (("embeddings", embeddings_of), ("tokens", tokens_of))
        },
    }


def regions(scene: Scene) -> np.ndarray:
    """Ids (H, W) int64 of the true regions, from 1."""
    return scene.mask.astype(np.int64) + 1


def counted(maps: Iterable[np.ndarray], scenes: Sequence[Scene]) -> Counts:
    """Maps (H, W) against the masks of their scenes, summed: (C,)."""
    pairs = zip(maps, scenes, strict=True)
    return Counts.stack([confusion(found, scene.mask, len(CLASSES)).counts() for found, scene in pairs]).total()


def chance(scenes: Sequence[Scene]) -> dict[str, Means]:
    """The most frequent class everywhere, and each class for a pixel as likely as any other, in expectation."""
    area = sum(np.bincount(scene.mask.ravel(), minlength=len(CLASSES)) for scene in scenes)
    pixels, nothing = area.sum(), np.zeros_like(area)
    most = np.arange(len(area)) == area.argmax()
    everywhere = Counts(np.where(most, area, nothing), np.where(most, pixels, nothing), area)
    by_lot = area / len(area)
    iou = 100 * by_lot / np.where(area > 0, pixels / len(area) + area - by_lot, np.nan)
    return {"chance: most frequent class": Means.of(everywhere), "chance: by lot": Means.of_iou(iou)}


def embeddings_of(segmenter: Segmenter) -> Features:
    """What words are compared with: unit rows of patches under the method's attention."""
    axes = torch.eye(segmenter.clip.width)
    return lambda windows: torch.cat([segmenter.logits(part, axes) for part in windows.split(segmenter.batch)])


def tokens_of(segmenter: Segmenter) -> Features:
    """What enters the last block of the CLIP, its class token left out."""
    clip = segmenter.clip

    def features(windows: Tensor) -> Tensor:
        tokens, _ = clip.tokens(windows.to(clip.device, clip.dtype))
        return tokens[:, clip.first_patch :].mT.unflatten(-1, clip.grid(windows)).float()

    return features


@torch.inference_mode()
def probed(
    segmenter: Segmenter, features: Features, asked: Sequence[Scene], taught: Sequence[Scene]
) -> list[np.ndarray]:
    """Maps (H, W) of a ridge regression from features of patches to classes.

    It learns the share of each class in each patch of the scenes `taught`, at the method's windows; what it says of a
    patch goes the way of cosines: upsampled, averaged where windows overlap, the largest taken.
    """
    weights = ridge((features(photo.windows), shares(photo)) for photo in map(partial(cut, segmenter), taught))
    maps = []
    for scene in asked:
        photo = cut(segmenter, scene)
        found = features(photo.windows)
        said = (rows_of(found) @ weights).float().unflatten(0, (len(found), -1)).mT
        score_map = segmenter.score_map(photo, said.unflatten(-1, found.shape[-2:]).contiguous())
        maps.append(score_map.queries(slice(None)).argmax(0).numpy())
    return maps


def cut(segmenter: Segmenter, scene: Scene) -> Photo:
    """A scene as the segmenter cuts it, with the true classes of its pixels as regions."""
    reader, (photo,) = with_masks(segmenter, [scene.image], [regions(scene)], many=True)
    return reader.prepare(photo)


def shares(photo: Photo) -> Tensor:
    """Which share of its pixels each class has in the windows: one-hot (n, C, h, w) float32, 0 in margins."""
    ids = photo.window_regions
    return F.one_hot(ids.clamp_min(0), len(CLASSES) + 1)[..., 1:].permute(0, 3, 1, 2).float()


def rows_of(features: Tensor) -> Tensor:
    """(n, D, h, w) -> (n * h * w, D + 1) float64, the last number of each row 1."""
    flat = features.flatten(2).mT.flatten(0, 1).double()
    return F.pad(flat, (0, 1), value=1.0)


def ridge(pairs: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """Features (n, D, h, w) and true pixels (n, C, H, W) of many photos -> weights (D + 1, C) float64.

    Patches count by one over the root of how many have their commonest class, so that small things count too.
    """
    square, moment, count = ([0.0] * len(CLASSES) for _ in range(3))
    for found, true in pairs:
        x, y = rows_of(found), rows_of(F.adaptive_avg_pool2d(true, found.shape[-2:]))[:, :-1]
        commonest = torch.where(y.sum(1) > 0, y.argmax(1), -1)
        for index in commonest.unique().tolist():
            part = commonest == index
            if index >= 0:
                square[index] = square[index] + x[part].mT @ x[part]
                moment[index] = moment[index] + x[part].mT @ y[part]
                count[index] += int(part.sum())
    known = [index for index, number in enumerate(count) if number]
    normal = sum(square[index] * count[index] ** -0.5 for index in known)
    asked = sum(moment[index] * count[index] ** -0.5 for index in known)
    variance = normal.diagonal() - normal[-1] ** 2 / normal[-1, -1]  # times the sum of weights; 0 of the constant
    return torch.linalg.solve(normal + RIDGE * variance.diag(), asked)


if __name__ == "__main__":
    main()

"""Sizes of photos and their pixels as networks take them: resize, normalise."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from ..common.fitting import next_multiple

Channels = tuple[float, float, float]
Taps = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Normalisation:
    """How a network was given its pixels: RGB in [0, 1], less the mean, divided by the deviation. By default CLIP's."""

    mean: Channels = (0.48145466, 0.4578275, 0.40821073)
    std: Channels = (0.26862954, 0.26130258, 0.27577711)

    @property
    def in_bytes(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation in bytes, (3,) float32: rounded to a thousandth, as published pipelines have it."""
        mean, std = (np.array([round(255 * part, 3) for part in parts], np.float32) for parts in (self.mean, self.std))
        return mean, std

    def said(self) -> dict[str, Any]:
        """What a record names: nothing where it is CLIP's."""
        return {} if self == CLIP else {"pixels": {"mean": list(self.mean), "std": list(self.std)}}

    @classmethod
    def recorded(cls, settings: Mapping[str, Any]) -> "Normalisation":
        """The one that a record names."""
        pixels = settings.get("pixels")
        return cls(tuple(pixels["mean"]), tuple(pixels["std"])) if pixels else CLIP


CLIP = Normalisation()
IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def resized_size(
    height: int, width: int, short_side: int, long_side: int = 2048, *, at_least: int = 1
) -> tuple[int, int]:
    """The (height, width) that keeps the aspect: short side as asked, unless the long side would pass its limit.

    Rounds halves up, as MMCV does. Sides of very thin photos are raised to `at_least`.
    """
    ratio = min(long_side / max(height, width), short_side / min(height, width))
    return max(int(height * ratio + 0.5), at_least), max(int(width * ratio + 0.5), at_least)


def patched_size(size: tuple[int, int], patch: int, least: int) -> tuple[int, int]:
    """Sides that are whole patches and at least `least` pixels, which is a multiple of the patch (spec 2.12.2).

    The long side goes up to a multiple, the other follows the aspect and goes up too. Where both are multiples the
    release does not raise short ones, and then fails.
    """
    height, width = size
    if height % patch == width % patch == 0:
        return max(height, least), max(width, least)
    long = max(height, width)
    raised = next_multiple(long, patch)
    return max(next_multiple(height * raised // long, patch), least), max(
        next_multiple(width * raised // long, patch), least
    )


def resize_uint8(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W, C) uint8 -> (h, w, C) uint8 for `size` (h, w), bit for bit OpenCV's INTER_LINEAR on bytes.

    That is half-pixel centres without antialiasing, in integers of 11 fractional bits. Only rows and columns
    that some output pixel looks at are touched.
    """
    (height, width), (rows, columns) = image.shape[:2], size
    if (height, width) == (rows, columns):
        return image.copy()
    return _mixed(image, _taps(height, rows), columns)


def resize_smoothly(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) uint8 -> (h, w, 3) uint8 by Pillow's bilinear filter, which smooths where it shrinks."""
    return np.array(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))


def resize_bands(bands: Iterable[np.ndarray], whole: tuple[int, int], size: tuple[int, int]) -> Iterator[np.ndarray]:
    """The same for bands (r, W, C) that follow each other from top to bottom: some rows of `resize_uint8` at a time.

    `whole` is (H, W) of all bands together. Rows are kept no longer than a row to come looks at them.
    """
    if whole == size:
        yield from bands
        return
    above, below, shares = _taps(whole[0], size[0])
    kept, first, made = np.empty((0, 0, 0), np.uint8), 0, 0  # rows at hand, the number of the first, rows done
    for band in bands:
        kept = np.concatenate([kept, band]) if len(kept) else band
        ready = int(np.searchsorted(below, first + len(kept), "left"))  # rows whose both neighbours are at hand
        if ready == made:
            continue
        some = slice(made, ready)
        yield _mixed(kept, (above[some] - first, below[some] - first, shares[some]), size[1])
        made = ready
        needed = int(above[made]) if made < size[0] else first + len(kept)
        kept, first = kept[max(0, needed - first) :], max(first, min(needed, first + len(kept)))


def _mixed(image: np.ndarray, taps: Taps, columns: int) -> np.ndarray:
    """Rows of (H, W, C) mixed as `taps` say, and resized to `columns`."""
    left, right, weights = _taps(image.shape[1], columns)
    # OpenCV drops the fraction beyond the first and last column, but not beyond rows: there it shows in rounding.
    weights[left == right] = 2048, 0
    above, below, shares = taps
    rows = len(above)
    used, place = np.unique(np.concatenate([above, below]), return_inverse=True)
    source = image[used]
    a0, a1 = weights.T[:, None, :, None]
    mixed = np.take(source, left, axis=1) * a0
    mixed += np.take(source, right, axis=1) * a1
    mixed >>= 4
    b0, b1 = shares.T[:, :, None, None]
    result = (mixed[place[:rows]] * b0) >> 16
    result += (mixed[place[rows:]] * b1) >> 16
    result += 2
    result >>= 2
    return result.astype(np.uint8)


def normalise(image: np.ndarray, how: Normalisation = CLIP) -> np.ndarray:
    """(H, W, 3) uint8 RGB -> (3, H, W) float32, less a mean and divided by a deviation, both as `in_bytes` has them."""
    mean, std = how.in_bytes
    return np.ascontiguousarray(((image - mean) / std).transpose(2, 0, 1))


def _taps(samples: int, wanted: int) -> Taps:
    """For one axis, what each of `wanted` outputs looks at: two indices and (wanted, 2) int32 weights of 2048."""
    scale = 1 / (wanted / samples)  # OpenCV's own detour: samples / wanted differs in the last bit, 14693 -> 2048
    position = ((np.arange(wanted) + 0.5) * scale - 0.5).astype(np.float32)
    floor = np.floor(position)
    fraction = position - floor
    weights = np.rint(2048 * np.stack([np.float32(1) - fraction, fraction], axis=1)).astype(np.int32)
    first = floor.astype(np.intp)
    return first.clip(0, samples - 1), (first + 1).clip(0, samples - 1), weights

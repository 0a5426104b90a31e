"""Label maps in COCO's format: one mask a class, as compressed run lengths or as polygons."""

from typing import Any

import numpy as np

from .outline import outlines


def coco_object(labels: np.ndarray, classes: list[str], file_name: str, polygons: bool = False) -> dict[str, Any]:
    """(H, W) labels -> a COCO object of one image, with one annotation for each class that occurs."""
    height, width = labels.shape
    found = annotations(labels, len(classes), polygons)
    return {
        **coco_head(classes),
        "images": [{"id": 1, "file_name": file_name, "height": height, "width": width}],
        "annotations": [{"id": number, "image_id": 1, **one} for number, one in enumerate(found, start=1)],
    }


def coco_head(classes: list[str], **info: str) -> dict[str, Any]:
    """What a COCO object says before its images: all classes are categories, with the class index plus 1 as id."""
    return {
        "info": {"description": "segloop", **info},
        "licenses": [],
        "categories": [{"id": index + 1, "name": name, "supercategory": "class"} for index, name in enumerate(classes)],
    }


def annotations(labels: np.ndarray, classes: int, polygons: bool = False) -> list[dict[str, Any]]:
    """(H, W) labels -> for each of the classes that occurs, its annotation without `id` and `image_id`.

    A mask is compressed run lengths, or the outlines of its regions as `outlines` has them; both hold every pixel.
    `area` counts pixels.
    """
    height, width = labels.shape
    rings = outlines(labels) if polygons else {}
    return [
        {
            "category_id": index + 1,
            "segmentation": rings[index] if polygons else {"size": [height, width], "counts": compress(counts)},
            "area": int(counts[1::2].sum()),
            "bbox": bounding_box(counts, height),
            "iscrowd": 0,
        }
        for index, counts in run_lengths(labels).items()
        if index < classes
    ]


def run_lengths(labels: np.ndarray) -> dict[int, np.ndarray]:
    """(H, W) labels -> for each class that occurs, COCO's counts: pixels off, on, off, ... down the columns."""
    flat = labels.T.ravel()
    starts = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))
    ends = np.append(starts[1:], flat.size)
    values = flat[starts]
    order = np.argsort(values, kind="stable")
    found, first = np.unique(values[order], return_index=True)
    runs = np.split(order, first[1:])
    return {int(index): _counts(starts[mine], ends[mine], flat.size) for index, mine in zip(found, runs, strict=True)}


def compress(counts: np.ndarray) -> str:
    """COCO's text of run lengths: differences to the count two before, in characters of 5 bits and a flag.

    The lowest bits come first; the last character's highest bit is the sign; "0" stands for zero.
    """
    steps = counts.astype(np.int64)
    steps[3:] -= counts[1:-2]  # COCO leaves the first three as they are
    shifted = steps[:, None] >> (5 * np.arange(8))
    digits, rest = shifted & 31, shifted >> 5
    more = rest != np.where(digits & 16, -1, 0)
    used = np.ones_like(more)
    used[:, 1:] = np.logical_and.accumulate(more[:, :-1], axis=1)
    return (48 + digits + 32 * more)[used].astype(np.uint8).tobytes().decode("ascii")


def bounding_box(counts: np.ndarray, height: int) -> list[int]:
    """Counts of a mask that is not empty -> [x, y, width, height], the tightest box around its pixels."""
    bounds = np.cumsum(counts)
    starts = bounds[:-1:2]
    lasts = bounds[1::2] - 1
    left, right = int(starts[0] // height), int(lasts[-1] // height)
    if (starts // height != lasts // height).any():  # a run over two columns holds a bottom and a top
        top, bottom = 0, height - 1
    else:
        top, bottom = int((starts % height).min()), int((lasts % height).max())
    return [left, top, right - left + 1, bottom - top + 1]


def _counts(starts: np.ndarray, ends: np.ndarray, total: int) -> np.ndarray:
    counts = np.empty(2 * len(starts), np.int64)
    counts[0::2] = starts - np.concatenate([[0], ends[:-1]])
    counts[1::2] = ends - starts
    return counts if ends[-1] == total else np.append(counts, total - ends[-1])

"""ADE20K's full release -> 847 classes in 16 bits, with the photos beside them in one folder."""

import io
import json
import re
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from ..common.files import regular, write_whole
from ..errors import UserError
from ..images import resize_uint8
from ..words.vocabulary import benchmark_names
from .ade_ids import ADE847_INDEX
from .work import WIDE_VOID, Making, Size, SplitPlan, colours, image_size, label_job, link_or_copy

FOLDERS = {"val": "validation", "train": "training"}
COMPARED = 20  # descriptions that are read to see that the release is the one of the table


def _table() -> np.ndarray:
    table = np.full(26 * 256, WIDE_VOID, np.uint16)
    table[list(ADE847_INDEX)] = np.arange(len(ADE847_INDEX))
    return table


TABLE = _table()  # (6656,) place in ADE20K's object list, from 1 -> train id, 65535 for all other objects


def plan(root: Path, split: str, short_side: int = 0) -> SplitPlan | None:
    """`images_detectron2/<split>/X.jpg` and `annotations_detectron2/<split>/X.tif` from `images/ADE/<split>/**`.

    Photos are linked and maps keep their size, unless `short_side` is given: then both are reduced to it where
    larger, as the published preparation does with 512. Raises UserError where the release is another one.
    """
    folder = root / "images" / "ADE" / FOLDERS[split]
    maps = sorted(folder.rglob("*_seg.png"), key=lambda path: path.name)
    if not maps:
        return None
    notes = _compare(folder)
    jobs: list[Making] = []
    for path in maps:
        photo = path.with_name(path.name.removesuffix("_seg.png") + ".jpg")
        pixels = root / "images_detectron2" / FOLDERS[split] / photo.name
        labels = root / "annotations_detectron2" / FOLDERS[split] / f"{photo.stem}.tif"
        size = partial(_size, path, short_side)
        jobs.append(label_job(path, labels, partial(_labels, path, short_side), size))
        jobs.append(Making(photo, pixels, partial(_photo, photo, pixels, short_side), size, photo=True))
    reduced = f", reduced to a short side of {short_side}" if short_side else ""
    return SplitPlan(jobs, f"the maps of all objects in {folder.relative_to(root)}{reduced}", notes=notes)


def train_ids(rgb: np.ndarray) -> np.ndarray:
    """`X_seg.png` (H, W, 3): place in the object list = R // 10 * 256 + G, from 1 -> (H, W) uint16 train ids."""
    place = rgb[..., 0].astype(np.int32) // 10 * 256 + rgb[..., 1]
    return TABLE[place]


def reduced_size(height: int, width: int, short_side: int) -> Size:
    """The size (H, W) of the published preparation: the short side at most `short_side`, the other in proportion."""
    if not short_side or min(height, width) <= short_side:
        return height, width
    if width >= height:
        return short_side, round(width / height * short_side)
    return round(height / width * short_side), short_side


def resize_nearest(labels: np.ndarray, size: Size) -> np.ndarray:
    """(H, W) -> (h, w) by OpenCV's INTER_NEAREST: the sample at floor(i * n / m)."""
    (height, width), (rows, columns) = labels.shape, size
    if (height, width) == (rows, columns):
        return labels
    down = np.minimum(np.floor(np.arange(rows) * (1 / (rows / height))).astype(np.intp), height - 1)
    across = np.minimum(np.floor(np.arange(columns) * (1 / (columns / width))).astype(np.intp), width - 1)
    return labels[down[:, None], across]


def _size(path: Path, short_side: int) -> Size:
    return reduced_size(*image_size(path), short_side)


def _labels(path: Path, short_side: int) -> np.ndarray:
    labels = train_ids(colours(path))
    height, width = labels.shape
    return resize_nearest(labels, reduced_size(height, width, short_side))


def _photo(source: Path, target: Path, short_side: int) -> None:
    size = image_size(source)
    smaller = reduced_size(*size, short_side)
    if smaller == size:
        link_or_copy(source, target)
        return
    stream = io.BytesIO()
    Image.fromarray(resize_uint8(colours(source), smaller)).save(stream, "JPEG")
    write_whole(target, stream.getvalue())


def _compare(folder: Path) -> tuple[str, ...]:
    """See in a few descriptions whether the object list is the table's: in other releases the order differs."""
    names = dict(zip(ADE847_INDEX, benchmark_names("ade847"), strict=True))
    right: set[tuple[int, str]] = set()
    wrong: set[tuple[int, str]] = set()
    for path in islice(sorted(folder.rglob("ADE_*.json")), COMPARED):
        for number, name in _described(path):
            if number in names:
                (right if _plain(name) == _plain(names[number]) else wrong).add((number, name))
    if len(wrong) > len(right):
        number, name = min(wrong)
        what = f"object {number} is {name!r} in {folder} and {names[number]!r} in the release ADE20K_2021_17_01"
        raise UserError(what, "download the release ADE20K_2021_17_01")
    return (f"{len(wrong)} objects have other names than the table, such as {min(wrong)[1]!r}",) if wrong else ()


def _described(path: Path) -> list[tuple[int, str]]:
    try:
        data = json.loads(regular(path).read_bytes().decode("utf-8", "replace"))
        return [(int(found["name_ndx"]), str(found["name"])) for found in data["annotation"]["object"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []  # a description is not needed for the labels


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())

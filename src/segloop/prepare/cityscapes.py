"""Cityscapes: the 34 label ids, or polygons where there are none -> the 19 train ids."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from ..common.files import regular
from ..errors import ImageError
from .work import Making, Size, SplitPlan, decoding, image_size, label_job, stated_size, stored_ids, through

VOID = 255
# fmt: off
LABELS = (  # in the order of their ids, 0..33
    "unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic", "ground", "road",
    "sidewalk", "parking", "rail track", "building", "wall", "fence", "guard rail", "bridge", "tunnel", "pole",
    "polegroup", "traffic light", "traffic sign", "vegetation", "terrain", "sky", "person", "rider", "car", "truck",
    "bus", "caravan", "trailer", "train", "motorcycle", "bicycle",
)
# fmt: on
UNDRAWN = "license plate"  # its id is -1: what lies below stays
TRAINED = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)


def _table() -> np.ndarray:
    table = np.full(256, -1, np.int16)
    table[: len(LABELS)] = VOID
    table[list(TRAINED)] = np.arange(19)
    table[VOID] = VOID
    return table


TRAIN_IDS = _table()  # (256,) label id -> train id; -1 where there is no such label


def plan(root: Path, split: str) -> SplitPlan | None:
    """`gtFine/<split>/<city>/*_gtFine_labelTrainIds.png` beside the label ids or polygons they come from."""
    folder = root / "gtFine" / split
    frames: dict[Path, Making] = {}
    for ending, labels, size in (
        ("_gtFine_polygons.json", _drawn, _described_size),
        ("_gtFine_labelIds.png", _stored, image_size),  # later: wins over polygons of the same frame
    ):
        for path in folder.glob(f"*/*{ending}"):
            target = path.with_name(path.name.removesuffix(ending) + "_gtFine_labelTrainIds.png")
            frames[target] = label_job(path, target, partial(labels, path), partial(size, path))
    if not frames:
        return None
    jobs = [frames[target] for target in sorted(frames)]
    drawn = sum(job.source.suffix == ".json" for job in jobs)
    return SplitPlan(jobs, f"{len(jobs) - drawn} label id maps and {drawn} polygon files in gtFine/{split}")


def _stored(path: Path) -> np.ndarray:
    return through(TRAIN_IDS, stored_ids(path), path, "Cityscapes").astype(np.uint8)


def _drawn(path: Path) -> np.ndarray:
    """Polygons filled in the order of the file, later over earlier -> (H, W) uint8 train ids."""
    data = _polygons(path)
    height, width = stated_size(data["imgHeight"], data["imgWidth"], path)
    canvas = Image.new("L", (width, height), VOID)
    pen = ImageDraw.Draw(canvas)
    with decoding(path):
        for thing in data["objects"]:
            if not thing.get("deleted") and thing["label"] != UNDRAWN:
                outline = [(x, y) for x, y in thing["polygon"]]
                pen.polygon(outline, fill=int(TRAIN_IDS[_label(thing["label"], path)]))
    return np.array(canvas)


def _label(name: str, path: Path) -> int:
    """A polygon's label id; "cargroup" is many cars within one outline, and counts as cars."""
    name = name if name in LABELS else str(name).removesuffix("group")
    if name not in LABELS:
        raise ImageError(f"{path} holds {name[:40]!r}, which Cityscapes does not have", "give the original files")
    return LABELS.index(name)


def _described_size(path: Path) -> Size:
    data = _polygons(path)
    return stated_size(data["imgHeight"], data["imgWidth"], path)


def _polygons(path: Path) -> Any:
    with decoding(path):
        data = json.loads(regular(path).read_bytes())
        if not {"imgHeight", "imgWidth", "objects"} <= set(data):
            raise ValueError("it has no imgHeight, imgWidth and objects")
    return data

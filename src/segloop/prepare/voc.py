"""PASCAL VOC's augmented training set: SBD's boundaries as label files. VOC's own need no preparation."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .matlab import map_size, read_map, require_scipy
from .work import SHOWN, SplitPlan, failing, image_size, is_inside, label_job, read_list, stored_ids, through

# fmt: off
SBD_PLACES = ("dataset/cls", "benchmark_RELEASE/dataset/cls", "SBD/cls", "VOCaug/dataset/cls", "cls",
              "../VOCaug/dataset/cls", "../benchmark_RELEASE/dataset/cls", "../../benchmark_RELEASE/dataset/cls")
# fmt: on
CLASSES = np.full(256, -1, np.int16)
CLASSES[:21] = np.arange(21)
CLASSES[255] = 255


def plan(root: Path, split: str) -> SplitPlan | None:
    """`SegmentationClassAug/<id>.png` for SBD's photos and VOC's training photos, without VOC's validation photos.

    A photo that VOC itself labels keeps VOC's map, which is finer and has void borders; the others get SBD's.
    """
    cls = next((root / place for place in SBD_PLACES if any((root / place).glob("*.mat"))), None)
    lists = root / "ImageSets" / "Segmentation"
    if cls is None or not all((lists / name).is_file() for name in ("train.txt", "val.txt")):
        return None
    require_scipy()
    mats = {path.stem: path for path in cls.glob("*.mat")}
    ids = sorted((set(mats) | set(read_list(lists / "train.txt"))) - set(read_list(lists / "val.txt")))
    jobs = []
    for name in ids:
        if not is_inside(name):
            what = f"a list of photos names {name[:SHOWN]!r}, outside the data set"
            jobs.append(failing(lists / "train.txt", what, "give the original list"))
            continue
        own = root / "SegmentationClass" / f"{name}.png"
        target = root / "SegmentationClassAug" / f"{name}.png"
        if own.is_file() or name not in mats:
            jobs.append(label_job(own, target, partial(_own, own), partial(image_size, own)))
        else:
            path = mats[name]
            jobs.append(label_job(path, target, partial(_sbd, path), partial(map_size, path, _segmentation)))
    taken = sum(job.source.suffix == ".png" for job in jobs)
    origin = f"{len(jobs) - taken} maps of SBD and {taken} of VOC itself"
    return SplitPlan(jobs, origin, {lists / f"{split}.txt": ids})


def _own(path: Path) -> np.ndarray:
    return through(CLASSES, stored_ids(path), path, "VOC").astype(np.uint8)


def _sbd(path: Path) -> np.ndarray:
    return through(CLASSES, read_map(path, _segmentation), path, "VOC").astype(np.uint8)


def _segmentation(variables: Any) -> Any:
    return variables["GTcls"]["Segmentation"][0, 0]

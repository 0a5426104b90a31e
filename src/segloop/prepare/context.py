"""PASCAL-Context: the Detail API's run lengths, or the raw maps of 459 classes -> 59 and 459 classes."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..images import rle
from ..words.vocabulary import benchmark_names
from .instances import WHOLE, records
from .instances import key as key_of
from .matlab import map_size, read_map, require_scipy
from .work import (
    SHOWN,
    WIDE_VOID,
    Making,
    Size,
    SplitPlan,
    below,
    decoding,
    entry,
    failing,
    is_inside,
    label_job,
    read_json,
    read_list,
    stated_size,
    through,
)

DETAIL = "trainval_merged.json"
LISTS = "ImageSets/SegmentationContext"
MAT_FOLDERS = ("trainval", "context/trainval", "pascal-context/trainval")
RAW = "PASCAL-Context"


def _frequent_table() -> np.ndarray:
    """(460,) id among the 459, from 1 -> 1..59 in the order of their names, 0 for every other class."""
    table = np.zeros(460, np.int16)
    for train, name in enumerate(benchmark_names("context59"), start=1):
        table[benchmark_names("context459").index(name) + 1] = train
    return table


def _all_table() -> np.ndarray:
    """(460,) id from 1 -> 0..458, 0 -> 65535."""
    return np.concatenate([[WIDE_VOID], np.arange(459)])


def plan_frequent(root: Path, split: str) -> SplitPlan | None:
    """`SegmentationClassContext/<id>.png`, 0 background and 1..59: from the Detail API's JSON, else from .mat files."""
    if (root / DETAIL).is_file():
        return _from_detail(root, split)
    return _from_mats(root, split, lambda name: root / "SegmentationClassContext" / f"{name}.png", _frequent_table())


def plan_all(root: Path, split: str) -> SplitPlan | None:
    """`annotations_detectron2/pc459_<split>/<id>.tif`, 0..458 and 65535: from .mat files only."""
    folder = root / "annotations_detectron2" / f"pc459_{split}"
    return _from_mats(root, split, lambda name: folder / f"{name}.tif", _all_table())


def _from_detail(root: Path, split: str) -> SplitPlan:
    """The JSON's own phases are the splits; a list that is there decides instead.

    The Detail API's reader drops one of 5,105 validation photos (it deletes from the list that it walks
    through), so published conversions count 5,104. Here none is dropped.
    """
    source = root / DETAIL
    data = read_json(source, "images", "annos_segmentation")
    owned: dict[Any, list[Mapping[str, Any]]] = defaultdict(list)
    listed_images, regions = (records(data, key, source) for key in ("images", "annos_segmentation"))
    for found in regions:
        owned[key_of(found.get("image_id"))].append(found)
    named = [(_stem(image), image) for image in listed_images if image.get("phase", split) == split]
    images = {name: image for name, image in named if name is not None and "image_id" in image}
    bad = [image for name, image in named if name is None or "image_id" not in image]
    listed = root / LISTS / f"{split}.txt"
    ids = read_list(listed) if listed.is_file() else sorted(images)
    jobs = [
        _detail_job(root, name, images[name], owned[key_of(images[name]["image_id"])]) for name in ids if name in images
    ]
    strange = len(ids) - len(jobs)
    notes = (f"{strange} photos of {listed} are not in {DETAIL}",) if strange else ()
    jobs += [failing(entry(source, str(one)[:SHOWN]), "an image has no id or no file_name", WHOLE) for one in bad]
    return SplitPlan(jobs, f"the Detail API's {DETAIL}", {} if listed.is_file() else {listed: ids}, notes)


def _stem(image: Mapping[str, Any]) -> str | None:
    """The id of a photo by its file; None for what names none."""
    name = image.get("file_name")
    stem = Path(name).stem if isinstance(name, str) else ""
    return stem if is_inside(stem) else None


def _detail_job(root: Path, name: str, image: Mapping[str, Any], found: Sequence[Mapping[str, Any]]) -> Making:
    source = entry(root / DETAIL, name)
    size = partial(stated_size, image.get("height"), image.get("width"), source)

    def make() -> np.ndarray:
        return detail_ids(found, size(), _frequent_table(), source)

    return label_job(source, root / "SegmentationClassContext" / f"{name}.png", make, size)


def detail_ids(found: Sequence[Mapping[str, Any]], size: Size, table: np.ndarray, path: Path) -> np.ndarray:
    """Regions painted in the order of the file, later over earlier -> (H, W) uint8."""
    canvas = np.zeros(size, np.uint16)
    with decoding(path):
        for one in found:
            canvas[rle.decode(one["segmentation"])] = one["category_id"]
    return through(table, canvas, path, RAW).astype(np.uint8)


def _from_mats(root: Path, split: str, place: Callable[[str], Path], table: np.ndarray) -> SplitPlan | None:
    folder = below(root, *MAT_FOLDERS)
    listed = root / LISTS / f"{split}.txt"
    main = root / "ImageSets" / "Main" / f"{split}.txt"  # VOC 2010's own split is PASCAL-Context's
    names = next((read_list(path) for path in (listed, main) if path.is_file()), None)
    if folder is None or names is None or not any(folder.glob("*.mat")):
        return None
    require_scipy()
    jobs = []
    for name in names:
        if not is_inside(name):
            what = f"the list of photos names {name[:SHOWN]!r}, outside the data set"
            jobs.append(failing(listed if listed.is_file() else main, what, "give the original list"))
            continue
        path = folder / f"{name}.mat"
        make = partial(_mapped, path, table, np.uint16 if table[0] else np.uint8)
        jobs.append(label_job(path, place(name), make, partial(map_size, path, _label_map)))
    lists = {} if listed.is_file() else {listed: names}
    return SplitPlan(jobs, f"the raw maps of 459 classes in {folder.relative_to(root)}", lists)


def _mapped(path: Path, table: np.ndarray, kind: type) -> np.ndarray:
    return through(table, read_map(path, _label_map), path, RAW).astype(kind)


def _label_map(variables: Any) -> Any:
    return variables["LabelMap"]

"""COCO-Stuff and COCO-Object: raw stuff-and-things maps, panoptic maps or instances -> train ids (spec 7)."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ImageError, UserError
from . import rle
from .work import Plan, Size, colours, entry, image_size, label_job, read_json, reading, stored_ids, through

ABSENT = (11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90)  # raw ids that no annotation has
VOID = 255
RAW_FOLDERS = ("stuffthingmaps", "stuffthingmaps_trainval2017", "annotations")
RAW = "COCO-Stuff's raw maps"


def _stuff_table() -> np.ndarray:
    table = np.full(256, -1, np.int16)
    present = [raw for raw in range(182) if raw not in ABSENT]
    table[present] = np.arange(171)
    table[VOID] = VOID
    return table


STUFF = _stuff_table()  # (256,) raw id -> 0..170, 255 stays; -1 where no annotation has the id
OBJECT = np.where(STUFF < 80, STUFF + 1, 0).astype(np.int16)  # raw id -> 1..80 things, 0 all else and void
OBJECT[STUFF < 0] = -1


def stuff_ids(raw: np.ndarray, path: Path = Path("the map")) -> np.ndarray:
    """Raw ids (H, W), category - 1 -> the 171 train ids, uint8, 255 void. Raises ImageError for other values."""
    return through(STUFF, raw, path, RAW).astype(np.uint8)


def object_ids(raw: np.ndarray, path: Path = Path("the map")) -> np.ndarray:
    """Raw ids (H, W) -> 1..80 things, 0 for stuff and void, uint8. Raises ImageError for other values."""
    return through(OBJECT, raw, path, RAW).astype(np.uint8)


def plan_stuff(root: Path, split: str) -> Plan | None:
    """`annotations/<split>2017/<name>_labelTrainIds.png` from the raw maps."""
    return _from_raw(root, split, stuff_ids, "_labelTrainIds.png")


def plan_object(root: Path, split: str) -> Plan | None:
    """`annotations/<split>2017/<name>_instanceTrainIds.png` from raw maps, else panoptic maps, else instances."""
    plan = _from_raw(root, split, object_ids, "_instanceTrainIds.png")
    return plan or _from_panoptic(root, split) or _from_instances(root, split)


def _from_raw(root: Path, split: str, convert: Callable[[np.ndarray, Path], np.ndarray], ending: str) -> Plan | None:
    for place in RAW_FOLDERS:
        folder = root / place / f"{split}2017"
        raw = sorted(path for path in folder.glob("*.png") if not path.stem.endswith("TrainIds"))
        if raw:
            break
    else:
        return None

    def make(path: Path) -> np.ndarray:
        return convert(stored_ids(path), path)

    jobs = [
        label_job(path, _target(root, split, path.stem, ending), partial(make, path), partial(image_size, path))
        for path in raw
    ]
    return Plan(jobs, f"the raw stuff-and-things maps in {folder.relative_to(root)}")


def _from_panoptic(root: Path, split: str) -> Plan | None:
    name = f"panoptic_{split}2017"
    described = root / "annotations" / f"{name}.json"
    folder = next((at for at in (root / "annotations" / name, root / name) if at.is_dir()), None)
    if not described.is_file() or folder is None:
        return None
    data, jobs = read_json(described, "annotations"), []
    with reading(described):
        for photo in data["annotations"]:
            path = folder / Path(photo["file_name"]).with_suffix(".png").name
            segments = {part["id"]: part["category_id"] for part in photo["segments_info"]}
            target = _target(root, split, path.stem, "_instanceTrainIds.png")
            jobs.append(label_job(path, target, partial(panoptic_ids, path, segments), partial(image_size, path)))
    return Plan(jobs, f"the panoptic maps in {folder.relative_to(root)}, crowds included")


def panoptic_ids(path: Path, segments: Mapping[int, int]) -> np.ndarray:
    """A panoptic PNG, segment id = R + 256 G + 65536 B, and segment -> category: (H, W) uint8, things 1..80.

    Raises ImageError for a segment that is not described.
    """
    numbers, place = np.unique(colours(path).astype(np.int64) @ [1, 256, 65536], return_inverse=True)
    unknown = [number for number in numbers.tolist() if number and number not in segments]
    if unknown:
        what = f"{path} holds segment {unknown[0]}, which the annotations do not describe"
        raise ImageError(what, "use the JSON and the PNG files of one release")
    classes = [_thing(segments[number]) if number else 0 for number in numbers.tolist()]
    return np.array(classes, np.uint8)[place].reshape(image_size(path))


def _from_instances(root: Path, split: str) -> Plan | None:
    described = root / "annotations" / f"instances_{split}2017.json"
    if not described.is_file():
        return None
    data = read_json(described, "images", "annotations")
    owned: dict[int, list[dict[str, Any]]] = defaultdict(list)
    jobs = []
    with reading(described):
        for found in data["annotations"]:
            owned[found["image_id"]].append(found)
        if any(isinstance(found["segmentation"], list) for found in data["annotations"]):
            _mask_api()  # says what is missing before the first of thousands of files
        for image in data["images"]:
            size = (int(image["height"]), int(image["width"]))
            stem = Path(image["file_name"]).stem
            source = entry(described, stem)
            make = partial(instance_ids, owned[image["id"]], size, source)
            target = _target(root, split, stem, "_instanceTrainIds.png")
            jobs.append(label_job(source, target, make, partial(_same, size)))
    return Plan(jobs, f"the instances of {described.name}: crowds lowest, smaller objects over larger ones")


def instance_ids(found: Sequence[Mapping[str, Any]], size: Size, path: Path) -> np.ndarray:
    """One photo's instances -> (H, W) uint8, things 1..80, 0 where there is none.

    Crowd regions are included, as COCO-Stuff includes them, and lie lowest; of what overlaps, the smaller lies
    on top; of equal areas, the one with the higher annotation id.
    """
    canvas = np.zeros(size, np.uint8)
    with reading(path):
        for one in sorted(found, key=lambda one: (not one.get("iscrowd", 0), -one["area"], one["id"])):
            canvas[_mask(one["segmentation"], size)] = _thing(one["category_id"])
    return canvas


def _mask(segmentation: Any, size: Size) -> np.ndarray:
    if isinstance(segmentation, dict):
        mask = rle.decode(segmentation)
    else:
        api = _mask_api()
        mask = rle.decode(api.merge(api.frPyObjects(segmentation, *size)))
    if mask.shape != size:
        raise ValueError(f"a mask of {mask.shape} pixels for a photo of {size}")
    return mask


def _mask_api() -> Any:
    try:
        return import_module("pycocotools.mask")
    except ImportError as error:
        remedy = "install it (pip install pycocotools), or unpack stuffthingmaps or the panoptic annotations instead"
        raise UserError("COCO's polygons are drawn by pycocotools, which is not installed", remedy) from error


def _thing(category: int) -> int:
    """COCO's category id -> 1..80, 0 for stuff."""
    return max(int(OBJECT[category - 1]), 0) if 1 <= category <= 182 else 0


def _same(size: Size) -> Size:
    return size


def _target(root: Path, split: str, stem: str, ending: str) -> Path:
    return root / "annotations" / f"{split}2017" / (stem + ending)

"""COCO-Stuff and COCO-Object: raw stuff-and-things maps, panoptic maps or instances -> train ids (spec 7)."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import itemgetter
from pathlib import Path

import numpy as np

from ..errors import ImageError, UserError
from ..images import rle
from ..images.polygons import drawing, filled
from . import instances
from .instances import Record
from .work import (
    Making,
    Size,
    SplitPlan,
    colours,
    decoding,
    entry,
    failing,
    image_size,
    label_job,
    read_json,
    stored_ids,
    through,
)

ABSENT = (11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90)  # raw ids that no annotation has
VOID = 255
RAW_FOLDERS = ("stuffthingmaps", "stuffthingmaps_trainval2017", "annotations")
RAW = "COCO-Stuff's raw maps"
OTHERWISE = "unpack stuffthingmaps or the panoptic annotations instead"


def _stuff_table() -> np.ndarray:
    table = np.full(256, -1, np.int16)
    present = [raw for raw in range(182) if raw not in ABSENT]
    table[present] = np.arange(171)
    table[VOID] = VOID
    return table


STUFF = _stuff_table()  # (256,) raw id -> 0..170, 255 stays; -1 where no annotation has the id
OBJECT = np.where(STUFF < 80, STUFF + 1, 0).astype(np.int16)  # raw id -> 1..80 things, 0 all else and void
OBJECT[STUFF < 0] = -1
THINGS = {raw + 1: int(OBJECT[raw]) for raw in np.flatnonzero(OBJECT[:VOID] > 0).tolist()}  # category id -> 1..80


def stuff_ids(raw: np.ndarray, path: Path = Path("the map")) -> np.ndarray:
    """Raw ids (H, W), category - 1 -> the 171 train ids, uint8, 255 void. Raises ImageError for other values."""
    return through(STUFF, raw, path, RAW).astype(np.uint8)


def object_ids(raw: np.ndarray, path: Path = Path("the map")) -> np.ndarray:
    """Raw ids (H, W) -> 1..80 things, 0 for stuff and void, uint8. Raises ImageError for other values."""
    return through(OBJECT, raw, path, RAW).astype(np.uint8)


def plan_stuff(root: Path, split: str) -> SplitPlan | None:
    """`annotations/<split>2017/<name>_labelTrainIds.png` from the raw maps."""
    return _from_raw(root, split, stuff_ids, "_labelTrainIds.png")


def plan_object(root: Path, split: str) -> SplitPlan | None:
    """`annotations/<split>2017/<name>_instanceTrainIds.png` from raw maps, else panoptic maps, else instances."""
    plan = _from_raw(root, split, object_ids, "_instanceTrainIds.png")
    return plan or _from_panoptic(root, split) or _from_instances(root, split)


def _from_raw(
    root: Path, split: str, convert: Callable[[np.ndarray, Path], np.ndarray], ending: str
) -> SplitPlan | None:
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
    return SplitPlan(jobs, f"the raw stuff-and-things maps in {folder.relative_to(root)}")


def _from_panoptic(root: Path, split: str) -> SplitPlan | None:
    name = f"panoptic_{split}2017"
    described = root / "annotations" / f"{name}.json"
    folder = next((at for at in (root / "annotations" / name, root / name) if at.is_dir()), None)
    if not described.is_file() or folder is None:
        return None
    data, jobs = read_json(described, "annotations"), []
    with decoding(described):
        table = instances.categories(data.get("categories"), THINGS, described)
        for number, photo in enumerate(instances.records(data, "annotations", described), start=1):
            what = _lacking(photo)
            if what:
                told = f"{described}: annotation {number} of the list has no {what}"
                jobs.append(failing(entry(described, f"annotation {number}"), told, instances.WHOLE))
                continue
            path = folder / Path(photo["file_name"]).with_suffix(".png").name
            parts = photo["segments_info"]
            instances.refuse_foreign(parts, table, data.get("categories"), described)
            segments = {part["id"]: instances.key(part["category_id"]) for part in parts}
            target = _target(root, split, path.stem, "_instanceTrainIds.png")
            make = partial(panoptic_ids, path, segments, table)
            jobs.append(label_job(path, target, make, partial(image_size, path)))
    return SplitPlan(jobs, f"the panoptic maps in {folder.relative_to(root)}, crowds included")


def _lacking(photo: Record) -> str | None:
    """What an entry of the panoptic list does not have, or has in another shape."""
    name, parts = photo.get("file_name"), photo.get("segments_info")
    if not isinstance(name, str) or not Path(name).name:
        return "file_name"
    listed = [one for one in parts if isinstance(one, Mapping)] if isinstance(parts, list) else None
    if listed is None or not all(type(one.get("id")) is int and "category_id" in one for one in listed):
        return "segments_info, each with id and category_id"
    return None if listed == parts else "segments_info of records"


def panoptic_ids(path: Path, segments: Mapping[int, int], table: instances.TrainIds | None = None) -> np.ndarray:
    """A panoptic PNG, segment id = R + 256 G + 65536 B, and segment -> category: (H, W) uint8, things 1..80.

    `table` is by default COCO's own. Raises ImageError for a segment or a category that is not described.
    """
    table = instances.categories(None, THINGS, path) if table is None else table
    numbers, place = np.unique(colours(path).astype(np.int64) @ [1, 256, 65536], return_inverse=True)
    unknown = [number for number in numbers.tolist() if number and number not in segments]
    if unknown:
        what = f"{path} holds segment {unknown[0]}, which the annotations do not describe"
        raise ImageError(what, "use the JSON and the PNG files of one release")
    classes = [table.get(segments[number]) if number else 0 for number in numbers.tolist()]
    if None in classes:
        category = segments[numbers.tolist()[classes.index(None)]]
        raise ImageError(f"{path} holds a segment of category {category}, which is not described", instances.WHOLE)
    return np.array(classes, np.uint8)[place].reshape(image_size(path))


def _from_instances(root: Path, split: str) -> SplitPlan | None:
    described = root / "annotations" / f"instances_{split}2017.json"
    if not described.is_file():
        return None
    data = read_json(described, "images", "annotations")
    with decoding(described):
        listed, found = (instances.records(data, name, described) for name in ("images", "annotations"))
        if not listed:
            raise UserError(f"{described} lists no images", instances.WHOLE)
        table = instances.categories(data.get("categories"), THINGS, described)
        masked = [one for one in found if instances.has_mask(one)]
        if found and not masked:
            what = f"{described} holds boxes and no masks, which make no labels"
            raise UserError(what, "give annotations with segmentation, or the raw stuff-and-things maps")
        instances.refuse_foreign(masked, table, data.get("categories"), described)
        if any(not isinstance(one["segmentation"], Mapping) for one in masked):
            drawing(OTHERWISE)  # says what is missing before the first of thousands of files
        place = partial(instances.place_of, root=root, split=split)
        photos, wrong = instances.photos(listed, masked, place, described)
        jobs = [_instance_job(photo, root, split, described, table) for photo in photos]
        jobs += [failing(entry(described, "images"), what, instances.WHOLE) for what in wrong]
        notes = _left_out(listed, found)
    origin = f"the instances of {described.name}: crowds lowest, smaller objects over larger ones"
    return SplitPlan(jobs, origin, notes=notes)


def _left_out(listed: Sequence[Record], found: Sequence[Record]) -> tuple[str, ...]:
    """Sentences on annotations that make no pixels."""
    ids = {instances.key(image.get("id")) for image in listed}
    kinds = (
        ([one for one in found if instances.key(one.get("image_id")) not in ids], "of no image that the file lists"),
        ([one for one in found if not instances.has_mask(one)], "with a box and no mask, so that it is background"),
    )
    return tuple(f"left out: {instances.some(these)} {what}" for these, what in kinds if these)


def _instance_job(
    photo: instances.PhotoInstances, root: Path, split: str, described: Path, table: instances.TrainIds
) -> Making:
    source = entry(described, photo.name)
    size = partial(instances.size_of, photo, root, split, source)

    def make() -> np.ndarray:
        return instance_ids(photo.found, size(), source, table)

    return label_job(source, _target(root, split, photo.name, "_instanceTrainIds.png"), make, size)


def instance_ids(
    found: Sequence[Record], size: Size, path: Path, table: instances.TrainIds | None = None
) -> np.ndarray:
    """One photo's instances -> (H, W) uint8, things 1..80, 0 where there is none; `table` is by default COCO's own.

    Crowd regions are included, as COCO-Stuff includes them, and lie lowest; of what overlaps, the smaller lies
    on top; of equal areas, the one with the higher annotation id. Where an area is missing or 0, pixels are counted;
    where an id is missing, what comes later lies on top. Raises ImageError.
    """
    table = instances.categories(None, THINGS, path) if table is None else table
    canvas = np.zeros(size, np.uint8)
    with decoding(path):
        areas = [instances.positive(one.get("area")) for one in found]
        if None in areas:
            areas = [int(_mask(one, size, path).sum()) for one in found]
        ids = [one.get("id") for one in found]
        rank = ids if all(type(one) is int for one in ids) else range(len(found))
        order = zip((not instances.is_crowd(one) for one in found), (-(area or 0) for area in areas), rank, strict=True)
        for _, one in sorted(zip(order, found, strict=True), key=itemgetter(0)):
            kind = table.get(instances.key(one.get("category_id")))
            if kind is None:
                what = f"{path}: {instances.called(one)} has the unknown category {one.get('category_id')}"
                raise ImageError(what, instances.WHOLE)
            canvas[_mask(one, size, path)] = kind
    return canvas


def _mask(one: Record, size: Size, path: Path) -> np.ndarray:
    """(H, W) bool. Raises ImageError."""
    segmentation = one["segmentation"]
    try:
        if isinstance(segmentation, Mapping):
            stated = segmentation.get("size", list(size))
            if list(stated) != list(size):
                what = f"{path}: {instances.called(one)} has a mask of {tuple(stated)} pixels for a photo of {size}"
                raise ImageError(what, "use the JSON and the photos of one release")
            return rle.decode({"size": size, "counts": segmentation["counts"]})
        return filled(segmentation, size, OTHERWISE)
    except UserError:
        raise
    except (ValueError, TypeError, KeyError, OverflowError, AttributeError) as error:
        what = f"the mask of {instances.called(one)} in {path} cannot be read ({error})"
        raise ImageError(what, "write it as polygons [[x, y, x, y, ...]] or run lengths, as COCO does") from error


def _target(root: Path, split: str, stem: str, ending: str) -> Path:
    return root / "annotations" / f"{split}2017" / (stem + ending)

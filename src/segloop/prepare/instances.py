"""What a COCO JSON lists, also as other programs write it: photos, categories, and which annotations have a mask.

Only what decides pixels has to be there: an annotation's image, category and mask. `area`, `id` and `iscrowd` order
what overlaps, and have a meaning where they are missing.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import ImageError, UserError
from ..images.polygons import polygons
from ..words.vocabulary import benchmark_names
from .work import Size, image_size, stated_size

SHOWN = 3  # examples in a message
WHOLE = "give the original annotation file"

Record = Mapping[str, Any]
TrainIds = Mapping[Any, int | None]  # category id -> train id, 0 for stuff, None for what COCO does not have


@dataclass(frozen=True)
class PhotoInstances:
    """An image that the file lists."""

    name: str  # below the folder of photos, without suffix
    file_name: str
    stated: tuple[Any, Any]  # height and width, where the file has them
    found: list[Record]  # its annotations


def records(data: Any, key: str, path: Path) -> list[Record]:
    """A list of records of a file. Raises UserError."""
    found = data[key]
    if not isinstance(found, list) or not all(isinstance(one, Mapping) for one in found):
        raise UserError(f"{path}: {key} is no list of records", WHOLE)
    return found


def categories(described: Any, things: Mapping[int, int], path: Path) -> TrainIds:
    """A file's `categories` as a table; `things` are the 80 objects by COCO's own numbers.

    Names count, whatever their numbers are: other programs number anew. Without categories the numbers are COCO's.
    Raises UserError.
    """
    if not described:
        return {**dict.fromkeys(range(91, 201), 0), **things}
    if not isinstance(described, list) or not all(isinstance(one, Mapping) and "id" in one for one in described):
        raise UserError(f"{path} has categories that are no list of ids and names", WHOLE)
    stuff = [*benchmark_names("coco-stuff"), "other", "background"]
    known = {_plain(name): 0 for name in stuff} | {
        _plain(name): number for number, name in enumerate(benchmark_names("coco-object"))
    }

    def train_id(one: Record) -> int | None:
        if not isinstance(one.get("name"), str):
            return things.get(one["id"])
        return known.get(_plain(one["name"]), 0 if one.get("isthing") == 0 else None)

    return {key(one["id"]): train_id(one) for one in described}


def refuse_foreign(used: Iterable[Record], table: TrainIds, described: Any, path: Path) -> None:
    """Raise UserError where annotations are of categories that COCO's 80 objects and its stuff are not."""
    ids = {key(one.get("category_id")) for one in used}
    foreign = [
        f"{one.get('name', 'without a name')} ({one['id']})"
        for one in described or ()
        if table[key(one["id"])] is None and key(one["id"]) in ids
    ]
    if foreign:
        listed = ", ".join(foreign[:SHOWN]) + (" ..." if len(foreign) > SHOWN else "")
        remedy = "for classes of your own make a folder of images, masks and classes.txt, and evaluate `folder`"
        raise UserError(f"{path} has categories that are none of COCO's: {listed}", remedy)


def photos(
    images: Sequence[Record], found: Iterable[Record], place: Callable[[str], str], path: Path
) -> tuple[list[PhotoInstances], list[str]]:
    """The images with their annotations, and what is wrong with others, which have no id or no name.

    Raises UserError for an id or a name that comes twice: whose annotations are whose is not known then.
    """
    owned: dict[Any, list[Record]] = defaultdict(list)
    for one in found:
        owned[key(one.get("image_id"))].append(one)
    made, ids, wrong = [], [], []
    for number, image in enumerate(images, start=1):
        missing = next((name for name in ("id", "file_name") if image.get(name) in (None, "")), None)
        name = "" if missing else place(str(image["file_name"]))
        if not name:
            wrong.append(f"{path}: image {number} of the list has no {missing or 'file_name'}")
            continue
        stated = image.get("height"), image.get("width")
        made.append(PhotoInstances(name, str(image["file_name"]), stated, owned[key(image["id"])]))
        ids.append(key(image["id"]))
    names = [photo.name for photo in made]
    for what, values in (("two images with the id", ids), ("two images whose labels would be called", names)):
        value, times = Counter(values).most_common(1)[0] if values else ("", 0)
        if times > 1:
            raise UserError(f"{path} lists {what} {value}", "give each image an id and a name of its own")
    return made, wrong


def place_of(file_name: str, root: Path, split: str) -> str:
    """Where a photo's label lies below the folder of labels, without suffix: as the photo below that of photos."""
    parts = [part for part in PurePosixPath(file_name.replace("\\", "/")).parts if part not in ("/", "..", ".")]
    folder = f"{split}2017"
    if folder in parts[:-1]:
        parts = parts[len(parts) - parts[::-1].index(folder) :]
    elif len(parts) > 1 and not any(path.is_file() for path in photo_files("/".join(parts), root, split)):
        parts = parts[-1:]
    return str(PurePosixPath(*parts).with_suffix("")) if parts else ""


def photo_files(name: str, root: Path, split: str) -> list[Path]:
    """Where a photo may lie: as evaluations want it, or as the download unpacks."""
    return [root / "images" / f"{split}2017" / name, root / f"{split}2017" / name]


def size_of(photo: PhotoInstances, root: Path, split: str, path: Path) -> Size:
    """(H, W): as stated, else of the photo itself, else of its run lengths. Raises ImageError."""
    if all(type(side) is int and side > 0 for side in photo.stated):
        return stated_size(*photo.stated, path)
    for candidate in photo_files(photo.name + PurePosixPath(photo.file_name).suffix, root, split):
        if candidate.is_file():
            return image_size(candidate)
    for one in photo.found:
        size = one["segmentation"].get("size") if isinstance(one["segmentation"], Mapping) else None
        if isinstance(size, list) and len(size) == 2 and all(type(side) is int and side > 0 for side in size):
            return stated_size(size[0], size[1], path)
    raise ImageError(f"{path} has no height and width, and its photo is not there", f"put it into images/{split}2017")


def has_mask(one: Record) -> bool:
    """Whether an annotation says which pixels; not without a segmentation, or with polygons of one or two points."""
    segmentation = one.get("segmentation")
    if isinstance(segmentation, Mapping):
        return bool(segmentation.get("counts"))
    return bool(polygons(segmentation)) if isinstance(segmentation, list) else bool(segmentation)


def positive(value: Any) -> float | None:
    """A number above 0, else None."""
    known = type(value) in (int, float) and math.isfinite(value) and value > 0
    return value if known else None


def key(value: Any) -> Any:
    """An id as it is compared: some programs write numbers as text; what is no id at all is its text."""
    if not isinstance(value, (str, int, float, type(None))):
        return repr(value)
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value


def is_crowd(one: Record) -> bool:
    """Whether an annotation is of a crowd; not where it does not say."""
    return str(one.get("iscrowd")).casefold() in ("1", "1.0", "true")


def called(one: Record) -> str:
    """How a message names an annotation."""
    return f"annotation {one['id']}" if "id" in one else "an annotation without id"


def some(found: Sequence[Record]) -> str:
    """ "5 annotations (4, 7, 9 ...)"."""
    ids = [str(one["id"]) for one in found[:SHOWN] if "id" in one]
    more = " ..." if ids and len(found) > len(ids) else ""
    return f"{len(found)} annotation{'s' if len(found) > 1 else ''}" + (f" ({', '.join(ids)}{more})" if ids else "")


def _plain(name: str) -> str:
    return " ".join(re.split(r"[\s_-]+", name.strip())).casefold()

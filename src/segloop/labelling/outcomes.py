"""What became of each photo of a labelling, shard by shard on disk, and the tables made of it."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..common.earlier import any_of, beginning, lines_like, png_of, saying, saying_at_end, tiff_saying
from ..common.sheets import csv_text
from ..results.annotations import is_collection
from ..results.segmentation import FORMATS
from ..runs.folder import LABELLING, Layout
from ..runs.record import Record, Shards

LABELS, CONFIDENCE = "labels", "confidence"  # folders of the label maps, and of how sure they are
PHOTOS, CLASSES, COPIES = "photos.csv", "classes.csv", "copies.csv"
TOGETHER = {name: row.together for name, row in FORMATS.items() if row.together}
"""Formats that put all photos into one file."""

CARD = saying(b"Made with segloop ")
IS_TABLE = saying_at_end(b"segloop:class_list")
TAR_MARK = "segloop:class_list"
IS_SHARD = saying(TAR_MARK.encode())
GEO_TAG = "segloop_class_list"
IS_GEOTIFF = tiff_saying(GEO_TAG)
IS_YAML = beginning(b"# segloop: ")
IS_YOLO = lines_like(rb"\d+( [01](\.\d+)?| \d(\.\d+)?e-\d+)+")

LAYOUT = Layout(
    files={
        PHOTOS: beginning(b"photo,labels,height,width,"),
        CLASSES: beginning(b"class,name,photos,pixels,share"),
        COPIES: beginning(b"photo,same_as"),
        **{together.name: is_collection for together in TOGETHER.values()},
    },
    kept={
        LABELS: png_of("classes"),
        CONFIDENCE: png_of("confidence"),
        "parquet": IS_TABLE,
        "parquet-rle": IS_TABLE,
        "dataset": any_of(CARD, IS_TABLE),
        "webdataset": IS_SHARD,
        "geotiff": IS_GEOTIFF,
        "yolo": any_of(IS_YAML, IS_YOLO),
    },
    part=".jsonl",
    kind=LABELLING,
    lasting=True,
)


@dataclass(frozen=True)
class Labelled:
    """A photo that has its label map."""

    photo: str  # below the source
    labels: str  # the map's file, below the run
    size: tuple[int, int]  # (H, W)
    pixels: dict[int, int]  # of each class that occurs, by its number; a filter may leave none


@dataclass(frozen=True)
class Unlabelled:
    """A photo that could not be used, with the sentence that says why."""

    photo: str
    source: str
    error: str
    remedy: str


Outcome = Labelled | Unlabelled
Labellings = Record[Outcome]


def encode(outcomes: Sequence[Outcome], seal: str) -> bytes:
    """Outcomes of a shard, one a line, and a last line that says that it is whole, and which shard of which run."""
    lines = [json.dumps(asdict(outcome), ensure_ascii=True) for outcome in outcomes]
    return ("\n".join([*lines, json.dumps(_last(lines, seal))]) + "\n").encode()


def decode(data: bytes, inputs: Mapping[str, Any], seal: str) -> list[Outcome] | None:
    """What `encode` was given; None for bytes that are not whole, or bear another seal."""
    try:
        *lines, last = data.decode().splitlines()
        said, before = json.loads(last), {"photos": len(lines)}  # what parts say from before there were seals
        if said not in (before, _last(lines, seal)):
            return None
        return [_outcome(json.loads(line), len(inputs["classes"])) for line in lines]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _last(lines: Sequence[str], seal: str) -> dict[str, Any]:
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    return {"photos": len(lines), "shard": seal, "sha256": digest}


def _outcome(line: dict[str, Any], classes: int) -> Outcome:
    """Raises ValueError, TypeError, KeyError or AttributeError for what `encode` does not write."""
    if "error" in line:
        return Unlabelled(**{name: _text(value) for name, value in line.items()})
    pixels, (height, width) = {int(number): count for number, count in line["pixels"].items()}, line["size"]
    numbered = all(0 <= number < classes for number in pixels)
    if not numbered or sum(pixels.values()) > height * width:  # a filter may have left some without a class
        raise ValueError
    return Labelled(_text(line["photo"]), _text(line["labels"]), (height, width), pixels)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


SHARDS: Shards[Outcome] = Shards(LAYOUT, encode, decode, Unlabelled)


def photo_lines(outcomes: Iterable[Outcome], names: Sequence[str]) -> Iterator[bytes]:
    """photos.csv, line by line: a photo, its map, its size, and the class that most of its pixels have."""
    yield csv_text([("photo", "labels", "height", "width", "largest", "share")]).encode()
    for one in outcomes:
        if isinstance(one, Labelled):
            number, most = max(one.pixels.items(), key=lambda item: (item[1], -item[0]), default=(None, 0))
            share = round(most / (one.size[0] * one.size[1]), 6)
            row = (one.photo, one.labels, *one.size, "" if number is None else names[number], share)
            yield csv_text([row]).encode("utf-8", "backslashreplace")


def class_table(photos: Sequence[int], pixels: Sequence[int], names: Sequence[str], total: int) -> bytes:
    """classes.csv: in how many photos each class occurs, and its share of all `total` pixels."""
    rows = [
        (number, name, photos[number], pixels[number], round(pixels[number] / (total or 1), 6))
        for number, name in enumerate(names)
    ]
    return csv_text([("class", "name", "photos", "pixels", "share"), *rows]).encode()

"""Label maps as Parquet tables: as PNG, as run lengths, and as a data set that the datasets library opens."""

import json
from collections.abc import Callable
from typing import Any

import yaml  # type: ignore[import-untyped]

from ..errors import OptionError
from ..results.coco import compress, run_lengths
from ..results.filters import unlabelled
from ..sources.photos import Photo
from .maps import Maps
from .outcomes import CARD, IS_TABLE, Labelled

MISSING = "pip install 'segloop[parquet]'"
HOW: dict[str, Any] = {"compression": "zstd", "write_statistics": False}  # of pictures those would be whole pictures
DATASET = "dataset"  # the folder that the datasets library opens

Row = Callable[[Maps, Photo, Labelled], dict[str, Any]]


def parquet(maps: Maps, rle: bool = False) -> str:
    """Shards of rows: a photo's name, its path below the source, its size, and its map.

    The map is the PNG of `labels`, or for each class that occurs its COCO run lengths.
    """
    row, kind = (_with_lengths, _lengths_type()) if rle else (_with_png, _arrow().binary())
    folder, column = ("parquet-rle", "masks") if rle else ("parquet", "labels")
    schema = _schema(maps, column, kind)
    files = maps.files()
    for number, parts in enumerate(files):
        _write(maps, f"{folder}/labels-{number:05d}-of-{len(files):05d}.parquet", parts, row, schema)
    return f"{folder}/"


def dataset(maps: Maps) -> str:
    """A folder for `datasets.load_dataset`: shards whose maps open as pictures of class numbers, and a card."""
    arrow = _arrow()
    schema = _schema(maps, "labels", arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())]))
    info = {"info": {"features": FEATURES}}
    schema = schema.with_metadata({**schema.metadata, b"huggingface": json.dumps(info).encode()})
    files = maps.files()
    for number, parts in enumerate(files):
        name = f"{DATASET}/data/train-{number:05d}-of-{len(files):05d}.parquet"
        _write(maps, name, parts, _with_picture, schema)
    maps.place.write(f"{DATASET}/README.md", _card(maps).encode("utf-8", "backslashreplace"), CARD)
    return f"{DATASET}/"


FEATURES: dict[str, Any] = {
    "photo": {"dtype": "string", "_type": "Value"},
    "path": {"dtype": "string", "_type": "Value"},
    "height": {"dtype": "int32", "_type": "Value"},
    "width": {"dtype": "int32", "_type": "Value"},
    "labels": {"_type": "Image"},
}


def _write(maps: Maps, name: str, parts: range, row: Row, schema: Any) -> None:
    """One file, a row group for each shard of the run."""
    from pyarrow import Table
    from pyarrow.parquet import ParquetWriter

    with maps.place.writing(name, IS_TABLE) as stream, ParquetWriter(stream, schema, **HOW) as writer:
        for part in parts:
            rows = [_common(maps, photo, one) | row(maps, photo, one) for photo, one in maps.part(part)]
            writer.write_table(Table.from_pylist(rows, schema))


def _common(maps: Maps, photo: Photo, one: Labelled) -> dict[str, Any]:
    height, width = one.size
    return {"photo": _text(one.photo), "path": _text(maps.path(photo)), "height": height, "width": width}


def _text(name: str) -> str:
    """Odd bytes of a file's name, which no text has, spelled out."""
    return name.encode("utf-8", "backslashreplace").decode()


def _with_png(maps: Maps, photo: Photo, one: Labelled) -> dict[str, Any]:
    return {"labels": maps.png(one)}


def _with_picture(maps: Maps, photo: Photo, one: Labelled) -> dict[str, Any]:
    return {"labels": {"bytes": maps.png(one), "path": _text(one.photo.rpartition("/")[2]) + ".png"}}


def _with_lengths(maps: Maps, photo: Photo, one: Labelled) -> dict[str, Any]:
    lengths = {number: counts for number, counts in run_lengths(maps.labels(one)).items() if number in one.pixels}
    return {"masks": [{"class": number, "counts": compress(counts)} for number, counts in lengths.items()]}


def _schema(maps: Maps, column: str, kind: Any) -> Any:
    arrow = _arrow()
    columns = [("photo", arrow.string()), ("path", arrow.string()), ("height", arrow.int32()), ("width", arrow.int32())]
    return arrow.schema([*columns, (column, kind)], {"segloop:class_list": json.dumps(maps.classes)})


def _lengths_type() -> Any:
    arrow = _arrow()
    return arrow.list_(arrow.struct([("class", arrow.int32()), ("counts", arrow.string())]))


def _arrow() -> Any:
    try:
        import pyarrow
    except ImportError:
        raise OptionError("this format needs the package pyarrow", MISSING) from None
    return pyarrow


def _card(maps: Maps) -> str:
    """README.md: what the datasets library reads of it, then what people do."""
    features = [{"name": name, "dtype": kind.get("dtype", kind["_type"].lower())} for name, kind in FEATURES.items()]
    title = f"Label maps of {_text(maps.settings['source'])}"
    head = {
        "pretty_name": title,
        "task_categories": ["image-segmentation"],
        "tags": ["segloop"],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*.parquet"}]}],
        "dataset_info": {"features": features},
    }
    names = ("model", "method", "host", "vision", "affinity")
    settings = {name: value for name, value in maps.settings.items() if name in names}
    made = ", ".join(f"{name} `{value}`" for name, value in settings.items() if value)
    table = "\n".join(f"| {number} | {_cell(name)} |" for number, name in enumerate(maps.classes))
    return CARD_TEXT.format(
        head=yaml.safe_dump(head, sort_keys=False, allow_unicode=True),
        title=title,
        nothing=unlabelled(len(maps.classes)),
        made=made,
        version=maps.record.inputs["versions"]["segloop"],
        table=table,
    )


def _cell(name: str) -> str:
    return " ".join(name.split()).replace("|", "\\|")


CARD_TEXT = """---
{head}---

# {title}

Made with segloop {version} ({made}). Nobody has checked these maps: they are what a model says.

Each row is a photo: `photo` is its name, `path` where it lies below the source, `labels` a picture of its size whose
pixels are class numbers; {nothing} is no class. The photos themselves are not in here.

```python
from datasets import load_dataset
import numpy as np

rows = load_dataset("this/folder", split="train")
labels = np.asarray(rows[0]["labels"])  # (H, W)
```

| number | class |
| --- | --- |
{table}
"""

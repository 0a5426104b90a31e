"""What a segmentation is, and the files it is kept in."""

import io
import json
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..common.earlier import Kind, json_of, mark, npz_of, png_of
from ..common.files import write_whole
from ..common.strict import strict
from ..common.visible import largest
from ..errors import OptionError, OutputError, nearest
from . import views
from .annotations import Collection, collecting
from .coco import coco_object
from .overlay import draw_overlay
from .palette import palette

LONGEST = 60  # letters of a path in a repr


@dataclass(frozen=True, eq=False)
class Segmentation:
    """One photo, its label map, and what made it."""

    labels: np.ndarray = field(repr=False)  # (H, W) int64, index into classes; `unlabelled` where a filter took it
    classes: list[str]
    scores: np.ndarray | None = field(repr=False)  # (C, H, W) float32 probabilities, where asked for
    share: dict[str, float]  # fraction of the pixels, every class
    confidence: dict[str, float | None]  # mean score where the class wins; None where it wins nowhere
    image: np.ndarray = field(repr=False)  # (H, W, 3) uint8 RGB, the photo upright
    source: str | None = None  # the path it came from
    settings: dict[str, Any] = field(default_factory=dict)  # method, model, vocabulary ...: fit for JSON
    confidence_map: np.ndarray | None = field(default=None, repr=False)  # (H, W) float32, score of the class that won

    def __repr__(self) -> str:
        height, width = self.labels.shape
        photo = self.source or "a photo"
        photo = photo if len(photo) <= LONGEST else f"...{photo[-LONGEST:]}"
        return f"Segmentation({photo}, {height} x {width}: {largest(self.share, most=3) or 'no pixel'})"

    def overlay(self, alpha: float = 0.55, legend: bool = True) -> Image.Image:
        """The photo under its class colours, with boundaries and a legend: a PIL image in RGB.

        Small photos are enlarged and sides above 2048 pixels reduced. Raises OptionError for an alpha outside
        [0, 1].
        """
        return draw_overlay(self.image, self.labels, self.classes, alpha, legend)

    def mask(self, name: str) -> np.ndarray:
        """Pixels of a class: (H, W) bool. Raises OptionError for a name that is none of the classes."""
        return self.labels == views.number(name, self.classes)

    def polygons(self, name: str) -> list[np.ndarray]:
        """Outlines of a class's regions along pixel edges, (n, 2) int64 of x and y each; see `outlines`."""
        return views.polygons(self.labels, views.number(name, self.classes))

    def within(self, region: Sequence[int] | np.ndarray) -> dict[str, dict[str, float]]:
        """What a box (left, top, right, bottom) or an (H, W) mask holds: class -> share and confidence, by share.

        The right and bottom ends are outside. Raises OptionError for a region without a pixel of the photo.
        """
        return views.within(self, region)

    def to_supervision(self) -> Any:
        """`supervision.Detections`: a mask, its box and mean confidence for each class that occurs, by its number."""
        return views.detections(self)

    def _repr_png_(self) -> bytes:
        return encode_overlay(self)

    def _repr_html_(self) -> str:
        return views.html(self)

    def record(self) -> dict[str, Any]:
        """What `<stem>.json` holds, fit for strict JSON: numbers that are not finite become None."""
        height, width = self.labels.shape
        without = int((self.labels >= len(self.classes)).sum())
        return strict(
            {
                "source": self.source,
                "size": {"height": height, "width": width},
                "classes": self.classes,
                "share": self.share,
                **({"unlabelled": without / self.labels.size} if without else {}),
                "confidence": self.confidence,
                "settings": self.settings,
            }
        )

    def save(self, stem: str | Path, formats: Sequence[str] = ("png", "overlay", "json")) -> list[Path]:
        """Write `<stem>.png`, `<stem>.overlay.png` ... -> their paths, in the order of `formats`.

        `png`: 8-bit palette up to 256 classes, 16-bit grey above, with the class list as JSON in the text chunk
        `segloop:classes`, 255 or 65535 where a filter left no class; `overlay`: the picture of `overlay()`; `json`:
        `record()`; `coco`: this photo alone under its file's name, with one compressed mask a class, category id =
        class index + 1 (`save_coco` puts many photos into one file); `coco-polygons`: the same with polygons;
        `confidence`: `confidence_map` in 8 bits, 255 is 1; `npz`: labels, classes, share, confidence, settings and,
        where present, scores, readable without pickle. Dots in `stem` are kept, each file is written whole or not at
        all, and files that are there are replaced.

        Raises OptionError for an unknown format before anything is written, OutputError where the place cannot be
        written to, MachineError where the disk is full.
        """
        wanted = check_formats(formats)
        base = Path(stem)
        if not base.name:
            raise OutputError(f"{str(stem)!r} names no file", "give a folder and a name, such as out/photo")
        paths = []
        for name in wanted:
            path = base.with_name(base.name + FORMATS[name].suffix)
            write_whole(path, FORMATS[name].encode(self))
            paths.append(path)
        return paths


def check_formats(formats: str | Sequence[str]) -> list[str]:
    """ "png,json" or a list of names -> each known name once. Raises OptionError naming the nearest."""
    names = formats.split(",") if isinstance(formats, str) else formats
    wanted = list(dict.fromkeys(name.strip() for name in names))
    for name in wanted:
        if name not in FORMATS:
            raise OptionError(f"there is no format {name!r}", nearest(name, FORMATS))
    return wanted


def encode_png(result: Segmentation) -> bytes:
    """The label map as `label_png` has it."""
    return label_png(result.labels, result.classes)


def label_png(labels: np.ndarray, classes: list[str]) -> bytes:
    """(H, W) labels as a PNG whose pixel values are class indices, at most 65536 of them."""
    count = len(classes)
    if count > 65536:
        raise OptionError(f"{count} classes do not fit into a PNG of 16 bits", "choose the format npz")
    if count <= 256 and labels.max(initial=0) < 256:
        image = Image.fromarray(labels.astype(np.uint8, copy=False))
        image.putpalette(palette(256).tobytes())  # a shorter one would make Pillow write fewer than 8 bits
    else:
        image = Image.fromarray(labels.astype(np.uint16, copy=False))
    return _png(image, pnginfo=mark("classes", json.dumps(classes)))


def confidence_levels(confidence: np.ndarray) -> np.ndarray:
    """(H, W) probabilities in 8 bits: 255 is 1."""
    return np.rint(confidence.clip(0, 1) * np.float32(255)).astype(np.uint8)


def confidence_png(levels: np.ndarray) -> bytes:
    """(H, W) levels of `confidence_levels` as a PNG."""
    return _png(Image.fromarray(levels), pnginfo=mark("confidence"))


def encode_confidence(result: Segmentation) -> bytes:
    """`confidence_png` of the result. Raises OptionError where it has none."""
    if result.confidence_map is None:
        raise OptionError("this result has no confidence at its pixels", "leave out the format confidence")
    return confidence_png(confidence_levels(result.confidence_map))


def encode_overlay(result: Segmentation) -> bytes:
    """The picture with its legend as a PNG."""
    return _png(result.overlay(), pnginfo=mark("overlay"))


def encode_json(result: Segmentation) -> bytes:
    """The record as indented UTF-8 JSON."""
    return _json(result.record(), indent=2)


def encode_coco(result: Segmentation) -> bytes:
    """The label map as a COCO object with run lengths, in one line."""
    return _json(coco_object(result.labels, result.classes, Path(result.source or "").name))


def encode_coco_polygons(result: Segmentation) -> bytes:
    """The label map as a COCO object with polygons, in one line."""
    return _json(coco_object(result.labels, result.classes, Path(result.source or "").name, polygons=True))


def encode_npz(result: Segmentation) -> bytes:
    """All arrays of the result; `settings` is a JSON string, confidence NaN where a class wins nowhere."""
    confidence = [result.confidence.get(name) for name in result.classes]
    arrays: dict[str, Any] = {
        "labels": result.labels.astype(np.min_scalar_type(int(result.labels.max(initial=len(result.classes) - 1)))),
        "classes": np.array(result.classes, dtype=np.str_),
        "share": np.array([result.share.get(name, 0.0) for name in result.classes]),
        "confidence": np.array([math.nan if value is None else value for value in confidence]),
        "settings": np.array(json.dumps(strict(result.settings))),
        "source": np.array(result.source or ""),
    }
    if result.scores is not None:
        arrays["scores"] = result.scores.astype(np.float32)
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


@dataclass(frozen=True)
class Together:
    """How a format puts all photos of a run into one file."""

    name: str  # of the file
    collect: Callable[[Path, Iterable[str]], AbstractContextManager[Collection]] = collecting  # (file, classes)


@dataclass(frozen=True)
class Format:
    """A row of FORMATS: a file of one photo's result."""

    suffix: str  # behind the photo's name
    encode: Callable[[Segmentation], bytes]
    kind: Kind  # tells an earlier result from any other file of its name
    together: Together | None = None  # what `segloop segment` writes instead


_COCO = json_of(("info", "licenses", "categories", "images", "annotations"))
_POLYGONS = Together("annotations.coco-polygons.json", partial(collecting, polygons=True))

FORMATS: dict[str, Format] = {
    "png": Format(".png", encode_png, png_of("classes")),
    "overlay": Format(".overlay.png", encode_overlay, png_of("overlay")),
    "json": Format(".json", encode_json, json_of(("source", "size", "classes", "share", "confidence", "settings"))),
    "coco": Format(".coco.json", encode_coco, _COCO, Together("annotations.coco.json")),
    "coco-polygons": Format(".coco-polygons.json", encode_coco_polygons, _COCO, _POLYGONS),
    "confidence": Format(".confidence.png", encode_confidence, png_of("confidence")),
    "npz": Format(".npz", encode_npz, npz_of(("labels", "classes", "share", "confidence", "settings"))),
}


def _png(image: Image.Image, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG", **options)
    return stream.getvalue()


def _json(value: Any, indent: int | None = None) -> bytes:
    text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode("utf-8", "backslashreplace")  # odd bytes of a file name become \udcXX, which JSON can read

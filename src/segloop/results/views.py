"""Other ways to look at a result: masks, outlines, regions, supervision's detections, a page of a notebook."""

import base64
import io
from collections.abc import Sequence
from html import escape
from importlib import import_module
from typing import Any, Protocol

import numpy as np

from ..errors import OptionError, UserError, nearest
from .coco import bounding_box, run_lengths
from .outline import outlines
from .overlay import draw_overlay
from .palette import palette

WIDEST = 720  # pixels of a picture in a notebook
ROWS = 20


class Result(Protocol):
    """What is looked at, as `Segmentation` has it."""

    @property
    def labels(self) -> np.ndarray:
        """(H, W) int64."""

    @property
    def image(self) -> np.ndarray:
        """(H, W, 3) uint8 RGB."""

    @property
    def classes(self) -> list[str]:
        """Names by number."""

    @property
    def share(self) -> dict[str, float]:
        """Of the photo's pixels."""

    @property
    def confidence(self) -> dict[str, float | None]:
        """Means."""

    @property
    def confidence_map(self) -> np.ndarray | None:
        """(H, W) float32."""


def number(name: str, classes: Sequence[str]) -> int:
    """A class's number. Raises OptionError naming the nearest."""
    if name not in classes:
        raise OptionError(f"{name!r} is none of the classes", nearest(name, list(classes)))
    return classes.index(name)


def polygons(labels: np.ndarray, index: int) -> list[np.ndarray]:
    """(H, W) labels -> the rings of a class's regions, (n, 2) int64 of x and y each, as `outlines` has them."""
    rings = outlines(np.where(labels == index, 1, 0)).get(1, [])
    return [np.array(ring, np.int64).reshape(-1, 2) for ring in rings]


def within(result: Result, region: Sequence[int] | np.ndarray) -> dict[str, dict[str, float]]:
    """Share of a region's pixels, and mean confidence where it is known, of each class that occurs there."""
    inside = _inside(region, result.labels.shape)
    labels, sure = result.labels[inside], result.confidence_map
    found = {}
    for index, count in zip(*np.unique(labels, return_counts=True), strict=True):
        if index < len(result.classes):
            values = {"share": float(count / labels.size)}
            if sure is not None:
                values["confidence"] = float(sure[inside][labels == index].mean(dtype=np.float64))
            found[result.classes[index]] = values
    return dict(sorted(found.items(), key=lambda item: -item[1]["share"]))


def detections(result: Result) -> Any:
    """One detection for each class that occurs. Raises UserError without supervision."""
    try:
        sv = import_module("supervision")
    except ImportError as error:
        raise UserError("supervision is not installed", "install it: pip install supervision") from error
    height = result.labels.shape[0]
    runs = {index: counts for index, counts in run_lengths(result.labels).items() if index < len(result.classes)}
    if not runs:
        return sv.Detections.empty()
    boxes = np.array([bounding_box(counts, height) for counts in runs.values()], np.float64)
    boxes[:, 2:] += boxes[:, :2]
    names = [result.classes[index] for index in runs]
    return sv.Detections(
        xyxy=boxes,
        mask=np.stack([result.labels == index for index in runs]),
        confidence=np.array([result.confidence.get(name) or 0.0 for name in names], np.float32),
        class_id=np.array(list(runs)),
        data={"class_name": np.array(names)},
    )


def html(result: Result) -> str:
    """The picture and a table of what occurs, for a notebook: nothing is fetched, names are text."""
    picture = draw_overlay(result.image, result.labels, result.classes, legend=False)
    picture.thumbnail((WIDEST, WIDEST))
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    data = base64.b64encode(stream.getvalue()).decode("ascii")
    colours = palette(len(result.classes))
    shown = sorted((name for name in result.classes if result.share.get(name)), key=lambda name: -result.share[name])
    rows = [_row(name, colours[result.classes.index(name)], result) for name in shown[:ROWS]]
    if len(shown) > ROWS:
        rest = sum(result.share[name] for name in shown[ROWS:])
        rows.append(f"<tr><td></td><td>and {len(shown) - ROWS} more</td><td>{rest:.1%}</td><td></td></tr>")
    head = "<tr><th></th><th>class</th><th>share</th><th>confidence</th></tr>"
    image = f'<img alt="label map over the photo" src="data:image/png;base64,{data}">'
    return f'<div style="display:flex;gap:1em;flex-wrap:wrap">{image}<table>{head}{"".join(rows)}</table></div>'


def _row(name: str, colour: np.ndarray, result: Result) -> str:
    sure = result.confidence.get(name)
    square = f'<span style="display:inline-block;width:1em;height:1em;background:rgb{tuple(colour.tolist())}"></span>'
    told = "" if sure is None else f"{sure:.2f}"
    return f"<tr><td>{square}</td><td>{escape(name)}</td><td>{result.share[name]:.1%}</td><td>{told}</td></tr>"


def _inside(region: Sequence[int] | np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """A box or a mask as (H, W) bool."""
    given = np.asarray(region)
    if given.dtype == bool and given.shape == size:
        inside = given
    elif given.shape == (4,) and given.dtype.kind in "iuf":
        left, top, right, bottom = (max(0, int(edge)) for edge in given)
        inside = np.zeros(size, bool)
        inside[top:bottom, left:right] = True
    else:
        what = f"a region of shape {given.shape} and {given.dtype} is none of this photo"
        raise OptionError(what, f"give a box (left, top, right, bottom) or a mask of {size}, true inside")
    if not inside.any():
        raise OptionError("the region holds no pixel of the photo", f"the photo has {size[1]} x {size[0]} pixels")
    return inside

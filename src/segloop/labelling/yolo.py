"""Label maps as YOLO's polygons: a text for each photo, a line for each region.

A region is what hangs together over the edges of pixels; every piece of a class is a line of its own, since the format
has no way to say that pieces belong together. It knows no holes either: a hole is joined to the outline by a seam, a
line walked down and up again, so that whoever fills the polygon leaves the hole out.
"""

import numpy as np
import yaml  # type: ignore[import-untyped]

from ..results.outline import outlines
from .maps import Maps
from .outcomes import IS_YAML, IS_YOLO

FOLDER = "yolo"
HEAD = """# segloop: polygons of label maps, every class with its regions, background too.
# Put the photos, or links to them, into `images` beside `labels`, under the same names.
"""


def yolo(maps: Maps) -> str:
    """`yolo/labels/NAME.txt` for each photo, and `yolo/data.yaml` with the classes."""
    for _, one in maps:
        text = "".join(f"{line}\n" for line in yolo_lines(maps.labels(one), len(maps.classes)))
        maps.place.write(f"{FOLDER}/labels/{one.photo}.txt", text.encode(), IS_YOLO)
    said = {"path": ".", "train": "images", "val": "images", "names": dict(enumerate(maps.classes))}
    text = HEAD + yaml.safe_dump(said, sort_keys=False, allow_unicode=True)
    maps.place.write(f"{FOLDER}/data.yaml", text.encode("utf-8", "backslashreplace"), IS_YAML)
    return f"{FOLDER}/"


def yolo_lines(labels: np.ndarray, classes: int) -> list[str]:
    """(H, W) labels -> "class x y x y ..." for each region of a class, in shares of width and height, of six digits."""
    height, width = labels.shape
    lines = []
    for number, rings in outlines(labels).items():
        for ring in rings if number < classes else ():
            shares = np.array(ring).reshape(-1, 2) / (width, height)
            lines.append(" ".join([str(number), *(f"{share:.6g}" for share in shares.ravel())]))
    return lines

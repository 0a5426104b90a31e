"""Small data sets on disk, and the real samples beside the project."""

from pathlib import Path

import numpy as np
from PIL import Image

from segloop.data.layouts import DATASETS

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def make(root: Path, key: str, names: list[str], part: str | None = None, value: int = 1) -> Path:
    """A whole data set in its published layout at `root`: one photo and one label map of 4x3 pixels a name."""
    row = DATASETS[key]
    part = part or row.part
    images, labels = row.folders(part)
    for name in names:
        image = root / images / (name + row.image_suffix[0])
        label = root / labels / (name + row.label_suffix[0])
        for path in (image, label):
            path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 3), (90, 120, 60)).save(image)
        dtype = np.uint16 if row.rule.wide else np.uint8
        Image.fromarray(np.full((3, 4), value, dtype)).save(label)
    if row.split is not None:
        listed = root / row.split.format(split=part)
        listed.parent.mkdir(parents=True, exist_ok=True)
        listed.write_text("".join(f"{name}\n" for name in names))
    return root


def make_own(root: Path, classes: list[str], values: np.ndarray, name: str = "a") -> Path:
    """A folder of your own with one photo; `values` (H, W), or (H, W, 3) for colours, is its label map."""
    for path in (root / "images" / f"{name}.jpg", root / "masks" / f"{name}.png"):
        path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", values.shape[1::-1]).save(root / "images" / f"{name}.jpg")
    Image.fromarray(values).save(root / "masks" / f"{name}.png")
    (root / "classes.txt").write_text("\n".join(classes) + "\n")
    return root

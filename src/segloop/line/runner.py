"""Photos into label maps with numpy, ONNX Runtime and Pillow, beside the files of `segloop export`. No torch.

    python run.py PHOTO... [--out FOLDER] [--threads N]

Writes FOLDER/NAME.png, a number for each pixel, and prints one JSON line a photo: the share of each class.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

# begin: in an export, the source of these stands here
from ..images.sizes import resize_uint8, resized_size
from ..maps.windows import padding, spans

# end
STRIP = 2**22  # floats of the map that are decided at once


class Exported:
    """An exported window, and how photos are cut for it. `folder` is what `segloop export` wrote."""

    def __init__(self, folder: Path, threads: int = 0) -> None:
        self.about: dict[str, Any] = json.loads((folder / "window.json").read_text(encoding="utf-8"))
        self.text: np.ndarray = np.load(folder / "text.npy")  # (Q, E) float32, unit rows
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads  # 0: as many as there are
        self.session: Any = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )

    def windows(self, pixels: np.ndarray) -> np.ndarray:
        """Normalised windows (n, 3, h, w) float32 -> cosines with the words (n, Q, rows, columns) float32."""
        step = len(pixels) if self.about["any_number_of_windows"] else 1
        parts = range(0, len(pixels), step)
        given = ({"pixels": pixels[at : at + step], "text": self.text} for at in parts)
        return np.concatenate([self.session.run(["cosines"], one)[0] for one in given])

    def __call__(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(H, W, 3) uint8 RGB -> labels (H, W) int64 and the probability of each, float32.

        Raises ValueError for a photo so narrow that a window does not fit into it.
        """
        rows, mosaic, columns = self._laid(image)
        labels, sure, counts = self._decided(rows, mosaic, columns, np.ones(len(self.about["classes"]), bool))
        if self.about["area_threshold"]:
            enough = counts > self.about["area_threshold"] * counts[1:].sum()
            enough[0] = True
            if counts[~enough].any():
                labels, sure, _ = self._decided(rows, mosaic, columns, enough)
        return labels, sure

    def _laid(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The cosines of all windows side by side, and the matrices that make a map of them."""
        how, (height, width) = self.about["geometry"], image.shape[:2]
        size = resized_size(height, width, how["short_side"], how["long_side"], at_least=how["patch"])
        mean, std = (np.array(self.about[name], np.float32) for name in ("mean", "std"))
        pixels = ((resize_uint8(image, size) - mean) / std).transpose(2, 0, 1)
        down, across = (spans(length, how["crop"], how["stride"]) for length in size)
        if min(size) < how["crop"]:
            raise ValueError(f"a photo of {height}x{width} is too narrow for windows of {how['crop']}")
        pad = padding(how["crop"], how["multiple"])
        cut = [pixels[:, top:bottom, left:right] for top, bottom in down for left, right in across]
        tiles = self.windows(np.pad(np.stack(cut), ((0, 0), (0, 0), pad, pad)))
        _, queries, h, w = tiles.shape
        laid = tiles.reshape(len(down), len(across), queries, h, w).transpose(2, 0, 3, 1, 4)
        mosaic = laid.reshape(queries, len(down) * h, len(across) * w)
        return (
            axis_matrix(down, pad, h, size[0], height).astype(np.float32),
            mosaic,
            axis_matrix(across, pad, w, size[1], width).astype(np.float32),
        )

    def _decided(
        self, rows: np.ndarray, mosaic: np.ndarray, columns: np.ndarray, may_win: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Labels, their probabilities, and the pixels that each class has before the threshold."""
        scale, limit = self.about["logit_scale"], self.about["background_threshold"]
        owner = np.array(self.about["query_index"])
        labels = np.zeros((len(rows), len(columns)), np.int64)
        sure, counts = np.zeros(labels.shape, np.float32), np.zeros(len(may_win), np.int64)
        for part, cosines in _strips(rows, mosaic, columns):
            peak = cosines.max(0)
            total = np.exp(scale * (cosines - peak)).sum(0)
            allowed = cosines[may_win[owner]]
            label = owner[may_win[owner]][allowed.argmax(0)]
            counts += np.bincount(label.ravel(), minlength=len(may_win))
            found = np.exp(scale * (allowed.max(0) - peak)) / total
            if limit:
                ground = np.exp(scale * (cosines[owner == 0].max(0) - peak)) / total
                label, found = np.where(found < limit, 0, label), np.where(found < limit, ground, found)
            labels[part], sure[part] = label, found
        return labels, sure, counts


def _strips(rows: np.ndarray, mosaic: np.ndarray, columns: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Rows of the map from top to bottom, (Q, r, W) float32."""
    wide = mosaic @ columns.T
    step = max(1, STRIP // (len(mosaic) * len(columns)))
    for start in range(0, len(rows), step):
        yield slice(start, start + step), rows[start : start + step] @ wide


def interpolation(cells: int, length: int) -> np.ndarray:
    """A linear resize, half-pixel centres, as a matrix (length, cells) float64."""
    place = np.maximum((np.arange(length) + 0.5) * (cells / length) - 0.5, 0)
    first = np.minimum(place.astype(np.int64), cells - 1)
    share = place - first
    matrix = np.zeros((length, cells))
    matrix[np.arange(length), first] += 1 - share
    matrix[np.arange(length), np.minimum(first + 1, cells - 1)] += share
    return matrix


def axis_matrix(
    windows: list[tuple[int, int]], pad: tuple[int, int], cells: int, length: int, target: int
) -> np.ndarray:
    """One axis: cells of all windows -> pixels of the photo, (target, len(windows) * cells); overlaps are averaged."""
    inner = windows[0][1] - windows[0][0]
    upsample = interpolation(cells, inner + sum(pad))[pad[0] : pad[0] + inner]
    matrix, covered = np.zeros((length, len(windows) * cells)), np.zeros((length, 1))
    for number, (start, end) in enumerate(windows):
        matrix[start:end, number * cells : (number + 1) * cells] = upsample
        covered[start:end] += 1
    matrix /= covered
    return matrix if length == target else interpolation(length, target) @ matrix


def read(path: Path) -> np.ndarray:
    """A photo, turned upright: (H, W, 3) uint8 RGB."""
    with Image.open(path) as photo:
        return np.array(ImageOps.exif_transpose(photo).convert("RGB"))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=Path("labels"))
    parser.add_argument("--threads", type=int, default=0)
    asked = parser.parse_args()
    exported = Exported(Path(__file__).resolve().parent, asked.threads)
    classes = exported.about["classes"]
    asked.out.mkdir(parents=True, exist_ok=True)
    for path in asked.photos:
        labels, sure = exported(read(path))
        kind = np.uint8 if len(classes) <= 256 else np.uint16
        Image.fromarray(labels.astype(kind)).save(asked.out / f"{path.stem}.png")
        share = np.bincount(labels.ravel(), minlength=len(classes)) / labels.size
        told = {name: round(float(one), 4) for name, one in zip(classes, share, strict=True)}
        print(json.dumps({"photo": str(path), "share": told, "confidence": round(float(sure.mean()), 4)}))


if __name__ == "__main__":
    main()

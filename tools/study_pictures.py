"""Pictures and places for docs/study.md: the scenes that gain and lose most, and how far from a border pixels turn."""

import io
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from drawn import Done, sheet
from segloop.common.files import write_whole
from segloop.scenes.draw import CLASSES
from segloop.scoring.metrics import scores

STAGES = ("point-1-host", "point-1-similarity", "point-1-fsa")
BANDS = ((0, 2), (2, 5), (5, 10), (10, np.inf))  # pixels from the nearest border of two classes


def extremes(before: Done, after: Done) -> tuple[int, int]:
    """The scenes whose share of right pixels rises and falls most."""
    change = scores(after.counts).aAcc - scores(before.counts).aAcc
    return int(np.nanargmax(change)), int(np.nanargmin(change))


def side_by_side(work: Path, index: int, names: tuple[str, ...]) -> bytes:
    """Photo, truth and the maps of some runs of one scene, as PNG."""
    photo = np.asarray(Image.open(scene_file(work, "images", index)))
    return sheet(photo, [truth(work, index), *(labels(work, name, index) for name in names)])


def stages(work: Path, index: int, clip: str, host: str, out: Path) -> None:
    """What `segloop inspect` shows of one patch of a scene, side by side: STAGES, written to `out`."""
    folder = work / "inspect" / f"{host}-{index}"
    command = ["inspect", str(scene_file(work, "images", index)), "--clip", clip, "--host", host, "--out", str(folder)]
    words = ["--classes", ", ".join(CLASSES), "--dtype", "float32"]
    subprocess.run([sys.executable, "-m", "segloop", *command, *words], check=True, stdout=subprocess.DEVNULL)
    views = [Image.open(folder / f"{index:06d}" / f"{name}.png").convert("RGB") for name in STAGES]
    height = min(view.height for view in views)
    views = [view.resize((round(view.width * height / view.height), height)) for view in views]
    whole = Image.new("RGB", (sum(view.width + 8 for view in views) - 8, height), "white")
    left = 0
    for view in views:
        whole.paste(view, (left, 0))
        left += view.width + 8
    stream = io.BytesIO()
    whole.quantize(128).save(stream, "PNG", optimize=True)
    write_whole(out, stream.getvalue())


def by_distance(work: Path, done: dict[str, Done], hosts: tuple[str, ...]) -> list[str]:
    """Pixels that feedback turns right and wrong, in % of those at a distance from a border."""
    lines = [
        "| host | " + " | ".join(told_band(*band) for band in BANDS) + " |",
        "|---|" + "---|" * len(BANDS),
    ]
    for host in hosts:
        if f"{host}+fsa" not in done:
            continue
        count = done[host].run["images"]
        right, wrong, all_ = (np.zeros(len(BANDS)) for _ in range(3))
        for index in range(count):
            true = truth(work, index)
            first, second = (labels(work, name, index) == true for name in (host, f"{host}+fsa"))
            band = np.digitize(border_distance(true), [low for low, _ in BANDS[1:]])
            right += np.bincount(band[~first & second], minlength=len(BANDS))
            wrong += np.bincount(band[first & ~second], minlength=len(BANDS))
            all_ += np.bincount(band.ravel(), minlength=len(BANDS))
        cells = [f"+{100 * a / n:.1f} -{100 * b / n:.1f}" for a, b, n in zip(right, wrong, all_, strict=True)]
        lines.append(f"| `{host}` | {' | '.join(cells)} |")
    return lines


def told_band(low: float, high: float) -> str:
    """A band of distances in words."""
    return f"{low:g} to {high:g} px" if np.isfinite(high) else f"{low:g} px and more"


def border_distance(true: np.ndarray) -> np.ndarray:
    """Each pixel's distance to the nearest pixel of another class' border, (H, W) float32; 0 on the border."""
    inside = np.ones(true.shape, np.uint8)
    down, across = true[1:] != true[:-1], true[:, 1:] != true[:, :-1]
    for part in (inside[1:], inside[:-1]):
        part[down] = 0
    for part in (inside[:, 1:], inside[:, :-1]):
        part[across] = 0
    return cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def truth(work: Path, index: int) -> np.ndarray:
    """The mask of a scene, (H, W) uint8."""
    return np.asarray(Image.open(scene_file(work, "masks", index)))


def labels(work: Path, name: str, index: int) -> np.ndarray:
    """The map that a run made of a scene, (H, W)."""
    return np.asarray(Image.open(work / "runs" / name / "maps" / f"{index:06d}.png"))


def scene_file(work: Path, kind: str, index: int) -> Path:
    """A picture or a mask."""
    return work / "scenes" / kind / f"{index:06d}.png"

"""What purification costs: SFP against plain CLIP on the same photo, and its detectors against each other.

    python benchmarks/purify.py [--repeats 5]

A 500x375 photo, short side 336, windows of 224 with stride 112 (6 windows, one batch), ViT-B/16 with random weights at
true size, 21 classes, text already embedded. The methods have the same geometry and take turns. Each detector's figure
is the whole search for outliers: opening the last block but one, what it needs of its attention, and the mask.
"""

import argparse
from dataclasses import replace

import torch

from common import clip_folder, peak_mib, peak_of, photo, report, side_by_side, text_rows
from segloop import Segmenter, Vocabulary
from segloop.line.purified import outlier_mask, states_needed

QUERIES, BATCH = 21, 8
GEOMETRY = {"short_side": 336, "crop": 224, "stride": 112}
METHODS = {"clip": {"method": "clip"}, "sfp": {"method": "sfp"}, "fsa on sfp": {"host": "sfp"}}
DTYPES = ("float32", "bfloat16")
DETECTORS = ("som", "l2", "lof", "lof-textbook", "dbscan", "attention")
BAR = 1.35  # SFP's time over plain CLIP's


def segmenter(method: str, dtype: str) -> Segmenter:
    """One method in the geometry of all."""
    return Segmenter.from_pretrained(clip_folder(), dtype=dtype, batch=BATCH, **METHODS[method], **GEOMETRY)


def vocabulary() -> Vocabulary:
    """Classes whose rows are given."""
    return Vocabulary([f"class {i}" for i in range(QUERIES)], embeddings=text_rows(QUERIES))


def photos(repeats: int, rows: list[tuple[str, str]], record: dict) -> None:
    """Seconds a photo of every method, and their ratio to plain CLIP."""
    image, words = photo(), vocabulary()
    for dtype in DTYPES:
        ready = {method: segmenter(method, dtype) for method in METHODS}
        tasks = {method: lambda one=one: one(image, words) for method, one in ready.items()}
        seconds = side_by_side(tasks, repeats)
        ratio = {method: value / seconds["clip"] for method, value in seconds.items()}
        record["photo"][dtype] = {"seconds": seconds, "ratio": ratio}
        for method, value in seconds.items():
            bar = f" (bar {BAR})" if method == "sfp" else ""
            compared = "" if method == "clip" else f"   {ratio[method]:.2f} times clip's{bar}"
            rows.append((f"{method}, {dtype}", f"{value:6.3f} s a photo{compared}"))


@torch.no_grad()
def detectors(repeats: int, rows: list[tuple[str, str]], record: dict) -> None:
    """Milliseconds that each detector takes for the photo's windows, in float32."""
    one = segmenter("sfp", "float32")
    clip, sfp = one.clip, one.plan.purify
    assert sfp is not None
    windows = one.prepare(photo()).windows
    grid, last = clip.grid(windows), clip.depth - 1
    x, states = clip.tokens(windows, states_needed(sfp, clip.depth))
    states = {**states, last: x}
    tasks = {
        name: lambda chosen=replace(sfp, detector=name): outlier_mask(clip, chosen, last, states, grid)
        for name in DETECTORS
    }
    found = {name: int(task().sum()) / len(windows) for name, task in tasks.items()}
    seconds = side_by_side(tasks, 4 * repeats)
    record["detector"] = {"seconds": seconds, "outliers_a_window": found}
    for name, value in seconds.items():
        times = value / seconds["som"]
        text = f"{1000 * value:6.1f} ms a photo   {times:.2f} times som's, {found[name]:.1f} outliers a window"
        rows.append((f"detector {name}", text))


def peaks(rows: list[tuple[str, str]], record: dict) -> None:
    """Peak memory of every method after one photo, each in a process of its own, the model included."""
    for dtype in DTYPES:
        found = {method: peak_of(__file__, method, dtype) for method in METHODS}
        record["peak_mib"][dtype] = found
        for method, value in found.items():
            compared = "" if method == "clip" else f"   {value - found['clip']:+.0f} MiB to clip's"
            rows.append((f"peak memory, {method}, {dtype}", f"{value:5.0f} MiB{compared}"))


def peak(method: str, dtype: str) -> None:
    """Print what this process took at most after one photo."""
    segmenter(method, dtype)(photo(), vocabulary())
    print(peak_mib())


def run(repeats: int) -> None:
    """All of it."""
    rows: list[tuple[str, str]] = []
    record: dict = {"benchmark": "purify", "bar": BAR, "photo": {}, "detector": {}, "peak_mib": {}}
    photos(repeats, rows, record)
    detectors(repeats, rows, record)
    peaks(rows, record)
    report(rows, record)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peak", nargs=2, metavar=("METHOD", "DTYPE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak:
        peak(*arguments.peak)
    else:
        run(arguments.repeats)

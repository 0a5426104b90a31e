"""Labelling: what reading, deciding and writing add to the model's own time, and memory against the number of photos.

    python benchmarks/label.py [--images 24] [--repeats 3] [--dtype float32] [--photos 2000]

Time: a ViT-B/16 with random weights, SCLIP's attention, 500x375 photos in JPEG, short side 336, windows of 224, stride
112, 21 classes; both sides do the same windows in the same batches and take turns, the network's has its windows ready.
Bar: at most 1.1. Memory: small photos with the bundled model, 200 against --photos, each in a process of its own.
"""

import argparse
import os
import tempfile
from itertools import count
from pathlib import Path

from common import clip_folder, peak_mib, peak_of, report, side_by_side
from evaluate import CLASSES, write_photos
from segloop import Segmenter, Vocabulary
from segloop.common.console import quiet_libraries
from segloop.labelling.run import label
from segloop.scenes.draw import write_scenes
from segloop.sources.find import photos_of

BAR = 1.1
FEW = 200  # photos


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--photos", type=int, default=2000)
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    quiet_libraries()
    if options.peak:
        with tempfile.TemporaryDirectory() as place:
            label_many(Path(place), options.peak)
        print(peak_mib())
        return
    with tempfile.TemporaryDirectory() as place:
        seconds = timed(Path(place), options.images, options.repeats, options.dtype)
    peaks = {number: peak_of(__file__, str(number)) for number in (FEW, options.photos)}
    ratio = seconds["label"] / seconds["network"]
    rows = [
        (f"{options.images} photos, {options.dtype}", f"{seconds['label']:.2f} s"),
        ("the network alone", f"{seconds['network']:.2f} s"),
        ("wall time over the model's own", f"{ratio:.3f} (bar {BAR})"),
        *((f"peak memory, {number} photos", f"{peak:.0f} MiB") for number, peak in peaks.items()),
    ]
    report(rows, {"benchmark": "label", "images": options.images, "dtype": options.dtype, **seconds, "peaks": peaks})


def timed(folder: Path, images: int, repeats: int, dtype: str) -> dict[str, float]:
    """Median seconds of the whole labelling and of its windows through the network alone."""
    write_photos(folder / "data", images)
    photos = photos_of(str(folder / "data" / "images"))
    words = Vocabulary(
        [f"thing {'abcdefghijklmnopqrstuvwxyz'[number]}" for number in range(CLASSES)], templates="plain"
    )
    geometry = {"short_side": 336, "crop": 224, "stride": 112}
    clip = clip_folder(tokenizer=True)
    segmenter = Segmenter.from_pretrained(clip, method="sclip", dtype=dtype, batch=8, **geometry)
    words = segmenter.encoded(words)
    ready = [segmenter.prepare(photo.file) for photo in photos]
    together = max(1, -(-segmenter.batch // len(ready[0].windows)))
    batches = [ready[start : start + together] for start in range(0, len(ready), together)]
    numbers = count()

    def whole() -> None:
        label(photos, segmenter, words, folder / f"run-{next(numbers)}", shard=images)

    def network() -> None:
        for batch in batches:
            segmenter.tiles(batch, words.embeddings)

    return side_by_side({"label": whole, "network": network}, repeats)


def label_many(folder: Path, number: int) -> None:
    """Label `number` photos, which are links to a few."""
    write_scenes(folder / "few", 20, 0, (96, 128))
    few = sorted((folder / "few" / "images").iterdir())
    (folder / "many").mkdir()
    for place in range(number):
        os.link(few[place % len(few)], folder / "many" / f"{place:06d}.png")
    geometry = {"short_side": 96, "crop": 64, "stride": 32}
    segmenter = Segmenter.from_pretrained("tiny", dtype="float32", **geometry)
    words = Vocabulary(["grass", "sand", "water", "brick", "wood", "snow"], templates="plain")
    label(photos_of(str(folder / "many")), segmenter, words, folder / "run")


if __name__ == "__main__":
    main()

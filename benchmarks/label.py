"""Labelling: what reading, deciding and writing add to the model's own time, memory against the number of photos, Ray.

    python benchmarks/label.py [--images 24] [--repeats 3] [--dtype float32] [--photos 20000] [--no-ray]

Time: a ViT-B/16 with random weights, SCLIP's attention, 500x375 photos in JPEG, short side 336, windows of 224, stride
112, 21 classes; both sides do the same windows in the same batches and take turns, the network's has its windows ready.
Bar: at most 1.1. Memory: small photos with the bundled model, 200 against --photos, each in a process of its own. Ray:
two actors against two local processes on the same photos, one thread each, shards of two, taking turns; counted from
the first shard that is done to the last, so that starting is no part of it. Bar: at most 1.2.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

from common import clip_folder, peak_mib, peak_of, report, side_by_side
from evaluate import CLASSES, write_photos
from segloop import Segmenter, Vocabulary
from segloop.common.console import quiet_libraries
from segloop.labelling.run import label
from segloop.runs.engines import Engine, crew_of
from segloop.runs.networks import Networks
from segloop.runs.told import State
from segloop.scenes.draw import write_scenes
from segloop.sources.find import photos_of

BAR, RAY_BAR = 1.1, 1.2
GEOMETRY = {"short_side": 336, "crop": 224, "stride": 112}
FEW = 200  # photos


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--photos", type=int, default=20_000)
    parser.add_argument("--no-ray", action="store_true")
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
        if not options.no_ray:
            seconds |= crews(Path(place), 4 * options.images, options.repeats, options.dtype)
    peaks = {number: peak_of(__file__, str(number), tight=False) for number in (FEW, options.photos)}
    ratio = seconds["label"] / seconds["network"]
    rows = [
        (f"{options.images} photos, {options.dtype}", f"{seconds['label']:.2f} s"),
        ("the network alone", f"{seconds['network']:.2f} s"),
        ("wall time over the model's own", f"{ratio:.3f} (bar {BAR})"),
        *ray_rows(seconds),
        *((f"peak memory, {number} photos", f"{peak:.0f} MiB") for number, peak in peaks.items()),
    ]
    report(rows, {"benchmark": "label", "images": options.images, "dtype": options.dtype, **seconds, "peaks": peaks})


def timed(folder: Path, images: int, repeats: int, dtype: str) -> dict[str, float]:
    """Median seconds of the whole labelling and of its windows through the network alone."""
    return side_by_side(sides(folder, images, dtype), repeats)


def sides(folder: Path, images: int, dtype: str) -> dict[str, Callable[[], None]]:
    """The whole labelling of so many photos, written to `folder`, and its windows through the network alone."""
    write_photos(folder / "data", images)
    photos = photos_of(str(folder / "data" / "images"))
    clip = clip_folder(tokenizer=True)
    segmenter = Segmenter.from_pretrained(clip, method="sclip", dtype=dtype, batch=8, **GEOMETRY)
    words = segmenter.encoded(things())
    ready = [segmenter.prepare(photo.file) for photo in photos]
    together = max(1, -(-segmenter.batch // len(ready[0].windows)))
    batches = [ready[start : start + together] for start in range(0, len(ready), together)]
    numbers = count()

    def whole() -> None:
        label(photos, segmenter, words, folder / f"run-{next(numbers)}", shard=images)

    def network() -> None:
        for batch in batches:
            segmenter.tiles(batch, words.embeddings)

    return {"label": whole, "network": network}


def things() -> Vocabulary:
    """As many classes as VOC has."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    return Vocabulary([f"thing {letters[number]}" for number in range(CLASSES)], templates="plain")


def crews(folder: Path, images: int, repeats: int, dtype: str) -> dict[str, float]:
    """Median seconds a photo of two local processes and of two actors, behind the first shard."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    write_photos(folder / "more", images)
    photos = photos_of(str(folder / "more" / "images"))
    networks = Networks(str(clip_folder(tokenizer=True)), method="sclip", device="cpu", dtype=dtype, changes=GEOMETRY)
    who = {"two processes": crew_of(Engine(devices="cpu,cpu"))[0], "two actors": crew_of(Engine("ray", actors=2))[0]}
    found: dict[str, list[float]] = {name: [] for name in who}
    for number in range(repeats):
        for name, crew in who.items():
            out = folder / f"{name}-{number}"
            found[name].append(
                paced(
                    lambda progress, crew=crew, out=out: label(
                        photos, networks, things(), out, shard=2, crew=crew, progress=progress
                    )
                )
            )
    torch.set_num_threads(threads)
    return {name: statistics.median(seconds) for name, seconds in found.items()}


def paced(run) -> float:
    """Seconds a photo from the first shard that is done to the last."""
    told: list[tuple[float, int]] = []

    def progress(state: State) -> None:
        if state.step.kept:
            told.append((time.perf_counter(), state.step.kept.images))

    run(progress)
    return (told[-1][0] - told[0][0]) / sum(images for _, images in told[1:])


def ray_rows(seconds: dict[str, float]) -> list[tuple[str, str]]:
    """Lines on Ray, where it was measured."""
    if "two actors" not in seconds:
        return []
    ratio = seconds["two actors"] / seconds["two processes"]
    rows = [(f"a photo by {name}", f"{seconds[name]:.3f} s") for name in ("two processes", "two actors")]
    return [*rows, ("actors over processes", f"{ratio:.3f} (bar {RAY_BAR})")]


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

"""Evaluation against the network alone: what reading, deciding, counting and writing add to the model's own time.

    python benchmarks/evaluate.py [--images 24] [--dtype float32] [--until 0.04] [--most 16]

A ViT-B/16 with random weights, SCLIP's attention, 500x375 photos in JPEG with masks, short side 336, windows of 224,
stride 112, 21 classes. Both sides do the same windows in the same batches and take turns; the network's side has its
windows ready. Bar: at most 1.1.
"""

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from itertools import count
from pathlib import Path

import numpy as np
from PIL import Image

from common import Patience, add_patience, clip_folder, patience_of, photo, ratios, report, verdict
from segloop.common.console import quiet_libraries
from segloop.evaluation.counting import job_of
from segloop.evaluation.record import COUNTED, finish
from segloop.evaluation.task import Settled, Task, find, settle
from segloop.runs.record import open_record
from segloop.runs.work import work

BAR = 1.1
SIZE = (375, 500)  # pixels, height x width
CLASSES = 21


def main() -> None:
    """Write a data set, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--dtype", default="float32")
    add_patience(parser, Patience(least=8, most=16, until=0.04))
    options = parser.parse_args()
    quiet_libraries()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_photos(folder / "data", options.images)
        settled = settled_task(folder, options.dtype)
        seconds, found = ratios(tasks(settled, folder), {"": ("evaluate", "network")}, patience_of(options))
    ratio = found[""]
    rows = [
        (f"{options.images} photos, {options.dtype}", f"{seconds['evaluate']:.2f} s"),
        ("the network alone", f"{seconds['network']:.2f} s"),
        ("wall time over the model's own", f"{ratio.told()} (bar {BAR}: {verdict(ratio, BAR, 'less')})"),
    ]
    told = {"benchmark": "evaluate", "images": options.images, "dtype": options.dtype, **seconds}
    report(rows, {**told, "ratio": asdict(ratio)})


def write_photos(folder: Path, images: int) -> None:
    """A data set `folder`: photos that JPEG has to work for, masks of large regions."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(images):
        noise = rng.integers(-20, 21, (*SIZE, 3))
        picture = np.clip(photo(*SIZE) + noise, 0, 255).astype(np.uint8)
        Image.fromarray(picture).save(folder / "images" / f"{number:03d}.jpg", quality=92)
        regions = rng.integers(0, CLASSES, (5, 7), dtype=np.uint8)
        Image.fromarray(regions).resize(SIZE[::-1], Image.Resampling.NEAREST).save(
            folder / "masks" / f"{number:03d}.png"
        )
    (folder / "classes.txt").write_text("".join(f"thing {number}\n" for number in range(CLASSES)))


def settled_task(folder: Path, dtype: str) -> Settled:
    """The evaluation, everything but the images ready."""
    task = Task(
        key="folder",
        places=(str(folder / "data"),),
        out=folder / "run",
        clip=str(clip_folder(tokenizer=True)),
        method="sclip",
        templates="plain",
        dtype=dtype,
        changes={"short_side": 336, "crop": 224, "stride": 112},
    )
    return settle(task, find(task))


def tasks(settled: Settled, folder: Path) -> dict[str, Callable[[], None]]:
    """The whole evaluation, and its windows through the network alone."""
    segmenter, rows = settled.segmenter, settled.vocabulary.embeddings
    batches = ready_batches(settled)
    numbers = count()

    def evaluate() -> None:
        run = folder / f"run-{next(numbers)}"
        run.mkdir()
        job = job_of(settled, open_record(run, settled.inputs, COUNTED), range(len(settled.shards)))
        work([job], range(len(job.shards)), lambda images: None)
        finish(job.record, len(job.shards))

    def network() -> None:
        for batch in batches:
            segmenter.tiles(batch, rows)

    return {"evaluate": evaluate, "network": network}


def ready_batches(settled: Settled) -> list[list]:
    """Photos in the batches that an evaluation makes of them."""
    batches: list[list] = []
    for shard in settled.shards:
        waiting: list = []
        for sample in settled.data.samples[shard]:
            waiting.append(settled.segmenter.prepare(sample.image))
            if sum(len(one.windows) for one in waiting) >= settled.segmenter.batch:
                batches.append(waiting)
                waiting = []
        batches += [waiting] if waiting else []
    return batches


if __name__ == "__main__":
    main()

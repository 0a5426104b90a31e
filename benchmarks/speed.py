"""FSA on ProxyCLIP by the VOC21 recipe, against the plain transcription of the published pipeline, in one run.

    python benchmarks/speed.py [--photos 16] [--repeats 3]

ViT-B/16 and DINO ViT-B/8 with random weights at true size, photos of 500x375, 21 classes, text already embedded. Both
sides take turns photo by photo. The encoders' rate stands beside that of a large matrix product, measured in the same
run; labels of the default precision beside those of float32, on drawn scenes with the bundled model.
"""

import argparse
from tempfile import TemporaryDirectory

import numpy as np
import torch

from common import clip_folder, dino_folder, photo, report, side_by_side, text_rows
from segloop import Segmenter, Vocabulary
from segloop.line.gauges import matrix_rate
from segloop.line.timed import Way, timed
from segloop.scenes.draw import write_scenes
from textbook import Textbook

QUERIES = 21
SIZE, CROP, STRIDE = (336, 448), 336, 112
BARS = {"float32": 1.6, "float32 of the matrix rate": 0.6, "bfloat16 of the matrix rate": 0.4, "agreement": 0.99}
WORDS = ["grass", "sand", "water", "red", "blue", "yellow", "green", "white"]


def ours(dtype: str) -> Segmenter:
    """The published row on random weights; its class list is not used."""
    options = {"method": "fsa", "vision": dino_folder(), "short_side": 336, "crop": CROP, "stride": STRIDE}
    return Segmenter.from_pretrained(clip_folder(), dtype=dtype, background_threshold=0.2, **options)


def vocabulary() -> Vocabulary:
    """Classes whose rows are given, the first of them the background."""
    names = [f"class {number}" for number in range(QUERIES)]
    return Vocabulary(names, embeddings=text_rows(QUERIES), background=0)


def photos(count: int) -> list[np.ndarray]:
    """Different pictures of one size."""
    return [np.roll(photo(), 17 * number, axis=1) for number in range(count)]


def encoders(segmenter: Segmenter) -> tuple[float, float]:
    """Operations a second of both encoders together, and of a large matrix product, in the segmenter's precision."""
    found = timed(Way(segmenter, photo(), vocabulary(), lambda result: None), 3)
    both = [found[name] for name in ("CLIP", "guide")]
    rate = sum(cost.operations for cost in both) / sum(cost.seconds for cost in both)
    return rate, matrix_rate(segmenter.clip.dtype, segmenter.clip.device, 2.0)


def agreement(count: int = 20) -> float:
    """Share of the pixels of drawn scenes that default precision and float32 label alike, with the bundled model."""
    with TemporaryDirectory() as folder:
        from pathlib import Path

        write_scenes(Path(folder), count, 0, (192, 256))
        files = sorted((Path(folder) / "images").iterdir())
        maps = [
            [result.labels for result in Segmenter.from_pretrained("tiny", dtype=dtype).stream(files, WORDS)]
            for dtype in ("auto", "float32")
        ]
    return float(np.mean([one == other for one, other in zip(*maps, strict=True)]))


def run(count: int, repeats: int) -> None:
    """Time everything in turns."""
    some, words = photos(count), vocabulary()
    exact, auto = ours("float32"), ours("auto")
    plain = Textbook(exact.clip.model, exact.network.guide.model, text_rows(QUERIES))
    half = str(auto.clip.dtype).removeprefix("torch.")
    same = (plain.labels(some[0], SIZE, CROP, STRIDE).numpy() == exact(some[0], words).labels).mean()
    tasks = {
        "textbook float32": lambda: [plain.labels(one, SIZE, CROP, STRIDE) for one in some],
        "segloop float32": lambda: exact(some, words),
        f"segloop {half}, the default here": lambda: auto(some, words),
    }
    if half == "float32":
        del tasks[f"segloop {half}, the default here"]
    seconds = side_by_side(tasks, repeats)
    first = seconds["textbook float32"]
    rows = [
        (name, f"{value / count:.3f} s a photo, {first / value:.2f} times the textbook's speed")
        for name, value in seconds.items()
    ]
    rates = {}
    for name, one in {"float32": exact, half: auto}.items():
        rate, possible = encoders(one)
        rates[name] = {"encoders": rate, "matrix": possible, "share": rate / possible}
        rows.append((f"encoders, {name}", f"{rate / 1e9:.0f} of {possible / 1e9:.0f} GFLOP/s: {rate / possible:.2f}"))
    alike = agreement()
    rows += [("labels as the textbook's, float32", f"{same:.4%}"), (f"labels of {half} as float32's", f"{alike:.4%}")]
    times = {name: first / value for name, value in seconds.items()}
    report(rows, {"benchmark": "speed", "seconds": seconds, "times": times, "rates": rates, "agreement": alike})
    print(f"bars: {BARS}, default 1.6 on AVX2, 3 on AVX512-bf16, 6 with AMX; {torch.backends.cpu.get_cpu_capability()}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    run(arguments.photos, arguments.repeats)

"""FSA on ProxyCLIP by the VOC21 recipe, against the plain transcription of the published pipeline, in one run.

    python benchmarks/speed.py [--photos 16] [--engine openvino,int8] [--until 0.05] [--most 16]

ViT-B/16 and DINO ViT-B/8 with random weights at true size, photos of 500x375, 21 classes, text already embedded. Both
sides take turns photo by photo, so that no photo shares a batch with another; `--together 4` gives segloop so many at
once. The encoders' rate is measured in turns with that of a large matrix product; labels of the default precision are
compared with those of float32 on drawn scenes with the bundled model. Each bar is printed with its verdict for the
processor that is found. `--as-avx2` holds torch, oneDNN, MKL and numpy to AVX2, on both sides, and the default to the
float32 that it is there: not a processor without AVX-512, but its instructions. ONNX Runtime cannot be held.
"""

import argparse
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from common import (
    AS_AVX2,
    SMALL,
    Patience,
    Ratio,
    add_patience,
    as_published,
    clip_folder,
    dino_folder,
    is_held,
    patience_of,
    photo,
    processor_class,
    ratios,
    report,
    scaled,
    text_rows,
    verdict,
)
from segloop import Segmenter, Vocabulary
from segloop.line.gauges import PRODUCT, large_product, operations
from segloop.line.timed import Way
from segloop.scenes.draw import write_scenes
from textbook import Textbook

QUERIES = 21
SIZE, CROP, STRIDE = ((112, 168), 112, 56) if SMALL else ((336, 448), 336, 112)
FLOAT32, AGREEMENT = 1.6, 0.99
DEFAULT = {"AVX2": 1.6, "AVX512-bf16": 3.0, "AMX": 6.0}  # times the textbook's speed, by default
INT8 = 2.5  # the same on AVX2 with an engine of eight bits
SHARES = {"float32": 0.6, "bfloat16": 0.4}  # of the matrix rate, by the encoders
WORDS = ["grass", "sand", "water", "red", "blue", "yellow", "green", "white"]
PRODUCTS = 1 if SMALL else 8  # that are timed together


def ours(dtype: str, **options: Any) -> Segmenter:
    """The published row on random weights; its class list is not used."""
    options = {"short_side": SIZE[0], "crop": CROP, "stride": STRIDE, "method": "fsa", **options}
    options |= {"vision": dino_folder(), "device": "cpu", "background_threshold": 0.2}
    return Segmenter.from_pretrained(clip_folder(), dtype=dtype, **options)


def vocabulary() -> Vocabulary:
    """Classes whose rows are given, the first of them the background."""
    names = [f"class {number}" for number in range(QUERIES)]
    return Vocabulary(names, embeddings=text_rows(QUERIES), background=0)


def photos(number: int) -> list[np.ndarray]:
    """Different pictures of one size."""
    size = SIZE if SMALL else (375, 500)
    return [np.roll(photo(*size), 17 * shift, axis=1) for shift in range(number)]


def name_of(segmenter: Segmenter) -> str:
    """Its precision."""
    return str(segmenter.clip.dtype).removeprefix("torch.")


class Turns:
    """A side that takes the next photos whenever it is asked, and keeps the labels of each."""

    def __init__(self, some: list[np.ndarray], together: int, labels: Callable[[list[np.ndarray]], list[np.ndarray]]):
        """`labels`: photos -> maps."""
        self.some, self.together, self.labels = some, together, labels
        self.kept: dict[int, np.ndarray] = {}
        self.rounds = count()

    def __call__(self) -> None:
        """The next `together` photos; behind the last the first again."""
        first = next(self.rounds) * self.together
        numbers = [number % len(self.some) for number in range(first, first + self.together)]
        self.kept |= zip(numbers, self.labels([self.some[number] for number in numbers]), strict=True)


def sides(some: list[np.ndarray], together: int, segmenters: Mapping[str, Segmenter]) -> dict[str, Turns]:
    """The textbook and every segmenter, by name."""
    exact, words = segmenters["float32"], vocabulary()
    plain = Textbook(as_published(exact.clip.model), as_published(exact.network.guide.model), text_rows(QUERIES))
    found = {"textbook": lambda few: [plain.labels(one, SIZE, CROP, STRIDE).numpy() for one in few]}
    for name, one in segmenters.items():
        found[name] = lambda few, one=one: [result.labels for result in one(few, words)]
    return {name: Turns(some, together, labels) for name, labels in found.items()}


@torch.no_grad()
def encoders(segmenter: Segmenter, image: np.ndarray) -> tuple[dict[str, Callable[[], Any]], float]:
    """Both encoders on a photo's windows, and some large products: tasks, and operations of the first over the second.

    So "matrix" over "encoders" in seconds, times that number, is the share of the matrix rate.
    """
    way = Way(segmenter, image, vocabulary(), lambda result: None)
    way.read()
    way.resize()
    steps = [way.clip] + ([way.guide] if segmenter.network.guide else [])
    counted = sum(operations(step)[0] for step in steps)
    product = large_product(segmenter.clip.dtype, segmenter.clip.device)

    def products() -> None:
        for _ in range(PRODUCTS):
            product()

    def passes() -> None:
        for step in steps:
            step()

    tasks = {"encoders": torch.no_grad()(passes), "matrix": torch.no_grad()(products)}
    return tasks, counted / (PRODUCTS * 2 * math.prod(PRODUCT))


def agreement(default: str, number: int = 20) -> float:
    """Share of the pixels of drawn scenes that default precision and float32 label alike, with the bundled model."""
    with TemporaryDirectory() as folder:
        write_scenes(Path(folder), number, 0, (192, 256))
        files = sorted((Path(folder) / "images").iterdir())
        maps = [
            [result.labels for result in Segmenter.from_pretrained("tiny", dtype=dtype).stream(files, WORDS)]
            for dtype in (default, "float32")
        ]
    return float(np.mean([one == other for one, other in zip(*maps, strict=True)]))


def speeds(
    some: list[np.ndarray], together: int, segmenters: Mapping[str, Segmenter], patience: Patience
) -> tuple[dict[str, float], dict[str, Ratio], dict[str, float]]:
    """Seconds a photo, times the textbook's speed, and shares of pixels labelled as the textbook does."""
    tasks = sides(some, together, segmenters)
    seconds, found = ratios(tasks, {name: ("textbook", name) for name in segmenters}, patience)
    plain = tasks["textbook"].kept
    alike = {name: float(np.mean([tasks[name].kept[at] == plain[at] for at in plain])) for name in segmenters}
    return {name: value / together for name, value in seconds.items()}, found, alike


def run(number: int, together: int, patience: Patience, engines: Sequence[str]) -> None:
    """Time everything in turns."""
    some = photos(number)
    segmenters = {"float32": ours("float32"), "default": ours("float32" if is_held() else "auto")}
    for engine in engines:
        segmenters[f"engine {engine}"] = ours("float32" if is_held() else "auto", engine=engine)
    half = name_of(segmenters["default"])
    if half == "float32":
        del segmenters["default"]
    seconds, found, alike = speeds(some, together, segmenters, patience)
    shares = {}
    for one in dict.fromkeys(["float32", half]):
        tasks, factor = encoders(segmenters["default" if one != "float32" else "float32"], some[0])
        _, share = ratios(tasks, {one: ("matrix", "encoders")}, replace(patience, least=1, minutes=5))
        shares[one] = scaled(share[one], factor)
    pixels = agreement("float32" if is_held() else "auto")
    precise = {name: f" ({name_of(one)})" for name, one in segmenters.items() if name != "float32"}
    rows = [("textbook, float32", f"{seconds['textbook']:.3f} s a photo")]
    for name, one in found.items():
        times = one.told(unit=" times the textbook's speed")
        rows.append(
            (
                f"segloop, {name}{precise.get(name, '')}",
                f"{seconds[name]:.3f} s a photo, {times}; {alike[name]:.4%} of its labels",
            )
        )
    rows += [(f"encoders, {name}", one.told(unit=" of the matrix rate")) for name, one in shares.items()]
    rows += [(f"labels of {half} as float32's, scenes", f"{pixels:.4%}")]
    bars = barred(found, shares, pixels, half)
    rows += [(f"bar: {name}", text) for name, text in bars.items()]
    kept = {"seconds": seconds, "labels": alike, "agreement": pixels, "bars": bars, "default": half, "photos": number}
    kept |= {"times": {name: asdict(one) for name, one in found.items()}}
    report(rows, {"benchmark": "speed", **kept, "shares": {name: asdict(one) for name, one in shares.items()}})


def barred(
    found: Mapping[str, Ratio], shares: Mapping[str, Ratio], pixels: float, half: str, kind: str | None = None
) -> dict[str, str]:
    """Each bar that this processor has, and whether it holds."""
    kind = kind or processor_class()
    bars = {f"float32, {FLOAT32:g} times": verdict(found["float32"], FLOAT32)}
    if kind in DEFAULT:
        fast = found.get("default", found["float32"])
        bars[f"default on {kind} ({half}), {DEFAULT[kind]:g} times"] = verdict(fast, DEFAULT[kind])
    else:
        bars[f"default on {kind}"] = "none is set for this kind of processor"
    if kind == "AVX2" and "engine int8" in found:
        bars[f"engine int8 on AVX2, {INT8:g} times"] = verdict(found["engine int8"], INT8)
    for name, one in shares.items():
        bars[f"encoders, {name}, {SHARES[name]:g} of the matrix rate"] = verdict(one, SHARES[name])
    bars[f"labels of scenes as float32's, {AGREEMENT:.0%}"] = "holds" if pixels >= AGREEMENT else "missed"
    return bars


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=16)
    parser.add_argument("--together", type=int, default=1, help="photos that segloop is given at once")
    parser.add_argument("--engine", help="also by these engines, joined by commas, in the precision that they take")
    parser.add_argument("--as-avx2", action="store_true", help="hold libraries to AVX2")
    add_patience(parser, Patience(most=16, minutes=20))
    arguments = parser.parse_args()
    if arguments.as_avx2 and not is_held():
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **AS_AVX2})  # read when they are loaded
    passes = -(-arguments.photos // arguments.together)
    arguments.repeats = max(arguments.repeats, passes)
    run(
        arguments.photos,
        arguments.together,
        patience_of(arguments),
        arguments.engine.split(",") if arguments.engine else (),
    )

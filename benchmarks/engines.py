"""Engines of the encoders side by side in one run: seconds against torch's float32, and labels that stay.

    python benchmarks/engines.py [--repeats 5] [--windows 2] [--threads N] [--without compile,int8]

CLIP ViT-B/16 and DINO ViT-B/8 with random weights at true size, windows of 336 pixels; all sides take turns. A ratio is
eager's time in float32 over the engine's, its median and range over the repeats. Labels are those of the bundled model
on drawn scenes against float32's; numbers of the random networks stand beside them. An engine that is not installed is
left out.
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from common import SMALL, clip_folder, dino_folder, in_turns, report
from segloop import Segmenter
from segloop.backbones import engines
from segloop.backbones.shared import Models
from segloop.line.agreement import agreement

SIDE = 336
CPU = torch.device("cpu")
HALF = "bfloat16"
COLUMNS = (
    "network, engine",
    "seconds a window",
    "times eager's speed in float32",
    "off by",
    "labels of tiny kept",
    "ready after",
)


def engine_and_precision(name: str) -> tuple[str, torch.dtype]:
    """What "onnx", in float32, or "openvino bfloat16", or "bfloat16", torch's own, means."""
    return name.removesuffix(HALF).strip() or "eager", torch.bfloat16 if HALF in name else torch.float32


def encoders(folders: tuple[Any, Any], name: str) -> dict[str, Callable[[Tensor], Tensor]]:
    """CLIP's blocks before the last, and the vision model, on an engine: pixels to tokens and to features."""
    engine, dtype = engine_and_precision(name)
    models = Models()
    clip, first = engines.tower_on(engine, models.clip(str(folders[0]), CPU, dtype), 1, models)
    guide, second = engines.guide_on(engine, models.guide(str(folders[1]), CPU, dtype), models)
    assert (first, second) == (engine, engine), f"{name} did not run"
    return {"CLIP": lambda pixels: clip.tokens(pixels)[0], "DINO": lambda pixels: guide(pixels)}


def labels_kept(name: str) -> float:
    """The share of the bundled model's labels on drawn scenes that stay as float32 has them."""
    engine, dtype = engine_and_precision(name)
    how = {"method": "sclip", "short_side": 192, "crop": 192, "stride": 96}
    plain, other = (
        Segmenter.from_pretrained("tiny", dtype=precision, engine=runs, **how).network
        for precision, runs in ((torch.float32, "eager"), (dtype, engine))
    )
    return agreement(plain, other)


def opened(names: Sequence[str]) -> tuple[dict[str, dict[str, Callable[[Tensor], Tensor]]], dict[str, float]]:
    """Encoders of every engine that runs here, by its name, and the seconds that opening took."""
    folders, known, ready = (clip_folder(), dino_folder()), {}, {}
    encoders(folders, "eager")  # so that importing libraries is nobody's
    for name in names:
        start = time.perf_counter()
        try:
            known[name] = encoders(folders, name)
        except Exception as error:
            print(f"{name} is left out: {type(error).__name__}: {str(error)[:200]}")
            continue
        ready[name] = time.perf_counter() - start
    return known, ready


@torch.no_grad()
def run(names: Sequence[str], windows: int, repeats: int) -> None:
    """Time everything in turns."""
    pixels = torch.randn(windows, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    known, ready = opened(names)
    rows, record = [], {}
    kept = {name: labels_kept(name) for name in known}
    for part in ("CLIP", "DINO"):
        tasks = {name: lambda run=encode[part]: run(pixels) for name, encode in known.items()}
        seconds = in_turns(tasks, repeats)
        exact = tasks["eager"]()
        for name, found in seconds.items():
            ratios = [plain / own for plain, own in zip(seconds["eager"], found, strict=True)]
            off = float((tasks[name]().float() - exact).norm() / exact.norm())
            spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            each = f"{statistics.median(found) / windows:.3f}"
            rows.append((f"{part}, {name}", each, spread, f"{off:.1e}", f"{kept[name]:.2%}", f"{ready[name]:.1f} s"))
            record[f"{part} {name}"] = {"seconds": found, "ratios": ratios, "off": off, "kept": kept[name]}
    told = {"benchmark": "engines", "windows": windows, "side": SIDE, "small": SMALL, "repeats": repeats}
    report(rows, {**told, "columns": COLUMNS, "ready": ready, "found": record})


def main() -> None:
    """Measure the engines that are here, but for those that are to be left out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--windows", type=int, default=2)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--without", default="", help="engines that are left out, joined by commas")
    options = parser.parse_args()
    torch.set_num_threads(options.threads or torch.get_num_threads())
    warnings.simplefilter("ignore")
    wanted = ["eager", "compile", HALF, "onnx", "int8", "openvino", f"openvino {HALF}"]
    left = options.without.split(",")
    run([name for name in wanted if name not in left], options.windows, options.repeats)


if __name__ == "__main__":
    main()

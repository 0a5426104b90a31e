"""What the benchmarks share: models of true size with random weights, fair timing, peak memory of a process."""

import json
import math
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import numpy as np
import torch
from torch import Tensor

MODELS = Path(gettempdir()) / "segloop-benchmark-models"


def clip_folder(tokenizer: bool = False) -> Path:
    """A ViT-B/16 CLIP with random weights at true size (its text tower is cut to one block: it is not timed).

    `tokenizer` adds one that knows bytes, for benchmarks that need some text rows.
    """
    folder = MODELS / "clip-b16"
    if tokenizer and not (folder / "tokenizer_config.json").is_file():
        from tokenizers.pre_tokenizers import ByteLevel
        from transformers import CLIPTokenizer

        letters = sorted(ByteLevel.alphabet())
        words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
        CLIPTokenizer(vocab={word: number for number, word in enumerate(words)}, merges=[]).save_pretrained(folder)
    if not (folder / "model.safetensors").is_file():
        from transformers import CLIPConfig, CLIPModel

        torch.manual_seed(0)
        config = CLIPConfig(text_config={"num_hidden_layers": 1}, vision_config={"patch_size": 16}, projection_dim=512)
        CLIPModel(config).save_pretrained(folder)
    return folder


def dino_folder() -> Path:
    """A DINO ViT-B/8 with random weights at true size."""
    folder = MODELS / "dino-b8"
    if not (folder / "model.safetensors").is_file():
        from transformers import ViTConfig, ViTModel

        torch.manual_seed(0)
        ViTModel(ViTConfig(patch_size=8, image_size=224)).save_pretrained(folder)
    return folder


def photo(height: int = 375, width: int = 500) -> np.ndarray:
    """A smooth picture with edges: (H, W, 3) uint8."""
    y, x = np.mgrid[:height, :width] / 50
    waves = np.stack([np.sin(x + y), np.cos(x * 1.3), np.sin(y * 0.7 - x)], -1)
    return ((waves + (waves > 0.5)) * 60 + 100).astype(np.uint8)


def text_rows(queries: int, width: int = 512) -> Tensor:
    """Unit rows (Q, E)."""
    rows = torch.randn(queries, width, generator=torch.Generator().manual_seed(queries))
    return torch.nn.functional.normalize(rows, dim=-1)


def side_by_side(tasks: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median seconds of each task; the tasks take turns, so that a slow minute of the machine hits all of them."""
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for task in tasks.values():
        task()
    for _ in range(repeats):
        for name, task in tasks.items():
            start = time.perf_counter()
            task()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(found) for name, found in times.items()}


@dataclass(frozen=True)
class Extra:
    """What one task takes more than another, in percent of the other: pair by pair, so that drift cancels."""

    seconds: dict[str, float]  # medians
    percent: float  # median of the pairs
    low: float  # interval of that median, 95 % or a little more
    high: float
    pairs: int


def extra(tasks: dict[str, Callable[[], Any]], width: float, least: int, most: int = 60) -> Extra:
    """Time the second of two tasks against the first until the interval is at most `width` percent wide."""
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for task in tasks.values():
        task()
    while True:
        for name, task in tasks.items():
            start = time.perf_counter()
            task()
            times[name].append(time.perf_counter() - start)
        first, second = times.values()
        found = sorted(100 * (b / a - 1) for a, b in zip(first, second, strict=True))
        low, high = median_interval(found)
        if len(found) >= max(6, least) and (high - low <= width or len(found) >= most):
            medians = {name: statistics.median(seconds) for name, seconds in times.items()}
            return Extra(medians, statistics.median(found), low, high, len(found))


def median_interval(ordered: list[float]) -> tuple[float, float]:
    """Order statistics that hold the median in 95 % of cases or more; all of them below six (binomial signs)."""
    count, outside, rank = len(ordered), 0.5 ** len(ordered), 0
    while outside + math.comb(count, rank + 1) * 0.5**count <= 0.025:
        rank += 1
        outside += math.comb(count, rank) * 0.5**count
    return ordered[rank], ordered[count - 1 - rank]


def peak_of(script: str, *arguments: str) -> float:
    """MiB that a benchmark script's `--peak` run took at most, in a process of its own."""
    command = [sys.executable, script, "--peak", *arguments]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return float(lines[-1])


def peak_mib() -> float:
    """MiB that this process has taken at most so far (the kernel's own count, since rusage inherits its parent's)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {"cpu": name, "threads": torch.get_num_threads(), "torch": torch.__version__}


def report(rows: list[tuple[str, str]], record: dict[str, Any]) -> None:
    """Lines for people, then one JSON line."""
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:<{width}}  {value}")
    print(json.dumps({**record, "machine": machine()}))

"""What the benchmarks share: models of true size with random weights, fair timing, peak memory of a process."""

import argparse
import contextlib
import copy
import json
import math
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from importlib.metadata import version
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import numpy as np
import torch
from torch import Tensor

SMALL = bool(os.environ.get("SEGLOOP_SMALL_BENCHMARKS"))  # towers of four narrow blocks, to try a script: no figures
MODELS = Path(gettempdir()) / ("segloop-benchmark-models" + ("-small" if SMALL else ""))
NARROW = {"hidden_size": 96, "intermediate_size": 384, "num_hidden_layers": 4, "num_attention_heads": 3}


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
        vision = {"patch_size": 16, **(NARROW if SMALL else {})}
        text = {"num_hidden_layers": 1, **({"hidden_size": 64, "num_attention_heads": 2} if SMALL else {})}
        config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=512)
        CLIPModel(config).save_pretrained(folder)
    return folder


def dino_folder() -> Path:
    """A DINO ViT-B/8 with random weights at true size."""
    folder = MODELS / "dino-b8"
    if not (folder / "model.safetensors").is_file():
        from transformers import ViTConfig, ViTModel

        torch.manual_seed(0)
        ViTModel(ViTConfig(patch_size=8, image_size=224, **(NARROW if SMALL else {}))).save_pretrained(folder)
    return folder


def as_published(model: Any) -> Any:
    """A copy whose products are torch's own, for pipelines written down plainly."""
    copied = copy.deepcopy(model)
    for module in copied.modules():
        if isinstance(module, torch.nn.Linear):
            module.__class__ = torch.nn.Linear
    return copied


def photo(height: int = 375, width: int = 500) -> np.ndarray:
    """A smooth picture with edges: (H, W, 3) uint8."""
    y, x = np.mgrid[:height, :width] / 50
    waves = np.stack([np.sin(x + y), np.cos(x * 1.3), np.sin(y * 0.7 - x)], -1)
    return ((waves + (waves > 0.5)) * 60 + 100).astype(np.uint8)


def text_rows(queries: int, width: int = 512) -> Tensor:
    """Unit rows (Q, E)."""
    rows = torch.randn(queries, width, generator=torch.Generator().manual_seed(queries))
    return torch.nn.functional.normalize(rows, dim=-1)


def in_turns(tasks: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Seconds of every repeat; the tasks take turns, so that a slow minute of the machine hits all of them."""
    found: dict[str, list[float]] = {name: [] for name in tasks}
    for task in tasks.values():
        task()
    for _ in range(repeats):
        for name, task in tasks.items():
            start = time.perf_counter()
            task()
            found[name].append(time.perf_counter() - start)
    return found


def side_by_side(tasks: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median seconds of each task, in turns."""
    return {name: statistics.median(found) for name, found in in_turns(tasks, repeats).items()}


@dataclass(frozen=True)
class Patience:
    """When a ratio has been measured often enough."""

    until: float = 0.05  # half width of its interval, as a share of it
    least: int = 6  # rounds; fewer have no interval of 95 %
    most: int = 60  # rounds
    minutes: float = 60.0
    cpu: bool = False  # count the processor's time, not the clock's


@dataclass(frozen=True)
class Ratio:
    """How a task's seconds compare with another's, round by round, so that drift cancels."""

    value: float  # median of the rounds
    low: float  # interval of that median, 95 % or a little more from six rounds on
    high: float
    rounds: int
    limit: str = ""  # what ended the rounds before the interval was narrow: "60 rounds"; empty if it was

    @property
    def half_width(self) -> float:
        """Of the interval, as a share of the ratio."""
        return (self.high - self.low) / 2 / self.value

    def told(self, scale: float = 1.0, less: float = 0.0, digits: int = 2, unit: str = "") -> str:
        """`scale` times what lies above `less`, with its interval and whether that is as narrow as was asked for."""
        value, low, high = (f"{scale * (one - less):.{digits}f}" for one in (self.value, self.low, self.high))
        sure = self.rounds >= SURE
        told = f"{value}{unit} ({low} to {high}, {counted(self.rounds)}{'' if sure else ', too few for 95 %'})"
        return told + (f"; stopped at {self.limit} with ± {self.half_width:.1%}" if self.limit and sure else "")


def counted(rounds: int) -> str:
    """In words."""
    return f"{rounds} round{'s' * (rounds != 1)}"


SURE = 6  # rounds from which order statistics hold a median in 95 % of cases


def ratios(
    tasks: Mapping[str, Callable[[], Any]],
    pairs: Mapping[str, tuple[str, str]],
    patience: Patience,
    clock: Callable[[], float] | None = None,
) -> tuple[dict[str, float], dict[str, Ratio]]:
    """Median seconds of each task, and the ratio of seconds of each pair (over, under), with its interval.

    Tasks take turns, each second round backwards, until every interval is at most `patience.until` of its ratio to
    either side, or patience ends. The interval is looked at after every round, which makes it a little less sure.
    """
    wall = clock or time.perf_counter
    clock = clock or (time.process_time if patience.cpu else time.perf_counter)
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for task in tasks.values():
        task()
    begun = wall()
    for done in range(1, patience.most + 1):
        for name in list(tasks) if done % 2 else reversed(tasks):
            start = clock()
            tasks[name]()
            times[name].append(clock() - start)
        found = {pair: paired(times[over], times[under]) for pair, (over, under) in pairs.items()}
        narrow = done >= SURE and all(one.half_width <= patience.until for one in found.values())
        late = wall() - begun >= 60 * patience.minutes
        if (narrow and done >= patience.least) or late:
            break
    limit = f"{patience.minutes:g} minutes" if late else counted(done)
    wide = [pair for pair, one in found.items() if done < SURE or one.half_width > patience.until]
    found |= {pair: replace(found[pair], limit=limit) for pair in wide}
    return {name: statistics.median(seconds) for name, seconds in times.items()}, found


def paired(over: Sequence[float], under: Sequence[float]) -> Ratio:
    """Seconds of two tasks in the same rounds -> their ratio."""
    found = sorted(a / b for a, b in zip(over, under, strict=True))
    return Ratio(statistics.median(found), *median_interval(found), len(found))


def scaled(ratio: Ratio, factor: float) -> Ratio:
    """The ratio in another unit."""
    return replace(ratio, value=factor * ratio.value, low=factor * ratio.low, high=factor * ratio.high)


def verdict(ratio: Ratio, bar: float, better: str = "more") -> str:
    """Whether a bar holds by the whole interval."""
    if ratio.rounds < SURE:
        return "not to be told: too few rounds"
    worst, best = (ratio.low, ratio.high) if better == "more" else (-ratio.high, -ratio.low)
    bar = bar if better == "more" else -bar
    if worst >= bar:
        return "holds"
    return "missed" if best < bar else "not to be told: the bar lies within the interval"


def add_patience(parser: argparse.ArgumentParser, usual: Patience) -> None:
    """Options that say how long to repeat."""
    parser.add_argument("--repeats", type=int, default=usual.least, help="rounds at least")
    parser.add_argument("--until", type=float, default=usual.until, help="half width of intervals, share of the ratio")
    parser.add_argument("--most", type=int, default=usual.most, help="rounds at most")
    parser.add_argument("--minutes", type=float, default=usual.minutes, help="at most, for each comparison")
    parser.add_argument("--cpu", action="store_true", help="the processor's seconds, where others keep it busy")


def patience_of(arguments: argparse.Namespace) -> Patience:
    """What they say; `--repeats` above `--most` counts for both."""
    least = max(1, arguments.repeats)
    return Patience(arguments.until, least, max(least, arguments.most), arguments.minutes, arguments.cpu)


def median_interval(ordered: list[float]) -> tuple[float, float]:
    """Order statistics that hold the median in 95 % of cases or more; all of them below six (binomial signs)."""
    count, outside, rank = len(ordered), 0.5 ** len(ordered), 0
    while outside + math.comb(count, rank + 1) * 0.5**count <= 0.025:
        rank += 1
        outside += math.comb(count, rank) * 0.5**count
    return ordered[rank], ordered[count - 1 - rank]


def peak_of(script: str, *arguments: str, tight: bool = True) -> float:
    """MiB that a benchmark script's `--peak` run took at most, in a process of its own.

    `tight`: large blocks go back to the system as they are freed. What glibc else keeps for later moves by 40 MiB from
    run to run; a user's process has it, too.
    """
    command, kept = [sys.executable, script, "--peak", *arguments], str(2**17)
    tightly = {"MALLOC_MMAP_THRESHOLD_": kept, "MALLOC_TRIM_THRESHOLD_": kept} if tight else {}
    environ = {**os.environ, **tightly}
    lines = subprocess.run(command, check=True, capture_output=True, text=True, env=environ).stdout.splitlines()
    return float(lines[-1])


def peak_mib() -> float:
    """MiB that this process has taken at most so far (the kernel's own count, since rusage inherits its parent's)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def forget_peak() -> None:
    """Count what the process takes at most from here on; where the system does not let us, from its start."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def held_mib() -> float:
    """MiB that this process takes now."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {
        "cpu": name,
        "class": processor_class(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "transformers": version("transformers"),
        "segloop": version("segloop"),
    }


AS_AVX2 = {  # environment that keeps libraries from what is newer
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
}


def is_held() -> bool:
    """Whether this process has the environment of AS_AVX2."""
    return all(os.environ.get(name) == value for name, value in AS_AVX2.items())


def processor_class() -> str:
    """AMX, AVX512-bf16, or what torch has its kernels for (AVX512, AVX2, DEFAULT): what bfloat16's speed hangs on."""
    if is_held():
        return "AVX2"
    if torch.cpu._is_amx_tile_supported():
        return "AMX"
    return "AVX512-bf16" if torch.cpu._is_avx512_bf16_supported() else torch.backends.cpu.get_cpu_capability()


def report(rows: Sequence[tuple[str, ...]], record: dict[str, Any]) -> None:
    """Lines for people, then one JSON line, which has them too. `columns` of the record stand above the lines."""
    lines = [record["columns"], *rows] if "columns" in record else rows
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())
    print(json.dumps({**record, "rows": rows, **circumstances()}))


def circumstances() -> dict[str, Any]:
    """What every figure names: machine, day, command."""
    command = shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    return {"machine": machine(), "date": date.today().isoformat(), "command": command}

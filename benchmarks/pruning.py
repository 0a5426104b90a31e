"""Which selection prunes fastest, with numpy's vectorised sort and without: seconds of processor, side by side.

    python benchmarks/pruning.py [--tokens 441 784 1764] [--repeats 5]

Similarities of feedback at true sizes: 8 windows of N patches, 21 classes, a block of rows at a time as `Feedback`
has it, one thread. Every selection finds the smallest entry that each row keeps; what it is not certain of counts as
`left`, and is asked in float64 in all of them alike. Each setting is a process of its own: all that this machine has,
numpy without what sorts in vectors (NPY_DISABLE_CPU_FEATURES), and torch without AVX-512 too (ATEN_CPU_CAPABILITY).
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

from common import report
from segloop.attention import pruning
from segloop.attention.feedback import BLOCK, Feedback, class_distribution

MASS, WINDOWS, CLASSES = 0.45, 8, 21
COLUMNS = ("setting", "patches", "selection", "milliseconds a block", "rows left for float64")
HALVES = 18  # after which few rows have more than one entry between the two values
WITHOUT = "X86_V3 X86_V4 AVX512_ICL AVX512_SPR AVX2 AVX512F AVX512_SKX AVX512_CLX AVX512_CNL"
SETTINGS = {
    "as it is": {},
    "numpy without": {"NPY_DISABLE_CPU_FEATURES": WITHOUT},
    "both without": {"NPY_DISABLE_CPU_FEATURES": WITHOUT, "ATEN_CPU_CAPABILITY": "default"},
}


def similarities(tokens: int) -> Tensor:
    """One block of rows, (b, r, N) float32, as feedback makes them of random windows with some structure."""
    draw = torch.Generator().manual_seed(tokens)
    coarse = torch.randn(WINDOWS, CLASSES, 7, 7, generator=draw)
    side = int(tokens**0.5)
    smooth = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bilinear").flatten(2).mT
    cosines = (smooth + 0.3 * torch.randn(smooth.shape, generator=draw)) / 20
    new = Feedback(class_distribution(cosines, None, 20, 35), 3.0, MASS)
    part, rows = next(iter(new._blocks()))
    return (1 / (1 + new._divergence(part, rows).float().clamp_min_(0))).contiguous()


def settled(sort: Callable[[Tensor], Tensor]) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """`pruning` by sorting, with another sort: rows (b, r, N) -> the same in rising order."""

    def select(s: Tensor) -> tuple[Tensor, Tensor]:
        usual, pruning._sorted = pruning._sorted, sort
        try:
            return pruning._settle_by_sort(s, MASS)
        finally:
            pruning._sorted = usual

    return select


def by_top_k(s: Tensor) -> tuple[Tensor, Tensor]:
    """Only the entries that can be kept are put in order."""
    limit = MASS * pruning._sum(s.exp())
    falling = s.topk(pruning._reach(s, MASS) + 1, -1).values
    running = falling.exp().cumsum(-1, dtype=torch.float64)
    kept = torch.searchsorted(running, limit, right=True).clamp(1, falling.shape[-1] - 1)
    both = torch.cat([kept - 1, kept], -1)
    smallest, next_one = falling.gather(-1, both).split(1, -1)
    return smallest, pruning._certain(smallest, next_one, running.gather(-1, both), limit)


def by_halves(s: Tensor) -> tuple[Tensor, Tensor]:
    """The cut looked for between two values that come closer, all rows at once."""
    weights = s.exp()
    limit = MASS * pruning._sum(weights)
    low, high = s.amin(-1, keepdim=True), s.amax(-1, keepdim=True)
    for _ in range(HALVES):
        middle = torch.lerp(low, high, 0.5)
        fits = torch.where(s >= middle, weights, 0).sum(-1, keepdim=True) <= limit
        high, low = torch.where(fits, middle, high), torch.where(fits, low, middle)
    kept = s >= high
    smallest = torch.where(kept, s, torch.inf).amin(-1, keepdim=True)
    next_one = torch.where(kept, -torch.inf, s).amax(-1, keepdim=True)
    inside = pruning._sum(torch.where(kept, weights, 0))
    beyond = inside + next_one.double().exp()
    certain = pruning._certain(smallest, next_one, torch.cat([inside, beyond], -1), limit)
    return smallest, certain & ((inside < limit) & (limit < beyond)).all(-1)


SELECTIONS = {
    "numpy sort": lambda s: pruning._settle_by_sort(s, MASS),
    "torch sort": settled(lambda rows: rows.sort(-1).values),
    "torch top-k": by_top_k,
    "bisection": by_halves,
    "bins": lambda s: pruning._settle_by_bins(s, MASS),
}


def inner(tokens: list[int], repeats: int) -> dict:
    """Milliseconds of processor a block, the least of all, and rows left in percent, by tokens and selection."""
    torch.set_num_threads(1)
    found: dict[str, dict] = {}
    for count in tokens:
        s = similarities(count)
        times: dict[str, list[float]] = {name: [] for name in SELECTIONS}
        left, kept = {}, {}
        for turn in range(repeats + 1):
            for name, select in SELECTIONS.items():
                start = time.process_time()
                smallest, certain = select(s.clone())
                if turn:
                    times[name].append(time.process_time() - start)
                left[name] = 100 * (1 - certain.double().mean().item())
                kept[name] = (smallest, certain)
        reference, sure = kept["numpy sort"]
        for name, (smallest, certain) in kept.items():
            both = sure & certain
            assert torch.equal(smallest[both], reference[both]), name
        found[str(count)] = {name: {"ms": 1000 * min(times[name]), "left": left[name]} for name in SELECTIONS}
    return found


def main() -> None:
    """Measure every setting in a process of its own, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, nargs="+", default=[441, 784, 1764])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--inner", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inner:
        print(json.dumps(inner(options.tokens, options.repeats)))
        return
    record, rows = {}, []
    again = [sys.executable, __file__, "--inner", "--repeats", str(options.repeats), "--tokens"]
    again += [str(count) for count in options.tokens]
    for name, variables in SETTINGS.items():
        told = subprocess.run(again, env=os.environ | variables, check=True, capture_output=True, text=True).stdout
        record[name] = json.loads(told.splitlines()[-1])
        for count, by_selection in record[name].items():
            for selection, one in by_selection.items():
                rows.append((name, count, selection, f"{one['ms']:.2f}", f"{one['left']:.2f} %"))
    told = {"benchmark": "pruning", "milliseconds_a_block": record, "floats_a_block": BLOCK["cpu"]}
    report(rows, {**told, "columns": COLUMNS})


if __name__ == "__main__":
    main()

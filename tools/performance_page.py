"""docs/performance.md from what `tools/performance.py` has measured. Nothing is measured here."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from fits import bend, slope
from sweeps import SWEEPS, Sweep

ROOT = Path(__file__).resolve().parents[1]
MEASURED = ROOT / "benchmarks" / "measured"
Records = Mapping[str, dict[str, Any]]  # by name of their files

TITLES = {
    "speed": "Against the published pipeline, written down plainly",
    "speed-avx2": "The same, with libraries held to AVX2",
    "line": "The straight line against a textbook loop",
    "feedback": "What feedback costs",
    "purify": "What purification costs",
    "evaluate": "A whole evaluation against its network alone",
    "label": "Labelling many photos",
    "methods": "Every method side by side",
    "engines": "Engines side by side",
    "pruning": "Exact selection in pruning",
    "large": "Large photos with many classes",
}
ABOUT = {
    "speed": """\
`benchmarks/textbook.py` is FSA on ProxyCLIP with DINO ViT-B/8 as it was published: one window at a time, float32, every
matrix stored. VOC21's row, photos of 500x375, 21 classes. Its products are torch's own, MKL's; ours in float32, and the
matrix rate, are oneDNN's ([engines](engines.md#eager)), from which processors of other makers than MKL's gain most.""",
    "speed-avx2": """\
Not a processor without AVX-512, but its instructions, on both sides: torch, oneDNN, MKL and numpy are told to use
nothing newer, and the default is float32 there. ONNX Runtime cannot be told, so that `--engine int8` was not measured
on AVX2.""",
    "line": """\
One 500x375 photo, ViT-B/16, SCLIP, 6 windows of 224. The textbook runs one window at a time, stores every attention
matrix and every full-size map.""",
    "feedback": """\
FSA on ProxyCLIP with DINO ViT-B/8 at 336 pixels. The textbook's feedback holds an N x N x Q tensor, sorts whole rows
and multiplies N x N matrices per head.""",
    "purify": "SFP against plain CLIP, the same photo and windows.",
    "evaluate": "Photos of 500x375; reading, deciding, counting and writing beside the network's own time.",
    "label": "Photos of 500x375 for time; small photos with the bundled model for memory.",
    "methods": """\
One 500x375 photo by each method's VOC21 row, 21 classes, float32. Rows cut the photo differently, so that times compare
what their papers publish, not attentions alone. ViT-B/16; DINO ViT-B/8 with proxyclip and corrclip, ViT-B/16 with lposs
and trident; SAM ViT-B; 24 regions where masks are at hand, which are not made in this time.""",
    "engines": """\
CLIP ViT-B/16 before its last block and DINO ViT-B/8, two windows of 336 pixels; all take turns. What each is:
[engines](engines.md). "Off by" is the norm of the difference from `eager` over that of its numbers, with random
weights; labels are those of the bundled model on drawn scenes. "Ready" counts opening both networks, the compiling of
`compile` and OpenVINO, and writing files where the cache had none.""",
    "pruning": """\
The smallest similarity that a row keeps, found in different ways, exact in all: 8 windows, a block of rows at a time,
one thread, the least of the repeats. What float32 is not certain of is left, and asked in float64. "Numpy without" has
no vectorised sort (`NPY_DISABLE_CPU_FEATURES`), "both without" has a torch without AVX-512 and AVX2, too. segloop takes
numpy's sort where it is vectorised, else bins.""",
    "large": """\
`segloop segment` by its defaults with the bundled model, the most memory that its process took, one thread. The bar is
4 GB with 171 words.""",
}
HEAD = """\
# Performance

An attention is an operator on values, never a stored matrix per head; FSA composes operators
(`new(old(v)) + old(new(v)) + new(v)`), so that no N³ product can even be written down. Windows of several photos share
batches. Upsampling, overlap averaging and the resize to the photo are one matrix per axis, so that labels are decided
by strips that stay in the processor's cache, and 847 classes on a large photo take hardly more memory than two.

`segloop bench` says where the time of one photo goes, for any method, CLIP, guide, photo and number of words: seconds
of every step, its arithmetic rate beside that of a large matrix product on the same machine, and memory.

```bash
segloop bench --clip tiny --size 96x128 --queries 21 --repeats 1
```

The encoders can also run on ONNX Runtime, in float32 or 8 bits, or on torch.compile: [engines](engines.md).

This page is made by one command, which goes on where it was stopped, from the records in `benchmarks/measured/`:

```bash
.venv/bin/python tools/performance.py
```

Weights are random, at true size, where nothing else is said. Ratios are measured side by side in one run, both sides in
turns; intervals hold the median of the rounds in 95 % of cases. Whether something has become slower is asked by
`python benchmarks/guard.py`, which compares such ratios with `benchmarks/record.json`.
"""
GROWTH = """\
The slope is the exponent of a straight line through all points on logarithmic axes (1 is proportional, 0 does not
grow); beside it what ten times as much costs. A bend is where two lines fit far better than one, with both slopes.
Every point is a process of its own, so that its peak of memory is its own; memory is what it takes at most above what
it held with its networks open."""
TAIL = """\
## On a GPU

Nothing on this page was measured on a GPU.

## Two commands at once

Threads that spin while they wait take the processor from other processes. The command line sets
`OMP_WAIT_POLICY=passive` where you have not chosen: two `segloop segment` of three scenes side by side take 6.8 s each
on two cores of an AMD EPYC (AVX-512, bfloat16), with `active` 11.8 s; one alone takes 6.4 s with `active`, about the
same without (2026-11-30).
"""


def read(folder: Path = MEASURED) -> dict[str, dict[str, Any]]:
    """All records of a folder by the names of their files."""
    return {file.stem: json.loads(file.read_text("utf-8")) for file in sorted(folder.glob("*.json"))}


def page(records: Records) -> str:
    """The whole file."""
    swept = [(sweep, records[f"sweep-{sweep.key}"]) for sweep in SWEEPS if f"sweep-{sweep.key}" in records]
    known = [name for name in TITLES if name in records]
    others = [name for name in records if name not in TITLES and not name.startswith("sweep-")]
    parts = [HEAD, *(benchmark(name, records[name]) for name in (*known, *others))]
    parts += [growth(swept), *(sweep_part(sweep, record) for sweep, record in swept), TAIL]
    return "\n".join(parts)


def source(record: Mapping[str, Any]) -> str:
    """What every figure names: command, day, machine."""
    machine = record["machine"]
    kind = f", {machine['class']}" if machine.get("class") else ""
    count = machine["threads"]
    on = f"{count} thread{'s' * (count != 1)} of {machine['cpu']}{kind}, torch {machine['torch']}"
    return f"`{record['command']}`, {record['date']}, {on}."


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(str(cell).strip() for cell in line)} |" for line in lines)


def benchmark(name: str, record: Mapping[str, Any]) -> str:
    """A benchmark's lines as it printed them, or as its record has them in columns of its own."""
    title, about = TITLES.get(name, name), record.get("about", ABOUT.get(name, ""))
    parts = [f"## {title}", about, table(record.get("columns", ["what", "figure"]), record["rows"])]
    parts += [record.get("note", ""), source(record)]
    return "\n\n".join(part for part in parts if part) + "\n"


# sweeps ----------------------------------------------------------------------------------------------------


def growth(swept: Sequence[tuple[Sweep, Mapping[str, Any]]]) -> str:
    """All sweeps in one table."""
    missing = [sweep.title for sweep in SWEEPS if sweep.key not in {one.key for one, _ in swept}]
    parts = [
        "## How time and memory grow",
        GROWTH,
    ]
    if swept:
        columns = ["what grows", "from, to", "time: slope", "time: bend", "memory: slope", "memory: bend"]
        parts += [table(columns, [summary(sweep, record) for sweep, record in swept])]
    if missing:
        parts += ["Not measured yet:\n\n" + "\n".join(f"- {title}" for title in missing)]
    return "\n\n".join(parts) + "\n"


def points(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Points in order: x, medians over rounds of seconds and memory, least and most seconds."""
    found = [
        {
            "x": rounds[0]["x"],
            "seconds": median(one["seconds"] for one in rounds),
            "least": min(one["seconds"] for one in rounds),
            "most": max(one["seconds"] for one in rounds),
            "above": median(one["above_mib"] for one in rounds),
            "held": median(one["held_mib"] for one in rounds),
        }
        for rounds in record["points"].values()
    ]
    return sorted(found, key=lambda one: one["x"])


def summary(sweep: Sweep, record: Mapping[str, Any]) -> list[str]:
    """Its row of the table of all."""
    found = points(record)
    x = [one["x"] for one in found]
    ends = f"{number(x[0])} to {number(x[-1])} {sweep.axis}"
    return [
        sweep.title,
        ends,
        *fitted(x, [one["seconds"] for one in found]),
        *fitted(x, [one["above"] for one in found]),
    ]


def fitted(x: Sequence[float], y: Sequence[float]) -> tuple[str, str]:
    """Slope, and bend, in words."""
    if len(x) < 2 or min(y) <= 0:
        return "-", "-"
    exponent, bent = slope(x, y), bend(x, y)
    where = f"at {number(bent[0])}: {bent[1]:.2f}, then {bent[2]:.2f}" if bent else "none"
    return f"{exponent:.2f}: ×{10**exponent:.3g} a decade", where if len(x) >= 4 else "too few points"


def sweep_part(sweep: Sweep, record: Mapping[str, Any]) -> str:
    """Its own table."""
    columns = [sweep.axis, "seconds", "least to most", "MiB above", "MiB with networks open"]
    rows = [
        [
            number(one["x"]),
            seconds(one["seconds"]),
            f"{seconds(one['least'])} to {seconds(one['most'])}",
            f"{one['above']:.0f}",
            f"{one['held']:.0f}",
        ]
        for one in points(record)
    ]
    rounds = sorted({len(one) for one in record["points"].values()})
    many = " to ".join(str(count) for count in dict.fromkeys((rounds[0], rounds[-1])))
    told = f"{'One round' if many == '1' else f'Medians of {many} rounds'}. {source(record)}"
    return "\n\n".join([f"### {sweep.title}", sweep.about, table(columns, rows), told]) + "\n"


def number(value: float) -> str:
    """Three digits that count, or a whole number."""
    return f"{value:.0f}" if value >= 100 or value == round(value) else f"{value:.3g}"


def seconds(value: float) -> str:
    """Three digits that count."""
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"

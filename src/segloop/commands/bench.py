"""`segloop bench`: where the time of one photo goes, step by step."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..common import console
from ..common.console import friendly
from ..errors import OptionError
from . import options
from .taking import taking

if TYPE_CHECKING:
    from ..line.segmenter import Segmenter

EXAMPLE = "segloop bench photo.jpg --clip tiny --queries 21"
MOST_SIDE = 16384


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Options of `segloop bench`."""

    photo: Annotated[str | None, typer.Argument(metavar="[PHOTO]", help="A file; without one, a drawn picture.")] = None
    size: Annotated[str, typer.Option("--size", help="Height x width of the drawn picture.")] = "375x500"
    queries: Annotated[int, typer.Option("--queries", min=1, max=100_000, help="Words, as rows by chance.")] = 21
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Medians are taken over so many.")] = 5
    threads: options.Threads = None
    networks: options.Networks
    batch: options.Batch = None
    json_lines: options.Json = False
    debug: options.Debug = False


@taking(Asked)
def bench(asked: Asked) -> None:
    """Time every step of a photo's way, with its arithmetic rate and memory; a table, then one JSON line."""
    with friendly(asked.debug):
        source = asked.photo or _drawn(asked.size)
        segmenter = asked.networks.open(asked.batch, options.overrides(asked.networks.sets), asked.threads)
        record = _measured(segmenter, source, asked)
        if not options.as_lines([record], asked.json_lines):
            _show(record)
            options.as_lines([record], True)


def _drawn(size: str) -> Any:
    import numpy as np

    height, cross, width = size.partition("x")
    sides = [int(side) for side in (height, width) if side.isdigit()]
    if not cross or len(sides) != 2 or not all(1 <= side <= MOST_SIDE for side in sides):
        raise OptionError(f"size {size!r}", f"write height x width, such as 375x500, sides of 1 to {MOST_SIDE} pixels")
    y, x = np.mgrid[: sides[0], : sides[1]] / 50
    waves = np.stack([np.sin(x + y), np.cos(x * 1.3), np.sin(y * 0.7 - x)], -1)
    return ((waves + (waves > 0.5)) * 60 + 100).astype(np.uint8)


def _measured(segmenter: "Segmenter", source: Any, asked: Asked) -> dict[str, Any]:
    """One line: the machine, the line's settings, every step, the whole, and shares of what is possible."""
    import torch
    from torch.nn.functional import normalize

    from ..line.gauges import matrix_rate
    from ..line.timed import Way, timed
    from ..results.segmentation import encode_png
    from ..runs.machine import machine
    from ..words.vocabulary import Vocabulary

    clip = segmenter.clip
    rows = normalize(torch.randn(asked.queries, clip.width, generator=torch.Generator().manual_seed(0)), dim=-1)
    words = Vocabulary([f"word {number}" for number in range(asked.queries)], embeddings=rows)
    way = Way(segmenter, source, words, encode_png)
    found = timed(way, asked.repeats)
    rate = matrix_rate(clip.dtype, clip.device)
    assert way.photo is not None
    seconds = sum(cost.seconds for cost in found.values())
    steps = [
        {
            "step": name,
            "seconds": round(cost.seconds, 6),
            "share": round(cost.seconds / seconds, 4),
            "gflop_per_second": round(cost.operations / max(cost.seconds, 1e-9) / 1e9, 1),
            "of_matrix_rate": round(cost.operations / max(cost.seconds, 1e-9) / rate, 3),
            "peak_mib": None if cost.peak is None else round(cost.peak),
        }
        for name, cost in found.items()
    ]
    return {
        "photo": list(way.photo.target),
        "windows": len(way.photo.windows),
        "window": list(way.photo.where.window),
        "queries": asked.queries,
        "seconds": round(seconds, 6),
        "matrix_gflop_per_second": round(rate / 1e9, 1),
        "steps": steps,
        "settings": segmenter.describe(words),
        "machine": machine(),
        "threads": torch.get_num_threads(),
        "repeats": asked.repeats,
    }


def _show(record: dict[str, Any]) -> None:
    height, width = record["photo"]
    console.tell(
        f"{height}x{width} pixels, {record['windows']} windows of {'x'.join(map(str, record['window']))}, "
        f"{record['queries']} queries, {record['settings']['method']}, {record['settings']['dtype']}: "
        f"{record['seconds']:.3f} s; a matrix product does {record['matrix_gflop_per_second']} GFLOP/s here"
    )
    columns = ["step", "seconds", "share", "GFLOP/s", "of the product's", "peak MiB"]
    table = [
        [
            step["step"],
            f"{step['seconds']:.4f}",
            f"{step['share']:.0%}",
            f"{step['gflop_per_second']:.1f}",
            f"{step['of_matrix_rate']:.0%}",
            "-" if step["peak_mib"] is None else str(step["peak_mib"]),
        ]
        for step in record["steps"]
    ]
    console.table("Where the time goes", columns, table)

"""How many windows go together best here: measured once for each model, window, precision, device and threads."""

import hashlib
import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ..common.files import regular, write_whole
from ..errors import SegloopError, memory_ran_out
from ..words.embeddings import cache_root
from .segmenter import Segmenter

MANY = 200  # photos, from which on a measurement is a small part of the work
MOST = 128  # windows that are tried
SECONDS = 5.0  # after which no larger batch is tried
NEAR = 1.03  # times a batch's windows a second: what is not above is no gain
SLOWER = 0.85  # of the best: no larger batch will be better

Say = Callable[[str], None]


def measured(segmenter: Segmenter, photos: int, say: Say, clock: Callable[[], float] = time.perf_counter) -> Segmenter:
    """The same with the batch that is best here for so many photos; unchanged for few of which none is known.

    Only CLIP's tower is measured, so that all methods on it agree, and share what it says of a window. What was found
    is kept in segloop's cache folder; `say` is told of a new measurement.
    """
    about = _about(segmenter)
    place = _place(about)
    known = _read(place)
    if known is None and photos >= MANY:
        tower = segmenter.clip
        windows = torch.rand(1, 3, *about["window"], generator=torch.Generator().manual_seed(0)).to(tower.device)
        with torch.no_grad():
            known = fastest(lambda count: _through(tower, windows.expand(count, -1, -1, -1)), clock)
        say(f"measured here: {known} windows of {about['window'][0]} pixels go together; --batch sets another number")
        _keep(place, {"windows": known, **about})
    return segmenter if known is None else replace(segmenter, batch=known)


def fastest(run: Callable[[int], Any], clock: Callable[[], float] = time.perf_counter) -> int:
    """The smallest batch that is about as fast as any; `run(count)` does so many windows, and waits for them.

    The search ends where windows get slower, where memory runs out, and after SECONDS.
    """
    rates: dict[int, float] = {}
    count, begun = 1, clock()
    while count <= MOST and clock() - begun <= SECONDS:
        rate = _rate(run, count, clock)
        if rate is None:
            break
        rates[count] = rate
        if rate < SLOWER * max(rates.values()):
            break
        count *= 2
    best = max(rates.values(), default=0.0)
    return next((count for count, rate in rates.items() if NEAR * rate >= best), 1)


def _rate(run: Callable[[int], Any], count: int, clock: Callable[[], float]) -> float | None:
    """Windows a second, the faster of two runs behind a first one; None where memory runs out."""
    try:
        run(count)
        times = []
        for _ in range(2):
            start = clock()
            run(count)
            times.append(clock() - start)
    except Exception as error:
        if not memory_ran_out(error):
            raise
        return None
    return count / max(min(times), 1e-9)


def _through(tower: Any, pixels: torch.Tensor) -> float:
    x, _ = tower.tokens(pixels)
    return float(x.flatten()[0])  # waits for the device


def _about(segmenter: Segmenter) -> dict[str, Any]:
    """All that the best batch depends on."""
    tower, geometry, multiple = segmenter.clip, segmenter.plan.geometry, segmenter.network.multiple
    side = -(-(geometry.crop or geometry.short_side or geometry.long_side or 336) // multiple) * multiple
    device, weights = tower.device, sum(weight.numel() for weight in tower.model.parameters())
    return {
        "model": [type(tower).__name__, tower.depth, tower.patch, weights],
        "window": [side, side],
        "dtype": str(tower.dtype),
        "engines": list(segmenter.network.engines),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "kernels": torch.backends.cpu.get_cpu_capability(),
    }


def _place(about: dict[str, Any]) -> Path:
    name = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:32]
    return cache_root() / "batch" / f"{name}.json"


def _read(place: Path) -> int | None:
    """What was found before; None where there is no file, or none of ours."""
    try:
        found = json.loads(regular(place).read_text(encoding="utf-8"))["windows"]
    except (OSError, SegloopError, ValueError, LookupError, TypeError):
        return None
    return found if type(found) is int and 1 <= found <= MOST else None


def _keep(place: Path, found: dict[str, Any]) -> None:
    """Write it; where that cannot be, the next run measures again."""
    with suppress(SegloopError):
        write_whole(place, (json.dumps(found, sort_keys=True) + "\n").encode())

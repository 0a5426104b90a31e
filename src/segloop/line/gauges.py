"""What a step costs: seconds, arithmetic, memory; and what this machine could do at best."""

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from ..backbones.products import Linear
from ..common.products import onednn

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
PRODUCT = (2048, 768, 3072)  # rows, inner and outer width of the product that tells a machine's rate: a ViT-B's MLP


@dataclass(frozen=True)
class Cost:
    """Of one step."""

    seconds: float
    operations: int  # multiplications and additions of products, convolutions and attention
    peak: float | None  # MiB that the process held at most meanwhile, the device's on a GPU; None: not to be had


def cost(step: Callable[[], Any], device: torch.device) -> tuple[Cost, Any]:
    """Run a step once -> what it took, and what it gave. `operations` are left at 0; see `operations`."""
    _forget_peak(device)
    _wait(device)
    start = time.perf_counter()
    made = step()
    _wait(device)
    return Cost(time.perf_counter() - start, 0, _peak(device)), made


def operations(step: Callable[[], Any]) -> tuple[int, Any]:
    """Run a step once, slowly -> operations of its products, convolutions and attention, and what it gave."""
    on_cpu = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention}
    by_onednn = {torch.ops.mkldnn._linear_pointwise: _product} if onednn() else {}
    with FlopCounterMode(display=False, custom_mapping={**on_cpu, **by_onednn}) as counter:
        made = step()
    return counter.get_total_flops(), made


def _attention(query: Any, key: Any, value: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    return sdpa_flop_count(query, key, value)


def _product(x: Any, weight: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    return 2 * math.prod(x) * int(weight[0])


def large_product(dtype: torch.dtype, device: torch.device) -> Callable[[], Tensor]:
    """A product of PRODUCT's size, as networks have theirs."""
    rows, inner, outer = PRODUCT
    linear = Linear(inner, outer, bias=False, dtype=dtype, device=device).requires_grad_(False)
    x = torch.ones(rows, inner, dtype=dtype, device=device)
    return lambda: linear(x)


def matrix_rate(dtype: torch.dtype, device: torch.device, seconds: float = 0.5) -> float:
    """Operations a second of a large matrix product, the median over about `seconds`: what a network can hope for."""
    once = large_product(dtype, device)
    once()
    found: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(found) < 3:
        found.append(cost(once, device)[0].seconds)
    return 2 * math.prod(PRODUCT) / statistics.median(found)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _forget_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        CLEAR.write_text("5")
    except OSError:  # not Linux, or not allowed
        return


def _peak(device: torch.device) -> float | None:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        lines = STATUS.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), None)

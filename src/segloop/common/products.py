"""Large products in float32 on x86 processors: by oneDNN, which torch carries and keeps for other uses.

torch takes MKL's, which stays with AVX2's instructions on processors of other makers than its own. oneDNN's differ from
them in the order of sums, and take half of the time where there is AVX-512. Nothing is learnt through them.
"""

import platform
from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

LEAST = 2**17  # numbers of the right side; calling oneDNN costs 20 microseconds, which smaller ones do not earn
Product = Callable[..., Tensor]


@cache
def onednn() -> Product | None:
    """The product of oneDNN, where this torch and this processor have one that works, else None."""
    if platform.machine().lower() not in ("x86_64", "amd64") or not torch.backends.mkldnn.is_available():
        return None
    try:
        found: Product = torch.ops.mkldnn._linear_pointwise.default
        x, weight = torch.arange(6.0).view(2, 3), torch.arange(12.0).view(4, 3)
        works = torch.equal(_by(found, x, weight), F.linear(x, weight))
    except Exception:  # an operator that torch keeps for its compiler, and may name otherwise one day
        return None
    return found if works else None


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """As `torch.nn.functional.linear`, x weight^T + bias: (..., in), (out, in), (out) -> (..., out).

    By oneDNN for float32 on a processor, by torch otherwise and where a gradient is asked for; raises what torch raises
    for shapes that do not fit.
    """
    product = _fitting(x, weight) if x.shape[-1] == weight.shape[-1] else None  # whose error says what does not fit
    return _by(product, x, weight, bias) if product else F.linear(x, weight, bias)


def matmul(left: Tensor, right: Tensor) -> Tensor:
    """As `left @ right`: (r, n), (n, c) -> (r, c), or samples of them, (B, r, n), (B, n, c) -> (B, r, c)."""
    product = _fitting(left, right)
    pairs = left.ndim == right.ndim and left.shape[:-2] == right.shape[:-2] and left.shape[-1] == right.shape[-2]
    if product is None or not pairs:
        return left @ right
    if left.ndim == 2:
        return _by(product, left, right.mT)
    if len(left) == 1:
        return _by(product, left[0], right[0].mT)[None]
    made = left.new_empty(*left.shape[:-1], right.shape[-1])
    for number, (rows, columns) in enumerate(zip(left, right, strict=True)):
        made[number] = _by(product, rows, columns.mT)
    return made


def _fitting(left: Tensor, right: Tensor) -> Product | None:
    """The product of oneDNN where these are for it; compilers, and what writes networks down, see torch's own."""
    if torch.compiler.is_compiling() or left.requires_grad or right.requires_grad:
        return None
    on_cpu = left.device.type == "cpu" and {left.dtype, right.dtype} == {torch.float32}
    large = right.ndim >= 2 and right.shape[-2] * right.shape[-1] >= LEAST
    return onednn() if on_cpu and large else None


def _by(product: Product, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Rows have to lie side by side, and a weight as it is or transposed: others take oneDNN's slowest way."""
    dense = weight if weight.is_contiguous() or weight.mT.is_contiguous() else weight.contiguous()
    return product(x.contiguous(), dense, bias, "none", [], "")

"""Products of frozen networks in float32 on x86 processors: by oneDNN, which torch carries and keeps for other uses.

torch takes MKL's, which stays with AVX2's instructions on processors of other makers than its own. oneDNN's differ from
them in the order of sums, and take half of the time where there is AVX-512.
"""

import platform
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEAST = 2**17  # weights of a product; calling oneDNN costs 20 microseconds, which smaller ones do not earn
Product = Callable[..., Tensor]


@cache
def onednn() -> Product | None:
    """OneDNN's product, where this torch and this processor have one that works, else None."""
    if platform.machine().lower() not in ("x86_64", "amd64") or not torch.backends.mkldnn.is_available():
        return None
    try:
        found: Product = torch.ops.mkldnn._linear_pointwise.default
        x, weight = torch.arange(6.0).view(2, 3), torch.arange(12.0).view(4, 3)
        works = torch.equal(_by(found, x, weight, None), F.linear(x, weight))
    except Exception:  # an operator that torch keeps for its compiler, and may name otherwise one day
        return None
    return found if works else None


def _by(product: Product, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return product(x.contiguous(), weight, bias, "none", [], "")  # others than dense rows would take a slow way


class Linear(nn.Linear):
    """A product of a network that is only run: no gradient comes back through it."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out); as torch does it in other precisions, on other devices, and to be written down."""
        plain = torch.compiler.is_compiling() or x.requires_grad or x.device.type != "cpu"
        if plain or {x.dtype, self.weight.dtype} != {torch.float32} or not (product := onednn()):
            return F.linear(x, self.weight, self.bias)
        return _by(product, x, self.weight, self.bias)


def with_products(model: Any) -> Any:
    """The same model, whose large products are `Linear`."""
    for module in model.modules():
        if type(module) is nn.Linear and module.weight.numel() >= LEAST and module.weight.is_contiguous():
            module.__class__ = Linear
    return model

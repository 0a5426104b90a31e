"""Networks that give no numbers: found where they come out, with what made it so."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ..attention.tracing import traced
from ..errors import ModelError

HALVES = (torch.float16, torch.bfloat16)


def sound(smallest: Tensor, *parts: Tensor) -> bool:
    """Whether a number that must be above zero is, and all of `parts` are finite.

    A sum is NaN or infinite as soon as one of its parts is. One number comes out, so that a GPU is waited for once.
    A traced network holds no numbers to look at.
    """
    if traced():
        return True
    total = sum((part.sum() for part in parts), smallest.new_zeros(()))
    return bool((smallest > 0) & smallest.isfinite() & total.isfinite())


def unsound(name: str, weights: Mapping[str, Tensor], dtype: torch.dtype) -> ModelError:
    """The error for an output that is not `sound`: it names weights or precision, as far as the weights tell."""
    what = f"model {name!r} gives values that are not finite, or nothing but zeros"
    numbers = {key: weight for key, weight in weights.items() if weight.is_floating_point()}
    broken = {key: weight for key, weight in numbers.items() if not weight.isfinite().all()}
    if any(weight.isnan().any() for weight in broken.values()) or (broken and dtype not in HALVES):
        first = min(broken)
        return ModelError(f"{what}: {len(broken)} of its weights hold NaN or infinity, first {first}", "fetch it again")
    if not any(weight.any() for weight in numbers.values()):
        return ModelError(f"{what}: all its weights are zero, as after a download that did not end", "fetch it again")
    if dtype in HALVES:
        kind = str(dtype).removeprefix("torch.")
        return ModelError(f"{what}: they overflow in {kind}", 'use --dtype float32 (in Python dtype="float32")')
    remedy = "fetch the model again; with an attention of your own, see that it gives numbers"
    return ModelError(f"{what}, though its weights are finite", remedy)

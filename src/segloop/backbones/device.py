"""Where to compute and in which precision."""

import torch

from ..errors import OptionError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def pick_device(device: str | torch.device = "auto") -> torch.device:
    """ "auto" is the first of cuda, mps and cpu that is there. Raises OptionError for one that is not."""
    if isinstance(device, torch.device):
        return device
    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return torch.device(next(kind for kind, present in has.items() if present))
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise OptionError(f"unknown device {device!r}", "use auto, cpu, cuda, cuda:0 or mps") from None
    if not has.get(chosen.type, False) or (chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count()):
        raise OptionError(f"device {device!r} is not available here", "use --device auto or cpu")
    return chosen


def pick_dtypes(dtype: str | torch.dtype, device: torch.device, fidelity: str) -> tuple[torch.dtype, ...]:
    """What to compute in, the best first; what can overflow is followed by what cannot.

    "auto" is half precision where the hardware is fast at it, else float32; `reference` is always float32.
    float16 before bfloat16, whose labels agree less with float32's; a CPU is fast at bfloat16 only.
    Raises OptionError.
    """
    if isinstance(dtype, torch.dtype):
        dtype = str(dtype).removeprefix("torch.")
    if dtype not in ("auto", *DTYPES):
        raise OptionError(f"unknown dtype {dtype!r}", f"use auto, {', '.join(DTYPES)}")
    if fidelity == "reference":
        if dtype not in ("auto", "float32"):
            raise OptionError(f"reference fidelity with {dtype}", "leave dtype at auto or float32")
        return (torch.float32,)
    if dtype != "auto":
        return (DTYPES[dtype],)
    if device.type in ("cuda", "mps"):
        return torch.float16, torch.float32
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return (torch.bfloat16 if fast else torch.float32,)


def pick_dtype(dtype: str | torch.dtype, device: torch.device, fidelity: str) -> torch.dtype:
    """The first of `pick_dtypes`, untried."""
    return pick_dtypes(dtype, device, fidelity)[0]

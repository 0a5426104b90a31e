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


def pick_dtype(dtype: str | torch.dtype, device: torch.device, fidelity: str) -> torch.dtype:
    """ "auto" is half precision where the hardware is fast at it, else float32; `reference` is always float32."""
    if isinstance(dtype, torch.dtype):
        dtype = str(dtype).removeprefix("torch.")
    if dtype not in ("auto", *DTYPES):
        raise OptionError(f"unknown dtype {dtype!r}", f"use auto, {', '.join(DTYPES)}")
    if fidelity == "reference":
        if dtype not in ("auto", "float32"):
            raise OptionError(f"reference fidelity with {dtype}", "leave dtype at auto or float32")
        return torch.float32
    return DTYPES[dtype] if dtype != "auto" else _fast_dtype(device)


def _fast_dtype(device: torch.device) -> torch.dtype:
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(device)[0] >= 8 else torch.float16
    if device.type == "mps":
        return torch.float16
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if fast else torch.float32

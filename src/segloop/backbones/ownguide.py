"""A guide of your own, from a file: `--vision guide.py:features`."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..common.codefile import Own, own_of
from ..common.reach import Code
from ..errors import OptionError
from .vision import Adapter, Fidelity, Guide

FORM = "(B, 3, H, W) -> (B, rows, columns, C)"
ODD, FITTING = 2.0, 1.1  # factors between the sides of a grid and those of its window


def own_guide(
    place: str,
    device: torch.device,
    dtype: torch.dtype,
    fidelity: Fidelity = "default",
    feature: str = "tokens",
    offline: bool = False,
) -> Guide:
    """ "FILE.py:function" -> the function as a guide; the arguments of `load_guide`.

    Raises OptionError where the file or the function is missing, the file fails, or a feature is asked for.
    """
    if feature != "tokens":
        raise OptionError(f"a guide of your own has no feature {feature!r}", "leave vision_feature out")
    own = own_of(place, "vision", FORM)
    return Guide(None, own.name, Adapter("own", _unopened, OwnFeatures(own), resizes=True), torch.float32, fidelity)


@dataclass(frozen=True)
class OwnFeatures:
    """A function of the user's: windows (B, 3, H, W) float32, normalised as for ImageNet -> (B, rows, columns, C)."""

    own: Own

    @property
    def own_code(self) -> Code:
        """The code behind it."""
        return self.own.world.code

    def __call__(self, guide: Guide, pixels: Tensor, crop: int) -> Tensor:
        """(B, 3, H, W) -> (B, C, rows, columns) float32. Raises OptionError for whatever the function does wrong."""
        made, name = self.own.call("guide", self.own.value, pixels), self.own.name
        if not isinstance(made, Tensor):
            raise OptionError(f"guide {name} made {type(made).__name__}", f"return a tensor {FORM}")
        what = f"guide {name} made features {tuple(made.shape)} of windows {tuple(pixels.shape)}"
        if made.ndim != 4 or len(made) != len(pixels) or not made.numel() or _is_turned(made, pixels):
            raise OptionError(what, "return (B, rows, columns, C), channels last")
        if made.is_complex() or not made.isfinite().all():
            raise OptionError(f"guide {name} made numbers that are complex or not finite", "mend it")
        return made.movedim(-1, 1).to(pixels.device, torch.float32)


def _is_turned(made: Tensor, pixels: Tensor) -> bool:
    """Whether the channels come first: a grid far from the shape of its window, where the last two sides have it."""
    height, width = pixels.shape[-2:]
    first, second, third = made.shape[1:]

    def off(rows: int, columns: int) -> float:
        ratio = rows * width / (columns * height)
        return max(ratio, 1 / ratio)

    return first > height or (off(first, second) > ODD and off(second, third) < FITTING)


def _unopened(folder: str, config: dict[str, object], offline: bool) -> None:
    """There is no folder to open."""

"""Constants that every method has: how a photo is cut, what is kept around the attention, how cosines become labels.

Names are those of `Segmenter.from_pretrained(**overrides)`. A method's own constants are a record beside its code.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from ..common.records import constant, require

MOST_PIXELS = 32_768  # of a side after resizing
MOST_WINDOWS = 100_000  # of a photo
MOST_SCALE = 1e6  # far beyond, exponents leave what float32 holds
WHOSE = {  # parts of a plan -> whose constants they are, for people
    **dict.fromkeys(("geometry", "around", "deciding"), "every method"),
    "guidance": "guides",
    "purify": "purification (SFP)",
    "feedback": "feedback (FSA)",
}


@dataclass(frozen=True)
class Geometry:
    """How a photo is resized and cut into windows. Raises OptionError for values outside their range."""

    short_side: int = 336  # pixels, of the photo after resizing
    long_side: int = 2048  # pixels, a limit
    crop: int = constant(224, off=0)  # pixels, side of a window; 0: the whole photo at once
    stride: int = 112  # pixels between windows

    def __post_init__(self) -> None:
        require(1 <= self.short_side <= MOST_PIXELS, "short_side", self.short_side, f"1 to {MOST_PIXELS} pixels")
        sides = self.short_side <= self.long_side <= MOST_PIXELS
        require(sides, "long_side", self.long_side, f"short_side={self.short_side} to {MOST_PIXELS} pixels")
        require(self.crop >= 0, "crop", self.crop, "0 (whole photo) or a window's side in pixels")
        require(self.stride >= 1, "stride", self.stride, "at least 1 pixel")
        fits = self.crop == 0 or self.stride <= self.crop
        require(fits, "stride", self.stride, f"at most crop={self.crop}, or pixels are skipped")
        allowed = f"larger: a photo could be cut into {self.most_windows} windows, and {MOST_WINDOWS} are allowed"
        require(self.most_windows <= MOST_WINDOWS, "stride", self.stride, allowed)

    @property
    def most_windows(self) -> int:
        """How many windows a photo can have, whatever its shape."""
        sides = (self.short_side, self.long_side) if self.crop else ()
        return prod(-(-max(side - self.crop, 0) // self.stride) + 1 for side in sides)


@dataclass(frozen=True)
class Surroundings:
    """What of the ordinary last block is kept around the attention (spec 2.1)."""

    residual: bool = False  # add the block's input
    mlp: bool = False  # then run the block's MLP


@dataclass(frozen=True)
class Deciding:
    """How cosines become labels (spec 0.6, 5.1, 5.2). Raises OptionError for values outside their range."""

    logit_scale: float = 40.0  # multiplies cosines before the softmax
    background_threshold: float | None = None  # a best probability below it becomes class 0
    area_threshold: float | None = None  # a class with at most this share of the foreground is dropped

    def __post_init__(self) -> None:
        fine = 0 < self.logit_scale <= MOST_SCALE
        require(fine, "logit_scale", self.logit_scale, f"above 0, and finite: at most {MOST_SCALE:g}")
        for name in ("background_threshold", "area_threshold"):
            value = getattr(self, name)
            require(value is None or 0 <= value <= 1, name, value, "between 0 and 1, or none")


def said_of(parts: Sequence[str]) -> str:
    """Whose a setting is, by the parts of a plan that have it: ", of feedback (FSA)"; nothing for none."""
    return f", of {WHOSE.get(parts[0], parts[0])}" if parts else ""

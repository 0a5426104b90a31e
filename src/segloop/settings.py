"""The constants of a run, as one frozen record."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from .errors import OptionError, nearest


@dataclass(frozen=True)
class Settings:
    """Geometry and decision constants; the names are those of `Segmenter.from_pretrained(**overrides)`.

    Raises OptionError for values outside their range.
    """

    short_side: int = 336  # pixels, of the photo after resizing
    long_side: int = 2048  # pixels, a limit
    crop: int = 224  # pixels, side of a window; 0: the whole photo at once
    stride: int = 112  # pixels between windows
    logit_scale: float = 40.0  # multiplies cosines before the softmax
    background_threshold: float | None = None  # a best probability below it becomes class 0
    area_threshold: float | None = None  # a class with at most this share of the foreground is dropped
    pamr_steps: int = 0
    pamr_dilations: tuple[int, ...] = (8, 16)  # pixels
    residual: bool | None = None  # add the last block's input; None: as the method does
    mlp: bool | None = None  # run the last block's MLP; None: as the method does
    sigma: float = 5.0  # patches, NACLIP's neighbourhood

    def __post_init__(self) -> None:
        _check(self.short_side >= 1, "short_side", self.short_side, "at least 1 pixel")
        _check(self.long_side >= self.short_side, "long_side", self.long_side, f"at least short_side={self.short_side}")
        _check(self.crop >= 0, "crop", self.crop, "0 (whole photo) or a window's side in pixels")
        _check(self.stride >= 1, "stride", self.stride, "at least 1 pixel")
        fits = self.crop == 0 or self.stride <= self.crop
        _check(fits, "stride", self.stride, f"at most crop={self.crop}, or pixels are skipped")
        _check(self.logit_scale > 0, "logit_scale", self.logit_scale, "above 0")
        for name in ("background_threshold", "area_threshold"):
            value = getattr(self, name)
            _check(value is None or 0 <= value <= 1, name, value, "between 0 and 1, or none")
        _check(self.pamr_steps >= 0, "pamr_steps", self.pamr_steps, "0 (off) or more")
        dilations = bool(self.pamr_dilations) and min(self.pamr_dilations) >= 1
        _check(dilations, "pamr_dilations", self.pamr_dilations, "one or more distances of at least 1 pixel")
        _check(self.sigma > 0, "sigma", self.sigma, "above 0 patches")


OFF = {
    "background_threshold": None,
    "area_threshold": None,
    "pamr_steps": 0,
    "residual": False,
    "mlp": False,
    "crop": 0,
}
KINDS = {field.name: field.type for field in fields(Settings)}


def override(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """`settings` with some fields replaced; None switches a field off.

    Raises OptionError for an unknown name (naming the nearest), a wrong type, or a field that cannot be off.
    """
    ready: dict[str, Any] = {}
    for name, value in changes.items():
        if name not in KINDS:
            raise OptionError(f"unknown setting {name!r}", nearest(name, KINDS))
        ready[name] = _converted(name, value)
    return replace(settings, **ready)


def parse_assignments(assignments: list[str]) -> dict[str, Any]:
    """["stride=80", "background_threshold=none"] -> fields with their types. Raises OptionError."""
    return dict(_parse_assignment(text) for text in assignments)


def _parse_assignment(text: str) -> tuple[str, Any]:
    name, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not value:
        raise OptionError(f"setting {text!r} has no value", "write --set field=value, such as --set stride=80")
    if value.lower() in ("none", "off"):
        return name, None
    if value.lower() in ("true", "on", "false"):
        return name, value.lower() != "false"
    try:
        numbers = tuple(float(part) if "." in part or "e" in part.lower() else int(part) for part in value.split(","))
    except ValueError:
        return name, value
    return name, numbers if "," in value else numbers[0]


def _converted(name: str, value: Any) -> Any:
    kind = str(KINDS[name])
    if value is None:
        if name not in OFF:
            raise OptionError(f"setting {name!r} cannot be off", "give it a value")
        return OFF[name]
    if "bool" in kind:
        fine = isinstance(value, bool)
    elif "tuple" in kind:
        value = tuple(value) if isinstance(value, (tuple, list)) else (value,)
        fine = all(isinstance(item, int) for item in value)
    elif "int" in kind:
        fine = isinstance(value, int) and not isinstance(value, bool)
    else:
        fine = isinstance(value, (int, float)) and not isinstance(value, bool)
        value = float(value) if fine else value
    if not fine:
        words = {"bool": "true or false", "tupl": "whole numbers joined by commas", "int": "a whole number"}
        wanted = next((word for start, word in words.items() if start in kind), "a number")
        raise OptionError(f"setting {name}={value!r}", f"give {wanted}")
    return value


def _check(fine: bool, name: str, value: object, allowed: str) -> None:
    if not fine:
        raise OptionError(f"{name}={value!r} is not possible", f"it must be {allowed}")

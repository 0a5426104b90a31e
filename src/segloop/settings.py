"""The constants of a run as frozen records, and how options change them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

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
    beta: float = 1.2  # ProxyCLIP: similarities below beta times their mean are masked
    gamma: float = 3.0  # ProxyCLIP: what similarities are multiplied with
    vision_feature: str = "tokens"  # of the guide: tokens, q, k or v

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
        _check(self.gamma > 0, "gamma", self.gamma, "above 0")
        feature = self.vision_feature in ("tokens", "q", "k", "v")
        _check(feature, "vision_feature", self.vision_feature, "tokens, q, k or v")


OFF: dict[str, Any] = {  # what None means for a field; other fields cannot be off
    "background_threshold": None,
    "area_threshold": None,
    "pamr_steps": 0,
    "residual": False,
    "mlp": False,
    "crop": 0,
    "third_term": None,
    "isolation": False,
    "detector": "none",
    "repair": "none",
    "integrate": "none",
}

KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {  # of a field's annotation: what to give, and the check
    "tuple[int": ("whole numbers joined by commas", lambda value: all(type(item) is int for item in value)),
    "tuple[float": ("numbers joined by commas", lambda value: all(type(item) in (int, float) for item in value)),
    "tuple[str": ("words joined by commas", lambda value: all(isinstance(item, str) for item in value)),
    "bool": ("true or false", lambda value: isinstance(value, bool)),
    "float": ("a number", lambda value: isinstance(value, float)),
    "int": ("a whole number", lambda value: type(value) is int),
    "str": ("a word", lambda value: isinstance(value, str)),
}

Record = TypeVar("Record")


def override(record: Record, changes: Mapping[str, Any]) -> Record:
    """A frozen record with some fields replaced; None switches a field off.

    Raises OptionError for an unknown name (naming the nearest), a wrong type, or a field that cannot be off.
    """
    kinds = {field.name: str(field.type) for field in fields(record)}  # type: ignore[arg-type]
    unknown = next((name for name in changes if name not in kinds), None)
    if unknown is not None:
        raise OptionError(f"unknown setting {unknown!r}", nearest(unknown, kinds))
    ready = {name: _converted(name, kinds[name], value) for name, value in changes.items()}
    return replace(record, **ready)  # type: ignore[type-var]


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
    parts = tuple(_number(part.strip()) for part in value.split(","))
    return name, parts if "," in value else parts[0]


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _converted(name: str, kind: str, value: Any) -> Any:
    if value is None:
        if name not in OFF:
            raise OptionError(f"setting {name!r} cannot be off", "give it a value")
        return OFF[name]
    if "tuple" in kind and not isinstance(value, tuple):
        value = tuple(value) if isinstance(value, list) else (value,)
    if "float" in kind and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    words, accepts = next(row for start, row in KINDS.items() if start in kind)
    if not accepts(value):
        raise OptionError(f"setting {name}={value!r}", f"give {words}")
    return value


def _check(fine: bool, name: str, value: object, allowed: str) -> None:
    if not fine:
        raise OptionError(f"{name}={value!r} is not possible", f"it must be {allowed}")

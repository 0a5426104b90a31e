"""Every constant of the three sides, so that a page is a record."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .look import Inspection


@dataclass(frozen=True)
class Constant:
    """One constant of host, FSA and SFP; None for a side that has none."""

    name: str
    values: tuple[str | None, ...]
    differs: bool


def constants(found: Inspection) -> tuple[Constant, ...]:
    """What `Segmenter.describe` says of the three sides, constant by constant."""
    sides = {name: dict(_flat(settings)) for name, settings in found.settings.items()}
    names = dict.fromkeys(name for side in sides.values() for name in side)
    return tuple(_constant(name, tuple(side.get(name) for side in sides.values())) for name in names)


def _constant(name: str, values: tuple[str | None, ...]) -> Constant:
    return Constant(name, values, differs=len({value for value in values if value is not None}) > 1)


def _flat(settings: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", _text(value)


def _text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:.6g}"
    return ", ".join(map(_text, value)) if isinstance(value, (list, tuple)) else str(value)

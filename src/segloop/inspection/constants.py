"""The last part of the page: every constant of the three sides, so that a page is a record."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from .blocks import Sources
from .look import Inspection


def constants(found: Inspection, sources: Sources) -> str:
    """A table of `Segmenter.describe`: a line a constant, a column a side; what differs stands out."""
    sides = {name: dict(_flat(settings)) for name, settings in found.settings.items()}
    names = dict.fromkeys(name for side in sides.values() for name in side)
    rows = "".join(_row(name, [side.get(name) for side in sides.values()]) for name in names)
    return f"""<h2>Constants</h2>
<details><summary>{len(names)} constants of host, FSA and SFP</summary>
<div class="scroll"><table class="constants">
<tr><th>Constant</th><th>Host</th><th>FSA</th><th>SFP</th></tr>{rows}</table></div></details>"""


def _row(name: str, values: list[str | None]) -> str:
    shown = [value for value in values if value is not None]
    differs = ' class="other"' if len(set(shown)) > 1 else ""
    cells = "".join(f"<td{differs}>{'–' if value is None else escape(value)}</td>" for value in values)
    return f"<tr><td>{escape(name)}</td>{cells}</tr>"


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

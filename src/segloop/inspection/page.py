"""One self-contained page: pictures inside, no network, readable without its script, in light and dark."""

import json
from base64 import b64encode
from collections.abc import Mapping
from html import escape
from pathlib import Path

import numpy as np

from .blocks import facts, maps, scores
from .closeup import points, tokens
from .colours import PARTING, RISING
from .constants import constants
from .look import Inspection

HERE = Path(__file__).parent
FIGURES = 4  # digits of the numbers under the crosshair


def page(found: Inspection, pngs: Mapping[str, bytes]) -> str:
    """The page of an inspection; `pngs` are its pictures by name, which are written into it."""
    name = Path(found.photo.source or "photo").name
    sources = {key: f"data:image/png;base64,{b64encode(data).decode()}" for key, data in pngs.items()}
    gradients = "".join(
        f"--{kind}:linear-gradient(90deg,{','.join(f'rgb{stop}' for stop in stops)});"
        for kind, stops in (("rising", RISING), ("parting", PARTING))
    )
    style = f":root{{{gradients}}}\n{(HERE / 'page.css').read_text(encoding='utf-8')}"
    body = "\n".join(part(found, sources) for part in (facts, maps, points, tokens, scores, constants))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(name)} – segloop inspect</title>
<link rel="icon" href="data:,">
<style>
{style}</style>
</head>
<body>
<main>
{body}
<footer>Numbers of this page: {escape(Path(name).stem)}.inspect.json. The same command makes the same page.</footer>
</main>
<script type="application/json" id="values">{json.dumps(_values(found))}</script>
<script>
{(HERE / "page.js").read_text(encoding="utf-8")}</script>
</body>
</html>
"""


def _values(found: Inspection) -> dict[str, dict[str, list[float]]]:
    """What the crosshair tells, by group of pictures: a number for each patch."""
    told = {}
    for number, seen in enumerate(found.seen, start=1):
        rows = {"A": seen.host.mean(0), "A*": seen.fed.mean(0), "s": seen.similarity, "A⁺": seen.new}
        told[f"point-{number}"] = {name: _short(row) for name, row in rows.items()}
    for item in found.tokens:
        norms = {"norm": item.before, "repaired": item.after}
        told[f"window-{item.window.number}"] = {name: _short(values) for name, values in norms.items()}
    return told


def _short(values: np.ndarray) -> list[float]:
    return [float(f"{value:.{FIGURES}g}") for value in values.tolist()]

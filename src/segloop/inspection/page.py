"""One self-contained page: pictures inside, no network, readable without its script, in light and dark."""

from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..common.pages import filled
from .closeup import formula, norms, points, rule
from .colours import PARTING, RISING
from .constants import constants
from .look import Inspection
from .overview import maps, scores, summary
from .words import number

FIGURES = 4  # digits of the numbers under the crosshair


def page(found: Inspection, pngs: Mapping[str, bytes]) -> str:
    """The page of an inspection; `pngs` are its pictures by name, which are written into it."""
    return filled(
        Path(__file__).parent,
        pictures={name: f"data:image/png;base64,{b64encode(data).decode()}" for name, data in pngs.items()},
        gradients={"rising": RISING, "parting": PARTING},
        summary=summary(found),
        maps=maps(found),
        formula=formula(found),
        lambda_=number(found.settings["fsa"]["feedback"]["lambda_"]),
        points=points(found),
        rule=rule(found),
        norms=[norms(item) for item in found.tokens],
        scores=scores(found),
        constants=constants(found),
        values=_values(found),
    )


def _values(found: Inspection) -> dict[str, dict[str, list[float]]]:
    """What the crosshair tells, by group of pictures: a number for each patch."""
    told = {}
    for place, seen in enumerate(found.seen, start=1):
        rows = {"A": seen.host.mean(0), "A*": seen.fed.mean(0), "s": seen.similarity, "A⁺": seen.new}
        told[f"point-{place}"] = {name: _short(row) for name, row in rows.items()}
    for item in found.tokens:
        kinds = {"norm": item.before, "repaired": item.after}
        told[f"window-{item.window.number}"] = {name: _short(values) for name, values in kinds.items()}
    return told


def _short(values: np.ndarray) -> list[float]:
    return [float(f"{value:.{FIGURES}g}") for value in values.tolist()]

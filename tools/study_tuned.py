"""Constants chosen on scenes of their own, for docs/study.md: each point of a grid is a run, the best mIoU is taken."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from drawn import Case, Done, finished, gain, told
from study import ABLATED, SEED, case

TUNING, COUNT = SEED + 1, 100  # seed and number of the scenes that choose
LAMBDAS, MASSES = (0.5, 1.0, 2.0, 3.0, 6.0), (0.3, 0.45, 0.8)
GAMMAS, BETAS = (3.0, 10.0, 30.0), (0.8, 0.9, 1.0, 1.2)
LIKENESSES, RESIDUALS = (0.2, 0.4, 0.6, 0.8, 0.9), (0.0, 0.3)


@dataclass(frozen=True)
class Grid:
    """What is tuned on a host: the run with published constants, the host, and the values that are tried."""

    name: str  # of the tuned run
    published: str  # the run that it is compared with
    host: str
    what: str
    options: dict[str, Any]
    values: dict[str, tuple[Any, ...]]

    def points(self) -> Iterator[Case]:
        """One run for each combination of values."""
        for combination in product(*self.values.values()):
            changes = dict(zip(self.values, combination, strict=True))
            told_values = "-".join(f"{value:g}" for value in combination)
            yield case(
                f"{self.name}-{told_values}", self.host, self.published, self.what, "tuned", self.options, changes
            )

    def best(self, work: Path) -> Done | None:
        """The point with the highest mIoU on the scenes that choose; None until all have ended."""
        done = [finished(point, tuning(work)) for point in self.points()]
        return None if None in done else max((one for one in done if one), key=lambda one: one.mean)


def tuning(work: Path) -> Path:
    """The folder of the scenes that choose, and of their runs."""
    return work / "tuning"


def grids() -> Iterator[Grid]:
    """Feedback and purification on three hosts, and what the guided host makes of its guide."""
    feedback = {"lambda_": LAMBDAS, "mass": MASSES}
    likeness = {"similarity_threshold": LIKENESSES, "class_residual": RESIDUALS}
    for host in ABLATED:
        yield Grid(f"{host}+fsa,tuned", f"{host}+fsa", host, "FSA", {"host": host}, feedback)
        sfp = {"method": "sfp", "host": host}
        yield Grid(f"{host}+sfp,tuned", f"{host}+sfp-som", host, "SFP", sfp, likeness)
    guide = {"gamma": GAMMAS, "beta": BETAS}
    yield Grid("proxyclip,tuned", "proxyclip", "proxyclip", "the guide's mask", {"method": "proxyclip"}, guide)


def tuned_cases(work: Path) -> Iterator[Case]:
    """The chosen constants on the study's own scenes, and feedback on the guided host that was tuned."""
    for grid in grids():
        if (best := grid.best(work)) is None:
            continue
        changes = dict(best.case.changes)
        yield case(grid.name, grid.host, grid.published, f"{grid.what}, tuned", "tuned", grid.options, changes)
        if grid.host == grid.published:
            name = f"{grid.name}+fsa"
            yield case(name, grid.host, grid.name, "FSA on it", "tuned", {"host": grid.host}, changes)


def tuned_table(done: dict[str, Done], work: Path) -> list[str]:
    """What was chosen, and what it gains on the published constants and on the host, on scenes that did not choose."""
    lines = [
        f"Chosen on {COUNT} other scenes (seed {TUNING}), judged on the study's:",
        "",
        "| host | what | tried | chosen | mIoU | gains on the published constants | gains on the host |",
        "|---|---|---|---|---|---|---|",
    ]
    for grid in grids():
        if (one := done.get(grid.name)) is None:
            continue
        chosen = ", ".join(f"{key.rstrip('_')} {value:g}" for key, value in one.case.changes.items())
        tried, gained = len(list(grid.points())), [told(gain(done, grid.name, base)) for base in _bases(grid)]
        lines.append(f"| `{grid.host}` | {grid.what} | {tried} | {chosen} | {one.score} | {' | '.join(gained)} |")
        if (fed := done.get(f"{grid.name}+fsa")) is not None:
            on_it = told(gain(done, fed.case.name))
            lines.append(f"| `{grid.host}` | FSA as published on the row above | - | - | {fed.score} | {on_it} | - |")
    return lines


def _bases(grid: Grid) -> tuple[str, str]:
    return grid.published, grid.host

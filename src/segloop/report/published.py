"""Published figures beside our own, as packaged data: none of them was measured by this project."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from . import names
from .cells import Cell, Column, Notes, Table, table
from .grouping import Row, host_of, rows_of
from .protocol import deviations
from .runs import Run
from .tables import AVERAGE, OF_MARKED, OTHER_IMAGES, mean_of_eight

NO_GUIDE = "the published table does not name the guide"
UNKNOWN = "no published figure"


@dataclass(frozen=True)
class Paper:
    """Where figures come from."""

    key: str
    title: str
    note: str | None = None
    reconstructed: bool = False


@dataclass(frozen=True)
class Figures:
    """One row of a published table, mIoU in percent."""

    source: Paper
    method: str  # the host's key
    title: str
    backbone: str
    feedback: bool  # whether it is the +FSA row
    experts: bool  # whether templates are experts (FLOSS)
    guide: str | None  # None: it takes none, or the table does not say which
    uses: tuple[str, ...]  # other models
    mIoU: dict[str, float]  # by data set
    average: float | None  # as printed


@cache
def published() -> tuple[Figures, ...]:
    """All rows that this package carries."""
    raw = json.loads(files(__package__).joinpath("published.json").read_text(encoding="utf-8"))
    sources = {key: Paper(key, **facts) for key, facts in raw["sources"].items()}
    return tuple(_figures(row, sources) for row in raw["figures"])


def against_published(runs: Sequence[Run], digits: int = 1) -> Table:
    """Each run beside the published figure of its method, backbone and data set: host, +FSA and delta.

    What keeps a run from being comparable stands in its footnotes; a run without a published figure has a line too.
    """
    keys = names.column_keys(list(runs))
    groups = rows_of(runs, keys)
    labelled = any(row.label for group in groups for row in group)
    words = ["method", "backbone", *(["settings"] if labelled else []), "data set", "source"]
    columns = [*map(Column, words)]
    for side in ("host", "+FSA"):
        columns += [Column(f"{side} published", "percent", digits), Column(f"{side} run", "percent", digits)]
        columns.append(Column(f"{side} diff", "points", digits))
    columns += [Column("Δ published", "points", digits), Column("Δ run", "points", digits)]
    notes = Notes()
    lead = ["Published figures were measured by others, none of them by segloop; diff is run minus published."]
    rows = []
    for group in groups:
        for host, fed in _couples(group):
            rows += _Lines(host, fed, notes, labelled).all([*names.EIGHT, AVERAGE, *names.column_order(keys)])
    return table("published", "Against published figures, mIoU in percent", columns, rows, lead, notes)


def peers_table(runs: Sequence[Run], digits: int = 1) -> Table:
    """All published rows on the backbones of the runs, methods that segloop does not have among them."""
    backbones = {names.backbone(run) for run in runs}
    notes = Notes()
    rows = []
    for figures in published():
        if figures.backbone not in backbones:
            continue
        words = [Cell(figures.title), Cell(figures.backbone), Cell(", ".join(figures.uses) or None)]
        scores = [Cell(figures.mIoU.get(key)) for key in names.EIGHT]
        rows.append([*words, source_cell(figures.source, notes), *scores, Cell(figures.average)])
    columns = [Column(word) for word in ("method", "backbone", "other models", "source")]
    columns += [Column(names.SHORT[key], "percent", digits) for key in names.EIGHT] + [Column("Avg", "percent", digits)]
    return table("peers", "Published on these backbones, mIoU in percent", columns, rows, notes=notes)


def source_cell(source: Paper, notes: Notes) -> Cell:
    """The name of a source, with its note."""
    title = Cell(f"{source.title}, reconstructed" if source.reconstructed else source.title)
    return notes.mark(title, source.note) if source.note else title


class _Lines:
    """Lines of the table against published figures for one host and its +FSA row, either of which may be missing."""

    def __init__(self, host: Row | None, fed: Row | None, notes: Notes, labelled: bool) -> None:
        self.host, self.fed, self.notes, self.labelled = host, fed, notes, labelled
        self.row: Row = fed or host  # type: ignore[assignment]  # one of them is there
        self.guided = {figures.source.key for figures in published() if figures.guide}

    def all(self, columns: Sequence[str]) -> list[list[Cell]]:
        sides = [side.runs for side in (self.host, self.fed) if side]
        here = [column for column in columns if any(column in runs for runs in sides)]
        averaged = any(all(key in runs for key in names.EIGHT) for runs in sides)
        here = [column for column in columns if column in here or (column == AVERAGE and averaged)]
        return [line for column in here for line in self._of_column(column)]

    def _of_column(self, column: str) -> list[list[Cell]]:
        found = _by_source(self.row, column)
        printed = [(self._source(source), pair) for source, pair in found.items()] or [(Cell(UNKNOWN), (None, None))]
        runs = [self._run(side, column) for side in (self.host, self.fed)]
        delta = self._delta(column, runs)
        lines = []
        for title, pair in printed:
            cells: list[Cell] = []
            for figure, run in zip(pair, runs, strict=True):
                cells += [Cell(figure), run, Cell(_minus(run.value, figure))]
            lines.append(self._line(column, title, [*cells, Cell(_minus(pair[1], pair[0])), delta]))
        return lines

    def _source(self, source: Paper) -> Cell:
        title = source_cell(source, self.notes)
        unnamed = self.row.vision and source.key not in self.guided
        return self.notes.mark(title, NO_GUIDE) if unnamed else title

    def _line(self, column: str, source: Cell, cells: list[Cell]) -> list[Cell]:
        words = [self.row.base and names.method_title(self.row.base, self.row.vision), self.row.backbone]
        words += [self.row.said] if self.labelled else []
        return [*map(Cell, words), Cell(names.SHORT.get(column, column)), source, *cells]

    def _run(self, row: Row | None, column: str) -> Cell:
        if row is None:
            return Cell()
        if column == AVERAGE:
            average = Cell(mean_of_eight({key: run.metrics.get("mIoU") for key, run in row.runs.items()}))
            marked = not average.absent and any(deviations(row.runs[key]) for key in names.EIGHT)
            return self.notes.mark(average, OF_MARKED) if marked else average
        if column not in row.runs:
            return Cell()
        cell = Cell(row.runs[column].metrics.get("mIoU"))
        return self.notes.mark(cell, *(f"not comparable: {words}" for words in deviations(row.runs[column])))

    def _delta(self, column: str, runs: Sequence[Cell]) -> Cell:
        if self.host and self.fed and column in self.host.runs and column in self.fed.runs:
            hashes = {side.runs[column].settings.get("images_hash") for side in (self.host, self.fed)}
            if len(hashes) > 1:
                return self.notes.mark(Cell(), OTHER_IMAGES)
        return Cell(_minus(runs[1].value, runs[0].value))


def _couples(group: Sequence[Row]) -> list[tuple[Row | None, Row | None]]:
    """(host, +FSA) rows of one group: every +FSA row with its host, then hosts that have none."""
    hosts = [row for row in group if not row.feedback]
    couples: list[tuple[Row | None, Row | None]] = [(host_of(row, hosts), row) for row in group if row.feedback]
    taken = [host for host, _ in couples]
    return [*((host, None) for host in hosts if host not in taken), *couples]


def _by_source(row: Row, column: str) -> dict[Paper, tuple[float | None, float | None]]:
    """(host, +FSA) figures of each source that has one of them."""
    found: dict[Paper, list[float | None]] = {}
    voted = any("experts" in run.settings for run in row.runs.values())
    for figures in published():
        fits = figures.method == row.base and figures.backbone == row.backbone and figures.experts == voted
        if not fits or (figures.guide is not None and figures.guide != row.vision):
            continue
        value = figures.average if column == AVERAGE else figures.mIoU.get(column)
        if value is not None:
            found.setdefault(figures.source, [None, None])[figures.feedback] = value
    return {source: (pair[0], pair[1]) for source, pair in found.items()}


def _figures(row: dict, sources: dict[str, Paper]) -> Figures:
    guide, feedback = row.get("guide"), row.get("feedback", False)
    return Figures(
        source=sources[row["source"]],
        method=row["method"],
        title=row.get("title") or names.method_title(row["method"], guide, feedback),
        backbone=row["backbone"],
        feedback=feedback,
        experts=row.get("experts", False),
        guide=guide,
        uses=tuple(row.get("uses", ())),
        mIoU=row["mIoU"],
        average=row.get("average"),
    )


def _minus(value: object, other: object) -> float | None:
    return value - other if isinstance(value, float) and isinstance(other, float) else None

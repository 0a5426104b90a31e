"""The table of the papers: methods down, data sets across, +FSA below its host, and one line for every run."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from ..runs.alike import columns as columns_of
from ..scoring.bootstrap import paired
from . import names
from .caveats import caveats, of_labels
from .cells import Cell, Column, Notes, Table, table
from .compare import SCORES, NotAPair, same_images, verdict
from .grouping import IDENTITY, LAYOUT, Row, changes, host_of, mixed, rows_of, said
from .likeness import lines
from .runs import Run

BOUNDARY = "boundary_mIoU"  # of runs with --boundary
METRICS = ("mIoU", "aAcc", "mAcc", BOUNDARY)
NOT_A_CHANGE = IDENTITY | LAYOUT | {"feedback", "recipe"}  # what +FSA may differ in from its host without a word
AVERAGE = "Avg"
OF_MARKED = "the mean of numbers of which some have footnotes"
CHANCE = "cannot be told from chance (paired bootstrap over images)"
OTHER_IMAGES = "not the same images as its host"


def paper_table(runs: Sequence[Run], metric: str = "mIoU", digits: int = 1, intervals: bool = False) -> Table:
    """Methods x data sets: V21 C60 Obj V20 C59 Stf City ADE, their mean where all eight are there, then the others.

    The eight and their mean are left out where no run is of any of them.
    `metric` is one of METRICS, in percent. A row of a host, below it its +FSA row and their difference.
    """
    keys = names.column_keys(list(runs))
    others = names.column_order(keys)
    groups = rows_of(runs, keys)
    labelled = any(row.label for group in groups for row in group)
    columns = [Column("method"), Column("backbone"), *([Column("settings")] if labelled else [])]
    eight = (*names.EIGHT, AVERAGE) if set(keys.values()) & set(names.EIGHT) else ()
    for key in (*eight, *others):
        columns.append(Column(names.SHORT.get(key, key), "percent", digits, intervals and key != AVERAGE))
    notes = Notes()
    maker = _Maker(metric, (*eight, *others), notes, labelled, intervals)
    rows = [cells for group in groups for cells in maker.group(group)]
    return table("table", f"{metric} in percent", columns, rows, lines(runs, keys), notes)


class _Maker:
    """Rows of the paper's table, with their footnotes."""

    def __init__(
        self, metric: str, columns: Sequence[str], notes: Notes, labelled: bool, intervals: bool = False
    ) -> None:
        self.metric, self.columns, self.notes, self.labelled = metric, columns, notes, labelled
        self.intervals = intervals

    def group(self, rows: Sequence[Row]) -> list[list[Cell]]:
        hosts = [row for row in rows if not row.feedback]
        made = []
        for row in rows:
            cells = {column: self._cell(run) for column, run in row.runs.items()}
            made.append(self._line(row.title, row, cells, self._average(row, cells)))
            host = host_of(row, hosts) if row.feedback else None
            if host:
                made.append(self._delta(row, host))
        return made

    def _cell(self, run: Run) -> Cell:
        low, high = run.intervals.get(self.metric, (None, None))
        cell = self.notes.mark(Cell(run.metrics.get(self.metric), low, high), *caveats(run))
        return _of_labels(self.notes, cell, run, self.metric)

    def _average(self, row: Row, cells: Mapping[str, Cell]) -> Cell:
        average = Cell(mean_of_eight({column: cell.value for column, cell in cells.items()}))
        if average.absent:
            return average
        if any(cells[column].marks for column in names.EIGHT):
            average = self.notes.mark(average, OF_MARKED)
        unlike = mixed(row)
        return self.notes.mark(average, f"runs of this row differ in {', '.join(unlike)}") if unlike else average

    def _delta(self, row: Row, host: Row) -> list[Cell]:
        cells = {
            column: self._difference(host.runs[column], run)
            for column, run in row.runs.items()
            if column in host.runs and not Cell(run.metrics.get(self.metric)).absent
        }
        before, after = (
            mean_of_eight({column: run.metrics.get(self.metric) for column, run in side.runs.items()})
            for side in (host, row)
        )
        known = before is not None and after is not None and all(not cells[column].absent for column in names.EIGHT)
        average = Cell(after - before if known else None, signed=True)  # type: ignore[operator]
        title = f"Δ to {host.title} [{said(host.label)}]" if host.label else "Δ"
        return self._line(title, row, cells, average)

    def _difference(self, host: Run, run: Run) -> Cell:
        if host.settings.get("images_hash") != run.settings.get("images_hash"):
            return self.notes.mark(Cell(), OTHER_IMAGES)
        before, after = (side.metrics.get(self.metric, math.nan) for side in (host, run))
        cell = self._judged(Cell(after - before, signed=True), host, run)
        changed = changes(host, run, NOT_A_CHANGE)
        return self.notes.mark(cell, f"+FSA differs from its host also in {changed}") if changed else cell

    def _judged(self, cell: Cell, host: Run, run: Run) -> Cell:
        """A difference with its interval, where intervals are shown and both runs are over the same images."""
        if not self.intervals or self.metric not in SCORES:
            return cell
        try:
            sides = same_images(host, run)
        except NotAPair:
            return cell
        moved = getattr(paired(*sides), self.metric)
        judged = replace(cell, low=moved.interval.low, high=moved.interval.high)
        return judged if verdict(moved, len(sides[0].label)) else self.notes.mark(judged, CHANCE)

    def _line(self, title: str, row: Row, cells: Mapping[str, Cell], average: Cell) -> list[Cell]:
        settings = [Cell(row.said)] if self.labelled else []
        known = {**cells, AVERAGE: average}
        return [Cell(title), Cell(row.backbone), *settings, *(known.get(column, Cell()) for column in self.columns)]


def _of_labels(notes: Notes, cell: Cell, run: Run, metric: str) -> Cell:
    """A mean IoU with a footnote where classes that no label holds are in it."""
    said = of_labels(run) if metric == "mIoU" else ""
    return notes.mark(cell, said) if said else cell


def mean_of_eight(values: Mapping[str, object]) -> float | None:
    """The papers' Avg: the mean of their eight data sets, None where one is missing or NaN."""
    found = [values.get(column) for column in names.EIGHT]
    numbers = [value for value in found if isinstance(value, (int, float)) and not math.isnan(value)]
    return fmean(numbers) if len(numbers) == len(names.EIGHT) else None


def runs_table(runs: Sequence[Run], digits: int = 1, intervals: bool = False) -> Table:
    """One line a run: what it is of, under which recipe and class list, and every score."""
    keys = names.column_keys(list(runs))
    boundary = any(BOUNDARY in run.metrics for run in runs)
    metrics = [metric for metric in METRICS if metric != BOUNDARY or boundary]
    words = ["run", "data set", "method", "backbone", "recipe", "class list", "fidelity", "dtype"]
    records = [{"settings": run.settings, "queries": run.queries} for run in runs]
    unlike = columns_of(records, [keys[run] for run in runs])
    unlike.pop("class list", None)  # has its column
    words += unlike
    scores = [Column(name, "percent", digits, intervals) for name in metrics]
    notes = Notes()
    rows = []
    for number, run in enumerate(runs):
        settings = run.settings
        words_of = settings.get("vocabulary") or "own"
        about = [settings.get("recipe"), words_of, settings.get("fidelity"), settings.get("dtype")]
        about += [values[number] for values in unlike.values()]
        cells = [Cell(word) for word in (run.name, keys[run], names.run_title(run), names.backbone(run), *about)]
        cells.append(notes.mark(Cell(run.images), *caveats(run)))
        for metric in metrics:
            cell = Cell(run.metrics.get(metric), *run.intervals.get(metric, (None, None)))
            cells.append(_of_labels(notes, cell, run, metric))
        rows.append(cells)
    columns = [*map(Column, words), Column("images", "count"), *scores]
    return table("runs", "Runs", columns, rows, notes=notes)

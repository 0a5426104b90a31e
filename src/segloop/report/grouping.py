"""Which runs share a row of the table: one method on one backbone, and never two runs in one cell."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from ..choice.settings import Deciding, Geometry
from ..common.visible import shortened
from ..runs.sameness import CODE, hashed
from . import names
from .runs import Run

# what a recipe chooses for each data set: such settings may differ along a row without a word
BY_DATASET = {field.name for record in (Geometry, Deciding) for field in fields(record)} | {
    "pamr_steps",
    "pamr_dilations",
    "coarse_threshold",
    "trident.cosine_factor",
    "trident.negative_threshold",
    "trident.affinity_halves",
    "dataset",
    "data_name",
    "recipe",
    "vocabulary",
    "split",
    "limit",
    "images_listed",
    "images_hash",
    "labels_hash",
    "masks",
    "regions",
    "regions_hash",
}
IDENTITY = {"method", "host", "vision", "model"}  # the row itself
LAYOUT = {"batch", "shard", "threads", "device", "boundary", "keeps"}  # numbers move by rounding at most
NOTHING = {"keeps"}  # what a run leaves beside its numbers
QUIET = {
    "recipe",
    "model_hash",
    "vision_hash",
    "affinity_hash",
    "images_hash",
    "labels_hash",
    "regions_hash",
    "images_listed",
    "code_unseen",
}  # said only where nothing else differs

Label = tuple[tuple[str, str], ...]  # (setting, value as words)


@dataclass(frozen=True)
class Row:
    """Runs of one method on one backbone, at most one a column."""

    base: str
    vision: str | None
    backbone: str
    feedback: bool
    label: Label  # what tells it from another row of the same method
    runs: Mapping[str, Run]  # by column

    @property
    def title(self) -> str:
        """The method as the papers call it."""
        return names.method_title(self.base, self.vision, self.feedback)

    @property
    def said(self) -> str:
        """The label as words: "stride=80"."""
        return said(self.label)


def rows_of(runs: Iterable[Run], keys: Mapping[Run, str]) -> list[list[Row]]:
    """Rows, grouped by host: those without feedback, then those with it, in the papers' order."""
    alike: dict[tuple, list[Run]] = defaultdict(list)
    for run in runs:
        alike[(names.backbone(run), run.base, names.guide(run) or "", run.has_feedback)].append(run)
    groups: dict[tuple, list[Row]] = defaultdict(list)
    for key, members in alike.items():
        model, base, vision, feedback = key
        found = _split(members, keys)
        labels = _brief([label for label, _ in found])
        for label, (_, cells) in zip(labels, found, strict=True):
            groups[key[:3]].append(Row(base, vision or None, model, feedback, label, cells))
    for rows in groups.values():
        rows.sort(key=lambda row: (row.feedback, row.label))
    return [groups[key] for key in sorted(groups, key=_place)]


def differences(first: Run, second: Run, ignored: Iterable[str] = ()) -> list[tuple[str, Any, Any]]:
    """Settings that differ between two runs: (name, first's, second's), without the `ignored` ones."""
    sides = [dict(run.settings) for run in (first, second)]
    for record in {name for side in sides for name, value in side.items() if isinstance(value, dict)}:
        if any(not side.get(record) for side in sides):  # one word for a record that only one of them has
            sides = [side | {record: bool(side.get(record)) or None} for side in sides]
    mine, other = (names.flat_settings(side) for side in sides)
    skipped = set(ignored)
    return [
        (key, mine.get(key), other.get(key))
        for key in dict.fromkeys((*mine, *other))
        if mine.get(key) != other.get(key) and key.split(".")[0] not in skipped
    ]


def changes(first: Run, second: Run, ignored: Iterable[str] = ()) -> str:
    """The differences in words: "stride 112 -> 80, feedback none -> on"; nothing where there are none."""
    found = differences(first, second, ignored)
    return ", ".join(_change(*difference) for difference in found)


def _change(key: str, old: Any, new: Any) -> str:
    return f"other {what}" if (what := hashed(key)) else f"{key} {_short(key, old)} -> {_short(key, new)}"


def host_of(row: Row, hosts: Iterable[Row]) -> Row | None:
    """The row without feedback that has most in common with a +FSA row; None where they share no column."""

    def alike(host: Row) -> int:
        shared = (column for column in row.runs if column in host.runs)
        unlike = (len(differences(host.runs[column], row.runs[column], IDENTITY | {"feedback"})) for column in shared)
        return sum(1000 - min(count, 999) for count in unlike)  # a shared column weighs more than any setting

    return max((host for host in hosts if alike(host)), key=alike, default=None)


def said(label: Label) -> str:
    """ "stride=80, dtype=float32", "code of idea.py=01b37d9e"."""
    return ", ".join(f"{_called(key)}={value}" for key, value in label)


def _called(key: str) -> str:
    part, _, file = key.partition(".")
    return f"code of {file}" if part in CODE and file else hashed(key) or key


def _brief(labels: Sequence[Label]) -> list[Label]:
    """Labels with the middle of long values left out, where that still tells all apart."""
    short = [tuple((key, shortened(value, names.LETTERS)) for key, value in label) for label in labels]
    return short if len({*short}) == len({*labels}) else list(labels)


def mixed(row: Row) -> list[str]:
    """Settings that should be one along a row and are not: "dtype float32 and bfloat16"."""
    values: dict[str, list[str]] = defaultdict(list)
    for run in row.runs.values():
        for key, value in names.flat_settings(run.settings).items():
            if key not in BY_DATASET | IDENTITY | LAYOUT and _short(key, value) not in values[key]:
                values[key].append(_short(key, value))
    unlike = {key: found for key, found in values.items() if len(found) > 1}
    return [hashed(key) or f"{key} {' and '.join(sorted(found))}" for key, found in unlike.items()]


def _place(key: tuple) -> tuple:
    model, base, vision = key
    return names.backbone_rank(model), names.rank(base, names.METHODS), vision


def _split(runs: list[Run], keys: Mapping[Run, str]) -> list[tuple[Label, dict[str, Run]]]:
    """Runs of one method -> (what tells them apart, column -> run), so that no column has two."""
    clashes = _by_column(runs, keys)
    wide = [key for cell in clashes for key in _unlike(cell) if BY_DATASET.isdisjoint((key, key.split(".")[0]))]
    found: dict[Label, dict[str, Run]] = defaultdict(dict)
    for label, members in _by_label(runs, list(dict.fromkeys(wide))).items():
        crowded = {run: cell for cell in _by_column(members, keys) for run in cell}
        for run in members:
            own = _own_label(run, crowded[run]) if run in crowded else ()
            found[(*label, *own)][keys[run]] = run
    return list(found.items())


def _by_column(runs: list[Run], keys: Mapping[Run, str]) -> list[list[Run]]:
    """The columns that have more than one run."""
    cells: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        cells[keys[run]].append(run)
    return [cell for cell in cells.values() if len(cell) > 1]


def _by_label(runs: list[Run], keys: list[str]) -> dict[Label, list[Run]]:
    groups: dict[Label, list[Run]] = defaultdict(list)
    for run in runs:
        groups[_label(run, keys)].append(run)
    return groups


def _label(run: Run, keys: list[str]) -> Label:
    settings = names.flat_settings(run.settings)
    return tuple((key, _short(key, settings.get(key))) for key in keys)


def _own_label(run: Run, cell: list[Run]) -> Label:
    """What differs between runs of one cell; their folders where settings do not tell them apart."""
    unlike = _unlike(cell)
    label = _label(run, unlike)
    if all(key in QUIET for key in unlike):  # hashes, which tell nobody anything
        return (("run", run.name),)
    if [_label(other, _unlike(cell)) for other in cell].count(label) > 1:
        label = (*label, ("run", run.name))
    return label


def _unlike(runs: list[Run]) -> list[str]:
    """Settings that are not the same in all runs; the loud ones, where there are any."""
    settings = [names.flat_settings(run.settings) for run in runs]
    keys = list(dict.fromkeys(key for each in settings for key in each if key not in NOTHING))
    unlike = [key for key in keys if any(each.get(key) != settings[0].get(key) for each in settings)]
    return [key for key in unlike if key not in QUIET] or unlike


def _short(key: str, value: Any) -> str:
    words = names.plain(value)
    return words[:8] if hashed(key) else words

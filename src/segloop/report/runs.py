"""Run records of `segloop evaluate`, found and read; a damaged file is named."""

import csv
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from ..common.archives import read_npz
from ..common.files import regular
from ..common.sheets import csv_rows
from ..common.visible import plain
from ..errors import OptionError
from ..evaluation.record import labels_of
from ..runs.folder import EVALUATION, FORMAT, LABELLING, kind_of, starts_of
from ..runs.folder import RUN as RECORD
from ..scoring.metrics import Counts
from ..scoring.unlabelled import Unlabelled, unlabelled

AGAIN = "run the same `segloop evaluate` command again, with --overwrite"
COUNTS = ("intersection", "prediction", "label")
PAIRS = ("pair_image", "pair_label", "pair_prediction", "pair_pixels")
DAMAGE = (OSError, ValueError, KeyError)


@dataclass(frozen=True, eq=False)
class Run:
    """What `run.json` holds. The arrays beside it are read when they are asked for."""

    folder: Path
    name: str  # short, unique among the runs of a report
    done: bool
    settings: dict[str, Any] = field(repr=False)
    versions: dict[str, str] = field(repr=False)
    classes: list[str] = field(repr=False)
    queries: list[str] = field(repr=False)
    images: int
    failed: int
    metrics: dict[str, float]  # percent; NaN where undefined
    intervals: dict[str, tuple[float, float]]
    labels: dict[str, Any] = field(default_factory=dict, repr=False)  # what label maps held that no class has

    @property
    def dataset(self) -> str:
        """The key of the data set."""
        return self.settings["dataset"]

    @property
    def data_name(self) -> str:
        """What the data set is called: the name that the user gave their folder, else its key."""
        return self.settings.get("data_name") or self.dataset

    @property
    def listed(self) -> int:
        """Images that the split lists."""
        return self.settings.get("images_listed") or self.images + self.failed

    @property
    def base(self) -> str:
        """The method without feedback: what fsa is attached to, or the method itself, as `sfp:proxyclip` on a host."""
        host, method = self.settings.get("host"), self.settings["method"]
        if method == "fsa":
            return host or method
        return f"{method}:{host}" if host else method

    @property
    def has_feedback(self) -> bool:
        """Whether this is the +FSA run of its base."""
        return self.settings["method"] == "fsa"


@dataclass(frozen=True, eq=False)
class Pairs:
    """Confusion of every image, sparse: (P,) int64 each. A label or prediction equal to C is of no class."""

    image: np.ndarray
    label: np.ndarray
    prediction: np.ndarray
    pixels: np.ndarray


@dataclass(frozen=True)
class ImageRow:
    """One line of images.csv."""

    image: str
    pixels: int
    aAcc: float
    mIoU: float


def find_runs(places: Sequence[str | Path]) -> list[Run]:
    """Runs of the given folders in their order: a run's own folder, or all runs below a folder, sorted by path.

    Raises OptionError where a place has none, and for a damaged record.
    """
    folders: dict[Path, Path] = {}
    for place in map(Path, places):
        for folder in _folders(place):
            folders.setdefault(folder.resolve(), folder)
    names = _names(list(folders))
    return [load_run(folder, name) for folder, name in zip(folders.values(), names, strict=True)]


def load_run(folder: Path, name: str | None = None) -> Run:
    """The run in `folder`. Raises OptionError naming the file where it is damaged or of another format."""
    path = folder / RECORD
    try:
        raw = json.loads(regular(path).read_text(encoding="utf-8"))
        if raw["format"] != FORMAT:
            remedy = "use the segloop that wrote it, or evaluate anew with this one"
            raise OptionError(f"{path} is of format {plain(raw['format'])}, this segloop reads {FORMAT}", remedy)
        if kind_of(raw) != EVALUATION:
            raise OptionError(
                f"{folder} is a {kind_of(raw)}, which has no scores", "give folders of `segloop evaluate`"
            )
        settings = raw["settings"]
        for key in ("dataset", "method"):
            if not isinstance(settings[key], str):
                raise TypeError(f"{key} is no text")
        return Run(
            folder=folder,
            name=name or folder.resolve().name,
            done=raw.get("state") == "done",
            settings=settings,
            versions=dict(raw.get("versions") or {}),
            classes=[str(item) for item in raw["classes"]],
            queries=[str(item) for item in raw.get("queries") or []],
            images=int(raw.get("images") or 0),
            failed=int(raw.get("failed") or 0),
            metrics={key: _number(value) for key, value in (raw.get("metrics") or {}).items()},
            labels=labels_of(raw),
            intervals={key: _ends(value) for key, value in (raw.get("intervals") or {}).items()},
        )
    except OptionError:
        raise
    except (*DAMAGE, TypeError, AttributeError, RecursionError) as error:
        raise damaged(path, error) from None


def read_counts(run: Run) -> tuple[list[str], Counts]:
    """Image names (n,) and their areas (n, C) int64 of counts.npz."""
    arrays = _arrays(run, ("images", *COUNTS))
    names = [str(name) for name in arrays["images"]]
    if len(names) != run.images:
        raise damaged(run.folder / "counts.npz", f"{len(names)} images in it, {run.images} in {RECORD}")
    shape = len(names), len(run.classes)
    for key in COUNTS:
        if arrays[key].shape != shape or arrays[key].dtype.kind not in "iu":
            raise damaged(run.folder / "counts.npz", f"{key} is {arrays[key].shape}, not {shape} whole numbers")
    return names, Counts(*(arrays[key].astype(np.int64) for key in COUNTS))


def read_pairs(run: Run) -> Pairs:
    """The sparse confusion of counts.npz."""
    arrays = _arrays(run, PAIRS)
    made = [arrays[key] for key in PAIRS]
    if any(array.ndim != 1 or len(array) != len(made[0]) or array.dtype.kind not in "iu" for array in made):
        raise damaged(run.folder / "counts.npz", "the confusion pairs are not whole numbers of one length")
    classes = len(run.classes)
    if len(made[0]) and (min(array.min() for array in made) < 0 or max(made[1].max(), made[2].max()) > classes):
        raise damaged(run.folder / "counts.npz", "a confusion pair is of no class")
    return Pairs(*(array.astype(np.int64) for array in made))


def read_images(run: Run) -> list[ImageRow]:
    """The lines of images.csv in their order."""
    path = run.folder / "images.csv"
    try:
        with open(regular(path), encoding="utf-8", newline="") as stream:
            return [
                ImageRow(line["image"], int(line["pixels"]), _number(line["aAcc"]), _number(line["mIoU"]))
                for line in csv_rows(stream)
            ]
    except (*DAMAGE, TypeError, csv.Error) as error:
        raise damaged(path, error) from None


def class_lines(run: Run) -> list[dict[str, Any]]:
    """The lines of classes.csv: name as text, everything else as numbers (NaN where undefined)."""
    path = run.folder / "classes.csv"
    try:
        with open(regular(path), encoding="utf-8", newline="") as stream:
            lines = list(csv_rows(stream))
        wanted = ("IoU", "IoU_low", "IoU_high", "Acc", "intersection", "prediction", "label")
        rows = [{"name": line["name"]} | {key: _number(line[key]) for key in wanted} for line in lines]
    except (*DAMAGE, TypeError, csv.Error) as error:
        raise damaged(path, error) from None
    if not all(isfinite(float(row[key])) for row in rows for key in COUNTS):
        raise damaged(path, "areas are no numbers")
    if [row["name"] for row in rows] != run.classes:
        raise damaged(path, f"its classes are not those of {RECORD}")
    return rows


def unlabelled_of(run: Run) -> Unlabelled | None:
    """What classes that no label holds do to its mIoU; None where there are none, or where nothing is known of them."""
    if not run.done or not (run.folder / "classes.csv").is_file():
        return None
    lines = class_lines(run)
    return unlabelled(Counts(*(np.array([line[key] for line in lines], np.int64) for key in COUNTS)), run.classes)


def last_start(run: Run) -> dict[str, Any]:
    """What log.json says of the last start (times, machine, command, places of the data); empty without one."""
    starts = starts_of(run.folder)
    return starts[-1] if starts else {}


def finish(run: Run) -> str:
    """How an unfinished run is finished, with its command line where the log has it."""
    command = last_start(run).get("command")
    return f"run the same command again: {command}" if command else "run the same `segloop evaluate` command again"


def damaged(path: Path, why: object) -> OptionError:
    """The error of a file that a run record should not hold."""
    if isinstance(why, FileNotFoundError):
        return OptionError(f"{path} is missing", AGAIN)
    reason = f"no {why} in it" if isinstance(why, KeyError) else str(why).splitlines()[0] if str(why) else "empty"
    return OptionError(f"{path} is damaged ({reason[:120]})", AGAIN)


def _arrays(run: Run, keys: Sequence[str]) -> dict[str, np.ndarray]:
    path = run.folder / "counts.npz"
    if not run.done and not path.exists():
        raise OptionError(f"{run.folder} is an unfinished run", finish(run))
    try:
        arrays = read_npz(path)
        return {key: arrays[key] for key in keys}
    except DAMAGE as error:
        raise damaged(path, error) from None


def _folders(place: Path) -> list[Path]:
    if place.name == RECORD and place.is_file():
        return [place.parent]
    if place.exists() and not place.is_dir():
        raise OptionError(f"{place} is a file, and no run", f"give the folder of a run, which holds {RECORD}")
    if not place.is_dir():
        raise OptionError(f"there is no folder {place}", "give a folder that `segloop evaluate` has written")
    if (place / RECORD).is_file():
        return [place]
    found = sorted(path.parent for path in place.rglob(RECORD) if path.is_file() and not _is_labelling(path))
    if not found:
        remedy = "give a folder that `segloop evaluate` has written, or one above it"
        raise OptionError(f"no run record ({RECORD}) in {place}", remedy)
    return found


def _is_labelling(path: Path) -> bool:
    """Whether a record is of the other kind; one that cannot be read is told when it is loaded."""
    try:
        return kind_of(json.loads(path.read_text(encoding="utf-8"))) == LABELLING
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return False


def _names(folders: list[Path]) -> list[str]:
    """Paths below the folder that all have in common: short, and told apart."""
    if len(folders) == 1:
        return [folders[0].name]
    common = os.path.commonpath(folders)
    return [Path(os.path.relpath(folder, common)).as_posix() for folder in folders]


def _number(value: Any) -> float:
    return float("nan") if value is None or value == "" else float(value)


def _ends(value: Any) -> tuple[float, float]:
    low, high = value
    return _number(low), _number(high)

"""The run record: a folder that says what was measured, on what, and with which result (design 4).

`run.json`, `images.csv`, `classes.csv` and `counts.npz` hold only what the inputs determine; `log.json` holds the rest.
While a run is going on, finished shards lie in `parts/`, each whole or absent, so that it can be killed at any moment.
"""

import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from . import strays, tally
from .earlier import FAILED, FAILURES, PART, Kind, beginning, check_replaced, is_a, json_of, npz_of, png_of
from .errors import MachineError, OptionError, OutputError, UserError
from .files import regular, write_whole

FORMAT = 1
RUN, LOG, PARTS, LOCK = "run.json", "log.json", "parts", ".lock"
FILES: dict[str, Kind] = {
    "images.csv": beginning(b"image,height,width,pixels,"),
    "counts.npz": npz_of(("images", *tally.AREAS)),
    "classes.csv": beginning(b"class,name,IoU,"),
    FAILED: FAILURES,
    LOG: json_of(("starts",)),
}
"""What lies beside run.json."""

MAP, SCORE = png_of("classes"), npz_of(("tiles", "size", "target", "direct"))
KEPT = {"maps": MAP, "scores": SCORE}
"""Folders of what a run keeps of each image."""

PACKAGES = ("segloop", "torch", "transformers", "numpy", "pillow")


@dataclass(frozen=True)
class Inputs:
    """All that determines the numbers, fit for JSON."""

    settings: Mapping[str, Any]
    classes: Sequence[str]
    queries: Sequence[str]
    query_index: Sequence[int]
    unsaid: Mapping[str, Any] = field(default_factory=dict)  # what settings are that a record does not name

    def as_json(self) -> dict[str, Any]:
        """The part of run.json that is known before the first image."""
        lists = {"classes": list(self.classes), "queries": list(self.queries), "query_index": list(self.query_index)}
        known = {"format": FORMAT, "settings": dict(self.settings), "versions": versions(), **lists}
        return json.loads(json.dumps(known))  # as it will be read back: lists for tuples


@dataclass(frozen=True)
class Record:
    """A run's folder, made by `open_record`."""

    folder: Path
    inputs: dict[str, Any]

    @property
    def finished(self) -> dict[str, Any] | None:
        """run.json of a run that has ended, else None."""
        kept = read_run(self.folder)
        return kept if kept and kept["state"] == "done" else None

    def part(self, shard: int) -> Path:
        """Where the outcomes of a shard lie."""
        return self.folder / PARTS / f"{shard:06d}.npz"

    def keep(self, shard: int, outcomes: Sequence[tally.Outcome]) -> None:
        """Write a shard's outcomes, whole. Raises OutputError, MachineError."""
        write_whole(self.part(shard), tally.encode_shard(outcomes))

    def outcomes(self, shard: int) -> list[tally.Outcome] | None:
        """A shard's outcomes; None where it is not done, or was damaged by a failing machine."""
        path = self.part(shard)
        return tally.decode_shard(path.read_bytes(), len(self.inputs["classes"])) if path.is_file() else None

    def missing(self, shards: int) -> list[int]:
        """Numbers of the shards that are still to be done."""
        return [shard for shard in range(shards) if self.outcomes(shard) is None]

    def finish(self, shards: int) -> dict[str, Any]:
        """Put all shards together -> run.json as written. `run.json` comes last: with it the run is done.

        Raises MachineError where a shard is missing, UserError where no pixel counts; shards are done anew when the
        run starts again.
        """
        parts = [self.outcomes(shard) for shard in range(shards)]
        if None in parts:
            what = f"a helping process was lost before {self.folder} was done"
            raise MachineError(what, "run the same command again, it goes on where it stopped")
        outcomes = [outcome for part in parts for outcome in part or []]
        counted = [outcome for outcome in outcomes if isinstance(outcome, tally.Scored)]
        failed = [outcome for outcome in outcomes if isinstance(outcome, tally.Failed)]
        names = self.inputs["classes"]
        if failed:
            write_whole(self.folder / FAILED, tally.failed_file(failed))
        facts = _facts(counted, names, self.inputs["settings"])
        if not sum(facts.areas):
            _clear_parts(self.folder)
            first = (f"{failed[0].source}: {failed[0].error}", failed[0].remedy) if failed else None
            raise strays.nothing(facts, first)
        scores, classes = tally.summary(counted, names)
        if all(outcome.uncounted for outcome in counted):
            scores["labels"] = strays.record(facts)
        write_whole(self.folder / "images.csv", tally.images_file(counted))
        write_whole(self.folder / "counts.npz", tally.counts_file(counted, len(names)))
        write_whole(self.folder / "classes.csv", classes)
        done = {**self.inputs, "state": "done", "images": len(counted), "failed": len(failed), **scores}
        _write_json(self.folder / RUN, done)
        _clear_parts(self.folder)
        return done

    def log(self, entry: Mapping[str, Any]) -> None:
        """Add an entry to log.json, or replace the one that began at the same time."""
        path = self.folder / LOG
        starts = (_read_json(path) or {}).get("starts", [])
        others = [start for start in starts if start.get("started") != entry["started"]]
        _write_json(path, {"starts": [*others, dict(entry)]})


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a run's folder for this process; a process that is killed lets go of it.

    Raises OptionError where another process has it, and before anything is put there where it holds something that
    is of no run; OutputError where it cannot be written.
    """
    from filelock import FileLock, Timeout

    if folder.is_dir():
        _check_own(folder, read_run(folder))
    lock = FileLock(folder / LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        what = f"another process is working on {folder}"
        raise OptionError(what, "wait until it ends, or choose another --out") from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise OutputError(f"cannot write into {folder} ({reason})", "choose another folder with --out") from error
    try:
        yield
    finally:
        lock.release()


def open_record(folder: Path, inputs: Inputs, overwrite: bool = False) -> Record:
    """Begin a run in a `locked` folder, or go on with the one that is there; `overwrite` begins that one anew.

    Raises OptionError where another run lies there, or something that is of no run; OutputError where the folder
    cannot be written.
    """
    wanted = inputs.as_json()
    kept = read_run(folder)
    _check_own(folder, kept)
    _clear_halves(folder)
    if overwrite or kept is None:
        _clear(folder)
        _write_json(folder / RUN, {**wanted, "state": "running"})
    else:
        _same(folder, kept, wanted, json.loads(json.dumps(dict(inputs.unsaid))))
        if kept["state"] == "done":
            _clear_parts(folder)
    return Record(folder, wanted)


def read_run(folder: Path) -> dict[str, Any] | None:
    """run.json of a folder; None where there is none. Raises UserError for one that is none of ours."""
    path = folder / RUN
    if not path.is_file():
        return None
    run = _read_json(path)
    if run is None or "settings" not in run or "state" not in run:
        raise UserError(f"{path} is not the record of a run", "choose another --out, or move the file away")
    if run.get("format") != FORMAT:
        what = f"{path} has format {run.get('format')}, this segloop writes {FORMAT}"
        raise UserError(what, "choose another --out")
    return run


def versions() -> dict[str, str]:
    """Versions of what computes, for the record."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


def _facts(counted: Sequence[tally.Scored], names: Sequence[str], settings: Mapping[str, Any]) -> strays.Facts:
    """What label maps held, summed over a run."""
    masks = settings.get("masks") or {}
    tabled = bool(masks.get("values") or masks.get("numbered_by_file"))
    left = [outcome.uncounted for outcome in counted if outcome.uncounted]
    areas = tally.stacked(counted, len(names)).total().label.tolist()
    first = names[0].split("|")[0].strip().casefold()
    rare_first = first == "background" or "table_hash" in masks  # which is void then; colours have no numbers
    return strays.gather(left, areas, str(settings.get("dataset")), len(names) >= strays.WIDE_FROM, tabled, rare_first)


def _same(folder: Path, kept: dict[str, Any], wanted: dict[str, Any], unsaid: Mapping[str, Any]) -> None:
    """Raises OptionError naming what differs between the run in `folder` and this one.

    Another segloop may have written constants of methods that are not in use, or not known one that is: the former do
    not matter, the latter were what they are where nothing is said.
    """
    kept = {**kept, "settings": _as_wanted(kept.get("settings", {}), wanted["settings"], unsaid)}
    differing = [
        f"{name} {_short(kept.get(part, {}).get(name))} there, {_short(wanted[part].get(name))} now"
        for part in ("settings", "versions")
        for name in dict.fromkeys([*kept.get(part, {}), *wanted[part]])
        if kept.get(part, {}).get(name) != wanted[part].get(name)
    ]
    differing += [
        f"another list of {name}" for name in ("classes", "queries", "query_index") if kept.get(name) != wanted[name]
    ]
    if differing:
        more = f", and {len(differing) - 3} more" if len(differing) > 3 else ""
        what = f"{folder} holds a run with other settings: {'; '.join(differing[:3])}{more}"
        raise OptionError(what, "choose another --out, or start anew with --overwrite")


def _as_wanted(kept: Mapping[str, Any], wanted: Mapping[str, Any], unsaid: Mapping[str, Any]) -> dict[str, Any]:
    """Kept settings with the names that are wanted now; records within are treated alike."""
    same = {name: value for name, value in kept.items() if name in wanted or name not in unsaid}
    for name, value in wanted.items():
        if isinstance(value, dict) and isinstance(same.get(name), dict):
            same[name] = _as_wanted(same[name], value, unsaid.get(name, {}))
        elif name not in same and name in unsaid:
            same[name] = unsaid[name]
    return same


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _check_own(folder: Path, kept: dict[str, Any] | None) -> None:
    """Raises OptionError where the folder of a new run is not empty, or a run that goes on would replace a stranger."""
    if kept is None:
        known = FAILED if is_a(folder / FAILED, FAILURES) else None
        others = sorted(path.name for path in folder.iterdir() if path.name != known and path.name[0] != ".")
        if others:
            what = f"{folder} is not empty and holds no run ({others[0]} is there)"
            raise OptionError(what, "choose another --out")
    elif kept["state"] != "done":  # the files of one that is done are named by its record, damaged ones too
        files = {folder / name: kind for name, kind in FILES.items()}
        check_replaced(files, "move it away, or choose another --out")


def _clear(folder: Path) -> None:
    """Take away an earlier record; nothing that is not ours."""
    for name in (RUN, *FILES):  # run.json first: no half records
        (folder / name).unlink(missing_ok=True)
    _clear_parts(folder)
    for name, kind in KEPT.items():
        for path in (folder / name).rglob("*"):
            if is_a(path, kind):
                path.unlink()
        below = [path for path in (folder / name).rglob("*") if path.is_dir()]
        _remove_empty(*sorted(below, reverse=True), folder / name)


def _clear_parts(folder: Path) -> None:
    for path in (folder / PARTS).glob(f"{'[0-9]' * 6}.npz"):
        path.unlink()
    _remove_empty(folder / PARTS)


def _clear_halves(folder: Path) -> None:
    """Take away what writes that were killed have left."""
    places = [path for name in (PARTS, *KEPT) for path in (folder / name).rglob(".*.part")]
    for half in [*folder.glob(".*.part"), *places]:
        if PART.fullmatch(half.name):
            half.unlink(missing_ok=True)


def _remove_empty(*folders: Path) -> None:
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(regular(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_whole(path, text.encode("utf-8", "backslashreplace"))

"""The run record: a folder that says what was measured, on what, and with which result (design 4).

`run.json`, `images.csv`, `classes.csv` and `counts.npz` hold only what the inputs determine; `log.json` holds the rest.
While a run is going on, finished shards lie in `parts/`, each whole or absent, so that it can be killed at any moment.
"""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..common.earlier import FAILED
from ..common.files import write_whole
from ..errors import MachineError
from ..labels import strays
from ..scoring import tally
from .runfolder import (
    FORMAT,
    LOG,
    PARTS,
    RUN,
    check_own,
    clear,
    clear_halves,
    clear_parts,
    read_json,
    read_run,
    write_json,
)
from .sameness import check_same

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
            clear_parts(self.folder)
            first = (f"{failed[0].source}: {failed[0].error}", failed[0].remedy) if failed else None
            raise strays.nothing(facts, first)
        scores, classes = tally.summary(counted, names)
        if all(outcome.uncounted for outcome in counted):
            scores["labels"] = strays.record(facts)
        write_whole(self.folder / "images.csv", tally.images_file(counted))
        write_whole(self.folder / "counts.npz", tally.counts_file(counted, len(names)))
        write_whole(self.folder / "classes.csv", classes)
        done = {**self.inputs, "state": "done", "images": len(counted), "failed": len(failed), **scores}
        write_json(self.folder / RUN, done)
        clear_parts(self.folder)
        return done

    def log(self, entry: Mapping[str, Any]) -> None:
        """Add an entry to log.json, or replace the one that began at the same time."""
        path = self.folder / LOG
        starts = (read_json(path) or {}).get("starts", [])
        others = [start for start in starts if start.get("started") != entry["started"]]
        write_json(path, {"starts": [*others, dict(entry)]})


def open_record(folder: Path, inputs: Inputs, overwrite: bool = False) -> Record:
    """Begin a run in a `locked` folder, or go on with the one that is there; `overwrite` begins that one anew.

    Raises OptionError where another run lies there, or something that is of no run; OutputError where the folder
    cannot be written.
    """
    wanted = inputs.as_json()
    kept = read_run(folder)
    check_own(folder, kept)
    clear_halves(folder)
    if overwrite or kept is None:
        clear(folder)
        write_json(folder / RUN, {**wanted, "state": "running"})
    else:
        check_same(folder, kept, wanted, json.loads(json.dumps(dict(inputs.unsaid))))
        if kept["state"] == "done":
            clear_parts(folder)
    return Record(folder, wanted)


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

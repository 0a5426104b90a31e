"""The record of a run: what was asked for, which shards are done, what varies from start to start (design 4).

`run.json` holds only what the inputs determine; `log.json` holds the rest. While a run is going on, finished shards lie
in `parts/`, each whole or absent, so that it can be killed at any moment.
"""

import json
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Generic, TypeVar

from ..common.files import write_whole
from ..errors import MachineError, UserError
from .folder import (
    DONE,
    FORMAT,
    LOG,
    PARTS,
    RUN,
    Layout,
    check_own,
    clear,
    clear_halves,
    clear_parts,
    read_run,
    starts_of,
    write_json,
)
from .sameness import check_same, run_print
from .told import Failure

PACKAGES = ("segloop", "torch", "transformers", "numpy", "pillow")

Outcome = TypeVar("Outcome")


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
class Shards(Generic[Outcome]):
    """How a kind of run keeps what came of each photo of a shard."""

    layout: Layout
    encode: Callable[[Sequence[Outcome], str], bytes]  # with the seal: which shard of which run this is
    decode: Callable[[bytes, Mapping[str, Any], str], list[Outcome] | None]  # with inputs and seal; None: damaged
    failed: type  # of outcomes that are failures; they have source, error and remedy


@dataclass(frozen=True)
class Record(Generic[Outcome]):
    """A run's folder, made by `open_record`."""

    folder: Path
    inputs: dict[str, Any]
    shards: Shards[Outcome]

    @property
    def finished(self) -> dict[str, Any] | None:
        """run.json of a run that has ended, else None. Raises UserError where what it found is damaged."""
        kept = read_run(self.folder)
        if not kept or kept["state"] != DONE:
            return None
        if not self.shards.layout.found(kept):
            what = f"{self.folder / RUN} is said to be done and does not hold its results"
            raise UserError(what, "start anew with --overwrite, or choose another --out")
        return kept

    def part(self, shard: int) -> Path:
        """Where the outcomes of a shard lie."""
        return self.folder / PARTS / f"{shard:06d}{self.shards.layout.part}"

    def keep(self, shard: int, outcomes: Sequence[Outcome]) -> None:
        """Write a shard's outcomes, whole. Raises OutputError, MachineError."""
        write_whole(self.part(shard), self.shards.encode(outcomes, self.seal(shard)))

    def outcomes(self, shard: int) -> list[Outcome] | None:
        """A shard's outcomes; None where it is not done, is another's, or was damaged by a failing machine."""
        path = self.part(shard)
        return self.shards.decode(path.read_bytes(), self.inputs, self.seal(shard)) if path.is_file() else None

    def seal(self, shard: int) -> str:
        """Which shard of which run; parts from before there were seals bear none."""
        return f"{self._print}-{shard}"

    @cached_property
    def _print(self) -> str:
        return run_print(self.inputs)

    def missing(self, shards: int, say: Callable[[str], None] = lambda sentence: None) -> list[int]:
        """Numbers of the shards that are still to be done; those that lie there damaged are told."""
        left = [shard for shard in range(shards) if self.outcomes(shard) is None]
        for shard in left:
            if self.part(shard).exists():
                say(f"{self.part(shard)} is damaged or of another run, its photos are done again")
        return left

    def failures(self, outcomes: Iterable[Outcome]) -> tuple[Failure, ...]:
        """What those say that could not be used."""
        bad: Iterable[Any] = (one for one in outcomes if isinstance(one, self.shards.failed))
        return tuple((one.source, one.error, one.remedy) for one in bad)

    def failing(self, shards: Iterable[int]) -> list[int]:
        """Those of some shards in which an image could not be used."""
        return [shard for shard in shards if self.failures(self.outcomes(shard) or [])]

    def all_outcomes(self, shards: int) -> list[Outcome]:
        """Those of every shard, in order. Raises MachineError where one is missing."""
        parts = [self.outcomes(shard) for shard in range(shards)]
        if None in parts:
            what = f"a helping process was lost before {self.folder} was done"
            raise MachineError(what, "run the same command again, it goes on where it stopped")
        return [outcome for part in parts for outcome in part or []]

    def end(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """Write run.json with what was found -> as written. It comes last: with it the run is done."""
        done = {**self.inputs, "state": DONE, **found}
        write_json(self.folder / RUN, done)
        if not _kept_for_later(done, self.shards.layout):
            clear_parts(self.folder, self.shards.layout)
        return done

    def reopen(self) -> None:
        """Say that the run is not done after all: what it is killed at from now on is made good at the next start."""
        write_json(self.folder / RUN, {**self.inputs, "state": "running"})

    def log(self, entry: Mapping[str, Any]) -> None:
        """Add an entry to log.json, or replace the one that began at the same time."""
        path = self.folder / LOG
        others = [start for start in starts_of(self.folder) if start.get("started") != entry["started"]]
        write_json(path, {"starts": [*others, dict(entry)]})


def open_record(folder: Path, inputs: Inputs, shards: Shards[Outcome], overwrite: bool = False) -> Record[Outcome]:
    """Begin a run in a `locked` folder, or go on with the one that is there; `overwrite` begins that one anew.

    Raises OptionError where another run lies there, or something that is of no run; OutputError where the folder
    cannot be written.
    """
    wanted, layout = inputs.as_json(), shards.layout
    kept = read_run(folder)
    check_own(folder, layout, kept)
    clear_halves(folder, layout)
    if overwrite or kept is None:
        clear(folder, layout)
        write_json(folder / RUN, {**wanted, "state": "running"})
    else:
        check_same(folder, kept, wanted, json.loads(json.dumps(dict(inputs.unsaid))))
        if kept["state"] == DONE and not _kept_for_later(kept, layout):
            clear_parts(folder, layout)
    return Record(folder, wanted, shards)


def _kept_for_later(done: Mapping[str, Any], layout: Layout) -> bool:
    """Whether shards of a run that is done stay: to be read, or so that images that failed can be tried again."""
    return layout.lasting or bool(done.get("failed"))


def versions() -> dict[str, str]:
    """Versions of what computes, for the record."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found

"""The folder of a run: what lies in it, who works on it, and what of it may be taken away."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..common.earlier import FAILED, FAILURES, PART, Kind, check_replaced, is_a, json_of
from ..common.files import leaving_nothing, regular, write_whole
from ..errors import OptionError, OutputError, UserError

FORMAT = 1
RUN, LOG, PARTS, LOCK = "run.json", "log.json", "parts", ".lock"
DONE = "done"
FOUND = {"images": int, "failed": int}  # what a record holds of a run that is done, of any kind
EVALUATION, LABELLING = "evaluation", "labelling"  # kinds of runs, as people are told
BESIDE: dict[str, Kind] = {FAILED: FAILURES, LOG: json_of(("starts",))}
"""What lies beside run.json in a run of any kind."""


@dataclass(frozen=True)
class Layout:
    """What a kind of run keeps in its folder; files are told by what they hold."""

    files: Mapping[str, Kind]  # beside run.json
    kept: Mapping[str, Kind]  # folders of what is kept of each photo
    part: str  # suffix of a shard's file
    kind: str = EVALUATION  # as `kind_of` reads it in a record
    lasting: bool = False  # shards stay when the run is done
    found: Callable[[Mapping[str, Any]], bool] = lambda run: True  # whether a record that is done holds its results

    @property
    def beside(self) -> dict[str, Kind]:
        """Every file beside run.json."""
        return {**self.files, **BESIDE}


def kind_of(run: Mapping[str, Any]) -> str:
    """The kind of a run; records of evaluations do not name it."""
    return LABELLING if run["settings"].get("kind") == "label" else EVALUATION


def read_run(folder: Path) -> dict[str, Any] | None:
    """run.json of a folder; None where there is none. Raises UserError for one that is none of ours, or damaged."""
    path = folder / RUN
    if not path.exists():
        return None
    run, remedy = read_json(path), "choose another --out, or move the file away"
    if run is None or "settings" not in run or "state" not in run:
        raise UserError(f"{path} is not the record of a run", remedy)
    if run.get("format") != FORMAT:
        what = f"{path} has format {str(run.get('format'))[:40]}, this segloop writes {FORMAT}"
        raise UserError(what, "choose another --out")
    wrong = next((name for name, kind in _shape(run["state"]).items() if not isinstance(run.get(name), kind)), None)
    if wrong is not None:
        lacking = "is said to be done and lacks" if run["state"] == DONE and wrong in FOUND else "is damaged: it lacks"
        raise UserError(f"{path} {lacking} its {wrong}", remedy)
    return run


def _shape(state: Any) -> dict[str, Any]:
    """What a record holds at least, by the type of each."""
    known = {"settings": dict, "versions": dict, "classes": list, "queries": list, "query_index": list, "state": str}
    return {**known, **FOUND} if state == DONE else known


@contextmanager
def locked(folder: Path, layout: Layout) -> Iterator[None]:
    """Keep a run's folder for this process; a process that is killed lets go of it.

    A folder that was made for it and in which an error leaves nothing is taken away. Raises OptionError where another
    process has it, and before anything is put there where it holds something that is of no run; OutputError where it
    cannot be written.
    """
    from filelock import FileLock

    if folder.is_dir():
        check_own(folder, layout, read_run(folder))
    lock = FileLock(folder / LOCK)
    with leaving_nothing(folder):
        made = not folder.is_dir()
        _acquire(lock, folder)
        try:
            yield
        except BaseException:
            with suppress(OSError):
                if made and os.listdir(folder) == [LOCK]:
                    (folder / LOCK).unlink()
            raise
        finally:
            lock.release()


def _acquire(lock: Any, folder: Path) -> None:
    from filelock import Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        what = f"another process is working on {folder}"
        raise OptionError(what, "wait until it ends, or choose another --out") from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise OutputError(f"cannot write into {folder} ({reason})", "choose another folder with --out") from error


def check_own(folder: Path, layout: Layout, kept: dict[str, Any] | None) -> None:
    """Raises OptionError where the folder of a new run is not empty, or a run that goes on would replace a stranger.

    A run of another kind is a stranger, whatever the user allows to be overwritten.
    """
    if kept is not None and kind_of(kept) != layout.kind:
        raise OptionError(f"{folder} holds a run of another kind ({kind_of(kept)})", "choose another --out")
    if kept is None:
        known = FAILED if is_a(folder / FAILED, FAILURES) else None
        others = sorted(path.name for path in folder.iterdir() if path.name != known and path.name[0] != ".")
        if others:
            what = f"{folder} is not empty and holds no run ({others[0]} is there)"
            raise OptionError(what, "choose another --out")
    elif kept["state"] != DONE:  # the files of one that is done are named by its record, damaged ones too
        files = {folder / name: kind for name, kind in layout.beside.items()}
        check_replaced(files, "move it away, or choose another --out")


def clear(folder: Path, layout: Layout) -> None:
    """Take away an earlier record; nothing that is not ours."""
    for name in (RUN, *layout.beside):  # run.json first: no half records
        (folder / name).unlink(missing_ok=True)
    clear_parts(folder, layout)
    for name, kind in layout.kept.items():
        for path in (folder / name).rglob("*"):
            if is_a(path, kind):
                path.unlink()
        below = [path for path in (folder / name).rglob("*") if path.is_dir()]
        _remove_empty(*sorted(below, reverse=True), folder / name)


def clear_parts(folder: Path, layout: Layout) -> None:
    """Take away shards that were done."""
    for path in (folder / PARTS).glob(f"{'[0-9]' * 6}{layout.part}"):
        path.unlink()
    _remove_empty(folder / PARTS)


def clear_halves(folder: Path, layout: Layout) -> None:
    """Take away what writes that were killed have left."""
    places = [path for name in (PARTS, *layout.kept) for path in (folder / name).rglob(".*.part")]
    for half in [*folder.glob(".*.part"), *places]:
        if PART.fullmatch(half.name):
            half.unlink(missing_ok=True)


def _remove_empty(*folders: Path) -> None:
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def starts_of(folder: Path) -> list[dict[str, Any]]:
    """What log.json says of each start; nothing where it is lost or damaged."""
    starts = (read_json(folder / LOG) or {}).get("starts")
    return [start for start in starts if isinstance(start, dict)] if isinstance(starts, list) else []


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object from a regular file; None for anything else."""
    try:
        found = json.loads(regular(path).read_text(encoding="utf-8"), parse_constant=_no_constant)
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write an object, whole. Raises OutputError, MachineError."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_whole(path, text.encode("utf-8", "backslashreplace"))

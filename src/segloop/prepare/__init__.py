"""Raw downloads of data sets -> the label files that published evaluations read (spec 7)."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..common.files import write_whole
from ..errors import OptionError, SegloopError, UserError, nearest
from .runner import Done, run_jobs
from .table import PREPARATIONS, READY
from .work import Preparation, SplitPlan, writing

__all__ = ["PREPARATIONS", "READY", "Preparation", "Prepared", "prepare"]


@dataclass(frozen=True)
class Prepared:
    """What a preparation came to."""

    made: int
    kept: int  # targets that were there already, and right
    failed: list[tuple[str, str, str]]  # (source, error, remedy)
    checks: list[str]  # sentences: what it was made from, counts against the official ones, numbers found


def prepare(
    key: str,
    root: str | Path,
    *,
    splits: str | Sequence[str] | None = None,
    workers: int = 0,
    overwrite: bool = False,
    short_side: int = 0,
    progress: Callable[[int, int], None] | None = None,
    on_error: Callable[[str, SegloopError], None] | None = None,
) -> Prepared:
    """Make the label files of `key` below `root`, the data set's root or a folder that holds it.

    `splits` are keys of the preparation's `expected` (default: its first, that of published evaluations);
    `workers` 0 means one a processor. A target that is there, decodes, has the right size and holds only known
    numbers is kept, unless `overwrite`. Files are whole or absent, and the same bytes every time. A raw file
    that is missing or damaged is told to `on_error` and skipped; `progress` gets (done, total). `short_side`
    is for ade847: the published preparation reduces photos and maps to 512; by default they keep their size.

    Raises OptionError for an unknown key, split or option, UserError where the raw files or a package that
    reads them are missing, OutputError and MachineError where nothing can be written.
    """
    preparation = _named(key)
    plans = _plans(preparation, Path(root), splits, short_side)
    workers = workers if workers > 0 else os.cpu_count() or 1
    allowed = _allowed(preparation)
    total, before = sum(len(plan.jobs) for plan in plans.values()), 0
    everything: list[Done] = []
    checks: list[str] = []
    for split, plan in plans.items():
        advance = None if progress is None else partial(_advance, progress, before, total)
        done = []
        for one in run_jobs(plan.jobs, allowed, workers=workers, overwrite=overwrite, progress=advance):
            done.append(one)
            if one.error is not None and on_error is not None:
                on_error(str(one.job.source), one.error)
        checks += [*_write_lists(plan, overwrite), *_check(preparation, split, plan, done)]
        everything += done
        before += len(done)
    failed = [(str(one.job.source), one.error.what, one.error.remedy) for one in everything if one.error is not None]
    kept = sum(one.kept for one in everything)
    return Prepared(len(everything) - kept - len(failed), kept, failed, checks)


def _named(key: str) -> Preparation:
    if key in READY:
        raise OptionError(f"{key} needs no preparation", READY[key])
    if key not in PREPARATIONS:
        raise OptionError(f"there is no preparation {key!r}", nearest(str(key), PREPARATIONS))
    return PREPARATIONS[key]


def _plans(
    preparation: Preparation, root: Path, splits: str | Sequence[str] | None, short_side: int
) -> dict[str, SplitPlan]:
    if short_side and preparation.key != "ade847":
        raise OptionError(f"short_side was given, and {preparation.key} keeps the size of its maps", "leave it out")
    if short_side < 0:
        raise OptionError(f"a short side of {short_side} pixels", "give 512, or 0 to keep the size")
    find = partial(preparation.plan, short_side=short_side) if short_side else preparation.plan
    known = preparation.expected
    asked = [splits] if isinstance(splits, str) else splits
    wanted = dict.fromkeys(asked) if asked else [next(iter(known))]
    for split in wanted:
        if split not in known:
            raise OptionError(f"{preparation.key} has no split {split!r}", nearest(str(split), known))
    return {split: _plan(preparation, find, root, split) for split in wanted}


def _plan(preparation: Preparation, find: Callable[[Path, str], SplitPlan | None], root: Path, split: str) -> SplitPlan:
    """The plan below `root` itself, or below a place where the data set usually lies. Raises UserError."""
    if not root.is_dir():
        raise UserError(f"there is no folder {root}", "check the path")
    candidates = [root / place for place in ("", *preparation.roots)]
    for candidate in candidates:
        plan = find(candidate, split)
        if plan is not None and plan.jobs:
            return plan
    entries = sorted(entry.name for entry in root.iterdir())
    found = ", ".join(entries[:6]) + (" ..." if len(entries) > 6 else "") or "nothing"
    others = [other for other in preparation.expected if other != split and any(find(at, other) for at in candidates)]
    instead = f", and raw files of the split {others[0]}" if others else ""
    what = f"{root} has no raw files for {preparation.key}, split {split}: needed are {preparation.needs}; "
    raise UserError(f"{what}there is {found}{instead}", preparation.get)


def _write_lists(plan: SplitPlan, overwrite: bool) -> list[str]:
    """Write list files where there are none; a list that says something else is the user's, and told."""
    told = []
    for path, ids in plan.lists.items():
        text = "".join(f"{name}\n" for name in ids)
        if overwrite or not path.is_file():
            with writing():
                write_whole(path, text.encode())
        elif path.read_text().split() != ids:
            told.append(f"{path} lists other photos than were prepared, and was kept")
    return told


def _check(preparation: Preparation, split: str, plan: SplitPlan, done: Iterable[Done]) -> list[str]:
    """Sentences on one split: origin, counts, numbers found, what looks odd."""
    labels = [one for one in done if not one.job.photo]
    right = [one for one in labels if one.error is None]
    ids = frozenset[int]().union(*(one.ids for one in right))
    classes = ids - {preparation.void}
    seen = f"{len(classes)} of {preparation.ids} class numbers occur"
    strange = sorted(ids - _allowed(preparation))
    seen += f", and {strange} do not exist" if strange else ", none outside the range"
    told = [f"{split}: made from {plan.origin}", f"{split}: {len(right)} of {len(labels)} label files; {seen}"]
    official = preparation.expected[split]
    if len(labels) != official:
        told.append(f"{split}: the official split has {official} photos, found: {len(labels)}")
    return told + [f"{split}: {note}" for note in plan.notes]


def _allowed(preparation: Preparation) -> frozenset[int]:
    void = () if preparation.void is None else (preparation.void,)
    return frozenset((*range(preparation.ids), *void))


def _advance(progress: Callable[[int, int], None], before: int, total: int, done: int, _: int) -> None:
    progress(before + done, total)

"""A run with kept cosines, decided anew under other constants: no network, the same labels that it would give."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np

from ..choice.methods import METHODS, PRODUCT
from ..choice.plan import known_constants, refuse_scores
from ..choice.settings import Deciding
from ..common.keys import OWN
from ..common.records import constants_of, override, share_out
from ..data.datasets import OpenDataset, open_dataset
from ..data.masks import Masks
from ..data.places import named
from ..errors import OptionError, UserError, nearest
from ..images import Normalisation, normalise, recorded
from ..line.regions import Source
from ..line.steps import rule_of
from ..maps.refine import MAP_STEPS
from ..maps.relabel import LABEL_STEPS
from ..runs.folder import RUN, locked, read_run, starts_of
from ..runs.inputs import images_hash, shards_of
from ..runs.machine import command_line, machine
from ..runs.record import Inputs, open_record
from ..runs.told import Progress, adding, silent
from ..runs.work import work
from ..words.vocabulary import WITH_ALIASES, Vocabulary, words_of
from .counting import Counting
from .preflight import labels_hash
from .record import COUNTED, LAYOUT, finish
from .regions import regions_anew
from .run import Finished
from .source import Kept, check_kept
from .task import SHARD, Task

READ: dict[str, tuple[type, ...]] = {  # settings of a run that are read here
    **dict.fromkeys(("dataset", "images_hash", "void"), (str,)),
    **dict.fromkeys(("split", "vocabulary"), (str, NoneType)),
    **dict.fromkeys(("limit", "shard"), (int, NoneType)),
    "boundary": (bool,),
}
STEPS = {**MAP_STEPS, **LABEL_STEPS}
DECIDING = [name for record in (Deciding(), *STEPS.values()) for name in constants_of(record)]


@dataclass(frozen=True)
class KeptRun:
    """A run that kept its cosines, with the data set it was made on."""

    folder: Path
    run: dict[str, Any]  # run.json
    data: OpenDataset
    vocabulary: Vocabulary
    split: str | None  # as it was given

    def source(self, changes: Mapping[str, Any], masks: Source | None = None) -> Kept:
        """Its cosines under changed constants, with `masks` where regions vote.

        Raises OptionError for constants that cosines depend on themselves.
        """
        wrong = next((name for name in changes if name not in DECIDING), None)
        if wrong is not None:
            what = f"setting {wrong!r} does not only decide, it shapes the cosines"
            raise OptionError(what, f"{nearest(wrong, DECIDING)}; for others evaluate anew")
        deciding, steps = self.records(changes)
        if any(step.is_on and getattr(step, "wants_affinity", False) for step in steps.values()):
            what = "refine=sam looks at the photo with a network, and only cosines were kept"
            raise OptionError(what, "add --set refine=none, or evaluate anew")
        settings = self.run["settings"]
        voted = "experts" in settings
        if voted and "logit_scale" in changes:
            what = "setting 'logit_scale' shapes the probabilities that experts have voted for"
            raise OptionError(what, "evaluate anew with it")
        rule = replace(rule_of(self.vocabulary, deciding), probabilities=voted)
        normalisation = Normalisation.recorded(settings)
        method = str(settings.get("method"))
        refuse_scores(method, METHODS.get(method, PRODUCT), steps.values())
        map_steps, label_steps = (tuple(steps[name] for name in table) for table in (MAP_STEPS, LABEL_STEPS))
        read = recorded(settings)
        return Kept(self.folder, map_steps, label_steps, rule, 1, read, normalisation, masks)

    def settings(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """The run's settings, as a run with these changes would have them."""
        deciding, steps = self.records(changes)
        in_use = [deciding, *(step for step in steps.values() if step.is_on)]
        now = {name: value for record in in_use for name, value in constants_of(record).items()}
        others = {name: value for name, value in self.run["settings"].items() if name not in DECIDING or name in now}
        if "refine" in self.run["settings"] and "refine" not in now and "trident" not in others:
            others = {name: value for name, value in others.items() if name not in ("affinity", "affinity_hash")}
        return {**others, **now, "keeps": []}

    def records(self, changes: Mapping[str, Any] | None = None) -> tuple[Deciding, dict[str, Any]]:
        """The constants that the run was decided with, or those with some `changes`; of steps by their table's keys."""
        parts: dict[str, Any] = {"deciding": Deciding(), **STEPS}
        kept = {name: value for name, value in self.run["settings"].items() if name in DECIDING and value is not None}
        for some in (kept, changes or {}):
            shared = share_out(parts, some)
            parts = {part: override(record, shared[part]) for part, record in parts.items()}
        return parts.pop("deciding"), parts


def open_kept(folder: Path, places: Sequence[str] = ()) -> KeptRun:
    """Open a run made with --scores; `places` are where its data set lies now, if not where it was.

    Raises UserError where it kept no cosines or its data set is another, and as `open_dataset` does.
    """
    run = read_run(folder)
    if run is None:
        below = min(folder.rglob(RUN), default=None)
        remedy = f"there are some below it, such as {below.parent}" if below else "check the path"
        raise UserError(f"{folder} holds no run", f"give the folder of an evaluation made with --scores; {remedy}")
    check_kept(folder)
    settings = run["settings"]
    _check_settings(folder, settings)
    root, split = _place(folder)
    if not places and not root:
        raise OptionError(f"{folder} does not say where its data set lies", "name it with --data")
    where, name = places or [root], settings.get("data_name")
    key, where = (name, named(name, where)) if name else (settings["dataset"], where)
    data = open_dataset(key, where, split or settings["split"], settings["limit"], Masks.of(settings))
    if images_hash([sample.name for sample in data.samples]) != settings["images_hash"]:
        raise UserError(f"{data.root} holds other images than the run saw", "give the same data set with --data")
    if data.masks.as_settings(data.dataset.rule, data.dataset.key in OWN) != (settings.get("masks") or {}):
        raise UserError(f"{data.root} gives its label maps other values", "give the same data set with --data")
    variant = (settings["vocabulary"] or "").removesuffix(WITH_ALIASES).rpartition("/")[2]
    vocabulary = data.vocabulary(variant or "P")
    if settings.get("aliases") and vocabulary.classes == run["classes"]:
        vocabulary = _with_aliases(vocabulary, run, folder)
    if vocabulary.queries != run["queries"] or list(vocabulary.query_index) != run["query_index"]:
        raise UserError(f"{data.root} names other classes than the run saw", "give the same data set with --data")
    return KeptRun(folder, run, data, vocabulary, split)


def _with_aliases(vocabulary: Vocabulary, run: Mapping[str, Any], folder: Path) -> Vocabulary:
    """The words that a run had, whose table of aliases need not be there. Raises UserError where they are damaged."""
    try:
        words = words_of(run["queries"], run["query_index"], len(vocabulary.classes))
        return vocabulary.with_words(words, str(run["settings"]["aliases"]))
    except (LookupError, TypeError, ValueError):
        raise UserError(f"the words in {folder / RUN} are damaged", "evaluate once more with --scores") from None


def decide_anew(
    kept: KeptRun,
    out: Path,
    changes: Mapping[str, Any],
    overwrite: bool = False,
    progress: Progress = silent,
    say: Callable[[str], None] = lambda sentence: None,
    masks: str | None = None,
) -> Finished:
    """The run that `changes` of DECIDING would have given, as a record of its own in `out`.

    `masks` are regions as --masks has them: they vote, also where the run had none. Raises OptionError for the folder
    of `kept` itself, and as `regions_anew`, `KeptRun.source` and `open_record` do.
    """
    if os.path.realpath(out) == os.path.realpath(kept.folder):
        raise OptionError(f"{out} is the run whose cosines are read", "choose another --out")
    regions = regions_anew(kept.folder, kept.run["settings"], changes, masks)
    changes, source = regions.changes, kept.source(regions.changes, regions.source)
    settings = {**kept.settings(changes), **regions.said, **labels_hash(kept.data)}
    inputs = Inputs(settings, kept.run["classes"], kept.run["queries"], kept.run["query_index"], known_constants())
    shards = shards_of(len(kept.data.samples), settings.get("shard") or SHARD)
    started = datetime.now(timezone.utc).isoformat()
    with locked(out, LAYOUT):
        record = open_record(out, inputs, COUNTED, overwrite)
        if not record.finished:
            missing = frozenset(record.missing(len(shards), say))
            names, void, boundary = kept.vocabulary.classes, settings["void"], settings["boundary"]
            job = Counting(record, kept.data, source, names, void, shards, missing, boundary)
            seconds = work([job], sorted(missing), adding(progress, job.images))
            place = {"data": [str(kept.data.root)], "split": kept.split, "from_scores": str(kept.folder)}
            made = {"command": command_line(), "machine": machine(), "seconds": seconds}
            record.log({"started": started, **made, **place})
        run = record.finished or finish(record, len(shards))
    return Finished(Task(settings["dataset"], (), out), out, run)


def _check_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Raises UserError where settings that are read here are not as runs write them."""
    try:
        masks, pixels = Masks.of(settings), Normalisation.recorded(settings)
        recorded(settings)
        fine = all(isinstance(settings.get(name), kinds) for name, kinds in READ.items())
        fine = fine and all(
            isinstance(one, (str, NoneType)) for one in (masks.suffix, masks.image_suffix, masks.values)
        )
        fine = fine and bool(np.isfinite(normalise(np.zeros((1, 1, 3), np.uint8), pixels)).all())
    except (LookupError, TypeError, ValueError, AttributeError):
        fine = False
    if not fine or min(settings.get("shard") or 1, settings["limit"] or 1) < 1:
        raise UserError(f"the settings in {folder / RUN} are damaged", "evaluate once more with --scores --overwrite")


def _place(folder: Path) -> tuple[str, str | None]:
    """Where the run's data set was, and its list of images, by its log; empty where that is lost."""
    try:
        last = starts_of(folder)[-1]
        split = last.get("split")
        return str(last["data"][0]), split if isinstance(split, str) else None
    except (LookupError, TypeError):
        return "", None

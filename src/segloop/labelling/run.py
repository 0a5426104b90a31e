"""`segloop label` behind its command: a labelling begun or gone on with, its shards done, its tables written."""

import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from threading import Event
from typing import Any

import torch

from ..common.earlier import FAILED, failure_lines
from ..common.files import replacing, write_whole
from ..common.stores import plain_address
from ..line.segmenter import Segmenter
from ..results.filters import EVERYTHING, Filter
from ..runs.folder import locked
from ..runs.inputs import images_hash, made_by, shards_of, tell_unseen
from ..runs.machine import machine
from ..runs.record import Inputs, open_record
from ..runs.work import Progress, adding, work
from ..sources.find import photos_of
from ..sources.photos import Photos
from ..words.vocabulary import Vocabulary
from .exports import EXPORTS
from .job import Labelling, job_of, with_failures
from .maps import Maps
from .outcomes import (
    CLASSES,
    LAYOUT,
    PHOTOS,
    SHARDS,
    Labellings,
    Outcome,
    Unlabelled,
    class_table,
    photo_lines,
)
from .place import claim, hand_over

SHARD = 64  # photos that are done or lost together


@dataclass(frozen=True)
class Finished:
    """A labelling that has ended, or was asked to stop."""

    folder: Path
    run: dict[str, Any] | None  # run.json; None: it was stopped and can go on
    left: int = 0  # shards that are still to be done


def label(
    source: Photos | str | Path,
    segmenter: Segmenter,
    words: Vocabulary | Sequence[str],
    out: str | Path,
    *,
    store: str | None = None,
    named: Sequence[str | None] = (),
    exports: Sequence[str] = (),
    keep: Filter = EVERYTHING,
    confidence: bool = False,
    shard: int = SHARD,
    retry_failed: bool = False,
    overwrite: bool = False,
    stop: Event | None = None,
    say: Callable[[str], None] = lambda sentence: None,
    progress: Progress = lambda done, total: None,
) -> Finished:
    """Label all photos of a source (see `photos_of`) into `out`: a map of class numbers for each, and tables.

    Started again, a labelling goes on where it ended, whatever ended it; with `retry_failed`, photos that could not be
    used are tried again. With a `store`, an address such as s3://bucket/labelled, maps, tables and exports lie there;
    `out` keeps the record and what is done. `exports` are names of EXPORTS: files of all photos that are made when all
    are done, also of a labelling that was done before. `keep` takes the class of some pixels away; with `confidence`, a
    picture of 8 bits says how sure each class was. `named` are method and host as the user gave them. `stop` ends the
    work behind the shard in hand. Raises OptionError where `out` holds another run or what is of none; OutputError,
    MachineError.
    """
    folder = Path(out)
    photos = source if isinstance(source, Photos) else photos_of(str(source), but=folder)
    encoded = segmenter.encoded(words if isinstance(words, Vocabulary) else Vocabulary(words))
    keep.check(encoded.classes)
    inputs = _inputs(photos, segmenter, encoded, named, shard, _kept(keep, confidence, store))
    tell_unseen([inputs.settings], say)
    parts = shards_of(len(photos), shard)
    with locked(folder, LAYOUT):
        record = open_record(folder, inputs, SHARDS, overwrite)
        claim(record, overwrite)
        todo = _begin(record, len(parts), retry_failed, say)
        if todo:
            _do(job_of(record, segmenter, encoded, photos, parts, todo, keep, confidence), stop, progress)
        if todo and (left := len(record.missing(len(parts)))):
            return Finished(folder, None, left)
        _export(record, photos, exports, say)
        return Finished(folder, record.finished or _end(record, len(parts)))


def _begin(record: Labellings, shards: int, retry_failed: bool, say: Callable[[str], None]) -> list[int]:
    """Shards that are to be done: those that are missing, and, where that is wished, those with failures."""
    missing = record.missing(shards, say)
    again = with_failures(record, sorted(set(range(shards)) - set(missing))) if retry_failed else []
    todo = sorted({*missing, *again})
    if record.finished and not todo:
        say(f"{record.folder} holds this labelling, done")
    elif record.finished:
        record.reopen()
    if todo and len(missing) < shards:
        say(f"{record.folder}: going on, {len(todo)} of {shards} shards are left")
    return todo


def _inputs(
    photos: Photos,
    segmenter: Segmenter,
    words: Vocabulary,
    named: Sequence[str | None],
    shard: int,
    kept: Mapping[str, Any],
) -> Inputs:
    settings = {
        "kind": "label",
        "source": photos.root.rstrip("/").rpartition("/")[2],
        "images_listed": len(photos),
        "images_hash": images_hash(photos.paths),
        **made_by(segmenter, words, named),
        **kept,
        "batch": segmenter.batch,
        "shard": shard,
        "threads": torch.get_num_threads(),
        "device": segmenter.clip.device.type,
    }
    return Inputs(settings, words.classes, words.queries, words.query_index)


def _kept(keep: Filter, confidence: bool, store: str | None) -> dict[str, Any]:
    """Settings of what is kept of a photo's result, and where, where they are not as usual."""
    filtered = {"filter": keep.as_settings()} if keep.is_on else {}
    return filtered | ({"confidence": True} if confidence else {}) | ({"store": plain_address(store)} if store else {})


def _export(record: Labellings, photos: Photos, exports: Sequence[str], say: Callable[[str], None]) -> None:
    maps = Maps(record, photos)
    for name in exports:
        say(f"wrote {maps.place}/{EXPORTS[name](maps)}")


def _do(job: Labelling, stop: Event | None, progress: Progress) -> None:
    started = datetime.now(timezone.utc).isoformat()
    source = job.photos.root
    entry = {"started": started, "command": shlex.join(sys.argv), "machine": machine(), "source": source}
    job.record.log(entry)
    seconds = work([job], sorted(job.missing), adding(progress, job.images), stopped=(stop or Event()).is_set)
    ended = datetime.now(timezone.utc).isoformat()
    job.record.log({**entry, "ended": ended, "seconds": seconds, "images": job.images})


def _end(record: Labellings, shards: int) -> dict[str, Any]:
    """Tables of all photos, a shard in memory at a time, then run.json."""
    names = record.inputs["classes"]
    photos, pixels, failed = [0] * len(names), [0] * len(names), []
    done = total = 0

    def outcomes() -> Iterator[Outcome]:
        for shard in range(shards):
            yield from record.outcomes(shard) or []

    for one in outcomes():
        if isinstance(one, Unlabelled):
            failed.append((one.source, one.error, one.remedy))
            continue
        done += 1
        total += one.size[0] * one.size[1]
        for number, count in one.pixels.items():
            photos[number] += 1
            pixels[number] += count
    with replacing(record.folder / PHOTOS) as stream:
        stream.writelines(photo_lines(outcomes(), names))
    write_whole(record.folder / CLASSES, class_table(photos, pixels, names, total))
    if failed:
        write_whole(record.folder / FAILED, failure_lines(failed))
    else:
        (record.folder / FAILED).unlink(missing_ok=True)
    found = {"images": done, "failed": len(failed)}
    hand_over(record, found)
    return record.end(found)

"""`segloop label` behind its command: a labelling begun or gone on with, its shards done, its tables written."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from threading import Event
from typing import Any

import torch

from ..common.earlier import FAILED, failure_lines
from ..common.files import replacing, write_whole
from ..common.stores import plain_address
from ..errors import OptionError
from ..line.measured import measured
from ..line.segmenter import Segmenter
from ..results.filters import EVERYTHING, Filter
from ..runs.crew import Crew, Work
from ..runs.folder import locked
from ..runs.inputs import as_recorded, images_hash, made_by, tell_unseen
from ..runs.machine import command_line, machine
from ..runs.networks import Networks
from ..runs.record import Inputs, open_record
from ..runs.told import Progress, adding, silent
from ..sources.find import photos_of
from ..sources.photos import Photos
from ..words.vocabulary import Vocabulary
from .copies import Copies, copies_of, copy_shards
from .exports import EXPORTS
from .job import Labelling, job_of
from .maps import Maps
from .outcomes import (
    CLASSES,
    COPIES,
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
from .sent import Sent, sent

SHARD = 64  # photos that are done or lost together


@dataclass(frozen=True)
class Finished:
    """A labelling that has ended, or was asked to stop."""

    folder: Path
    run: dict[str, Any] | None = field(repr=False)  # run.json; None: it was stopped and can go on
    left: int = 0  # shards that are still to be done


def label(
    source: Photos | str | Path,
    segmenter: Segmenter | Networks,
    words: Vocabulary | Sequence[str],
    out: str | Path,
    *,
    store: str | None = None,
    exports: Sequence[str] = (),
    keep: Filter = EVERYTHING,
    confidence: bool = False,
    shard: int = SHARD,
    dedup: bool = False,
    retry_failed: bool = False,
    overwrite: bool = False,
    crew: Crew | None = None,
    stop: Event | None = None,
    say: Callable[[str], None] = lambda sentence: None,
    progress: Progress = silent,
) -> Finished:
    """Label all photos of a source (see `photos_of`) into `out`: a map of class numbers for each, and tables.

    Started again, a labelling goes on where it ended, whatever ended it; with `retry_failed`, photos that could not be
    used are tried again. With a `store`, an address such as s3://bucket/labelled, maps, tables and exports lie there;
    `out` keeps the record. With `dedup`, photos of the same bytes are labelled once. `exports` are names of EXPORTS,
    made when all photos are done, also later. `keep` takes the class of some pixels away; with `confidence`, a picture
    of 8 bits says how sure each class was. `crew` is who works (`runs.engines.crew_of`); where others help, networks
    are said in plain values. `stop` ends the work behind the shards in hand. Raises OptionError where `out` holds
    another run or what is of none; OutputError, MachineError.
    """
    folder, crew = Path(out), crew or Crew()
    photos = source if isinstance(source, Photos) else photos_of(str(source), but=folder)
    networks, opened = _opened(segmenter, crew, None if overwrite else folder, len(photos), say)
    encoded = opened.encoded(words if isinstance(words, Vocabulary) else Vocabulary(words))
    keep.check(encoded.classes)
    copies = copies_of(photos, None if overwrite else folder / COPIES) if dedup else Copies(photos)
    photos, parts = copies.photos, copies.shards(shard)
    kept = {**_kept(keep, confidence, store), **copies.settings()}
    inputs = _inputs(photos, opened, encoded, networks.named if networks else (), shard, kept)
    tell_unseen([inputs.settings], say)
    with locked(folder, LAYOUT):
        record = open_record(folder, inputs, SHARDS, overwrite)
        claim(record, overwrite)
        if todo := _begin(record, len(parts), retry_failed, say):
            job = job_of(record, opened, encoded, photos, parts, todo, keep, confidence)
            others = sent(job, networks, encoded, offline=crew.near) if networks and crew.helped else None
            _do(job, others, copies, crew, stop or Event(), progress)
            if left := len(record.missing(len(parts))):
                return Finished(folder, None, left)
        _export(Maps(record, photos, parts), exports, say)
        return Finished(folder, record.finished or _end(record, len(parts)))


def _opened(
    segmenter: Segmenter | Networks, crew: Crew, before: Path | None, photos: int, say: Callable[[str], None]
) -> tuple[Networks | None, Segmenter]:
    """The networks in plain values, where they came so, and open. Raises OptionError where others need the former.

    A batch that nobody has said is that of the run in the folder `before`, else the best one here for so many photos.
    """
    if isinstance(segmenter, Networks):
        opened = segmenter.open()
        known = as_recorded(before, {"batch": segmenter.batch}) if before else {}
        if segmenter.batch or known:
            return segmenter, replace(opened, **known)
        return segmenter, measured(opened, photos, say)
    if crew.helped:
        raise OptionError("several processes came with an open Segmenter", "give its Networks instead")
    return None, segmenter


def _begin(record: Labellings, shards: int, retry_failed: bool, say: Callable[[str], None]) -> list[int]:
    """Shards that are to be done: those that are missing, and, where that is wished, those with failures."""
    missing = record.missing(shards, say)
    again = record.failing(sorted(set(range(shards)) - set(missing))) if retry_failed else []
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


def _export(maps: Maps, exports: Sequence[str], say: Callable[[str], None]) -> None:
    for name in exports:
        if made := EXPORTS[name](maps):
            say(f"wrote {maps.place}/{made}")


def _do(job: Labelling, others: Sent | None, copies: Copies, crew: Crew, stop: Event, progress: Progress) -> None:
    started = datetime.now(timezone.utc).isoformat()
    entry = {
        "started": started,
        "command": command_line(),
        "machine": machine(),
        **crew.told,
        "source": job.photos.root,
    }
    job.record.log(entry)
    copies.write(job.record.folder)
    behind = [number for number in sorted(job.missing) if job.shards[number].start >= copies.originals]
    first = sorted(job.missing.difference(behind))
    advance = adding(progress, job.images)
    seconds = crew.do(Work([job], first, others), advance, stop.is_set) if first else {}
    copy_shards(job, copies, behind, advance, stop.is_set)
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

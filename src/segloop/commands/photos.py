"""What `segloop segment` does once everything is settled: many photos, their files, what failed."""

import json
import os
import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ..common import console
from ..common.ahead import behind, threads
from ..common.attempts import attempt
from ..common.earlier import FAILED, LINE, failure_lines, is_a
from ..common.files import write_whole
from ..common.strict import one_line
from ..common.visible import counted, shortened
from ..errors import ImageError
from ..results.annotations import Collection, common_folder, look_into, real_place
from ..results.filters import EVERYTHING, Filter
from ..results.segmentation import FORMATS, Segmentation
from ..words.vocabulary import Vocabulary
from .finished import Finished, opened
from .places import is_too_long, of_a_photo, of_the_run

SOURCE = re.compile(rb'\s*\{\s*"source": ("(?:[^"\\]|\\.)*")')
"""How a record begins: whose it is."""
READERS = WRITERS = 2  # threads: one decodes, or writes, while the other waits for the disk

if TYPE_CHECKING:
    from ..line.segmenter import Segmenter  # at run time it brings torch, seconds before a wrong option is told


@dataclass(frozen=True)
class SegmentRun:
    """A settled command."""

    segmenter: "Segmenter"
    vocabulary: Vocabulary
    stems: dict[Path, Path]  # photo -> its results without suffix
    out: Path
    formats: Sequence[str]
    json_lines: bool = False
    overwrite: bool = False  # begin the files of the run anew
    keep: Filter = EVERYTHING
    named: Sequence[str | None] = ()  # method and host as the user gave them


def run_segment(job: SegmentRun) -> int:
    """Segment, write, tell -> exit code. A photo that cannot be used costs a line in failed.jsonl, no more."""
    failed: list[tuple[str, ImageError]] = []
    report = job.out / FAILED
    report.unlink(missing_ok=True)

    def on_error(photo: Any, error: ImageError) -> None:
        console.say(f"error: {error}")
        failed.append((str(photo), error))

    vocabulary = _encoded(job)
    finished = _finished(job, vocabulary) if len(job.stems) > 1 else None
    photos, mapped = _still_to_do(job, finished, on_error)
    _tell_of_earlier(job, finished, photos)
    many = len(photos) > 1
    results = job.segmenter.stream(photos, vocabulary, keep=job.keep, on_error=on_error, readers=READERS if many else 0)
    save = partial(_saved, job)
    with ExitStack() as stack:
        saved = behind(stack.enter_context(threads(WRITERS)), save, results, _weight) if many else map(save, results)
        collections = [
            stack.enter_context(together.collect(job.out / together.name, vocabulary.classes))
            for together in of_the_run(job.formats)
        ]
        _take_maps(job, mapped, collections)
        try:
            with console.progress("photos", len(photos)) as advance:
                done = 0
                for result, paths in saved:
                    kept: ImageError | None
                    if isinstance(paths, ImageError):
                        kept = paths
                    else:
                        kept = attempt(partial(_keep, job, result, paths, collections, finished), result.source)
                    if isinstance(kept, ImageError):
                        on_error(result.source, kept)
                    else:
                        done += 1
                    advance(done + len(failed))
                    del result  # nothing of it stays beside the next one
        finally:
            if failed:
                write_whole(report, failure_lines((photo, error.what, error.remedy) for photo, error in failed))
            _keep_together(job, collections)
    if not failed:
        _tell_how_many(job, done)
        return console.DONE
    if len(job.stems) == 1:
        return failed[0][1].exit_code
    console.say(f"{len(job.stems) - len(failed)} of {len(job.stems)} photos done; the others are in {report}")
    return console.SOME_FAILED


def _tell_how_many(job: SegmentRun, done: int) -> None:
    """The last line of many photos; files of the run say it themselves."""
    if len(job.stems) > 1 and not job.json_lines and not list(of_the_run(job.formats)):
        before = len(job.stems) - done
        earlier = f", {before} of them before" if before else ""
        console.tell(f"{counted(len(job.stems), 'photo')} done{earlier}; results are in {job.out}")


def _finished(job: SegmentRun, vocabulary: Vocabulary) -> Finished:
    """What this run finds done."""
    from ..runs.inputs import made_by, tell_unseen
    from ..runs.record import Inputs

    words = (vocabulary.classes, vocabulary.queries, vocabulary.query_index)
    settings = {**made_by(job.segmenter, vocabulary, job.named), "filter": job.keep.as_settings()}
    tell_unseen([settings], console.say)
    return opened(job.out, Inputs(settings, *words).as_json(), job.overwrite)


def _still_to_do(
    job: SegmentRun, finished: Finished | None, failed: Callable[[Any, ImageError], None]
) -> tuple[list[str], list[Path]]:
    """Photos that have no result of these networks and words yet, and those whose map lacks only in files of the run.

    Those that are done are told, in one line.
    """
    suffixes = [row.suffix for row in of_a_photo(job.formats).values()]
    together = [job.out / one.name for one in of_the_run(job.formats)]
    listed = [found.places() if (found := look_into(path, None)) else set() for path in together]
    photos: list[str] = []
    mapped: list[Path] = []
    before = 0
    for photo, stem in job.stems.items():
        if is_too_long(stem, job.out, job.formats):
            failed(photo, ImageError(f"{shortened(photo)} has a name that is too long for its results", "shorten it"))
            continue
        files = finished.files(photo, stem, suffixes) if finished and not job.overwrite else None
        is_listed = all(real_place(photo) in places for places in listed)
        if files is None or not (is_listed or (finished and finished.files(photo, stem, [FORMATS["png"].suffix]))):
            photos.append(str(photo))
            continue
        mapped += [] if is_listed else [photo]
        before += 1
        if job.json_lines:
            console.tell(one_line({"source": str(photo), "done": "before", "files": [*files, *map(str, together)]}))
    if before:
        told = "was done before" if before == 1 else "were done before"
        console.say(
            f"{before} of {len(job.stems)} photos {told} with these networks and words; --overwrite does all anew"
        )
    return photos, mapped


def _take_maps(job: SegmentRun, photos: Sequence[Path], collections: Sequence[Collection]) -> None:
    """Photos that are done into the files of the run, from their label maps: their bytes are as they were written."""
    for photo in photos:
        with Image.open(f"{job.stems[photo]}{FORMATS['png'].suffix}") as image:
            labels = np.asarray(image).astype(np.int64)
        for collection in collections:
            collection.add(photo, labels)


def _tell_of_earlier(job: SegmentRun, finished: Finished | None, photos: Sequence[str]) -> None:
    """Say what of earlier runs stays beside new results, and what goes."""
    _tell_of_others(job, finished, photos)
    _tell_of_replaced(job, photos)


def _tell_of_others(job: SegmentRun, finished: Finished | None, photos: Sequence[str]) -> None:
    """Say that other formats of the same photos stay, which an earlier run may have made with other settings."""
    others = {row.suffix: row.kind for name, row in FORMATS.items() if name not in job.formats and not row.together}
    left = []
    for photo in map(Path, photos):
        stem = job.stems[photo]
        there = [suffix for suffix, kind in others.items() if is_a(stem.with_name(stem.name + suffix), kind)]
        same = finished and finished.files(photo, stem, there)
        left += [] if same else [f"{stem.name}{suffix}" for suffix in there]
    if left:
        more = f" and {len(left) - 1} more" if len(left) > 1 else ""
        console.say(f"{left[0]}{more} of an earlier run stay as they are: they may be of other words or settings")


def _tell_of_replaced(job: SegmentRun, photos: Sequence[str]) -> None:
    """Say that results of another photo, which is called the same, are replaced."""
    gone = [(job.stems[Path(photo)], photo, of) for photo in photos if (of := _another(job.stems[Path(photo)], photo))]
    if gone:
        stem, photo, of = gone[0]
        more = f", and so with {len(gone) - 1} more" if len(gone) > 1 else ""
        told = f"{shortened(stem)} was of {shortened(of)}: results of {shortened(photo)} replace it{more}"
        console.say(f"{told}; another --out keeps both")


def _another(stem: Path, photo: str) -> str | None:
    """The photo whose record lies there, where it still is and is another."""
    try:
        with open(f"{stem}{FORMATS['json'].suffix}", "rb") as stream:
            found = SOURCE.match(stream.read(LINE))
        source = str(json.loads(found[1])) if found else ""
        return source if source and not os.path.samefile(source, photo) else None
    except (OSError, ValueError):
        return None


def _encoded(job: SegmentRun) -> Vocabulary:
    total = len(job.vocabulary.query_index)
    with console.progress("words", total) as advance:
        return job.segmenter.encoded(job.vocabulary, progress=advance)


def _weight(result: Segmentation) -> int:
    arrays = (result.image, result.labels, result.confidence_map)
    return sum(array.nbytes for array in arrays if array is not None)


def _saved(job: SegmentRun, result: Segmentation) -> tuple[Segmentation, list[Path] | ImageError]:
    """The result and its own files, or why they cannot be; in threads."""
    stem = job.stems[Path(result.source or "")]
    return result, attempt(partial(result.save, stem, list(of_a_photo(job.formats))), result.source)


def _keep(
    job: SegmentRun,
    result: Segmentation,
    paths: Sequence[Path],
    collections: Sequence[Collection],
    finished: Finished | None,
) -> None:
    photo = Path(result.source or "")
    stem = job.stems[photo]
    for collection in collections:
        collection.add(result.source or "", result.labels)
    if finished:
        finished.add(photo, stem, [row.suffix for row in of_a_photo(job.formats).values()])
    files = [str(path) for path in (*paths, *(collection.target for collection in collections))]
    if job.json_lines:
        console.tell(one_line({**result.record(), "files": files}))
    else:
        shown = next((file for file in files if file.endswith(".overlay.png")), files[0])
        console.tell(f"{result.source} -> {shown}  {console.summary(result.share)}")


def _keep_together(job: SegmentRun, collections: Sequence[Collection]) -> None:
    """Write the files of the run with what was finished, however the run ends."""
    root = common_folder(job.stems)
    listed = {one: one.write(root, job.overwrite) for one in collections if one.photos}
    for one, photos in listed.items() if not job.json_lines else ():
        before = photos - len(one.photos)
        earlier = f", {before} of them from before" if before else ""
        console.tell(f"{one.target}  {photos} photo{'s' if photos > 1 else ''}{earlier}")

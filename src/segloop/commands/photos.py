"""What `segloop segment` does once everything is settled: many photos, their files, what failed."""

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..common import console
from ..common.attempts import attempt
from ..common.earlier import FAILED, FAILURES, anything, check_replaced, failure_lines
from ..common.files import write_whole
from ..common.visible import shortened
from ..errors import ImageError, OptionError
from ..images import expand_photos, read_image
from ..results.annotations import Collection, common_folder, look_into
from ..results.segmentation import FORMATS, Format, Segmentation, Together
from ..words.vocabulary import Vocabulary

if TYPE_CHECKING:
    from ..line.segmenter import Segmenter  # at run time it brings torch, seconds before a wrong option is told


def of_a_photo(formats: Iterable[str]) -> dict[str, Format]:
    """Those of `formats` that write a file for each photo."""
    return {name: FORMATS[name] for name in formats if not FORMATS[name].together}


def of_the_run(formats: Iterable[str]) -> list[Together]:
    """Those of `formats` that put all photos into one file."""
    return [together for name in formats if (together := FORMATS[name].together)]


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


def photo_stems(
    patterns: Sequence[str],
    out: Path,
    formats: Sequence[str] = tuple(FORMATS),
    classes_file: Path | None = None,
) -> dict[Path, Path]:
    """Photos of the patterns -> where their results go, without suffix: the path below their common folder.

    Photos whose results would bear one name keep their own suffix, and a number where that is not enough. Raises
    ImageError for a pattern without files and for a single photo that is none, OptionError where a result would
    replace a photo or the class file.
    """
    photos = expand_photos(patterns)
    if len(photos) == 1 and not photos[0].is_file():
        read_image(photos[0])  # says what it is instead, seconds before a model is open
    absolute = {photo: Path(os.path.abspath(photo)) for photo in photos}
    common = Path(common_folder(photos))
    plain = {photo: out / path.relative_to(common).with_suffix("") for photo, path in absolute.items()}
    shared = Counter(_entry(stem) for stem in plain.values())
    stems: dict[Path, Path] = {}
    taken = {_entry(out / together.name) for together in of_the_run(FORMATS)}
    for photo, stem in plain.items():
        own = stem.with_name(absolute[photo].name)
        numbered = (own.with_name(f"{own.name}-{number}") for number in count(2))
        choices = chain([stem] if shared[_entry(stem)] == 1 else [], [own], numbered)
        stems[photo] = next(choice for choice in choices if taken.isdisjoint(_files(choice, FORMATS)))
        taken |= _files(stems[photo], FORMATS)
    written = {file for stem in stems.values() for file in _files(stem, formats)}
    written |= {_entry(out / name) for name in (*(together.name for together in of_the_run(formats)), FAILED)}
    written |= {os.path.realpath(path).casefold() for path in written if os.path.islink(path)}
    read = {f"the photo {photo}": path for photo, path in absolute.items()}
    read |= {f"the class file {classes_file}": classes_file} if classes_file else {}
    for name, path in read.items():
        if not written.isdisjoint((_entry(path), os.path.realpath(path).casefold())):
            raise OptionError(f"the results in {out} would replace {name}", "choose another --out")
    return stems


def _files(stem: Path, formats: Iterable[str]) -> set[str]:
    return {_entry(stem) + row.suffix for row in of_a_photo(formats).values()}


def _entry(path: Path) -> str:
    """One text for every spelling of a directory's entry; case is no difference, as on some disks."""
    return os.path.join(os.path.realpath(path.parent), path.name).casefold()


def check_results(stems: Mapping[Path, Path], out: Path, formats: Iterable[str], overwrite: bool) -> None:
    """See that results replace nothing but earlier ones, before seconds of work; `overwrite` allows any of their names.

    Raises OptionError, OutputError.
    """
    check_replaced({out / FAILED: FAILURES}, "move it away, or choose another --out")
    fitting = [stem for stem in stems.values() if not _is_too_long(stem, out, formats)]
    rows = of_a_photo(formats).values()
    files = {stem.with_name(stem.name + row.suffix): row.kind for stem in fitting for row in rows}
    remedy = "choose another --out, or replace what is there with --overwrite"
    check_replaced(dict.fromkeys(files, anything) if overwrite else files, remedy)


def _is_too_long(stem: Path, out: Path, formats: Iterable[str]) -> bool:
    """Whether a result's name has more bytes than the disk takes."""
    most = os.pathconf(out, "PC_NAME_MAX") if hasattr(os, "pathconf") else 255
    return any(len(os.fsencode(stem.name + row.suffix)) > most for row in of_a_photo(formats).values())


def check_files_of_the_run(out: Path, formats: Sequence[str], classes: list[str], overwrite: bool) -> None:
    """See that the files of all photos can be written, before seconds of work. Raises OptionError as `look_into`."""
    for together in of_the_run(formats):
        look_into(out / together.name, None if overwrite else classes)


def run_segment(job: SegmentRun) -> int:
    """Segment, write, tell -> exit code. A photo that cannot be used costs a line in failed.jsonl, no more."""
    failed: list[tuple[str, ImageError]] = []
    report = job.out / FAILED
    report.unlink(missing_ok=True)

    def on_error(photo: Any, error: ImageError) -> None:
        console.say(f"error: {error}")
        failed.append((str(photo), error))

    vocabulary = _encoded(job)
    photos = []
    for photo, stem in job.stems.items():
        if _is_too_long(stem, job.out, job.formats):
            on_error(photo, ImageError(f"{shortened(photo)} has a name that is too long for its results", "shorten it"))
        else:
            photos.append(str(photo))
    results = job.segmenter.stream(photos, vocabulary, scores=False, on_error=on_error)
    with ExitStack() as stack:
        collections = [
            stack.enter_context(together.collect(job.out / together.name, vocabulary.classes))
            for together in of_the_run(job.formats)
        ]
        try:
            with console.progress("photos", len(job.stems)) as advance:
                done = 0
                for result in results:
                    kept = attempt(partial(_keep, job, result, collections), result.source)
                    if isinstance(kept, ImageError):
                        on_error(result.source, kept)
                    else:
                        done += 1
                    advance(done + len(failed))
        finally:
            if failed:
                write_whole(report, failure_lines((photo, error.what, error.remedy) for photo, error in failed))
            _keep_together(job, collections)
    if not failed:
        return console.DONE
    if len(job.stems) == 1:
        return failed[0][1].exit_code
    console.say(f"{len(job.stems) - len(failed)} of {len(job.stems)} photos done; the others are in {report}")
    return console.SOME_FAILED


def _encoded(job: SegmentRun) -> Vocabulary:
    total = len(job.vocabulary.query_index)
    with console.progress("words", total) as advance:
        return job.segmenter.encoded(job.vocabulary, progress=advance)


def _keep(job: SegmentRun, result: Segmentation, collections: Sequence[Collection]) -> None:
    stem = job.stems[Path(result.source or "")]
    paths = result.save(stem, list(of_a_photo(job.formats)))
    for collection in collections:
        collection.add(result.source or "", result.labels)
    files = [str(path) for path in (*paths, *(collection.target for collection in collections))]
    if job.json_lines:
        console.tell(json.dumps({**result.record(), "files": files}))
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

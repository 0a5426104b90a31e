"""What `segloop segment` does once everything is settled: many photos, their files, what failed."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import console
from .errors import ImageError, OptionError
from .files import write_whole
from .images import expand_photos
from .results import FORMATS, Segmentation
from .segmenter import Segmenter
from .vocabulary import Vocabulary


@dataclass(frozen=True)
class Job:
    """A settled command."""

    segmenter: Segmenter
    vocabulary: Vocabulary
    stems: dict[Path, Path]  # photo -> its results without suffix
    out: Path
    formats: Sequence[str]
    json_lines: bool = False


def photo_stems(patterns: Sequence[str], out: Path) -> dict[Path, Path]:
    """Photos of the patterns -> where their results go, without suffix: the path below their common folder.

    Two photos that differ in the suffix only keep it. Raises ImageError for a pattern without files, OptionError
    where a result would replace a photo.
    """
    photos = expand_photos(patterns)
    absolute = {photo: Path(os.path.abspath(photo)) for photo in photos}
    common = Path(os.path.commonpath([path.parent for path in absolute.values()]))
    plain = {photo: out / path.relative_to(common).with_suffix("") for photo, path in absolute.items()}
    taken = [os.path.normcase(stem) for stem in plain.values()]
    stems = {
        photo: stem if taken.count(os.path.normcase(stem)) == 1 else stem.with_name(photo.name)
        for photo, stem in plain.items()
    }
    sources = set(absolute.values())
    for stem in stems.values():
        for suffix, _ in FORMATS.values():
            if Path(os.path.abspath(stem.with_name(stem.name + suffix))) in sources:
                raise OptionError(f"the results in {out} would replace the photo {stem.name}", "choose another --out")
    return stems


def run_segment(job: Job) -> int:
    """Segment, write, tell -> exit code. A photo that cannot be read costs a line in failed.jsonl, no more."""
    failed: list[dict[str, str]] = []
    report = job.out / "failed.jsonl"
    report.unlink(missing_ok=True)

    def on_error(photo: Any, error: ImageError) -> None:
        console.say(f"error: {error}")
        failed.append({"source": str(photo), "error": error.what, "remedy": error.remedy})

    vocabulary = _encoded(job)
    photos = [str(photo) for photo in job.stems]
    results = job.segmenter.stream(photos, vocabulary, scores=False, on_error=on_error)
    try:
        with console.progress("photos", len(photos)) as advance:
            for count, result in enumerate(results, start=1):
                _keep(job, result)
                advance(count + len(failed))
    finally:
        if failed:
            write_whole(report, "".join(json.dumps(line) + "\n" for line in failed).encode())
    if not failed:
        return console.DONE
    if len(photos) == 1:
        return console.USERS
    console.say(f"{len(photos) - len(failed)} of {len(photos)} photos done; the others are in {report}")
    return console.SOME_FAILED


def _encoded(job: Job) -> Vocabulary:
    total = len(job.vocabulary.query_index)
    with console.progress("words", total) as advance:
        return job.vocabulary.with_embeddings(job.segmenter.text(job.vocabulary, progress=advance))


def _keep(job: Job, result: Segmentation) -> None:
    stem = job.stems[Path(result.source or "")]
    files = [str(path) for path in result.save(stem, job.formats)]
    if job.json_lines:
        console.output.print(json.dumps({**result.record(), "files": files}), markup=False)
    else:
        shown = next((file for file in files if file.endswith(".overlay.png")), files[0])
        console.output.print(f"{result.source} -> {shown}  {console.summary(result.share)}", markup=False)

"""Photos of the same bytes: found by their content before the work, labelled once, their maps copied at its end.

Of equal photos the first by name is labelled; the others come behind all others in the order of the photos, in shards
of their own. Which is which is kept in the run, so that a run that goes on need not read all photos again.
"""

import csv
import filecmp
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from ..common.files import digest_of, regular, write_whole
from ..common.sheets import cell_name, csv_text
from ..common.stores import is_address
from ..errors import ImageError, OptionError
from ..runs.inputs import images_hash, shards_of
from ..runs.told import Advance, Kept, Step
from ..runs.work import alone
from ..sources.photos import Photo, Photos
from .job import Labelling
from .outcomes import COPIES, Labelled, Outcome

READERS = 4  # threads that read contents


@dataclass(frozen=True)
class Copies:
    """Photos of a source, those to be labelled before those that are like one of them."""

    photos: Photos
    of: tuple[int, ...] = ()  # place of each copy's original
    asked: bool = False  # whether anybody looked for copies

    @property
    def originals(self) -> int:
        """How many come before the copies."""
        return len(self.photos) - len(self.of)

    def shards(self, size: int) -> list[slice]:
        """Shards of originals, then shards of copies."""
        behind = [
            slice(part.start + self.originals, part.stop + self.originals) for part in shards_of(len(self.of), size)
        ]
        return [*shards_of(self.originals, size), *behind]

    def settings(self) -> dict[str, object]:
        """For the record."""
        if not self.asked:
            return {}
        return {"dedup": True, "copies": len(self.of), "copies_hash": images_hash([str(place) for place in self.of])}

    def write(self, folder: Path) -> None:
        """copies.csv, where it was asked for: each copy and what it is a copy of. Raises OutputError, MachineError."""
        if not self.asked:
            return
        names = [photo.name for photo in self.photos]
        rows = zip(names[self.originals :], (names[place] for place in self.of), strict=True)
        write_whole(folder / COPIES, csv_text([("photo", "same_as"), *rows]).encode("utf-8", "backslashreplace"))


def copies_of(photos: Photos, known: Path | None = None) -> Copies:
    """Tell copies from originals, by a copies.csv that is `known`, else by the photos' contents.

    Raises OptionError for photos that are no files of a disk.
    """
    if photos.containers or is_address(photos.root):
        raise OptionError("--dedup came with photos that are no files of a disk", "leave it out")
    kept = _read(photos, known) if known else None
    return _ordered(photos, _compared(photos) if kept is None else kept)


def _ordered(photos: Photos, original: dict[int, int]) -> Copies:
    """{place of a copy: place of its original} -> the photos in another order."""
    first = [place for place in range(len(photos)) if place not in original]
    now = {place: number for number, place in enumerate(first)}
    behind = sorted(original, key=lambda place: (original[place], place))
    order = photos.order[[*first, *behind]]
    return Copies(replace(photos, order=order), tuple(now[original[place]] for place in behind), asked=True)


def _compared(photos: Photos) -> dict[int, int]:
    """{place of a copy: place of its original}. Only what shares its size with another is read."""
    paths = [Path(photo.place) for photo in photos]
    by_size: dict[int, list[int]] = defaultdict(list)
    for place, path in enumerate(paths):
        with suppress(OSError):  # what cannot be read is like no other
            by_size[os.stat(regular(path)).st_size].append(place)
    alike = [place for places in by_size.values() if len(places) > 1 for place in places]
    with ThreadPoolExecutor(READERS) as pool:
        digests = pool.map(lambda place: digest_of(paths[place]), alike)
        first: dict[bytes, int] = {}
        found = {place: first.setdefault(digest, place) for place, digest in zip(alike, digests, strict=True) if digest}
    return {place: original for place, original in found.items() if place != original}


def _read(photos: Photos, known: Path) -> dict[int, int] | None:
    """What `Copies.write` wrote of these photos; None where it is of others."""
    places = {photo.name: place for place, photo in enumerate(photos)}
    try:
        lines = list(csv.DictReader(known.read_text(encoding="utf-8").splitlines()))
        return {places[cell_name(line["photo"])]: places[cell_name(line["same_as"])] for line in lines}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def copy_shards(
    job: Labelling, copies: Copies, shards: Iterable[int], advance: Advance, stopped: Callable[[], bool]
) -> None:
    """Do shards of copies, those of their originals being done, until it is `stopped` behind one of them."""

    @lru_cache(2)
    def outcomes(shard: int) -> Sequence[Outcome]:
        return job.record.outcomes(shard) or []

    size = job.shards[0].stop
    for shard in shards:
        if stopped():
            return
        part, done = job.shards[shard], []
        for item, place in zip(job.items(shard), copies.of[part.start - copies.originals :], strict=False):
            (original,) = copies.photos[place : place + 1]
            done.append(_outcome(job, shard, item, original, outcomes(place // size)[place % size]))
        job.record.keep(shard, done)
        advance(Step(len(done), job.record.folder, Kept(shard, len(done), job.record.failures(done))))


def _outcome(job: Labelling, shard: int, item: Photo, original: Photo, made: Outcome) -> Outcome:
    """The original's map under the copy's name; a photo by itself where there is none, or it was changed since."""
    with suppress(OSError, ImageError):
        if isinstance(made, Labelled) and filecmp.cmp(original.place, item.place, shallow=False):
            return job.copied(item, made)
    return alone(job, shard, item)

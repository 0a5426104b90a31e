"""Which photos are meant: a folder, a pattern, a list, a container; each with the name that its label map bears."""

import glob
import os
import re
import warnings
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

from ..common import stores
from ..common.visible import counted, shortened
from ..errors import ImageError, Notice, OptionError
from ..images import SUFFIXES, expand_photos
from .containers import Asked, Opener
from .lists import beside, open_lines, open_sheet
from .parquet import open_table
from .photos import Container, Photos, arranged
from .tars import open_tar
from .videos import VIDEOS, open_video

LISTS: dict[str, Opener] = {".txt": open_lines, ".list": open_lines, ".csv": open_sheet, ".tsv": open_sheet}
"""Files that list photos, by their suffix: adding one is adding a row."""

CONTAINERS: dict[str, Opener] = {".tar": open_tar, ".parquet": open_table, ".pq": open_table}
CONTAINERS |= dict.fromkeys(VIDEOS, open_video)
"""Files that hold many photos, by their suffix."""

TABLES = (".csv", ".tsv", ".parquet", ".pq")
BRACES = re.compile(r"\{(?:(\d+)\.\.(\d+)|([^{}]*,[^{}]*))\}")
NONE = f"a photo ends in {', '.join(SUFFIXES[:4])} ...; or give a list"


def photos_of(
    source: str, column: str | None = None, but: Path | None = None, fps: str | float | None = None
) -> Photos:
    """A folder (with all below it), a pattern, one photo, a list, a table, tar shards, videos -> its photos.

    Any of them may lie in a store and be given by its address. Paths of a list are relative to the list. Photos come
    in the order of their names, each once; those whose results would bear one name keep their own suffix. What lies
    below the folder `but`, where results go, is no photo. `column` is the column of a table or the suffix of photos in
    tar shards, `fps` how many frames of a video are taken in a second. Raises ImageError where there is none,
    OptionError for a table without such a column and for videos without a rate.
    """
    asked = Asked(column, _rate(fps))
    results = os.path.join(os.path.abspath(but), "").replace(os.sep, "/") if but else None
    places = _places(source, asked)
    paths = [path for path in dict.fromkeys(places) if results is None or not path.startswith(results)]
    files, containers = _opened(paths, asked)
    if column and not containers and _suffix(source) not in TABLES:
        raise OptionError(f"--column came with {source}", "it goes with a table or tar shards: .csv, .parquet, .tar")
    if not files and not containers:
        raise ImageError(f"{source} holds no photo", NONE)
    if not containers and not any(stores.is_address(path) or os.path.lexists(path) for path in files):
        told = shortened(source) if files == [_absolute(source)] else f"what {shortened(source)} names"
        raise ImageError(f"{told} is not there", "check the path; those of a list are relative to the list")
    return arranged(files, containers)


def braced(pattern: str) -> list[str]:
    """ "shard-{000..002}.tar", "{a,b}.tar" -> the names that are meant."""
    found = BRACES.search(pattern)
    if found is None:
        return [pattern]
    first, last, several = found.groups()
    parts = several.split(",") if several else [f"{i:0{len(first)}d}" for i in range(int(first), int(last) + 1)]
    return [one for part in parts for one in braced(pattern[: found.start()] + part + pattern[found.end() :])]


def _rate(fps: str | float | None) -> Fraction | None:
    if fps is None:
        return None
    try:
        rate = Fraction(str(fps))
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= 1000:
        raise OptionError(f"--fps {fps} is no rate", "give frames a second, such as 1, 0.5 or 30000/1001")
    return rate


def _places(source: str, asked: Asked) -> Iterator[str]:
    """Absolute paths and addresses that a source means, lists read."""
    for one in [source] if os.path.lexists(source) else braced(source):
        for place in _stored(one, asked) if stores.is_address(one) else _local(one, asked):
            opener = LISTS.get(_suffix(place)) if place in (one, _absolute(one)) else None
            if opener and (stores.is_address(place) or os.path.isfile(place)):
                yield from (beside(place, str(name)) for name in opener(place, asked))
            else:
                yield place


def _local(source: str, asked: Asked) -> Iterable[str]:
    if os.path.isdir(source):
        return _of_folder(_below(source), source, asked)
    if glob.has_magic(source) and not os.path.lexists(source):
        found = expand_photos([source])
        return [_absolute(path) for path in found if _suffix(str(path)) in (*SUFFIXES, *CONTAINERS)]
    return [_absolute(source)]


def _stored(source: str, asked: Asked) -> Iterable[str]:
    if glob.has_magic(source):
        return [one for one in stores.matching(source) if _suffix(one) in (*SUFFIXES, *CONTAINERS)]
    if _suffix(source) in (*SUFFIXES, *CONTAINERS, *LISTS):
        return [source]
    found = sorted(one for one in stores.below(source) if not _hidden(one[len(source) :]))
    if not found:
        raise ImageError(f"{shortened(source)} is not there, or holds nothing", "check the address")
    return _of_folder(found, source, asked)


def _of_folder(files: Iterable[str], folder: str, asked: Asked) -> list[str]:
    """Photos below a folder; where there are none, containers. Videos are taken beside photos where a rate is given."""
    kinds: dict[str, list[str]] = {"photo": [], "video": [], "table or tar shard": []}
    for path in files:
        suffix = _suffix(path)
        kind = "photo" if suffix in SUFFIXES else "video" if suffix in VIDEOS else "table or tar shard"
        if kind == "photo" or suffix in CONTAINERS:
            kinds[kind].append(path)
    photos, videos, others = kinds.values()
    passed = [] if asked.fps or not (photos or others) else [counted(len(videos), "video")] * bool(videos)
    passed += [counted(len(others), "table or tar shard")] * bool(photos and others)
    if passed:
        what = f"{' and '.join(passed)} in {shortened(folder)} are passed over"
        warnings.warn(Notice(f"{what}; give them by a pattern, and --fps for videos"), stacklevel=2)
    taken = videos if asked.fps or not (photos or others) else []
    return [*photos, *taken, *([] if photos else others)]


def _opened(paths: Iterable[str], asked: Asked) -> tuple[list[str], list[Container]]:
    """Photos that are files of their own, and containers, those that tables list among them."""
    files: dict[str, None] = {}
    containers: list[Container] = []
    for path in paths:
        opener = CONTAINERS.get(_suffix(path))
        if opener is None or not (stores.is_address(path) or os.path.isfile(path)):
            files[path] = None
            continue
        for found in opener(path, asked):
            if isinstance(found, str):
                files[beside(path, found)] = None
            else:
                containers.append(found)
    return list(files), containers


def _below(folder: str) -> Iterator[str]:
    """Every file below a folder; hidden files and folders are none of it."""
    for place, folders, files in os.walk(os.path.abspath(folder)):
        folders[:] = sorted(name for name in folders if name[0] != ".")
        yield from (os.path.join(place, name).replace(os.sep, "/") for name in sorted(files) if name[0] != ".")


def _hidden(path: str) -> bool:
    return any(part.startswith(".") for part in path.split("/"))


def _absolute(path: str | Path) -> str:
    return os.path.abspath(path).replace(os.sep, "/")


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()

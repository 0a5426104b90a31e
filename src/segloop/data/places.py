"""Where a data set lies: the values of `--data`, and the root of a data set at or below them."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from ..common.keys import FOLDER, OWN
from ..errors import OptionError, nearest
from .layouts import DATASETS, Dataset


@dataclass(frozen=True)
class Place:
    """One value of `--data`: a folder, for one data set, perhaps of the user's own naming, or (`key` None) for all."""

    folder: Path
    key: str | None = None


def read_places(values: Sequence[str | os.PathLike[str]]) -> list[Place]:
    """`DIR`, `key=DIR` or `name=DIR` -> places, in order. Raises OptionError for a folder that is not there."""
    return [_read_place(os.fspath(value)) for value in values]


def said_places(values: Sequence[str | os.PathLike[str]]) -> list[Place]:
    """The same as they were said, their folders not looked at."""
    return [Place(Path(folder), key) for key, folder in (_split(os.fspath(value)) for value in values)]


def check_named(places: Sequence[Place], keys: Sequence[str] = ()) -> None:
    """Raises OptionError where a place bears a name that is no data set's, and none of these keys."""
    for place in places:
        if place.key is not None and place.key not in DATASETS and place.key not in keys:
            alike = get_close_matches(place.key, DATASETS, n=1, cutoff=0.7)
            if alike or not keys:
                what = f"--data {place.key}={place.folder} names no data set that is known"
                raise OptionError(what, nearest(place.key, [*DATASETS, *keys]))
            what = f"--data {place.key}={place.folder} came, and {place.key} is not evaluated"
            raise OptionError(what, f"leave it out, or evaluate {','.join([*keys, place.key])}")


def named(name: str, values: Sequence[str]) -> list[str]:
    """Values of --data for one data set of this name, whether or not they say it."""
    said = [value for value in values if value.startswith(f"{name}=")]
    return said or [f"{name}={value}" for value in values]


def check_one(dataset: Dataset, key: str, places: Sequence[Place]) -> None:
    """Raises OptionError where two places hold a folder of the user's own, of which one would be taken in silence."""
    images, labels = dataset.folders(dataset.part)
    anywhere = dataset.key == FOLDER
    whole = [one.folder for one in places if one.key or (anywhere and fit(dataset, one.folder, images, labels) > 1)]
    if dataset.key not in OWN or not whole:
        return
    first, *others = {os.path.realpath(folder): folder for folder in whole}.values()
    if not others:
        return
    one, two = (re.sub(r"[^\w-]", "-", str(folder.name)) for folder in (first, others[0]))
    if one == two or {one, two} & {*DATASETS, ""}:
        one, two = "one", "two"
    what = f"two folders came for {key!r} ({first} and {others[0]})"
    remedy = f"give each a name: --data {one}={first} --data {two}={others[0]}, and evaluate {one},{two}"
    raise OptionError(what, remedy)


def places_of(key: str, places: Sequence[Place]) -> list[Place]:
    """The places to look for one data set in: those given for it, else those given for all."""
    return [place for place in places if place.key == key] or [place for place in places if place.key is None]


def find_root(dataset: Dataset, places: Sequence[Place], images: str, labels: str) -> Path | None:
    """The data set's root at or below the places, or None; `images` and `labels` are the folders it should hold.

    A place is the root itself where it holds both folders, bears the usual name, or was given for this key; or it
    holds the root, or a child of it does, under one of the usual paths (design: any folder above it). Names are
    compared without case. Deeper folders are not searched. Of several candidates the first one that is most
    complete is taken: the photos' folder, the labels' folder, label files with this data set's suffix. Two data
    sets with one layout are told apart by name.
    """
    best: tuple[int, Path] | None = None
    for place in places:
        for level in (_at(dataset, place, images, labels), _below(dataset, place.folder)):
            scored = [(fit(dataset, root, images, labels), root) for root in level]
            top = max(scored, key=lambda pair: pair[0], default=None)  # of equals the first
            if top is not None and (best is None or top[0] > best[0]):
                best = top
            if top is not None and top[0] > 0:
                break
    return best[1] if best is not None else None


def fit(dataset: Dataset, root: Path, images: str, labels: str) -> int:
    """How much of the layout is there, 0 to 3: the photos' folder, the labels' folder, a label file of its suffix."""
    found = os.path.isdir(root / images) + os.path.isdir(root / labels)
    return found + any(True for _ in files_below(root / labels, dataset.label_suffix))


def files_below(folder: Path, suffixes: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """(name, suffix) of the files in a folder and its sub-folders that end so, in no order.

    The name is the path below `folder` with "/" and without the suffix. Links are followed, each folder is read
    once; what begins with a dot is left out (macOS leaves `._name.png` beside files).
    """
    seen: set[str] = set()
    waiting = [(folder, "")]
    while waiting:
        here, above = waiting.pop()
        real = os.path.realpath(here)
        if real in seen:
            continue
        seen.add(real)
        for entry in _entries(here):
            if _is_folder(entry):
                waiting.append((here / entry.name, f"{above}{entry.name}/"))
            elif (suffix := suffix_of(entry.name, suffixes)) is not None:
                yield above + entry.name[: len(entry.name) - len(suffix)], suffix


def suffix_of(name: str, suffixes: tuple[str, ...]) -> str | None:
    """The suffix that a file name ends with, as it is spelled there; None without one or without a stem."""
    ends = [name[len(name) - len(suffix) :] for suffix in suffixes if name.lower().endswith(suffix.lower())]
    return ends[0] if ends and len(ends[0]) < len(name) else None


def glimpse(folder: Path, most: int = 5) -> str:
    """What a folder holds, for an error: "it holds images, train.txt and 3 more"."""
    names = sorted(entry.name for entry in _entries(folder))
    if not names:
        return "it is empty"
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return f"it holds {', '.join(names[:most])}{rest}"


def _read_place(value: str) -> Place:
    key, folder = _split(value)
    if key not in (None, *DATASETS) and not os.path.isdir(os.path.expanduser(folder)):
        what = f"there is no folder {folder!r}, and --data {value} names no data set that is known"
        raise OptionError(what, nearest(str(key), DATASETS))
    return Place(_folder(folder), key)


def _split(value: str) -> tuple[str | None, str]:
    """(key or name, folder); a folder whose own name has a "=" is a folder."""
    key, sign, folder = value.partition("=")
    named = key in DATASETS or (re.fullmatch(r"[\w-]+", key) and not os.path.lexists(value))
    return (key, folder) if sign and named else (None, value)


def _folder(name: str) -> Path:
    folder = Path(os.path.expanduser(name))
    if not name or not folder.is_dir():
        kind = "not a folder" if name and folder.exists() else "not there"
        raise OptionError(f"the folder of --data ({name!r}) is {kind}", "give a folder, or key=folder")
    os.stat(folder / ".")  # may it be entered? The rest of this room takes closed folders for empty ones
    return folder


def _at(dataset: Dataset, place: Place, images: str, labels: str) -> Iterator[Path]:
    """The place itself, and what it holds under the usual paths."""
    folder = place.folder
    names = {folder.absolute().name.casefold(), folder.resolve().name.casefold()}  # of a link and of what it means
    own = {os.path.basename(root).casefold() for root in dataset.roots}
    others = {os.path.basename(root).casefold() for row in DATASETS.values() for root in row.roots} - own - {""}
    whole = not names & others and os.path.isdir(folder / images) and os.path.isdir(folder / labels)
    if whole or names & own or place.key is not None or not dataset.root:
        yield folder
    for tail in _tails(dataset):
        found = _descend(folder, tail)
        if found is not None:
            yield found


def _below(dataset: Dataset, folder: Path) -> Iterator[Path]:
    """What the children of a folder hold under the usual paths."""
    for child in _subfolders(folder):
        for tail in _tails(dataset):
            found = child.joinpath(*tail)
            if os.path.isdir(found):
                yield found


def _tails(dataset: Dataset) -> list[tuple[str, ...]]:
    """The usual paths and their ends: VOCdevkit/VOC2012, VOC2012."""
    paths = [tuple(root.split("/")) for root in dataset.roots if root]
    return [path[start:] for path in paths for start in range(len(path))]


def _descend(folder: Path, parts: Sequence[str]) -> Path | None:
    for part in parts:
        step = folder / part
        if not os.path.isdir(step):
            alike = [child for child in _subfolders(folder) if child.name.casefold() == part.casefold()]
            if not alike:
                return None
            step = alike[0]
        folder = step
    return folder


def _subfolders(folder: Path) -> list[Path]:
    return sorted(folder / entry.name for entry in _entries(folder) if _is_folder(entry))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads back to itself
        return False


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError:  # not a folder, or closed to us: the same as empty
        return []

"""Data sets opened: the layout checked in one pass, photos paired with their labels, in a fixed order."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from .classfiles.entries import ClassList
from .classfiles.read import read_classes
from .errors import OptionError, UserError, VocabularyError, nearest
from .layouts import BYTES, DATASETS, WIDE, Dataset
from .places import files_below, find_root, glimpse, places_of, read_places
from .splits import Part, is_list, part_of, read_list
from .system import refusal
from .vocabulary import Vocabulary

__all__ = ["DATASETS", "Check", "Dataset", "Opened", "Sample", "check", "open_dataset", "rows"]

SHOWN = 3  # missing files that an error names
CLASS_FILE = "classes.txt"
CLASS_FILES = (CLASS_FILE, "classes.json", "classes.yaml", "classes.yml", "classes.csv", "labelmap.txt")
WIDE_FROM = 256  # classes: from here on 255 is one of them, and void is 65535


@dataclass(frozen=True)
class Sample:
    """A photo and its label map."""

    name: str  # unique: the photo's path below its folder, without suffix
    image: Path
    label: Path


@dataclass(frozen=True)
class Opened:
    """A data set whose files are all there."""

    dataset: Dataset  # `classes`, `names` and `rule` filled in for folders of your own
    root: Path
    split: str  # "val", or the list that was given; "all" where there are no splits
    samples: tuple[Sample, ...] = field(repr=False)
    notes: tuple[str, ...] = ()  # what a reader of the figures should know

    def vocabulary(self, variant: str = "P", templates: str | Sequence[str] = "openai80") -> Vocabulary:
        """The classes to find: the published list in this variant (spec 0.5), or the data set's own names.

        Own names have no variants; where the first of them is `background`, thresholds fall back to it. Raises
        VocabularyError for a variant that the list does not have.
        """
        names = self.dataset.names
        if isinstance(names, str):
            return Vocabulary.benchmark(names, variant, templates=templates)
        return _own_vocabulary(names, templates)


@dataclass(frozen=True)
class Check:
    """Whether a data set can be opened, without an error raised."""

    key: str
    root: Path | None  # None: not found at all
    opened: Opened | None
    problem: UserError | None  # why it was not opened: what is missing, what is there, how to get it


def open_dataset(
    key: str,
    places: Sequence[str | os.PathLike[str]],
    split: str | None = None,
    limit: int | None = None,
) -> Opened:
    """Find a data set at `places` (`DIR` or `key=DIR`), check its layout, and pair photos with labels.

    `split` is None for the published one, a name such as "train", or a list file. `limit` takes the first samples
    in order: that of the list, else by path. Only samples taken have to be whole.

    Raises OptionError, in one sentence that says what is missing, what is there and how to get it, for an unknown
    key or split, a data set that is not at `places`, and folders, lists, photos or labels that are missing;
    VocabularyError for the classes.txt of a folder of your own.
    """
    dataset, root = _find(key, places, split)
    if root is None:
        raise _not_found(dataset, places)
    return _open(dataset, root, split, limit)


def check(
    key: str,
    places: Sequence[str | os.PathLike[str]],
    split: str | None = None,
    limit: int | None = None,
) -> Check:
    """What `open_dataset` would do, as a report. Raises OptionError only for an unknown key or a wrong place."""
    read_places(places)  # a place that cannot be used is said, not listed
    root = None
    try:
        dataset, root = _find(key, places, split)
        if root is None:
            return Check(key, None, None, _not_found(dataset, places))
        return Check(key, root, _open(dataset, root, split, limit), None)
    except UserError as error:
        if root is None:
            raise
        return Check(key, root, None, error)
    except OSError as error:  # one that is closed says nothing about the others
        problem = refusal(error)
        if not isinstance(problem, UserError):
            raise
        return Check(key, root, None, problem)


def rows() -> list[tuple[str, str, str, str, str, str]]:
    """The table of data sets: key, title, classes, photos in the published split, root, how to get it."""
    return [
        (
            row.key,
            row.title,
            str(row.classes or "yours"),
            str(row.expected or "yours"),
            row.root or "any folder",
            row.way("DIR"),
        )
        for row in DATASETS.values()
    ]


def _find(key: str, values: Sequence[str | os.PathLike[str]], split: str | None) -> tuple[Dataset, Path | None]:
    if key not in DATASETS:
        raise OptionError(f"there is no data set {key!r}", nearest(str(key), DATASETS))
    dataset = DATASETS[key]
    places = places_of(key, read_places(values))
    published = dataset.folders(dataset.part)
    folders = published if split is None or is_list(split) else dataset.folders(split)
    root = find_root(dataset, places, *folders)
    return dataset, root or find_root(dataset, places, *published)  # there to say which splits it has


def _open(dataset: Dataset, root: Path, split: str | None, limit: int | None) -> Opened:
    if limit is not None and limit < 1:
        raise OptionError(f"a limit of {limit} leaves no photo", "give at least 1, or no limit")
    part = part_of(dataset, root, split)
    images = _found(dataset, root, part.images, dataset.image_suffix, "photos", dataset.way(root))
    labels = _found(dataset, root, part.labels, dataset.label_suffix, "label maps", dataset.way_to_labels(root))
    if part.listed is None:
        names = sorted(images.keys() | labels.keys(), key=lambda name: images.get(name, name))
    else:
        names = read_list(part.listed, dataset.image_suffix, images.keys() | labels.keys())
    notes = _notes(dataset, part, len(names), limit)
    names = names[:limit]
    _check_whole(dataset, root, part, names, images, labels)
    if not dataset.names:
        classes = _own_classes(root)
        dataset, notes = _with_own_classes(dataset, classes), (*notes, *filter(None, [classes.said]))
    samples = tuple(Sample(name, part.images / images[name], part.labels / labels[name]) for name in names)
    return Opened(dataset, root, part.name, samples, notes)


# files -----------------------------------------------------------------------------------------------------------


def _found(
    dataset: Dataset, root: Path, folder: Path, suffixes: tuple[str, ...], kind: str, remedy: str
) -> dict[str, str]:
    """The files of a folder: name -> path below it. Raises OptionError for none, and for two with one name."""
    if not folder.is_dir():
        what = f"{dataset.title} in {root} has no folder {folder.relative_to(root)} for its {kind}"
        raise OptionError(f"{what} ({glimpse(root)})", remedy)
    files: dict[str, str] = {}
    for name, suffix in files_below(folder, suffixes):
        if name in files:
            both = " and ".join(sorted([files[name], name + suffix]))
            raise OptionError(f"{both} in {folder} bear one name", "keep one of them, or rename it with its label")
        files[name] = name + suffix
    if not files:
        wanted = " or ".join(f"*{suffix}" for suffix in suffixes)
        what = f"{dataset.title} in {root} has no {kind} ({wanted}) in {folder.relative_to(root)}"
        raise OptionError(f"{what} ({glimpse(folder)})", remedy)
    return files


def _check_whole(
    dataset: Dataset, root: Path, part: Part, names: Sequence[str], images: dict[str, str], labels: dict[str, str]
) -> None:
    """Raise OptionError unless each sample has its photo and its label."""
    photos = _missing("photos", names, images, part.images.relative_to(root), dataset.image_suffix)
    maps = _missing("label maps", names, labels, part.labels.relative_to(root), dataset.label_suffix)
    if not photos and not maps:
        return
    found = f"{sum(name in images and name in labels for name in names)} pairs are whole"
    what = f"{dataset.title} in {root} is incomplete: {', '.join(filter(None, [photos, maps, found]))}"
    remedy = dataset.way(root) if photos else dataset.way_to_labels(root)
    raise OptionError(what, f"{remedy}; or list the photos to use in a file and give it as the split")


def _missing(kind: str, names: Sequence[str], files: dict[str, str], folder: Path, suffixes: tuple[str, ...]) -> str:
    """ "missing photos in JPEGImages: 3 of 1449 (a.jpg, b.jpg ...)", or nothing."""
    gone = [name for name in names if name not in files]
    if not gone:
        return ""
    suffix = suffixes[0] if len(suffixes) == 1 else ""
    shown = ", ".join(name + suffix for name in gone[:SHOWN]) + (" ..." if len(gone) > SHOWN else "")
    return f"missing {kind} in {folder}: {len(gone)} of {len(names)} ({shown})"


def _notes(dataset: Dataset, part: Part, count: int, limit: int | None) -> tuple[str, ...]:
    """Why scores cannot be compared with published ones."""
    notes = []
    if part.name != (dataset.part or part.name):
        notes.append(f"{dataset.key}: the split is {part.name}, published scores are those of {dataset.part}")
    elif dataset.expected is not None and count not in (dataset.expected, *dataset.also):
        notes.append(f"{dataset.key}: photos here {count}, in the published split {part.name} {dataset.expected}")
    if limit is not None and limit < count:
        notes.append(f"{dataset.key}: the first {limit} of {count} photos only")
    return tuple(notes)


# words -----------------------------------------------------------------------------------------------------------


def _not_found(dataset: Dataset, values: Sequence[str | os.PathLike[str]]) -> OptionError:
    folders = [place.folder for place in places_of(dataset.key, read_places(values))]
    remedy = f"give its root with --data {dataset.key}=DIR, or {dataset.way('DIR')}"
    if not folders:
        return OptionError(f"no folder was given for {dataset.title}", remedy)
    where = ", ".join(f"{folder} ({glimpse(folder)})" for folder in folders)
    images, labels = dataset.folders(dataset.part)
    return OptionError(
        f"no root of {dataset.title} was found: no {dataset.root} with {images} and {labels} in {where}", remedy
    )


# folders of your own ---------------------------------------------------------------------------------------------


def _own_classes(root: Path) -> ClassList:
    """The folder's classes.txt, or one of CLASS_FILES in its place. Raises OptionError for two, VocabularyError."""
    there = [name for name in CLASS_FILES if (root / name).is_file()]
    if len(there) > 1 and there[0] != CLASS_FILE:
        raise OptionError(f"{root} has {' and '.join(there)}", f"keep one, or call the right one {CLASS_FILE}")
    found = read_classes(root / (there[0] if there else CLASS_FILE))
    if found.numbers:
        what = f"{root / there[0]} numbers its classes from {found.numbers[0]} to {found.numbers[-1]}"
        raise VocabularyError(what, "number them from 0, as the label maps do, or write names alone")
    _own_vocabulary(found.names, "openai80")  # a name given twice is said before the run, not in it
    return found


def _with_own_classes(dataset: Dataset, classes: ClassList) -> Dataset:
    count = len(classes.names)
    return replace(dataset, names=classes.names, classes=count, rule=WIDE if count >= WIDE_FROM else BYTES)


def _own_vocabulary(names: Sequence[str], templates: str | Sequence[str]) -> Vocabulary:
    first = names[0].split("|")[0].strip()
    return Vocabulary(names, background=0 if first == "background" else None, templates=templates)

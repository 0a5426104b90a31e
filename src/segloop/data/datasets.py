"""Data sets opened: the layout checked in one pass, photos paired with their labels, in a fixed order."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..common.keys import FOLDER
from ..common.system import refusal
from ..common.visible import shortened
from ..errors import OptionError, UserError, nearest
from ..labels.orientation import check_turn, upright
from ..labels.read import read_label
from ..words.lists import variant_for
from ..words.vocabulary import Vocabulary
from .layouts import DATASETS, Dataset
from .masks import USUAL, Masks
from .ownclasses import own_vocabulary, with_own_classes
from .pairing import Files, check_whole, pair
from .places import Place, check_named, check_one, find_root, glimpse, places_of, read_places
from .splits import Part, is_list, part_of, read_list

__all__ = ["DATASETS", "Check", "Dataset", "OpenDataset", "Sample", "check", "open_dataset", "rows"]


@dataclass(frozen=True)
class Sample:
    """A photo and its label map."""

    name: str  # unique: the photo's path below its folder, without suffix
    image: Path
    label: Path


@dataclass(frozen=True)
class OpenDataset:
    """A data set whose files are all there."""

    dataset: Dataset  # `classes`, `names` and `rule` filled in for folders of your own
    root: Path
    split: str  # "val", or the list that was given; "all" where there are no splits
    samples: tuple[Sample, ...] = field(repr=False)
    notes: tuple[str, ...] = ()  # what a reader of the figures should know
    masks: Masks = USUAL
    name: str = ""  # what it was asked for as: its key, or the name that the user gave their folder

    def vocabulary(self, variant: str = "P", templates: str | Sequence[str] = "openai80") -> Vocabulary:
        """The classes to find: the published list in this variant (spec 0.5), or the data set's own names.

        Own names have no variants; where the first of them is `background`, thresholds fall back to it. Raises
        VocabularyError for a variant that the list does not have.
        """
        names = self.dataset.names
        if isinstance(names, (str, Path)):
            return Vocabulary.benchmark(names, variant, templates=templates)
        return own_vocabulary(names, templates)

    def variant(self, wanted: str) -> str:
        """The variant of the list that a method asks for, or P where it is not there. Raises VocabularyError."""
        names = self.dataset.names
        return variant_for(names, wanted) if isinstance(names, (str, Path)) else wanted

    def truth(self, sample: Sample, size: tuple[int, int] | None = None) -> np.ndarray:
        """A sample's label map, (H, W) int64 as `read_label` gives it, turned as the photo where that was said.

        `size` is (height, width) of the upright photo, where it is known. Raises as `read_label`, and ImageError for a
        map that lies as the photo's file is stored.
        """
        labels = read_label(sample.label, self.dataset.rule)
        if self.masks.turned:
            labels = upright(labels, sample.image)
        if size is not None and labels.shape != size:
            check_turn(labels.shape, size, sample.image, self.masks.turned)
        return labels


@dataclass(frozen=True)
class Check:
    """Whether a data set can be opened, without an error raised."""

    key: str
    root: Path | None  # None: not found at all
    opened: OpenDataset | None
    problem: UserError | None  # why it was not opened: what is missing, what is there, how to get it


def open_dataset(
    key: str,
    places: Sequence[str | os.PathLike[str]],
    split: str | None = None,
    limit: int | None = None,
    masks: Masks = USUAL,
) -> OpenDataset:
    """Find a data set at `places` (`DIR` or `key=DIR`), check its layout, and pair photos with labels.

    `split` is None for the published one, a name such as "train", or a list file. `limit` takes the first samples
    in order: that of the list, else by path. Only samples taken have to be whole. `masks` says how label maps are
    called and what their values mean, where that is not as usual.

    A `key` that no row has is a folder of the user's own, where `places` name it.

    Raises OptionError, in one sentence that says what is missing, what is there and how to get it, for an unknown
    key or split, a data set that is not at `places`, and folders, lists, photos or labels that are missing;
    VocabularyError for the classes.txt of a folder of your own.
    """
    dataset, root = _find(key, places, split, masks)
    if root is None:
        raise _not_found(dataset, key, places)
    return _open(dataset, key, root, split, limit, masks)


def check(
    key: str,
    places: Sequence[str | os.PathLike[str]],
    split: str | None = None,
    limit: int | None = None,
    masks: Masks = USUAL,
) -> Check:
    """What `open_dataset` would do, as a report. Raises OptionError only for an unknown key or a wrong place."""
    check_named(read_places(places))  # a place that cannot be used is said, not listed
    root = None
    try:
        dataset, root = _find(key, places, split, masks)
        if root is None:
            return Check(key, None, None, _not_found(dataset, key, places))
        return Check(key, root, _open(dataset, key, root, split, limit, masks), None)
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


def _find(
    key: str, values: Sequence[str | os.PathLike[str]], split: str | None, masks: Masks
) -> tuple[Dataset, Path | None]:
    places = places_of(key, read_places(values))
    dataset = masks.called(_row(key, places))
    check_one(dataset, key, places)
    published = dataset.folders(dataset.part)
    folders = published if split is None or is_list(split) else dataset.folders(split)
    root = find_root(dataset, places, *folders)
    return dataset, root or find_root(dataset, places, *published)  # there to say which splits it has


def _open(dataset: Dataset, key: str, root: Path, split: str | None, limit: int | None, masks: Masks) -> OpenDataset:
    if limit is not None and limit < 1:
        raise OptionError(f"a limit of {limit} leaves no photo", "give at least 1, or no limit")
    part = part_of(dataset, root, split)
    images, labels = pair(dataset, root, part)
    if part.listed is None:
        names = sorted(images.keys() | labels.keys(), key=lambda name: images.get(name, name))
    else:
        names = read_list(part.listed, dataset.image_suffix, images.keys() | labels.keys())
        if split is not None and is_list(split):
            _check_list(names, part, images, labels)
    notes = _notes(dataset, key, part, len(names), limit)
    names = names[:limit]
    check_whole(dataset, root, part, names, images, labels)
    if not dataset.names:
        dataset, said = with_own_classes(dataset, root, masks)
        notes = (*notes, *said)
    samples = tuple(Sample(name, part.images / images[name], part.labels / labels[name]) for name in names)
    return OpenDataset(dataset, root, part.name, samples, notes, masks, key)


def _row(key: str, places: Sequence[Place]) -> Dataset:
    """The row of a key; that of a folder of the user's own for a name that the places give. Raises OptionError."""
    if key in DATASETS:
        return DATASETS[key]
    if any(place.key == key for place in places):
        return replace(DATASETS[FOLDER], title=f"your own folder {key!r}")
    remedy = f"{nearest(str(key), DATASETS)}; or name a folder of your own with --data {key}=DIR"
    raise OptionError(f"there is no data set {key!r}", remedy)


def _check_list(names: Sequence[str], part: Part, images: Files, labels: Files) -> None:
    """Raises OptionError where a list of the user's own names nothing that is there."""
    if any(name in images or name in labels for name in names):
        return
    what = f"no line of the list {part.listed} names a photo in {part.images} (the first line is {shortened(names[0])})"
    raise OptionError(what, f"write one photo a line, such as {min(images.values())}")


def _notes(dataset: Dataset, key: str, part: Part, count: int, limit: int | None) -> tuple[str, ...]:
    """Why scores cannot be compared with published ones."""
    notes = []
    if part.name != (dataset.part or part.name):
        notes.append(f"{key}: the split is {part.name}, published scores are those of {dataset.part}")
    elif dataset.expected is not None and count not in (dataset.expected, *dataset.also):
        notes.append(f"{key}: photos here {count}, in the published split {part.name} {dataset.expected}")
    if limit is not None and limit < count:
        notes.append(f"{key}: the first {limit} of {count} photos only")
    return tuple(notes)


# words -----------------------------------------------------------------------------------------------------------


def _not_found(dataset: Dataset, key: str, values: Sequence[str | os.PathLike[str]]) -> OptionError:
    folders = [place.folder for place in places_of(key, read_places(values))]
    remedy = f"give its root with --data {key}=DIR, or {dataset.way('DIR')}"
    if not folders:
        return OptionError(f"no folder was given for {dataset.title}", remedy)
    where = ", ".join(f"{folder} ({glimpse(folder)})" for folder in folders)
    images, labels = dataset.folders(dataset.part)
    return OptionError(
        f"no root of {dataset.title} was found: no {dataset.root} with {images} and {labels} in {where}", remedy
    )

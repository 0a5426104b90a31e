"""Photos and label maps of a data set, paired by name; what is missing is said, with the option that finds it."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..common.keys import OWN
from ..errors import OptionError
from .layouts import ANY_IMAGE, Dataset
from .places import files_below, glimpse
from .splits import Part

SHOWN = 3  # missing files that an error names
JPEGS = (".jpg", ".jpeg")

Files = dict[str, str]
"""A sample's name -> the path of its file below the folder."""


def pair(dataset: Dataset, root: Path, part: Part) -> tuple[Files, Files]:
    """Photos and label maps of a split, which may not be whole.

    Raises OptionError for a folder that is missing or has none of them, and for two files with one name.
    """
    images = _found(dataset, root, part.images, dataset.image_suffix, "photos", dataset.way(root))
    try:
        labels = _found(dataset, root, part.labels, dataset.label_suffix, "label maps", dataset.way_to_labels(root))
    except OptionError as error:
        advice = _advice(dataset, part, images, {}) if part.labels.is_dir() else None
        if advice is None:
            raise
        raise OptionError(error.what, advice) from error
    return images, labels


def check_whole(dataset: Dataset, root: Path, part: Part, names: Sequence[str], images: Files, labels: Files) -> None:
    """Raise OptionError unless each sample has its photo and its label."""
    photos = _missing("photos", names, images, part.images.relative_to(root), dataset.image_suffix)
    maps = _missing("label maps", names, labels, part.labels.relative_to(root), dataset.label_suffix)
    if not photos and not maps:
        return
    whole = sum(name in images and name in labels for name in names)
    advice = _advice(dataset, part, images, labels) if maps else None
    if advice:
        bare = [name for name in images if name not in labels]
        what = f"{len(bare)} of {len(images)} photos in {part.images} have no label map of their name in {part.labels}"
        raise OptionError(f"{what} (such as {images[bare[0]]}; {glimpse(part.labels, SHOWN)})", advice)
    what = (
        f"{dataset.title} in {root} is incomplete: {', '.join(filter(None, [photos, maps]))}, {whole} pairs are whole"
    )
    remedy = dataset.way(root) if photos else dataset.way_to_labels(root)
    raise OptionError(what, f"{remedy}; or list the photos to use in a text file, one a line, and add --split FILE")


def _found(dataset: Dataset, root: Path, folder: Path, suffixes: tuple[str, ...], kind: str, remedy: str) -> Files:
    """The files of a folder. Raises OptionError for none, and for two with one name."""
    if not folder.is_dir():
        what = f"{dataset.title} in {root} has no folder {folder.relative_to(root)} for its {kind}"
        raise OptionError(f"{what} ({glimpse(root)})", remedy)
    files: Files = {}
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


def _missing(kind: str, names: Sequence[str], files: Files, folder: Path, suffixes: tuple[str, ...]) -> str:
    """ "missing photos in JPEGImages: 3 of 1449 (a.jpg, b.jpg ...)", or nothing."""
    gone = [name for name in names if name not in files]
    if not gone:
        return ""
    suffix = suffixes[0] if len(suffixes) == 1 else ""
    shown = ", ".join(name + suffix for name in gone[:SHOWN]) + (" ..." if len(gone) > SHOWN else "")
    return f"missing {kind} in {folder}: {len(gone)} of {len(names)} ({shown})"


# what would find them ---------------------------------------------------------------------------------------------


def _advice(dataset: Dataset, part: Part, images: Files, labels: Files) -> str | None:
    """The option under which photos without a label map have one; None where there is none, and for benchmarks."""
    if dataset.key not in OWN:
        return None  # their other files are other labels
    bare = [name for name in images if name not in labels]
    there = [path for path, _ in files_below(part.labels, ("",))]
    suffix = mask_suffix(bare, there)
    if suffix:
        return _unreadable(suffix) or f"add --mask-suffix {suffix}"
    both = both_suffixes(sorted(images.values()), sorted(there))
    if both and both[0] not in dataset.image_suffix:
        return _unreadable(both[1]) or f"add --image-suffix {both[0]} --mask-suffix {both[1]}"
    before = _common_prefix(there)
    if before and mask_suffix(bare, [path[len(before) :] for path in there]):
        return f"rename the label maps: {before} stands before the photo's name, and may stand behind it only"
    return None


def mask_suffix(names: Iterable[str], files: Iterable[str]) -> str | None:
    """What follows most of `names` in `files`: "_mask.png" for a.jpg and a_mask.png; None below half of them."""
    wanted = set(names)
    found = Counter(file[end:] for file in files for end in range(1, len(file)) if file[:end] in wanted)
    if not found:
        return None
    suffix, count = min(found.items(), key=lambda item: (-item[1], len(item[0]), item[0]))
    return suffix if 2 * count >= len(wanted) and "." in suffix else None


def both_suffixes(images: Sequence[str], files: Sequence[str]) -> tuple[str, str] | None:
    """("_sat.jpg", "_mask.png") where photos are a_sat.jpg and label maps a_mask.png."""
    photo, label = _common_suffix(images), _common_suffix(files)
    if photo is None or label is None:
        return None
    names, masks = {path[: -len(photo)] for path in images}, {path[: -len(label)] for path in files}
    return (photo, label) if 2 * len(names & masks) >= len(names) else None


def _common_suffix(paths: Sequence[str]) -> str | None:
    """What all paths end in, from a separator on: "_sat.jpg"."""
    end = _alike([path[::-1] for path in paths])[::-1]
    match = re.search(r"[_.\- ].*", end)
    return match[0] if match and "." in match[0] else None


def _common_prefix(paths: Sequence[str]) -> str | None:
    match = re.match(r".*[_.\- ]", _alike(paths))
    return match[0] if match else None


def _alike(words: Sequence[str]) -> str:
    """The letters in which all words begin."""
    first, last = min(words, default=""), max(words, default="")
    same = (place for place, (one, other) in enumerate(zip(first, last, strict=False)) if one != other)
    return first[: next(same, len(first))]


def _unreadable(suffix: str) -> str | None:
    if suffix.lower().endswith(JPEGS):
        return f"save the label maps as PNG: those that end in {suffix} are JPEGs, which change class numbers"
    if not suffix.lower().endswith((*ANY_IMAGE, ".gif", ".pgm", ".pbm", ".ppm")):
        return f"save the label maps as PNG: those that end in {suffix} are no pictures"
    return None

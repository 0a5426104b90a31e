"""Splits: which photos of a data set belong to an evaluation, by name or by list."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..common.kinds import not_text
from ..errors import OptionError, nearest
from .layouts import Dataset
from .places import glimpse, suffix_of


@dataclass(frozen=True)
class Part:
    """A split on disk."""

    name: str
    images: Path
    labels: Path
    listed: Path | None  # the list of its photos; None: all files of the folders


def is_list(split: str) -> bool:
    """Whether `--split` means a file: it ends in .txt or has a folder in it."""
    return split.endswith(".txt") or os.sep in split or "/" in split


def part_of(dataset: Dataset, root: Path, split: str | None) -> Part:
    """Where a split lies: None is the published one, else its name or a list file of photos from there.

    Raises OptionError for a split or list that is not there.
    """
    own_list = Path(os.path.expanduser(split)) if split is not None and is_list(split) else None
    if own_list is not None and not own_list.is_file():
        raise OptionError(f"there is no list {split}", "give a text file with one photo a line, or a split's name")
    name = dataset.part if split is None or own_list else split
    if split is not None and not own_list and split != dataset.part:
        _check_split(dataset, root, split)
    images, labels = dataset.folders(name)
    listed = own_list
    if listed is None and dataset.split is not None:
        listed = root / dataset.split.format(split=name)
        if not listed.is_file():
            if not dataset.split_optional:
                what = f"{dataset.title} in {root} has no list {listed.relative_to(root)}"
                raise OptionError(f"{what} ({glimpse(listed.parent)})", dataset.way(root))
            listed = None
    return Part(split if own_list and split else name or "all", root / images, root / labels, listed)


def _check_split(dataset: Dataset, root: Path, split: str) -> None:
    if dataset.part is None:
        what = f"{dataset.title} in {root} has no splits, and {split!r} was asked for"
        raise OptionError(what, "leave it out, or give a text file, one photo a line")
    known = _splits(dataset, root)
    if known and split not in known:  # where there is none at all, its folders are what is missing
        raise OptionError(f"{dataset.title} in {root} has no split {split!r}", nearest(split, known))


def _splits(dataset: Dataset, root: Path) -> list[str]:
    """The splits that are there: lists where the layout asks for them, else pairs of folders."""
    pattern = dataset.images if dataset.split is None or dataset.split_optional else dataset.split
    before, after = map(re.escape, pattern.split("{split}"))
    paths = (path.relative_to(root).as_posix() for path in root.glob(pattern.format(split="*")))
    names = sorted(match[1] for path in paths if (match := re.fullmatch(f"{before}(.+){after}", path)))
    return [name for name in names if all((root / folder).is_dir() for folder in dataset.folders(name))]


def read_list(path: Path, suffixes: tuple[str, ...], known: Iterable[str]) -> list[str]:
    """The samples that a list names, in its order. Raises OptionError for a list that is empty or repeats one."""
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise OptionError(*not_text(path, data, "give a text file with one photo a line as --split")) from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise OptionError(f"the list {path} cannot be read ({reason})", "give a text file that can be read") from error
    known = set(known)
    names = [_sample_name(line.strip(), suffixes, known) for line in text.splitlines() if line.strip()]
    if not names:
        raise OptionError(f"the list {path} names no photo", "write one photo a line")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise OptionError(f"the list {path} names {twice} twice", "remove one of the lines")
    return names


def _sample_name(line: str, suffixes: tuple[str, ...], known: set[str]) -> str:
    """The sample that a line means: a name, or paths of photo and label from any folder above.

    Lists come as `2007_000033`, as `frankfurt/x_leftImg8bit.png`, and as pairs of paths of another machine. The
    longest end of the path that is a sample is taken; where none is, the file's own name.
    """
    name = line
    for text in dict.fromkeys((line, line.split()[0])):  # a name may hold blanks, a line may hold two paths
        suffix = suffix_of(text, suffixes) or ""
        parts = text[: len(text) - len(suffix)].strip("/").split("/")
        for start in range(len(parts)):
            name = "/".join(parts[start:])
            if name in known:
                return name
    return name

"""All photos of a source in the order of their names: few bytes for each, so that millions of them fit into memory."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from ..common.stores import is_address, read
from ..images import Elsewhere


@dataclass(frozen=True)
class Photo:
    """One photo of a source."""

    name: str  # of its results, below the run: the path below the common folder, `/` between folders, no suffix
    place: str  # as people are told, no other photo's: its file, or the file that it lies in and its name there
    file: Any = None  # what `images.read_image` takes: a path, or the way to it

    @property
    def apart(self) -> bool:
        """Whether its name stays within the folder that results are below."""
        return all(part not in ("", ".", "..") for part in self.name.split("/"))


class Container(Protocol):
    """A file that holds many photos. Its members have numbers."""

    @property
    def address(self) -> str:
        """The file's path or address."""

    def __len__(self) -> int:
        """How many photos it holds."""

    def member(self, number: int) -> str:
        """The path of a photo within the file."""

    def stem(self, number: int) -> str:
        """The same without what results leave out."""

    def fetch(self, number: int) -> Any:
        """The photo as `images.read_image` takes it; called in threads. Raises ImageError, MachineError."""


@dataclass(frozen=True, eq=False)
class Photos:
    """All photos of a source."""

    root: str  # the folder, or the address, that all have in common
    files: tuple[str, ...]  # those that are files of their own, below the root
    containers: tuple[Container, ...]
    order: np.ndarray  # (n, 2) int32: of each photo, the number of its container and its own there; -1, then in `files`
    alike: frozenset[str]  # results that several would bear, in lower case: those keep their own suffix

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, part: slice) -> list[Photo]:
        """Some of them."""
        return [self._photo(*pair) for pair in self.order[part].tolist()]

    def __iter__(self) -> Iterator[Photo]:
        return (self._photo(*pair) for pair in self.pairs)

    @property
    def pairs(self) -> Iterator[list[int]]:
        """`order`, one at a time."""
        return (pair for start in range(0, len(self), 1024) for pair in self.order[start : start + 1024].tolist())

    @property
    def paths(self) -> Iterator[str]:
        """Of each photo, its path below the root."""
        return map(self.below, self)

    def below(self, photo: Photo) -> str:
        """A photo's path below the root."""
        return below(self.root, photo.place)

    def _photo(self, container: int, number: int) -> Photo:
        stem, path = self._named(container, number)
        place = path if self.root == "" else f"{self.root.rstrip('/')}/{path}"
        name = _plain(path if stem.casefold() in self.alike else stem)
        if container >= 0:
            return Photo(name, place, Elsewhere(place, partial(self.containers[container].fetch, number)))
        return Photo(name, place, Elsewhere(place, partial(read, place)) if is_address(place) else place)

    def _named(self, container: int, number: int) -> tuple[str, str]:
        """A photo's path below the root, without what results leave out and with it."""
        if container < 0:
            return os.path.splitext(self.files[number])[0], self.files[number]
        holder = self.containers[container]
        file = below(self.root, holder.address)
        return f"{os.path.splitext(file)[0]}/{holder.stem(number)}", f"{file}/{holder.member(number)}"


def arranged(files: Sequence[str], containers: Sequence[Container] = ()) -> Photos:
    """Photos in the order of their names; those whose results would bear one name keep their own suffix.

    `files` are absolute paths with `/` between folders, or addresses, each once.
    """
    root = common_root({path.rpartition("/")[0] for path in [*files, *(one.address for one in containers)]})
    sizes = [len(files), *map(len, containers)]
    order = np.empty((sum(sizes), 2), np.int32)
    order[:, 0] = np.repeat(np.arange(-1, len(containers)), sizes)
    order[:, 1] = np.concatenate([np.arange(size) for size in sizes])
    photos = Photos(root, tuple(below(root, path) for path in files), tuple(containers), order, frozenset())
    keys = [(stem.casefold(), path) for stem, path in (photos._named(*pair) for pair in photos.pairs)]
    places = sorted(range(len(keys)), key=keys.__getitem__)
    alike = frozenset(keys[one][0] for one, other in pairwise(places) if keys[one][0] == keys[other][0])
    return Photos(root, photos.files, photos.containers, order[places], alike)


def common_root(folders: set[str]) -> str:
    """The deepest folder or address that all are or lie in; "" where they have nothing in common."""
    parts = [folder.split("/") for folder in folders]
    first, last = min(parts), max(parts)
    same = next((i for i, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), len(first))
    root = "/".join(first[: min(same, len(last))])
    if root.endswith((":", ":/")):  # addresses of two buckets
        return ""
    return root or ("/" if same and first[0] == "" else "")


def below(root: str, path: str) -> str:
    """A path without the root that it lies in or below."""
    return path[len(root.rstrip("/")) :].removeprefix("/") if root else path


def _plain(path: str) -> str:
    """A path that may be an address, as one below a folder."""
    return path.replace("://", "/").lstrip("/")

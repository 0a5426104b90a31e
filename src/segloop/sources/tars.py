"""Tar shards, as WebDataset has them: a photo is some bytes of the file, read where they lie."""

import os
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import IO

import numpy as np

from ..common import stores
from ..common.visible import shortened
from ..errors import ImageError, OptionError
from ..images import SUFFIXES
from .containers import Asked, Broken, opened
from .photos import Container

BLOCK = 512  # bytes: one of zeros is the end

Member = tuple[str, int, int]  # name, where its bytes begin, how many they are


@dataclass(frozen=True, eq=False)
class Tar:
    """The photos of a tar file."""

    address: str
    names: tuple[str, ...]
    places: np.ndarray  # (n, 2) int64, of each photo the first byte and how many

    def __len__(self) -> int:
        return len(self.names)

    def member(self, number: int) -> str:
        """As the tar file names it."""
        return self.names[number]

    def stem(self, number: int) -> str:
        """Without its suffix."""
        return os.path.splitext(self.names[number])[0]

    def fetch(self, number: int) -> bytes:
        """The photo's file. Raises ImageError, MachineError."""
        start, size = self.places[number].tolist()
        if stores.is_address(self.address):
            return stores.read_part(self.address, start, size)
        with opened(self.address) as stream:
            stream.seek(start)
            return stream.read(size)


def open_tar(address: str, asked: Asked) -> Iterator[Container]:
    """The photos of a tar file: of each sample (what has the same name up to the first dot) the one of a plain suffix.

    A sample without one gives all its photos. Only headers are read. Raises OptionError for a sample with several
    photos, where no suffix is asked for; what is broken fails as one photo.
    """
    members: list[Member] = []
    try:
        with opened(address) as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(0)
            members.extend(_members(stream, size))
        trouble = None
    except tarfile.TarError as error:
        what = f"{shortened(address)} is no whole tar file ({error})"
        trouble = ImageError(what, "copy or download it again; unpack it where it is compressed")
    except ImageError as error:
        trouble = error
    photos = {name: (start, size) for name, start, size in _chosen(members, asked.column, address)}
    if photos:
        yield Tar(address, tuple(photos), np.array(list(photos.values()), np.int64))
    if trouble:
        yield Broken(address, trouble)


def _members(stream: IO[bytes], size: int) -> Iterator[Member]:
    """Files of a tar, as many as are whole. Raises TarError behind the last of them."""
    with tarfile.open(fileobj=stream, mode="r:") as tar:
        while member := tar.next():
            if member.offset_data + member.size > size:
                raise tarfile.ReadError(f"it ends within {shortened(member.name)}")
            if member.isreg() and not member.issparse():
                yield member.name.removeprefix("./"), member.offset_data, member.size
            tar.members.clear()  # type: ignore[attr-defined]  # else it keeps them all
        end = tar.offset - tar.offset % BLOCK
        stream.seek(end)
        if end >= size or stream.read(BLOCK).strip(b"\0"):
            raise tarfile.ReadError("it has no end")


def _chosen(members: Iterable[Member], suffix: str | None, address: str) -> Iterator[Member]:
    """The photos among the files."""
    for key, group in groupby(members, lambda one: _key(one[0])):
        files = [one for one in group if not os.path.basename(one[0]).startswith(".")]
        if suffix:
            yield from (one for one in files if _ending(one[0]) == suffix.lower().lstrip("."))
            continue
        photos = [one for one in files if one[0].lower().endswith(SUFFIXES)]
        plain = [one for one in photos if "." not in _ending(one[0])]
        if len({one[0] for one in plain}) > 1:
            found = ", ".join(sorted({_ending(one[0]) for one in plain}))
            what = f"sample {shortened(key)} of {shortened(address)} has several photos ({found})"
            raise OptionError(what, f"say which is meant, as in --column {_ending(plain[0][0])}")
        yield from plain or photos


def _key(name: str) -> str:
    folder, _, file = name.rpartition("/")
    return f"{folder}/{file.partition('.')[0]}" if folder else file.partition(".")[0]


def _ending(name: str) -> str:
    return name.rpartition("/")[2].partition(".")[2].lower()

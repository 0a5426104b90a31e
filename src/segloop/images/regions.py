"""Whose masks are whose: files of a folder by the names of photos, or images that a COCO file lists."""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..common.files import digest_of
from ..common.visible import shortened
from ..errors import ImageError, OptionError
from .idmaps import FORMS, READERS, Size, masks_in, read_ids, read_json

HOLDERS = (".tar", ".parquet", ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".3gp")  # as folders


class RegionFiles(Protocol):
    """Masks of many photos, by their paths."""

    @property
    def place(self) -> str:
        """The folder or file, as the user wrote it."""

    def read(self, photo: str, size: Size) -> np.ndarray:
        """(H, W) int64 ids of a photo of `size`, by its path. Raises ImageError where there is no mask for it."""

    def digest(self) -> str:
        """SHA-256 of all of them."""


@dataclass
class Taken:
    """Which photo took which masks: where two of one name would share them, one of them has others' masks."""

    photos: dict[str, str] = field(default_factory=dict)  # by the masks

    def by(self, photo: str, key: str, masks: str) -> None:
        """Raises ImageError where another photo has them already."""
        other = self.photos.setdefault(key, photo)
        if os.path.abspath(other) != os.path.abspath(photo):
            what = f"the masks {shortened(masks)} would be those of {shortened(photo)} and of {shortened(other)}"
            raise ImageError(what, "put masks into the folders that their photos are in, below that of the masks")


@dataclass(frozen=True)
class MaskFolder:
    """Files below a folder; a photo's are called like it, in the same folders as far as there are such."""

    place: str
    files: Mapping[str, Path]  # by path below the folder without suffix
    taken: Taken = field(default_factory=Taken, repr=False, compare=False)

    def read(self, photo: str, size: Size) -> np.ndarray:
        """As RegionFiles has it."""
        key = _found(photo, self.files)
        if key is None:
            name = re.split(r"[/\\]", photo)[-1].rpartition(".")[0] or "NAME"
            what = f"there are no masks of {shortened(photo)} in {shortened(self.place)}"
            raise ImageError(what, f"add {name}.png there: {FORMS}")
        self.taken.by(photo, key, str(self.files[key]))
        return read_ids(self.files[key], size)

    def digest(self) -> str:
        """Of the files' names and bytes."""
        return _digest((key, digest_of(path) or b"") for key, path in sorted(self.files.items()))


@dataclass(frozen=True)
class OneFile:
    """The masks of one photo, whatever it is called."""

    place: str
    taken: Taken = field(default_factory=Taken, repr=False, compare=False)

    def read(self, photo: str, size: Size) -> np.ndarray:
        """As RegionFiles has it."""
        other = self.taken.photos.setdefault("", photo)
        if os.path.abspath(other) != os.path.abspath(photo):
            what = f"{shortened(self.place)} holds the masks of one photo, which is {shortened(other)}"
            raise ImageError(what, "give a folder with masks of each photo")
        return read_ids(self.place, size)

    def digest(self) -> str:
        """Of the file's bytes."""
        return _digest([("", digest_of(Path(self.place)) or b"")])


@dataclass(frozen=True)
class CocoFile:
    """Instances of many photos, as COCO lists them: a photo's are those of the image with its `file_name`."""

    place: str
    images: Mapping[str, list[Any]]  # annotations by file_name without suffix
    taken: Taken = field(default_factory=Taken, repr=False, compare=False)

    def read(self, photo: str, size: Size) -> np.ndarray:
        """As RegionFiles has it."""
        key = _found(photo, self.images)
        if key is None:
            what = f"{shortened(self.place)} lists no image {shortened(photo)}"
            raise ImageError(what, "check the `file_name` of its images")
        self.taken.by(photo, key, f"{self.place} ({key})")
        return masks_in(self.images[key], f"{shortened(self.place)} ({key})", size)

    def digest(self) -> str:
        """Of the file's bytes."""
        return _digest([("", digest_of(Path(self.place)) or b"")])


def open_regions(place: str | os.PathLike[str]) -> RegionFiles:
    """A folder of masks, a file of one photo's, or a COCO file of many photos' (`images` and `annotations`).

    Raises OptionError for what is not there or holds none; ImageError comes with the photos.
    """
    path = Path(place).expanduser()
    name = os.fspath(place)
    if path.is_dir():
        return MaskFolder(name, _listed(path))
    if not path.is_file():
        raise OptionError(f"there are no masks at {shortened(name)}", "check the path")
    if path.suffix.lower() not in READERS:
        raise OptionError(f"{shortened(name)} is no file of masks", f"give a folder of them, or {FORMS}")
    if path.suffix.lower() == ".json":
        images = _images(path)
        return OneFile(str(path)) if images is None else CocoFile(str(path), images)
    return OneFile(str(path))


def _listed(folder: Path) -> dict[str, Path]:
    """Files of masks below a folder. Raises OptionError where there are none, and for two that bear one name."""
    files: dict[str, Path] = {}
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name[0] != ".")
        for name in sorted(name for name in names if name[0] != "."):
            path = Path(here, name)
            if path.suffix.lower() not in READERS:
                continue
            key = path.relative_to(folder).with_suffix("").as_posix()
            if key in files:
                what = f"{shortened(folder)} holds the masks {files[key].name} and {name} of one photo"
                raise OptionError(what, "keep one of them")
            files[key] = path
    if not files:
        raise OptionError(f"{shortened(folder)} holds no masks", f"put {FORMS} there, called like the photos")
    return files


def _images(path: Path) -> dict[str, list[Any]] | None:
    """Annotations by image of a file that lists images; None for one of a single photo. Raises OptionError."""
    try:
        data = read_json(path)
    except (OSError, ValueError, RecursionError) as error:
        raise OptionError(f"the masks {shortened(path)} cannot be read ({error})", "write them as JSON") from error
    if not isinstance(data, Mapping) or "images" not in data:
        return None
    names: dict[Any, str] = {}
    found: dict[str, list[Any]] = {}
    try:
        for image in data["images"]:
            name = _stem(image["file_name"])
            if name in found or image["id"] in names:
                what = f"{shortened(path)} lists two images {name} or two of the id {image['id']}"
                raise OptionError(what, "give each image an id and a name of its own")
            names[image["id"]], found[name] = name, []
        for one in data.get("annotations", ()):
            found[names[one["image_id"]]].append(one)
    except (KeyError, TypeError) as error:
        what = f"{shortened(path)} is no COCO file ({type(error).__name__}: {error})"
        raise OptionError(what, "it needs images with id and file_name, annotations with image_id") from error
    return found


def _found(photo: str, known: Mapping[str, Any]) -> str | None:
    """The key that a photo's path ends in, without its suffix or with it; of several the longest."""
    return next((name for name in _names(photo) if name in known), None)


def _names(photo: str) -> Iterator[str]:
    """ "a/b/c.jpg" -> a/b/c, a/b/c.jpg, b/c ...; the deepest first. A photo in a.tar lies in a.tar, and in a."""
    whole = os.path.abspath(photo) if "://" not in photo else photo
    parts = [part for part in re.split(r"[/\\]", whole) if part]
    held = [os.path.splitext(part)[0] if part.lower().endswith(HOLDERS) else part for part in parts[:-1]]
    for start in range(len(parts)):
        for folders in dict.fromkeys((tuple(parts[start:-1]), tuple(held[start:]))):
            for name in (_stem(parts[-1]), parts[-1]):
                yield "/".join([*folders, name])


def _stem(path: str) -> str:
    return os.path.splitext(path.replace("\\", "/").lstrip("/"))[0]


def _digest(parts: Iterable[tuple[str, bytes]]) -> str:
    digest = hashlib.sha256()
    for name, content in parts:
        digest.update(f"{name}\0".encode("utf-8", "surrogateescape") + content)
    return digest.hexdigest()

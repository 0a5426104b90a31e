"""COCO annotations of many photos in one file, however many: they wait on the disk, not in memory.

The file has a line for each image and each annotation, so that a later run can take over what an earlier one wrote
without holding it. Its bytes depend on photos, labels and places alone: images come by name, ids count from 1.
"""

import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import numpy as np

from ..common.files import explaining, lands_at, replacing
from ..errors import OptionError
from .coco import annotations, coco_head

IMAGES, ANNOTATIONS, END = b'"images": [\n', b'], "annotations": [\n', b"]}\n"
IDS = re.compile(rb'\{"id": \d+, "image_id": (\d+), ')


@dataclass(frozen=True)
class Lines:
    """Where the annotations of one photo lie: `count` lines of a file, a byte after another."""

    start: int
    count: int
    size: tuple[int, int]  # (H, W)


@dataclass(frozen=True)
class Listed:
    """What a file lists."""

    classes: list[str]
    root: str  # absolute, links resolved
    images: dict[str, Lines]  # by file_name

    def places(self) -> set[str]:
        """Its photos, as `real_place` writes them."""
        return {real_place(os.path.join(self.root, name)) for name in self.images}


@dataclass(frozen=True, eq=False)
class Collection:
    """Annotations of photos, on their way into one file."""

    target: Path
    classes: list[str]
    polygons: bool
    spool: IO[bytes] = field(repr=False)
    photos: dict[str, Lines] = field(default_factory=dict, repr=False)  # by absolute path

    def add(self, photo: str | Path, labels: np.ndarray) -> None:
        """Take (H, W) labels of a photo; of several for one photo the last count. Raises MachineError."""
        found = annotations(labels, len(self.classes), self.polygons)
        with explaining(self.target):
            start = self.spool.seek(0, os.SEEK_END)
            self.spool.writelines(encoded({"id": 0, "image_id": 0, **one}) + b",\n" for one in found)
        self.photos[os.path.abspath(photo)] = Lines(start, len(found), (labels.shape[0], labels.shape[1]))

    def write(self, root: str | None = None, anew: bool = True) -> int:
        """Put the file there, whole -> how many photos it lists.

        `file_name` is a photo's path below `root`, by default the photos' common folder. Unless `anew`, photos that
        the file lists already stay, save those that came again; names are then below the folder common to all.
        Raises OptionError as `look_into`, OutputError, MachineError.
        """
        root = common_folder(self.photos) if root is None else root
        with explaining(self.target):
            before = None if anew else self._take_over()
            place, images = _merged(self.photos, root, before)
            with replacing(self.target) as stream:
                head = coco_head(self.classes, root=_seen_from(lands_at(self.target).parent, place))
                stream.writelines(_file(head, images, self.spool))
        return len(images)

    def _take_over(self) -> Listed | None:
        before = look_into(self.target, self.classes)
        if before is None:
            return None
        start = self.spool.seek(0, os.SEEK_END)
        with open(self.target, "rb") as stream:
            shutil.copyfileobj(stream, self.spool)
        moved = {name: Lines(start + one.start, one.count, one.size) for name, one in before.images.items()}
        return Listed(before.classes, before.root, moved)


@contextmanager
def collecting(target: Path, classes: Iterable[str], polygons: bool = False) -> Iterator[Collection]:
    """A collection for `target`; until `write`, what it takes lies in a file without a name in the same folder."""
    folder = lands_at(target).parent
    with explaining(target):
        folder.mkdir(parents=True, exist_ok=True)
        spool = TemporaryFile(dir=folder, prefix=".", suffix=".part")  # noqa: SIM115  # closed below
    with spool:
        yield Collection(target, list(classes), polygons, spool)


def common_folder(photos: Iterable[str | Path]) -> str:
    """The deepest folder that all photos lie in or below, absolute."""
    return os.path.commonpath([os.path.dirname(os.path.abspath(photo)) for photo in photos])


def look_into(target: Path, classes: list[str] | None) -> Listed | None:
    """What `target` lists, None where nothing is there; with `classes`, as something that will be continued.

    Raises OptionError where it is no file of segloop's, or has other classes, or the folder of its photos is gone;
    OutputError where it is no file at all.
    """
    place = lands_at(target)
    if not os.path.lexists(place):
        return None
    try:
        with explaining(target), open(place, "rb") as stream:
            found = _read(stream, os.path.realpath(place.parent))
    except (ValueError, KeyError, TypeError, AttributeError):
        what = f"{target} is there and is not what segloop wrote, or was changed since"
        raise OptionError(what, "move it away, or choose another --out") from None
    remedy = "choose another --out, or begin it anew with --overwrite"
    if classes is not None and classes != found.classes:
        shown = ", ".join(found.classes[:5]) + (" ..." if len(found.classes) > 5 else "")
        raise OptionError(f"{target} lists photos with other classes ({shown})", remedy)
    if classes is not None and not os.path.isdir(found.root):
        raise OptionError(f"{target} lists photos below {found.root}, which is not there", remedy)
    return found


def is_collection(stream: IO[bytes]) -> bool:
    """Whether a file begins as those of `Collection.write`."""
    return stream.readline().endswith(IMAGES)


def encoded(value: Any) -> bytes:
    """JSON in one line of UTF-8; odd bytes of a file name become \\udcXX, which JSON can read."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8", "backslashreplace")


def _file(head: dict[str, Any], images: Mapping[str, Lines], spool: IO[bytes]) -> Iterator[bytes]:
    """The file in pieces."""
    yield encoded(head).removesuffix(b"}") + b", " + IMAGES
    for number, (name, lines) in enumerate(images.items(), start=1):
        height, width = lines.size
        line = encoded({"id": number, "file_name": name, "height": height, "width": width})
        yield line + (b",\n" if number < len(images) else b"\n")
    yield ANNOTATIONS
    last, done = sum(lines.count for lines in images.values()), 0
    for number, lines in enumerate(images.values(), start=1):
        spool.seek(lines.start)
        for _ in range(lines.count):
            done += 1
            body = IDS.sub(b"", spool.readline(), count=1).rstrip(b",\n")
            yield b'{"id": %d, "image_id": %d, ' % (done, number) + body + (b",\n" if done < last else b"\n")
    yield END


def _read(stream: IO[bytes], folder: str) -> Listed:
    """A file of `_file`, line by line. Raises ValueError, KeyError, TypeError or AttributeError for another."""
    line = stream.readline()
    if not line.endswith(IMAGES):
        raise ValueError
    head = json.loads(line.removesuffix(IMAGES).rstrip(b", ") + b"}")
    listed = [json.loads(line.rstrip(b",\n")) for line in _until(ANNOTATIONS, stream)]
    place, starts, counts = stream.tell(), {one["id"]: 0 for one in listed}, {one["id"]: 0 for one in listed}
    for line in _until(END, stream):
        owner = int(IDS.match(line)[1])  # type: ignore[index]  # TypeError for None
        starts[owner] = starts[owner] or place
        counts[owner] += 1
        place += len(line)
    images = {
        one["file_name"]: Lines(starts[one["id"]], counts[one["id"]], (one["height"], one["width"])) for one in listed
    }
    root = os.path.realpath(os.path.join(folder, head["info"]["root"]))
    return Listed([one["name"] for one in head["categories"]], root, images)


def _until(end: bytes, stream: IO[bytes]) -> Iterator[bytes]:
    while (line := stream.readline()) != end:
        if not line:
            raise ValueError
        yield line


def _merged(photos: Mapping[str, Lines], root: str, before: Listed | None) -> tuple[str, dict[str, Lines]]:
    """(the folder that all names are below, links resolved; name -> lines, by name)."""
    real = os.path.realpath(root)
    place = os.path.commonpath([real, before.root]) if before else real

    def named(folder: str, name: str) -> str:
        return Path(os.path.relpath(os.path.join(folder, name), place)).as_posix()

    images = {named(real, os.path.relpath(photo, root)): lines for photo, lines in photos.items()}
    again = {real_place(photo) for photo in photos}
    for name, lines in before.images.items() if before else ():
        if real_place(os.path.join(before.root, name)) not in again:  # type: ignore[union-attr]
            images.setdefault(named(before.root, name), lines)  # type: ignore[union-attr]
    return place, dict(sorted(images.items()))


def real_place(path: str | Path) -> str:
    """One text for every way to a directory's entry."""
    return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))


def _seen_from(folder: Path, place: str) -> str:
    """The way from where the file lies, so that both can be moved together."""
    try:
        return Path(os.path.relpath(place, os.path.realpath(folder))).as_posix()
    except ValueError:  # another drive
        return Path(place).as_posix()

"""Before the networks are opened: what label maps are these, and does any pixel of them count?"""

import hashlib
import os
import stat
from functools import lru_cache, partial
from pathlib import Path

from ..common.attempts import attempt
from ..common.keys import OWN
from ..data.datasets import OpenDataset, Sample
from ..errors import ImageError, OptionError
from ..labels.orientation import is_turned, untold
from ..labels.strays import Uncounted, gather, nothing, uncounted


def labels_hash(data: OpenDataset) -> dict[str, str]:
    """SHA-256 of what the label maps of a folder of your own hold, for its record; benchmarks do not change."""
    if data.dataset.key not in OWN:
        return {}
    return {"labels_hash": _hash(tuple(_state(sample.label) for sample in data.samples))}


File = tuple[str, int, int]
"""Path, size, time of the last change in nanoseconds; -1 for what is no file."""


def _state(path: os.PathLike[str]) -> File:
    try:
        info = os.stat(path)
    except OSError:
        return os.fspath(path), -1, -1
    whole = stat.S_ISREG(info.st_mode)
    return (os.fspath(path), info.st_size, info.st_mtime_ns) if whole else (os.fspath(path), -1, -1)


@lru_cache(maxsize=4)
def _hash(files: tuple[File, ...]) -> str:
    found = hashlib.sha256()
    for path, size, _ in files:
        try:
            data = b"" if size < 0 else Path(path).read_bytes()
        except OSError:  # whoever reads the label map says why
            data = b""
        found.update(hashlib.sha256(data).digest())
    return found.hexdigest()


def orientation_notes(data: OpenDataset) -> list[str]:
    """What to know of photos of your own that are turned so that nothing tells how their label maps lie."""
    if data.masks.turned or data.dataset.key not in OWN:
        return []
    found = [sample.image for sample in data.samples if untold(sample.image)]
    if not found:
        return []
    turned = sum(is_turned(sample.image) for sample in data.samples)
    what = f"{turned} of {len(data.samples)} photos are turned by their EXIF orientation"
    part = f", {len(found)} of them so that no size tells how the label map lies" if len(found) < turned else ""
    taken = "their label maps are taken as upright; --turn-masks is for those drawn on photos as stored"
    return [f"{what}{part} (such as {found[0].name}): {taken}"]


def check_labels(data: OpenDataset) -> None:
    """Read label maps until one has a pixel that counts, or all where a class file numbers its classes itself.

    Raises UserError where no pixel of any counts, saying what is there instead; OptionError for a folder of your own
    with one class, which every pixel gets, and where a value is in the maps that the class file does not number.
    """
    classes, rule, own = data.dataset.classes, data.dataset.rule, data.dataset.key in OWN
    if own and classes < 2:
        only = data.vocabulary().classes[0]
        what = f"the class list of {data.root} names one class ({only!r}), which every pixel gets"
        raise OptionError(what, "name at least two, one a line")
    left, failure, counts = [], None, False
    for sample in data.samples:
        found = attempt(partial(_uncounted, data, sample), sample.label)
        if isinstance(found, ImageError):
            failure = failure or (found.what, found.remedy)
            continue
        left.append(found)
        counts = counts or left[-1].counted > 0
        if counts and not rule.numbered_by:
            return
    if not counts:
        facts = gather(left, [0] * classes, data.dataset.key, rule.wide, bool(rule.values))
        raise nothing(facts, failure)


def _uncounted(data: OpenDataset, sample: Sample) -> Uncounted:
    return uncounted(data.truth(sample), data.dataset.classes, data.dataset.rule)

"""A memory bank as a record and as a file: prototypes of classes, and what they were made with.

`segloop bank` makes one of photos of your own, without labels; `--bank` takes it.
"""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..common.archives import DamagedError, read_npz
from ..common.files import write_whole
from ..common.records import require
from ..errors import OptionError
from .banked import BankedRows

AGAIN = "make one with `segloop bank` and these options"
ARRAYS = ("prototypes", "owners", "levels", "made_by")
FLAT = 1e-3  # cosines on a class and elsewhere that differ by less say nothing


@dataclass(frozen=True)
class Mixing:
    """How much of a class's score is the bank's. Raises OptionError for values outside their range."""

    bank_weight: float = 0.5  # 0: the words alone

    def __post_init__(self) -> None:
        require(0 <= self.bank_weight <= 1, "bank_weight", self.bank_weight, "0 to 1")


@dataclass(frozen=True, eq=False)
class Bank:
    """Prototypes of classes, from photos that these words labelled."""

    classes: tuple[str, ...]
    words: tuple[tuple[str, ...], ...]  # of each class
    prototypes: np.ndarray  # (P, E) float32 unit rows, class by class
    owners: np.ndarray  # (P,) int64, the class of each
    levels: (
        np.ndarray
    )  # (C, 4) float64, means over patches: of words elsewhere and on the class, of prototypes likewise
    made_by: Mapping[str, Any]  # networks, method and preprocessing, see `line.banking`
    mixing: Mixing = Mixing()  # how it is used: in no file

    @property
    def digest(self) -> str:
        """What records of runs have of it."""
        found = hashlib.sha256(json.dumps([self._said(), self.levels.tolist()], sort_keys=True).encode())
        found.update(self.prototypes.astype("<f4").tobytes())
        return found.hexdigest()[:16]

    @property
    def without(self) -> list[str]:
        """Classes that have no prototypes, and so keep their words' score."""
        there = set(self.owners.tolist())
        return [name for number, name in enumerate(self.classes) if number not in there]

    def _said(self) -> dict[str, Any]:
        words = [list(own) for own in self.words]
        return {"classes": list(self.classes), "words": words, "made_by": dict(self.made_by)}

    def rows(self, text: Tensor, query_index: Sequence[int]) -> BankedRows:
        """Text rows (Q, E) with the prototypes beside them, where the text is."""
        there = sorted(set(self.owners.tolist()))
        place = {number: at for at, number in enumerate(there)}
        text_off, text_on, bank_off, bank_on = torch.from_numpy(self.levels[there]).T
        stretch = (text_on - text_off) / (bank_on - bank_off)
        return BankedRows(
            mean=text,
            prototypes=torch.from_numpy(self.prototypes).to(text),
            owners=tuple(place[number] for number in self.owners.tolist()),
            classes=tuple(place.get(number, -1) for number in query_index),
            shift=(text_off - stretch * bank_off).to(text),
            stretch=stretch.to(text),
            weight=self.mixing.bank_weight,
        )

    def save(self, path: str | PathLike[str]) -> None:
        """Write the file that `read_bank` reads, whole: the same bytes for the same bank. Raises OutputError."""
        stream, said = io.BytesIO(), json.dumps(self._said(), sort_keys=True).encode()
        arrays: dict[str, Any] = {"prototypes": self.prototypes, "owners": self.owners, "levels": self.levels}
        np.savez(stream, **arrays, made_by=np.frombuffer(said, np.uint8))
        write_whole(Path(path), stream.getvalue())


def read_bank(path: str | PathLike[str]) -> Bank:
    """A file that `segloop bank` wrote. Raises OptionError for another, and for one that is not there or damaged."""
    try:
        arrays = read_npz(Path(path).expanduser())
        said = json.loads(arrays["made_by"].tobytes())
        words = tuple(tuple(map(str, own)) for own in said["words"])
        rows, owners, levels = (arrays[name] for name in ARRAYS[:3])
        found = Bank(tuple(map(str, said["classes"])), words, rows, owners, levels, dict(said["made_by"]))
        if not _is_whole(found):
            raise ValueError("arrays of another shape")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise OptionError(f"the bank {path} cannot be read ({reason})", "check the path") from None
    except (DamagedError, LookupError, TypeError, ValueError, AttributeError, RecursionError):
        raise OptionError(f"{path} is no whole memory bank", "give one that `segloop bank` wrote") from None
    return found


def _is_whole(bank: Bank) -> bool:
    """Whether shapes, types and values are those of a bank."""
    rows, owners, levels = bank.prototypes, bank.owners, bank.levels
    count = len(bank.classes)
    shaped = rows.ndim == 2 and owners.shape == rows.shape[:1] and levels.shape == (count, 4)
    typed = rows.dtype == np.float32 and owners.dtype == np.int64 and levels.dtype == np.float64
    if not (shaped and typed and len(bank.words) == count and len(owners)):
        return False
    in_order = owners[0] >= 0 and owners[-1] < count and bool((np.diff(owners) >= 0).all())
    unit = bool((np.abs(np.linalg.norm(rows, axis=1) - 1) < 1e-3).all())
    return in_order and unit and bool(np.isfinite(levels).all()) and bool(tells(levels)[owners].all())


def tells(levels: np.ndarray) -> np.ndarray:
    """Whether words and prototypes lie higher on a class than elsewhere: levels (C, 4) -> (C,) bool."""
    return (levels[:, 1] - levels[:, 0] > FLAT) & (levels[:, 3] - levels[:, 2] > FLAT)

"""Where the regions of a photo come from, each a `steps.RegionSource`: files, what makes them, functions, arrays."""

import hashlib
import io
import json
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

import numpy as np

from ..common.caching import cache_root
from ..common.files import write_whole
from ..common.visible import shortened
from ..common.world import recorded
from ..errors import ImageError, SegloopError
from ..images import Elsewhere
from ..images.idmaps import ids_of, read_ids
from ..images.regions import RegionFiles


class Source(Protocol):
    """Photos -> ids of their regions, and what records say of that."""

    @property
    def said(self) -> dict[str, Any]:
        """Settings of a record, without a path of this machine; the first is `regions`."""

    @property
    def fingerprint(self) -> str:
        """A hash of what the regions depend on besides; "" where `said` has all that is known."""

    def __call__(self, photo: Any, image: np.ndarray) -> np.ndarray:
        """(photo as it was given, (H, W, 3) uint8) -> (H, W) int64 ids, 0 for no region. Raises ImageError."""


@dataclass(frozen=True)
class Filed:
    """Masks that lie in files, called like the photos."""

    files: RegionFiles

    @property
    def said(self) -> dict[str, Any]:
        """The name of the folder or file."""
        return {"regions": Path(self.files.place).expanduser().resolve().name}

    @cached_property
    def fingerprint(self) -> str:
        """Of all masks."""
        return self.files.digest()

    def __call__(self, photo: Any, image: np.ndarray) -> np.ndarray:
        """Raises ImageError also for a photo that has no name."""
        if not isinstance(photo, (str, Path, Elsewhere)):
            what = f"a photo without a file's name came with the masks in {shortened(self.files.place)}"
            raise ImageError(what, "give photos as paths, or masks as arrays")
        return self.files.read(os.fspath(photo), _size(image))


@dataclass(frozen=True)
class Made:
    """Masks that are made of the photo, once: they are kept on disk by its pixels and by all that made them."""

    name: str
    make: Callable[[np.ndarray], np.ndarray]
    hashed: Callable[[], str]  # of what makes them
    constants: Mapping[str, Any] = field(default_factory=dict)
    alone: Lock = field(default_factory=Lock, repr=False, compare=False)  # photos are read in threads

    @property
    def said(self) -> dict[str, Any]:
        """With constants."""
        return {"regions": self.name, **self.constants}

    @cached_property
    def fingerprint(self) -> str:
        """Of the network's weights, or of the program."""
        return self.hashed()

    def __call__(self, photo: Any, image: np.ndarray) -> np.ndarray:
        """Raises ImageError, ModelError and OptionError of what makes them."""
        with self.alone:
            kept = self._file(image)
            try:
                return read_ids(kept, _size(image))
            except ImageError:  # not there yet, or damaged
                ids = self.make(image)
            _keep(kept, ids)
            return ids

    def _file(self, image: np.ndarray) -> Path:
        made_by = hashlib.sha256(json.dumps([self.fingerprint, dict(self.constants)]).encode()).hexdigest()
        pixels = hashlib.sha256(f"{image.shape}".encode())
        pixels.update(np.ascontiguousarray(image).data)
        return cache_root() / "masks" / made_by[:16] / f"{pixels.hexdigest()}.npz"


@dataclass(frozen=True)
class Computed:
    """Masks by a function of the user's: (H, W, 3) uint8 -> (H, W) ids or (n, H, W) bool."""

    function: Callable[[np.ndarray], Any]
    fingerprint: str = ""

    @property
    def name(self) -> str:
        """The function's."""
        return getattr(self.function, "__name__", type(self.function).__name__)

    @property
    def said(self) -> dict[str, Any]:
        """With hashes of its code."""
        return {"regions": self.name, **recorded({"regions_code": (self.function,)})}

    def __call__(self, photo: Any, image: np.ndarray) -> np.ndarray:
        """Raises ImageError for what are no masks of this photo."""
        return ids_of(self.function(image), f"what {self.name} made", _size(image))


@dataclass(frozen=True)
class Masked:
    """A photo of a call that came with its masks."""

    photo: Any
    masks: Any


@dataclass(frozen=True)
class Given:
    """Those masks."""

    masks: Any = None
    fingerprint: str = ""

    @property
    def said(self) -> dict[str, Any]:
        """Nobody knows from where."""
        return {"regions": "given"}

    def __call__(self, photo: Any, image: np.ndarray) -> np.ndarray:
        """Raises ImageError for what are no masks of this photo."""
        return ids_of(self.masks, "masks", _size(image))


def parted(photo: Any, masks: Any) -> tuple[Any, Any]:
    """A photo, and where its regions come from: those of a `Masked` photo from itself."""
    return (photo.photo, Given(photo.masks)) if isinstance(photo, Masked) else (photo, masks)


def _size(image: np.ndarray) -> tuple[int, int]:
    return image.shape[0], image.shape[1]


def _keep(file: Path, ids: np.ndarray) -> None:
    """Masks that cannot be kept cost time at the next start, no more."""
    stream = io.BytesIO()
    np.savez_compressed(stream, masks=ids.astype(np.min_scalar_type(int(ids.max(initial=0)))))
    try:
        write_whole(file, stream.getvalue())
    except SegloopError as error:
        warnings.warn(f"masks are not kept for the next time: {error.what}", stacklevel=2)

"""Which networks a run uses, in plain values, so that another process opens the same."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..attention.custom import is_file_place
from ..backbones.models import DEFAULT_CLIP
from ..backbones.shared import Models
from ..line.masking import whole_masks
from ..line.segmenter import BATCH, Segmenter
from .inputs import attention_of


@dataclass(frozen=True)
class Networks:
    """What `Segmenter.from_pretrained` is asked for; method and host are names or FILE.py:function."""

    clip: str = DEFAULT_CLIP
    method: str | None = None
    host: str | None = None
    vision: str | None = None
    affinity: str | None = None
    recipe: str | None = None
    fidelity: str = "default"
    bands: str | None = None
    stretch: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    engine: str | None = None  # of the encoders
    offline: bool = False
    batch: int | None = None  # None: nobody has said
    masks: str | None = None  # regions of photos, as `line.masking` has them
    bank: str | None = None  # a file of `segloop bank`
    changes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def named(self) -> tuple[str | None, str | None]:
        """Method and host as they were given, whose code a record tells by its hash."""
        return self.method, self.host

    def open(self, models: Models | None = None) -> Segmenter:
        """The networks, opened. Raises ModelError, OptionError."""
        method, host = (attention_of(name) for name in self.named)
        same = ("vision", "affinity", "recipe", "fidelity", "bands", "stretch", "device", "dtype", "engine", "offline")
        others = {name: getattr(self, name) for name in (*same, "masks", "bank")} | {"batch": self.batch or BATCH}
        own = {"method": method or "auto", "host": host, "models": models}
        return Segmenter.from_pretrained(self.clip, **own, **others, **self.changes)

    def elsewhere(self) -> "Networks":
        """The same for a process that works in another folder."""
        return replace(
            self,
            clip=whole_place(self.clip),
            vision=self.vision and whole_place(self.vision),
            affinity=self.affinity and whole_place(self.affinity),
            method=whole_place(self.method),
            host=whole_place(self.host),
            masks=whole_masks(self.masks),
            bank=whole_file(self.bank),
        )


def whole_file(name: str | None) -> str | None:
    """A file with its whole path; what is none as it is."""
    path = Path(name or "").expanduser()
    return os.path.abspath(path) if name and path.is_file() else name


def whole_place(name: Any) -> Any:
    """A model's or a method's name as it is; a folder or FILE.py:function with the whole path."""
    if name and is_file_place(str(name)):
        return os.path.abspath(name)
    return os.path.abspath(Path(name).expanduser()) if name and Path(name).expanduser().is_dir() else name

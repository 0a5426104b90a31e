"""A bank that is half made, on the disk beside the one that it becomes, so that a stop costs a few photos only."""

import io
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..common.archives import DamagedError, read_npz
from ..common.earlier import check_replaced, npz_of
from ..common.files import write_whole
from ..words.vocabulary import Vocabulary
from .banking import identity
from .gathering import SHARD, Gathered, Gathering
from .segmenter import Segmenter

ARRAYS = (*Gathered.__dataclass_fields__, "made_by", "done")


@dataclass(frozen=True)
class Half:
    """Where it lies, and what determines it."""

    file: Path
    made_by: bytes
    width: int
    step: int = SHARD  # photos between two states

    @classmethod
    def of(cls, out: Path, segmenter: Segmenter, vocabulary: Vocabulary, how: Gathering, photos: str) -> "Half":
        """The one beside `out`; `photos` is a hash of their list. Raises OptionError where a stranger lies there."""
        file = out.with_name(f"{out.name}.half")
        check_replaced({file: npz_of(ARRAYS)}, "move it away, or choose another --out")
        words = [vocabulary.classes, vocabulary.words(), list(vocabulary.templates)]
        made_by = {
            **identity(segmenter.network, segmenter.reading),
            "decided": segmenter.describe(vocabulary),
            "words": words,
            "photos": photos,
            **asdict(how),
        }
        return cls(file, json.dumps(made_by, sort_keys=True, default=str).encode(), segmenter.clip.width)

    def read(self, say: Callable[[str], None], anew: bool = False) -> tuple[int, Gathered]:
        """How many photos are through, and what they gave: nothing where there is none, or it is another's.

        `say` is told which it is.
        """
        none = 0, Gathered.none(self.width)
        if anew or not self.file.exists():
            return none
        try:
            kept = read_npz(self.file)
            if kept["made_by"].tobytes() != self.made_by:
                say(f"{self.file} is of other photos, words or options: this bank begins anew")
                return none
            known, done = Gathered(**{name: kept[name] for name in Gathered.__dataclass_fields__}), int(kept["done"])
        except (OSError, DamagedError, LookupError, ValueError, TypeError):
            say(f"{self.file} is damaged: this bank begins anew")
            return none
        say(f"going on, {done} photos are learned from already")
        return done, known

    def write(self, done: int, known: Gathered) -> None:
        """Keep what `done` photos gave. Raises OutputError, MachineError."""
        stream = io.BytesIO()
        made_by: Any = np.frombuffer(self.made_by, np.uint8)
        np.savez(stream, **vars(known), made_by=made_by, done=np.array(done))
        write_whole(self.file, stream.getvalue())

    def remove(self) -> None:
        """Once the bank is there."""
        self.file.unlink(missing_ok=True)

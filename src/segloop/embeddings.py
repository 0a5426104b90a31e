"""Queries into unit rows (spec 0.4), kept on disk: a text is encoded once per model, not once per run."""

import hashlib
import json
import os
import time
import warnings
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from platformdirs import user_cache_dir
from torch import Tensor
from torch.nn import functional as F

from .errors import ModelError, Notice, SegloopError, VocabularyError
from .files import write_whole
from .vocabulary import Vocabulary

TEXTS_PER_CALL = 512
MOST_CLASSES = 2**16 - 1  # in a map of 16 bits, whose largest number is void
MANY = 5000  # queries, from which on a photo takes minutes
TRIAL = 8  # queries after which their pace is known
PATIENCE = 60.0  # seconds that need no word
SHOWN = 60  # letters of a name that is told
DIGEST = hashlib.sha256().digest_size


class TextEncoder(Protocol):
    """What turns text into rows: a CLIP text tower with its tokenizer."""

    @property
    def fingerprint(self) -> str:
        """Hash of the text weights and the tokenizer: rows of another model are never reused."""

    def encode_text(self, texts: list[str]) -> Tensor:
        """Texts (n) -> (n, E) float32, not normalised."""

    def tokens_cut(self, texts: list[str]) -> list[int]:
        """How many tokens of each text are not read since it is too long."""


def cache_root() -> Path:
    """Where embeddings are kept: SEGLOOP_CACHE, else the user's cache folder of this system."""
    given = os.environ.get("SEGLOOP_CACHE")
    return Path(os.path.expanduser(given)) if given else Path(user_cache_dir("segloop"))


def embed(
    vocabulary: Vocabulary,
    encoder: TextEncoder,
    cache_dir: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """The rows of all queries, from the cache (`cache_dir`, default `cache_root()`) or encoded: (Q, E) float32.

    `progress(done, total)` counts encoded queries; where they take long, a Notice says how long, and others how far
    they are; so does one where photos will take long, and one for names that the encoder does not read to their end.
    Rows that the vocabulary was given are returned as they are, and the encoder stays untouched. Raises
    VocabularyError for more classes than a label map holds, ModelError where the encoder returns no direction for a
    text.
    """
    if len(vocabulary.classes) > MOST_CLASSES:
        what = f"{len(vocabulary.classes)} classes came, and a label map holds {MOST_CLASSES}"
        raise VocabularyError(what, "give fewer, or join those that mean the same by |")
    if (words := len(vocabulary.query_index)) >= MANY:
        what = f"every pixel is compared with {words} words: a photo may take many minutes"
        warnings.warn(what, Notice, stacklevel=2)
    if vocabulary.embeddings is not None:
        return vocabulary.embeddings.float()
    _tell_what_is_cut(vocabulary, encoder)
    templates = vocabulary.templates
    folder = Path(cache_dir or cache_root()) / "text" / encoder.fingerprint[:16]
    files = {query: folder / _file_name(query, templates) for query in vocabulary.queries}
    found = {query: row for query, file in files.items() if (row := _read(file)) is not None}
    fresh: dict[str, Tensor] = {}
    todo = deque(query for query in files if query not in found)
    if not todo and len({len(row) for row in found.values()}) > 1:
        todo = deque(files)  # which of the widths is the model's is not known
    pace, writable = Pace(len(templates)), True
    while todo:
        query = todo.popleft()
        row = fresh[query] = _encode(query, templates, encoder)
        if len(fresh) == 1:
            waiting = {query, *todo}
            todo.extend(q for q, old in found.items() if q not in waiting and len(old) != len(row))
        pace.tell(len(fresh), len(fresh) + len(todo))
        if progress is not None:
            progress(len(fresh), len(fresh) + len(todo))
        writable = writable and _write(files[query], row)
    rows = found | fresh
    return torch.stack([rows[query] for query in vocabulary.queries])


def _tell_what_is_cut(vocabulary: Vocabulary, encoder: TextEncoder) -> None:
    """A Notice for names too long to be read, whether their rows are kept or not; in the longest of the templates."""
    longest = max(vocabulary.templates, key=len)
    lost = encoder.tokens_cut([longest.replace("{}", query) for query in vocabulary.queries])
    cut = [(number, query) for number, query in zip(lost, vocabulary.queries, strict=True) if number]
    if not cut:
        return
    number, query = max(cut, key=lambda pair: pair[0])
    what = f"the name {query if len(query) <= SHOWN else query[:SHOWN] + '...'!r} is longer than the model reads, "
    what += f"its last {number} tokens are cut" if number > 1 else "its last token is cut"
    others = f"; so are the ends of {len(cut) - 1} more" if len(cut) > 1 else ""
    warnings.warn(what + others, Notice, stacklevel=3)


@dataclass
class Pace:
    """Says how long encoding takes where that is long, since a bar is not always seen: at first and at every tenth."""

    templates: int
    started: float = field(default_factory=lambda: time.monotonic())
    told: int = -1  # tenths

    def tell(self, done: int, total: int) -> None:
        """`done` of `total` queries are encoded."""
        left = (time.monotonic() - self.started) / done * (total - done)
        tenth = 10 * done // total
        if done < TRIAL or tenth <= self.told or (self.told < 0 and left < PATIENCE):
            return
        first, self.told = self.told < 0, tenth
        what = f"{done} of {total} words are encoded in {self.templates} templates, {_duration(left)} left"
        more = "; rows are kept for the next time, and --templates single is faster" if first else ""
        warnings.warn(what + more, Notice, stacklevel=3)


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"about {minutes} min" if minutes < 120 else f"about {round(minutes / 60)} h"


def _encode(query: str, templates: tuple[str, ...], encoder: TextEncoder) -> Tensor:
    """One query -> (E,) float32 unit row: the mean of its unit rows over the templates (spec 0.4).

    One query a call: matrix products round by the shape of their batch, and a row that depended on the
    queries beside it would depend on what the cache held. 80 templates fill the machine by themselves.
    """
    texts = [template.replace("{}", query) for template in templates]
    calls = range(0, len(texts), TEXTS_PER_CALL)
    parts = [encoder.encode_text(texts[at : at + TEXTS_PER_CALL]) for at in calls]
    rows = torch.cat([part.detach().to("cpu", torch.float32) for part in parts])
    length = rows.norm(dim=-1)
    row = F.normalize(F.normalize(rows, dim=-1).mean(0), dim=-1)
    if not (_is_unit(row) and length.isfinite().all() and length.all()):
        what = f"the text encoder gives no finite direction for {query!r}"
        raise ModelError(what, "check that the text weights of the model are whole")
    return row


def _is_unit(row: Tensor) -> bool:
    return abs(row.norm().item() - 1) < 1e-4  # false for NaN


def _file_name(query: str, templates: tuple[str, ...]) -> str:
    text = json.dumps([query, *templates])
    return hashlib.sha256(text.encode()).hexdigest() + ".bin"


def _read(file: Path) -> Tensor | None:
    """The row kept in a file, or None where there is none or the file is damaged."""
    try:
        data = file.read_bytes()
    except OSError:
        return None
    digest, payload = data[:DIGEST], data[DIGEST:]
    if not payload or len(payload) % 4 or hashlib.sha256(payload).digest() != digest:
        return None
    row = torch.from_numpy(np.frombuffer(payload, "<f4").astype(np.float32))
    return row if _is_unit(row) else None


def _write(file: Path, row: Tensor) -> bool:
    """Keep a row; a cache that cannot be written costs time at the next start, so it is only a warning."""
    payload = row.numpy().astype("<f4").tobytes()
    try:
        write_whole(file, hashlib.sha256(payload).digest() + payload)
    except SegloopError as error:
        warnings.warn(f"text embeddings are not kept for the next time: {error.what}", stacklevel=3)
        return False
    return True

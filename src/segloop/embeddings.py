"""Queries into unit rows (spec 0.4), kept on disk: a text is encoded once per model, not once per run."""

import hashlib
import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from platformdirs import user_cache_dir
from torch import Tensor
from torch.nn import functional as F

from .errors import ModelError, SegloopError
from .files import write_whole
from .vocabulary import Vocabulary

TEXTS_PER_CALL = 512
DIGEST = hashlib.sha256().digest_size


class TextEncoder(Protocol):
    """What turns text into rows: a CLIP text tower with its tokenizer."""

    @property
    def fingerprint(self) -> str:
        """Hash of the text weights and the tokenizer: rows of another model are never reused."""

    def encode_text(self, texts: list[str]) -> Tensor:
        """Texts (n) -> (n, E) float32, not normalised."""


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

    `progress(done, total)` counts encoded queries. Rows that the vocabulary was given are returned as they
    are, and the encoder stays untouched. Raises ModelError where the encoder returns no direction for a text.
    """
    if vocabulary.embeddings is not None:
        return vocabulary.embeddings.float()
    templates = vocabulary.templates
    folder = Path(cache_dir or cache_root()) / "text" / encoder.fingerprint[:16]
    files = {query: folder / _file_name(query, templates) for query in vocabulary.queries}
    found = {query: row for query, file in files.items() if (row := _read(file)) is not None}
    fresh: dict[str, Tensor] = {}
    todo = [query for query in files if query not in found]
    if not todo and len({len(row) for row in found.values()}) > 1:
        todo = list(files)  # which of the widths is the model's is not known
    writable = True
    while todo:
        query = todo.pop(0)
        row = fresh[query] = _encode(query, templates, encoder)
        if len(fresh) == 1:
            stale = [q for q, old in found.items() if q != query and len(old) != len(row)]
            todo += [q for q in stale if q not in todo]
        if progress is not None:
            progress(len(fresh), len(fresh) + len(todo))
        writable = writable and _write(files[query], row)
    rows = found | fresh
    return torch.stack([rows[query] for query in vocabulary.queries])


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

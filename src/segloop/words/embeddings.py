"""Words into unit rows: prompts, encoder, a step over templates (spec 0.4). Kept on disk: encoded once per model."""

import hashlib
import json
import time
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional as F

from ..common.caching import cache_root as cache_root
from ..common.files import regular, write_whole
from ..common.records import constants_of
from ..errors import ModelError, Notice, OptionError, SegloopError
from .experts import AGAIN
from .language import Say, noticed, tell_of_language, tell_of_rest, tell_of_signs, tell_of_unknown
from .rows import MEAN, RowStep, is_alone, step_name
from .vocabulary import Vocabulary, check_number
from .voting import ExpertRows, Text

TEXTS_PER_CALL = 512
MANY = 5000  # queries, from which on a photo takes minutes
TRIAL = 8  # queries after which their pace is known
PATIENCE = 60.0  # seconds that need no word
METADATA = "segloop"  # the one key, since safetensors writes several in any order
SHOWN = 60  # letters of a name that is told


class TextEncoder(Protocol):
    """What turns text into rows: a CLIP text tower with its tokenizer."""

    @property
    def fingerprint(self) -> str:
        """Hash of the text weights and the tokenizer: rows of another model are never reused."""

    def encode_text(self, texts: list[str]) -> Tensor:
        """Texts (n) -> (n, E) float32, not normalised."""

    def tokens_cut(self, texts: list[str]) -> list[int]:
        """How many tokens of each text are not read since it is too long."""


def embed(
    vocabulary: Vocabulary,
    encoder: TextEncoder,
    cache_dir: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    step: RowStep = MEAN,
    say: Say = noticed,
) -> Text:
    """The rows of all queries, from the cache (`cache_dir`, default `cache_root()`) or encoded: (Q, E) float32.

    Where the vocabulary has experts, their rows too. A Notice tells where another model has ranked them.

    `progress(done, total)` counts encoded queries; where they take long, a Notice says how long, and others how far
    they are; so does one where photos will take long. What is to know of the words themselves, as of names that the
    encoder does not read to their end, goes to `say`; it is a Notice, too, where nobody takes it.
    Rows that the vocabulary was given, or that this encoder and step have made, are returned as they are, and for given
    ones the encoder stays untouched. Raises VocabularyError for more classes than a label map holds, ModelError where
    the encoder returns no direction for a text, OptionError where the step returns none, or another shape.
    """
    if vocabulary.embeddings is not None and vocabulary.made_by and vocabulary.made_by == origin(encoder, step):
        return vocabulary.embeddings
    check_number(vocabulary.classes)
    if (words := len(vocabulary.query_index)) >= MANY:
        what = f"every pixel is compared with {words} words: a large photo may take many minutes"
        warnings.warn(what, Notice, stacklevel=2)
    if vocabulary.embeddings is not None and vocabulary.is_given:
        return vocabulary.embeddings.to(torch.float32)
    _tell_what_is_cut(vocabulary, encoder, say)
    if vocabulary.source is None:  # published lists are as they are
        tell_of_rest(vocabulary.classes, vocabulary.words(), vocabulary.background, say)
        tell_of_signs(vocabulary.queries, say)
        if hasattr(encoder, "pieces"):  # of a model that was taught English
            tell_of_language(vocabulary.queries, encoder.pieces, say)
        if known := getattr(encoder, "known_words", None):
            tell_of_unknown(vocabulary.classes, vocabulary.words(), known, vocabulary.background, say)
    if vocabulary.experts and vocabulary.experts.text_tower not in (None, encoder.fingerprint):
        say(f"templates were ranked for the words of another model: {AGAIN} and this model")
    table = template_table(vocabulary, encoder, cache_dir, progress, step if not vocabulary.experts else by_template)
    if vocabulary.experts:
        mean = unit_rows(step, table, vocabulary.queries)
        return ExpertRows.of(mean, table.transpose(0, 1), vocabulary.expert_templates())
    return table[:, 0] if is_alone(step) else unit_rows(step, table, vocabulary.queries)


def template_table(
    vocabulary: Vocabulary,
    encoder: TextEncoder,
    cache_dir: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    step: RowStep | None = None,
) -> Tensor:
    """Unit rows (Q, T, E) float32 of all queries in every template; what is kept for a step that is alone, (Q, 1, E).

    From the cache or encoded, as of `embed`.
    """
    step = step or by_template
    cache = Cache(Path(cache_dir or cache_root()) / "text", encoder.fingerprint, vocabulary.templates, step)
    kept = _gathered(vocabulary.queries, cache, encoder, progress)
    return torch.stack([kept[query] for query in vocabulary.queries])


def by_template(table: Tensor) -> Tensor:
    """The step of who wants all rows (Q, T, E); it is not alone, so that they are kept. Its row is the mean's."""
    return table.mean(1)


def origin(encoder: TextEncoder, step: RowStep = MEAN) -> tuple[str, RowStep]:
    """What made rows: the encoder, by its fingerprint, and the step."""
    return encoder.fingerprint, step


def unit_rows(step: RowStep, table: Tensor, queries: Sequence[str]) -> Tensor:
    """Unit rows (Q, T, E) through a step, made unit rows again: (Q, E) float32. Raises OptionError."""
    rows = step(table)
    shape = table.shape[0], table.shape[2]
    if rows.shape != shape:
        what = f"the step {step_name(step)} made {tuple(rows.shape)} of text rows {tuple(table.shape)}"
        raise OptionError(what, f"return one row a query, {shape}")
    rows = F.normalize(rows.float(), dim=-1)
    fine = _is_unit(rows)
    if not fine.all():
        query = queries[int((~fine).nonzero()[0])]
        what = f"the step {step_name(step)} gives no finite direction for {query!r}"
        raise OptionError(what, "mend it, or leave rows= out")
    return rows


@dataclass(frozen=True)
class Cache:
    """Where what is made of each query is kept: its row, or its rows in all templates where a step asks for these."""

    root: Path
    fingerprint: str  # of the encoder
    templates: tuple[str, ...]
    step: RowStep

    @property
    def rows(self) -> int:
        """Rows of one query, K."""
        return 1 if is_alone(self.step) else len(self.templates)

    def file(self, query: str) -> Path:
        """One file a query, whose name is a digest of all that its rows depend on."""
        text = json.dumps([query, self._made_by, *self.templates])
        return self.root / self.fingerprint[:16] / f"{hashlib.sha256(text.encode()).hexdigest()}.safetensors"

    @property
    def _made_by(self) -> str | None:
        return _said(self.step) if is_alone(self.step) else None

    def read(self, query: str) -> Tensor | None:
        """The rows (K, E) of a query, or None where there is no file or it is damaged."""
        try:
            with safe_open(regular(self.file(query)), "pt") as opened:
                digest = json.loads(opened.metadata()[METADATA])["sha256"]
                kept = opened.get_tensor("rows").clone()
        except (OSError, SafetensorError, LookupError, TypeError, ValueError):
            return None
        whole = kept.dtype == torch.float32 and kept.ndim == 2 and len(kept) == self.rows
        return kept if whole and digest == _digest(kept) and _is_unit(kept).all() else None

    def write(self, query: str, rows: Tensor) -> bool:
        """Keep rows; a cache that cannot be written costs time at the next start, so it is only a warning."""
        told = {
            "query": query,
            "step": self._made_by,
            "templates": hashlib.sha256(json.dumps(self.templates).encode()).hexdigest()[:16],  # as in run.json
            "text_tower": self.fingerprint,
            "sha256": _digest(rows),
        }
        try:
            write_whole(self.file(query), save({"rows": rows}, {METADATA: json.dumps(told)}))
        except SegloopError as error:
            warnings.warn(f"text embeddings are not kept for the next time: {error.what}", stacklevel=4)
            return False
        return True


def _gathered(
    queries: Sequence[str], cache: Cache, encoder: TextEncoder, progress: Callable[[int, int], None] | None
) -> dict[str, Tensor]:
    """What is kept of each query, (K, E), made where it is missing."""
    words = list(dict.fromkeys(queries))
    found = {query: rows for query in words if (rows := cache.read(query)) is not None}
    fresh: dict[str, Tensor] = {}
    todo = deque(query for query in words if query not in found)
    if not todo and len({rows.shape[1] for rows in found.values()}) > 1:
        todo = deque(words)  # which of the widths is the model's is not known
    pace, writable = Pace(len(cache.templates)), True
    while todo:
        query = todo.popleft()
        rows = fresh[query] = _made(query, cache, encoder)
        if len(fresh) == 1:
            waiting = {query, *todo}
            todo.extend(q for q, old in found.items() if q not in waiting and old.shape[1] != rows.shape[1])
        pace.tell(len(fresh), len(fresh) + len(todo))
        if progress is not None:
            progress(len(fresh), len(fresh) + len(todo))
        writable = writable and cache.write(query, rows)
    return found | fresh


def _tell_what_is_cut(vocabulary: Vocabulary, encoder: TextEncoder, say: Say) -> None:
    """A sentence for names too long to be read, whether their rows are kept or not; in the longest of the templates."""
    longest = max(vocabulary.templates, key=len)
    lost = encoder.tokens_cut([longest.replace("{}", query) for query in vocabulary.queries])
    cut = [(number, query) for number, query in zip(lost, vocabulary.queries, strict=True) if number]
    if not cut:
        return
    number, query = max(cut, key=lambda pair: pair[0])
    context = getattr(encoder, "context", None)  # a family may not say it
    read = f"the {context} tokens that the model reads" if context else "the model reads"
    template = "" if longest == "{}" else "in its template "
    what = f"the name {query if len(query) <= SHOWN else query[:SHOWN] + '...'!r} {template}is longer than {read}, "
    what += f"its last {number} tokens are cut" if number > 1 else "its last token is cut"
    others = f", and so are the ends of {len(cut) - 1} more" if len(cut) > 1 else ""
    remedy = "; say it in fewer words"
    say(what + others + remedy)


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
        warnings.warn(what + more, Notice, stacklevel=4)


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return "less than a minute"
    return f"about {minutes} min" if minutes < 120 else f"about {round(minutes / 60)} h"


def _made(query: str, cache: Cache, encoder: TextEncoder) -> Tensor:
    """What is kept of one query: (K, E) float32 unit rows."""
    table = _encode(query, cache.templates, encoder)
    return unit_rows(cache.step, table[None], [query]) if is_alone(cache.step) else table


def _encode(query: str, templates: tuple[str, ...], encoder: TextEncoder) -> Tensor:
    """One query -> (T, E) float32 unit rows, one a template (spec 0.4).

    One query a call: matrix products round by the shape of their batch, and a row that depended on the
    queries beside it would depend on what the cache held. 80 templates fill the machine by themselves.
    """
    texts = [template.replace("{}", query) for template in templates]
    calls = range(0, len(texts), TEXTS_PER_CALL)
    parts = [encoder.encode_text(texts[at : at + TEXTS_PER_CALL]) for at in calls]
    rows = torch.cat([part.detach().to("cpu", torch.float32) for part in parts])
    unit = F.normalize(rows, dim=-1)
    if not (rows.norm(dim=-1).isfinite().all() and _is_unit(unit).all()):
        what = f"the text encoder gives no finite direction for {query!r}"
        raise ModelError(what, "check that the text weights of the model are whole")
    return unit


def _is_unit(rows: Tensor) -> Tensor:
    return (rows.norm(dim=-1) - 1).abs() < 1e-4  # false for NaN


def _said(step: RowStep) -> str:
    """A step's name with its constants, as files tell it."""
    return json.dumps([step_name(step), constants_of(step)])


def _digest(rows: Tensor) -> str:
    return hashlib.sha256(rows.contiguous().numpy().astype("<f4").tobytes()).hexdigest()

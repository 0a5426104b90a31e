"""Class lists: names, synonyms, background, templates, and the published lists of the benchmarks.

Lists are read without torch; only embeddings given by hand need it. Text becomes rows in `embeddings.py`.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..common.keys import BENCHMARKS
from ..errors import VocabularyError
from .entries import label_and_words, line_of, names_of, synonyms
from .lists import benchmark_names, benchmark_queries, class_list, expanded, template_sets
from .read import parse_classes, read_class_file
from .templates import templates_of

if TYPE_CHECKING:
    from torch import Tensor

# fmt: off
__all__ = ["BENCHMARKS", "Vocabulary", "benchmark_names", "benchmark_queries", "parse_classes", "read_class_file",
           "template_sets"]
# fmt: on
MOST_CLASSES = 2**16 - 1  # in a map of 16 bits, whose largest number is void
UNIT_TOLERANCE = 1e-3  # half precision rounds a unit row by less
SHOWN = 24  # letters of a name in a repr
Classes = Iterable[str] | Mapping[str, str | Sequence[str]]


@dataclass(frozen=True, init=False, eq=False)
class Vocabulary:
    """The classes to find, the words that ask for each, and the sentences the words are put into.

    Built from names (`|` separates synonyms, a class is called by its first, or by a label before `=`), from labels
    with their words (`{"Straße": ["road", "street"]}`), from a published list with `Vocabulary.benchmark`, or from
    names and `embeddings` made elsewhere.
    """

    classes: list[str]  # C names, as results carry them
    queries: list[str] = field(repr=False)  # Q texts; with `embeddings`, the class name of each row
    query_index: tuple[int, ...] = field(repr=False)  # (Q,) class of each query
    background: Literal[0] | None  # the class that thresholds and the area rule fall back to
    templates: tuple[str, ...] = field(repr=False)  # each holds one "{}"
    embeddings: Tensor | None = field(repr=False)  # (Q, E) float32 unit rows, where given
    source: str | None  # "voc21/P" of a published list, for run records
    made_by: Any = field(repr=False)  # what encoded the embeddings, by ==; None for those that were given

    def __init__(
        self,
        classes: Classes,
        *,
        background: Literal[0] | bool | None = None,
        templates: str | Sequence[str] = "openai80",
        embeddings: Tensor | None = None,
        query_index: Sequence[int] | Tensor | None = None,
    ) -> None:
        """Parse `classes`; `background` is None (none), 0 (class 0 is it) or True (add one of general words).

        `embeddings` (Q, E) are unit rows instead of text, `query_index` (Q,) the class of each (default: one
        row a class, in order). `templates` is a named set, a template, a text file of one a line, or a list of them.
        Raises VocabularyError.
        """
        names, words = _split_classes(classes)
        if background is True:
            if embeddings is not None:
                what = "background=True needs words, but the rows were given as embeddings"
                raise VocabularyError(what, "put a row for the background first and pass background=0")
            words.insert(0, _general_words([*words, names]))
            names.insert(0, "background")
        elif background is not None and (type(background) is not int or background != 0):
            what = f"background came as {background!r}, allowed are None, True and 0"
            raise VocabularyError(what, "put the background class first and pass background=0")
        rows = None
        if embeddings is not None:
            rows, index = _given_rows(embeddings, query_index, names)
            words = [[names[c]] for c in index]
        elif query_index is not None:
            what = "query_index came without embeddings, whose rows it sorts into classes"
            raise VocabularyError(what, "give both, or separate synonyms with | in the class names")
        else:
            index = _owners(words)
        self._settle(
            classes=names,
            queries=_flat(words),
            query_index=index,
            background=None if background is None else 0,
            templates=templates_of(templates),
            embeddings=rows,
            source=None,
            made_by=None,
        )

    def _settle(self, **fields: Any) -> None:
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    @classmethod
    def benchmark(
        cls, key: str | Path, variant: str = "P", *, templates: str | Sequence[str] = "openai80"
    ) -> Vocabulary:
        """The published list of a data set, word for word (spec 0.5), under the data set's own names (spec 7).

        `variant` is P, S, SFP, clear, LPOSS, corrclip or corrclip-v2. Unlike a user's list it may repeat a word:
        coco-object has "bed" as a class and in its background. `key` may also be a JSON file of your own, written as
        those of `classes` are.
        Raises VocabularyError.
        """
        words = benchmark_queries(key, variant)
        self = cls.__new__(cls)
        self._settle(
            classes=benchmark_names(key),
            queries=_flat(words),
            query_index=_owners(words),
            background=class_list(key).get("background"),
            templates=templates_of(templates),
            embeddings=None,
            source=f"{key.stem if isinstance(key, Path) else key}/{variant}",
            made_by=None,
        )
        return self

    def with_embeddings(self, rows: Tensor, made_by: Any = None) -> Vocabulary:
        """The same classes with rows (Q, E): what `made_by` made of these words, else rows of your own.

        Rows of your own are not those of a published list, so they lose its name (`source`).
        """
        made = type(self).__new__(type(self))
        source = self.source if made_by else None
        made._settle(**{**self.__dict__, "embeddings": rows, "source": source, "made_by": made_by})
        return made

    def __repr__(self) -> str:
        shown = ", ".join(name if len(name) <= SHOWN else f"{name[:SHOWN]}..." for name in self.classes[:4])
        more = " ..." if len(self.classes) > 4 else ""
        kind = f"{self.source}, " if self.source else ""
        counts = f"{len(self.classes)} class{'' if len(self.classes) == 1 else 'es'}"
        return f"Vocabulary({kind}{counts}, {len(self.queries)} words: {shown}{more})"

    @property
    def is_given(self) -> bool:
        """Whether rows were given instead of words; nothing then encodes the words."""
        return self.embeddings is not None and self.made_by is None

    def lines(self) -> list[str]:
        """One line a class, its queries between bars, as a class file has them; labels of a published list left out."""
        found = [list(dict.fromkeys(words)) for words in self.words()]
        if self.source:
            return [" | ".join(words) for words in found]
        return [line_of(*pair) for pair in zip(self.classes, found, strict=True)]

    def words(self) -> list[list[str]]:
        """The queries of each class, C lists."""
        words: list[list[str]] = [[] for _ in self.classes]
        for query, owner in zip(self.queries, self.query_index, strict=True):
            words[owner].append(query)
        return words


def as_vocabulary(words: Vocabulary | Classes) -> Vocabulary:
    """Classes as their vocabulary; one that is there stays."""
    return words if isinstance(words, Vocabulary) else Vocabulary(words)


def _flat(words: Iterable[list[str]]) -> list[str]:
    return [name for names in words for name in names]


def _owners(words: list[list[str]]) -> tuple[int, ...]:
    return tuple(owner for owner, names in enumerate(words) for _ in names)


def _split_classes(classes: Classes) -> tuple[list[str], list[list[str]]]:
    """(label, words) of every class, apart. Raises VocabularyError."""
    if isinstance(classes, (str, PathLike)) or not isinstance(classes, Iterable):
        what = f"classes came as {type(classes).__name__} ({classes!r}), not as a list of names"
        raise VocabularyError(what, 'give ["road", "tree"], parse_classes("road, tree") or read_class_file(path)')
    if isinstance(classes, Mapping):
        pairs = [_labelled(label, words, f"class {n}") for n, (label, words) in enumerate(classes.items(), 1)]
    else:
        pairs = [label_and_words(entry, f"class {n}") for n, entry in enumerate(classes, 1)]
    if not pairs:
        raise VocabularyError("the class list is empty", "name at least one class")
    check_number(pairs)
    labels, words = [label for label, _ in pairs], [own for _, own in pairs]
    for names in (_flat(words), labels):
        seen: set[str] = set()
        for name in names:
            if name.casefold() in seen:
                raise VocabularyError(f"{name!r} is named twice", "keep each name in one class, once")
            seen.add(name.casefold())
    return labels, words


def _labelled(label: object, words: str | Sequence[str], where: str) -> tuple[str, list[str]]:
    """A label as it is, and its words: text with bars between them, or a list."""
    if not isinstance(label, str) or not label.strip():
        raise VocabularyError(f"{where} has no label ({label!r})", 'write {"Straße": ["road", "street"]}')
    texts = words if isinstance(words, (list, tuple)) else [words]
    found = [name for text in texts for name in synonyms(text, where)]
    if not found:
        raise VocabularyError(f"class {label!r} has no words", 'write {"Straße": ["road", "street"]}')
    return label.strip(), found


def check_number(classes: Sequence[object]) -> None:
    """Raises VocabularyError for more classes than a label map holds."""
    if len(classes) > MOST_CLASSES:
        what = f"{len(classes)} classes came, and a label map holds {MOST_CLASSES}"
        raise VocabularyError(what, "give fewer, or join those that mean the same by |")


def first_is_background(names: Sequence[str]) -> bool:
    """Whether the first class of a list from a command or a file is called `background`, which makes it that."""
    return bool(names) and names_of(names[0])[0] == "background"


def _general_words(words: list[list[str]]) -> list[str]:
    """The words of an added background: those of the published one (spec 0.5) that are not classes."""
    taken = {name.casefold() for name in _flat(words)}
    if "background" in taken:
        what = "background=True adds a class 'background', and there is one in the list"
        raise VocabularyError(what, "put it first and pass background=0")
    return [word for word in expanded(["@background26"]) if word not in taken] or ["background"]


def _given_rows(
    embeddings: Tensor, query_index: Sequence[int] | Tensor | None, classes: list[str]
) -> tuple[Tensor, tuple[int, ...]]:
    """Rows given instead of text, checked and copied: (Q, E) float32 and the class of each."""
    import torch

    try:
        rows = torch.as_tensor(embeddings).detach().to(torch.float32, copy=True)
    except (TypeError, ValueError, RuntimeError) as error:
        what = f"embeddings came as {type(embeddings).__name__}, not as numbers"
        raise VocabularyError(what, "give a tensor (Q, E)") from error
    if rows.ndim != 2:
        raise VocabularyError(f"embeddings came with shape {tuple(rows.shape)}", "give one row a query, (Q, E)")
    index = _given_index(query_index, len(rows), classes)
    if not rows.isfinite().all():
        raise VocabularyError("embeddings hold numbers that are not finite", "encode the text again in float32")
    length = rows.norm(dim=-1)
    far = (length - 1).abs() > UNIT_TOLERANCE
    if far.any():
        worst = int(far.nonzero()[0])
        what = f"row {worst} of the embeddings has length {length[worst]:.4g}, not 1"
        raise VocabularyError(what, "normalise: torch.nn.functional.normalize(embeddings, dim=-1)")
    return rows, index


def _given_index(query_index: Sequence[int] | Tensor | None, rows: int, classes: list[str]) -> tuple[int, ...]:
    try:
        index = tuple(map(operator.index, range(len(classes)) if query_index is None else query_index))
    except TypeError as error:
        raise VocabularyError("query_index is not a list of whole numbers", "give the class of each row") from error
    if len(index) != rows:
        what = f"{rows} rows of embeddings came for {len(index)} {'classes' if query_index is None else 'places'}"
        raise VocabularyError(what, "give query_index, the class of each row")
    for owner in index:
        if not 0 <= owner < len(classes):
            what = f"query_index holds {owner}, and there are {len(classes)} classes"
            raise VocabularyError(what, f"count classes from 0 to {len(classes) - 1}")
    empty = sorted(set(range(len(classes))) - set(index))
    if empty:
        raise VocabularyError(f"class {classes[empty[0]]!r} has no row", "give each class at least one row")
    return index

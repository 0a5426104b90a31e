"""Class lists: names, synonyms, background, templates, and the published lists of the benchmarks.

Lists are read without torch; only embeddings given by hand need it. Text becomes rows in `embeddings.py`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..common.keys import BENCHMARKS
from ..errors import Notice, VocabularyError
from .aliases import BUILTIN, Given, expand
from .entries import label_and_words, line_of, names_of, synonyms
from .experts import AGAIN, Experts
from .lists import benchmark_names, benchmark_queries, class_list, expanded, template_sets
from .read import parse_classes, read_class_file
from .templates import spoken

if TYPE_CHECKING:
    from torch import Tensor

    from .voting import Text

# fmt: off
__all__ = ["BENCHMARKS", "Vocabulary", "benchmark_names", "benchmark_queries", "parse_classes", "read_class_file",
           "template_sets"]
# fmt: on
MOST_CLASSES = 2**16 - 1  # in a map of 16 bits, whose largest number is void
WITH_ALIASES = "+aliases"  # behind the name of a published list
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
    experts: Experts | None = field(repr=False)  # templates that speak for single classes
    embeddings: Text | None = field(repr=False)  # (Q, E) float32 unit rows where given, or those of experts
    source: str | None  # "voc21/P" of a published list, for run records
    made_by: Any = field(repr=False)  # what encoded the embeddings, by ==; None for those that were given
    aliases: str | None = field(default=None, repr=False)  # digest of the table that some words came from, for records

    def __init__(
        self,
        classes: Classes,
        *,
        background: Literal[0] | bool | None = None,
        templates: str | Sequence[str] | Experts = "openai80",
        embeddings: Text | None = None,
        query_index: Sequence[int] | Tensor | None = None,
    ) -> None:
        """Parse `classes`; `background` is None (none), 0 (class 0 is it) or True (add one of general words).

        `embeddings` (Q, E) are unit rows instead of text, `query_index` (Q,) the class of each (default: one
        row a class, in order); rows (Q+1, Q, E) are those of each query's expert, and of the average last (FLOSS, spec
        2.14). `templates` is a named set, a template, a text file of one a line, a list of them, or a file of experts.
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
            from .given import given_rows

            rows, index = given_rows(embeddings, query_index, names)
            words = [[names[c]] for c in index]
        elif query_index is not None:
            what = "query_index came without embeddings, whose rows it sorts into classes"
            raise VocabularyError(what, "give both, or separate synonyms with | in the class names")
        else:
            index = _owners(words)
        said, experts = spoken(templates)
        self._settle(
            classes=names,
            queries=_flat(words),
            query_index=index,
            background=None if background is None else 0,
            templates=said,
            experts=experts if rows is None else None,
            embeddings=rows,
            source=None,
            made_by=None,
        )
        self._check_experts()

    def _settle(self, **fields: Any) -> None:
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    def _check_experts(self) -> None:
        """Raises VocabularyError for a class without an expert; a Notice tells of words that it was not ranked with."""
        self.expert_templates()
        others = self.experts.other_words(self.classes, self.words()) if self.experts else []
        if others:
            what = f"templates were ranked with other words for {', '.join(map(repr, others[:3]))}"
            warnings.warn(f"{what}{' ...' if others[3:] else ''}: {AGAIN}", Notice, stacklevel=4)

    @classmethod
    def benchmark(
        cls, key: str | Path, variant: str = "P", *, templates: str | Sequence[str] | Experts = "openai80"
    ) -> Vocabulary:
        """The published list of a data set, word for word (spec 0.5), under the data set's own names (spec 7).

        `variant` is P, S, SFP, clear, LPOSS, corrclip or corrclip-v2. Unlike a user's list it may repeat a word:
        coco-object has "bed" as a class and in its background. `key` may also be a JSON file of your own, written as
        those of `classes` are.
        Raises VocabularyError.
        """
        words = benchmark_queries(key, variant)
        self = cls.__new__(cls)
        said, experts = spoken(templates)
        self._settle(
            classes=benchmark_names(key),
            queries=_flat(words),
            query_index=_owners(words),
            background=class_list(key).get("background"),
            templates=said,
            experts=experts,
            embeddings=None,
            source=f"{key.stem if isinstance(key, Path) else key}/{variant}",
            made_by=None,
        )
        self._check_experts()
        return self

    def with_embeddings(self, rows: Text, made_by: Any = None) -> Vocabulary:
        """The same classes with rows (Q, E): what `made_by` made of these words, else rows of your own.

        Rows of your own are not those of a published list, so they lose its name (`source`).
        """
        made = type(self).__new__(type(self))
        own = {} if made_by else {"source": None, "experts": None}
        made._settle(**{**self.__dict__, "embeddings": rows, "made_by": made_by, **own})
        return made

    def with_aliases(self, given: Given = BUILTIN) -> Vocabulary:
        """The same classes with aliases of their words as further synonyms, of which a class takes the best.

        `given` is "builtin", a file or a mapping, see `aliases.aliases_of`. The list is no published one then, and
        says so in its source. Aliases that other classes of the list bear are left out, which a Notice says. Raises
        VocabularyError for rows that were given, and for a table that is none.
        """
        if self.embeddings is not None:
            raise VocabularyError("aliases came for a list that has its rows already", "give them to its words")
        found = expand(self.classes, self.words(), given)
        if found.said:
            warnings.warn(found.said, Notice, stacklevel=2)
        return self.with_words(found.words, found.digest)

    def with_words(self, words: Iterable[Sequence[str]], aliases: str) -> Vocabulary:
        """The same classes with these words, C lists, some of which came from the table of aliases of this digest."""
        own = [list(some) for some in words]
        made = type(self).__new__(type(self))
        source = self.source and f"{self.source}{WITH_ALIASES}"
        changed = {"queries": _flat(own), "query_index": _owners(own), "source": source, "aliases": aliases}
        made._settle(**{**self.__dict__, **changed})
        made._check_experts()
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

    @property
    def votes(self) -> bool:
        """Whether maps are voted by experts; their scores are then probabilities, not cosines."""
        return self.experts is not None or bool(getattr(self.embeddings, "votes", False))

    def expert_templates(self) -> tuple[tuple[int, ...], ...]:
        """The numbers of the templates of each query's expert, Q lists; empty without experts."""
        own = self.experts.of(self.classes) if self.experts else ()
        return tuple(own[owner] for owner in self.query_index) if own else ()

    def lines(self) -> list[str]:
        """One line a class, its queries between bars, as a class file has them; labels of a published list left out."""
        found = [list(dict.fromkeys(words)) for words in self.words()]
        if self.source:
            return [" | ".join(words) for words in found]
        return [line_of(*pair) for pair in zip(self.classes, found, strict=True)]

    def words(self) -> list[list[str]]:
        """The queries of each class, C lists."""
        return words_of(self.queries, self.query_index, len(self.classes))


def words_of(queries: Sequence[str], query_index: Sequence[int], classes: int) -> list[list[str]]:
    """Queries (Q,) and the class of each -> those of each class, C lists."""
    words: list[list[str]] = [[] for _ in range(classes)]
    for query, owner in zip(queries, query_index, strict=True):
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

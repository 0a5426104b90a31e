"""Class lists of the benchmarks in every variant, and sets of templates: the files of `classes` (spec 0.5)."""

import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..common.keys import BENCHMARKS
from ..errors import VocabularyError, nearest

SHARED = {"words", "templates"}  # files of `classes` that are no lists


def template_sets() -> dict[str, tuple[str, ...]]:
    """The named template sets; `openai80` is the one of every published figure (spec 0.4)."""
    return {name: tuple(templates) for name, templates in _data("templates").items()}


def benchmark_names(key: str | Path) -> list[str]:
    """The data set's own class names, for benchmarks those of MMSegmentation (spec 7). Raises VocabularyError."""
    return list(class_list(key)["names"])


def benchmark_queries(key: str | Path, variant: str = "P") -> list[list[str]]:
    """The published words of each class (spec 0.5). Raises VocabularyError.

    A data file states only the classes whose words differ from their name; `@` refers to a shared set of
    words, and a variant may be the name of the variant it equals. Where `joined`, blanks are deleted, but for the
    variants that are `spaced`: that changes the tokens, and published figures rest on it.
    """
    data = class_list(key)
    variants = data["variants"]
    if variant not in variants:
        raise VocabularyError(f"{key} has no variant {variant!r}", nearest(str(variant), variants))
    changed = variants[variant]
    if isinstance(changed, str):
        changed = variants[changed]
    joined = data.get("joined") and variant not in data.get("spaced", ())
    return [
        expanded(changed[name]) if name in changed else [name.replace(" ", "") if joined else name]
        for name in data["names"]
    ]


def variant_for(key: str | Path, wanted: str) -> str:
    """The variant that a method asks for, or P where the list does not have it. Raises VocabularyError."""
    return wanted if wanted in class_list(key)["variants"] else "P"


def class_list(key: str | Path) -> dict[str, Any]:
    """A list as its file has it: names, perhaps background, variants. Raises VocabularyError."""
    if isinstance(key, Path):
        return _of_file(key)
    if key not in _keys():
        raise VocabularyError(f"there is no published list {key!r}", nearest(str(key), _keys()))
    return _data(key)


@cache
def _keys() -> tuple[str, ...]:
    """Lists in `classes`, the benchmarks' first."""
    found = {place.name.removesuffix(".json") for place in (files(__package__) / "classes").iterdir()} - SHARED
    return (*BENCHMARKS, *sorted(found.difference(BENCHMARKS)))


def _of_file(path: Path) -> dict[str, Any]:
    """A list of another package."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        data["names"][0], data["variants"].items()
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        remedy = 'write {"names": ["road", ...], "variants": {"P": {"road": ["road", "street"]}, ...}}'
        raise VocabularyError(f"{path} is no class list with variants", remedy) from None
    return data


@cache
def _data(name: str) -> dict[str, Any]:
    place = files(__package__) / "classes" / f"{name}.json"
    return json.loads(place.read_text(encoding="utf-8"))


def expanded(words: list[str]) -> list[str]:
    """The same words, those of a shared set instead of its name (`@background26`)."""
    sets = _data("words")
    return [name for word in words for name in (sets[word[1:]] if word.startswith("@") else [word])]

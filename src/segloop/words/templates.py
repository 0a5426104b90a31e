"""The sentences that words are put into: a named set, one of your own, a file of them."""

import os
import re
from collections.abc import Iterable, Sequence

from ..errors import VocabularyError, nearest
from .experts import Experts, read_experts
from .lists import template_sets
from .read import read_lines

MOST = 1000  # templates
HOLDER = re.compile(r"\{[^{}]*\}|\[\w*\]|<\w*>|\$\{?\w+\}?|%s|_{2,}")  # what others write where the name goes


def spoken(given: str | Sequence[str] | Experts) -> tuple[tuple[str, ...], Experts | None]:
    """Templates as of `templates_of`, and the experts where they, or a file of them, came. Raises VocabularyError."""
    if isinstance(given, str) and given.lower().endswith(".json"):
        given = read_experts(given)
    if isinstance(given, Experts):
        return templates_of(given.templates), given
    return templates_of(given), None


def templates_of(given: str | Sequence[str]) -> tuple[str, ...]:
    """The templates of a set's name, a template, a text file of one a line, or a list. Raises VocabularyError."""
    if isinstance(given, str):
        known = template_sets()
        if given in known:
            return known[given]
        given = [given] if "{}" in given else _template_lines(given, known)
    templates = tuple(given) if isinstance(given, Iterable) else (given,)
    if not templates:
        raise VocabularyError("the list of templates is empty", 'give at least one, such as "{}"')
    if len(templates) > MOST:
        what = f"{len(templates)} templates came, and {MOST} are allowed"
        raise VocabularyError(what, "give fewer: the published sets have 7 and 80")
    for template in templates:
        if not isinstance(template, str) or template.count("{}") != 1:
            what = f"the template {template!r} does not hold exactly one {{}}"
            raise VocabularyError(what, f"write {{}} where the name goes, as in {_mended(template)!r}")
    return templates


def _mended(template: object) -> str:
    """What was probably meant: {} instead of another placeholder, and once."""
    mended = HOLDER.sub("{}", template) if isinstance(template, str) else ""
    return mended if mended.count("{}") == 1 else "a photo of a {}."


def _template_lines(given: str, known: Iterable[str]) -> list[str]:
    if given.lower().endswith(".txt") or os.path.isfile(given):
        return read_lines(given, "one template a line, {} in each")
    if HOLDER.search(given) or " " in given.strip():  # a sentence, whose placeholder is another
        return [given]
    what = f"there is no template set {given!r}"
    own = 'write {} for the name, as in "a photo of a {}.", or name a file of such lines, or of experts (.json)'
    raise VocabularyError(what, f"{nearest(given, known)}; or {own}")

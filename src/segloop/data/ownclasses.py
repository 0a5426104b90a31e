"""The classes of a folder of your own: their names, and what stands for each of them in its label maps."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import OptionError
from ..labels.read import LabelRule, Span
from ..labels.strays import WIDE_FROM
from ..words.entries import ClassList
from ..words.read import read_classes, read_colours
from ..words.vocabulary import Vocabulary, first_is_background
from .layouts import BYTES, WIDE, Dataset
from .masks import Colours, Masks, value_table

CLASS_FILES = ("classes.txt", "classes.json", "classes.yaml", "classes.yml", "classes.csv", "labelmap.txt")
COLOUR_FILES = (
    *(f"{word}.{suffix}" for word in ("colours", "colors") for suffix in ("txt", "csv", "json", "yaml")),
    *("labelmap.txt", "label_colors.txt", "class_dict.csv"),  # of CVAT and CamVid
)


def with_own_classes(dataset: Dataset, root: Path, masks: Masks) -> tuple[Dataset, list[str]]:
    """The row with the folder's classes and the rule of its label maps; and what was understood, in sentences.

    Raises VocabularyError for class and colour files, OptionError for two of them and for `masks.values`.
    """
    file = _class_file(root)
    found = read_classes(file)
    own_vocabulary(found.names, "openai80")  # a name given twice is said before the run, not in it
    colours, said = _colours(root, file, found)
    rule = WIDE if len(found.names) >= WIDE_FROM else BYTES
    rule = replace(rule, colours=_stored(colours, rule), values=_spans(found.numbers or ()))
    if found.numbers:
        rule = replace(rule, numbered_by=str(file))
    if masks.values:
        spans, painted = value_table(masks.values, found.names, rule)
        rule = replace(rule, values=spans, numbered_by="", colours=painted or rule.colours)
    rule = replace(rule, by_palette=bool(rule.colours))
    dataset = replace(dataset, names=found.names, classes=len(found.names), rule=rule)
    return dataset, [sentence for sentence in (found.said, said) if sentence]


def own_vocabulary(names: Sequence[str], templates: str | Sequence[str]) -> Vocabulary:
    """The classes as words to find; one called `background` in the first place is what thresholds fall back to."""
    return Vocabulary(names, background=0 if first_is_background(names) else None, templates=templates)


def _class_file(root: Path) -> Path:
    there = [name for name in CLASS_FILES if (root / name).is_file()] or [CLASS_FILES[0]]
    if len(there) > 1 and there[0] != CLASS_FILES[0]:
        raise OptionError(f"{root} has {' and '.join(there)}", f"keep one, or call the right one {CLASS_FILES[0]}")
    return root / there[0]


def _colours(root: Path, file: Path, classes: ClassList) -> tuple[tuple[tuple[int, int | None], ...], str | None]:
    """(colours of the class file or of a table beside it, where the latter comes from)."""
    there = [root / name for name in COLOUR_FILES if (root / name).is_file() and root / name != file]
    if not there:
        return classes.colours, None
    tables = [read_colours(path, classes.names) for path in there]
    tables += [classes.colours] if classes.colours else []
    if any(dict(one) != dict(tables[0]) for one in tables):
        both = " and ".join(path.name for path in [*there, *([file] if classes.colours else [])])
        raise OptionError(f"{both} in {root} give other colours", "keep the right one")
    return tables[0], f"{there[0]} gives the colours of the label maps"


def _stored(colours: Sequence[tuple[int, int | None]], rule: LabelRule) -> Colours:
    return tuple((colour, rule.void_value if place is None else place) for colour, place in colours)


def _spans(numbers: Sequence[int]) -> tuple[Span, ...]:
    """The table of a class file that numbers its classes: 1, 2, 3 -> one span."""
    spans: list[Span] = []
    for place, number in enumerate(numbers):
        last = spans[-1] if spans else None
        if last and last.high + 1 == number:
            spans[-1] = replace(last, high=number)
        else:
            spans.append(Span(number, number, place, paired=True))
    return tuple(spans)

"""Two runs over the same images: is the gain real?"""

import math
from collections.abc import Sequence

import numpy as np

from ..errors import OptionError
from ..scoring.bootstrap import Difference, Paired, paired
from ..scoring.metrics import Counts, scores
from ..scoring.unlabelled import in_labels, unlabelled
from ..scoring.unlabelled import sentence as unlabelled_sentence
from . import names
from .cells import Cell, Column, Table, Value, number, table
from .grouping import LAYOUT, changes
from .likeness import not_alike
from .runs import Run, finish, read_counts

CHANCE = 0.05  # a difference with p below it, and with an interval beside zero, is called real
MOST_DIGITS = 6  # as of --digits
FEWEST = 6  # of fewer images no test of signs says anything at 5 percent
SCORES = ("mIoU", "aAcc", "mAcc")
UNLIKE_SHOWN = 3  # examples of what differs


class NotAPair(OptionError):
    """Two runs that are not over the same images, labels and classes."""


def comparison(first: Run, second: Run, digits: int = 1) -> Table:
    """Second minus first, class by class, with the answer in sentences above.

    Raises OptionError where the two are not over the same images, labels and classes.
    """
    old, new = same_images(first, second)
    gain = paired(old, new)
    holding = [moved.images for moved in gain.IoU]
    before, after = scores(old.total()).IoU, scores(new.total()).IoU
    rows: list[list[Cell | Value]] = []
    for place, (name, moved) in enumerate(zip(first.classes, gain.IoU, strict=True)):
        change = Cell(moved.value, moved.interval.low, moved.interval.high)
        figures = float(before[place]), float(after[place]), change, moved.p
        rows.append([name, *figures, verdict(moved, holding[place]), holding[place]])
    columns = [Column("class"), *(Column(f"{title}: IoU", "percent", digits) for title in titles(first, second))]
    columns += [Column("difference", "points", digits, interval=True, bar=True), Column("p", "p"), Column("real")]
    columns.append(Column("images", "count"))
    lead = _lead(first, second, gain, holding, len(old.label), digits)
    lead[1:1] = _means(first, second, old, new, digits)
    return table("comparison", f"Comparison on {first.data_name}", columns, rows, lead)


def titles(first: Run, second: Run) -> tuple[str, str]:
    """What the two are called: their methods, or their folders where the methods are one."""
    found = names.run_title(first), names.run_title(second)
    return found if found[0] != found[1] else (first.name, second.name)


def same_images(first: Run, second: Run) -> tuple[Counts, Counts]:
    """Areas of both runs, (n, C) each, the second's in the order of the first's images.

    Raises OptionError, saying how the two differ.
    """
    for run in (first, second):
        if not run.done:
            raise OptionError(f"{run.folder} is an unfinished run", finish(run))
    if first.dataset != second.dataset:
        _refuse(f"{first.name} is of {first.dataset}, {second.name} of {second.dataset}")
    if first.classes != second.classes:
        lists = "evaluate both with one class list (the same classes.txt, or the same --names)"
        _refuse(f"their classes differ: {_unlike(first, second, first.classes, second.classes)}", lists)
    (images, old), (others, new) = read_counts(first), read_counts(second)
    if set(images) != set(others):
        _refuse(f"their images differ: {_unlike(first, second, images, others)}")
    place = {image: index for index, image in enumerate(others)}
    order = np.array([place[image] for image in images], np.intp)
    new = Counts(new.intersection[order], new.prediction[order], new.label[order])
    moved = np.flatnonzero((old.label != new.label).any(-1))
    if len(moved):
        rules = [str(run.settings.get("void")) for run in (first, second)]
        rule = f" (void {rules[0]} and {rules[1]})" if rules[0] != rules[1] else ""
        _refuse(f"the labels of {len(moved)} of {len(images)} images differ{rule}, such as {images[moved[0]]}")
    if first.settings.get("images_hash") != second.settings.get("images_hash") and images == others:
        _refuse("their images have the same names and different contents")
    return old, new


def verdict(gain: Difference, images: int) -> str:
    """ "gain" or "loss" where the difference is real, else nothing."""
    if math.isnan(gain.value) or images < FEWEST or gain.p >= CHANCE:
        return ""
    return "gain" if gain.interval.low > 0 else "loss" if gain.interval.high < 0 else ""


def sentence(name: str, gain: Difference, images: int, digits: int = 1) -> str:
    """ "mIoU +1.3 (95 % interval +0.4 to +2.1, p 0.004): the gain is real on these images."."""
    if math.isnan(gain.value):
        return f"{name}: one of the runs does not define it."
    real = verdict(gain, images)
    column = Column("", "points", _beside_zero(gain, digits) if real else digits)
    low, high = (number(end, column) for end in (gain.interval.low, gain.interval.high))
    p = number(gain.p, Column("", "p"))
    figures = f"{name} {number(gain.value, column)} (95 % interval {low} to {high}, p {p.replace('< ', '<')})"
    if real:
        return f"{figures}: the {real} is real on these images."
    if gain.value == gain.interval.low == gain.interval.high == 0:
        return f"{figures}: there is no difference."
    few = f", {images} image{'s are' if images > 1 else ' is'} too few" if images < FEWEST else ""
    return f"{figures}: it cannot be told from chance{few}."


def _beside_zero(gain: Difference, digits: int) -> int:
    """Decimals, `digits` or more, at which the end of the interval that is nearer to zero is not shown as zero."""
    nearer = min(abs(gain.interval.low), abs(gain.interval.high))
    return next((more for more in range(digits, MOST_DIGITS) if round(nearer, more)), MOST_DIGITS)


def _lead(first: Run, second: Run, gain: Paired, holding: Sequence[int], images: int, digits: int) -> list[str]:
    old, new = titles(first, second)
    said = [f"{new} minus {old}, on the same {images} image{'s' if images != 1 else ''} of {first.data_name}:"]
    if unlike := not_alike([first, second]):
        said.append(f"Not like with like: {unlike}.")
    said += [sentence(name, getattr(gain, name), images, digits) for name in SCORES]
    verdicts = [verdict(moved, count) for moved, count in zip(gain.IoU, holding, strict=True)]
    known = sum(not math.isnan(moved.value) for moved in gain.IoU)
    if images >= FEWEST:
        said.append(
            f"IoU rose for {verdicts.count('gain')} and fell for {verdicts.count('loss')} of {known} classes by more "
            "than chance explains; of twenty classes that did not move, one would seem to. The p of a class is at "
            "least 2^(1 - images), of those that hold it in their labels or in the map of either run."
        )
    words = "" if first.queries == second.queries else "words of the classes"
    differing = ", ".join(filter(None, (changes(first, second, {*LAYOUT, "recipe"}), words)))
    said.append(f"Settings that differ: {differing or 'none'}.")
    return said


def _means(first: Run, second: Run, old: Counts, new: Counts, digits: int) -> list[str]:
    """What to know where classes that no label holds are in a mean: which, and the gain without them."""
    found = [unlabelled(side.total(), run.classes) for run, side in ((first, old), (second, new))]
    if found == [None, None]:
        return []
    told = [
        f"{title}: {unlabelled_sentence(one)}." for title, one in zip(titles(first, second), found, strict=True) if one
    ]
    there = old.total().label > 0
    moved = paired(in_labels(old, there), in_labels(new, there)).mIoU
    return [*told, sentence(f"mIoU of the {int(there.sum())} classes in labels", moved, len(old.label), digits)]


def _unlike(first: Run, second: Run, mine: Sequence[str], other: Sequence[str]) -> str:
    """How two lists differ, in words."""
    parts = []
    for run, own, rest in ((first, mine, set(other)), (second, other, set(mine))):
        only = [item for item in own if item not in rest]
        if only:
            some = ", ".join(only[:UNLIKE_SHOWN]) + (" ..." if len(only) > UNLIKE_SHOWN else "")
            parts.append(f"{len(only)} only in {run.name} ({some})")
    return " and ".join(parts) or "the same names in another order"


def _refuse(what: str, remedy: str = "evaluate both on the same images and class list") -> None:
    raise NotAPair(f"the two runs cannot be compared: {what}", f"{remedy}, or add --no-compare for tables alone")

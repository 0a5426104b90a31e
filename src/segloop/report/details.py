"""What lies behind one number: classes, confusions, and the images where a run does best and worst."""

import math
from collections.abc import Sequence

import numpy as np

from .cells import Cell, Column, Table, Value, table
from .runs import ImageRow, Run, class_lines, damaged, read_counts, read_images, read_pairs

OUTSIDE = "(no class)"  # a value of a map that none of the classes has

Confused = tuple[int, int]  # label, prediction


def class_table(runs: Sequence[Run], digits: int = 1) -> Table:
    """IoU with its interval, Acc and areas of every class."""
    rows: list[list[Cell | Value]] = []
    for run in runs:
        for line in class_lines(run):
            iou = Cell(line["IoU"], line["IoU_low"], line["IoU_high"])
            areas = (int(line[key]) for key in ("label", "prediction"))
            rows.append([*_run(runs, run), line["name"], iou, line["Acc"], *areas])
    columns = [Column("class"), Column("IoU", "percent", digits, interval=True, bar=True)]
    columns += [Column("Acc", "percent", digits), Column("label pixels", "count"), Column("predicted pixels", "count")]
    return table("classes", "Classes", [*_run_column(runs), *columns], rows)


class Confusions:
    """The wrong pixels of a run, summed over its images, by (label, prediction)."""

    def __init__(self, run: Run) -> None:
        """Read them. Raises OptionError where the record is damaged."""
        pairs = read_pairs(run)
        classes = len(run.classes)
        names = [*run.classes, OUTSIDE]
        wrong = (pairs.label != pairs.prediction) & (pairs.label < classes)
        codes, place = np.unique(pairs.label[wrong] * (classes + 1) + pairs.prediction[wrong], return_inverse=True)
        pixels = np.zeros(len(codes), np.int64)
        np.add.at(pixels, place, pairs.pixels[wrong])
        areas = np.zeros(classes + 1, np.int64)
        np.add.at(areas, pairs.label, pairs.pixels)
        keys = [(int(code) // (classes + 1), int(code) % (classes + 1)) for code in codes]
        self.pixels: dict[Confused, int] = dict(zip(keys, pixels.tolist(), strict=True))
        images = np.bincount(place, minlength=len(keys)).tolist()  # an image has each pair once
        self.images: dict[Confused, int] = dict(zip(keys, images, strict=True))
        self.areas = areas.tolist()  # by label
        self.errors = int(pixels.sum())
        self.names = names

    def largest(self, count: int) -> list[Confused]:
        """The pairs with most pixels; ties in class order."""
        return sorted(self.pixels, key=lambda pair: (-self.pixels[pair], pair))[:count]

    def of_label(self, pair: Confused) -> float:
        """Percent of the label's pixels that got this prediction; NaN for a label that has none."""
        area = self.areas[pair[0]]
        return 100 * self.pixels.get(pair, 0) / area if area else math.nan

    def of_errors(self, pair: Confused) -> float:
        """Percent of all wrong pixels; NaN where none is wrong."""
        return 100 * self.pixels.get(pair, 0) / self.errors if self.errors else math.nan


def pair_table(runs: Sequence[Run], count: int, digits: int = 1) -> Table:
    """The `count` largest confusions of each run."""
    rows: list[list[Cell | Value]] = []
    for run in runs:
        found = Confusions(run)
        for pair in found.largest(count):
            label, prediction = (found.names[index] for index in pair)
            shares = found.of_label(pair), found.of_errors(pair)
            rows.append(
                [*_run(runs, run), label, prediction, *shares, found.pixels[pair], found.images[pair]],
            )
    columns = [Column("label"), Column("prediction"), Column("% of label", "percent", digits, bar=True)]
    columns += [Column("% of all errors", "percent", digits), Column("pixels", "count"), Column("images", "count")]
    return table("confusions", "Largest confusions, label -> prediction", [*_run_column(runs), *columns], rows)


def paired_pairs(first: Run, second: Run, titles: tuple[str, str], count: int, digits: int = 1) -> Table:
    """The largest confusions of either of two runs over the same images, side by side."""
    old, new = Confusions(first), Confusions(second)
    chosen = dict.fromkeys((*old.largest(count), *new.largest(count)))
    order = sorted(chosen, key=lambda pair: (-max(old.pixels.get(pair, 0), new.pixels.get(pair, 0)), pair))
    rows: list[list[Cell | Value]] = []
    for pair in order:
        before, after = old.of_label(pair), new.of_label(pair)
        label, prediction = (old.names[index] for index in pair)
        rows.append([label, prediction, before, after, after - before, old.of_errors(pair), new.of_errors(pair)])
    columns = [Column("label"), Column("prediction")]
    columns += [Column(f"{title}: % of label", "percent", digits) for title in titles]
    columns.append(Column("difference", "points", digits, bar=True, rising_is_worse=True))
    columns += [Column(f"{title}: % of all errors", "percent", digits) for title in titles]
    return table("confusions", "Largest confusions, label -> prediction", columns, rows)


def extremes(run: Run, count: int) -> tuple[list[ImageRow], list[ImageRow]]:
    """(best, worst) images by mIoU, `count` each at most and none twice; images without a score are left out."""
    scored = [row for row in checked_images(run) if not math.isnan(row.mIoU)]
    order = sorted(scored, key=lambda row: (-row.mIoU, row.image))
    best = order[: min(count, (len(order) + 1) // 2)]
    worst = order[len(best) :][::-1][:count]
    return best, worst


def image_table(runs: Sequence[Run], count: int, digits: int = 1) -> Table:
    """The best and the worst images of each run, by the mIoU over the classes that each one holds."""
    rows: list[list[Cell | Value]] = []
    for run in runs:
        for which, found in zip(("best", "worst"), extremes(run, count), strict=True):
            rows += [[*_run(runs, run), which, row.image, row.mIoU, row.aAcc, row.pixels] for row in found]
    columns = [Column("which"), Column("image"), Column("mIoU", "percent", digits, bar=True)]
    columns += [Column("aAcc", "percent", digits), Column("pixels", "count")]
    return table("images", "Best and worst images", [*_run_column(runs), *columns], rows)


def moved(first: Run, second: Run, count: int) -> tuple[list[tuple[ImageRow, ImageRow]], ...]:
    """(gained most, lost most): images of two runs whose mIoU moved, `count` each at most, largest move first."""
    other = {row.image: row for row in checked_images(second)}
    both = [(row, other[row.image]) for row in checked_images(first)]
    known = [pair for pair in both if not math.isnan(_gain(pair))]
    order = sorted(known, key=lambda pair: (-_gain(pair), pair[0].image))
    gained = [pair for pair in order if _gain(pair) > 0][:count]
    lost = [pair for pair in reversed(order) if _gain(pair) < 0][:count]
    return gained, lost


def moved_table(first: Run, second: Run, titles: tuple[str, str], count: int, digits: int = 1) -> Table:
    """Images that gained and that lost most, by mIoU over the classes that each one holds."""
    rows: list[list[Cell | Value]] = []
    for which, found in zip(("gained", "lost"), moved(first, second, count), strict=True):
        rows += [[which, old.image, old.mIoU, new.mIoU, new.mIoU - old.mIoU] for old, new in found]
    scores = [Column(f"{title}: mIoU", "percent", digits) for title in titles]
    columns = [Column("which"), Column("image"), *scores, Column("difference", "points", digits, bar=True)]
    return table("images", "Images that gained and lost most", columns, rows)


def checked_images(run: Run) -> list[ImageRow]:
    """Lines of images.csv, which must be of the same images as counts.npz. Raises OptionError."""
    rows, (names, _) = read_images(run), read_counts(run)
    if [row.image for row in rows] != names:
        raise damaged(run.folder / "images.csv", "its images are not those of counts.npz")
    return rows


def _gain(pair: tuple[ImageRow, ImageRow]) -> float:
    return pair[1].mIoU - pair[0].mIoU


def _run(runs: Sequence[Run], run: Run) -> list[str]:
    return [run.name] if len(runs) > 1 else []


def _run_column(runs: Sequence[Run]) -> list[Column]:
    return [Column("run")] if len(runs) > 1 else []

"""A report from runs and wishes."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import Notice, OptionError, nearest
from .cells import Gallery, Report, Table
from .compare import NotAPair, comparison, same_images, titles
from .details import class_table, image_table, moved_table, pair_table, paired_pairs
from .pictures import extreme_gallery, moved_gallery
from .published import against_published, peers_table
from .runs import Run, finish
from .tables import BOUNDARY, METRICS, paper_table, runs_table

PAIRS, IMAGES = 10, 5
DETAILED = 2  # runs, up to which details come by themselves


@dataclass(frozen=True)
class Wanted:
    """What a report should hold; None: what suits the number of runs."""

    metric: str = "mIoU"
    digits: int = 1
    intervals: bool = False
    published: bool = False  # beside published figures
    compare: bool | None = None  # True: an error where it is not possible
    pairs: int | None = None  # largest confusions of each run
    images: int | None = None  # best and worst images of each run, or those that moved most
    pictures: int = 0  # of these, as pictures
    data: tuple[str, ...] = ()  # where their photos are; default: where they were


def build(runs: Sequence[Run], wanted: Wanted) -> Report:
    """All tables and pictures of a report.

    Raises OptionError for an unknown metric, where every run is unfinished, where a comparison that was asked for is
    not possible, and as the tables do.
    """
    if wanted.metric not in METRICS:
        raise OptionError(f"unknown metric {wanted.metric!r}", nearest(wanted.metric, METRICS))
    done = [run for run in runs if run.done]
    if not done:
        run = runs[0]
        raise OptionError(f"{run.folder} is an unfinished run", finish(run))
    if wanted.metric == BOUNDARY:
        _check_boundaries(done)
    pair = _pair(runs, wanted)
    tables = [paper_table(runs, wanted.metric, wanted.digits, wanted.intervals)]
    tables.append(runs_table(runs, wanted.digits, wanted.intervals))
    if wanted.published:
        tables += [against_published(runs, wanted.digits), peers_table(runs, wanted.digits)]
    tables += _compared(*pair, wanted) if pair else _details(done, wanted, len(runs))
    title = f"{len(runs)} runs" if len(runs) > 1 else runs[0].name
    return Report(title, tuple(made for made in tables if made.rows), tuple(_galleries(pair, done, wanted)))


def _check_boundaries(done: Sequence[Run]) -> None:
    """Raises OptionError where no run has counted boundaries; a Notice where some have not."""
    bare = [run for run in done if BOUNDARY not in run.metrics]
    if not bare:
        return
    remedy = "evaluate with --boundary into another folder, or anew with --overwrite"
    if len(bare) == len(done):
        raise OptionError(f"no run has counted {BOUNDARY}", remedy)
    what = f"{len(bare)} of {len(done)} runs have not counted {BOUNDARY} (such as {bare[0].folder})"
    warnings.warn(f"{what}; {remedy}", Notice, stacklevel=3)


def _pair(runs: Sequence[Run], wanted: Wanted) -> tuple[Run, Run] | None:
    """The two runs to compare, None where there is nothing to compare.

    Two runs of one data set are compared without being asked, the host first, and a Notice says why where they are no
    pair; with `compare` in the order they came.
    """
    if wanted.compare:
        if len(runs) != 2:
            found = f"{len(runs)} run{'s' if len(runs) != 1 else ''} came"
            raise OptionError(f"a comparison needs exactly two runs, {found}", "give the folders of two runs")
        return runs[0], runs[1]
    alike = len(runs) == 2 and runs[0].data_name == runs[1].data_name and all(run.done for run in runs)
    if wanted.compare is False or not alike:
        return None
    first, second = sorted(runs, key=lambda run: run.has_feedback)
    try:
        same_images(first, second)
    except NotAPair as error:
        if wanted.compare is None:
            warnings.warn(str(error).rstrip("."), Notice, stacklevel=3)
        return None
    return first, second


def _compared(first: Run, second: Run, wanted: Wanted) -> list[Table]:
    made, pairs, images, digits = titles(first, second), *_sizes(wanted), wanted.digits
    tables = [comparison(first, second, digits)]
    if pairs:
        tables.append(paired_pairs(first, second, made, pairs, digits))
    if images:
        tables.append(moved_table(first, second, made, images, digits))
    return tables


def _details(done: Sequence[Run], wanted: Wanted, runs: int) -> list[Table]:
    """Classes, confusions and images of few runs, or of many where they were asked for."""
    few = runs <= DETAILED
    pairs, images = _sizes(wanted)
    tables = [class_table(done, wanted.digits)] if few else []
    if pairs and (few or wanted.pairs is not None):
        tables.append(pair_table(done, pairs, wanted.digits))
    if images and (few or wanted.images is not None):
        tables.append(image_table(done, images, wanted.digits))
    return tables


def _sizes(wanted: Wanted) -> tuple[int, int]:
    """(pairs, images), each the usual number where nothing was said."""
    images = max(IMAGES, wanted.pictures) if wanted.images is None else wanted.images
    return PAIRS if wanted.pairs is None else wanted.pairs, images


def _galleries(pair: tuple[Run, Run] | None, done: Sequence[Run], wanted: Wanted) -> list[Gallery]:
    if not wanted.pictures:
        return []
    if pair:
        return [moved_gallery(*pair, wanted.pictures, wanted.data)]
    return [extreme_gallery(run, wanted.pictures, wanted.data) for run in done]

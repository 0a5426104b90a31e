"""Logit scale and background threshold chosen on one half of a run's images, judged on the other half."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from ..choice.settings import MOST_SCALE
from ..common.ahead import ahead, threads
from ..data.datasets import Sample
from ..errors import ImageError, OptionError, UserError
from ..maps.decide import Decision, decide
from ..maps.relabel import LABEL_STEPS
from ..runs.told import Progress, State, silent
from ..scoring.bootstrap import Paired, paired
from ..scoring.metrics import Counts, Void, numbered, scores
from .anew import KeptRun
from .source import Kept, KeptPhoto, scores_file

SCALES = (20.0, 25.0, 30.0, 35.0, 40.0, 45.0, 50.0, 55.0, 60.0, 65.0, 75.0, 100.0)
THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(17))  # 0 is off


@dataclass(frozen=True)
class Pair:
    """A pair of constants and its mIoU in percent on both halves."""

    logit_scale: float
    background_threshold: float | None  # None: off
    tuned: float
    held_out: float


@dataclass(frozen=True)
class Tuned:
    """What was tried, what is best on the tuning half, and whether the gain holds on the other."""

    choices: tuple[Pair, ...]  # by falling mIoU on the tuning half
    recorded: Pair  # the run's own constants
    images: tuple[int, int]  # how many in each half
    gain: Paired  # best against recorded, on the held-out half
    lost: tuple[ImageError, ...] = ()  # images that the run has counted and whose cosines cannot be read

    @property
    def best(self) -> Pair:
        """The first of the choices."""
        return self.choices[0]


def tune(
    kept: KeptRun,
    scales: Sequence[float] = SCALES,
    thresholds: Sequence[float] = THRESHOLDS,
    progress: Progress = silent,
) -> Tuned:
    """Try all pairs on a run's kept cosines. The 1st, 3rd, 5th ... image chooses, the others judge.

    Class lists without background have no threshold to choose. The run's own constants are always among the pairs.
    Raises UserError for fewer than two images, OptionError for scales and thresholds that cannot be.
    """
    own, steps = kept.records()
    relabelling = [name for name in LABEL_STEPS if steps[name].is_on]
    if relabelling:
        what = f"{kept.folder} changes labels behind the threshold ({', '.join(relabelling)})"
        raise OptionError(what, "tune chooses thresholds for runs without: evaluate with --scores and without it")
    grid = sorted({*map(float, scales), own.logit_scale})
    limits = sorted({0.0, *thresholds, own.background_threshold or 0.0}) if kept.vocabulary.background == 0 else [0.0]
    if not (all(0 < one <= MOST_SCALE for one in grid) and all(0 <= one <= 1 for one in (*limits, *thresholds))):
        raise OptionError(
            "a scale or threshold is not possible", "give scales above 0, at most 1e6, and thresholds from 0 to 1"
        )
    counts, lost = _all_counts(kept, grid, limits, progress)  # (n, scales, thresholds, C)
    choices = [_choice(counts, grid, limits, i, j) for i in range(len(grid)) for j in range(len(limits))]
    recorded = next(
        choice
        for choice in choices
        if (choice.logit_scale, choice.background_threshold) == (own.logit_scale, own.background_threshold or None)
    )
    ranked = sorted(choices, key=lambda choice: (_falling(choice.tuned), choice is not recorded))
    before, after = (
        _half(counts, grid.index(one.logit_scale), limits.index(one.background_threshold or 0.0), held_out=True)
        for one in (recorded, ranked[0])
    )
    count = len(counts.label)
    return Tuned(tuple(ranked), recorded, (count - count // 2, count // 2), paired(before, after), lost)


def _falling(mean: float) -> float:
    return -mean if mean == mean else 0.0


def counts_by_threshold(
    decision: Decision, truth: np.ndarray, thresholds: Sequence[float], classes: int, void: Void
) -> Counts:
    """Areas under every background threshold at once, (T, C), from a decision without one.

    A pixel below a threshold goes to class 0 (spec 5.2); so each is counted in the bin of the thresholds that it
    passes, and sums over bins are the areas.
    """
    labels, labelled, counted = numbered(decision.labels.cpu().numpy(), truth, classes, void)
    passed = np.searchsorted(np.asarray(thresholds, np.float32), decision.confidence.cpu().numpy(), side="right")
    labels, labelled, passed = labels[counted], labelled[counted], passed[counted]
    bins = len(thresholds) + 1

    def kept(chosen: np.ndarray) -> np.ndarray:
        """Pixels that keep their label, (T, C)."""
        table = np.bincount(labels[chosen] * bins + passed[chosen], minlength=classes * bins).reshape(classes, bins)
        return table[:, ::-1].cumsum(1)[:, ::-1][:, 1:].T

    def dropped(chosen: np.ndarray) -> np.ndarray:
        """Pixels that fall to class 0, (T,)."""
        return np.bincount(passed[chosen], minlength=bins).cumsum()[:-1]

    everything = np.ones(labels.shape, bool)
    prediction, intersection = kept(everything), kept(labels == labelled)
    prediction[:, 0] += dropped(everything)
    intersection[:, 0] += dropped(labelled == 0)
    label = np.bincount(labelled, minlength=classes + 1)[:classes]
    return Counts(intersection, prediction, np.broadcast_to(label, prediction.shape))


def _all_counts(
    kept: KeptRun, scales: Sequence[float], limits: Sequence[float], progress: Progress
) -> tuple[Counts, tuple[ImageError, ...]]:
    """Counts of all images that can be read, and why others cannot that the run has counted."""
    source, found = kept.source({}), []
    lost: list[ImageError] = []
    without: list[ImageError] = []
    for done, one in enumerate(_read_ahead(kept, source), start=1):
        if isinstance(one, ImageError):
            (lost if scores_file(kept.folder, kept.data.samples[done - 1]).exists() else without).append(one)
        else:
            found.append(_by_scale(kept, source, *one, scales, limits))
        progress(State(done, len(kept.data.samples)))
    if len(found) < 2:
        raise UserError(f"{kept.folder} has {len(found)} images to choose by", "evaluate more with --scores")
    return Counts.stack(found), (*lost, *(without if len(without) > kept.run["failed"] else ()))


@torch.no_grad()
def _by_scale(
    kept: KeptRun, source: Kept, photo: KeptPhoto, truth: np.ndarray, scales: Sequence[float], limits: Sequence[float]
) -> Counts:
    parts = source.parts(photo)
    made = []
    for scale in scales:
        rule = replace(source.rule, logit_scale=scale, background_threshold=None)
        decision = decide(parts, photo.target, rule)
        made.append(counts_by_threshold(decision, truth, limits, rule.classes, kept.run["settings"]["void"]))
    return Counts.stack(made)


def _read_ahead(kept: KeptRun, source: Kept) -> Iterator[tuple[KeptPhoto, np.ndarray] | ImageError]:
    """Photos and truths in order, or why there is none, as for an image that the run could not count either."""

    def read(sample: Sample) -> tuple[KeptPhoto, np.ndarray] | ImageError:
        try:
            photo = source.read(sample)
            return photo, kept.data.truth(sample, photo.target)
        except ImageError as error:
            return error

    with threads(2) as pool:
        yield from ahead(pool, read, kept.data.samples)


def _half(counts: Counts, scale: int, limit: int, held_out: bool) -> Counts:
    """Per-image counts (n, C) of one pair on one half."""
    part = slice(1 if held_out else 0, None, 2)
    areas = (counts.intersection, counts.prediction, counts.label)
    return Counts(*(area[part, scale, limit] for area in areas))


def _choice(counts: Counts, scales: Sequence[float], limits: Sequence[float], i: int, j: int) -> Pair:
    tuned, held_out = (float(scores(_half(counts, i, j, held_out=half).total()).mIoU) for half in (False, True))
    return Pair(scales[i], limits[j] or None, tuned, held_out)

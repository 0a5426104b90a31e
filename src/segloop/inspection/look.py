"""What attention does to one photo, computed: maps of host, feedback and SFP, rows of attention, outlier tokens."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..attention.purify import interpolate
from ..line.purified import block_attention
from ..line.segmenter import Segmenter
from ..line.steps import Photo, statistics
from ..maps.decide import Rule, class_scores
from ..maps.windows import ScoreMap
from ..words.vocabulary import Vocabulary
from ..words.voting import only_plain
from .places import Point, Spot, Window, check_points, default_points, place, windows_of
from .rows import matrix_rows, rows_of
from .sides import Sides

Progress = Callable[[int, int], None]
STEPS = 4  # of progress: three maps, then the windows
LISTED = 8  # transitions between classes that are kept


@dataclass(frozen=True, eq=False)
class Map:
    """One side's answer for the whole photo."""

    name: str  # host, fsa or sfp
    title: str
    labels: np.ndarray  # (H, W) int64
    share: dict[str, float]  # fraction of the pixels by class
    grid: tuple[int, int]  # patches of a window that the attention works on
    scores: np.ndarray  # (C, R, S) float32, probabilities that decide, a cell being a patch of the photo
    distribution: np.ndarray  # (C, R, S) float32, sums to 1 over classes: synonyms are added up
    entropy: np.ndarray  # (R, S) float32 bits, of the distribution


@dataclass(frozen=True)
class Change:
    """How two maps of a photo differ."""

    before: str
    after: str
    share: float  # fraction of the pixels
    transitions: tuple[
        tuple[int, int, float], ...
    ]  # (class before, class after, fraction of the pixels), largest first


@dataclass(frozen=True, eq=False)
class Tokens:
    """Outliers among a window's patches after the last block but one, and their repair (spec 4.2, 4.3)."""

    window: Window
    grid: tuple[int, int]  # CLIP's, row by row
    outliers: np.ndarray  # (N,) bool
    before: np.ndarray  # (N,) float32, L2 norms
    after: np.ndarray  # (N,) float32, L2 norms once outliers are repaired
    class_attention: np.ndarray  # (N,) float32, how much the class token attends to each patch
    self_attention: np.ndarray  # (N,) float32, how much each patch attends to itself


@dataclass(frozen=True, eq=False)
class Seen:
    """One patch, and what it listens to."""

    place: Spot
    host: np.ndarray  # (h, P) float32, a row of A between patches; h is 1 where heads share it
    fed: np.ndarray  # (h, P) float32, a row of A*
    class_token: tuple[float, float] | None  # what A and A* give to the class token, mean over heads
    similarity: np.ndarray  # (P,) float32, s
    kept: np.ndarray  # (P,) bool
    new: np.ndarray  # (P,) float32, a row of A+
    host_scores: np.ndarray  # (C,) float32, probabilities of the classes at this patch of this window
    fed_scores: np.ndarray  # (C,) float32


@dataclass(frozen=True, eq=False)
class Inspection:
    """Everything that pictures, page and record show."""

    photo: Photo
    classes: list[str]
    maps: tuple[Map, ...]  # host, fsa, sfp
    changes: tuple[Change, ...]
    windows: tuple[Window, ...]  # all of them
    seen: tuple[Seen, ...]
    tokens: tuple[Tokens, ...]  # of each window that is looked at
    kept_share: dict[int, float]  # by window: the fraction of its pairs of patches that pruning keeps
    detector: str
    settings: dict[str, dict[str, Any]]  # of host, fsa and sfp


@torch.no_grad()
def look(
    sides: Sides,
    photo: Any,
    vocabulary: Vocabulary,
    points: Sequence[Point] = (),
    progress: Progress = lambda done, total: None,
) -> Inspection:
    """Look at one photo (as `Segmenter` takes it). Without `points`, up to three are chosen.

    Rows of attention live within one window: of those that cover a point, the one whose middle is nearest is taken.
    Raises ImageError, OptionError for a point outside the photo.
    """
    ready = sides.host.prepare(photo)
    check_points(points, ready.target)
    text = only_plain(sides.host.text(vocabulary), "inspect")
    maps = []
    for done, (name, segmenter) in enumerate(sides.named()):
        progress(done, STEPS)
        maps.append(_map(name, segmenter, ready, text, vocabulary))
    host, fsa, sfp = maps
    progress(len(maps), STEPS)
    windows = windows_of(ready, host.grid)
    places = _places(ready, windows, points, host, fsa)
    numbers = sorted({spot.window for spot in places})
    seen: dict[Spot, Seen] = {}
    kept_share = {}
    for number in numbers:
        here = [spot for spot in places if spot.window == number]
        found, kept_share[number] = window_seen(sides, ready, windows[number], here, text, vocabulary)
        seen.update(zip(here, found, strict=True))
    tokens = tuple(_tokens(sides, ready, windows[number]) for number in numbers)
    progress(STEPS, STEPS)
    return Inspection(
        photo=ready,
        classes=list(vocabulary.classes),
        maps=(host, fsa, sfp),
        changes=(_change(host, fsa), _change(host, sfp), _change(fsa, sfp)),
        windows=tuple(windows),
        seen=tuple(seen[spot] for spot in places),
        tokens=tokens,
        kept_share=kept_share,
        detector=sides.purify.detector,
        settings={name: segmenter.describe(vocabulary) for name, segmenter in sides.named()},
    )


def _map(name: str, segmenter: Segmenter, ready: Photo, text: Tensor, vocabulary: Vocabulary) -> Map:
    (logits,) = segmenter.tiles([ready], text)
    rule = segmenter.rule(vocabulary)
    score_map = segmenter.score_map(ready, logits)
    decision = segmenter.decided(ready, segmenter.parts(ready, logits, rule.query_index), rule)
    labels = decision.labels.cpu().numpy()
    share, _ = statistics(labels, decision.confidence.cpu().numpy(), vocabulary.classes)
    grid = (logits.shape[-2], logits.shape[-1])
    cosines = _at_patches(score_map, ready, grid)
    distribution = _distribution(cosines, rule)
    plan = segmenter.plan
    return Map(
        name=name,
        title=f"{plan.method} on {plan.host}" if plan.host else plan.method,
        labels=labels,
        share=share,
        grid=grid,
        scores=class_scores(cosines, rule).cpu().numpy(),
        distribution=distribution.cpu().numpy(),
        entropy=(-distribution.xlogy(distribution).sum(0) / np.log(2)).clamp_min(0).cpu().numpy(),
    )


def _at_patches(score_map: ScoreMap, ready: Photo, grid: tuple[int, int]) -> Tensor:
    """The map at the middle of every patch of the photo: (Q, R, S) float32, a cell being as large as a patch."""
    sizes = zip(score_map.shape[1:], ready.size, grid, ready.where.window, strict=True)
    middles = []
    for target, size, cells, window in sizes:
        count = max(1, round(size * cells / window))
        middles.append(((torch.arange(count) + 0.5) * target / count).long())
    rows, columns = (
        matrix[at.to(matrix.device)] for matrix, at in zip((score_map.rows, score_map.columns), middles, strict=True)
    )
    return ScoreMap(score_map.mosaic, rows, columns).queries(slice(None))


def _distribution(cosines: Tensor, rule: Rule) -> Tensor:
    """(Q, R, S) -> (C, R, S): the softmax over queries, synonyms of a class added up."""
    probability = (cosines * rule.logit_scale).softmax(0)
    total = probability.new_zeros(rule.classes, *cosines.shape[1:])
    return total.index_add_(0, rule.query_index.to(cosines.device), probability).clamp_(max=1)  # of rounding


def _places(ready: Photo, windows: Sequence[Window], points: Sequence[Point], host: Map, fsa: Map) -> list[Spot]:
    """The patches of the points, or of points chosen, each once."""
    chosen = dict.fromkeys(points, "as asked")
    chosen = chosen or default_points(host.distribution, fsa.distribution, host.entropy, ready.target)
    found: dict[tuple[int, tuple[int, int]], Spot] = {}
    for point, why in chosen.items():
        spot = place(ready, windows, point, why)
        found.setdefault((spot.window, spot.patch), spot)
    return list(found.values())


def _change(before: Map, after: Map) -> Change:
    changed = before.labels != after.labels
    pairs = np.stack([before.labels[changed], after.labels[changed]], 1)
    kinds, counts = np.unique(pairs, axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:LISTED]
    top = tuple((int(kinds[i, 0]), int(kinds[i, 1]), float(counts[i] / changed.size)) for i in order)
    return Change(before.name, after.name, float(changed.mean()), top)


def window_seen(
    sides: Sides, ready: Photo, window: Window, places: Sequence[Spot], text: Tensor, vocabulary: Vocabulary
) -> tuple[list[Seen], float]:
    """Rows of the patches that are looked at in one window, and the share of its pairs that pruning keeps."""
    patches = [spot.number(window.grid) for spot in places]
    opened = sides.fsa.network.window(ready, window.number, text)
    first = opened.block.first_patch
    rows = rows_of(sides.feedback, opened.block, opened.mix, opened.readout, patches)
    host, host_cosines = rows.host, rows.host_cosines
    if sides.feedback.feedback_layers > 1:  # the host alone has other tokens in its last block
        alone = sides.host.network.window(ready, window.number, text)
        host = matrix_rows(alone.mix, alone.block, [patch + first for patch in patches])
        host_cosines = alone.cosines().flatten(2)[0].T
    rule = sides.host.rule(vocabulary)
    scores = [class_scores(cosines[patches].T[..., None], rule)[..., 0] for cosines in (host_cosines, rows.fed_cosines)]
    found = []
    for i, spot in enumerate(places):
        seen = Seen(
            place=spot,
            host=_array(host[:, i, first:]),
            fed=_array(rows.fed[:, i, first:]),
            class_token=(float(host[:, i, 0].mean()), float(rows.fed[:, i, 0].mean())) if first else None,
            similarity=_array(rows.similarity[i]),
            kept=_array(rows.kept[i]),
            new=_array(rows.new[i]),
            host_scores=_array(scores[0][:, i]),
            fed_scores=_array(scores[1][:, i]),
        )
        found.append(seen)
    return found, rows.kept_share


def _tokens(sides: Sides, ready: Photo, window: Window) -> Tokens:
    """Outliers of one window by the detector, whatever the method does with them."""
    clip, sfp = sides.host.clip, sides.purify
    pixels = ready.windows[window.number][None].to(clip.device)
    grid, number = clip.grid(pixels), clip.depth - 1
    after, kept = clip.tokens(pixels, {number - 1})
    stats = block_attention(clip, kept[number - 1], number, grid)
    patches = after[:, clip.first_patch :]
    mask = sfp.mask(patches, stats)
    repaired = interpolate(patches, mask, grid, sfp.isolated)
    parts = (mask, patches.float().norm(dim=-1), repaired.float().norm(dim=-1), stats.class_row, stats.diagonal)
    return Tokens(window, grid, *(_array(part[0]) for part in parts))


def _array(values: Tensor) -> np.ndarray:
    return values.cpu().numpy()

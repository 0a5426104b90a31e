"""The steps between a photo and its map, as functions: resize and cut, windows through a network, back, decide."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..attention.types import MARGIN
from ..backbones.pixels import in_unit
from ..choice.settings import Deciding, Geometry
from ..errors import ImageError, OptionError, UserError
from ..images import CLIP, PLAIN, Elsewhere, Normalisation, Reading, normalise, read_image, resize_uint8, resized_size
from ..maps.decide import Block, Blocks, Decision, Rule, decide
from ..maps.refine import MapStep, ReadyStep
from ..maps.relabel import LabelStep, Settled
from ..maps.windows import Layout, ScoreMap, cut, cut_ids, layout, nearest_index
from ..words.vocabulary import Vocabulary
from ..words.voting import TEXTS

STRIP_BYTES = 4 * 2**20  # of cosines decided at once: on a CPU they stay in its cache
PART = 2**22  # pixels that are summed in float64 at once
BAND_BYTES = 64 * 2**20  # of cosines prepared at once

RegionSource = Callable[[Any, np.ndarray], np.ndarray]
"""(photo as it was given, (H0, W0, 3) uint8) -> its regions (H0, W0) of whole numbers, 0 for none."""


class Measured(Protocol):
    """What deciding has to know of a photo."""

    @property
    def target(self) -> tuple[int, int]:
        """(H0, W0)."""

    @property
    def pixels(self) -> Tensor:
        """(3, height, width) float32, resized and normalised; only steps on the map look at it."""

    @property
    def normalisation(self) -> Normalisation:
        """How."""

    @property
    def image(self) -> np.ndarray | None:
        """(H0, W0, 3) uint8 RGB, where it is at hand."""

    @property
    def regions(self) -> np.ndarray | None:
        """(H0, W0) int64 region ids, 0 for none; None where no masks came."""


class Cut(Measured, Protocol):
    """A photo in windows."""

    @property
    def source(self) -> str | None:
        """The file's path."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) after resizing."""

    @property
    def where(self) -> Layout:
        """Where its windows lie."""

    @property
    def windows(self) -> Any:
        """As many as its length says; each (3, h, w) float32."""

    @property
    def window_regions(self) -> Tensor | None:
        """(n, h, w) int64, the regions cut likewise; None where no masks came."""


@dataclass(frozen=True)
class Photo:
    """A photo on its way: as read, and cut into normalised windows."""

    image: np.ndarray  # (H0, W0, 3) uint8 RGB
    source: str | None
    size: tuple[int, int]  # (height, width) after resizing
    where: Layout
    pixels: Tensor  # (3, height, width) float32, normalised
    windows: Tensor  # (n, 3, h, w) float32
    regions: np.ndarray | None = None  # (H0, W0) int64 region ids, 0 for none; None where no masks came
    window_regions: Tensor | None = None  # (n, h, w) int64, MARGIN where a window is padded
    normalisation: Normalisation = CLIP  # of pixels and windows

    @property
    def target(self) -> tuple[int, int]:
        """(H0, W0)."""
        return self.image.shape[0], self.image.shape[1]


def prepare(
    photo: Any,
    geometry: Geometry,
    pad: int,
    at_least: int,
    reading: Reading = PLAIN,
    normalisation: Normalisation = CLIP,
    masks: RegionSource | None = None,
    fit: Callable[[tuple[int, int]], tuple[int, int]] | None = None,
) -> Photo:
    """Read, resize and cut a photo; windows are padded to multiples of `pad` pixels, sides are `at_least` pixels.

    `fit` says what its sides become once it is resized and normalised.

    Raises ImageError for what is not a photo, or has no masks that fit it.
    """
    image = read_image(photo, reading)
    height, width, _ = image.shape
    size = resized_size(height, width, geometry.short_side, geometry.long_side, at_least=at_least)
    pixels = torch.from_numpy(normalise(resize_uint8(image, size), normalisation))
    if fit and fit(size) != size:
        size = fit(size)
        pixels = F.interpolate(pixels[None], size=size, mode="bilinear")[0]
    where = layout(size, geometry.crop, geometry.stride, pad)
    source = os.fspath(photo) if isinstance(photo, (str, Path, Elsewhere)) else None
    ready = Photo(image, source, size, where, pixels, cut(pixels, where), normalisation=normalisation)
    return ready if masks is None else _with_regions(ready, masks(photo, image))


def _with_regions(photo: Photo, regions: np.ndarray) -> Photo:
    if regions.shape != photo.target or regions.dtype.kind not in "iu":
        what = f"masks of {'x'.join(map(str, regions.shape))} {regions.dtype} came for a photo of "
        remedy = "give a whole number for every pixel of the photo: its region, 0 for none"
        raise ImageError(what + "x".join(map(str, photo.target)), remedy)
    regions = regions.astype(np.int64)
    resized = torch.from_numpy(regions[np.ix_(*map(nearest_index, photo.target, photo.size))])
    resized = resized.clamp_min(0)  # MARGIN is below
    return replace(photo, regions=regions, window_regions=cut_ids(resized, photo.where, MARGIN))


def blocks(
    score_map: ScoreMap, photo: Measured, map_steps: Sequence[MapStep] = (), synonyms: Tensor | None = None
) -> Blocks:
    """The map in parts: strips of rows with all queries; with steps on it, all rows with few queries.

    With `synonyms`, (Q,) the class of each query, queries of a class all have its best, taken at the network's size
    if the map comes by there.
    """
    queries, height, width = score_map.shape
    steps = [step for step in map_steps if step.is_on]
    early_steps = [step for step in steps if getattr(step, "at_network_size", False)]
    passed_by = score_map.direct and not early_steps
    owners = None if synonyms is None or passed_by or len(synonyms.unique()) == queries else synonyms

    def by_rows() -> Iterator[Block]:
        for rows, strip in score_map.strips(STRIP_BYTES, BAND_BYTES):
            yield Block(rows, slice(0, queries), strip)

    def by_queries() -> Iterator[Block]:
        step = max(1, BAND_BYTES // (4 * height * width))
        late_steps = [step for step in steps if step not in early_steps]
        before, after = _ready(early_steps, late_steps, photo, score_map.mosaic.device)

        def early(part: slice) -> Tensor:
            return reduce(lambda maps, step: step(maps), before, score_map.at_network_size(part))

        parts = [slice(start, min(start + step, queries)) for start in range(0, queries, step)]
        best = None if owners is None else _best(early, parts, owners)
        for part in parts:
            if best is not None or before:
                maps = early(part) if best is None or owners is None else best[owners[part]]
                maps = F.interpolate(maps[None], size=photo.target, mode="bilinear")[0]
            else:
                maps = score_map.queries(part)
            yield Block(slice(0, height), part, reduce(lambda maps, step: step(maps), after, maps))

    return by_rows if owners is None and not steps else by_queries


def _best(maps: Callable[[slice], Tensor], parts: Sequence[slice], synonyms: Tensor) -> Tensor:
    """The largest of each class's queries: (C, h, w), of `maps(part)` (q, h, w) and the class of each query (Q,)."""
    best: Tensor | None = None
    for part in parts:
        found, owner = maps(part), synonyms[part]
        if best is None:
            best = found.new_full((int(synonyms.max()) + 1, *found.shape[1:]), -torch.inf)
        best.scatter_reduce_(0, owner[:, None, None].expand_as(found), found, "amax")
    assert best is not None
    return best


def _ready(
    early: Sequence[MapStep], late: Sequence[MapStep], photo: Measured, device: torch.device
) -> tuple[list[ReadyStep], list[ReadyStep]]:
    """Steps made ready for a photo: those at the network's size, and those at the photo's own."""
    pixels = photo.pixels.to(device)
    plain = in_unit(pixels, photo.normalisation) if early else pixels
    image = F.interpolate(pixels[None], size=photo.target, mode="bilinear")[0] if late else pixels
    return [step.ready(plain) for step in early], [step.ready(image) for step in late]


def decided(
    parts: Blocks,
    photo: Measured,
    rule: Rule,
    label_steps: Sequence[LabelStep],
    models: Mapping[str, Any] | None = None,
) -> Decision:
    """What is decided of the map, and what steps on labels make of that. `models` came besides CLIP."""
    decision = decide(parts, photo.target, rule)
    for step in label_steps:
        if step.is_on:
            decision = step(Settled(decision, parts, rule, photo.image, photo.regions, models or {}))
    return decision


def check_text(text: Any, width: int) -> None:
    """Raises UserError for what are no text rows (Q, width)."""
    if not isinstance(text, TEXTS):
        rows = "segmenter.text(Vocabulary(words))"
        raise UserError(f"text is no tensor, but of {type(text).__name__}", f"make its rows: {rows}")
    if len(text.shape) != 2 or text.shape[1] != width:
        what = f"text rows of shape {tuple(text.shape)} do not fit this CLIP"
        raise UserError(what, f"give rows of shape (Q, {width})")


def rule_of(vocabulary: Vocabulary, deciding: Deciding, device: torch.device | None = None) -> Rule:
    """How cosines of these words become labels. Raises OptionError for a threshold without a background."""
    threshold, area = deciding.background_threshold or None, deciding.area_threshold or None
    given = {"background_threshold": threshold, "area_threshold": area}
    needing = [name for name, value in given.items() if value]
    if vocabulary.background is None and needing:
        off = "switch off: " + ", ".join(f"{name}=none" for name in needing)
        first = "" if vocabulary.source else 'put a class "background" first (in Python with background=0), or '
        what = f"the list has no background class, which {' and '.join(needing)} need{'s' * (len(needing) == 1)}"
        raise OptionError(what, first + off)
    index = torch.tensor(vocabulary.query_index, device=device)
    return Rule(index, len(vocabulary.classes), deciding.logit_scale, threshold, area, vocabulary.votes)


def full_map(parts: Blocks, shape: tuple[int, int, int]) -> Tensor:
    """All blocks in one: (Q, H0, W0) float32 on the CPU."""
    full = torch.empty(shape)
    for block in parts():
        full[block.queries, block.rows] = block.cosines.cpu()
    return full


def statistics(
    labels: np.ndarray, confidence: np.ndarray, classes: Sequence[str]
) -> tuple[dict[str, float], dict[str, float | None]]:
    """(H, W) labels and float32 probabilities -> share of the pixels and mean confidence of each class, by name.

    Pixels without a class count in none; the confidence is None for a class that wins nowhere.
    """
    flat, sure, names = labels.ravel(), confidence.ravel(), list(classes)
    count = np.bincount(flat, minlength=len(names))[: len(names)].tolist()
    parts = (slice(start, start + PART) for start in range(0, len(flat), PART))
    totals = [np.bincount(flat[part], sure[part].astype(np.float64), len(names))[: len(names)] for part in parts]
    total = np.sum(totals, axis=0).tolist()
    share = {name: n / len(flat) for name, n in zip(names, count, strict=True)}
    mean = {name: t / n if n else None for name, n, t in zip(names, count, total, strict=True)}
    return share, mean

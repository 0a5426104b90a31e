"""The straight line: a photo and a vocabulary become a map (design: one step, one function)."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .attention import Variant
from .backbones.clip import Clip, load_clip
from .backbones.device import pick_device, pick_dtype
from .decide import Block, Blocks, Decision, Rule, class_scores, decide
from .embeddings import embed
from .errors import ModelError, OptionError, UserError
from .images import normalise, read_image, resize_uint8, resized_size
from .methods import PATCH, Plan, resolve
from .refine import pamr_apply, pamr_weights
from .results import Segmentation
from .types import Attention, LastBlock, Mix
from .vocabulary import Vocabulary
from .windows import Layout, ScoreMap, assemble, cut, layout

Fidelity = Literal["default", "reference"]
STRIP_BYTES = 64 * 2**20  # of cosines held at once while deciding
MAP_BYTES = 2 * 2**30  # the largest full map that `cosines` gives without being told to


@dataclass(frozen=True)
class Photo:
    """A photo on its way: as read, and cut into normalised windows."""

    image: np.ndarray  # (H0, W0, 3) uint8 RGB
    source: str | None
    size: tuple[int, int]  # (height, width) after resizing
    where: Layout
    windows: Tensor  # (n, 3, h, w) float32

    @property
    def target(self) -> tuple[int, int]:
        """(H0, W0)."""
        return self.image.shape[0], self.image.shape[1]


@dataclass(frozen=True)
class Segmenter:
    """A frozen CLIP and a plan. Holds what is constant; nothing about any photo."""

    clip: Clip
    plan: Plan
    fidelity: Fidelity = "default"
    batch: int = 8  # windows that go through the network together

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path = "tiny",
        *,
        recipe: str | None = None,
        method: str | Attention = "auto",
        device: str | torch.device = "auto",
        dtype: str | torch.dtype = "auto",
        fidelity: Fidelity = "default",
        batch: int = 8,
        offline: bool = False,
        **overrides: Any,
    ) -> "Segmenter":
        """Open a CLIP and settle every constant.

        Args:
            model: hub id, local folder in Hugging Face format, or "tiny" (bundled; downloads nothing).
            recipe: a published row such as "sclip/voc21".
            method: a row of METHODS, a product such as "qq+kk", or your own (LastBlock) -> Mix.
            device: auto, cpu, cuda, mps ...
            dtype: auto is half precision where the hardware is fast at it; `reference` is float32.
            fidelity: "reference" is the published pipeline, quirks included.
            batch: windows that go through the network together.
            offline: never ask the hub.
            **overrides: any field of Settings; None switches it off.

        Raises ModelError, OptionError.
        """
        if fidelity not in ("default", "reference"):
            raise OptionError(f"unknown fidelity {fidelity!r}", "choose default or reference")
        if batch < 1:
            raise OptionError(f"batch={batch} is not possible", "give at least 1 window")
        where = pick_device(device)
        precision = pick_dtype(dtype, where, fidelity)
        resolve(method, recipe, None, overrides)  # options are checked before seconds of loading
        clip = load_clip(str(model), where, precision, "published" if fidelity == "reference" else "exact", offline)
        plan = resolve(method, recipe, _folder_settings(clip), overrides)
        return cls(clip, plan, fidelity, batch)

    @torch.inference_mode()
    def logits(self, pixels: Tensor, text: Tensor) -> Tensor:
        """Raw cosines on the working grid: CLIP-normalised (B, 3, H, W), rows (Q, E) -> (B, Q, h, w) float32.

        Pixels are taken as they are: no resize, no padding, a remainder below one patch is dropped. Text is cast,
        not normalised again. Raises UserError for other shapes.
        """
        _check_pixels(pixels)
        self._check_text(text)
        pixels, text = pixels.to(self.clip.device), text.to(self.clip.device, torch.float32)
        grid = self.clip.grid(pixels)
        x, _ = self.clip.tokens(pixels)
        block = self.clip.open_last(x, grid)
        mix = self._attention()(block)
        tokens = self.clip.close_last(mix(block.v), x if self.plan.residual else None, self.plan.mlp)
        return self.clip.cosines(tokens[:, 1:], text).mT.unflatten(-1, grid)

    @torch.inference_mode()
    def cosines(self, photo: Any, vocabulary: Vocabulary | Sequence[str], *, limit: int = MAP_BYTES) -> Tensor:
        """Cosines averaged over windows at the photo's own size, after PAMR: (Q, H0, W0) float32 on the CPU.

        Raises OptionError where the map would be larger than `limit` bytes.
        """
        vocabulary = _as_vocabulary(vocabulary)
        ready = self._prepare(photo)
        size = len(vocabulary.query_index) * ready.target[0] * ready.target[1] * 4
        if size > limit:
            what = f"the cosine map would take {size / 2**30:.1f} GiB, more than {limit / 2**30:.1f}"
            raise OptionError(what, "call segmenter(photo, words), which works by strips, or raise limit=")
        (scores,) = self._score([ready], self.text(vocabulary))
        full = torch.empty(scores.shape)
        for block in self._blocks(scores, ready)():
            full[block.queries, block.rows] = block.cosines.cpu()
        return full

    @overload
    def __call__(self, photo: list | tuple, vocabulary: Vocabulary | Sequence[str], **options: Any) -> list: ...
    @overload
    def __call__(self, photo: Any, vocabulary: Vocabulary | Sequence[str], **options: Any) -> Segmentation: ...
    def __call__(
        self, photo: Any, vocabulary: Vocabulary | Sequence[str], *, scores: bool = False
    ) -> Segmentation | list[Segmentation]:
        """Segment one photo (path, PIL image, array, tensor) or a list of photos by words.

        `scores` adds class probabilities (C, H, W) to each result. One photo gives one Segmentation, a list a list.
        """
        if isinstance(photo, (list, tuple)):
            return list(self.stream(photo, vocabulary, scores=scores))
        return next(self.stream([photo], vocabulary, scores=scores))

    def stream(
        self, photos: Iterable[Any], vocabulary: Vocabulary | Sequence[str], *, scores: bool = False
    ) -> Iterator[Segmentation]:
        """Segment photos in order, as many at once as fill a batch of windows.

        The first photo that cannot be read raises its ImageError.
        """
        vocabulary = _as_vocabulary(vocabulary)
        rule = self._rule(vocabulary)
        text = self.text(vocabulary)
        waiting: list[Photo] = []
        for photo in photos:
            waiting.append(self._prepare(photo))
            if sum(len(ready.windows) for ready in waiting) >= self.batch:
                yield from self._finish(waiting, text, rule, vocabulary, scores)
                waiting = []
        yield from self._finish(waiting, text, rule, vocabulary, scores)

    def text(self, vocabulary: Vocabulary) -> Tensor:
        """Rows of the vocabulary: (Q, E) float32 on this device; from the disk cache where they were made before."""
        rows = embed(vocabulary, self.clip).to(self.clip.device)
        self._check_text(rows)
        return rows

    def _attention(self) -> Attention:
        variant: Variant = self.plan.variant
        constants = {name: getattr(self.plan.settings, name) for name in variant.constants}
        return partial(variant.attention, **constants) if constants else variant.attention

    def _rule(self, vocabulary: Vocabulary) -> Rule:
        settings = self.plan.settings
        threshold, area = settings.background_threshold or None, settings.area_threshold or None
        if vocabulary.background is None and (threshold or area):
            name = "background_threshold" if threshold else "area_threshold"
            remedy = f"add a background (--background), or switch it off with {name}=none"
            raise OptionError(f"{name} needs a background class and the list has none", remedy)
        index = torch.as_tensor(vocabulary.query_index, device=self.clip.device)
        return Rule(index, len(vocabulary.classes), settings.logit_scale, threshold, area)

    def _prepare(self, photo: Any) -> Photo:
        settings, reference = self.plan.settings, self.fidelity == "reference"
        image = read_image(photo)
        smallest = 1 if reference else self.clip.patch
        size = resized_size(*image.shape[:2], settings.short_side, settings.long_side, at_least=smallest)
        pixels = torch.from_numpy(normalise(resize_uint8(image, size)))
        where = layout(size, settings.crop, settings.stride, self._pad_multiple())
        source = str(photo) if isinstance(photo, (str, Path)) else None
        return Photo(image, source, size, where, cut(pixels, where))

    def _pad_multiple(self) -> int:
        if self.fidelity != "reference":
            return self.clip.patch
        if self.plan.settings.crop == 0:
            return 1
        return self.clip.patch if self.plan.row.pad == PATCH else self.plan.row.pad

    @torch.inference_mode()
    def _score(self, photos: Sequence[Photo], text: Tensor) -> list[ScoreMap]:
        """Windows of all photos through the network, equal sizes together, and back to one map per photo."""
        logits: list[list[Tensor]] = [[] for _ in photos]
        for shape in dict.fromkeys(photo.windows.shape[1:] for photo in photos):
            members = [i for i, photo in enumerate(photos) if photo.windows.shape[1:] == shape]
            owners = [i for i in members for _ in photos[i].windows]
            windows = torch.cat([photos[i].windows for i in members])
            for start in range(0, len(windows), self.batch):
                part = self.logits(windows[start : start + self.batch], text)
                for owner, one in zip(owners[start : start + self.batch], part, strict=True):
                    logits[owner].append(one)
        direct = self.fidelity == "reference" and self.plan.settings.crop == 0 and not self.plan.row.whole_in_two_steps
        return [
            assemble(torch.stack(tiles), photo.where, photo.size, photo.target, direct)
            for photo, tiles in zip(photos, logits, strict=True)
        ]

    def _finish(
        self, photos: Sequence[Photo], text: Tensor, rule: Rule, vocabulary: Vocabulary, scores: bool
    ) -> Iterator[Segmentation]:
        for photo, score_map in zip(photos, self._score(photos, text), strict=True):
            yield self._decide(photo, score_map, rule, vocabulary, scores)

    @torch.inference_mode()
    def _decide(
        self, photo: Photo, score_map: ScoreMap, rule: Rule, vocabulary: Vocabulary, scores: bool
    ) -> Segmentation:
        blocks = self._blocks(score_map, photo)
        decision = decide(blocks, photo.target, rule)
        probabilities = None
        if scores:
            full = torch.empty(score_map.shape, device=self.clip.device)
            for block in blocks():
                full[block.queries, block.rows] = block.cosines
            probabilities = class_scores(full, rule).cpu().numpy()
        share, confidence = _statistics(decision, vocabulary.classes)
        return Segmentation(
            labels=decision.labels.cpu().numpy(),
            classes=list(vocabulary.classes),
            scores=probabilities,
            share=share,
            confidence=confidence,
            image=photo.image,
            source=photo.source,
            settings=self.describe(vocabulary),
        )

    def _blocks(self, score_map: ScoreMap, photo: Photo) -> Blocks:
        """Strips of rows with all queries; with PAMR, which looks far, all rows with few queries."""
        queries, height, width = score_map.shape
        steps, dilations = self.plan.settings.pamr_steps, self.plan.settings.pamr_dilations

        def by_rows() -> Iterator[Block]:
            step = max(1, STRIP_BYTES // (4 * queries * width))
            for start in range(0, height, step):
                rows = slice(start, min(start + step, height))
                yield Block(rows, slice(0, queries), score_map.strip(rows))

        def by_queries() -> Iterator[Block]:
            step = max(1, STRIP_BYTES // (4 * height * width))
            weights = pamr_weights(self._guide_image(photo), dilations)
            for start in range(0, queries, step):
                part = slice(start, min(start + step, queries))
                maps = score_map.strip(slice(0, height), part)
                yield Block(slice(0, height), part, pamr_apply(weights, maps[None], steps, dilations)[0])

        return by_queries if steps else by_rows

    def _guide_image(self, photo: Photo) -> Tensor:
        """PAMR's image: the normalised network input at the photo's size, (1, 3, H0, W0)."""
        small = normalise(resize_uint8(photo.image, photo.size))
        image = torch.from_numpy(small)[None].to(self.clip.device)
        return F.interpolate(image, size=photo.target, mode="bilinear")

    def describe(self, vocabulary: Vocabulary) -> dict[str, Any]:
        """What made a result, for its record."""
        from dataclasses import asdict

        return {
            "model": self.clip.name,
            "method": self.plan.method,
            "fidelity": self.fidelity,
            "dtype": str(self.clip.dtype).removeprefix("torch."),
            **asdict(replace(self.plan.settings, residual=self.plan.residual, mlp=self.plan.mlp)),
            "vocabulary": vocabulary.source,
        }

    def _check_text(self, text: Tensor) -> None:
        if text.ndim != 2 or text.shape[1] != self.clip.width:
            what = f"text rows of shape {tuple(text.shape)} do not fit this CLIP"
            raise UserError(what, f"give rows of shape (Q, {self.clip.width})")


def _check_pixels(pixels: Tensor) -> None:
    if pixels.ndim != 4 or pixels.shape[1] != 3:
        raise UserError(f"pixels of shape {tuple(pixels.shape)}", "give CLIP-normalised (B, 3, H, W)")


def _as_vocabulary(vocabulary: Vocabulary | Sequence[str]) -> Vocabulary:
    return vocabulary if isinstance(vocabulary, Vocabulary) else Vocabulary(vocabulary)


def _statistics(decision: Decision, classes: Sequence[str]) -> tuple[dict[str, float], dict[str, float | None]]:
    """Share of the pixels and mean confidence of each class, by name; None for a class that wins nowhere."""
    labels = decision.labels.flatten()
    count = torch.bincount(labels, minlength=len(classes))
    total = torch.bincount(labels, decision.confidence.flatten().double(), minlength=len(classes))
    share = {name: int(n) / len(labels) for name, n in zip(classes, count, strict=True)}
    confidence = {
        name: float(t / n) if n else None for name, n, t in zip(classes, count.tolist(), total.tolist(), strict=True)
    }
    return share, confidence


def _folder_settings(clip: Clip) -> dict[str, Any]:
    """What the model's own segloop.json names, if it has one."""
    path = Path(clip.folder) / "segloop.json"
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError:
        raise ModelError(f"{path} is not valid JSON", "mend it or delete it") from None


__all__ = ["LastBlock", "Mix", "Segmenter"]

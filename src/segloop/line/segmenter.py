"""The public class: a frozen CLIP and a plan, from photos and words to maps."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, overload

import torch
from torch import Tensor

from ..attention.feedback import FSA
from ..attention.purify import SFP
from ..attention.types import Attention
from ..backbones.models import DEFAULT_CLIP
from ..backbones.shared import Models
from ..backbones.tower import Tower
from ..choice.plan import Plan, resolve
from ..common.attempts import Line
from ..errors import ImageError
from ..images import PLAIN, Reading, reading
from ..maps.decide import Blocks, Decision, Rule
from ..maps.windows import Layout, ScoreMap, assemble, layout
from ..results.filters import EVERYTHING, Filter
from ..results.segmentation import Segmentation
from ..words.bank import Bank
from ..words.language import Say, noticed
from ..words.vocabulary import Classes, Vocabulary, as_vocabulary
from ..words.voting import Text
from .bands import BandedPhoto, by_bands
from .banking import fitting, rows_of, rows_origin, settings_of
from .batches import Room, full, guides_of, tiles, weight
from .describe import described, in_a_line
from .finishing import check_map, raised, scores_of, segmentation, tell_alone
from .masking import Masks, source_of, voting, with_masks
from .network import Network
from .opening import Fidelity, chosen, cutting, folder_settings, machine, open_network
from .regions import parted
from .steps import Cut, Photo, RegionSource, blocks, check_text, decided, full_map, prepare, rule_of
from .voting import Give
from .whole import whole_of

Words = Vocabulary | Classes
Bands = str | Sequence[int] | None
Progress = Callable[[int, int], None] | None  # of (done, total)

BATCH = 8  # windows that go through the network together, where nothing else is known
MAP_BYTES = 2 * 2**30  # the largest full map that `cosines` gives without being told to


@dataclass(frozen=True)
class Segmenter:
    """Frozen networks and a plan. Holds what is constant; nothing about any photo."""

    network: Network
    fidelity: Fidelity = "default"
    batch: int = BATCH  # windows that go through the network together, fewer where memory runs out
    reading: Reading = PLAIN  # which bands of a photo, and which numbers are black and white
    masks: RegionSource | None = None  # where regions of photos come from
    bank: Bank | None = None  # prototypes that score beside the words
    told: set[str] = field(default_factory=set, repr=False, compare=False)  # what was warned of, so that once is enough
    room: Room = field(default_factory=Room, repr=False, compare=False)  # what memory holds of a batch

    def __repr__(self) -> str:
        return f"Segmenter({in_a_line(self.network, self.fidelity)})"

    @property
    def clip(self) -> Tower:
        """The CLIP that was opened."""
        return self.network.clip

    @property
    def plan(self) -> Plan:
        """The method and every constant, resolved."""
        return self.network.plan

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path = DEFAULT_CLIP,
        *,
        recipe: str | None = None,
        dataset: str | None = None,
        method: str | Attention = "auto",
        host: str | Attention | None = None,
        vision: str | Path | None = None,
        affinity: str | Path | None = None,
        feedback: FSA | None = None,
        purify: SFP | None = None,
        device: str | torch.device = "auto",
        dtype: str | torch.dtype = "auto",
        fidelity: Fidelity = "default",
        engine: str | None = None,
        batch: int = BATCH,
        offline: bool = False,
        models: Models | None = None,
        bands: Bands = None,
        stretch: str | None = None,
        channels: str = "rgb",
        masks: Masks = None,
        bank: str | Path | Bank | None = None,
        **overrides: Any,
    ) -> "Segmenter":
        """Open the networks and settle every constant. Raises ModelError, OptionError.

        Args:
            model: hub id, local folder in Hugging Face format, or "tiny" and others that are bundled.
            recipe, dataset: a published row such as "fsa/voc21"; or a benchmark's key: any method's constants for it.
            method: of METHODS, a product such as "qq+kk", your own (LastBlock) -> Mix; in the place of the recipe's.
            host: what fsa is attached to, any of these; without `method` it means fsa, or the recipe's method.
            vision, affinity: a guide (dino, dinov2, dinov3, sam, mae, hub id, folder, FILE.py:function); a SAM.
            feedback, purify: constants of FSA and SFP instead of the recipe's; the latter without `method` means sfp.
            device, dtype: auto, cpu, cuda, mps ...; auto is half precision where that is fast and a trial fits.
            engine: of the encoders: eager (None), compile, openvino, onnx, int8, auto; "onnx/eager" for CLIP and guide.
            fidelity, batch: "reference" is the published pipeline in float32; windows that go through together.
            offline, models: never ask the hub; where open networks are kept, for Segmenters that share them.
            bands, stretch, channels: of photos, such as (4, 3, 2), "percentile" and "bgr"; see `images.reading`.
            masks, bank: regions of photos, as `line.masking` has them; a memory bank of these networks and words.
            **overrides: any setting of the method, such as stride or lambda_, None is off; `rows` may be a function.
        """
        (where, precisions), read = machine(device, dtype, fidelity, batch, engine), reading(bands, stretch, channels)
        (own, proposing, known), models = settings_of(overrides, bank, fidelity), models or Models()
        choice = chosen(method, host, vision, recipe, dataset, feedback, purify, own, affinity and str(affinity))
        plan = resolve(choice, folder_settings(str(model), offline))  # options are checked before seconds of loading
        source = source_of(masks, proposing, where, offline, models)
        network = open_network(str(model), voting(plan, source), models, where, precisions, fidelity, offline, engine)
        return fitting(cls(network, fidelity, batch, read, source, known))

    def logits(self, pixels: Tensor, text: Text, masks: Tensor | None = None) -> Tensor:
        """Raw cosines on the working grid: normalised (B, 3, H, W), rows (Q, E) -> (B, Q, h, w) float32.

        Pixels are taken as they are: no resize, no padding, a remainder below one patch is dropped. Text is cast,
        not normalised again. `masks` are ids of the pixels' regions, (B, H, W) int64. Raises UserError for other
        shapes, OptionError where an attention of your own returns values of another shape.
        """
        check_text(text, self.clip.width)
        return self.network.logits(pixels, text, masks)

    @torch.no_grad()
    def cosines(self, photo: Any, vocabulary: Words, *, masks: Masks = None, limit: int = MAP_BYTES) -> Tensor:
        """Cosines averaged over windows at the photo's own size, after PAMR: (Q, H0, W0) float32 on the CPU.

        Of lposs, its scores, which are none. `masks` as for a call. Raises OptionError where the map would be larger
        than `limit` bytes.
        """
        vocabulary = as_vocabulary(vocabulary)
        reader, (photo,) = with_masks(self, [photo], masks, many=False)
        ready = reader.prepare(photo)
        shape = (len(vocabulary.query_index), *ready.target)
        check_map(shape, limit)
        (logits,) = reader.tiles([ready], reader.text(vocabulary))
        owners = torch.tensor(vocabulary.query_index, device=self.clip.device)
        return full_map(reader.parts(ready, logits, owners), shape)

    @overload
    def __call__(self, photo: list | tuple, vocabulary: Words, **options: Any) -> list[Segmentation]: ...
    @overload
    def __call__(
        self, photo: Any, vocabulary: Words, *, scores: bool = ..., keep: Filter = ..., masks: Masks = ..., **read: Any
    ) -> Segmentation: ...
    def __call__(
        self,
        photo: Any,
        vocabulary: Words,
        *,
        scores: bool = False,
        keep: Filter = EVERYTHING,
        masks: Masks = None,
        **read: Any,
    ) -> Segmentation | list[Segmentation]:
        """Segment one photo (path, PIL image, array, tensor) or a list of photos by words.

        `scores` adds class probabilities (C, H, W) to each result; `keep` takes the class of pixels away that are
        unsure, in small regions or of other classes than those wanted; `masks` are regions of these photos: ids (H, W)
        or masks (n, H, W) of bool, of a list a list, or as `from_pretrained` has them; `bands=` and `stretch=` read
        these photos in another way than it has settled, `channels="bgr"` takes arrays as OpenCV has them.
        """
        many = isinstance(photo, (list, tuple))
        reader = replace(self, reading=reading(**read)) if read else self
        reader, photos = with_masks(reader, photo if many else [photo], masks, many)
        results = reader.stream(photos, vocabulary, scores=scores, keep=keep)
        return list(results) if many else next(results)

    def stream(
        self,
        photos: Iterable[Any],
        vocabulary: Words,
        *,
        scores: bool = False,
        keep: Filter = EVERYTHING,
        on_error: Callable[[Any, ImageError], None] | None = None,
        readers: int = 0,
    ) -> Iterator[Segmentation]:
        """Segment photos in order, as many at once as fill batches of windows; `scores` and `keep` as for a call.

        A photo that cannot be read, or that memory runs out on, goes to `on_error` and is skipped; without `on_error`
        its ImageError is raised. So many `readers`, threads, read photos before their turn.
        """
        vocabulary = as_vocabulary(vocabulary)
        keep.check(vocabulary.classes)
        rule, text = self.rule(vocabulary), self.text(vocabulary)
        decided = partial(self._decide, rule=rule, vocabulary=vocabulary, scores=scores, keep=keep)
        line = Line(self.prepare, partial(self.tiles, text=text), decided, readers, weight)
        yield from line.results(photos, partial(full, batch=self.batch), on_error or raised)

    def text(self, vocabulary: Words, progress: Progress = None, say: Say = noticed) -> Text:
        """Rows of the vocabulary: (Q, E) float32 on this device; from the disk cache where they were made before.

        `progress(done, total)` counts queries that had to be encoded; `say` takes what is to know of the words.
        """
        return rows_of(self, as_vocabulary(vocabulary), progress, say)

    def encoded(self, vocabulary: Words, progress: Progress = None, say: Say = noticed) -> Vocabulary:
        """The same classes with their rows (Q, E) on this device, so that nothing is encoded or read again.

        Rows that another model or another step has made are made anew. `progress` and `say` as for `text`.
        """
        vocabulary = as_vocabulary(vocabulary)
        rows = self.text(vocabulary, progress, say)
        return vocabulary.with_embeddings(rows, None if vocabulary.is_given else rows_origin(self))

    def describe(self, vocabulary: Vocabulary) -> dict[str, Any]:
        """What made a result, for its record: model, method, precision, every constant, the class list's name."""
        return described(self.network, self.fidelity, self.reading, vocabulary, self.masks, self.bank)

    def prepare(self, photo: Any) -> Photo:
        """Read, resize and cut a photo, as this plan has it; safe in threads. Raises ImageError."""
        photo, masks = parted(photo, self.masks)
        how, fit = cutting(self.network, self.fidelity, self.reading), self.network.fit
        return prepare(photo, self.plan.geometry, *how, masks=masks, fit=fit)

    def prepare_by_bands(self, photo: Any, refused: ImageError) -> BandedPhoto:
        """The same for a scene that `prepare` has `refused` for its size: never whole in memory. Raises ImageError."""
        how = cutting(self.network, self.fidelity, self.reading)
        return by_bands(photo, self.plan.geometry, *how, refused=refused)

    @torch.no_grad()
    def tiles(self, photos: Sequence[Cut], text: Text, give: Give | None = None) -> list[Tensor]:
        """Raw cosines of every window, (n, Q, h, w) float32 for each photo; `text` is (Q, E). Of experts, their votes.

        A method over the whole photo may give one tile of all of it; `layout` tells where tiles lie. `give` takes
        something else of each opened block.
        """
        network, memory = partial(self.network.windows, text=text, give=give), self.network.memory
        relieve = memory.forget if memory else lambda: None
        found = tiles(photos, network, self.batch, guides_of(self.network), self.room, relieve)
        if self.network.joint is None:
            return found
        text = text.to(self.clip.device, torch.float32)
        wholes = (whole_of(photo, handed, text, self.clip) for photo, handed in zip(photos, found, strict=True))
        return [self.network.joined(whole, give) for whole in wholes]

    def layout(self, photo: Cut) -> Layout:
        """Where the tiles of a photo lie: those of its windows, or one over the whole photo."""
        joint = self.network.joint
        return layout(photo.size, 0, 1, 1) if joint and joint.makes_one_map else photo.where

    @property
    def direct(self) -> bool:
        """Whether a whole photo's grid becomes the map in one step, as in some releases (spec 1.4)."""
        whole = self.fidelity == "reference" and self.plan.geometry.crop == 0 and not self.plan.row.whole_in_two_steps
        return whole or getattr(self.network.joint, "in_one_step", False)

    def score_map(self, photo: Cut, logits: Tensor) -> ScoreMap:
        """The windows' cosines (n, Q, h, w) averaged at the photo's own size."""
        return assemble(logits, self.layout(photo), photo.size, photo.target, self.direct)

    @torch.no_grad()
    def _decide(
        self, photo: Photo, logits: Tensor, rule: Rule, vocabulary: Vocabulary, scores: bool, keep: Filter
    ) -> Segmentation:
        parts = self.parts(photo, logits, rule.query_index)
        decision = self.decided(photo, parts, rule)
        full = scores_of(parts, (len(rule.query_index), *photo.target), rule) if scores else None
        return segmentation(photo, decision, vocabulary.classes, self.describe(vocabulary), keep, full)

    @property
    def synonyms_first(self) -> bool:
        """Whether a class takes its best synonym before the last resize, as in some releases (spec 2.8)."""
        return self.fidelity == "reference" and self.plan.row.synonyms_first

    def parts(self, photo: Cut, logits: Tensor, owners: Tensor) -> Blocks:
        """The map in parts, with the steps that are done on it; `owners` are the classes of queries, (Q,) int64."""
        return blocks(
            self.score_map(photo, logits), photo, self.plan.map_steps, owners if self.synonyms_first else None
        )

    def decided(self, photo: Cut, parts: Blocks, rule: Rule) -> Decision:
        """Labels and confidence (H0, W0), with the steps that are done on labels."""
        return decided(parts, photo, rule, self.plan.label_steps, self.network.models)

    def rule(self, vocabulary: Vocabulary) -> Rule:
        """How cosines of these words become labels. Raises OptionError for a threshold without a background.

        Warns, once for a Segmenter, where there is nothing to decide.
        """
        tell_alone(vocabulary.classes, self.told)
        return rule_of(vocabulary, self.plan.deciding, self.clip.device)

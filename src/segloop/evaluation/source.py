"""Where label maps come from: the networks, or cosines that an earlier run has kept."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ..common.archives import DamagedError, read_npz
from ..common.earlier import check_replaced
from ..common.files import write_whole
from ..data.datasets import Sample
from ..errors import ImageError, UserError
from ..images import CLIP, PLAIN, Normalisation, Reading, normalise, read_image, resize_uint8
from ..line.segmenter import Segmenter
from ..line.steps import Measured, Photo, RegionSource, blocks, decided
from ..maps.decide import Blocks, Rule
from ..maps.refine import MapStep
from ..maps.relabel import LabelStep
from ..maps.windows import Layout, ScoreMap, assemble
from ..words.voting import Text
from .record import SCORE, SCORES

SHOWN = 120  # letters of a library's reason


class Ready(Measured, Protocol):
    """A photo that can be scored."""

    @property
    def windows(self) -> Tensor:
        """(n, ...), one entry a window."""


class Source(Protocol):
    """Photo -> windows' cosines -> labels."""

    @property
    def batch(self) -> int:
        """Windows that are worth going together."""

    def read(self, sample: Sample) -> Any:
        """A `Ready` photo; called in threads. Raises ImageError."""

    def tiles(self, photos: Sequence[Any]) -> list[Tensor]:
        """Cosines of each photo's windows, (n, Q, h, w) float32."""

    def labels(self, photo: Any, tiles: Tensor) -> np.ndarray:
        """(H0, W0) int64, index into the classes."""


@dataclass(frozen=True)
class Live:
    """The networks themselves."""

    segmenter: Segmenter
    text: Text  # (Q, E)
    rule: Rule

    @property
    def batch(self) -> int:
        """As the segmenter has it."""
        return self.segmenter.batch

    def read(self, sample: Sample) -> Photo:
        """Read, resize and cut."""
        return self.segmenter.prepare(sample.image)

    def tiles(self, photos: Sequence[Photo]) -> list[Tensor]:
        """Through the networks."""
        return self.segmenter.tiles(photos, self.text)

    @torch.no_grad()
    def labels(self, photo: Photo, tiles: Tensor) -> np.ndarray:
        """Average, decide."""
        parts = self.segmenter.parts(photo, tiles, self.rule.query_index)
        return self.segmenter.decided(photo, parts, self.rule).labels.cpu().numpy()

    def encode(self, photo: Photo, tiles: Tensor) -> bytes:
        """What `Kept` reads: the cosines, and how the windows lie."""
        where = self.segmenter.layout(photo)
        arrays: dict[str, Any] = {
            "tiles": tiles.cpu().numpy(),
            "size": np.array(photo.size),
            "target": np.array(photo.target),
            "rows": np.array(where.rows),
            "columns": np.array(where.columns),
            "pads": np.array([where.pad_rows, where.pad_columns]),
            "direct": np.array(self.segmenter.direct),
            "synonyms_first": np.array(self.segmenter.synonyms_first),
        }
        stream = io.BytesIO()
        np.savez(stream, **arrays)  # floats like these hardly shrink
        return stream.getvalue()


@dataclass(frozen=True)
class KeptPhoto:
    """A photo of which only the windows' cosines are known."""

    windows: Tensor  # (n, Q, h, w) float32
    where: Layout
    size: tuple[int, int]  # (height, width) after resizing
    target: tuple[int, int]  # (H0, W0)
    direct: bool  # see `windows.assemble`
    pixels: Tensor  # (3, height, width) where a step on the map looks at it, else empty
    normalisation: Normalisation = CLIP  # of those
    synonyms_first: bool = False  # see `Segmenter.synonyms_first`
    image: np.ndarray | None = None  # see `Measured`
    regions: np.ndarray | None = None

    @property
    def score_map(self) -> ScoreMap:
        """The windows' cosines averaged at the photo's own size."""
        return assemble(self.windows, self.where, self.size, self.target, self.direct)


@dataclass(frozen=True)
class Kept:
    """Cosines that `evaluate --scores` kept: no network is needed to decide anew, exactly as the run would have."""

    run: Path
    map_steps: tuple[MapStep, ...]
    label_steps: tuple[LabelStep, ...]
    rule: Rule
    batch: int = 1
    reading: Reading = PLAIN
    normalisation: Normalisation = CLIP
    masks: RegionSource | None = None  # where regions come from that a step on labels looks at

    def read(self, sample: Sample) -> KeptPhoto:
        """The kept windows; the photo itself only where a step on the map looks at it, or its regions come from it."""
        kept = self._open(sample)
        size, target = (tuple(kept[name].tolist()) for name in ("size", "target"))
        rows, columns = (tuple(map(tuple, kept[name].tolist())) for name in ("rows", "columns"))
        pad_rows, pad_columns = (tuple(pad) for pad in kept["pads"].tolist())
        tiles, direct = torch.from_numpy(kept["tiles"]), bool(kept["direct"])
        if not tiles.isfinite().all():
            what = f"the kept cosines of {sample.name} are not finite"
            raise ImageError(what, "run the evaluation again with --scores, and --dtype float32 if that ends likewise")
        pixels = torch.empty(0)
        if any(step.is_on for step in self.map_steps):
            image = resize_uint8(read_image(sample.image, self.reading), size)
            pixels = torch.from_numpy(normalise(image, self.normalisation))
        regions = self.masks(sample.image, read_image(sample.image, self.reading)) if self.masks else None
        where, early = Layout(rows, columns, pad_rows, pad_columns), bool(kept.get("synonyms_first", False))
        return KeptPhoto(tiles, where, size, target, direct, pixels, self.normalisation, early, regions=regions)

    def tiles(self, photos: Sequence[KeptPhoto]) -> list[Tensor]:
        """As they were kept."""
        return [photo.windows for photo in photos]

    def parts(self, photo: KeptPhoto) -> Blocks:
        """The map in parts, with the steps that are done on it."""
        synonyms = self.rule.query_index if photo.synonyms_first else None
        return blocks(photo.score_map, photo, self.map_steps, synonyms)

    @torch.no_grad()
    def labels(self, photo: KeptPhoto, tiles: Tensor) -> np.ndarray:
        """Average, decide."""
        return decided(self.parts(photo), photo, self.rule, self.label_steps).labels.cpu().numpy()

    def _open(self, sample: Sample) -> dict[str, np.ndarray]:
        """What `Live.encode` made, whole and of these words. Raises ImageError."""
        place = scores_file(self.run, sample)
        try:
            kept = read_npz(place)
            if not _fits(kept, len(self.rule.query_index)):
                raise DamagedError("arrays of another shape")
        except FileNotFoundError:
            what = f"{self.run} kept no cosines of {sample.name}"
            raise ImageError(what, "run the evaluation again with --scores") from None
        except (OSError, DamagedError) as error:
            what = f"{place} is damaged ({str(error)[:SHOWN]})"
            raise ImageError(what, "run the evaluation again with --scores and --overwrite") from None
        return kept


def _fits(kept: Mapping[str, np.ndarray], queries: int) -> bool:
    """Whether these are arrays of `Live.encode` for so many queries."""
    try:
        windows = (len(kept["rows"]) * len(kept["columns"]), queries)
        shapes = {"size": (2,), "target": (2,), "pads": (2, 2), "direct": ()}
        fine = all(kept[name].shape == shape for name, shape in shapes.items())
        spans = all(kept[name].ndim == 2 and kept[name].shape[1] == 2 for name in ("rows", "columns"))
        tiles = kept["tiles"]
        return fine and spans and tiles.ndim == 4 and tiles.shape[:2] == windows and tiles.dtype == np.float32
    except (LookupError, TypeError):
        return False


def scores_file(run: Path, sample: Sample) -> Path:
    """Where a run keeps the cosines of an image."""
    return run / SCORES / f"{sample.name}.npz"


def write_scores(run: Path, sample: Sample, data: bytes) -> None:
    """Keep what `Live.encode` made. Raises OptionError where a stranger lies there, OutputError, MachineError."""
    target = scores_file(run, sample)
    check_replaced({target: SCORE}, "move it away, or choose another --out")
    write_whole(target, data)


def check_kept(run: Path) -> None:
    """Raises UserError where a run kept no cosines at all."""
    if not (run / SCORES).is_dir():
        raise UserError(f"{run} kept no cosines", "evaluate once with --scores")

"""SAM and SAM 2 prompted by points: a photo into masks of everything in it. Their processors need torchvision, so
that photos and masks are resized here."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ModelError
from ..images import IMAGENET
from .finite import sound, unsound
from .loading import load_weights, read_config, resolve
from .models import MASKERS
from .proposals import Proposing, proposed

Size = tuple[int, int]  # (H, W)


@dataclass(frozen=True)
class Frame:
    """How a photo lies in the square that a network takes."""

    side: int  # of the square
    inner: Size  # of the photo in it, at the top left; what is left over is padded


@dataclass(frozen=True)
class Adapter:
    """What differs between the kinds."""

    model_class: str
    side: Callable[[Any], int]  # config -> side of the square
    inner: Callable[[Size, int], Size]  # photo and side -> Frame.inner
    clamp: float = float("inf")  # of logits before they are resized


@dataclass(frozen=True)
class Masker:
    """A frozen network that draws a mask around a point, in float32: points in half precision would lie elsewhere."""

    model: Any
    name: str  # short name, hub id or folder, as the user gave it
    adapter: Adapter

    @torch.no_grad()
    def __call__(self, image: np.ndarray, how: Proposing) -> np.ndarray:
        """(H, W, 3) uint8 RGB -> (H, W) int64 ids of everything in it (spec 2.11.9).

        Raises ModelError where the network gives no numbers.
        """
        size = (image.shape[0], image.shape[1])
        side = self.adapter.side(self.model.config)
        frame = Frame(side, self.adapter.inner(size, side))
        embeddings = self.model.get_image_embeddings(self._pixels(image, frame))
        full = partial(_full, frame=frame, size=size, clamp=self.adapter.clamp)
        return proposed(partial(self._prompted, embeddings, frame), full, size, how)

    def _pixels(self, image: np.ndarray, frame: Frame) -> Tensor:
        """(1, 3, side, side), normalised as ImageNet's; the padding is zero."""
        weight = next(self.model.parameters())
        pixels = torch.from_numpy(image).to(weight.device).movedim(-1, 0)[None].float()
        small = F.interpolate(pixels, size=frame.inner, mode="bilinear", antialias=True).round() / 255
        mean, std = (
            torch.tensor(parts, device=weight.device)[:, None, None] for parts in (IMAGENET.mean, IMAGENET.std)
        )
        height, width = frame.inner
        return F.pad((small - mean) / std, (0, frame.side - width, 0, frame.side - height)).to(weight)

    def _prompted(self, embeddings: Any, frame: Frame, points: Tensor) -> tuple[Tensor, Tensor]:
        """As `Prompted` has it."""
        height, width = frame.inner
        first = embeddings if isinstance(embeddings, Tensor) else embeddings[-1]
        placed = (points * torch.tensor([width, height])).to(first)[None, :, None]  # (1, n, 1, 2)
        labels = torch.ones(placed.shape[:3], dtype=torch.int64, device=first.device)
        found = self.model(
            image_embeddings=embeddings, input_points=placed, input_labels=labels, multimask_output=False
        )
        logits, quality = found.pred_masks[0, :, 0], found.iou_scores[0, :, 0]
        if not sound(first.abs().amax(), logits):
            raise unsound(self.name, self.model.state_dict(), torch.float32)
        return logits, quality


def _full(logits: Tensor, frame: Frame, size: Size, clamp: float) -> Tensor:
    """(n, h, w) in the square -> (n, H, W): the padding cut off, and resized as the releases do."""
    maps = logits[None].clamp(-clamp, clamp)
    if frame.inner != (frame.side, frame.side):
        maps = F.interpolate(maps, size=(frame.side, frame.side), mode="bilinear")
        maps = maps[..., : frame.inner[0], : frame.inner[1]]
    return F.interpolate(maps, size=size, mode="bilinear")[0]


def _long_side(size: Size, side: int) -> Size:
    """The photo with its long side as the square's."""
    scale = side / max(size)
    return max(1, int(size[0] * scale + 0.5)), max(1, int(size[1] * scale + 0.5))


def _whole(size: Size, side: int) -> Size:
    """The photo stretched over the square."""
    return side, side


def _first(side: Any) -> int:
    return int(side[0] if isinstance(side, (list, tuple)) else side)


SAM = Adapter("SamModel", lambda config: int(config.vision_config.image_size), _long_side)
SAM2 = Adapter("Sam2Model", lambda config: _first(config.vision_config.backbone_config.image_size), _whole, clamp=32.0)
ADAPTERS = {"sam": SAM, "sam2": SAM2, "sam2_video": SAM2}
"""By the model_type of a folder's config; those of SAM 2 are of its model of videos."""


def load_masker(name: str, device: torch.device, offline: bool = False) -> Masker:
    """Open a SAM or a SAM 2 by a short name of MASKERS, a hub id or a local folder. Raises ModelError."""
    folder = resolve(MASKERS.get(name, name), offline, guide=True)
    kind = read_config(folder).get("model_type")
    if kind not in ADAPTERS:
        what = f"model {name!r} is of type {kind!r}, which draws no masks around points"
        raise ModelError(what, f"give a SAM or SAM 2: {', '.join(MASKERS)}, a hub id or a local folder")
    import transformers

    adapter = ADAPTERS[kind]
    model_class = getattr(transformers, adapter.model_class, None)
    if model_class is None:
        raise ModelError(f"this transformers has no {adapter.model_class}", "update it: pip install -U transformers")
    model = load_weights(model_class, folder, offline)
    return Masker(model.to(device), name, adapter)

"""Maps by experts: what a window's features say to every expert's words, and whose vote counts (FLOSS, spec 2.14)."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import OptionError
from ..maps.experts import Voice, fuse
from ..words.banked import BankedRows
from ..words.voting import ExpertRows, Text
from .stages import Opened

Give = Callable[[Opened], Tensor]
"""What is taken of a block that all stages have been through, (B, C, h, w): its cosines, unless said otherwise."""
BYTES = 2**28  # of cosines with single templates that are held at once
WITHOUT = {"experts": "another set of templates", "a memory bank": "leave the bank out"}
STRAIGHT = 1e-2  # how far a readout may be from straight, of the largest cosine: half precision rounds by less


def scores(opened: Opened, text: Text, scale: float, size: tuple[int, int] | None) -> Tensor:
    """What windows say: cosines (B, Q, h, w), a memory bank's share in them, or probabilities that experts voted for.

    Those vote patch by patch, which holds no more than cosines do; at `size`, the windows' (height, width), pixel by
    pixel as published: (B, Q, *size). `scale` multiplies cosines before the softmax.
    """
    if isinstance(text, Tensor):
        return opened.cosines()
    if isinstance(text, BankedRows):
        return text.scores(features(opened, "a memory bank"))
    return torch.stack([voted(window, text, scale, size) for window in features(opened)])


def features(opened: Opened, who: str = "experts") -> Tensor:
    """What cosines are taken of: (B, E, h, w) float32, of length 1 where the readout is the tower's own.

    Raises OptionError for a readout of a stage's own that is not straight in the text: nobody else, such as experts,
    could read by it.
    """
    width = opened.batch.text.shape[1]
    axes = torch.eye(width, device=opened.batch.text.device)
    found = replace(opened, batch=replace(opened.batch, text=axes)).cosines()
    if opened.read:
        cosines = opened.cosines()
        far = (torch.einsum("qe,behw->bqhw", opened.batch.text, found) - cosines).abs().max()
        if far > STRAIGHT * cosines.abs().max():
            what = f"{who} came with method {opened.method}, whose scores are no cosines"
            raise OptionError(what, f"take another method, or {WITHOUT[who]}")
    return found


def voted(window: Tensor, text: ExpertRows, scale: float, size: tuple[int, int] | None) -> Tensor:
    """Features (E, h, w) of a window -> fused probabilities (Q, h, w), or at `size` (Q, *size)."""
    patches, (templates, queries) = window.flatten(1).T, text.table.shape[:2]  # (N, E)
    if size is None:
        together = max(1, BYTES // (4 * templates * queries))
        parts = [_fused(part, text, lambda cosines: (cosines * scale).softmax(1).T) for part in patches.split(together)]
        return torch.cat(parts, 1).unflatten(1, window.shape[1:])

    def at_pixels(cosines: Tensor) -> Tensor:
        made = (cosines * scale).softmax(1).T.unflatten(1, window.shape[1:])
        return F.interpolate(made[None], size=size, mode="bilinear")[0]

    return _fused(patches, text, at_pixels, everybody=True)


def _fused(
    patches: Tensor, text: ExpertRows, probability: Callable[[Tensor], Tensor], everybody: bool = False
) -> Tensor:
    """Patches (N, E) -> fused probabilities. `probability` makes them of cosines (N, Q).

    Where the place of a vote is a patch, a panel that wins none need not be asked: hardly any of many words' does.
    """
    similar = torch.einsum("ne,tqe->tnq", patches, text.table)

    def voices() -> Iterator[Voice]:
        for panel in text.panels:
            cosines = similar[panel.templates].mean(0) / panel.length
            if everybody or panel.experts[cosines.argmax(1)].any():
                yield Voice(probability(cosines), panel.experts)

    return fuse(voices(), probability(patches @ text.mean.T))

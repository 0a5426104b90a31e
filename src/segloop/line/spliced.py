"""Trident's way over a whole photo (spec 2.12): windows are mixed and spliced, SAM joins what belongs together.

The last block's path stays cut open: what windows hand over are values before W_o, which both mixings and every resize
leave to the end, since their weights sum to 1. So the joined map is a block of one sample, and feedback works on it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor

from ..attention.affinity import SideBySide, Trident
from ..attention.operators import Operator, Shared, mean_similarity, proxy_weights
from ..attention.types import LastBlock, Needs
from ..backbones.samview import Sam, View
from ..backbones.tower import Tower
from ..choice.settings import Surroundings
from ..errors import OptionError
from ..maps.splice import in_whole_patches, splice
from .stages import Batch, Opened, resample
from .whole import Whole


@dataclass(frozen=True)
class Spliced:
    """Windows on the guide's grid -> one block over SAM's grid, whose attention is SAM's affinity.

    Both fidelities take the mean over all windows, and SAM's whole patches for the whole photo: of a side that is no
    multiple of a patch, what is left over is stretched.
    """

    constants: Trident
    makes_one_map: ClassVar[bool] = True
    in_one_step: ClassVar[bool] = True  # the map goes from SAM's grid to the photo, not by way of the network's size

    def needs(self, depth: int) -> Needs:
        """The guide's features."""
        return Needs(guide=True)

    def hand(self, opened: Opened) -> Tensor:
        """Values and features of the guide: (B, D + C, rows, columns) float32. Raises OptionError without a guide."""
        block = opened.block
        if block.guide is None:
            raise OptionError(
                "trident needs the features of a vision model", "name one with --vision, such as dino-b16"
            )
        values = block.v.mT.flatten(1, 2).unflatten(-1, block.grid)
        return torch.cat([values.float(), block.guide.float()], 1)

    def join(self, whole: Whole) -> Opened:
        """All windows mixed under one mean, spliced, on SAM's grid. Raises OptionError for windows that cut patches."""
        tower = whole.tower
        if not in_whole_patches(whole.where, tower.patch) and len(whole.handed) > 1:
            remedy = f"give crop and stride in multiples of {tower.patch} pixels"
            raise OptionError("trident joins windows at whole patches, and these cut some", remedy)
        heads, width = _heads(tower)
        values, guide = whole.handed.split([heads * width, whole.handed.shape[1] - heads * width], 1)
        joined = splice(self._mixed(values, guide), whole.where, tower.patch)
        sam: Sam = whole.models["affinity"]
        views = [sam.look(frame) for frame in sam.frames(whole.image(), 2 if self.constants.affinity_halves else 1)]
        joined, mix = self._on_grids(joined, views)
        grid = (joined.shape[-2], joined.shape[-1])
        tokens = joined.flatten(1).T[None].to(tower.dtype)
        v = tokens.unflatten(-1, (heads, width)).transpose(1, 2)
        block = LastBlock(v, v, v, width**-0.5, grid, has_class_token=False)  # no q and k: the attention is there
        batch = Batch(tower, grid, whole.text, v.new_empty(1, 3, 0, 0))  # nor windows
        return Opened(batch, {}, block, tokens, lambda _: mix, Surroundings(), method="trident")

    def _mixed(self, values: Tensor, guide: Tensor) -> Tensor:
        """Every window by how alike its patches look, as ProxyCLIP has it, but for one mean of all windows (2.12.3)."""
        mean, mixed = mean_similarity(guide).mean(), torch.empty_like(values)
        for number, (own, features) in enumerate(zip(values, guide, strict=True)):
            weights = proxy_weights(features[None], self.constants.beta, self.constants.gamma, mean)[0]
            mixed[number] = (weights @ own.flatten(1).T).T.view_as(own)
        return mixed

    def _on_grids(self, joined: Tensor, views: Sequence[View]) -> tuple[Tensor, Operator]:
        """(D, R, C), cut as SAM has looked at the photo -> on SAM's grids, side by side, and their affinities."""
        width, count = joined.shape[-1], len(views)
        ends = [width * number // count for number in range(count + 1)]
        cuts = [joined[..., start:end] for start, end in pairwise(ends)]
        maps = [resample(part[None], view.grid)[0] for part, view in zip(cuts, views, strict=True)]
        parts = [Shared(view.affinity(self.constants)[None].to(view.x.dtype)) for view in views]
        found = torch.cat(maps, -1)
        return found, parts[0] if count == 1 else SideBySide(tuple(parts), tuple(view.grid[1] for view in views))


@torch.no_grad()
def _heads(tower: Tower) -> tuple[int, int]:
    """How many heads its last block has, and how wide each is: a tower does not say, and one patch tells it."""
    pixels = torch.zeros(1, 3, tower.patch, tower.patch, device=tower.device)
    x, _ = tower.tokens(pixels, (), tower.depth)  # no block is run
    value = tower.open_block(x, (1, 1)).v
    return value.shape[1], value.shape[3]

"""CorrCLIP's branches as a stage (spec 2.11.5, 2.11.6): values of earlier blocks, and what each region is as a whole.

It stands on any host. On CorrCLIP's own, attention lies within the regions that this stage has merged. The values of
both branches are mixed in one product, side by side in every head, so that feedback changes the mixing of both.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ..attention.corrclip import NO_REGIONS, CorrCLIP, copies, spatial_blocks
from ..attention.regions import as_published, merged, near
from ..attention.types import Needs
from ..backbones.tower import Beside, Tower
from ..errors import OptionError
from .stages import BlockReadout, Opened


@dataclass(frozen=True)
class Branching:
    """CorrCLIP's branches, on the host that stands before them in the line."""

    constants: CorrCLIP  # settled `on` the tower's depth

    def needs(self, depth: int) -> Needs:
        """Outputs of the spatial branch's blocks, and of all for the semantic one."""
        spatial = set(spatial_blocks(depth)) if self.constants.spatial_weight else set()
        semantic = set(range(depth)) if self.constants.semantic_weight else set()
        return Needs(states=frozenset(spatial | semantic))

    def __call__(self, opened: Opened) -> Opened:
        """Merges regions, adds the branches. Raises OptionError without regions, or without a class token."""
        constants, ids, values = self.constants, self._ids(opened), opened.block.v
        beside: list[tuple[float, Tensor]] = []
        if constants.semantic_weight:
            beside.append((constants.semantic_weight, _semantic(opened, ids)))
        if constants.spatial_weight:
            values = torch.cat([values, _spatial(opened)], -1)
        read = opened.read

        def branched(opened: Opened) -> Branched:
            own = replace(opened, read=read).readout
            if not isinstance(own, BlockReadout):
                raise OptionError(f"corrclip came on {opened.method}, which reads by itself", "name another host")
            return Branched(own, constants.spatial_weight, tuple(beside))

        block = replace(opened.block, v=values, regions=ids)
        return replace(opened, block=block, read=branched)

    def _ids(self, opened: Opened) -> Tensor:
        """The regions that patches of the working grid lie in: (B, h, w). Merged by what the guide says, if any."""
        block, distance = opened.block, self.constants.merge_distance
        if block.regions is None:
            raise OptionError("corrclip needs the photo's regions", NO_REGIONS)
        grid = block.grid if block.guide is None else (block.guide.shape[-2], block.guide.shape[-1])
        ids = near(block.regions, grid)
        if self.constants.unsegmented == "lowest":
            ids = as_published(ids)
        if distance is not None and block.guide is not None:
            ids = merged(ids, block.guide, distance)
        return near(ids, block.grid)


@dataclass(frozen=True)
class Branched:
    """The path from both branches' mixed values to cosines: they, and what is `beside` them, join before P."""

    own: BlockReadout  # the host's
    spatial_weight: float  # 0: values are of one branch
    beside: Beside
    positional: bool = True

    def __call__(self, mixed: Tensor) -> Tensor:
        """(B, h, N, d or 2 d), patches only -> (B, N, Q) float32."""
        own, others = self.own, list(self.beside)
        if self.spatial_weight:
            mixed, spatial = mixed.chunk(2, -1)
            others.append((self.spatial_weight, own.clip.close_block(spatial, None, False, own.index)))
        return own.clip.cosines(own.tokens(mixed), own.text, others)


def _spatial(opened: Opened) -> Tensor:
    """The last block's values of the mean output of earlier blocks: (B, h, N, d) on the working grid."""
    tower = opened.batch.tower
    blocks = [opened.states[number] for number in spatial_blocks(tower.depth)]
    return opened.opened_for(torch.stack(blocks).mean(0)).v


def _semantic(opened: Opened, ids: Tensor) -> Tensor:
    """U^c: for each patch of the working grid, its region's copy of the class token behind the last block, (B, N, D).

    Regions are told on CLIP's own grid, and placed from there (spec 2.11.6).
    """
    tower, grid = opened.batch.tower, opened.batch.grid
    if not tower.first_patch:
        what = f"corrclip copies the class token, and {tower.name} has none"
        raise OptionError(what, "take another method, or semantic_weight=0")
    found = copies(near(ids, grid))
    ends = class_copies(tower, [opened.states[number] for number in range(tower.depth)], found.mask(), grid)
    place = near(found.place.unflatten(1, grid), opened.block.grid).flatten(1)
    return ends.gather(1, place[..., None].expand(-1, -1, ends.shape[-1]))


def class_copies(tower: Tower, inputs: list[Tensor], mask: Tensor, grid: tuple[int, int]) -> Tensor:
    """Copies of the class token that see what `mask` (B, 1, R, 1+N) allows, behind the last block: (B, R, D).

    `inputs` are those of all blocks, (B, 1+N, D) each. Ordinary tokens do not see copies, nor do copies each other or
    themselves, so that R more queries for every block's keys and values are all there is to do (spec 2.11.5).
    """
    tokens = inputs[0][:, :1].expand(-1, mask.shape[2], -1)
    for number, x in enumerate(inputs):
        block, own = tower.open_block(x, grid, number), tower.open_block(tokens, (1, mask.shape[2]), number)
        mixed = F.scaled_dot_product_attention(own.q, block.k, block.v, attn_mask=mask, scale=block.scale)
        tokens = tower.close_block(mixed, tokens, True, number)
    return tokens

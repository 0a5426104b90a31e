"""The last block as a line of stages: each takes it opened and gives it back changed, and says what it needs for that.

Host, guide grid, purification and feedback are stages, and whatever a method's row brings, so that feedback on
purification on a vision model's attention is a composition and no case of its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial, reduce
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ..attention.feedback import Readout
from ..attention.operators import product
from ..attention.types import Asked, Attention, Earlier, LastBlock, Mix, Needs, States
from ..backbones.finite import HALVES
from ..backbones.tower import Tower
from ..choice.settings import Surroundings
from ..errors import OptionError

PAIRS = 2**26  # pairs of patches whose shared attention is held at once, in float32 256 MiB


@dataclass(frozen=True)
class Batch:
    """What a stage may know of a batch of windows before its last block is opened."""

    tower: Tower
    grid: tuple[int, int]  # (rows, columns) of the tower's patches
    text: Tensor  # (Q, E) float32, unit rows
    pixels: Tensor  # (B, 3, H, W), normalised as the tower has it
    regions: Tensor | None = None  # (B, H, W) int64, ids of the pixels where masks came; see LastBlock

    def part(self, samples: slice) -> "Batch":
        """Some of its windows."""
        regions = None if self.regions is None else self.regions[samples]
        return replace(self, pixels=self.pixels[samples], regions=regions)


@dataclass(frozen=True)
class BlockReadout:
    """The host's path from mixed values to cosines: W_o [+ residual] [+ MLP], head, text (spec 0.3)."""

    clip: Tower
    text: Tensor  # (Q, E) float32
    residual: Tensor | None  # (B, N, D)
    mlp: bool
    index: int = -1  # of the block
    finish: Callable[[Tensor], Tensor] | None = None  # what purification does to the block's output

    @property
    def positional(self) -> bool:
        """Whether the same values read differently at different patches."""
        return self.residual is not None or self.finish is not None

    def __call__(self, mixed: Tensor) -> Tensor:
        """(B, h, N, d), patches only -> (B, N, Q) float32."""
        return self.clip.cosines(self.tokens(mixed), self.text)

    def tokens(self, mixed: Tensor) -> Tensor:
        """What the head reads: (B, h, N, d), patches only -> (B, N, D)."""
        tokens = self.clip.close_block(mixed, self.residual, self.mlp, self.index)
        return self.finish(tokens) if self.finish else tokens


@dataclass(frozen=True)
class Opened:
    """The last block of some windows, opened: what stages change. Made by `open_last` as the tower itself has it."""

    batch: Batch
    states: States  # what was asked for, and the input of the last block
    block: LastBlock  # q, k, v on the working grid: the tower's own, or a guide's
    tokens: Tensor  # (B, N, D) on the working grid, patches only: what the block adds where its input is kept
    attention: Attention
    around: Surroundings
    method: str = "clip"  # whose attention it is, for errors
    finish: Callable[[Tensor], Tensor] | None = None  # behind W_o: (B, N, D) -> (B, N, D)
    read: Callable[["Opened"], Readout] | None = None  # a path from mixed values to cosines of a stage's own
    mixed: Tensor | None = None  # (B, h, N, d), where a stage has mixed already

    @cached_property
    def mix(self) -> Mix:
        """The attention's operator for this block."""
        return self.attention(self.block)

    @property
    def readout(self) -> Readout:
        """The path from mixed values to cosines: (B, h, N, d), patches only -> (B, N, Q) float32."""
        if self.read:
            return self.read(self)
        kept = self.tokens if self.around.residual else None
        return BlockReadout(self.batch.tower, self.batch.text, kept, self.around.mlp, finish=self.finish)

    def place(self, tokens: Tensor) -> Tensor:
        """Patches (B, N, C) of the tower's grid on the working grid: the same, or resampled (B, N', C)."""
        if self.block.grid == self.batch.grid:
            return tokens
        return resample(tokens.mT.unflatten(-1, self.batch.grid), self.block.grid).flatten(2).mT

    def earlier(self, number: int) -> LastBlock:
        """Block `number`, from 1, opened on the working grid. A stage asks for it by `Needs(blocks=...)`."""
        return self.opened_for(self.states[number - 1], number - 1)

    def opened_for(self, x: Tensor, index: int = -1) -> LastBlock:
        """A block (-1: the last) opened for an input (B, [1+]N, D) on the tower's grid; on the working grid."""
        block = self.batch.tower.open_block(x, self.batch.grid, index)
        if self.block.grid == self.batch.grid and self.block.has_class_token == block.has_class_token:
            return block
        return _moved(replace(block, x=_opened_tokens(self.batch.tower, x)), self.block.grid)

    def cosines(self) -> Tensor:
        """(B, Q, h, w) float32 on the working grid. Raises OptionError where the Mix does not keep shapes."""
        values = self.block.v
        mixed = self.mix(values) if self.mixed is None else self.mixed
        if mixed.shape != values.shape:
            what = f"attention {self.method} made {tuple(mixed.shape)} of values {tuple(values.shape)}"
            raise OptionError(what, "a Mix keeps the shape (B, h, N, d)")
        return self.readout(mixed[:, :, self.block.first_patch :]).mT.unflatten(-1, self.block.grid)


class Stage(Protocol):
    """One step of the line. A frozen dataclass; nothing of any window stays in it."""

    def needs(self, depth: int) -> Needs:
        """What it asks for, of a tower of `depth` blocks. Raises OptionError where that cannot be had."""

    def __call__(self, opened: Opened) -> Opened:
        """The block as the next stage finds it."""


class Needing(Protocol):
    """A stage, or what joins windows."""

    def needs(self, depth: int) -> Needs:
        """What it asks for."""


def gather_needs(stages: Sequence[Needing], depth: int) -> Needs:
    """What all stages need together, of a tower of `depth` blocks; the input of the last block always."""
    return reduce(lambda found, stage: found | stage.needs(depth), stages, Needs(frozenset({depth - 1})))


def samples_together(grid: tuple[int, int], features: Tensor | None, needs: Needs) -> int:
    """Samples share nothing, so those whose N x N matrices fit together go together."""
    if not needs.pairs:
        return PAIRS
    patches = features[0, 0].numel() if needs.guide and features is not None else grid[0] * grid[1]
    return max(1, PAIRS // max(1, patches**2))


def open_last(batch: Batch, states: States, guide: Tensor | None = None) -> Opened:
    """The last block as the tower has it: its own attention, input and MLP kept. `guide` is (B, C, H, W)."""
    tower = batch.tower
    x = states[tower.depth - 1]
    block = replace(tower.open_block(x, batch.grid), guide=guide, x=_opened_tokens(tower, x), regions=batch.regions)
    return Opened(batch, states, block, x[:, tower.first_patch :], product("qk"), Surroundings(True, True))


def _opened_tokens(tower: Tower, x: Tensor) -> Tensor:
    """Those that an opened block has: the class token and the patches. Further tokens of some towers are not there."""
    return x if tower.first_patch < 2 else torch.cat([x[:, :1], x[:, tower.first_patch :]], 1)


@dataclass(frozen=True)
class Host:
    """The attention that was chosen, and what is kept around it."""

    method: str
    attention: Attention
    around: Surroundings

    def needs(self, depth: int) -> Needs:
        """Nothing but the last block, unless the attention says what. Raises OptionError for blocks that are not."""
        asked = getattr(self.attention, "needs", None)
        if asked is None:
            return Needs()
        if not callable(asked):
            what = f"needs of attention {self.method} is a {type(asked).__name__}"
            raise OptionError(what, "make it a function: lambda depth: Needs(states=frozenset({depth - 2}))")
        found = asked(depth)
        if not isinstance(found, Needs):
            what = f"needs of attention {self.method} returned {type(found).__name__}"
            raise OptionError(what, "return Needs(states=frozenset({depth - 2}))")
        wrong = [number for number in found.states if number not in range(depth)]
        if wrong:
            what = f"attention {self.method} needs the output of block {wrong[0]!r}"
            raise OptionError(what, f"there are those of 0 (the first one's input) to {depth - 1}")
        wrong = [number for number in found.blocks if number not in range(1, depth)]
        if wrong:
            what = f"attention {self.method} needs queries and keys of block {wrong[0]!r}"
            raise OptionError(what, f"before the last there are those of 1 to {depth - 1}")
        return found

    def __call__(self, opened: Opened) -> Opened:
        """Replaces the tower's own."""
        needs = self.needs(opened.batch.tower.depth)
        states = Asked({number: opened.states[number] for number in needs.states})
        return replace(opened, method=self.method, attention=partial(self._checked, opened, states), around=self.around)

    def _checked(self, opened: Opened, states: States, block: LastBlock) -> Mix:
        numbers = self.needs(opened.batch.tower.depth).blocks
        earlier = Earlier({number: replace(opened, block=block).earlier(number) for number in numbers})
        mix = self.attention(replace(block, states=states, earlier=earlier))
        known = hasattr(mix, "row_sum")  # an operator of segloop's; whatever else is somebody's own
        if not callable(mix):
            what = f"attention {self.method} returned {type(mix).__name__}, not a function"
            raise OptionError(what, "return a Mix: values (B, h, N, d) -> mixed values (B, h, N, d)")
        return mix if known else lambda values: kept(mix(values), values, self.method)


def kept(mixed: Any, values: Tensor, name: str) -> Tensor:
    """What the attention `name`, somebody's own, made of values (B, h, N, d), in their precision.

    Raises OptionError for what is no tensor, for another shape, for complex numbers, and for such as are not finite
    where those of `values` are.
    """
    if not isinstance(mixed, Tensor):  # an array of NumPy has a shape too
        what = f"attention {name} made {type(mixed).__name__} of values {tuple(values.shape)}"
        raise OptionError(what, "a Mix returns a tensor (B, h, N, d)")
    if mixed.shape != values.shape:
        what = f"attention {name} made {tuple(mixed.shape)} of values {tuple(values.shape)}"
        raise OptionError(what, "a Mix keeps the shape (B, h, N, d)")
    if mixed.is_complex():
        raise OptionError(f"attention {name} made complex numbers of real values", "return real ones")
    mixed = mixed.to(values)
    if mixed.isfinite().all() or not values.isfinite().all():
        return mixed
    what = f"attention {name} made NaN or infinity of finite values"
    if values.dtype in HALVES:
        kind = str(values.dtype).removeprefix("torch.")
        raise OptionError(what, f"mend it, or, if it overflows in {kind}, use --dtype float32")
    raise OptionError(what, "mend it")


@dataclass(frozen=True)
class OnGuideGrid:
    """The block without its class token, q, k and v resampled to the grid of a vision model (spec 2.5, step 1)."""

    constants: Any  # of the guide, which has answered by then

    def needs(self, depth: int) -> Needs:
        """The guide's features; its attention is a stored matrix."""
        return Needs(guide=True, pairs=True)

    def __call__(self, opened: Opened) -> Opened:
        """Moves the block, and its input where that is kept. Raises OptionError where there is no guide."""
        block = opened.block
        if block.guide is not None and self.constants.sees_photos:
            block = replace(block, guide=resample(block.guide, finer(opened.batch.grid)))
        moved = replace(opened, block=on_guide_grid(block))
        return replace(moved, tokens=moved.place(opened.tokens)) if opened.around.residual else moved


def finer(grid: tuple[int, int]) -> tuple[int, int]:
    """The grid that a guide of the whole photo lies on, of CLIP's own: two cells a patch and axis (spec 2.11.8)."""
    return 2 * grid[0], 2 * grid[1]


def on_guide_grid(block: LastBlock) -> LastBlock:
    """A block on the tower's grid -> on its guide's, patches only. Raises OptionError where there is none."""
    if block.guide is None:
        raise OptionError("this attention needs the features of a vision model", "name a vision model, such as dino")
    return _moved(block, (block.guide.shape[-2], block.guide.shape[-1]))


def _moved(block: LastBlock, grid: tuple[int, int]) -> LastBlock:
    """A block on the tower's grid -> on another, patches only."""

    def moved(tokens: Tensor) -> Tensor:
        maps = tokens[:, :, block.first_patch :].mT.flatten(1, 2).unflatten(-1, block.grid)
        return resample(maps, grid).flatten(2).unflatten(1, (tokens.shape[1], -1)).mT

    x = None if block.x is None else resample(block.x[:, block.first_patch :].mT.unflatten(-1, block.grid), grid)
    tokens = None if x is None else x.flatten(2).mT
    q, k, v = moved(block.q), moved(block.k), moved(block.v)
    return replace(block, q=q, k=k, v=v, x=tokens, grid=grid, has_class_token=False)


def resample(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear, align_corners False, no antialias: (B, C, H, W) -> (B, C, *size)."""
    return F.interpolate(maps, size=size, mode="bilinear")

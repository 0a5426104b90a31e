"""One window through the frozen networks: pixels and text rows -> cosines (steps 4 to 10 of the straight line)."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from .attention import product
from .backbones.clip import AfterBlock, Clip
from .backbones.shared import Memory
from .backbones.vision import Guide
from .errors import OptionError, UserError
from .plan import Plan
from .purified import States, mend_each, purify, states_needed
from .types import LastBlock, Mix

PAIRS = 2**26  # pairs of patches whose shared attention is held at once, in float32 256 MiB


@dataclass(frozen=True)
class Readout:
    """The host's path from mixed values to cosines: W_o [+ residual] [+ MLP], head, text (spec 0.3)."""

    clip: Clip
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
        tokens = self.clip.close_block(mixed, self.residual, self.mlp, self.index)
        return self.clip.cosines(self.finish(tokens) if self.finish else tokens, self.text)


@dataclass(frozen=True)
class Network:
    """CLIP, the guide and the plan that joins them."""

    clip: Clip
    plan: Plan
    guide: Guide | None = None
    memory: Memory | None = None  # shared with other plans on the same networks

    @torch.no_grad()
    def logits(self, pixels: Tensor, text: Tensor) -> Tensor:
        """Raw cosines on the working grid: CLIP-normalised (B, 3, H, W), rows (Q, E) -> (B, Q, h, w) float32.

        Raises UserError for other shapes, OptionError where an attention of your own changes the shape of values.
        """
        if pixels.ndim != 4 or pixels.shape[1] != 3:
            raise UserError(f"pixels of shape {tuple(pixels.shape)}", "give CLIP-normalised (B, 3, H, W)")
        pixels, text = pixels.to(self.clip.device), text.to(self.clip.device, torch.float32)
        grid = self.clip.grid(pixels)
        states = self._before_last(pixels, grid, text)
        features = self._features(pixels)
        # samples share nothing, so those whose N x N matrices fit together go together
        together = max(1, PAIRS // max(1, self._patches(grid, features) ** 2))
        cosines = []
        for start in range(0, max(1, len(pixels)), together):
            part = slice(start, start + together)
            some = {number: x[part] for number, x in states.items()}
            cosines.append(self._last_block(some, grid, None if features is None else features[part], text))
        return torch.cat(cosines)

    @torch.no_grad()
    def opened(self, pixels: Tensor, text: Tensor) -> tuple[LastBlock, Mix, Readout]:
        """What `logits` works on, to be looked at: the last block, the host's attention, its path to cosines.

        CLIP-normalised (B, 3, H, W), rows (Q, E); all samples at once, so give few.
        """
        pixels, text = pixels.to(self.clip.device), text.to(self.clip.device, torch.float32)
        grid = self.clip.grid(pixels)
        features = self._features(pixels)
        return self._opened(self._before_last(pixels, grid, text), grid, features, text)

    def _patches(self, grid: tuple[int, int], features: Tensor | None) -> int:
        """N of the N x N matrices that the attention stores; 0 where it stores none."""
        if self.plan.variant.on_guide_grid and features is not None:
            return features[0, 0].numel()
        return grid[0] * grid[1] if self.plan.purify else 0

    def _before_last(self, pixels: Tensor, grid: tuple[int, int], text: Tensor) -> States:
        """(B, 3, H, W) -> outputs of blocks by number, (B, 1+N, D): of the last but one, and what the plan looks at.

        With `feedback_layers` above 1, blocks before the last listen too. Those keep their own query-key attention,
        residual and MLP; what they would say is read through CLIP's head.
        """
        clip, feedback, sfp = self.clip, self.plan.feedback, self.plan.purify
        listening = feedback.feedback_layers if feedback else 1
        if listening > clip.depth:
            what = f"feedback_layers={listening} is not possible"
            raise OptionError(what, f"{clip.name} has {clip.depth} blocks")
        needed = states_needed(sfp, clip.depth) if sfp else set()
        mend = mend_each(clip, sfp, grid)
        x, states = self._tokens(pixels, needed, listening, mend)
        for index in range(-listening, -1):
            block = clip.open_block(x, grid, index)
            mix = product("qk")(block)
            readout = Readout(clip, text, x[:, 1:], mlp=True, index=index)
            mixed = feedback(mix, block.v, readout, class_token=True) if feedback else mix(block.v)
            before, x = x, clip.close_block(mixed, x, mlp=True, index=index)
            number = clip.depth + 1 + index
            x = mend(number, before, x) if mend else x
            states = states | {number: x} if number in needed else states
        return states | {clip.depth - 1: x}

    def _features(self, pixels: Tensor) -> Tensor | None:
        guide, crop = self.guide, self.plan.settings.crop
        if guide is None or self.memory is None:
            return guide(pixels, crop) if guide else None
        return self.memory.recall((id(guide), crop), pixels, lambda: guide(pixels, crop))

    def _tokens(
        self, pixels: Tensor, needed: set[int], listening: int, mend: AfterBlock | None
    ) -> tuple[Tensor, dict[int, Tensor]]:
        if self.memory is None or mend is not None:
            return self.clip.tokens(pixels, needed, listening, mend)
        what = id(self.clip), frozenset(needed), listening
        return self.memory.recall(what, pixels, lambda: self.clip.tokens(pixels, needed, listening))

    def _last_block(self, states: States, grid: tuple[int, int], features: Tensor | None, text: Tensor) -> Tensor:
        """Outputs of blocks (B, 1+N, D) -> (B, Q, h, w): open, host attention, feedback, read out."""
        plan = self.plan
        block, mix, readout = self._opened(states, grid, features, text)
        first = 1 if block.has_class_token else 0
        if plan.feedback:
            mixed = plan.feedback(mix, block.v, readout, class_token=block.has_class_token)
        else:
            mixed = mix(block.v)
        if mixed.shape != block.v.shape:
            what = f"attention {plan.method} made {tuple(mixed.shape)} of values {tuple(block.v.shape)}"
            raise OptionError(what, "a Mix keeps the shape (B, h, N, d)")
        return readout(mixed[:, :, first:]).mT.unflatten(-1, block.grid)

    def _opened(
        self, states: States, grid: tuple[int, int], features: Tensor | None, text: Tensor
    ) -> tuple[LastBlock, Mix, Readout]:
        """The last block, the host's attention, and its path to cosines."""
        plan, finish = self.plan, None
        constants = {name: getattr(plan.settings, name) for name in plan.variant.constants}
        attention = partial(plan.variant.attention, **constants)
        if plan.purify:
            purified = purify(self.clip, plan.purify, states, grid, attention)
            block, patches, finish = purified.block, purified.tokens, purified.finish
            mix: Mix = purified.mix
        else:
            x = states[self.clip.depth - 1]
            block, patches = replace(self.clip.open_block(x, grid), guide=features), x[:, 1:]
            if plan.variant.on_guide_grid:
                block = on_guide_grid(block)
                if plan.residual:
                    patches = resample(patches.mT.unflatten(-1, grid), block.grid).flatten(2).mT
            mix = attention(block)
        return block, mix, Readout(self.clip, text, patches if plan.residual else None, plan.mlp, finish=finish)


def on_guide_grid(block: LastBlock) -> LastBlock:
    """The block without its class token, q, k and v resampled to the guide's grid (spec 2.5, step 1)."""
    if block.guide is None:
        raise OptionError("this attention needs the features of a vision model", "name one with vision=, such as dino")
    grid = (block.guide.shape[-2], block.guide.shape[-1])

    def moved(tokens: Tensor) -> Tensor:
        maps = tokens[:, :, 1:].mT.flatten(1, 2).unflatten(-1, block.grid)
        return resample(maps, grid).flatten(2).unflatten(1, (tokens.shape[1], -1)).mT

    return replace(block, q=moved(block.q), k=moved(block.k), v=moved(block.v), grid=grid, has_class_token=False)


def resample(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear, align_corners False, no antialias: (B, C, H, W) -> (B, C, *size)."""
    return F.interpolate(maps, size=size, mode="bilinear")

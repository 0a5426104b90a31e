"""Windows through the frozen networks: pixels and text rows -> cosines (steps 4 to 10 of the straight line)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ..attention.feedback import FSA
from ..attention.purify import SFP
from ..attention.types import Needs, States
from ..backbones.shared import Memory
from ..backbones.tower import Tower
from ..backbones.vision import Guide
from ..choice.plan import Guidance, Plan
from ..common.world import recorded
from ..errors import UserError
from .fed import Fed
from .purified import Purified
from .stages import Batch, Host, OnGuideGrid, Opened, Stage, gather_needs, open_last

PAIRS = 2**26  # pairs of patches whose shared attention is held at once, in float32 256 MiB


STAGES: Mapping[type, Callable[[Any], Stage]] = {Guidance: OnGuideGrid, SFP: Purified, FSA: Fed}
"""The stage that a record of constants stands for; any other record of a plan is a stage itself."""


def stages_of(plan: Plan) -> tuple[Stage, ...]:
    """The line of a plan: host, then what its records ask for, in this order."""
    host = Host(plan.host or plan.method, plan.attention, plan.around)
    records = (plan.guidance, plan.purify, *plan.stages, plan.feedback)
    return (host, *(_stage(record) for record in records if record))


def _stage(record: Any) -> Stage:
    made = STAGES.get(type(record))
    return made(record) if made else record


@dataclass(frozen=True)
class Network:
    """A CLIP, the guide and the plan that joins them."""

    clip: Tower
    plan: Plan
    guide: Guide | None = None
    memory: Memory | None = None  # shared with other plans on the same networks

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """The line that every window goes through."""
        return stages_of(self.plan)

    @cached_property
    def code(self) -> dict[str, Any]:
        """Code of the user's own that it runs, as records have it: hashes by file, and what no hash covers."""
        features = self.guide.adapter.features if self.guide else None
        used = {"code": (self.plan.attention, *self.plan.stages), "rows_code": (self.plan.rows,)}
        return recorded({**used, "vision_code": (features,)})

    @torch.no_grad()
    def logits(self, pixels: Tensor, text: Tensor) -> Tensor:
        """Raw cosines on the working grid: normalised (B, 3, H, W), rows (Q, E) -> (B, Q, h, w) float32.

        Raises UserError for other shapes, OptionError where an attention of your own changes the shape of values.
        """
        if pixels.ndim != 4 or pixels.shape[1] != 3:
            raise UserError(f"pixels of shape {tuple(pixels.shape)}", "give CLIP-normalised (B, 3, H, W)")
        batch, states, features = self.encoded(pixels, text)
        together = _samples_together(batch.grid, features, gather_needs(self.stages, self.clip.depth))
        cosines = []
        for start in range(0, max(1, len(pixels)), together):
            part = slice(start, start + together)
            some = {number: x[part] for number, x in states.items()}
            opened = self._through(open_last(batch, some, None if features is None else features[part]))
            cosines.append(opened.cosines())
        return torch.cat(cosines)

    @torch.no_grad()
    def opened(self, pixels: Tensor, text: Tensor) -> Opened:
        """What `logits` works on, before feedback, to be looked at; all samples at once, so give few."""
        batch, states, features = self.encoded(pixels, text)
        return self._through(open_last(batch, states, features), but=Fed)

    def _through(self, opened: Opened, but: type | tuple[()] = ()) -> Opened:
        for stage in self.stages:
            opened = opened if isinstance(stage, but) else stage(opened)
        return opened

    def encoded(self, pixels: Tensor, text: Tensor) -> tuple[Batch, States, Tensor | None]:
        """What the networks say before the last block: states of earlier blocks, and the guide's features.

        (B, 3, H, W), (Q, E) -> the batch, {number: (B, [1+]N, D)} as the stages need them, (B, C, H', W') or None.
        """
        tower = self.clip
        needs = gather_needs(self.stages, tower.depth)
        pixels, text = pixels.to(tower.device), text.to(tower.device, torch.float32)
        batch = Batch(tower, tower.grid(pixels), text)
        return batch, self._states(batch, pixels, needs), self._features(pixels)

    def _states(self, batch: Batch, pixels: Tensor, needs: Needs) -> States:
        """(B, 3, H, W) -> outputs of the blocks that stages need, (B, [1+]N, D), by number."""
        tower, first = self.clip, needs.first_block or self.clip.depth
        keep = frozenset(number for number in needs.states if number < first)

        def ordinary() -> tuple[Tensor, dict[int, Tensor]]:
            return tower.tokens(pixels, keep, tower.depth + 1 - first)

        x, states = self.memory.recall((id(tower), keep, first), pixels, ordinary) if self.memory else ordinary()
        run = needs.around(batch, tower.run_block) if needs.around else tower.run_block
        for number in range(first, tower.depth):
            x = run(number, x)
            states = states | {number: x} if number in needs.states else states
        return states | {tower.depth - 1: x}

    def _features(self, pixels: Tensor) -> Tensor | None:
        guide, how = self.guide, (self.plan.geometry.crop, self.clip.normalisation)
        if guide is None or self.memory is None:
            return guide(pixels, *how) if guide else None
        return self.memory.recall((id(guide), *how), pixels, lambda: guide(pixels, *how))


def _samples_together(grid: tuple[int, int], features: Tensor | None, needs: Needs) -> int:
    """Samples share nothing, so those whose N x N matrices fit together go together."""
    if not needs.pairs:
        return PAIRS
    patches = features[0, 0].numel() if needs.guide and features is not None else grid[0] * grid[1]
    return max(1, PAIRS // max(1, patches**2))

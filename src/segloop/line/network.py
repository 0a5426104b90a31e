"""Windows through the frozen networks: pixels and text rows -> cosines (steps 4 to 10 of the straight line)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import dropwhile, islice
from math import lcm
from typing import Any

import torch
from torch import Tensor

from ..attention.affinity import Trident
from ..attention.corrclip import CorrCLIP
from ..attention.feedback import FSA
from ..attention.purify import SFP
from ..attention.resclip import ResCLIP
from ..attention.types import Needs, States
from ..backbones.pixels import UNIT, framed
from ..backbones.shared import Memory
from ..backbones.tower import Tower
from ..backbones.vision import Guide
from ..choice.besides import in_whole_patches
from ..choice.plan import Guidance, Plan
from ..common.world import recorded
from ..errors import OptionError, UserError
from ..images import patched_size
from ..maps.propagation import PatchGraph
from ..words.voting import Text, plain_rows
from .branched import Branching
from .fed import Fed
from .photowide import window_features
from .propagated import Propagated
from .purified import Purified
from .rescued import Rescued
from .spliced import Spliced
from .stages import Batch, Host, OnGuideGrid, Opened, Stage, gather_needs, open_last, samples_together
from .steps import Cut
from .voting import Give, scores
from .whole import Joint, Whole, joint_of, windows_alone

STAGES: Mapping[type, Callable[[Any], Any]] = {
    Guidance: OnGuideGrid,
    SFP: Purified,
    ResCLIP: Rescued,
    PatchGraph: Propagated,
    Trident: Spliced,
    CorrCLIP: Branching,
    FSA: Fed,
}
"""The stage that a record of constants stands for; any other record of a plan is a stage itself."""


def stages_of(plan: Plan) -> tuple[Stage, ...]:
    """The line of a plan: host, then what its records ask for, in this order."""
    host = Host(plan.host or plan.method, plan.attention, plan.around)
    guidance = None if plan.beside else plan.guidance
    records = (guidance, plan.purify, *plan.stages, plan.feedback)
    return (host, *(_stage(record) for record in records if record))


def _stage(record: Any) -> Stage:
    made = STAGES.get(type(record))
    return made(record) if made else record


def ordinary_blocks(needs: Needs, depth: int) -> tuple[frozenset[int], int]:
    """Numbers of the blocks that run as they were trained and whose outputs are read, and of the first block behind."""
    first = needs.first_block or depth
    return frozenset(number for number in needs.all_states if number < first), first


@dataclass(frozen=True)
class Network:
    """A CLIP, the guide and the plan that joins them."""

    clip: Tower
    plan: Plan
    guide: Guide | None = None
    memory: Memory | None = None  # shared with other plans on the same networks
    models: Mapping[str, Any] = field(default_factory=dict)  # networks besides, by the settings that named them
    frames: bool = False  # whether each network sees whole patches, black beyond the window, as in LPOSS's release
    by_pixels: bool = False  # where experts vote, as published; else by patches
    engines: tuple[str, ...] = ()  # that run CLIP and the guide; () where torch does

    def __post_init__(self) -> None:
        """Say which blocks it will read, so that CLIP runs once for all that share it."""
        if self.memory:
            keep, first = ordinary_blocks(gather_needs(self.stages, self.clip.depth), self.clip.depth)
            self.memory.want(self.clip, {*keep, first - 1})

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

    @property
    def joint(self) -> Joint | None:
        """The stage that joins the windows of a photo, where the method has one."""
        return joint_of(self.stages)

    @property
    def fit(self) -> Callable[[tuple[int, int]], tuple[int, int]] | None:
        """What a resized photo's sides become, where windows have to end at patches; None: they stay."""
        if not in_whole_patches(self.plan.stages):
            return None
        return partial(patched_size, patch=self.clip.patch, least=self.plan.geometry.crop)

    @property
    def _sees_photos(self) -> bool:
        return self.plan.guidance is not None and self.plan.guidance.sees_photos

    @property
    def multiple(self) -> int:
        """Pixels, of windows that both networks see whole, or one grid would be stretched over the other."""
        guide = None if self._sees_photos else self.guide
        return lcm(self.clip.patch, guide.multiple) if guide else self.clip.patch

    @property
    def guides(self) -> Callable[[Cut], Tensor] | None:
        """What the guide says of a photo, cut with its windows: (n, C, h, w). None where it looks at windows."""
        if not self._sees_photos or self.guide is None:
            return None
        return partial(window_features, self.guide, self.clip, self.plan.geometry.long_side)

    @torch.no_grad()
    def logits(
        self, pixels: Tensor, text: Text, regions: Tensor | None = None, features: Tensor | None = None
    ) -> Tensor:
        """Raw cosines on the working grid: normalised (B, 3, H, W), rows (Q, E) -> (B, Q, h, w) float32.

        With rows of experts they are probabilities, where `by_pixels` at the windows' size. `regions` are ids of the
        pixels, (B, H, W) int64; a method over the whole photo takes each window as one. `features` (B, C, H', W') are
        what a guide would say.
        Raises UserError for other shapes, OptionError where an attention of your own changes the shape of values.
        """
        found = self.windows(pixels, text, regions, features)
        if self.joint is None:
            return found
        alone = windows_alone(pixels, found, text.to(found.device, torch.float32), self.clip, regions)
        return torch.cat([self.joined(one) for one in alone])

    @torch.no_grad()
    def windows(
        self,
        pixels: Tensor,
        text: Text,
        regions: Tensor | None = None,
        features: Tensor | None = None,
        give: Give | None = None,
    ) -> Tensor:
        """Scores as of `logits`, or what windows hand over to a method over the whole photo: (B, C, h, w).

        `give` takes something else of each opened block.
        """
        if not isinstance(pixels, Tensor) or pixels.ndim != 4 or pixels.shape[1] != 3:
            what = f"of shape {tuple(pixels.shape)}" if isinstance(pixels, Tensor) else f"as {type(pixels).__name__}"
            raise UserError(f"pixels came {what}", "give a tensor (B, 3, H, W), CLIP-normalised")
        give = give or self._giving(text, (pixels.shape[-2], pixels.shape[-1]))
        batch, states, features = self.encoded(pixels, plain_rows(text), regions, features)
        together = samples_together(batch.grid, features, gather_needs(self.stages, self.clip.depth))
        found = []
        for start in range(0, max(1, len(pixels)), together):
            part = slice(start, start + together)
            some = {number: x[part] for number, x in states.items()}
            opened = open_last(batch.part(part), some, None if features is None else features[part])
            found.append(self._given(opened, give))
        return torch.cat(found)

    def _giving(self, text: Text, size: tuple[int, int]) -> Give:
        """What text takes of opened blocks, whose windows have this size in pixels."""
        known, scale = text.to(self.clip.device, torch.float32), self.plan.deciding.logit_scale
        return partial(scores, text=known, scale=scale, size=size if self.by_pixels else None)

    def _given(self, opened: Opened, give: Give) -> Tensor:
        joint = self.joint
        for stage in self.stages:
            if joint and stage is joint:
                return joint.hand(opened)
            opened = stage(opened)
        return give(opened)

    @torch.no_grad()
    def joined(self, whole: Whole, give: Give | None = None) -> Tensor:
        """What the windows of a photo have handed over -> scores: (1, Q, h, w) of the whole photo, or (n, Q, h, w).

        `give` as of `windows`. Raises OptionError for experts, and stages, behind a method that gives no attention.
        """
        joint = self.joint
        assert joint is not None
        patch = self.guide.multiple if self.guide else 1
        found = joint.join(replace(whole, guide_patch=patch, models=self.models))
        behind = dropwhile(lambda stage: stage is not joint, self.stages)
        if isinstance(found, Tensor):
            if give or whole.read_by is not None:
                what = f"a memory bank or experts came with method {self.plan.method}, which ends in scores of its own"
                raise OptionError(what, "leave them out, or take another method")
            return found.float()
        for stage in islice(behind, 1, None):
            found = stage(found)
        text = whole.text if whole.read_by is None else whole.read_by
        return (give or self._giving(text, whole.size))(found)

    @torch.no_grad()
    def opened(
        self, pixels: Tensor, text: Tensor, regions: Tensor | None = None, features: Tensor | None = None
    ) -> Opened:
        """What `logits` works on, before feedback, to be looked at; all samples at once, so give few.

        Raises OptionError for a method over the whole photo.
        """
        if self.joint:
            name = self.plan.host or self.plan.method
            what = f"method {name} joins the windows of a photo, and no window has an attention of its own"
            raise OptionError(what, "look at another method")
        batch, states, features = self.encoded(pixels, text, regions, features)
        opened = open_last(batch, states, features)
        for stage in self.stages:
            opened = opened if isinstance(stage, Fed) else stage(opened)
        return opened

    def window(self, photo: Cut, number: int, text: Tensor) -> Opened:
        """What one window of a photo is worked on as, before feedback. Raises as `opened`."""
        some = slice(number, number + 1)
        regions, features = photo.window_regions, self.guides(photo) if self.guides else None
        beside = (None if one is None else one[some] for one in (regions, features))
        return self.opened(photo.windows[some], text, *beside)

    def encoded(
        self, pixels: Tensor, text: Tensor, regions: Tensor | None = None, features: Tensor | None = None
    ) -> tuple[Batch, States, Tensor | None]:
        """What the networks say before the last block: states of earlier blocks, and the guide's features.

        (B, 3, H, W), (Q, E), ids (B, H, W) -> the batch, {number: (B, [1+]N, D)} as the stages need them, and
        (B, C, H', W') or None; `features` are taken where they are given.
        """
        tower = self.clip
        needs = gather_needs(self.stages, tower.depth)
        pixels, text = pixels.to(tower.device), text.to(tower.device, torch.float32)
        regions = None if regions is None else regions.to(tower.device)
        seen = self.seen(pixels)
        batch = Batch(tower, tower.grid(seen), text, seen, regions)
        features = self.features(pixels) if features is None else features.to(tower.device)
        return batch, self.states(batch, seen, needs), features

    def seen(self, pixels: Tensor) -> Tensor:
        """Windows (B, 3, H, W) as CLIP is given them: as they are, or with black up to whole patches."""
        how = self.clip.normalisation
        return framed(pixels, how, self.clip.patch, how) if self.frames else pixels

    def states(self, batch: Batch, pixels: Tensor, needs: Needs) -> States:
        """(B, 3, H, W) -> outputs of the blocks that stages need, (B, [1+]N, D), by number."""
        tower, (keep, first) = self.clip, ordinary_blocks(needs, self.clip.depth)
        if self.memory:
            outputs = self.memory.outputs(tower, pixels)
            x, states = outputs[first - 1], {number: outputs[number] for number in keep if number in outputs}
        else:
            x, states = tower.tokens(pixels, keep, tower.depth + 1 - first)
        run = needs.around(batch, tower.run_block) if needs.around else tower.run_block
        for number in range(first, tower.depth):
            x = run(number, x)
            states = states | {number: x} if number in needs.all_states else states
        return states | {tower.depth - 1: x}

    def features(self, pixels: Tensor) -> Tensor | None:
        """The guide's features of (B, 3, H, W): (B, C, H', W') float32, or None without a guide."""
        guide, crop, given = self.guide, self.plan.geometry.crop, self.clip.normalisation
        if guide and self.frames:
            pixels, given = framed(pixels, given, guide.multiple, UNIT), UNIT
        how = (crop, given)
        if guide is None or self.memory is None:
            return guide(pixels, *how) if guide else None
        return self.memory.recall((id(guide), *how), pixels, lambda: guide(pixels, *how))

"""CorrCLIP (spec 2.11): patches see those of their region, as alike as a vision model finds them.

Its attention, and what its class token's copies see: functions of tensors. `line/branched.py` puts them together.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ..common.products import matmul
from ..common.records import constant, require
from ..errors import OptionError, nearest
from .operators import BLOCK, Shared
from .regions import near
from .types import MARGIN, LastBlock

NO_REGIONS = "give --masks (in Python masks=), such as a folder of masks or sam2"
UNSEGMENTED = ("auto", "zero", "lowest")


def region_weights(guide: Tensor, ids: Tensor, sharpness: float = 4.0) -> Tensor:
    """CorrCLIP's attention (spec 2.11.2, 2.11.4): features (B, C, H, W), ids (B, H, W) -> (B, N, N) float32.

    softmax of `sharpness` S over the patches of one region, and between those of none and all others over those that
    are more alike than the mean of S, each sample's own. The margin is seen by nobody and not in the mean. A patch
    always sees itself, so that flat pictures stay finite. Rows sum to 1.
    """
    unit = F.normalize(guide.float().flatten(2), dim=1)
    weights = matmul(unit.mT, unit)
    for sample, features, names in zip(weights, unit, ids.flatten(1), strict=True):
        inside, loose = names != MARGIN, names <= 0
        middle = (features @ inside.to(features)).square().sum() / inside.sum() ** 2
        step = max(1, BLOCK // len(names))
        for rows, own, free in zip(sample.split(step), names.split(step), loose.split(step), strict=True):
            hidden = torch.where(free[:, None] | loose, rows <= middle, own[:, None] != names) | ~inside
            rows.mul_(sharpness).masked_fill_(hidden, -torch.inf)
        sample.diagonal().copy_(sharpness * features.square().sum(0))
        for rows in sample.split(step):
            rows.copy_(rows.softmax(-1))
    return weights


@dataclass(frozen=True)
class Correlation:
    """CorrCLIP's attention: within regions, as alike as patches look to a vision model. The block lies on its grid."""

    region_sharpness: float = 4.0  # what similarities are multiplied with

    def __post_init__(self) -> None:
        require(self.region_sharpness > 0, "region_sharpness", self.region_sharpness, "above 0")

    def __call__(self, block: LastBlock) -> Shared:
        """The operator of an opened block. Raises OptionError where it has no guide, or no regions."""
        if block.guide is None:
            raise OptionError("corrclip needs the features of a vision model", "name one with --vision, such as dino")
        if block.regions is None:
            raise OptionError("corrclip needs the photo's regions", NO_REGIONS)
        weights = region_weights(block.guide, near(block.regions, block.grid), self.region_sharpness)
        return Shared(weights.to(block.v.dtype))


@dataclass(frozen=True)
class CorrCLIP:
    """The constants of CorrCLIP around its attention; defaults are the published ones. Raises OptionError.

    Either weight may be 0, which is off. Where nothing merges, regions are as the masks have them.
    """

    merge_distance: float | None = 0.2  # regions that are no farther apart become one; None: none do
    spatial_weight: float = constant(1.0, off=0.0)  # of the branch of earlier blocks
    semantic_weight: float = constant(0.5, off=0.0)  # of the branch of the regions' class tokens
    unsegmented: str = "auto"  # what id is no region: "zero", the "lowest" of a window, or what the fidelity has

    def __post_init__(self) -> None:
        distance = self.merge_distance
        require(distance is None or 0 <= distance <= 2, "merge_distance", distance, "0 to 2, or none")
        if self.unsegmented not in UNSEGMENTED:
            raise OptionError(f"unknown unsegmented {self.unsegmented!r}", nearest(self.unsegmented, UNSEGMENTED))

    def on(self, depth: int, reference: bool = False) -> "CorrCLIP":
        """The same with "auto" settled: in `reference`, as in the release, a window's lowest id is no region."""
        settled = "lowest" if reference else "zero"
        return replace(self, unsegmented=settled if self.unsegmented == "auto" else self.unsegmented)


@dataclass(frozen=True)
class Copies:
    """Which patches each copy of the class token sees: one copy a region, those of no region having one too."""

    place: Tensor  # (B, N) int64, the copy of each patch's region
    inside: Tensor  # (B, N) bool, whether it sees the patch
    count: int  # R, copies of a sample; one with fewer regions has copies that nobody reads

    def mask(self, first_patch: int = 1) -> Tensor:
        """What they see among the ordinary tokens (spec 2.11.5): bool (B, 1, R, [1+]N), the class token always."""
        numbers = torch.arange(self.count, device=self.place.device)[:, None]
        seen = (self.place[:, None] == numbers) & self.inside[:, None]
        return F.pad(seen, (first_patch, 0), value=True)[:, None]


def copies(ids: Tensor) -> Copies:
    """One copy for each id of a sample: (B, h, w) on the tower's grid. The margin reads that of no region, unseen."""
    found = [sample.unique(return_inverse=True) for sample in ids.clamp_min(0)]
    place = torch.stack([place.flatten() for _, place in found])
    return Copies(place, ids.flatten(1) != MARGIN, max(len(names) for names, _ in found))


def spatial_blocks(depth: int) -> range:
    """Numbers of the blocks whose outputs make X^s, from 1 (spec 2.11.6): L-1-n to L-2, where n is 5, 12, 28 or L-4.

    The paper has none for a ViT of less than five blocks: there, the nearest that there is, 0 being the first's input.
    """
    count = {12: 5, 24: 12, 32: 28}.get(depth, max(1, depth - 4))
    last = max(0, depth - 2)
    return range(max(0, last - count + 1), last + 1)

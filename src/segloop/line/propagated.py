"""LPOSS as a stage: windows hand over what they look like, and words spread over the patches of all (spec 2.8)."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from ..attention.types import Needs
from ..errors import OptionError
from ..maps.propagation import PatchGraph, patch_graph, patch_places, propagated, where_exact
from .stages import Opened, resample
from .whole import Whole

NO_LENGTH = 1e-12  # features shorter than that have no direction


@dataclass(frozen=True)
class Propagated:
    """Cosines of a photo's patches, spread over a graph in which the guide joins those that it finds alike."""

    constants: PatchGraph
    makes_one_map: ClassVar[bool] = False

    def needs(self, depth: int) -> Needs:
        """The guide's features."""
        return Needs(guide=True)

    def hand(self, opened: Opened) -> Tensor:
        """Unit features of patches in the text's space, and unit features of the guide: (B, E + C, h, w), its grid.

        The former are cosines with the axes of that space, so that whatever the host does on the way is done. Raises
        OptionError where there is no guide.
        """
        guide = opened.block.guide
        if guide is None:
            raise OptionError("lposs needs the features of a vision model", "name a vision model, such as dino-b16")
        text = opened.batch.text
        axes = torch.eye(text.shape[1], dtype=text.dtype, device=text.device)
        own, grid = replace(opened, batch=replace(opened.batch, text=axes)).cosines(), guide.shape[-2:]
        if own.shape[-2:] != grid:
            own = _unit(resample(own, (grid[0], grid[1])))
        return torch.cat([own, _unit(guide)], 1)

    def join(self, whole: Whole) -> Tensor:
        """(n, E + C, h, w) -> scores of the windows, (n, Q, h, w) float32. Raises ImageError for too many patches."""
        windows, _, height, width = whole.handed.shape
        patch = whole.guide_patch
        cell = (patch, patch) if patch > 1 else (whole.where.window[0] / height, whole.where.window[1] / width)
        rows = where_exact(whole.handed).movedim(1, -1).flatten(0, 2)
        own, guide = rows.split([whole.text.shape[1], rows.shape[1] - whole.text.shape[1]], 1)
        places = patch_places(whole.where, (height, width), cell).to(rows.device)
        scores = own @ whole.text.to(rows).T
        found = propagated(scores, patch_graph(guide, places, self.constants), self.constants)
        return found.view(windows, height, width, -1).movedim(-1, 1).to(whole.handed.device)


def _unit(features: Tensor) -> Tensor:
    """(B, C, h, w) with vectors of length 1 along C."""
    return features / features.norm(dim=1, keepdim=True).clamp_min(NO_LENGTH)

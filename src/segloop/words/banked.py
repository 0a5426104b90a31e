"""Text with a memory bank beside it: how a class's prototypes change what its words say.

A word's cosine t with a patch and the patch's cosine b with the nearest prototype of the word's class are not on one
scale: text and image meet at 0.2 or 0.3 in CLIP, two images at 0.8. So b is put onto the scale of t, class by class,
by two points that the bank's own photos give: the means t0, b0 of both over patches where another class wins, and the
means t1, b1 over patches that are surely of this class, t being of its best word:

    s = (1 - w) t + w (t0 + (b - b0) (t1 - t0) / (b1 - b0))

So s is as high on the class and as low elsewhere as t was, and logit scale and thresholds of the method fit as they
are; what the bank changes is the order in between. Means and deviations over all patches would not do: a class that is
rare has a long tail, by which words find it, and would be pressed down. A class without prototypes keeps t.
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

BYTES = 2**28  # of cosines with prototypes that are held at once


@dataclass(frozen=True, eq=False)
class BankedRows:
    """Text rows, and prototypes of classes, of which a part may have none."""

    votes: ClassVar[bool] = False  # scores are no probabilities

    mean: Tensor  # (Q, E) float32 unit rows of the words: what attention and feedback read
    prototypes: Tensor  # (P, E) float32 unit rows
    owners: tuple[int, ...]  # (P,), each one's class among those that have some, C' of them
    classes: tuple[int, ...]  # (Q,), of each word its class among those, -1 for none
    shift: Tensor  # (C',) float32: t0 - b0 (t1 - t0) / (b1 - b0)
    stretch: Tensor  # (C',) float32: (t1 - t0) / (b1 - b0)
    weight: float  # w

    @property
    def shape(self) -> torch.Size:
        """(Q, E), as of plain rows."""
        return self.mean.shape

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self.mean.device

    def to(self, *how: Any) -> "BankedRows":
        """As of a tensor."""
        moved = {name: getattr(self, name).to(*how) for name in ("mean", "prototypes", "shift", "stretch")}
        return replace(self, **moved)

    def cpu(self) -> "BankedRows":
        """As of a tensor."""
        return self.to("cpu")

    def scores(self, features: Tensor) -> Tensor:
        """Features of windows (B, E, h, w) -> s of every word, (B, Q, h, w) float32."""
        patches = features.movedim(1, -1).flatten(0, 2)  # (N, E)
        together = max(1, BYTES // (4 * max(1, len(self.owners))))
        parts = [self._mixed(part @ self.mean.T, nearest(part, self)) for part in patches.split(together)]
        size = (features.shape[0], *features.shape[2:])
        return torch.cat(parts).unflatten(0, size).movedim(-1, 1)

    def _mixed(self, cosines: Tensor, near: Tensor) -> Tensor:
        """T (N, Q) and b (N, C') -> s (N, Q)."""
        if not near.shape[1]:
            return cosines
        place = torch.tensor(self.classes, device=cosines.device)
        alike = (self.shift + self.stretch * near)[:, place.clamp_min(0)]
        return torch.where(place >= 0, torch.lerp(cosines, alike, self.weight), cosines)


def nearest(patches: Tensor, rows: BankedRows) -> Tensor:
    """Patches (N, E) of any length -> cosines with the nearest prototype of each class that has some, (N, C')."""
    similar = F.normalize(patches, dim=-1) @ rows.prototypes.T
    owners = torch.tensor(rows.owners, dtype=torch.long, device=patches.device).expand_as(similar)
    best = similar.new_full((len(patches), len(rows.shift)), -torch.inf)
    return best.scatter_reduce_(1, owners, similar, "amax")

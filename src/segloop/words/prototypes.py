"""A few prototypes for many vectors: k-means on the sphere, begun at vectors that lie far apart."""

import torch
import torch.nn.functional as F
from torch import Tensor

ROUNDS = 20  # of k-means, at most: it ends where no vector changes its prototype
SUPPORT = 3  # vectors that a prototype stands for, where there are so many: fewer are a label that was wrong


def prototypes(vectors: Tensor, most: int) -> Tensor:
    """Unit vectors (n, E), the surest first -> at most so many prototypes (k, E), unit; n is 1 or more.

    Always the same for the same vectors. The first begins at the vector that is nearest to the mean, the next at the
    one that is farthest from those before. Prototypes that few vectors belong to are left out while others remain,
    and the rest is settled once more without them.
    """
    chosen = _far_apart(vectors, min(most, len(vectors)))
    found, place = _settled(vectors, vectors[chosen])
    support = place.bincount(minlength=len(found)) >= min(SUPPORT, len(vectors))
    if not support.any():
        return F.normalize(vectors.mean(0, keepdim=True), dim=-1)
    if not support.all():
        kept = support[place]
        found, _ = _settled(vectors[kept], found[support])
    return found


def _far_apart(vectors: Tensor, count: int) -> list[int]:
    first = int((vectors @ vectors.mean(0)).argmax())
    chosen, near = [first], vectors @ vectors[first]
    while len(chosen) < count:
        farthest = int(near.argmin())
        if farthest in chosen:
            break  # all others are copies
        chosen.append(farthest)
        near = torch.maximum(near, vectors @ vectors[farthest])
    return chosen


def _settled(vectors: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """Prototypes (k, E) and the one of each vector (n,); one that nobody belongs to stays where it was."""
    found, place = start, (vectors @ start.T).argmax(1)
    for _ in range(ROUNDS):
        sums = torch.zeros_like(found).index_add_(0, place, vectors)
        found = torch.where(sums.norm(dim=1, keepdim=True) > 0, F.normalize(sums, dim=1), found)
        again = (vectors @ found.T).argmax(1)
        if again.equal(place):
            break
        place = again
    return found, place

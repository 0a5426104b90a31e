"""Windows of several photos through a network: packed by shape, and fewer at once where memory runs out."""

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice

import torch
from torch import Tensor

from ..common.ahead import ROOM
from ..common.visible import counted
from ..errors import Notice, memory_ran_out
from .network import Network
from .steps import Cut

ROUNDS = 4  # batches after which photos wait no longer for the last one to be full

Through = Callable[..., Tensor]
"""Windows (b, 3, h, w), their `regions` (b, h, w), `features` (b, C, h', w') or None -> (b, Q, h', w')."""


@dataclass
class Room:
    """How many windows memory has held together since it ran out; None: it never did."""

    windows: int | None = None

    def of(self, batch: int) -> int:
        """A batch that has room."""
        return batch if self.windows is None else min(batch, self.windows)

    def halve(self, windows: int) -> None:
        """Memory ran out on so many. Warns the first time."""
        first, self.windows = self.windows is None, max(1, windows // 2)
        if first:
            what = f"memory ran out on {counted(windows, 'window')} together: from here on {self.windows} go together"
            warnings.warn(what, Notice, stacklevel=2)


def weight(photo: Cut) -> int:
    """Bytes of it that are in memory while it waits: its pixels, its windows are few beside."""
    return 0 if photo.image is None else photo.image.nbytes


def full(photos: Sequence[Cut], batch: int) -> bool:
    """Whether photos that wait are worth going through the network.

    They are where windows of one shape fill batches to the last one, where there are several batches of them, so that
    one that is not full costs little, and where more photos would take much memory.
    """
    windows = Counter[tuple[int, int]]()
    for photo in photos:
        windows[photo.where.window] += len(photo.windows)
    most = max(windows.values(), default=0)
    heavy = sum(map(weight, photos)) >= ROOM
    return heavy or windows.total() >= ROUNDS * batch or (most >= batch and most % batch == 0)


def guides_of(network: Network) -> Callable[[Cut], Tensor] | None:
    """`network.guides`; where its memory is shared by several methods, each photo is looked at once for all."""
    guides, memory = network.guides, network.memory
    if guides is None or memory is None:
        return guides
    looking, shared = guides, memory
    seen_by = (id(network.guide), id(network.clip), network.plan.geometry.long_side)

    def once(photo: Cut) -> Tensor:
        if photo.image is None:
            return looking(photo)
        what = (seen_by, photo.size, photo.where)
        return shared.recall(what, torch.from_numpy(photo.image), lambda: looking(photo))

    return once


def tiles(
    photos: Sequence[Cut],
    network: Through,
    batch: int,
    guides: Callable[[Cut], Tensor] | None = None,
    room: Room | None = None,
    relieve: Callable[[], None] = lambda: None,
) -> list[Tensor]:
    """Windows of all photos through `network`: (n, Q, h', w') for each photo.

    `guides` gives `features` of each photo's windows, (n, C, h, w). Windows of one size share batches, whichever photo
    they come from; those of a batch are asked for together. Where memory runs out on several, `relieve` is called, and
    half as many go again; `room` keeps that for later calls. Raises what the network raises on one window.
    """
    room = room or Room()
    logits: list[list[Tensor]] = [[] for _ in photos]
    for shape in dict.fromkeys(photo.where.window for photo in photos):
        members = [i for i, photo in enumerate(photos) if photo.where.window == shape]
        owners = iter([i for i in members for _ in range(len(photos[i].windows))])
        windows = chain.from_iterable(photos[i].windows for i in members)
        masked = [found for i in members if (found := photos[i].window_regions) is not None]
        beside = {
            "regions": torch.cat(masked) if masked else None,
            "features": torch.cat([guides(photos[i]) for i in members]) if guides else None,
        }
        start = 0
        while some := list(islice(windows, room.of(batch))):
            part = slice(start, start + len(some))
            parts = {name: None if one is None else one[part] for name, one in beside.items()}
            for made in _through(network, torch.stack(some), parts, room, relieve):
                for tile in made:
                    logits[next(owners)].append(tile)
            start = part.stop
    return [torch.stack(found) for found in logits]


def _through(
    network: Through, windows: Tensor, beside: Mapping[str, Tensor | None], room: Room, relieve: Callable[[], None]
) -> Iterator[Tensor]:
    """(b, 3, h, w) -> (n, Q, h', w') of windows in order, b of them in all; as many at once as memory holds."""
    start = 0
    while start < len(windows):
        part = slice(start, start + room.of(len(windows) - start))
        some = {name: None if one is None else one[part] for name, one in beside.items()}
        made = _attempt(network, windows[part], some)
        if made is not None:
            yield made
            start = min(part.stop, len(windows))
            continue
        # out here: the error that was caught still held all that was in memory
        relieve()
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()
        room.halve(len(windows[part]))


def _attempt(network: Through, windows: Tensor, beside: Mapping[str, Tensor | None]) -> Tensor | None:
    """What the network gives; None where memory ran out on more than one window."""
    try:
        return network(windows, **beside)
    except Exception as error:
        if len(windows) == 1 or not memory_ran_out(error):
            raise
    return None

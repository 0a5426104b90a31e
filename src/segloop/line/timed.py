"""The straight line with a clock at every step: what `segloop bench` tells."""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..images import read_image
from ..maps.decide import Blocks, Decision
from ..results.filters import EVERYTHING
from ..results.segmentation import Segmentation
from ..words.vocabulary import Vocabulary
from ..words.voting import only_plain
from .engined import without_engine
from .fed import Fed
from .finishing import segmentation
from .gauges import Cost, cost, operations
from .segmenter import Segmenter
from .stages import Batch, Opened, gather_needs, open_last
from .steps import Photo
from .whole import whole_of

Step = tuple[str, Callable[[], Any]]


@dataclass
class Way:
    """A photo on its way, step by step; each step leaves what the next needs."""

    segmenter: Segmenter
    source: Any  # path, array
    vocabulary: Vocabulary
    write: Callable[[Segmentation], Any]
    image: Any = None
    photo: Photo | None = None
    states: list[Any] | None = None  # of each batch of windows
    guided: list[Tensor | None] | None = None
    opened: list[Opened] | None = None
    tiles: Tensor | None = None
    decision: Decision | None = None

    def steps(self) -> list[Step]:
        """Names and functions, in order; only those that this method has."""
        network = self.segmenter.network
        found: list[Step] = [("read", self.read), ("resize", self.resize), ("CLIP", self.clip)]
        found += [("guide", self.guide)] if network.guide else []
        found += [("attention", self.attention)]
        found += [("feedback", self.feedback)] if any(isinstance(one, Fed) for one in network.stages) else []
        found += [("join", self.join)] if network.joint else [("readout", self.readout)]
        return [*found, ("upsample", self.upsample), ("decide", self.decide), ("write", self.written)]

    def read(self) -> None:
        """The file, turned upright."""
        self.image = read_image(self.source, self.segmenter.reading)

    def resize(self) -> None:
        """To the network's size, normalised, cut."""
        self.photo = self.segmenter.prepare(self.image)

    def clip(self) -> None:
        """Blocks before the last."""
        network, text = self.segmenter.network, only_plain(self.segmenter.text(self.vocabulary), "bench")
        needs = gather_needs(network.stages, network.clip.depth)
        self.states = []
        for windows, regions in self._batches():
            pixels = network.seen(windows.to(network.clip.device))
            batch = Batch(network.clip, network.clip.grid(pixels), text, pixels, regions)
            self.states.append((batch, network.states(batch, pixels, needs)))
        self.guided = [None] * len(self.states)

    def guide(self) -> None:
        """Features of the vision model."""
        network = self.segmenter.network
        self.guided = [network.features(windows.to(network.clip.device)) for windows, _ in self._batches()]

    def attention(self) -> None:
        """The last block opened and mixed, with purification and whatever stands before feedback."""
        assert self.states is not None and self.guided is not None
        self.opened = []
        joint = self.segmenter.network.joint
        for (batch, states), guide in zip(self.states, self.guided, strict=True):
            opened = open_last(batch, states, guide)
            for stage in self.segmenter.network.stages:
                if isinstance(stage, Fed) or stage is joint:
                    break
                opened = stage(opened)
            fed = any(isinstance(stage, Fed) for stage in self.segmenter.network.stages)
            self.opened.append(opened if fed or joint else replace(opened, mixed=opened.mix(opened.block.v)))

    def feedback(self) -> None:
        """The host's attention, read out, and fed back."""
        assert self.opened is not None
        (fed,) = (stage for stage in self.segmenter.network.stages if isinstance(stage, Fed))
        if self.segmenter.network.joint is None:
            self.opened = [fed(opened) for opened in self.opened]

    def join(self) -> None:
        """Windows of the photo joined, and what stands behind that."""
        assert self.opened is not None and self.photo is not None
        network, joint = self.segmenter.network, self.segmenter.network.joint
        assert joint is not None
        handed = torch.cat([joint.hand(opened) for opened in self.opened])
        text = self.opened[0].batch.text
        self.tiles = network.joined(whole_of(self.photo, handed, text, network.clip))

    def readout(self) -> None:
        """Mixed values through W_o and the head, with text."""
        assert self.opened is not None
        self.tiles = torch.cat([opened.cosines() for opened in self.opened])

    def upsample(self) -> None:
        """The map at the photo's own size, with steps on it, made once and thrown away."""
        for _ in self._parts()():
            pass

    def decide(self) -> None:
        """The same map, and labels of it."""
        assert self.photo is not None
        self.decision = self.segmenter.decided(self.photo, self._parts(), self.segmenter.rule(self.vocabulary))

    def written(self) -> None:
        """Results as files have them."""
        assert self.photo is not None and self.decision is not None
        settings = self.segmenter.describe(self.vocabulary)
        self.write(segmentation(self.photo, self.decision, self.vocabulary.classes, settings, EVERYTHING, None))

    def _parts(self) -> Blocks:
        assert self.photo is not None and self.tiles is not None
        owners = torch.tensor(self.vocabulary.query_index, device=self.segmenter.clip.device)
        return self.segmenter.parts(self.photo, self.tiles, owners)

    def _batches(self) -> list[tuple[Tensor, Tensor | None]]:
        assert self.photo is not None
        windows, regions, batch = self.photo.windows, self.photo.window_regions, self.segmenter.batch
        starts = range(0, len(windows), batch)
        return [(windows[at : at + batch], None if regions is None else regions[at : at + batch]) for at in starts]


@torch.no_grad()
def timed(way: Way, repeats: int) -> Mapping[str, Cost]:
    """Every step's cost: medians over `repeats` after one pass that counts operations. `decide` is told less the map.

    A photo's own steps only: text is encoded before, as for many photos.
    """
    eager = replace(way.segmenter, network=without_engine(way.segmenter.network))  # whose operations torch sees
    counted = {name: operations(step)[0] for name, step in replace(way, segmenter=eager).steps()}
    found: dict[str, list[Cost]] = {name: [] for name in counted}
    for _ in range(repeats):
        for name, step in way.steps():
            found[name].append(cost(step, way.segmenter.clip.device)[0])
    told = {name: _typical(costs, counted[name]) for name, costs in found.items()}
    less = max(0.0, told["decide"].seconds - told["upsample"].seconds)
    rest = max(0, told["decide"].operations - told["upsample"].operations)
    return {**told, "decide": replace(told["decide"], seconds=less, operations=rest)}


def _typical(costs: list[Cost], count: int) -> Cost:
    peaks = [one.peak for one in costs if one.peak is not None]
    return Cost(statistics.median(one.seconds for one in costs), count, max(peaks, default=None))

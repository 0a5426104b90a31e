"""A row of the table of methods: what the release of a paper fixes around its attention (spec 0.7)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..attention.purify import SFP
from ..attention.variants import Variant, variant
from ..common.records import Constants

PATCH = 0  # of Method.pad: the CLIP patch
BLACK = -1  # of Method.pad: each network its own, with black to the right and below that is never cut off (spec 2.8)


@dataclass(frozen=True)
class Method:
    """A row of METHODS: what the paper's release fixes around its attention."""

    summary: str
    source: str
    names: str  # variant of the class lists
    defaults: Constants = field(default_factory=dict)
    datasets: Mapping[str, Constants] = field(default_factory=dict)
    uses: str = ""  # models besides CLIP, and masks
    cost: str = ""  # in words: what it does besides one pass through CLIP
    pad: int = 1  # pixels; reference fidelity pads windows to multiples of it (spec 1.3)
    whole_in_two_steps: bool = False  # reference fidelity, crop 0: grid -> network input -> photo (spec 1.4)
    synonyms_first: bool = False  # reference fidelity: a class takes its best synonym before the last resize (spec 2.8)
    sized_positions: bool = False  # reference fidelity: CLIP's positions by size, without the shift of spec 1.5
    cosines: bool = True  # what comes out, so that a scale made for cosines fits
    guide: str | None = None  # the vision model that it reads where none is named, also beside CLIP's own grid
    published: bool = True
    host: str | Variant | None = None  # whose attention it takes: a variant, by name or as it is, or a product
    purify: SFP | None = None  # what is done around that attention
    stages: tuple[Any, ...] = ()  # and behind it, before feedback: frozen records of constants that are `Stage`s
    alone: bool = False  # its stages go on no other host, and nothing but feedback goes on them
    masks: bool = False  # whether it works on regions of masks, which somebody has to give
    by_size: Mapping[str, Mapping[str, Constants]] = field(default_factory=dict)  # by size of CLIP, then data set

    def constants(self, dataset: str) -> dict[str, Any]:
        """What the row fixes for one data set; the method's defaults where nothing is published."""
        return {**self.defaults, **self.datasets.get(dataset, {})}

    @property
    def is_plug_in(self) -> bool:
        """Whether what it does can be done on other hosts too."""
        return bool(self.purify or self.stages) and not self.alone

    @property
    def takes_feedback(self) -> bool:
        """Whether an attention stands behind all that it does, so that feedback can reach it."""
        return all(getattr(stage, "makes_one_map", True) for stage in self.stages)

    def variant(self, name: str) -> Variant:
        """The attention of the row of that name. Raises OptionError where `host` names none."""
        return self.host if isinstance(self.host, Variant) else variant(self.host or name)

    def needs_guide(self, name: str) -> bool:
        """Whether the row of that name cannot do without a vision model. Raises OptionError as `variant`."""
        return self.guide is not None or self.variant(name).on_guide_grid


def threshold(value: float, **others: Any) -> Constants:
    """Constants of a data set with this background threshold."""
    return {"background_threshold": value, **others}

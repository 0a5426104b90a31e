"""A row of the table of methods: what the release of a paper fixes around its attention (spec 0.7)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..attention.purify import SFP
from ..attention.variants import Variant, variant
from ..common.records import Constants

PATCH = 0  # of Method.pad: the CLIP patch


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
    published: bool = True
    host: str | Variant | None = None  # whose attention it takes: a variant, by name or as it is, or a product
    purify: SFP | None = None  # what is done around that attention
    stages: tuple[Any, ...] = ()  # and behind it, before feedback: frozen records of constants that are `Stage`s
    by_size: Mapping[str, Mapping[str, Constants]] = field(default_factory=dict)  # by size of CLIP, then data set

    def constants(self, dataset: str) -> dict[str, Any]:
        """What the row fixes for one data set; the method's defaults where nothing is published."""
        return {**self.defaults, **self.datasets.get(dataset, {})}

    @property
    def is_plug_in(self) -> bool:
        """Whether what it does can be done on other hosts too."""
        return bool(self.purify or self.stages)

    def variant(self, name: str) -> Variant:
        """The attention of the row of that name. Raises OptionError where `host` names none."""
        return self.host if isinstance(self.host, Variant) else variant(self.host or name)


def threshold(value: float, **others: Any) -> Constants:
    """Constants of a data set with this background threshold."""
    return {"background_threshold": value, **others}

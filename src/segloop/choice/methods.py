"""The tables: one row per published method, with the constants of every data set and their source (spec 0.7)."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..attention.custom import with_settings
from ..attention.purify import SFP
from ..attention.variants import Variant, variant
from ..common.doors import Table
from ..common.keys import BENCHMARKS, LARGE
from ..common.records import Constants
from ..errors import OptionError

PATCH = 0  # of Method.pad: the CLIP patch
PROXY_HOST = "proxyclip"
THRESHOLDS = ("background_threshold", "area_threshold", "pamr_steps")


@dataclass(frozen=True)
class Method:
    """A row of METHODS: what the paper's release fixes around its attention."""

    summary: str
    source: str
    names: str  # variant of the class lists
    defaults: Constants = field(default_factory=dict)
    datasets: Mapping[str, Constants] = field(default_factory=dict)
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


def _threshold(value: float, **others: Any) -> Constants:
    return {"background_threshold": value, **others}


_PROXY_GEOMETRY: dict[str, Constants] = {
    "cityscapes": {"short_side": 448, "crop": 224},
    "ade20k": {"short_side": 448},
    "ade847": {"short_side": 448},
    "context459": {"short_side": 448},
}
_CLIP_THRESHOLDS = {
    "voc21": _threshold(0.10),
    "context60": _threshold(0.05),
    "coco-object": _threshold(0.10),
}

_ROWS: dict[str, Method] = {
    "clip": Method(
        summary="plain CLIP: query-key attention, residual and MLP kept",
        source="FSA's code base, vanilla CLIP column",
        names="P",
        defaults={"crop": 336},
        datasets={**_PROXY_GEOMETRY, **_CLIP_THRESHOLDS},
        pad=56,
    ),
    "maskclip": Method(
        summary="values as they are, no residual, no MLP",
        source="geometry of segloop, thresholds of vanilla CLIP",
        names="clear",
        datasets=_CLIP_THRESHOLDS,
        pad=PATCH,
        published=False,
    ),
    "sclip": Method(
        summary="query-query plus key-key attention, residual and MLP kept",
        source="SCLIP's configurations",
        names="S",
        datasets={
            "voc21": _threshold(0.1, logit_scale=65.0, area_threshold=0.1),
            "context60": _threshold(0.1, logit_scale=50.0),
            "coco-object": _threshold(0.1, logit_scale=50.0),
            "coco-stuff": {"short_side": 448},
            "cityscapes": {"short_side": 560},
        },
    ),
    "clearclip": Method(
        summary="query-query attention, no residual, no MLP",
        source="ClearCLIP's configurations",
        names="clear",
        defaults={"short_side": 448, "crop": 448, "stride": 224, "logit_scale": 50.0},
        datasets={
            "voc21": _threshold(0.5),
            "context60": _threshold(0.15),
            "coco-object": _threshold(0.4),
            "cityscapes": {"crop": 224},
        },
        pad=PATCH,
    ),
    "naclip": Method(
        summary="key-key attention drawn to its neighbourhood, no residual, no MLP, PAMR",
        source="NACLIP's configurations",
        names="S",
        defaults={"pamr_steps": 10},
        datasets={
            "voc21": _threshold(0.1, crop=0),
            "voc20": {"crop": 0},
            "context60": _threshold(0.1),
            "coco-object": _threshold(0.1),
            "cityscapes": {"short_side": 560},
        },
        whole_in_two_steps=True,
    ),
}

_ROWS["proxyclip"] = Method(
    summary="attention lent by a vision model: how alike patches look to it",
    source="ProxyCLIP's configurations",
    names="P",
    defaults={"crop": 336},
    datasets={
        **_PROXY_GEOMETRY,
        "voc21": _threshold(0.20),
        "context60": _threshold(0.15),
        "coco-object": _threshold(0.25),
    },
    pad=56,
    host=PROXY_HOST,
)
_ROWS["fsa"] = Method(
    summary="feedback: the output's own coherence, fed back into the attention of any host",
    source="FSA's configurations (arXiv 2508.20265)",
    names="P",
    defaults={"crop": 336},
    datasets={
        **_PROXY_GEOMETRY,
        "voc21": _threshold(0.20),
        "context60": _threshold(0.14),
        "coco-object": _threshold(0.30),
        "cityscapes": {"short_side": 448, "crop": 224, "stride": 80},
    },
    pad=56,
    host=PROXY_HOST,
)

_PURIFIED: dict[str, Constants] = {
    "voc21": _threshold(0.15, logit_scale=50.0, area_threshold=0.1),
    "context60": _threshold(0.15),
    "coco-object": _threshold(0.35, logit_scale=55.0),
    "cityscapes": {"short_side": 560},
}
_ROWS["sfp"] = Method(
    summary="outlier tokens repaired, attention enhanced by likeness, layers integrated",
    source="SFP's configurations (ICCV 2025); scale 40 on ViT-L/14 inferred from their comments",
    names="SFP",
    datasets={**_PURIFIED, "ade20k": {"short_side": 384}},
    by_size={
        "ViT-L/14": {
            "voc21": _threshold(0.20, logit_scale=40.0),
            "coco-object": _threshold(0.25, logit_scale=40.0),
        }
    },
    host="qq+kk",
    purify=SFP(),
)
_ROWS["sc-clip"] = Method(
    summary="as sfp, outliers by local density, key-key attention, likeness taken as it is",
    source="SC-CLIP's configurations",
    names="S",
    datasets=_PURIFIED,
    host="kk",
    purify=SFP(detector="lof", isolated="keep", raw_similarity=True, integrate="enhanced"),
)

PRODUCT = Method(
    summary="any product of q, k and v, no residual, no MLP",
    source=_ROWS["maskclip"].source,
    names="clear",
    datasets=_CLIP_THRESHOLDS,
    pad=PATCH,
    published=False,
)


def _of_package(name: str, found: Any) -> Method:
    """The row that another package's entry point names: a Method, a Variant, or an attention alone."""
    if isinstance(found, Method):
        return found
    if not isinstance(found, Variant):
        attention = found() if isinstance(found, type) else found
        if not callable(attention):
            what = f"method {name!r} of another package is a {type(found).__name__}"
            raise OptionError(what, "its entry point names an attention, a Variant or a Method")
        found = Variant(with_settings(attention))
    return replace(PRODUCT, summary="an attention of an installed package", source="its package", host=found)


METHODS: Table[Method] = Table(_ROWS, "segloop.methods", _of_package)
"""Rows by name. Other packages add theirs through entry points of the group `segloop.methods`."""

EXAMPLES = ("qk", "qq", "kk", "vv", "qq+kk", "qq+kk+vv")  # of products, for lists of what can be chosen


@dataclass(frozen=True)
class Recipe:
    """A method on a data set: `<method>/<key>`."""

    method: str
    dataset: str
    constants: Constants  # what the row fixes; the other settings are as their records have them
    names: str  # variant of the class list
    source: str


def _recipe(method: str, dataset: str) -> Recipe:
    row = _ROWS[method]
    large = dataset in LARGE
    known = row.published and (not large or dataset in row.datasets)
    source = row.source if known else f"{row.source}; not published for {dataset}"
    return Recipe(method, dataset, row.constants(dataset), "P" if large else row.names, source)


RECIPES = {f"{method}/{key}": _recipe(method, key) for method in _ROWS for key in BENCHMARKS}

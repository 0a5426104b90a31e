"""The tables: one row per published method, with the constants of every data set and their source (spec 0.7)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .attention import VARIANTS, Variant, variant
from .errors import OptionError, nearest
from .settings import Settings, override
from .types import Attention

DATASET_KEYS = (
    "voc21",
    "voc20",
    "context60",
    "context59",
    "coco-object",
    "coco-stuff",
    "cityscapes",
    "ade20k",
    "ade847",
    "context459",
)
PATCH = 0  # of Method.pad: the CLIP patch
THRESHOLDS = ("background_threshold", "area_threshold", "pamr_steps")

Constants = Mapping[str, Any]


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

    def settings(self, dataset: str) -> Settings:
        """The row's constants for one data set; the method's defaults where none are published."""
        return override(Settings(), {**self.defaults, **self.datasets.get(dataset, {})})


def _threshold(value: float, **others: Any) -> Constants:
    return {"background_threshold": value, **others}


_PROXY_GEOMETRY = {
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

METHODS: dict[str, Method] = {
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

PRODUCT = Method(
    summary="any product of q, k and v, no residual, no MLP",
    source=METHODS["maskclip"].source,
    names="clear",
    datasets=_CLIP_THRESHOLDS,
    pad=PATCH,
    published=False,
)


@dataclass(frozen=True)
class Recipe:
    """A method on a data set: `<method>/<key>`."""

    method: str
    dataset: str
    settings: Settings
    names: str  # variant of the class list
    source: str


def _recipe(method: str, dataset: str) -> Recipe:
    row = METHODS[method]
    large = dataset in ("ade847", "context459")  # published for one variant only
    known = row.published and (not large or dataset in row.datasets)
    source = row.source if known else f"{row.source}; not published for {dataset}"
    return Recipe(method, dataset, row.settings(dataset), "P" if large else row.names, source)


RECIPES = {f"{method}/{key}": _recipe(method, key) for method in METHODS for key in DATASET_KEYS}

DEFAULT_METHOD = "naclip"


@dataclass(frozen=True)
class Plan:
    """What a Segmenter does, resolved: the attention, its row, and every constant."""

    method: str  # as records name it
    variant: Variant
    row: Method
    settings: Settings

    @property
    def residual(self) -> bool:
        """Whether the last block's input is added."""
        return self.variant.residual if self.settings.residual is None else self.settings.residual

    @property
    def mlp(self) -> bool:
        """Whether the last block's MLP is run."""
        return self.variant.mlp if self.settings.mlp is None else self.settings.mlp


def resolve(
    method: str | Attention = "auto",
    recipe: str | None = None,
    folder: Constants | None = None,
    overrides: Constants | None = None,
) -> Plan:
    """Overrides, then method, then recipe, then what the model's folder names, then the method's VOC20 row.

    `folder` is the model's own segloop.json: a method and constants. Raises OptionError, naming the nearest.
    """
    chosen = _recipe_named(recipe) if recipe else None
    folder = dict(folder or {})
    named = folder.pop("method", DEFAULT_METHOD)
    if method == "auto":
        method = chosen.method if chosen else named
    name, attention, row = _row(method)
    if chosen:
        settings = row.settings(chosen.dataset)
    else:
        settings = override(row.settings("voc20"), {**dict.fromkeys(THRESHOLDS), **folder})
    return Plan(name, attention, row, override(settings, overrides or {}))


def _recipe_named(recipe: str) -> Recipe:
    if recipe not in RECIPES:
        raise OptionError(f"unknown recipe {recipe!r}", nearest(recipe, RECIPES))
    return RECIPES[recipe]


def _row(method: str | Attention) -> tuple[str, Variant, Method]:
    if not isinstance(method, str):
        return getattr(method, "__name__", type(method).__name__), Variant(method), PRODUCT
    if method not in METHODS and method not in VARIANTS:
        try:
            return method, variant(method), PRODUCT
        except OptionError:
            remedy = f"{nearest(method, METHODS)}, or a product such as 'qq+kk'"
            raise OptionError(f"unknown method {method!r}", remedy) from None
    return method, variant(method), METHODS[method]

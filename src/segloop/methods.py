"""The tables: one row per published method, with the constants of every data set and their source (spec 0.7)."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from .attention import Variant, variant
from .errors import OptionError, nearest
from .feedback import FSA
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
PROXY_HOST = "proxyclip"
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
    host: str | None = None  # the method whose attention this one takes, where it is not its own

    def settings(self, dataset: str) -> Settings:
        """The row's constants for one data set; the method's defaults where none are published."""
        return override(Settings(), {**self.defaults, **self.datasets.get(dataset, {})})


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

METHODS["proxyclip"] = Method(
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
METHODS["fsa"] = Method(
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

DEFAULT_METHOD, DEFAULT_GUIDE = "fsa", "dino"
LAMBDAS = {"mae": 4.5}  # FSA's sharpening by the guide's kind, every size of CLIP; the others:
LAMBDA, LAMBDA_HUGE = 3.0, 2.3  # ViT-B/16 and L/14, and ViT-H/14
HUGE_DEPTH = 32  # blocks of ViT-H/14


@dataclass(frozen=True)
class Plan:
    """What a Segmenter does, resolved: the attention, what is around it, and every constant."""

    method: str  # as records name it
    host: str | None  # what feedback is attached to
    variant: Variant
    row: Method
    settings: Settings
    vision: str | None = None  # the guide, where the attention takes one
    feedback: FSA | None = None

    @property
    def residual(self) -> bool:
        """Whether the last block's input is added."""
        return self.variant.residual if self.settings.residual is None else self.settings.residual

    @property
    def mlp(self) -> bool:
        """Whether the last block's MLP is run."""
        return self.variant.mlp if self.settings.mlp is None else self.settings.mlp

    def for_models(self, depth: int, guide_kind: str | None) -> "Plan":
        """The published sharpening for this size of CLIP (blocks) and kind of guide, where none was given."""
        if self.feedback is None or self.lambda_given or not self.variant.on_guide_grid:
            return self
        published = LAMBDAS.get(guide_kind or "", LAMBDA_HUGE if depth >= HUGE_DEPTH else LAMBDA)
        return replace(self, feedback=replace(self.feedback, lambda_=published))

    lambda_given: bool = False


@dataclass(frozen=True)
class Choice:
    """What the user asked for; None where nothing was said."""

    method: str | Attention | None = None
    host: str | Attention | None = None
    vision: str | None = None
    recipe: str | None = None
    feedback: FSA | None = None
    overrides: Constants = field(default_factory=dict)


def resolve(choice: Choice, folder: Constants | None = None) -> Plan:
    """Overrides, then records, then method, host and vision, then the recipe, then the model's folder, then VOC20.

    `folder` is the model's own segloop.json: a method, perhaps a host and a guide, and constants. `host` without
    `method` means fsa. Without anything, fsa on proxyclip with dino. Raises OptionError, naming the nearest.
    """
    recipe = _recipe_named(choice.recipe) if choice.recipe else None
    folder = dict(folder or {})
    named = {name: folder.pop(name, None) for name in ("method", "host", "vision")}
    if recipe:
        named = {"method": recipe.method, "host": None, "vision": None}
    method: str | Attention = choice.method or ("fsa" if choice.host else named["method"] or DEFAULT_METHOD)
    is_fsa = method == "fsa"
    if choice.host and not is_fsa:
        raise OptionError(f"host= came with method {method!r}", "host= goes with fsa; leave one of them out")
    host = (choice.host or (named["host"] if named["method"] == "fsa" else None) or PROXY_HOST) if is_fsa else None
    name, variant, row = _row(host or method)
    host_name = name if is_fsa else None
    if is_fsa:
        name, row = "fsa", METHODS["fsa"] if host_name == PROXY_HOST else row
    settings = row.settings(recipe.dataset) if recipe else _without_recipe(row, folder)
    vision = choice.vision or named["vision"] or (DEFAULT_GUIDE if variant.on_guide_grid else None)
    constants, fed_back = _split(choice.overrides, is_fsa or choice.feedback is not None)
    feedback = override(choice.feedback or FSA(), fed_back) if is_fsa or choice.feedback else None
    given = choice.feedback is not None or "lambda_" in fed_back
    return Plan(name, host_name, variant, row, override(settings, constants), vision, feedback, given)


def _without_recipe(row: Method, folder: Constants) -> Settings:
    return override(row.settings("voc20"), {**dict.fromkeys(THRESHOLDS), **folder})


def _split(overrides: Constants, with_feedback: bool) -> tuple[Constants, Constants]:
    """Overrides of Settings and of FSA. Raises OptionError for a name of neither, or of an FSA that is not there."""
    ours, theirs = ({item.name for item in fields(record)} for record in (Settings, FSA))
    for name in overrides:
        if name not in ours | theirs:
            raise OptionError(f"unknown setting {name!r}", nearest(name, sorted(ours | theirs)))
        if name in theirs and not with_feedback:
            raise OptionError(f"setting {name!r} belongs to fsa", "add --method fsa, or --host for another host")
    split = [{name: value for name, value in overrides.items() if name in names} for names in (ours, theirs)]
    return split[0], split[1]


def _recipe_named(recipe: str) -> Recipe:
    if recipe not in RECIPES:
        raise OptionError(f"unknown recipe {recipe!r}", nearest(recipe, RECIPES))
    return RECIPES[recipe]


def _row(method: str | Attention) -> tuple[str, Variant, Method]:
    """The name, the attention and the row of a method that has an attention of its own."""
    if not isinstance(method, str):
        name = getattr(method, "__qualname__", type(method).__qualname__).split(".")[-1]
        return f"{getattr(method, '__module__', 'python')}:{name}", Variant(method), PRODUCT
    if method in METHODS and method != "fsa":
        return method, variant(METHODS[method].host or method), METHODS[method]
    try:
        return method, variant(method), PRODUCT
    except OptionError:
        remedy = f"{nearest(method, METHODS)}, or a product such as 'qq+kk'"
        raise OptionError(f"unknown method {method!r}", remedy) from None

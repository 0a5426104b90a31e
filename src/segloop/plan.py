"""What a run does, resolved: options, records, methods and recipes in the order in which they win (design 4)."""

from dataclasses import dataclass, field, fields, replace

from .attention import Variant, variant
from .errors import OptionError, nearest
from .feedback import FSA
from .keys import BENCHMARKS
from .methods import METHODS, PRODUCT, PROXY_HOST, RECIPES, THRESHOLDS, Constants, Method, Recipe
from .purify import SFP
from .settings import Settings, override
from .types import Attention

DEFAULT_METHOD, DEFAULT_GUIDE = "fsa", "dino"
LAMBDAS = {"mae": 4.5}  # FSA's sharpening by the guide's kind, every size of CLIP; the others:
LAMBDA, LAMBDA_HUGE = 3.0, 2.3  # ViT-B/16 and L/14, and ViT-H/14
LARGE_DEPTH, HUGE_DEPTH = 24, 32  # blocks of ViT-L/14 and ViT-H/14
PURIFIER = "sfp"  # the method that SFP(...) alone means


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
    purify: SFP | None = None
    lambda_given: bool = False
    large: Constants = field(default_factory=dict)  # settings that a CLIP of ViT-L/14's size has instead

    @property
    def residual(self) -> bool:
        """Whether the last block's input is added."""
        return self.variant.residual if self.settings.residual is None else self.settings.residual

    @property
    def mlp(self) -> bool:
        """Whether the last block's MLP is run."""
        return self.variant.mlp if self.settings.mlp is None else self.settings.mlp

    def for_models(self, depth: int, guide_kind: str | None, reference: bool = False) -> "Plan":
        """The published constants for this size of CLIP (blocks) and kind of guide, where none were given.

        Layers of SFP become numbers of blocks. Raises OptionError for a CLIP that has too few.
        """
        settings = override(self.settings, self.large) if depth >= LARGE_DEPTH else self.settings
        purify = self.purify.on(depth, reference) if self.purify else None
        feedback = self.feedback
        if feedback and not self.lambda_given and self.variant.on_guide_grid:
            published = LAMBDAS.get(guide_kind or "", LAMBDA_HUGE if depth >= HUGE_DEPTH else LAMBDA)
            feedback = replace(feedback, lambda_=published)
        return replace(self, settings=settings, purify=purify, feedback=feedback, large={})


@dataclass(frozen=True)
class Choice:
    """What the user asked for; None where nothing was said."""

    method: str | Attention | None = None
    host: str | Attention | None = None
    vision: str | None = None
    recipe: str | None = None
    dataset: str | None = None  # of BENCHMARKS: the method's own constants for it, as a recipe has them
    feedback: FSA | None = None
    purify: SFP | None = None
    overrides: Constants = field(default_factory=dict)


def resolve(choice: Choice, folder: Constants | None = None) -> Plan:
    """Overrides, records, then method, host and vision, then recipe or data set, then the model's folder, then VOC20.

    `folder` is the model's own segloop.json: a method, perhaps a host and a guide, and constants. `host` without
    `method` means fsa, `purify` alone means sfp. Without anything, fsa on proxyclip with dino. Raises OptionError,
    naming the nearest.
    """
    recipe = _recipe_of(choice) if choice.recipe else None
    dataset = recipe.dataset if recipe else _known_dataset(choice.dataset)
    folder = dict(folder or {})
    named = {name: folder.pop(name, None) for name in ("method", "host", "vision")}
    if recipe:
        named = {"method": recipe.method, "host": None, "vision": None}
    name, host_name, variant, row = _attention(choice, named)
    is_fsa = host_name is not None
    settings = row.settings(dataset) if dataset else _without_dataset(row, folder)
    vision = choice.vision or named["vision"] or (DEFAULT_GUIDE if variant.on_guide_grid else None)
    feedback = choice.feedback or (FSA() if is_fsa else None)
    purify = choice.purify or row.purify
    constants, fed_back, purifying = _split(choice.overrides, feedback, purify)
    large = row.large.get(dataset, {}) if dataset else {}
    return Plan(
        method=name,
        host=host_name,
        variant=variant,
        row=row,
        settings=override(settings, constants),
        vision=vision,
        feedback=override(feedback, fed_back) if feedback else None,
        purify=override(purify, purifying) if purify else None,
        lambda_given=choice.feedback is not None or "lambda_" in fed_back,
        large={name: value for name, value in large.items() if name not in constants},
    )


def _attention(choice: Choice, named: Constants) -> tuple[str, str | None, Variant, Method]:
    """Method, host (None without fsa), attention and row, from what was asked for and what recipe or folder name."""
    alone = choice.purify and not (choice.method or choice.host or choice.recipe)
    default = PURIFIER if alone else named["method"] or DEFAULT_METHOD
    method: str | Attention = choice.method or ("fsa" if choice.host else default)
    if method != "fsa":
        if choice.host:
            raise OptionError(f"host= came with method {method!r}", "host= goes with fsa; leave one of them out")
        name, variant, row = _row(method)
        host = None
    else:
        from_folder = named["host"] if named["method"] == "fsa" else None
        from_record = PURIFIER if choice.purify and choice.method else None
        host, variant, row = _row(choice.host or from_record or from_folder or PROXY_HOST)
        name, row = "fsa", METHODS["fsa"] if host == PROXY_HOST else row
    if choice.purify and variant.on_guide_grid:
        what = f"purify= came with {host or name}, which has no tokens to purify"
        raise OptionError(what, "name another: method='sfp', or host='sfp' for fsa")
    return name, host, variant, row


def _without_dataset(row: Method, folder: Constants) -> Settings:
    return override(row.settings("voc20"), {**dict.fromkeys(THRESHOLDS), **folder})


def _split(overrides: Constants, feedback: FSA | None, purify: SFP | None) -> tuple[Constants, Constants, Constants]:
    """Overrides of Settings, FSA and SFP. Raises OptionError for a name of none, or of a record that is not there."""
    names = [{item.name for item in fields(record)} for record in (Settings, FSA, SFP)]
    known = sorted(set().union(*names))
    for name in overrides:
        if name not in known:
            raise OptionError(f"unknown setting {name!r}", nearest(name, known))
        if name in names[1] and not feedback:
            raise OptionError(f"setting {name!r} belongs to fsa", "add --method fsa, or --host for another host")
        if name in names[2] and not purify:
            raise OptionError(f"setting {name!r} belongs to sfp", "add --method sfp or sc-clip, or fsa with --host sfp")
    settings, fed_back, purifying = ({k: v for k, v in overrides.items() if k in of} for of in names)
    return settings, fed_back, purifying


def _recipe_of(choice: Choice) -> Recipe:
    """The row that is named. Raises OptionError where a method or a data set beside it is another than the row's."""
    named = choice.recipe or ""
    if named not in RECIPES:
        raise OptionError(f"unknown recipe {named!r}", nearest(named, RECIPES))
    recipe = RECIPES[named]
    method = choice.method or ("fsa" if choice.host else recipe.method)
    if method != recipe.method:
        told = method if isinstance(method, str) else "an attention of your own"
        own = f"{method}/{recipe.dataset}"
        other = f"take recipe {own}" if own in RECIPES else f"give dataset={recipe.dataset!r} instead of the recipe"
        raise OptionError(f"recipe {named} came with method {told}", f"leave the method out, or {other}")
    if choice.dataset not in (None, recipe.dataset):
        raise OptionError(f"recipe {named} came with data set {choice.dataset}", "leave one of them out")
    return recipe


def _known_dataset(key: str | None) -> str | None:
    if key is not None and key not in BENCHMARKS:
        raise OptionError(f"no constants are known for data set {key!r}", nearest(key, BENCHMARKS))
    return key


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

"""What a run does, resolved: options, records, methods and recipes in the order in which they win (design 4)."""

from dataclasses import dataclass, field, replace
from typing import Any

from .attention import VARIANTS, Variant, variant
from .errors import OptionError, nearest
from .feedback import FSA
from .keys import BENCHMARKS
from .methods import METHODS, PRODUCT, PROXY_HOST, RECIPES, THRESHOLDS, Method, Recipe
from .purify import SFP
from .records import Constants, constants_of, override, share_out
from .refine import MAP_STEPS, MapStep
from .rows import MEAN, ROWS, RowStep, row_step, step_name
from .settings import Deciding, Geometry, Surroundings
from .types import Attention

DEFAULT_METHOD, DEFAULT_GUIDE = "fsa", "dino"
LAMBDAS = {"mae": 4.5}  # FSA's sharpening by the guide's kind, every size of CLIP; the others:
LAMBDA, LAMBDA_HUGE = 3.0, 2.3  # ViT-B/16 and L/14, and ViT-H/14
HUGE = "ViT-H/14"
NAMED = ("method", "host", "vision")  # that a model's folder may name
RESERVED = {"model", *NAMED, "feedback", "purify", "fidelity", "dtype", "vocabulary", "rows", "pixels"}  # of a record
PLUG_INS = "fsa, sfp or sc-clip"
PURIFIER = "sfp"  # the method that SFP(...) alone means


@dataclass(frozen=True)
class Guidance:
    """What is asked of a vision model, where the attention lies on its grid."""

    vision_feature: str = "tokens"  # tokens, q, k or v

    def __post_init__(self) -> None:
        if self.vision_feature not in ("tokens", "q", "k", "v"):
            raise OptionError(f"vision_feature={self.vision_feature!r} is not possible", "it must be tokens, q, k or v")


@dataclass(frozen=True)
class Plan:
    """What a Segmenter does, resolved: the attention, what is around it, and every constant.

    The fields between `geometry` and `feedback` are records; only those in use are there, and no other's constants.
    """

    method: str  # as records name it
    host: str | None  # what a plug-in is attached to
    row: Method
    geometry: Geometry
    around: Surroundings
    attention: Attention  # the host's; a record where it has constants
    deciding: Deciding
    map_steps: tuple[MapStep, ...]
    rows: RowStep = MEAN  # from every template's text rows to one row a query; a record where it has constants
    guidance: Guidance | None = None  # where the attention lies on a guide's grid
    purify: SFP | None = None
    feedback: FSA | None = None
    vision: str | None = None  # the guide's name
    lambda_given: bool = False
    by_size: Constants = field(default_factory=dict)  # constants that a size of CLIP has instead

    @property
    def constants(self) -> dict[str, Any]:
        """Every constant that labels depend on, by name; those of FSA and SFP are records of their own."""
        steps = (step for step in self.map_steps if step.is_on)
        rows = {} if self.rows == MEAN else {"rows": step_name(self.rows), **constants_of(self.rows)}
        return _flat(self.geometry, self.around, self.attention, self.guidance, self.deciding, *steps) | rows

    def changed(self, changes: Constants) -> "Plan":
        """The same with some constants replaced, each in its record; None switches one off. Raises OptionError."""
        if "rows" in changes:  # first, since a step brings constants of its own
            return replace(self, rows=row_step(changes["rows"])).changed(_unless(changes, {"rows": None}))
        parts = _parts(self)
        shared = share_out(parts, changes)
        for name in shared.pop(""):
            _refuse(name, parts)
        new = {part: override(parts[part], own) if own else parts[part] for part, own in shared.items()}
        steps = tuple(new.pop(part) for part in [*new] if part in MAP_STEPS)
        return replace(self, **new, map_steps=steps, lambda_given=self.lambda_given or "lambda_" in changes)

    def for_models(self, depth: int, size: str | None, guide_kind: str | None, reference: bool = False) -> "Plan":
        """The published constants for this size of CLIP (such as "ViT-L/14") and kind of guide, where none were given.

        Layers of SFP become numbers of its `depth` blocks. Raises OptionError for a CLIP that has too few.
        """
        plan = self.changed(self.by_size.get(size or "", {}))
        purify = plan.purify.on(depth, reference) if plan.purify else None
        feedback = plan.feedback
        if feedback and not plan.lambda_given and plan.guidance:
            published = LAMBDAS.get(guide_kind or "", LAMBDA_HUGE if size == HUGE else LAMBDA)
            feedback = replace(feedback, lambda_=published)
        return replace(plan, purify=purify, feedback=feedback, by_size={})


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


@dataclass(frozen=True)
class _Host:
    """An attention that was named: what it is, what it brings, and whose constants it takes."""

    name: str
    variant: Variant
    row: Method
    purify: SFP | None = None


def resolve(choice: Choice, folder: Constants | None = None) -> Plan:
    """Overrides, records, then method, host and vision, then recipe or data set, then the model's folder, then VOC20.

    `folder` is the model's own segloop.json: a method, perhaps a host and a guide, and constants. `host` without
    `method` means fsa, `purify` alone means sfp. Without anything, fsa on proxyclip with dino. Raises OptionError,
    naming the nearest.
    """
    recipe = _recipe_of(choice) if choice.recipe else None
    dataset = recipe.dataset if recipe else _known_dataset(choice.dataset)
    folder = dict(folder or {})
    named = {name: folder.pop(name, None) for name in NAMED}
    if recipe:
        named = {"method": recipe.method, "host": None, "vision": None}
    method, host_name, host, row = _attention(choice, named)
    guided = host.variant.on_guide_grid
    plan = Plan(
        method=method,
        host=host_name,
        row=row,
        geometry=Geometry(),
        around=Surroundings(host.variant.residual, host.variant.mlp),
        attention=host.variant.attention,
        deciding=Deciding(),
        map_steps=tuple(MAP_STEPS.values()),
        guidance=Guidance() if guided else None,
        purify=choice.purify or host.purify,
        feedback=choice.feedback or (FSA() if method == "fsa" else None),
        vision=choice.vision or named["vision"] or (DEFAULT_GUIDE if guided else None),
        lambda_given=choice.feedback is not None,
    )
    by_size = {size: _unless(own.get(dataset or "", {}), choice.overrides) for size, own in row.by_size.items()}
    plan = plan.changed(row.constants(dataset) if dataset else _without_dataset(plan, row, folder))
    return replace(plan.changed(choice.overrides), by_size=by_size)


def _attention(choice: Choice, named: Constants) -> tuple[str, str | None, _Host, Method]:
    """Method, host's name (None without a plug-in), host and row, from what was asked for and recipe or folder name."""
    alone = choice.purify and not (choice.method or choice.host or choice.recipe)
    default = PURIFIER if alone else named["method"] or DEFAULT_METHOD
    method: str | Attention = choice.method or ("fsa" if choice.host else default)
    from_folder = named["host"] if named["method"] == method else None
    if method == "fsa":
        from_record = PURIFIER if choice.purify and choice.method else None
        host = _named(choice.host or from_record or from_folder or PROXY_HOST)
        return "fsa", host.name, host, METHODS["fsa"] if host.name == PROXY_HOST else host.row
    if not (choice.host or from_folder):
        host = _named(method)
        return host.name, None, host, host.row
    purify = METHODS[method].purify if isinstance(method, str) and method in METHODS else None
    if purify is None:
        told = method if isinstance(method, str) else "an attention of your own"
        raise OptionError(f"host= came with method {told!r}", f"host= goes with {PLUG_INS}; leave one out")
    host = _purified(str(method), purify, _named(choice.host or from_folder))
    return str(method), host.name.partition(":")[2], host, host.row


def _named(method: Any) -> _Host:
    """A method that has an attention of its own, also `sfp:proxyclip`. Raises OptionError naming the nearest."""
    if not isinstance(method, str):
        return _Host(*_own(method))
    plug_in, colon, inner = method.partition(":")
    if colon and plug_in in METHODS and (purify := METHODS[plug_in].purify):
        return _purified(plug_in, purify, _named(inner))
    if method in METHODS and method != "fsa":
        row = METHODS[method]
        return _Host(method, row.variant(method), row, row.purify)
    try:
        return _Host(method, variant(method), PRODUCT)
    except OptionError:
        remedy = f"{nearest(method, METHODS)}, or a product such as 'qq+kk'"
        raise OptionError(f"unknown method {method!r}", remedy) from None


def _own(attention: Attention) -> tuple[str, Variant, Method]:
    """An attention that is given as such: a record of a known variant, perhaps with other constants, or the user's."""
    for name, row in VARIANTS.items():
        if constants_of(row.attention) and type(attention) is type(row.attention):
            return name, replace(row, attention=attention), METHODS[name]
    name = getattr(attention, "__qualname__", type(attention).__qualname__).split(".")[-1]
    return f"{getattr(attention, '__module__', 'python')}:{name}", Variant(attention), PRODUCT


def _purified(plug_in: str, purify: SFP, host: _Host) -> _Host:
    if host.purify:
        raise OptionError(f"{plug_in} came on {host.name}, which purifies already", "name another host")
    return replace(host, name=f"{plug_in}:{host.name}", purify=purify)


def _parts(plan: Plan) -> dict[str, Any]:
    """The records of a plan that have constants, by what it calls them; steps on the map by their table's keys."""
    names = ("geometry", "around", "deciding", "guidance", "purify", "feedback")
    records = {name: getattr(plan, name) for name in names}
    records |= dict(zip(MAP_STEPS, plan.map_steps, strict=True))
    records |= _unmistakable(records, "attention", plan.attention, plan.host or plan.method)
    records |= _unmistakable(records, "rows", plan.rows, step_name(plan.rows))
    return {name: record for name, record in records.items() if constants_of(record)}


def _unmistakable(records: Constants, part: str, record: Any, called: str) -> dict[str, Any]:
    """A record that may be the user's, by its part. Raises OptionError where a constant has another's name."""
    for name in constants_of(record):
        if name in RESERVED or any(name in constants_of(other) for other in records.values()):
            what = f"constant {name!r} of {part} {called} is the name of another setting"
            raise OptionError(what, "call it something else")
    return {part: record}


def shared_constants() -> dict[str, Any]:
    """The settings that every method has, with what they are where nothing is said."""
    return {**_flat(Geometry(), Surroundings(), Deciding(), *MAP_STEPS.values()), "rows": step_name(MEAN)}


def known_constants() -> dict[str, Any]:
    """What a setting that a record does not name was, as `describe` writes them: every known constant's default."""
    own = _flat(Guidance(), *(row.attention for row in VARIANTS.values()), *ROWS.values())
    return {**shared_constants(), **own, "feedback": constants_of(FSA()), "purify": constants_of(SFP())}


def _flat(*records: Any) -> dict[str, Any]:
    return {name: value for record in records for name, value in constants_of(record).items()}


def _owners() -> dict[str, tuple[str, str]]:
    """Constants that only some methods have -> whose they are, and how to get one that has them."""
    found: dict[str, tuple[str, str]] = {}
    for name, row in VARIANTS.items():
        found |= dict.fromkeys(constants_of(row.attention), (name, f"add --method {name}, or --host {name}"))
    for name, step in ROWS.items():
        found |= dict.fromkeys(constants_of(step), (f"rows {name}", f"add --set rows={name}"))
    guided = [name for name, row in VARIANTS.items() if row.on_guide_grid]
    for record, name, remedy in (
        (Guidance(), guided[0], f"add --method {guided[0]}"),
        (FSA(), "fsa", "add --method fsa, or --host for another host"),
        (SFP(), "sfp", "add --method sfp or sc-clip, or fsa with --host sfp"),
    ):
        found |= dict.fromkeys(constants_of(record), (name, remedy))
    return found


def _refuse(name: str, parts: Constants) -> None:
    """Raises OptionError for a constant that this plan does not have."""
    owners = _owners()
    if name in owners:
        owner, remedy = owners[name]
        raise OptionError(f"setting {name!r} belongs to {owner}", remedy)
    known = {*owners, *_flat(*parts.values()), *(["rows"] if len(ROWS) > 1 else [])}
    raise OptionError(f"unknown setting {name!r}", nearest(name, sorted(known)))


def _without_dataset(plan: Plan, row: Method, folder: Constants) -> dict[str, Any]:
    """VOC20's constants, nothing thrown away, then the folder's; of another method's there, nothing is taken."""
    own = share_out(_parts(plan), folder)[""]
    skipped = {name for name in own if name in _owners()}
    kept = {name: value for name, value in folder.items() if name not in skipped}
    return {**row.constants("voc20"), **dict.fromkeys(THRESHOLDS), **kept}


def _unless(constants: Constants, given: Constants) -> dict[str, Any]:
    return {name: value for name, value in constants.items() if name not in given}


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

"""What a run does, resolved: options, records, methods and recipes in the order in which they win (design 4)."""

from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ..attention.feedback import FSA
from ..attention.purify import SFP
from ..attention.types import Attention
from ..attention.variants import VARIANTS, Variant
from ..backbones.proposals import Proposing
from ..common.records import Constants, constants_of, override, require_finite, share_out
from ..errors import OptionError, nearest
from ..maps.refine import MAP_STEPS, MapStep, Switched
from ..maps.relabel import LABEL_STEPS, LabelStep
from ..words.bank import Mixing
from ..words.rows import MEAN, ROWS, RowStep, row_step, step_name
from .baselines import PROXY_HOST
from .besides import affinity_of, refuse_idle, refuse_view
from .guidance import Guidance
from .method import Method
from .methods import METHODS, THRESHOLDS
from .naming import Choice, attention_of, known_dataset, recipe_of, surroundings_of
from .settings import Deciding, Geometry, Surroundings, said_of

DEFAULT_GUIDE = "dino"
LAMBDAS = {"mae": 4.5}  # FSA's sharpening by the guide's kind, every size of CLIP; the others:
LAMBDA, LAMBDA_HUGE = 3.0, 2.3  # ViT-B/16 and L/14, and ViT-H/14
HUGE = "ViT-H/14"
NAMED = ("method", "host", "vision", "affinity")  # that a model's folder may name
RESERVED = {"model", *NAMED, "feedback", "purify", "fidelity", "dtype", "engine", "vocabulary", "rows", "pixels"}


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
    label_steps: tuple[LabelStep, ...] = ()
    rows: RowStep = MEAN  # from every template's text rows to one row a query; a record where it has constants
    guidance: Guidance | None = None  # where the method reads the features of a guide
    beside: bool = False  # whether those stand beside CLIP's own grid, where the attention stays
    purify: SFP | None = None
    stages: tuple[Any, ...] = ()  # what the method's row brings besides
    feedback: FSA | None = None
    vision: str | None = None  # the guide's name
    affinity: str | None = None  # a SAM's name, where something looks at one
    lambda_given: bool = False
    by_size: Constants = field(default_factory=dict)  # constants that a size of CLIP has instead

    @property
    def steps(self) -> tuple[Switched, ...]:
        """What is done to the finished map, and to labels."""
        return (*self.map_steps, *self.label_steps)

    @property
    def constants(self) -> dict[str, Any]:
        """Every constant that labels depend on, by name; those of FSA and SFP are records of their own."""
        steps = (step for step in self.steps if step.is_on)
        rows = {} if self.rows == MEAN else {"rows": step_name(self.rows), **constants_of(self.rows)}
        return _flat(self.geometry, self.around, self.attention, self.guidance, self.deciding, *steps) | rows

    @property
    def records(self) -> dict[str, dict[str, Any]]:
        """Constants of what is done around and behind the attention, by the name that records of runs nest them in."""
        named = {"feedback": self.feedback, "purify": self.purify, **_by_name(self.stages)}
        return {name: asdict(record) for name, record in named.items() if record is not None}

    def changed(self, changes: Constants) -> "Plan":
        """The same with some constants replaced, each in its record; None switches one off. Raises OptionError."""
        if "rows" in changes:  # first, since a step brings constants of its own
            return replace(self, rows=row_step(changes["rows"])).changed(_unless(changes, {"rows": None}))
        parts = _parts(self)
        shared = share_out(parts, changes)
        for name in shared.pop(""):
            _refuse(name, parts, self.method)
        new = {part: override(parts[part], own) if own else parts[part] for part, own in shared.items()}
        map_steps = tuple(new.pop(name, step) for name, step in zip(MAP_STEPS, self.map_steps, strict=True))
        label_steps = tuple(new.pop(name, step) for name, step in zip(LABEL_STEPS, self.label_steps, strict=True))
        stages = tuple(new.pop(name, stage) for name, stage in _by_name(self.stages).items())
        given = self.lambda_given or "lambda_" in changes
        return replace(self, **new, map_steps=map_steps, label_steps=label_steps, stages=stages, lambda_given=given)

    def for_models(self, depth: int, size: str | None, guide_kind: str | None, reference: bool = False) -> "Plan":
        """The published constants for this size of CLIP (such as "ViT-L/14") and kind of guide, where none were given.

        What a record says of layers becomes numbers of its `depth` blocks, by its `on`, which is also told whether the
        releases are followed to the letter. Raises OptionError for a CLIP that has too few.
        """
        plan = self.changed(self.by_size.get(size or "", {}))
        purify = plan.purify.on(depth, reference) if plan.purify else None
        stages, label_steps = (
            tuple(one.on(depth, reference) if hasattr(one, "on") else one for one in some)
            for some in (plan.stages, plan.label_steps)
        )
        feedback = plan.feedback
        if feedback and not plan.lambda_given and plan.guidance:
            published = LAMBDAS.get(guide_kind or "", LAMBDA_HUGE if size == HUGE else LAMBDA)
            feedback = replace(feedback, lambda_=published)
        return replace(plan, purify=purify, stages=stages, label_steps=label_steps, feedback=feedback, by_size={})


def resolve(choice: Choice, folder: Constants | None = None) -> Plan:
    """Overrides, records, then method, host and vision, then recipe or data set, then the model's folder, then VOC20.

    `folder` is the model's own segloop.json: a method, perhaps a host and a guide, and constants. `host` without
    `method` means fsa, `purify` alone means sfp. Without anything, fsa on proxyclip with dino. Raises OptionError,
    naming the nearest.
    """
    recipe = recipe_of(choice) if choice.recipe else None
    dataset = recipe.dataset if recipe else known_dataset(choice.dataset)
    folder = dict(folder or {})
    named = {name: folder.pop(name, None) for name in NAMED}
    if recipe:
        named = {**dict.fromkeys(NAMED), "method": recipe.method}
    method, host_name, host, row = attention_of(choice, named)
    row = METHODS[recipe.method] if recipe else row
    guide = host.row.guide or (DEFAULT_GUIDE if host.variant.on_guide_grid else None)
    if choice.vision and not host.may_read_guide:
        what = f"vision model {choice.vision} came with method {host_name or method}, which no guide serves"
        raise OptionError(what, f"leave it out, or take {PROXY_HOST}, alone or as the host")
    plan = Plan(
        method=method,
        host=host_name,
        row=row,
        geometry=Geometry(),
        around=Surroundings(*surroundings_of(host, method, recipe)),
        attention=host.variant.attention,
        deciding=Deciding(),
        map_steps=tuple(MAP_STEPS.values()),
        label_steps=tuple(LABEL_STEPS.values()),
        guidance=Guidance() if guide else None,
        beside=guide is not None and not host.variant.on_guide_grid,
        purify=choice.purify or host.purify,
        stages=host.stages,
        feedback=choice.feedback or (FSA() if method == "fsa" else None),
        vision=choice.vision or named["vision"] or guide,
        lambda_given=choice.feedback is not None,
    )
    by_size = {size: _unless(own.get(dataset or "", {}), choice.overrides) for size, own in row.by_size.items()}
    plan = plan.changed(row.constants(dataset) if dataset else _without_dataset(plan, row, folder))
    plan = replace(plan.changed(choice.overrides), by_size=by_size)
    on = (*plan.stages, *(step for step in plan.steps if step.is_on))
    sam = affinity_of(on, host_name or method, choice.affinity, named["affinity"], "refine" in choice.overrides)
    plan = replace(plan, affinity=sam)
    refuse_idle(plan.steps, choice.overrides)
    _refuse_deaf(plan)
    refuse_view(plan.host or plan.method, plan.guidance, plan.stages)
    refuse_scores(plan.method, plan.row, plan.map_steps)
    for record in _parts(plan).values():
        require_finite(record)
    return plan


def _parts(plan: Plan) -> dict[str, Any]:
    """The records of a plan that have constants, by what it calls them; steps on the map by their table's keys."""
    names = ("geometry", "around", "deciding", "guidance", "purify", "feedback")
    records = {name: getattr(plan, name) for name in names}
    records |= dict(zip(MAP_STEPS, plan.map_steps, strict=True))
    records |= dict(zip(LABEL_STEPS, plan.label_steps, strict=True))
    stages = _by_name(plan.stages)
    for name, stage in stages.items():
        if name in {*RESERVED, *records, *_flat(*records.values())}:
            raise OptionError(f"stage {name} has the name of another setting", "call its class something else")
        records |= _unmistakable(records, name, stage, "as a stage")
    records |= _unmistakable(records, "attention", plan.attention, plan.host or plan.method, stages)
    records |= _unmistakable(records, "rows", plan.rows, step_name(plan.rows), stages)
    return {name: record for name, record in records.items() if constants_of(record)}


def _by_name(stages: Iterable[Any]) -> dict[str, Any]:
    """Records of stages by the names of their classes, as runs write them. Raises OptionError for one name twice."""
    named: dict[str, Any] = {}
    for stage in stages:
        name = type(stage).__name__.lower()
        if name in named:
            raise OptionError(f"stage {name} came twice", "name another host")
        named[name] = stage
    return named


def _unmistakable(
    records: Constants, part: str, record: Any, called: str, taken: Collection[str] = ()
) -> dict[str, Any]:
    """A record that may be the user's, by its part. Raises OptionError where a constant has another's name.

    What a record calls `shared` is one constant with another's of that name.
    """
    for name in constants_of(record):
        others = [other for other, own in records.items() if name in constants_of(own)]
        shared = name in _shared(record) or all(name in _shared(records[other]) for other in others)
        if name in RESERVED or name in taken or not shared:
            what = f"constant {name!r} of {part} {called} is the name of another setting{said_of(others)}"
            raise OptionError(what, f"call it something else, such as own_{name.strip('_')}")
    return {part: record}


def _shared(record: Any) -> Collection[str]:
    return getattr(record, "shared", ())


def shared_constants() -> dict[str, Any]:
    """The settings that every method has, with what they are where nothing is said."""
    records = (Geometry(), Surroundings(), Deciding(), *MAP_STEPS.values(), *LABEL_STEPS.values())
    return {**_flat(*records), "rows": step_name(MEAN)}


def known_constants() -> dict[str, Any]:
    """What a setting that a record does not name was, as `describe` writes them: every known constant's default."""
    own = _flat(Guidance(), *(row.attention for row in _attentions().values()), *ROWS.values())
    stages = [_by_name(row.stages) for row in reversed([*METHODS.own.values()])]
    nested = {"feedback": FSA(), "purify": SFP(), **{name: one for row in stages for name, one in row.items()}}
    return {**shared_constants(), **own, **{name: constants_of(record) for name, record in nested.items()}}


def _flat(*records: Any) -> dict[str, Any]:
    return {name: value for record in records for name, value in constants_of(record).items()}


def _attentions() -> dict[str, Variant]:
    """Attentions by the name of the method that they are: those of VARIANTS, and those that rows bring."""
    brought = {name: row.host for name, row in METHODS.own.items() if isinstance(row.host, Variant)}
    return {**dict(reversed([*brought.items()])), **VARIANTS}


def _owners() -> dict[str, tuple[str, str]]:
    """Constants that only some methods have -> whose they are, and how to get one that has them."""
    found: dict[str, tuple[str, str]] = {}
    for name, row in _attentions().items():
        found |= dict.fromkeys(constants_of(row.attention), (name, f"add --method {name}, or --host {name}"))
    for name, step in ROWS.items():
        found |= dict.fromkeys(constants_of(step), (f"rows {name}", f"add --set rows={name}"))
    for name, method in METHODS.own.items():
        found = dict.fromkeys(_flat(*method.stages), (name, f"add --method {name}")) | found
    guided = [name for name, row in VARIANTS.items() if row.on_guide_grid]
    for record, name, remedy in (
        (Guidance(), guided[0], f"add --method {guided[0]}"),
        (FSA(), "fsa", "add --method fsa, or --host for another host"),
        (SFP(), "sfp", "add --method sfp or sc-clip, or fsa with --host sfp"),
        (Proposing(), "masks that a network makes", "add --masks sam or sam2"),
        (Mixing(), "a memory bank", "add --bank FILE"),
    ):
        found |= dict.fromkeys(constants_of(record), (name, remedy))
    return found


def _refuse(name: str, parts: Constants, method: str) -> None:
    """Raises OptionError for a constant that this plan does not have."""
    owners = _owners()
    if name in owners:
        owner, remedy = owners[name]
        raise OptionError(f"setting {name!r} belongs to {owner}", remedy)
    known = {*owners, *_flat(*parts.values()), *(["rows"] if len(ROWS) > 1 else [])}
    raise OptionError(f"unknown setting {name!r} of method {method}", nearest(name, sorted(known)))


def refuse_scores(method: str, row: Method, steps: Iterable[Switched]) -> None:
    """Raises OptionError for a step whose maps are no cosines, where scale and thresholds of a method are for those."""
    if row.cosines and any(step.is_on and not getattr(step, "keeps_cosines", True) for step in steps):
        what = f"pixel_refine makes scores that are no cosines, and method {method} has no scale for them"
        raise OptionError(what, "take --method lposs+, perhaps with --host")


def _refuse_deaf(plan: Plan) -> None:
    """Raises OptionError for feedback on a method that ends in scores and has no attention to feed them back into."""
    deaf = any(not getattr(stage, "makes_one_map", True) for stage in plan.stages)
    if plan.feedback and deaf:
        what = f"feedback came on {plan.host}, which has no attention behind its scores"
        raise OptionError(what, "name another host")


def _without_dataset(plan: Plan, row: Method, folder: Constants) -> dict[str, Any]:
    """VOC20's constants, nothing thrown away, then the folder's; of another method's there, nothing is taken.

    The folder decides cosines; for scores that are none, the row says how.
    """
    own = share_out(_parts(plan), folder)[""]
    skipped = {name for name in own if name in _owners()} | (set() if row.cosines else {*constants_of(Deciding())})
    kept = {name: value for name, value in folder.items() if name not in skipped}
    return {**row.constants("voc20"), **dict.fromkeys(THRESHOLDS), **kept}


def _unless(constants: Constants, given: Constants) -> dict[str, Any]:
    return {name: value for name, value in constants.items() if name not in given}

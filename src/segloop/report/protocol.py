"""Whether a run did what the published one did: its images, its class list, its constants."""

from collections.abc import Iterable
from typing import Any

from ..backbones.models import GUIDES, SIZES
from . import names
from .caveats import caveats
from .runs import Run

EITHER = {"trident"}  # methods whose published figures do not say whether labels were refined


def deviations(run: Run) -> list[str]:
    """What keeps this run from being comparable with its published figure, in words; empty where nothing does."""
    found = caveats(run)
    model, known = str(run.settings.get("model")), names.backbone(run)
    if known not in SIZES:
        return [*found, f"model {known} is none of the published ones"]
    if model.count("/") != 1 or model.startswith((".", "~", "/")):
        found.append("weights of a local folder")
    if run.settings.get("fidelity") != "reference":
        fidelity = run.settings.get("fidelity")
        found.append(f"fidelity {fidelity}, where the published pipeline is fidelity reference")
    return [*found, *_recipe(run, known)]


def _recipe(run: Run, size: str) -> list[str]:
    from ..choice.methods import METHODS, RECIPES  # with torch

    fed_proxy = run.has_feedback and run.base == "proxyclip"
    key = f"{'fsa' if fed_proxy else run.base}/{run.dataset}"
    if key not in RECIPES:
        return [f"no recipe is published for {run.base} on {run.dataset}"]
    found = []
    if not METHODS[run.base].published:
        found.append(f"geometry of {run.base} is segloop's own")
    if (guide := names.guide(run)) and not _published(guide):
        found.append(f"guide {guide} is none of the published ones")
    if (sam := run.settings.get("affinity")) and not _published(names.HUB_IDS.get(sam, sam)):
        found.append(f"affinity {sam} is none of the published ones")
    if run.has_feedback and not fed_proxy:
        found.append(f"the constants of FSA on {run.base} are not published")
    return [*found, *_words(run, RECIPES[key].names), *_constants(run, size)]


def _published(guide: str) -> bool:
    """Whether a table of the papers has a vision model, by its short name."""
    return guide in GUIDES and GUIDES[guide].published


def _words(run: Run, variant: str) -> list[str]:
    """The class list, compared word by word: some variants are one list under two names."""
    from ..words.vocabulary import Vocabulary

    found = ["templates ranked on photos of one's own"] if "experts" in run.settings else []
    queries = Vocabulary.benchmark(run.dataset, variant).queries
    if run.queries == queries:
        return found
    own, published = run.settings.get("vocabulary"), f"{run.dataset}/{variant}"
    if own == published:
        return [*found, f"other words than those of class list {published}"]
    return [*found, f"class list {own or 'of its own'} instead of {published}"]


def _constants(run: Run, size: str) -> list[str]:
    from ..choice.naming import Choice
    from ..choice.plan import known_constants, resolve, shared_constants

    guide = names.guide(run)
    method, host = ("fsa", run.base) if run.has_feedback else (run.base, None)
    refined = {name: run.settings[name] for name in ("refine",) if run.base in EITHER and name in run.settings}
    choice = Choice(method, host, guide, dataset=run.dataset, overrides=refined)
    kind = GUIDES[guide].kind if guide in GUIDES else None
    _, depth = SIZES[size]
    plan = resolve(choice).for_models(depth, size, kind, run.settings.get("fidelity") == "reference")
    published: dict[str, Any] = {**shared_constants(), **plan.constants, **plan.records}
    mine, unsaid = (names.flat_settings(_listed(settings)) for settings in (run.settings, known_constants()))
    if guide and guide not in GUIDES:  # what its kind is, and so which lambda is its own, no record says
        mine.pop("feedback.lambda_", None)
        published.get("feedback", {}).pop("lambda_", None)
    return [
        f"{key} {names.plain(mine.get(key, unsaid[key]))} instead of {names.plain(value)}"
        for key, value in names.flat_settings(_listed(published)).items()
        if mine.get(key, unsaid[key]) != value
    ]


def _listed(value: Any) -> Any:
    """Tuples as the lists that JSON makes of them."""
    if isinstance(value, dict):
        return {key: _listed(item) for key, item in value.items()}
    is_many = isinstance(value, Iterable) and not isinstance(value, str)
    return [_listed(item) for item in value] if is_many else value

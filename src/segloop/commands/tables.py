"""`segloop methods`, `models`, `datasets`: what can be chosen."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..common import console
from ..common.console import friendly
from ..errors import OptionError, nearest
from . import options

if TYPE_CHECKING:
    from ..choice.method import Method


TEMPLATES = (
    "Templates of words (--templates): openai80, openai7, single, plain, lines of your own, or experts, which "
    "`segloop experts` ranks on your photos without labels (FLOSS), for any method that ends in cosines"
)
One = Annotated[str | None, typer.Argument(metavar="METHOD", help="What it fixes for each data set.")]


def methods(one: One = None, json_lines: options.Json = False, debug: options.Debug = False) -> None:
    """List the methods, what they keep of CLIP's last block, hosts of fsa, guides of proxyclip, presets, settings.

    With a METHOD, list its published constants for each data set: windows, scale, thresholds.
    """
    with friendly(debug):
        from ..backbones.models import GUIDES, MASKERS
        from ..choice.methods import EXAMPLES, METHODS
        from ..choice.presets import PRESETS, every_method

        if one is not None:
            _tell_constants(one, json_lines)
            return
        kept = {name: row.variant(name) for name, row in METHODS.items()}
        hosts = [*every_method(feedback=True), *(name for name, row in METHODS.items() if row.masks), *EXAMPLES]
        guides = {name: _guides(row) if row.needs_guide(name) else {} for name, row in METHODS.items()}
        rows = [
            {"method": name, "summary": row.summary, "residual": kept[name].residual, "mlp": kept[name].mlp}
            | {"class_list": row.names, "recipes": f"{name}/<data set>", "source": row.source}
            | {"uses": row.uses, "cost": row.cost}
            | {"hosts": hosts if name == "fsa" else [], "vision": guides[name]}
            | {"masks": row.masks}
            for name, row in METHODS.items()
        ]
        if options.as_lines(rows, json_lines):
            return
        columns = ("method", "summary", "uses", "cost", "source")
        console.table("Methods", columns, [[str(row[column]) for column in columns] for row in rows])
        console.tell("")
        console.tell("Vision models that guide proxyclip and lposs (--vision):")
        for name, row in GUIDES.items():
            console.tell(f"  {name:<14}{row.hub}: {row.note}")
        console.tell("")
        console.tell("Networks that draw masks of regions (--masks):")
        for name, hub in MASKERS.items():
            console.tell(f"  {name:<14}{hub}")
        console.tell("")
        console.tell(f"Hosts of fsa (--host): {', '.join(hosts)}")
        own = "your own: --method FILE.py:function"
        console.tell(f'Also any product of q, k and v, such as --method "qk+vv", and {own}')
        console.tell("")
        console.tell(TEMPLATES)
        console.tell("")
        console.tell("Grids of runs for segloop evaluate (--preset):")
        for name, grid in PRESETS.items():
            console.tell(f"  {name:<14}{grid.summary}")
        console.tell("")
        console.tell("Settings (--set), whose names constants of your own cannot bear:")
        for owner, names in _settings().items():
            console.tell(f"  {owner:<14}{', '.join(names)}")


def _settings() -> dict[str, list[str]]:
    """Names of settings, by what brings them; those of one method alone are not among them."""
    from ..attention.feedback import FSA
    from ..attention.purify import SFP
    from ..choice.plan import RESERVED, Guidance, shared_constants
    from ..common.records import constants_of

    shared = shared_constants()
    return {
        "every method": [*shared],
        "with a guide": [*constants_of(Guidance())],
        "under fsa": [*constants_of(FSA())],
        "under sfp": [*constants_of(SFP())],
        "of records": sorted(RESERVED.difference(shared)),
    }


def _guides(method: "Method") -> dict[str, str]:
    """Short names of the vision models that have what a method reads, and their hub ids."""
    from ..backbones.models import GUIDES

    of_dino = method.defaults.get("vision_feature", "tokens") != "tokens"
    return {name: row.hub for name, row in GUIDES.items() if row.kind == "dino" or not of_dino}


def _tell_constants(method: str, json_lines: bool) -> None:
    """A row of METHODS, data set by data set. Raises OptionError naming the nearest."""
    from ..choice.methods import METHODS
    from ..choice.naming import Choice
    from ..choice.plan import resolve
    from ..common.keys import BENCHMARKS

    if method not in METHODS:
        raise OptionError(f"there is no method {method!r}", nearest(method, METHODS))
    row = METHODS[method]
    plans = {key: resolve(Choice(recipe=f"{method}/{key}")) for key in BENCHMARKS}
    rows = [{"recipe": f"{method}/{key}", **plan.constants, **plan.records} for key, plan in plans.items()]
    sizes = [
        {"recipe": f"{method}/{key}", "clip": size, **own}
        for size, by_data in row.by_size.items()
        for key, own in by_data.items()
    ]
    if options.as_lines([*rows, *sizes], json_lines):
        return
    cells = [_cells(row, one) for one in rows]
    columns = [name for name in cells[0] if any(one[name] != "-" for one in cells)]
    shown = [[key, *(one[name] for name in columns)] for key, one in zip(BENCHMARKS, cells, strict=True)]
    console.table(f"{method}: {row.source}", ["data set", *(name.replace("_", " ") for name in columns)], shown)
    for one in sizes:
        told = ", ".join(f"{name}={value}" for name, value in one.items() if name not in ("recipe", "clip"))
        console.tell(f"{one['recipe']} on {one['clip']}: {told}")
    console.tell("all constants: --json; whole by --recipe, one by --set stride=80; a run's record has those in use")


def _cells(row: "Method", constants: dict[str, Any]) -> dict[str, str]:
    """Of a data set's constants those that fit into 80 letters: windows, how labels are decided, what the row fixes."""
    flat = {name: value for one in constants.values() if isinstance(one, dict) for name, value in one.items()}
    fixed = dict.fromkeys(name for own in (row.defaults, *row.datasets.values()) for name in own)
    first = ("short_side", "crop", "stride", "logit_scale", "background_threshold", "area_threshold")
    found = {name: (flat | constants).get(name) for name in [*first, *fixed]}
    return {name: _plain(value) for name, value in found.items()}


def _plain(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:g}" if isinstance(value, float) else str(value)


def models(json_lines: options.Json = False, debug: options.Debug = False) -> None:
    """List CLIP models that are known to fit; any other CLIP of the hub or of a local folder works too."""
    with friendly(debug):
        from ..backbones.models import MODELS

        rows: list[dict[str, Any]] = [
            {"model": name, "vision": row.vision, "about": row.about} for name, row in MODELS.items()
        ]
        if options.as_lines(rows, json_lines):
            return
        console.table("CLIP models (--clip)", list(rows[0]), [[str(value) for value in row.values()] for row in rows])


def datasets(data: options.Data = None, json_lines: options.Json = False, debug: options.Debug = False) -> None:
    """List the data sets; with --data, say which of them are there and what is missing of the others."""
    with friendly(debug):
        from ..data.datasets import check
        from ..data.datasets import rows as table

        columns = ["key", "title", "classes", "photos", "root", "how to get it"]
        rows = [dict(zip(columns, row, strict=True)) for row in table()]
        if data:
            columns = ["key", "classes", "photos", "found"]
            for row in rows:
                seen = check(row["key"], data)
                row["found"] = f"{len(seen.opened.samples)} in {seen.root}" if seen.opened else str(seen.problem)
        if options.as_lines(list(rows), json_lines):
            return
        console.table("Data sets", columns, [[row[column] for column in columns] for row in rows])

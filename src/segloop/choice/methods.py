"""The table of methods: a row each, in a file of its own or of its family, and the recipes that the rows publish."""

from dataclasses import dataclass, replace
from typing import Any

from ..attention.custom import with_settings
from ..attention.variants import Variant
from ..common.doors import Table
from ..common.keys import BENCHMARKS, LARGE
from ..common.records import Constants
from ..errors import OptionError
from .baselines import BASELINES, CLIP_THRESHOLDS
from .lposs import LPOSS_PLUS_ROW, LPOSS_ROW
from .method import PATCH, Method
from .purifiers import SC_CLIP_ROW, SFP_ROW
from .regional import CORRCLIP_ROW, CORRCLIP_V2_ROW
from .resclip import RESCLIP_ROW
from .spliced import TRIDENT_ROW

THRESHOLDS = ("background_threshold", "area_threshold", "pamr_steps")

_ROWS: dict[str, Method] = {
    **BASELINES,
    "sfp": SFP_ROW,
    "sc-clip": SC_CLIP_ROW,
    "resclip": RESCLIP_ROW,
    "lposs": LPOSS_ROW,
    "lposs+": LPOSS_PLUS_ROW,
    "trident": TRIDENT_ROW,
    "corrclip": CORRCLIP_ROW,
    "corrclip-v2": CORRCLIP_V2_ROW,
}

PRODUCT = Method(
    summary="any product of q, k and v, no residual, no MLP",
    source=BASELINES["maskclip"].source,
    names="clear",
    datasets=CLIP_THRESHOLDS,
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

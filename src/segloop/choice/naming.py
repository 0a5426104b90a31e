"""What the user named: a method, what it stands on, whose constants it takes; recipes and data sets by their names."""

from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import Any

from ..attention.custom import is_file_place, with_settings
from ..attention.feedback import FSA
from ..attention.purify import SFP
from ..attention.types import Attention
from ..attention.variants import VARIANTS, Variant, variant
from ..common.keys import BENCHMARKS
from ..common.records import Constants, constants_of
from ..common.visible import shortened
from ..errors import OptionError, nearest
from .baselines import PROXY_HOST
from .method import Method
from .methods import METHODS, PRODUCT, RECIPES, Recipe

DEFAULT_METHOD = "fsa"
PURIFIER = "sfp"  # the method that SFP(...) alone means


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
    affinity: str | None = None  # a SAM


@dataclass(frozen=True)
class NamedHost:
    """An attention that was named: what it is, what it brings, and whose constants it takes."""

    name: str
    variant: Variant
    row: Method
    purify: SFP | None = None
    stages: tuple[Any, ...] = ()
    ours: bool = True  # no code of the user's own or of a package of theirs

    @property
    def may_read_guide(self) -> bool:
        """Whether a vision model can be of use: it lends its patches, or code that is not ours may look at it."""
        return self.variant.on_guide_grid or not self.ours or bool(self.stages)


def attention_of(choice: Choice, named: Constants) -> tuple[str, str | None, NamedHost, Method]:
    """Method, host's name (None without a plug-in), host and row, from what was asked for and recipe or folder name."""
    alone = choice.purify and not (choice.method or choice.host or choice.recipe)
    default = PURIFIER if alone else named["method"] or DEFAULT_METHOD
    method: str | Attention = choice.method or ("fsa" if choice.host and not choice.recipe else default)
    from_folder = named["host"] if named["method"] == method else None
    if method == "fsa":
        from_record = PURIFIER if choice.purify and choice.method else None
        host = _named(choice.host or from_record or from_folder or PROXY_HOST)
        return "fsa", host.name, host, METHODS["fsa"] if host.name == PROXY_HOST else host.row
    if not (choice.host or from_folder):
        host = _named(method)
        return host.name, None, host, host.row
    if not (isinstance(method, str) and _is_plug_in(method)):
        plug_ins = ", ".join(["fsa", *(name for name, row in METHODS.items() if row.is_plug_in)])
        raise OptionError(f"a host came with {_told(method)}", f"a host goes with {plug_ins}; leave one of the two out")
    host = _plugged(method, _named(choice.host or from_folder))
    return method, host.name.partition(":")[2], host, host.row


def _told(method: Any) -> str:
    return f"method {method!r}" if isinstance(method, str) else "an attention of your own"


def _is_plug_in(method: str) -> bool:
    return method in METHODS and METHODS[method].is_plug_in


def _named(method: Any) -> NamedHost:
    """A method that has an attention of its own, also `sfp:proxyclip`. Raises OptionError naming the nearest."""
    if not isinstance(method, str):
        name, variant_of, row = _own(method)
        return NamedHost(name, variant_of, row, ours=name in VARIANTS)
    plug_in, colon, inner = method.partition(":")
    if colon and _is_plug_in(plug_in):
        return _plugged(plug_in, _named(inner))
    if method in METHODS and method != "fsa":
        row = METHODS[method]
        return NamedHost(method, row.variant(method), row, row.purify, row.stages, method in METHODS.own)
    try:
        return NamedHost(method, variant(method), PRODUCT)
    except OptionError:
        raise OptionError(f"unknown method {method!r}", _remedy(method)) from None


def _remedy(method: str) -> str:
    """What may have been meant by a name that is no method's."""
    file, colon, function = method.rpartition(":")
    if is_file_place(method):  # the command line opens it
        return f"in Python give the function itself: from {PurePath(file).stem} import {function}"
    if "," in method:
        return "name one; `segloop evaluate --methods` takes several"
    own = f", or a function of a file as {file}.py:{function}" if colon and file.isidentifier() else ""
    return f"{nearest(method, METHODS)}, or a product such as 'qq+kk'{own}"


def _own(attention: Attention) -> tuple[str, Variant, Method]:
    """An attention that is given as such: a record of a known variant, perhaps with other constants, or the user's."""
    if not callable(attention):
        what = f"{shortened(repr(attention))} is no attention"
        raise OptionError(what, "give a name, or a function (LastBlock) -> Mix; see CONTRIBUTING.md")
    attention = with_settings(attention)
    for name, row in VARIANTS.items():
        if constants_of(row.attention) and type(attention) is type(row.attention):
            return name, replace(row, attention=attention), METHODS.get(name, PRODUCT)
    name = getattr(attention, "__qualname__", type(attention).__qualname__).split(".")[-1]
    return f"{getattr(attention, '__module__', 'python')}:{name}", Variant(attention), PRODUCT


def _plugged(plug_in: str, host: NamedHost) -> NamedHost:
    row = METHODS[plug_in]
    if host.row.alone:
        raise OptionError(f"{plug_in} came on {host.name}, which goes with feedback only", "name another host")
    if host.purify and row.purify:
        raise OptionError(f"{plug_in} came on {host.name}, which purifies already", "name another host")
    purify, stages = host.purify or row.purify, (*host.stages, *row.stages)
    whose = host.row if row.cosines else row  # scores that are no cosines have a scale of their own
    return replace(host, name=f"{plug_in}:{host.name}", row=whose, purify=purify, stages=stages)


def takes_guide(method: str | None, host: str | None) -> bool:
    """Whether a vision model can be of use to what these names stand for. Raises OptionError as `resolve`."""
    if any(is_file_place(name) for name in (method, host) if name):
        return True  # it may read block.guide
    return attention_of(Choice(method, host), {"method": None, "host": None})[2].may_read_guide


def takes_affinity(method: str | None, host: str | None) -> bool:
    """Whether a SAM is looked at by what these names stand for, with no step on labels. OptionError as `resolve`."""
    if any(is_file_place(name) for name in (method, host) if name):
        return False
    stages = attention_of(Choice(method, host), {"method": None, "host": None})[2].stages
    return any(getattr(stage, "wants_affinity", False) for stage in stages)


def recipe_of(choice: Choice) -> Recipe:
    """The row that is named: everything but the attention, which may be a host, a product or the user's own.

    Raises OptionError where a method beside it has recipes of its own, where an attention came that should be a host
    or a host that it does not take, and for another data set.
    """
    named = choice.recipe or ""
    if named not in RECIPES:
        raise OptionError(f"unknown recipe {named!r}", nearest(named, RECIPES))
    recipe = RECIPES[named]
    method, on_hosts = choice.method or recipe.method, recipe.method == "fsa" or _is_plug_in(recipe.method)
    if method != recipe.method:
        what, own = f"recipe {named} came with {_told(method)}", f"{method}/{recipe.dataset}"
        if isinstance(method, str) and method in METHODS:
            other = f", or take recipe {own}" if own in RECIPES else ""
            raise OptionError(what, f"leave the method out{other}")
        if on_hosts:
            raise OptionError(what, f"give it as the host: {recipe.method} stands on one")
    if choice.host and not on_hosts:
        what = f"recipe {named} came with a host, and {recipe.method} takes none"
        raise OptionError(what, f"leave it out, or take recipe fsa/{recipe.dataset}")
    if choice.dataset not in (None, recipe.dataset):
        raise OptionError(f"recipe {named} came with data set {choice.dataset}", "leave one of them out")
    return recipe


def surroundings_of(host: NamedHost, method: Any, recipe: Recipe | None) -> tuple[bool, bool]:
    """(residual, MLP) kept around an attention: its own, or those of the recipe that it stands in for."""
    stands_in = recipe is not None and method != recipe.method
    kept = METHODS[recipe.method].variant(recipe.method) if recipe and stands_in else host.variant
    return kept.residual, kept.mlp


def known_dataset(key: str | None) -> str | None:
    """A key of BENCHMARKS, or None for none. Raises OptionError naming the nearest."""
    if key is not None and key not in BENCHMARKS:
        raise OptionError(f"no constants are known for data set {key!r}", nearest(key, BENCHMARKS))
    return key

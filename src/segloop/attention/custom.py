"""An attention of your own: `idea.py:mix` from a file, or a function of Python; its constants are settings."""

import types
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, make_dataclass, replace
from functools import partial
from inspect import Parameter, signature
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from ..common.codefile import Own, is_file_place, own_of
from ..common.records import PLAIN, constants_of, require
from ..errors import OptionError

if TYPE_CHECKING:
    from .types import Attention, LastBlock, Mix

__all__ = ["attention_from_file", "is_file_place", "with_settings"]

FORM = "(LastBlock) -> Mix"


def attention_from_file(place: str) -> "Attention":
    """ "FILE.py:function" -> the function, or the record, (LastBlock) -> Mix. Runs your file as `python FILE.py` does.

    It comes as a frozen record whose fields are the constants of a record of yours, or the parameters behind the block
    that have a default; `own_code` of it is the `Code` behind it. Raises OptionError where the file or the function is
    missing, or the file fails; so does the function itself.
    """
    plug_in, _, inner = place.partition(":")
    if is_file_place(inner) and not Path(place.rpartition(":")[0]).is_file():  # it may begin with a drive's letter
        raise OptionError(
            f"{place!r} names two methods", f"write --method {plug_in} --host {inner}, which has no feedback on it"
        )
    own = own_of(place, "method", FORM)
    kind = own.value
    made = isinstance(kind, type) and is_dataclass(kind) and all(one.default is not MISSING for one in fields(kind))
    with own.world.active():
        constants = _constants(kind() if made else kind)
    return _record(constants, own)


def with_settings(attention: "Attention") -> "Attention":
    """An attention of Python's: a function whose parameters behind the block have defaults becomes a record of them.

    Raises OptionError where one of them has no default.
    """
    constants = None if is_dataclass(attention) else _constants(attention)
    return _record(constants) if constants and constants.own else attention


@dataclass(frozen=True)
class _Constants:
    """An attention and the constants that it has: (name, type, a dataclass's field) of each."""

    attention: Any
    own: tuple[tuple[str, Any, Any], ...]

    def built(self, values: dict[str, Any]) -> Callable[["LastBlock"], "Mix"]:
        """The attention with these constants."""
        record = is_dataclass(self.attention)
        return replace(self.attention, **values) if record else partial(self.attention, **values)


def _constants(attention: Any) -> _Constants:
    found: Iterable[tuple[str, Any, Any]]
    if is_dataclass(attention) and not isinstance(attention, type):
        kind: Any = type(attention)
        given = constants_of(attention)
        found = ((one.name, given[one.name], one.metadata) for one in fields(attention) if one.name in given)
    else:
        kind, found = attention, _parameters(attention)
    hints: dict[str, Any] = {}
    with suppress(Exception):  # names that only a type checker knows
        hints = get_type_hints(kind)
    own = [
        (name, hints.get(name) or _type(value), field(default=value, metadata=extra)) for name, value, extra in found
    ]
    return _Constants(attention, tuple(own))


def _parameters(function: Any) -> Iterator[tuple[str, Any, Any]]:
    """(name, default, nothing) of each parameter behind the block that can be a setting."""
    try:
        _, *others = signature(function).parameters.values()
    except (ValueError, TypeError):  # built in, or without a block: whoever calls it says so
        return
    for one in others:
        if one.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD):
            continue
        if one.default is Parameter.empty:
            name = getattr(function, "__name__", function)
            what = f"parameter {one.name!r} of attention {name} has no default"
            remedy = (
                f"write {name}(block, ...): block.q, block.k and block.v are there; what --set changes has a default"
            )
            raise OptionError(what, remedy)
        if isinstance(one.default, (*PLAIN, tuple, type(None))) and one.kind is not Parameter.POSITIONAL_ONLY:
            yield one.name, one.default, types.MappingProxyType({})


def _type(default: Any) -> Any:
    """What a constant without an annotation may be: of the kind of its default; a whole number may become any."""
    if isinstance(default, tuple):
        return types.GenericAlias(tuple, (type(default[0]), ...)) if default and type(default[0]) in PLAIN else Any
    if default is None:
        return Any | None
    return int | float if type(default) is int else type(default)


def _record(constants: _Constants, own: Own | None = None) -> "Attention":
    """An instance of a frozen record with these fields. What it or its Mix raises is told as a fault of its file."""
    attention = constants.attention
    named = attention if hasattr(attention, "__qualname__") else type(attention)

    def begin(self: Any) -> None:
        values = {name: getattr(self, name) for name, *_ in constants.own}
        for name, value in values.items():
            require(not isinstance(value, float) or isfinite(value), name, value, "finite")
        built = own.call("attention", constants.built, values) if own else constants.built(values)
        object.__setattr__(self, "_built", built)

    def build(self: Any, block: "LastBlock") -> "Mix":
        return _mixing(self._built, block, own) if own else self._built(block)

    space: dict[str, Any] = {"__post_init__": begin, "__call__": build}
    needs = getattr(attention, "needs", None)
    if needs is not None and not callable(needs):
        space["needs"] = needs  # whoever asks says that it is no function
    elif needs is not None:  # of a record: with its constants
        space["needs"] = lambda self, depth: getattr(self._built, "needs", needs)(depth)
    if own:
        space["own_code"] = own.world.code
    kind = make_dataclass("Attention", constants.own, namespace=space, frozen=True)
    kind.__module__, kind.__qualname__ = named.__module__, named.__qualname__
    if own:
        kind.__module__, _, kind.__qualname__ = own.name.rpartition(":")  # as records name it
    return kind()


def _mixing(attention: Any, block: "LastBlock", own: Own) -> "Mix":
    """What it gives, its faults told as those of its file; whether that is a Mix is looked at in the line."""
    mix = own.call("attention", attention, block)
    return (lambda values: own.call("attention", mix, values)) if callable(mix) else mix

"""Frozen records of constants, and how options change them: types come from the annotations, words from the fields."""

import types
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, field, fields, is_dataclass, replace
from functools import cache
from math import isfinite
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from ..errors import OptionError, nearest
from .visible import plain

Constants = Mapping[str, Any]
Record = TypeVar("Record")

HUGE = 10**300  # whole numbers from which on a float may not hold them
OFF = "off"  # key of a field's metadata: what None stands for
SPELLED = {None: ("none", "off"), True: ("on", "true", "yes"), False: ("false", "no")}  # on the command line
PLAIN = {  # a type: what to give, in the singular and the plural
    bool: ("on or off", "on or off, joined by commas"),
    int: ("a whole number", "whole numbers joined by commas"),
    float: ("a number", "numbers joined by commas"),
    str: ("a word", "words joined by commas"),
}


def constant(default: Any, *, off: Any) -> Any:
    """A field of a record that `None` switches to `off`; fields that allow None, and switches, need no word."""
    return field(default=default, metadata={OFF: off})


def switches_of(record: Any) -> set[str]:
    """Fields of a record that `constant` made, by name."""
    return {one.name for one in fields(record) if OFF in one.metadata}


def constants_of(record: Any) -> dict[str, Any]:
    """Fields of a record by name; nothing for what is no record, such as a plain function."""
    known = fields(record) if is_dataclass(record) and not isinstance(record, type) else ()
    values = {item.name: getattr(record, item.name) for item in known if item.init}
    return {name: value for name, value in values.items() if isinstance(value, (*PLAIN, tuple, type(None)))}


def own_values(record: Any) -> dict[str, Any]:
    """Constants of a record that are not their field's default, by name."""
    defaults = {one.name: one.default for one in fields(record)} if is_dataclass(record) else {}
    return {name: value for name, value in constants_of(record).items() if _differ(value, defaults.get(name, MISSING))}


def _differ(value: Any, default: Any) -> bool:
    return type(value) is not type(default) or value != default


def override(record: Record, changes: Constants) -> Record:
    """A frozen record with some fields replaced; None switches a field off.

    Raises OptionError for an unknown name (naming the nearest), a wrong type, or a field that cannot be off.
    """
    known = {item.name: item for item in fields(record)}  # type: ignore[arg-type]
    unknown = next((name for name in changes if name not in known), None)
    if unknown is not None:
        raise OptionError(f"unknown setting {unknown!r}", nearest(unknown, known))
    hints = _hints(type(record))  # type: ignore[arg-type]
    ready = {
        name: _switched_off(name, hints[name], known[name].metadata)
        if value is None
        else _converted(name, hints[name], value)
        for name, value in changes.items()
    }
    return replace(record, **ready)  # type: ignore[type-var]


def share_out(parts: Mapping[str, Any], changes: Constants) -> dict[str, dict[str, Any]]:
    """Changes by the parts whose records have such a field, mostly one; a name that no part has goes to ""."""
    known = {part: constants_of(record) for part, record in parts.items()}
    shared: dict[str, dict[str, Any]] = {part: {} for part in ("", *parts)}
    for name, value in changes.items():
        for part in [part for part, names in known.items() if name in names] or [""]:
            shared[part][name] = value
    return shared


def require(fine: bool, name: str, value: object, allowed: str) -> None:
    """Raises OptionError where a value is outside its range; `allowed` says what it must be."""
    if not fine:
        raise OptionError(f"{name}={plain(value)} is not possible", f"it must be {allowed}")


def require_finite(record: Any) -> None:
    """Raises OptionError where a constant of a record is NaN or infinite."""
    for name, value in constants_of(record).items():
        for one in value if isinstance(value, tuple) else (value,):
            require(not isinstance(one, float) or isfinite(one), name, value, "finite")


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """["stride=56", "background_threshold=none"] -> fields with their types; a tuple for values joined by commas.

    Raises OptionError for one without a value, and for a field that comes twice.
    """
    found: dict[str, Any] = {}
    for text in assignments:
        name, value = _parse_assignment(text)
        if name in found:
            what = f"setting {name!r} came twice (the second time as {text!r})"
            raise OptionError(what, "give it once; segloop evaluate tries several values, as in --set stride=28,56")
        found[name] = value
    return found


def _parse_assignment(text: str) -> tuple[str, Any]:
    name, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not value:
        raise OptionError(f"setting {text!r} has no value", "write --set field=value, such as --set stride=56")
    parts = tuple(_value(part.strip()) for part in value.split(","))
    return name, parts if "," in value else parts[0]


def _value(text: str) -> Any:
    for value, words in SPELLED.items():
        if text.lower() in words:
            return value
    return _number(text)


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


@cache
def _hints(record: Any) -> dict[str, Any]:
    return get_type_hints(record)


def _switched_off(name: str, hint: Any, metadata: Mapping[Any, Any]) -> Any:
    if OFF in metadata:
        return metadata[OFF]
    if (word := _word(hint, None)) is not None:
        return word
    if type(None) in get_args(hint):
        return None
    if hint is bool:
        return False
    raise OptionError(f"setting {name!r} cannot be off", "give it a value")


def _converted(name: str, hint: Any, value: Any) -> Any:
    """A value as its annotation has it: whole numbers become floats, a single value a tuple."""
    hint = _without_none(hint)
    if get_origin(hint) is Literal:
        value = _word(hint, value) if isinstance(value, bool) and value not in get_args(hint) else value
        if value not in get_args(hint):
            raise OptionError(f"setting {name}={plain(value)}", nearest(str(value), map(str, get_args(hint))))
        return value
    if get_origin(hint) is tuple:
        kind = get_args(hint)[0]
        items = tuple(value) if isinstance(value, (list, tuple)) else (value,)
        return tuple(_of_kind(name, kind, item, value, PLAIN[kind][1]) for item in items)
    if hint == (int | float):
        hint = int if type(value) is int else float
    return _of_kind(name, hint, value, value, PLAIN[hint][0]) if hint in PLAIN else value


def _word(hint: Any, value: bool | None) -> Any:
    """The word of a Literal that the command line took for a switch: "on", "off"; else the value itself."""
    words = get_args(_without_none(hint)) if get_origin(_without_none(hint)) is Literal else ()
    return next((word for word in words if str(word).lower() in SPELLED[value]), value)


def _without_none(hint: Any) -> Any:
    if get_origin(hint) not in (Union, types.UnionType) or type(None) not in get_args(hint):
        return hint
    return Union[tuple(kind for kind in get_args(hint) if kind is not type(None))]  # noqa: UP007


def _of_kind(name: str, kind: Any, item: Any, value: Any, words: str) -> Any:
    if kind is float and type(item) is int:
        require(abs(item) < HUGE, name, value, "finite")
        return float(item)
    if type(item) is not kind:
        raise OptionError(f"setting {name}={plain(value)}", f"give {words}")
    require(kind is not float or isfinite(item), name, value, "finite")
    return item

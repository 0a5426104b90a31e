"""A command whose options are one frozen record: declared once, handed on whole.

typer reads a function's signature; this writes that signature from the fields of a dataclass. A field that is itself
such a dataclass gives its own fields, so that commands share groups of options.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import wraps
from inspect import Parameter, Signature
from typing import Any, TypeVar, get_type_hints

Record = TypeVar("Record")


def taking(record: type[Record]) -> Callable[[Callable[[Record], None]], Callable[..., None]]:
    """Decorate `command(record)` as a function that typer can read: one keyword for each field, its help with it."""

    def decorate(command: Callable[[Record], None]) -> Callable[..., None]:
        @wraps(command)
        def called(**values: Any) -> None:
            command(_made(record, values))

        parameters = list(_parameters(record))
        called.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
        called.__annotations__ = {one.name: one.annotation for one in parameters}
        return called

    return decorate


def flat(record: Any) -> dict[str, Any]:
    """Values by name, those of records within among them."""
    found: dict[str, Any] = {}
    for name, value in vars(record).items():
        found |= flat(value) if is_dataclass(value) else {name: value}
    return found


def given(record: Any) -> dict[str, str]:
    """What differs from its default: name of the field -> what the command line calls it, "--limit" or "KEY"."""
    found: dict[str, str] = {}
    hints = get_type_hints(type(record), include_extras=True)
    for field in fields(record):
        value = getattr(record, field.name)
        if is_dataclass(value):
            found |= given(value)
        elif value != field.default:
            (told,) = hints[field.name].__metadata__
            names = [told.default, *(told.param_decls or ())]  # typer keeps the first name as `default`
            found[field.name] = next((name for name in names if str(name).startswith("--")), field.name.upper())
    return found


def _parameters(record: type) -> Iterator[Parameter]:
    hints = get_type_hints(record, include_extras=True)
    for field in fields(record):
        if is_dataclass(hints[field.name]):
            yield from _parameters(hints[field.name])
        else:
            default = Parameter.empty if field.default is MISSING else field.default
            yield Parameter(field.name, Parameter.KEYWORD_ONLY, default=default, annotation=hints[field.name])


def _made(record: type[Record], values: Mapping[str, Any]) -> Record:
    hints = get_type_hints(record)
    return record(
        **{
            field.name: _made(hints[field.name], values) if is_dataclass(hints[field.name]) else values[field.name]
            for field in fields(record)  # type: ignore[arg-type]
        }
    )

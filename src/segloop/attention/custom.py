"""An attention of your own, from a file: `idea.py:mix` (design 4)."""

import importlib.util
import sys
from dataclasses import MISSING, fields, is_dataclass
from functools import partial
from inspect import isfunction
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ..errors import OptionError, memory_ran_out, nearest

if TYPE_CHECKING:
    from torch import Tensor

    from .types import Attention, LastBlock, Mix


def attention_from_file(place: str) -> "Attention":
    """ "FILE.py:function" -> the function, or the record, (LastBlock) -> Mix. Runs your file as `python FILE.py` does.

    Raises OptionError where the file or the function is missing, or the file fails; so does the function itself.
    """
    file, colon, name = place.rpartition(":")
    if not colon or not name or not file.endswith(".py"):
        file = place.rstrip(":")
        raise OptionError(f"method {place!r} names no function", f"write {file}:function")
    if not Path(file).is_file():
        plug_in, _, inner = place.partition(":")
        if is_file_place(inner):  # behind a drive's letter too, so the file is looked for first
            raise OptionError(f"{place!r} names two methods", f"write --method {plug_in} --host {inner}")
        raise OptionError(f"there is no file {file!r} for method {place!r}", "check the path; write FILE.py:function")
    module = _run(Path(file))
    attention = getattr(module, name, None)
    if isinstance(attention, type) and _has_defaults(attention):  # a record by its class
        attention = attention()
    if not callable(attention):
        mine = {key: value for key, value in vars(module).items() if isfunction(value)}
        known = [key for key, value in mine.items() if value.__module__ == module.__name__]
        remedy = nearest(name, known) if known else "write one, (LastBlock) -> Mix"
        raise OptionError(f"{file} has no function {name!r}", remedy)
    return _blamed(attention, place)


def is_file_place(method: str) -> bool:
    """Whether a method's text means a function in a file."""
    return ".py:" in method or method.endswith(".py")


def _run(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"segloop_own_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise OptionError(f"{str(path)!r} is not a Python file", "write FILE.py:function")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # dataclasses look themselves up there
    sys.path.insert(0, str(path.parent))  # as `python FILE.py` does, so that it may import its neighbours
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[spec.name]
        raise OptionError(f"{path} fails when run ({type(error).__name__}: {error})", "mend it first") from error
    finally:
        sys.path.remove(str(path.parent))
    return module


def _blamed(attention: Any, place: str) -> "Attention":
    """The same attention; what it or its Mix raises is told as a fault of its file, not of segloop."""

    if is_dataclass(attention) and not isinstance(attention, type):
        return _blamed_record(attention, place)

    def build(block: "LastBlock") -> "Mix":
        return _built(attention, block, place)

    build.__module__, _, build.__qualname__ = Path(place).name.rpartition(":")  # as records name it
    return build


def _has_defaults(kind: type) -> bool:
    """Whether a class is a record of constants, each with a default; any other makes a Mix of a block itself."""
    return is_dataclass(kind) and all(item.default is not MISSING for item in fields(kind))


def _blamed_record(attention: Any, place: str) -> "Attention":
    """As `_blamed`, for a record: its constants stay settings, and its copies are blamed too."""
    kind = type(attention)

    def build(self: Any, block: "LastBlock") -> "Mix":
        return _built(partial(kind.__call__, self), block, place)

    module, _, name = Path(place).name.rpartition(":")
    blamed = type(name, (kind,), {"__call__": build, "__module__": module, "__qualname__": name})
    own = {item.name: getattr(attention, item.name) for item in fields(attention) if item.init}
    return blamed(**own)


def _mixed(mix: Any, values: "Tensor", place: str) -> "Tensor":
    mixed = _call(mix, values, place)
    if not hasattr(mixed, "isfinite"):  # an array of NumPy has a shape too
        what = f"attention {place} made {type(mixed).__name__} of values {tuple(values.shape)}"
        raise OptionError(what, "a Mix returns a tensor (B, h, N, d)")
    return mixed


def _built(attention: Any, block: "LastBlock", place: str) -> "Mix":
    mix = _call(attention, block, place)
    if not callable(mix):
        what = f"attention {place} returned {type(mix).__name__}, not a function"
        raise OptionError(what, "return a Mix: values (B, h, N, d) -> mixed values (B, h, N, d)")
    return lambda values: _mixed(mix, values, place)


def _call(function: Any, argument: Any, place: str) -> Any:
    try:
        return function(argument)
    except Exception as error:
        if memory_ran_out(error):
            raise
        what = f"attention {place} fails ({type(error).__name__}: {error})"
        raise OptionError(what, "mend it; --debug shows the line") from error

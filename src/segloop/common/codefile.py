"""Functions of the user's own by their place, `FILE.py:function`, and their faults told as theirs."""

from collections.abc import Callable
from dataclasses import dataclass
from inspect import isfunction
from pathlib import Path
from typing import Any

from ..errors import OptionError, UserError, memory_ran_out, nearest
from .world import World


@dataclass(frozen=True)
class Own:
    """What a place names, and the world that it lives in."""

    place: str  # as the user wrote it
    value: Any
    world: World

    @property
    def name(self) -> str:
        """As records have it: "idea.py:mix", without a path of this machine."""
        return Path(self.place).name

    def call(self, kind: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """What a function of that world gives. Raises OptionError for whatever it raises, naming its `kind`."""
        try:
            with self.world.active():
                return function(*arguments)
        except UserError:
            raise  # segloop's own sentence
        except Exception as error:
            if memory_ran_out(error):
                raise
            what = f"{kind} {self.place} fails ({type(error).__name__}: {error})"
            raise OptionError(what, "mend it; --debug shows the line") from error


def is_file_place(text: str) -> bool:
    """Whether a text means a function in a file."""
    return ".py:" in text or text.endswith(".py")


def own_of(place: str, option: str, form: str) -> Own:
    """ "FILE.py:function" -> what it names, the file run afresh, as `python FILE.py` does.

    `option` is what the place was given for ("method"), `form` what the function should be. Raises OptionError where
    the file or the function is missing, or the file fails.
    """
    file, colon, name = place.rpartition(":")
    if not colon or not name or not file.endswith(".py"):
        file = place.rstrip(":")
        raise OptionError(f"{option} {place!r} names no function", f"write {file}:function")
    if not Path(file).is_file():
        raise OptionError(f"there is no file {file!r} for {option} {place!r}", "check the path; write FILE.py:function")
    world = World(Path(file))
    try:
        module = world.run()
    except (Exception, SystemExit) as error:
        relative = isinstance(error, ImportError) and "relative import" in str(error)
        remedy = (
            "write `from name import ...` for a file beside it: it is run as a script" if relative else "mend it first"
        )
        raise OptionError(f"{file} fails when run ({type(error).__name__}: {error})", remedy) from error
    value = getattr(module, name, None)
    if callable(value):
        return Own(place, value, world)
    mine = {key: item for key, item in vars(module).items() if isfunction(item)}
    known = [key for key, item in mine.items() if item.__module__ == module.__name__]
    remedy = nearest(name, known) if known else f"write one, {form}"
    raise OptionError(f"{file} has no function {name!r}", remedy)

"""An attention of your own, from a file: `idea.py:mix` (design 4)."""

import importlib.util
import sys
from pathlib import Path

from .errors import OptionError
from .types import Attention


def attention_from_file(place: str) -> Attention:
    """ "FILE.py:function" -> the function (LastBlock) -> Mix. It runs your file, as `python FILE.py` would.

    Raises OptionError where the file or the function is missing, or the file fails.
    """
    file, _, name = place.rpartition(":")
    path = Path(file)
    if not path.is_file():
        raise OptionError(f"there is no file {file!r} for method {place!r}", "write FILE.py:function")
    spec = importlib.util.spec_from_file_location(path.name, path)
    if spec is None or spec.loader is None:
        raise OptionError(f"{file!r} is not a Python file", "write FILE.py:function")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))  # as `python FILE.py` does, so that it may import its neighbours
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise OptionError(f"{file} fails when run ({type(error).__name__}: {error})", "mend it first") from error
    finally:
        sys.path.remove(str(path.parent))
    attention = getattr(module, name, None)
    if not callable(attention):
        known = ", ".join(key for key, value in vars(module).items() if callable(value)) or "none"
        raise OptionError(f"{file} has no function {name!r}", f"its functions are: {known}")
    return attention


def is_file_place(method: str) -> bool:
    """Whether a method's text means a function in a file."""
    return ".py:" in method

"""MATLAB files, through scipy: an extra, asked for where it is needed."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from ..common.files import regular
from ..errors import UserError
from .work import Size, decoding


def require_scipy() -> Any:
    """scipy.io. Raises UserError naming the package, before the first of thousands of files."""
    try:
        return import_module("scipy.io")
    except ImportError as error:
        what = "MATLAB files are read by scipy, which is not installed"
        raise UserError(what, "install it: pip install scipy") from error


def read_map(path: Path, pick: Callable[[Any], Any]) -> np.ndarray:
    """(H, W) of whole numbers that `pick` finds among the file's variables. Raises ImageError."""
    api = require_scipy()
    with decoding(path), regular(path).open("rb") as stream:  # scipy's own message for a missing file is another error
        found = np.asarray(pick(api.loadmat(stream)))
        if found.ndim != 2 or found.dtype.kind not in "iu":
            raise ValueError(f"a variable of shape {found.shape} and type {found.dtype} is no map")
    return found


def map_size(path: Path, pick: Callable[[Any], Any]) -> Size:
    """(H, W) of that map."""
    height, width = read_map(path, pick).shape
    return height, width

"""Photos that another tool hands over: inside of their address, or by a name below the one folder that is served."""

import base64
import re
import stat
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from ..errors import ImageError
from .limits import Limits
from .photo import UNNAMED, Upload, checked, too_heavy

DATA = re.compile(r"data:[\w/.+-]*(;[\w=.+-]+)*;base64,", re.IGNORECASE)
LOCAL, UPLOADED = "/data/local-files/", "/data/upload/"  # Label Studio's own addresses
SHOWN = 60  # letters of an address
SERVE = "start segloop demo with --photos FOLDER, the folder that Label Studio shows them from"


def decoded(text: str, limits: Limits) -> Upload:
    """A data address, or base64 alone, as a photo. Raises ImageError, Refusal for one that is too large."""
    head = DATA.match(text)
    if head is None and text.lstrip().startswith("data:"):
        raise ImageError("the photo's data is not in base64", "send data:image/png;base64,...")
    letters = text[head.end() if head else 0 :]
    if len(letters) > limits.upload * 3 // 2:
        raise too_heavy(limits)
    try:
        data = base64.b64decode(re.sub(r"\s", "", letters), validate=True)
    except ValueError as error:
        raise ImageError("the photo's data is no base64", "send the bytes of a photo file in base64") from error
    return checked(UNNAMED, data, limits)


def handed(address: str, folder: Path | None, limits: Limits) -> Upload:
    """A photo by its data address, or by Label Studio's address of a file below `folder`; no other is ever opened.

    Raises ImageError, Refusal for one that is too large.
    """
    if address.lstrip()[:5].lower() == "data:":
        return decoded(address.lstrip(), limits)
    name = _name(address)
    if name is None:
        what = f"the photo lies at {address[:SHOWN]!r}, and no address is opened"
        raise ImageError(what, "let Label Studio hold the files itself, or put the photo into the task as base64")
    if folder is None:
        raise ImageError(f"{name[:SHOWN]!r} is a file, and no folder of photos is served", SERVE)
    return checked(name, _read(name, folder, limits), limits)


def _name(address: str) -> str | None:
    """Below the folder, of a file that Label Studio shows; None for any other address."""
    try:
        parts = urlsplit(address)
        path, asked = unquote(parts.path), parse_qs(parts.query)
    except ValueError:
        return None
    if path.endswith(LOCAL):
        return asked["d"][0] if "d" in asked else None
    _, found, below = path.partition(UPLOADED)
    return below if found and below else None


def _read(name: str, folder: Path, limits: Limits) -> bytes:
    """A file below the folder, links followed before it is asked whether it lies there."""
    top = folder.resolve()
    try:
        path = (top / name).resolve()
        if not path.is_relative_to(top):
            raise FileNotFoundError
        told = path.stat()
        if not stat.S_ISREG(told.st_mode):
            raise FileNotFoundError
        if told.st_size > limits.upload:
            raise too_heavy(limits)
        return path.read_bytes()
    except (OSError, ValueError) as error:
        what = f"{name[:SHOWN]!r} is no file below the folder of --photos that can be read"
        raise ImageError(what, "name the folder that Label Studio's own addresses count from") from error

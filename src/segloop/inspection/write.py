"""The files of an inspection: the page, its pictures beside it, its numbers."""

import io
import json
from pathlib import Path
from typing import Any

from PIL import Image

from ..files import write_whole
from .look import Inspection
from .page import page
from .pictures import pictures
from .record import record

LEVEL = 4  # of PNG: nearly as small as the default and three times as fast


def write(found: Inspection, stem: Path) -> dict[str, Any]:
    """Write `<stem>/*.png`, `<stem>.inspect.html`, `<stem>.inspect.json` -> what the last one holds.

    Each file is written whole or not at all, and files that are there are replaced. Raises OutputError,
    MachineError.
    """
    pngs = {name: _png(picture) for name, picture in pictures(found).items()}
    for name, data in pngs.items():
        write_whole(stem / f"{name}.png", data)
    html, numbers = (stem.with_name(f"{stem.name}.inspect.{kind}") for kind in ("html", "json"))
    write_whole(html, page(found, pngs).encode("utf-8", "backslashreplace"))
    made = record(found) | {"files": [html.name, *(f"{stem.name}/{name}.png" for name in pngs)]}
    text = json.dumps(made, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_whole(numbers, text.encode("utf-8", "backslashreplace"))
    return made


def _png(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "PNG", compress_level=LEVEL)
    return stream.getvalue()

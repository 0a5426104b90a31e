"""The files of an inspection: the page, its pictures beside it, its numbers."""

import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PIL import Image

from ..common.earlier import check_replaced, json_of, mark, png_of, saying
from ..common.files import write_whole
from .look import Inspection
from .page import page
from .pictures import pictures
from .record import record

LEVEL = 4  # of PNG: nearly as small as the default and three times as fast


def write(found: Inspection, stem: Path) -> dict[str, Any]:
    """Write `<stem>/*.png`, `<stem>.inspect.html`, `<stem>.inspect.json` -> what the last one holds.

    Each file is written whole or not at all, and those of an earlier inspection are replaced. Raises OptionError where
    another file bears the name of one, OutputError, MachineError.
    """
    pngs = {name: _png(picture) for name, picture in pictures(found).items()}
    check(stem, pngs)
    for name, data in pngs.items():
        write_whole(stem / f"{name}.png", data)
    html, numbers = _beside(stem)
    write_whole(html, page(found, pngs).encode("utf-8", "backslashreplace"))
    made = record(found) | {"files": [html.name, *(f"{stem.name}/{name}.png" for name in pngs)]}
    text = json.dumps(made, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_whole(numbers, text.encode("utf-8", "backslashreplace"))
    return made


def check(stem: Path, names: Iterable[str] = ()) -> None:
    """See that an inspection replaces nothing but an earlier one; `names` are of its pictures.

    Raises OptionError, OutputError.
    """
    html, numbers = _beside(stem)
    written = {html: saying(b" \xe2\x80\x93 segloop inspect</title>"), numbers: json_of(("source", "maps", "changes"))}
    written |= {stem / f"{name}.png": png_of("inspect") for name in names}
    check_replaced(written, "move it away, or choose another --out")


def _beside(stem: Path) -> tuple[Path, Path]:
    """The page and its numbers."""
    return stem.with_name(f"{stem.name}.inspect.html"), stem.with_name(f"{stem.name}.inspect.json")


def _png(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "PNG", compress_level=LEVEL, pnginfo=mark("inspect"))
    return stream.getvalue()

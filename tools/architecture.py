"""Draw docs/architecture.svg and write docs/architecture.md: the way of a photo, watched, and who imports whom.

    python tools/architecture.py [--check]

The way is what `straight_line` really calls for a bundled picture and model, with the shapes that came out, so the
picture cannot say what the code does not do. `--check` writes nothing and fails where the pages are of other code.
"""

import argparse
import ast
import inspect
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

import segloop
from segloop import Segmenter, Vocabulary
from segloop.line.straight import straight_line

ROOT = Path(__file__).resolve().parents[1]
SRC = Path(segloop.__file__).parent
PHOTO = ROOT / "examples" / "scene-1.png"
CHOICE = {"host": "sfp", "short_side": 192, "crop": 128, "stride": 64}
WORDS = ("grass", "sand|beach", "water", "red")
INSIDE, DEEPEST = 7, 4  # calls told within a step, levels watched
WIDTH, LINE, PAD, GAP = 980, 19, 12, 16  # pixels
STYLE = """text{font:14px ui-sans-serif,system-ui,sans-serif;fill:#1c2733}
.name{font-weight:600}.file{fill:#5a6b7b;font-weight:400}
.shape{font-family:ui-monospace,monospace;font-size:13px;fill:#0b5a8a;text-anchor:end}
rect{fill:#f3f6f9;stroke:#c3ced8}path{stroke:#8496a6;fill:none}
@media(prefers-color-scheme:dark){text{fill:#e4ebf1}.file{fill:#9fb0bf}.shape{fill:#7cc4ee}
rect{fill:#1a242d;stroke:#3a4a58}path{stroke:#6c7f90}}"""


@dataclass
class Call:
    """A function of segloop that was called, and what came out."""

    name: str
    file: str  # below src/segloop
    depth: int = 0
    shape: str = ""
    inside: list["Call"] = field(default_factory=list)


def shape_of(value: Any) -> str:
    """The shapes of the arrays in a value; of a record, those of its fields by name."""
    if isinstance(value, (torch.Tensor, np.ndarray)):
        return f"({', '.join(map(str, value.shape))})"
    if isinstance(value, dict) and value:
        return shape_of(next(reversed(value.values())))
    if isinstance(value, tuple):
        return " ".join(filter(None, map(shape_of, value)))
    if is_dataclass(value) and not isinstance(value, type):
        own = {one.name: getattr(value, one.name) for one in fields(value)}
        arrays = {name: item for name, item in own.items() if isinstance(item, (torch.Tensor, np.ndarray))}
        return ", ".join(f"{name} {shape_of(item)}" for name, item in list(arrays.items())[:3])
    return ""


def watched() -> list[Call]:
    """The calls that `straight_line` makes, in order, and those that each of them makes."""
    segmenter = Segmenter.from_pretrained("tiny", dtype="float32", device="cpu", **CHOICE)
    vocabulary = Vocabulary(list(WORDS), templates="single")
    root = Call("straight_line", "")
    running: dict[FrameType, Call] = {}

    def watch(frame: FrameType, event: str, value: Any) -> None:
        if event == "call" and frame.f_code is straight_line.__wrapped__.__code__:
            running[frame] = root
        elif event == "call" and (above := running.get(_caller(frame))) and above.depth < DEEPEST and _told(frame):
            place = str(Path(frame.f_code.co_filename).relative_to(SRC))
            call = Call(_name(frame), place, above.depth + 1)
            above.inside.append(call)
            running[frame] = call
        elif event == "return" and frame in running:
            running.pop(frame).shape = shape_of(value)

    with TemporaryDirectory() as cache, patch.dict(os.environ, SEGLOOP_CACHE=cache):  # rows from a cache hide a step
        sys.setprofile(watch)
        try:
            straight_line(segmenter, PHOTO, vocabulary)
        finally:
            sys.setprofile(None)
    return [call for call in root.inside if call.shape]


def _caller(frame: FrameType) -> FrameType | None:
    """The nearest frame of segloop above this one: decorators of libraries lie between."""
    above = frame.f_back
    while above is not None and not above.f_code.co_filename.startswith(str(SRC)):
        above = above.f_back
    return above


def _name(frame: FrameType) -> str:
    """The function's name, behind its class where it is a method; of `__call__` the class alone."""
    name, owner = frame.f_code.co_name, frame.f_locals.get("self")
    if owner is None or not hasattr(type(owner), name):
        return name
    return type(owner).__name__ if name == "__call__" else f"{type(owner).__name__}.{name}"


def _told(frame: FrameType) -> bool:
    """Whether a frame is a function of segloop that somebody would look for: no property, no comprehension."""
    code, owner = frame.f_code, frame.f_locals.get("self")
    if not code.co_filename.startswith(str(SRC)) or "<" in code.co_name:
        return False
    found = inspect.getattr_static(type(owner), code.co_name, None) if owner is not None else None
    return not isinstance(found, (property, cached_property))


def drawing(calls: list[Call]) -> str:
    """The way as SVG: a box for each step, in order, with what it calls and the shape that comes out."""
    parts, top = [], PAD
    for place, call in enumerate(calls, start=1):
        inside = inner(call)
        height = (len(inside) + 1) * LINE + PAD
        parts.append(f'<rect x="1" y="{top}" width="{WIDTH - 2}" height="{height}" rx="6"/>')
        for line, one in enumerate([call, *inside]):
            y, x = top + (line + 1) * LINE, PAD + (24 if line else 0)
            name = escape(f"{place}  {one.name}" if not line else one.name)
            kind = "name" if not line else "inner"
            parts.append(f'<text class="{kind}" x="{x}" y="{y}">{name} <tspan class="file">{one.file}</tspan></text>')
            parts.append(f'<text class="shape" x="{WIDTH - PAD}" y="{y}">{escape(one.shape)}</text>')
        top += height
        if place < len(calls):
            parts.append(f'<path d="M{WIDTH // 2} {top}v{GAP}m-4 -5l4 5l4 -5"/>')
        top += GAP
    size = f'width="{WIDTH}" height="{top}" viewBox="0 0 {WIDTH} {top}"'
    told = "The way of a photo through segloop, step by step, with the file and the shape of each."
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{told}">'
    return "\n".join([head, f"<style>{STYLE}</style>", *parts, "</svg>", ""])


def inner(call: Call) -> list[Call]:
    """What is told within a call: the calls that have a shape, for a private one or a lone one those within it too.

    Of one function that was called several times, the last.
    """
    found: list[Call] = []
    for one in call.inside:
        private = one.name.rpartition(".")[2].startswith("_")
        found += (inner(one) if private else []) or [one]
    found = list({one.name: one for one in found if one.shape}.values())
    return (found + inner(found[0]) if len(found) == 1 else found)[:INSIDE]


def rooms() -> Iterator[tuple[str, str, list[str]]]:
    """(room, its first sentence, the rooms that it imports from), from the top."""
    arrows: dict[str, set[str]] = {}
    first: dict[str, str] = {}
    for path in sorted(SRC.rglob("*.py")):
        place = path.relative_to(SRC).with_suffix("").parts
        tree, room = ast.parse(path.read_text()), place[0]
        if place[-1] == "__init__" or len(place) == 1:
            first.setdefault(room, (ast.get_docstring(tree) or "").splitlines()[0])
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.level == len(place):
                named = [node.module.split(".")[0]] if node.module else [alias.name for alias in node.names]
                arrows.setdefault(room, set()).update(named)
    known = set(first) - {"__init__", "__main__"}
    order: list[str] = []
    while len(order) < len(known):
        order += sorted(room for room in known - set(order) if (arrows.get(room, set()) & known) - {room} <= set(order))
    for room in order:
        yield room, first[room], sorted((arrows.get(room, set()) & known) - {room, "errors"})


def page() -> str:
    """The page around the picture."""
    table = "\n".join(f"| `{room}` | {told} | {', '.join(above) or '-'} |" for room, told, above in rooms())
    return f"""# Architecture

Made by `python tools/architecture.py` from the code; a test holds it to be of this code.

## The way of a photo

`src/segloop/line/straight.py` is all of it in one function; `Segmenter` goes the same way with many photos at once.
The picture is what that function really called for `examples/scene-1.png`, the bundled model, feedback on SFP, and
four words, one with a synonym; on the right, the shapes that came out.

![The way of a photo](architecture.svg)

## The rooms

A room imports only from rooms above it, and no file is in a circle; `tests/test_layers.py` holds both. All may use
`errors`.

| room | what it is | imports from |
|---|---|---|
{table}
"""


def main() -> None:
    """Write the pages, or check them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="fail where the pages are of other code")
    made = {"architecture.svg": drawing(watched()), "architecture.md": page()}
    check = parser.parse_args().check
    for name, text in made.items():
        path = ROOT / "docs" / name
        if not check:
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            sys.exit(f"docs/{name} is of other code: run python tools/architecture.py")


if __name__ == "__main__":
    main()

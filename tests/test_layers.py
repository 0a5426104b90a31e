"""The direction of imports is the architecture: a room imports only from rooms above it."""

import ast
from pathlib import Path

SRC = Path(__file__).resolve().parents[1] / "src" / "segloop"

ROOMS = [
    "__init__",
    "errors",
    "keys",
    "visible",
    "system",
    "types",
    "files",
    "pages",
    "earlier",
    "attempts",
    "records",
    "doors",
    "sheets",
    "settings",
    "attention",
    "custom",
    "pruning",
    "feedback",
    "outliers",
    "purify",
    "windows",
    "refine",
    "decide",
    "classfiles",
    "vocabulary",
    "rows",
    "embeddings",
    "images",
    "palette",
    "overlay",
    "outline",
    "coco",
    "annotations",
    "results",
    "textures",
    "scenes",
    "metrics",
    "boundary",
    "bootstrap",
    "prepare",
    "maskfiles",
    "labels",
    "strays",
    "maskcolours",
    "layouts",
    "masks",
    "ownclasses",
    "places",
    "splits",
    "pairing",
    "orientation",
    "datasets",
    "backbones",
    "stages",
    "purified",
    "fed",
    "methods",
    "naming",
    "plan",
    "network",
    "opening",
    "describe",
    "steps",
    "segmenter",
    "straight",
    "inspection",
    "tally",
    "sameness",
    "runfolder",
    "record",
    "console",
    "evaluation",
    "report",
    "jobs",
    "commands",
    "cli",
    "__main__",
]


def imported(source: str, package: tuple[str, ...]) -> set[str]:
    """Rooms that a module imports from, anywhere in it; `package` is where it lies below segloop."""
    rooms = set()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.ImportFrom) or node.level == 0:
            continue
        base = package[: len(package) - (node.level - 1)]
        path = [*base, *(node.module or "").split(".")] if node.module else list(base)
        rooms |= {path[0]} if path else {alias.name for alias in node.names}
    return rooms


def modules() -> list[tuple[str, tuple[str, ...], str]]:
    found = []
    for path in sorted(SRC.rglob("*.py")):
        parts = path.relative_to(SRC).with_suffix("").parts
        found.append((parts[0], parts[:-1], path.read_text()))
    return found


def test_every_room_is_listed():
    assert {room for room, _, _ in modules()} <= set(ROOMS)


def test_rooms_import_only_from_above():
    for room, package, source in modules():
        if room == "__init__":
            continue
        below = {other for other in imported(source, package) if other in ROOMS} - {"__init__", "__version__", room}
        late = {other for other in below if ROOMS.index(other) > ROOMS.index(room)}
        assert not late, f"{room} imports from {late}, which lie below it"


def test_the_test_sees_what_it_should():
    assert imported("from .types import Mix", ()) == {"types"}
    assert imported("from ..errors import ModelError", ("backbones",)) == {"errors"}
    assert imported("from .positions import Rule", ("backbones",)) == {"backbones"}
    assert imported("from . import console", ()) == {"console"}
    assert imported("def f():\n    from .segmenter import Segmenter", ()) == {"segmenter"}


def test_rooms_are_small():
    for path in SRC.rglob("*.py"):
        lines = path.read_text().splitlines()
        assert len(lines) <= 310, f"{path.name} has {len(lines)} lines: it asks to be two"
        for node in ast.walk(ast.parse("\n".join(lines))):
            if isinstance(node, ast.FunctionDef) and "commands" not in path.parts:  # options are arguments there
                assert node.end_lineno - node.lineno < 56, f"{path.name}: {node.name} is too long"

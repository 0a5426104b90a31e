"""The direction of imports is the architecture: a room imports only from rooms above it, and no file in a circle."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SRC = ROOT / "src" / "segloop"

ROOMS = [
    "errors",
    "common",
    "attention",
    "maps",
    "words",
    "images",
    "results",
    "scenes",
    "sources",
    "labels",
    "data",
    "scoring",
    "prepare",
    "backbones",
    "choice",
    "line",
    "inspection",
    "runs",
    "labelling",
    "evaluation",
    "report",
    "web",
    "commands",
    "cli",
    "__main__",
    "__init__",
]
MOST_ARROWS = 100  # between folders
MOST_LINES, LONGEST = 300, 50  # of a file, of a function


def modules() -> dict[str, ast.Module]:
    """Every file by its dotted name below segloop; a package by its own."""
    found = {}
    for path in sorted(SRC.rglob("*.py")):
        name = ".".join(path.relative_to(SRC).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = ast.parse(path.read_text())
    return found


FILES = modules()
PACKAGES = {".".join(path.parent.relative_to(SRC).parts) for path in SRC.rglob("__init__.py")}


def imported(name: str, tree: ast.Module) -> Iterator[str]:
    """Files that a file imports from, anywhere in it."""
    package = name.split(".") if name in PACKAGES else name.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            place = [*base, *(node.module or "").split(".")] if node.module else base
            for alias in node.names:
                whole = ".".join([*place, alias.name])
                yield whole if whole in FILES else ".".join(place)


def room(name: str) -> str:
    return name.partition(".")[0] or "__init__"


ARROWS = {name: {to for to in imported(name, tree) if to not in ("", name)} for name, tree in FILES.items()}
"""File -> the files it imports from; the package's own names (`__version__`) are no arrow."""

BETWEEN = {(room(name), room(to)) for name, targets in ARROWS.items() for to in targets if room(name) != room(to)}


def test_every_room_is_listed():
    assert {room(name) for name in FILES} == set(ROOMS)


def test_rooms_import_only_from_above():
    late = [(name, to) for name, to in sorted(BETWEEN) if ROOMS.index(to) > ROOMS.index(name)]
    assert not late, f"{late}: the first imports from the second, which lies below it"


def test_no_file_is_in_a_circle():
    inside = {name: {to for to in targets if to not in PACKAGES} for name, targets in ARROWS.items()}
    assert list(TopologicalSorter(inside).static_order())


def test_arrows_between_rooms_are_few():
    folders = {name.partition(".")[0] for name in PACKAGES} - {""}
    between = {pair for pair in BETWEEN if folders.issuperset(pair)}
    assert len(between) <= MOST_ARROWS, f"{len(between)} arrows between rooms"


def test_the_test_sees_what_it_should():
    def seen(name: str, source: str) -> set[str]:
        return set(imported(name, ast.parse(source)))

    assert seen("line.steps", "from ..attention.types import Mix") == {"attention.types"}
    assert seen("line.steps", "from .stages import Host") == {"line.stages"}
    assert seen("cli", "from .common import console") == {"common.console"}
    assert seen("commands.tune", "def f():\n    from ..images import reading") == {"images"}


def test_rooms_are_small():
    for name, tree in FILES.items():
        path = SRC / (name.replace(".", "/") + ("/__init__.py" if name in PACKAGES else ".py"))
        lines = len(path.read_text().splitlines())
        assert lines <= MOST_LINES, f"{name} has {lines} lines: it asks to be two"
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < LONGEST, f"{name}: {node.name} is too long"

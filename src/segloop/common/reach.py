"""Which files of the user's own a piece of code rests on: its imports, wherever in it they stand, read and not run."""

import ast
import hashlib
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

LIBRARY = {"site-packages", "dist-packages"}
SHARED = {  # what segloop itself runs on: never run twice, and records tell versions, also of what is being developed
    *("torch", "torchvision", "numpy", "scipy", "sklearn", "PIL", "transformers", "tokenizers", "safetensors"),
    *("huggingface_hub", "filelock", "typer", "rich", "jinja2"),
}
IMPORTERS = {"import_module", "__import__"}
READERS = {  # functions that read what no hash of code covers, by their last name
    *("open", "read_text", "read_bytes", "load", "loadtxt", "genfromtxt", "fromfile", "memmap", "imread", "read_csv"),
    *("load_file", "safe_open", "from_pretrained", "hf_hub_download", "snapshot_download", "urlopen", "urlretrieve"),
    *("load_state_dict_from_url", "getenv"),
}
SPOKEN = 40  # letters of an expression that are said


@dataclass(frozen=True)
class Code:
    """What code of the user's own was: its files, and what it rests on besides, as far as that shows."""

    files: Mapping[str, str]  # name without a path of this machine -> SHA-256; the file that was named comes first
    unseen: tuple[str, ...] = ()  # "np.load in idea.py"


@dataclass(frozen=True)
class Source:
    """A file of the user's own, as it was read."""

    name: str  # dotted, as it is imported
    path: str
    text: bytes
    is_package: bool = False

    @property
    def package(self) -> str:
        """What its relative imports start from."""
        return self.name if self.is_package else self.name.rpartition(".")[0]


Read = Callable[[str], bytes]
"""The bytes of a file; the same for the same path, whatever happens to the file meanwhile."""


def is_own(path: str | None, folder: str, name: str = "") -> bool:
    """Whether the file of a module is the user's own: no part of Python, of an installed package or of segloop.

    Packages that are installed for development lie where they are written, and so are the user's own.
    """
    if not path or not os.path.isabs(path):
        return False  # built in, or frozen
    if name.partition(".")[0] in SHARED and os.path.isabs(_below(path, folder)):
        return False
    if LIBRARY.intersection(_below(path, folder).split(os.sep)):
        return False
    real = os.path.realpath(path)
    inside = any(real.startswith(root + os.sep) for root in _python())
    return not inside and not LIBRARY.intersection(_below(real, folder).split(os.sep))


def find(name: str, path: Sequence[str] | None, but: type | tuple[()] = ()) -> ModuleSpec | None:
    """Where a module lies, by all finders except those of the type `but`; nothing is imported."""
    for finder in sys.meta_path:
        look = None if isinstance(finder, but) else getattr(finder, "find_spec", None)
        try:
            spec = look(name, path) if look else None
        except Exception:
            spec = None  # a finder of somebody's that fails finds nothing
        if spec is not None:
            return spec
    return None


def reach(starts: Iterable[Source], folder: str, read: Read, but: type | tuple[()] = ()) -> list[Source]:
    """Files of the user's own that are imported from `starts` on, these first; `folder` is searched before sys.path."""
    found: dict[str, Source] = {}
    waiting = list(starts)
    while waiting:
        one = waiting.pop(0)
        if found.setdefault(one.path, one) is not one:
            continue
        for name in _imported(one):
            waiting += [other for other in _resolved(name, folder, read, but) if other.path not in found]
    return list(found.values())


def code_of(sources: Iterable[Source], folder: str) -> Code:
    """Hashes by names that hold no path of this machine: below the folder, or as the file is imported."""
    files: dict[str, str] = {}
    unseen: dict[str, None] = {}
    for one in sources:
        name = _told(one, folder)
        digest = hashlib.sha256(one.text).hexdigest()
        files[name] = digest if name not in files else hashlib.sha256((files[name] + digest).encode()).hexdigest()
        unseen |= dict.fromkeys(f"{expression} in {name}" for expression in _unseen(one))
    return Code(files, tuple(unseen))


def _told(one: Source, folder: str) -> str:
    below = _below(one.path, folder)
    if not os.path.isabs(below):
        return Path(below).as_posix()
    dotted = one.name.replace(".", "/")
    return f"{dotted}/{os.path.basename(one.path)}" if one.is_package else dotted + os.path.splitext(one.path)[1]


def _below(path: str, folder: str) -> str:
    """The path below the folder; as it is where it lies elsewhere."""
    return path[len(folder) + 1 :] if folder and path.startswith(folder + os.sep) else path


@cache
def _python() -> tuple[str, ...]:
    """Folders of Python's own library and of segloop."""
    names = ("stdlib", "platstdlib")
    own = Path(__file__).resolve().parents[1]
    return (*(os.path.realpath(sysconfig.get_path(name)) for name in names), str(own))


def _tree(one: Source) -> ast.AST:
    try:
        return ast.parse(one.text)
    except (SyntaxError, ValueError, RecursionError):  # told by whoever runs it; a compiled module has none
        return ast.Module([], [])


def _imported(one: Source) -> Iterator[str]:
    """Dotted names that a file imports, anywhere in it; names from a module may be modules too."""
    for node in ast.walk(_tree(one)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute("." * node.level + (node.module or ""), one.package)
            yield from (f"{base}.{alias.name}" for alias in node.names if base)
        elif isinstance(node, ast.Call) and _last(node.func) in IMPORTERS and node.args:
            name = _literal(node.args[0])
            yield from [_absolute(name, one.package)] if name else []


def _absolute(name: str, package: str) -> str:
    try:
        return importlib.util.resolve_name(name, package) if name else ""
    except ImportError:
        return ""


def _resolved(name: str, folder: str, read: Read, but: type | tuple[()]) -> Iterator[Source]:
    """Files of the user's own that importing a dotted name runs: those of its packages, and its own."""
    path: Sequence[str] | None = None
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        dotted = ".".join(parts[:count])
        spec = (find(dotted, [folder], but) if path is None else None) or find(dotted, path, but)
        if spec is None:
            return
        places = spec.submodule_search_locations
        if is_own(spec.origin, folder, dotted) and os.path.isfile(str(spec.origin)):
            yield Source(dotted, str(spec.origin), read(str(spec.origin)), places is not None)
        elif spec.origin is not None:
            return  # somebody else's, and so is all that lies in it
        if places is None:
            return
        path = list(places)


def _unseen(one: Source) -> Iterator[str]:
    """Expressions that bring what no hash of code covers: files, the environment, modules of a computed name."""
    for node in ast.walk(_tree(one)):
        if isinstance(node, ast.Call):
            name = _last(node.func)
            computed = name in IMPORTERS and not (node.args and _literal(node.args[0]))
            if name in READERS or computed:
                yield ast.unparse(node.func)[:SPOKEN]
        elif isinstance(node, ast.Attribute) and node.attr == "environ":
            yield ast.unparse(node)[:SPOKEN]


def _last(node: Any) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _literal(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None

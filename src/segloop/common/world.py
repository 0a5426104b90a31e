"""A file of the user's own, run afresh with the modules of theirs that it imports: a world of its own.

Two files in one process share no module of the user's, whatever their names; each module is compiled from the very
bytes that its hash is made of, and read anew with the file. Libraries are shared as always.
"""

import importlib
import inspect
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from os.path import isfile
from pathlib import Path
from types import ModuleType
from typing import Any

from .reach import Code, Source, code_of, find, is_own, reach

MAIN = "segloop_own_"  # before the name of the file that was named


class World(MetaPathFinder):
    """The user's modules behind one file. While it is `active`, imports find them, and those of its folder first."""

    def __init__(self, file: Path) -> None:
        """Of a file whose neighbours it may import, as `python FILE.py` has it."""
        self.file = os.path.abspath(file)
        self.folder = os.path.dirname(self.file)
        self.modules: dict[str, ModuleType] = {}
        self.texts: dict[str, bytes] = {}
        self.sources: list[Source] = []  # this file, and all of the user's own that it imports, now or later

    def read(self, path: str) -> bytes:
        """The bytes of a file as they were when it was read first. Raises OSError."""
        if path not in self.texts:
            self.texts[path] = Path(path).read_bytes()
        return self.texts[path]

    def run(self) -> ModuleType:
        """The file as a module, run. Raises whatever it raises."""
        name = MAIN + Path(self.file).stem
        importlib.invalidate_caches()
        theirs = [other for other, module in [*sys.modules.items()] if self._owns(other, module)]
        with self.active(theirs):
            spec = spec_from_file_location(name, self.file, loader=_Loader(name, self.file, self))
            assert spec is not None and spec.loader is not None
            module = sys.modules[name] = module_from_spec(spec)  # dataclasses look themselves up there
            spec.loader.exec_module(module)
        self.sources = self._reached()
        return module

    @property
    def code(self) -> Code:
        """What the file that was `run` is, with all that it imports."""
        return code_of(self.sources, self.folder)

    @contextmanager
    def active(self, hidden: Iterable[str] = ()) -> Iterator[None]:
        """Within, the user's modules are this world's; `hidden` are more names that mean nothing there."""
        mine = {*hidden, *self.modules, *(one.name for one in self.sources)}
        others = {name: sys.modules.pop(name) for name in mine & sys.modules.keys()}
        before = {*sys.modules}
        sys.modules.update(self.modules)
        sys.meta_path.insert(0, self)
        sys.path.insert(0, self.folder)
        try:
            yield
        finally:
            sys.path.remove(self.folder)
            sys.meta_path.remove(self)
            made = {name: sys.modules[name] for name in {*sys.modules} - before}
            self.modules |= {name: module for name, module in made.items() if self._owns(name, module)}
            for name in self.modules:
                sys.modules.pop(name, None)
            sys.modules.update(others)

    def find_spec(self, fullname: str, path: Sequence[str] | None = None, target: Any = None) -> ModuleSpec | None:
        """A module of the user's own, to be compiled from what was read; None for any other."""
        spec = find(fullname, path, World)
        place = str(spec.origin) if spec else ""
        if spec is None or not is_own(place, self.folder, fullname) or not (place.endswith(".py") and isfile(place)):
            return None
        loader, places = _Loader(fullname, place, self), spec.submodule_search_locations
        return spec_from_file_location(fullname, place, loader=loader, submodule_search_locations=places)

    def _owns(self, name: str, module: Any) -> bool:
        """Whether a module is the user's own, a folder without code too; compiled ones cannot be had twice."""
        known = getattr(module, "__dict__", {})  # asked for more, some modules import what they stand for
        place = known.get("__file__") or next(iter(known.get("__path__") or ()), None)
        compiled = str(place).endswith((".so", ".pyd"))
        return name != "__main__" and isinstance(place, str) and not compiled and is_own(place, self.folder, name)

    def _reached(self) -> list[Source]:
        """The file, what it imports, and what it has imported by names that no reader sees."""
        first = Source(MAIN + Path(self.file).stem, self.file, self.read(self.file))
        loaded = ((name, getattr(module, "__file__", None)) for name, module in sorted(self.modules.items()))
        others = [Source(name, path, self.read(path), _is_package(path)) for name, path in loaded if path]
        return reach([first, *others], self.folder, self.read, World)


def _is_package(path: str) -> bool:
    return os.path.basename(path) == "__init__.py"


class _Loader(SourceFileLoader):
    """Compiles what the world has read; no bytecode of another minute."""

    def __init__(self, name: str, path: str, world: World) -> None:
        super().__init__(name, path)
        self.world = world

    def get_data(self, path: str) -> bytes:
        """The bytes of the file."""
        return self.world.read(path)

    def path_stats(self, path: str) -> Any:
        """Raises OSError: there is nothing to compare bytecode with."""
        raise OSError("no bytecode is kept")


def code_behind(thing: Any) -> Code | None:
    """The code of a function or record that somebody gave; None for segloop's and for those of libraries.

    What came from a file by its name says so itself (`own_code`).
    """
    known = getattr(thing, "own_code", None)
    if known is not None:
        return known
    thing = thing.func if isinstance(thing, partial) else thing
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    module = str(named.__module__)
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:
        return _typed(named) if module == "__main__" else None
    world = World(Path(file))
    if not is_own(world.file, "", module) or not isfile(world.file):
        return None
    name = module if module != "__main__" else Path(file).stem
    first = Source(name, world.file, world.read(world.file), _is_package(file))
    return code_of(reach([first], world.folder, world.read), world.folder)


def recorded(things: Mapping[str, Iterable[Any]]) -> dict[str, Any]:
    """What records say of code: things by the name of a setting -> {file: SHA-256} of each, and all that is unseen."""
    behind = {name: [code for one in some if (code := code_behind(one))] for name, some in things.items()}
    made: dict[str, Any] = {
        name: {file: digest for code in codes for file, digest in code.files.items()} for name, codes in behind.items()
    }
    unseen = list(dict.fromkeys(one for codes in behind.values() for code in codes for one in code.unseen))
    return {name: files for name, files in made.items() if files} | ({"code_unseen": unseen} if unseen else {})


def _typed(named: Any) -> Code:
    """Code that was typed into a notebook or an interpreter: only its own lines are known, if those."""
    name = getattr(named, "__name__", "function")
    try:
        source = Source(name, name, inspect.getsource(named).encode("utf-8", "surrogatepass"))
    except (OSError, TypeError):
        return Code({}, (f"{name}, which was typed and is kept nowhere",))
    made = code_of([source], "")
    return Code(made.files, (*made.unseen, f"what surrounds {name} where it was typed"))

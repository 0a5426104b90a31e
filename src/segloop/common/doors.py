"""Tables that other packages add rows to, through entry points: `segloop.methods`, `segloop.datasets`.

A package names its row in its own pyproject.toml; once it is installed, the row is one of the table's. Nothing of it
is imported before the row is asked for.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from ..errors import Notice, OptionError

Row = TypeVar("Row")


class Table(Mapping[str, Row], Generic[Row]):
    """Rows of segloop's own, then those of installed packages; a package cannot replace one of ours."""

    def __init__(self, rows: Mapping[str, Row], group: str, checked: Callable[[str, Any], Row]) -> None:
        """`checked(name, object)` makes a row of what an entry point of `group` names, or raises OptionError."""
        self.own = rows
        self.group = group
        self.checked = checked

    def __getitem__(self, name: str) -> Row:
        """A row; raises KeyError where nobody has it, OptionError where its package fails."""
        if name in self.own:
            return self.own[name]
        entry = _entries(self.group)[name]
        try:
            found = entry.load()
        except Exception as error:
            what = f"{name!r} of package {package(entry)} cannot be imported ({type(error).__name__}: {error})"
            raise OptionError(what, "mend or uninstall that package") from error
        return self.checked(name, found)

    def __iter__(self) -> Iterator[str]:
        """Names of rows that can be had; a package that fails is told and left out."""
        yield from self.own
        for name in _entries(self.group):
            if name not in self.own and self._opens(name):
                yield name

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        """Whether somebody has a row of that name; its package is not imported."""
        return name in self.own or name in _entries(self.group)

    def package(self, name: str) -> str | None:
        """Name and version of the package that a row comes from; None for one of ours."""
        entry = None if name in self.own else _entries(self.group).get(name)
        return package(entry) if entry else None

    def _opens(self, name: str) -> bool:
        try:
            self[name]
        except OptionError as error:
            warnings.warn(Notice(str(error)), stacklevel=3)
            return False
        return True


def package(entry: EntryPoint) -> str:
    """Name and version of what brought an entry point."""
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value


@cache
def _entries(group: str) -> dict[str, EntryPoint]:
    """Looked up once: installed packages do not change under a running program."""
    return {entry.name: entry for entry in entry_points(group=group)}

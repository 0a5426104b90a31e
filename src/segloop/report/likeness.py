"""What keeps the methods of a table from being compared like with like, said before any figure of it."""

from collections.abc import Mapping, Sequence

from ..runs.alike import unlike
from . import names
from .runs import Run


def not_alike(runs: Sequence[Run]) -> str:
    """ "class list S (SCLIP), clear (ClearCLIP); logit scale ..." of runs on one data set; nothing where all is one."""
    titles = [names.run_title(run) for run in runs]
    called = [run.name if titles.count(title) > 1 else title for run, title in zip(runs, titles, strict=True)]
    found = unlike([{"settings": run.settings, "queries": run.queries} for run in runs])
    return "; ".join(f"{name} {_grouped(values, called)}" for name, values in found.items())


def lines(runs: Sequence[Run], keys: Mapping[Run, str]) -> list[str]:
    """A sentence for each group of data sets (`keys` of the runs) on which the same things differ."""
    groups: dict[str, list[str]] = {}
    for key in dict.fromkeys(keys.values()):
        said = not_alike([run for run in runs if keys[run] == key])
        if said:
            groups.setdefault(said, []).append(key)
    return [f"Not like with like on {', '.join(where)}: {said}." for said, where in groups.items()]


def _grouped(values: Sequence[str], called: Sequence[str]) -> str:
    groups: dict[str, list[str]] = {}
    for value, name in zip(values, called, strict=True):
        groups.setdefault(value, []).append(name)
    return ", ".join(f"{value} ({', '.join(dict.fromkeys(some))})" for value, some in groups.items())

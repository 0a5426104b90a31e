"""The command line: which commands there are. Each is a file in `commands/`."""

import os
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from . import __version__
from .commands import (
    bank,
    bench,
    demo,
    evaluate,
    experts,
    export,
    inspect,
    label,
    prepare,
    report,
    scenes,
    segment,
    tables,
    tune,
)
from .common import console
from .errors import SegloopError

app = typer.Typer(
    name="segloop",
    help="Segment any photo by free text, with no training.",
    epilog='Start here: segloop segment photo.jpg --classes "road, car|automobile, tree, sky"',
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

COMMANDS: tuple[tuple[Callable[..., None], str], ...] = (
    (segment.segment, segment.EXAMPLE),
    (label.label, label.EXAMPLE),
    (inspect.inspect, inspect.EXAMPLE),
    (experts.experts, experts.EXAMPLE),
    (bank.bank, bank.EXAMPLE),
    (demo.demo, demo.EXAMPLE),
    (evaluate.evaluate, evaluate.EXAMPLE),
    (report.report, report.EXAMPLE),
    (tune.tune, tune.EXAMPLE),
    (bench.bench, bench.EXAMPLE),
    (export.export, export.EXAMPLE),
    (prepare.prepare, prepare.EXAMPLE),
    (scenes.scenes, scenes.EXAMPLE),
    (tables.methods, "segloop methods --json"),
    (tables.models, "segloop models"),
    (tables.datasets, "segloop datasets --data DIR"),
)
"""Functions as `taking` makes them, and a line that each takes."""


def add(command: Callable[..., None], example: str) -> None:
    """Make a row of COMMANDS a command, called as its function is."""
    app.command(epilog=f"Example: {example}")(command)


for row in COMMANDS:
    add(*row)


def _version(wanted: bool) -> None:
    if wanted:
        console.tell(f"segloop {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """Segment any photo by free text, with no training."""


def main() -> None:
    """The program `segloop`."""
    # Before torch is imported: threads that spin while they wait take the processor from other processes' threads.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    console.open_streams()
    try:
        with console.friendly("--debug" in sys.argv):  # also what is outside of commands: help, versions
            code = app(standalone_mode=False)
    except typer.Exit as ended:
        code = ended.exit_code
    except Exception as error:
        if not console.is_usage(error):
            raise
        code = console.say_usage(error)
    sys.exit(code)


__all__ = ["SegloopError", "app", "main"]

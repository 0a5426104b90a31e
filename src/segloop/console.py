"""What the command line says, and how it ends: one sentence for an error, progress on a terminal, exit codes."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from .errors import SegloopError

DONE, OURS, USERS, SOME_FAILED, INTERRUPTED = 0, 1, 2, 3, 130

errors = Console(stderr=True, highlight=False, soft_wrap=True)
output = Console(highlight=False, soft_wrap=True)


@contextmanager
def friendly(debug: bool = False) -> Iterator[None]:
    """Run a command's body; every error ends as one sentence and an exit code, or as a traceback with --debug."""
    try:
        yield
    except (typer.Exit, typer.Abort, typer.BadParameter):
        raise
    except KeyboardInterrupt:
        say("stopped by Ctrl-C; what was finished is kept")
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:
        raise typer.Exit(OURS) from None
    except Exception as error:
        if debug:
            raise
        sentence, code = explain(error)
        say(sentence)
        raise typer.Exit(code) from None


def explain(error: Exception) -> tuple[str, int]:
    """(one sentence with the remedy, exit code) for any error."""
    if isinstance(error, SegloopError):
        return f"error: {error}", error.exit_code
    text = (str(error).strip().splitlines() or [""])[0]
    if isinstance(error, MemoryError) or "out of memory" in text.lower() or "can't allocate memory" in text.lower():
        return "error: memory ran out; use a smaller --batch, or --set short_side=224", OURS
    kind = type(error).__name__
    return f"error: {kind}: {text[:300]}; this is a fault in segloop, run again with --debug and report it.", OURS


def say(sentence: str) -> None:
    """A line on stderr."""
    errors.print(sentence, markup=False)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout."""
    made = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        made.add_row(*row)
    output.print(made, soft_wrap=False)


@contextmanager
def progress(label: str, total: int) -> Iterator[Any]:
    """A bar on stderr for long work, quiet when that is not a terminal: yields `advance(done)` to an absolute count."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=errors,
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    with bar:
        task = bar.add_task(label, total=total)
        yield lambda done, total=total: bar.update(task, completed=done, total=total)


def ensure_folder(folder: Path) -> None:
    """Make an output folder and see that it can be written, before seconds of work. Raises OutputError."""
    from .files import write_whole

    probe = folder / ".segloop-writable"
    write_whole(probe, b"")
    probe.unlink(missing_ok=True)


def summary(share: Mapping[str, float], most: int = 4) -> str:
    """The largest classes of a photo: "grass 61 %, sand 30 %"."""
    largest = sorted(share.items(), key=lambda item: -item[1])[:most]
    return ", ".join(f"{name} {part:.0%}" for name, part in largest if part > 0)

"""What the command line says, and how it ends: one sentence for an error, progress on a terminal, exit codes."""

import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from .errors import MachineError, Notice, PhotoWarning, SegloopError, memory_ran_out
from .files import NO_SPACE

PHOTO_WARNINGS = 5  # that are told one by one, of a batch or a data set
DONE, OURS, USERS, SOME_FAILED, INTERRUPTED = 0, 1, 2, 3, 130

errors = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)
output = Console(highlight=False, soft_wrap=True, emoji=False)


@contextmanager
def friendly(debug: bool = False) -> Iterator[None]:
    """Run a command's body; every error ends as one sentence and an exit code, below a traceback with --debug."""
    try:
        with warnings_as_sentences(debug):
            yield
            sys.stdout.flush()  # here, not at exit, where nothing catches a closed pipe or a full disk
    except (typer.Exit, typer.Abort, typer.BadParameter):
        raise
    except KeyboardInterrupt:
        say("stopped by Ctrl-C; what was finished is kept")
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:  # who reads stdout has seen enough, as `head` does
        _drop_stdout()
        raise typer.Exit(OURS) from None
    except Exception as error:
        if debug:
            errors.print("".join(traceback.format_exception(error)), markup=False)
        sentence, code = explain(error)
        say(sentence)
        raise typer.Exit(code) from None


@contextmanager
def warnings_as_sentences(debug: bool = False) -> Iterator[None]:
    """What segloop warns of is a sentence on stderr; what libraries say to programmers is for --debug."""
    told: set[str] = set()
    about_photos: set[str] = set()

    def tell(message: Warning | str, *_: Any, **__: Any) -> None:
        text, of_many = str(message), isinstance(message, PhotoWarning)
        if of_many:
            about_photos.add(text)
        if text not in told and not (of_many and len(about_photos) > PHOTO_WARNINGS):
            say(text if isinstance(message, Notice) else f"warning: {text}")
        told.add(text)

    with warnings.catch_warnings():
        if not debug:
            warnings.simplefilter("ignore")
            warnings.filterwarnings("default", category=UserWarning, module="segloop")
            warnings.showwarning = tell
        try:
            yield
        finally:
            if len(about_photos) > PHOTO_WARNINGS:
                say(f"warning: {len(about_photos) - PHOTO_WARNINGS} more of this kind about other photos")


def _drop_stdout() -> None:
    """What is still to be written to a closed pipe goes nowhere, so that Python's exit does not complain."""
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def quiet_libraries() -> None:
    """Keep transformers and the hub from advice, and from bars; on a terminal a download keeps its bar."""
    from huggingface_hub.utils import enable_progress_bars
    from huggingface_hub.utils import logging as hub
    from transformers.utils import logging

    logging.set_verbosity_error()
    hub.set_verbosity_error()
    logging.disable_progress_bar()
    if sys.stderr.isatty():
        enable_progress_bars()


def explain(error: Exception) -> tuple[str, int]:
    """(one sentence with the remedy, exit code) for any error."""
    if isinstance(error, SegloopError):
        return f"error: {error}", error.exit_code
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        return f"error: {MachineError('the disk is full', 'free some space and run the same command again')}", OURS
    if memory_ran_out(error):
        return "error: memory ran out; use a smaller --batch, or --set short_side=224.", OURS
    text, kind = (str(error).strip().splitlines() or ["no message"])[0], type(error).__name__
    return f"error: {kind}: {text[:300]}; this is a fault in segloop, run again with --debug and report it.", OURS


def say(sentence: str) -> None:
    """A line on stderr."""
    errors.print(" ".join(sentence.splitlines()), markup=False)


def tell(line: str) -> None:
    """A line on stdout, also while a bar is drawn: on a terminal, rich then moves the bar below it."""
    print(line, flush=True)


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
        redirect_stdout=sys.stdout.isatty(),  # else lines for a file would go to the terminal instead
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

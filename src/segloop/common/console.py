"""What the command line says, and how it ends: one sentence for an error, progress on a terminal, exit codes."""

import errno
import io
import os
import re
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from ..errors import Notice, PhotoWarning, SegloopError, UserError, memory_ran_out
from .system import refusal
from .visible import largest, shortened, visible

WIDE = 4000  # columns of a table that no terminal shows
WORD = 400  # letters of a word in a sentence, at most
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
    except (typer.Exit, typer.Abort):
        raise
    except KeyboardInterrupt:
        say("stopped by Ctrl-C; what was finished is kept")
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:  # who reads stdout has seen enough, as `head` does
        _drop_stdout()
        raise typer.Exit(OURS) from None
    except Exception as error:
        if is_usage(error):
            raise
        if debug:
            _write("".join(traceback.format_exception(error)).rstrip("\n"), keep="\n")
        sentence, code = explain(error)
        say(sentence)
        _drop_stdout()
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
    """What cannot be written to stdout any more goes nowhere, so that Python's exit does not complain."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError), open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


def open_streams() -> None:
    """Make stdout and stderr what the rest relies on: they are there, and no name is a failure to print."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:  # closed by who called: the next file opened would be taken for it
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def is_usage(error: BaseException) -> bool:
    """Whether an error is the parser's, of whichever click typer brings: it knows how to show itself."""
    return all(hasattr(error, name) for name in ("format_message", "exit_code", "show"))


def say_usage(error: Any) -> int:
    """Show the parser's error -> its exit code. Words that a list left behind for want of quotes are told as such."""
    words = io.StringIO()
    error.show(file=words)
    given = getattr(getattr(error, "ctx", None), "params", None) or {}
    torn = "extra argument" in words.getvalue() and given.get("classes")
    hint = '\nIf they are classes, put the list in quotes, as in --classes "grass, sand".' if torn else ""
    _write(words.getvalue().rstrip("\n") + hint, keep="\n")
    return error.exit_code


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
    if memory_ran_out(error):
        remedy = "close other programs, or, where a network runs, use a smaller --batch or --set short_side=224"
        return f"error: memory ran out; {remedy}.", OURS
    said = _others(error)
    if said is not None:
        return f"error: {said}", said.exit_code
    text, kind = (str(error).strip().splitlines() or ["no message"])[0], type(error).__name__
    return f"error: {kind}: {text[:300]}; this is a fault in segloop, run again with --debug and report it.", OURS


def _others(error: Exception) -> SegloopError | None:
    """What errors of Python say that are the user's or the machine's after all."""
    if isinstance(error, OSError):
        return refusal(error)
    if isinstance(error, RuntimeError) and "symlink loop" in str(error).lower():  # of pathlib, before Python 3.13
        return refusal(OSError(errno.ELOOP, "", str(error).rpartition(" from ")[2].strip("'")))
    if isinstance(error, RuntimeError) and "home directory" in str(error).lower():
        return UserError("~ means no folder here", "write the path in full")
    if isinstance(error, UnicodeEncodeError) and any("\ud800" <= sign <= "\udfff" for sign in error.object):
        return UserError(f"{shortened(error.object)!r} holds bytes that are no text", "write it in UTF-8")
    return None


def say(sentence: str) -> None:
    """A line on stderr; of a word longer than any path should be, both ends."""
    _write(re.sub(rf"\S{{{WORD},}}", lambda word: shortened(word[0]), " ".join(sentence.splitlines())))


def _write(words: str, keep: str = "") -> None:
    with suppress(OSError):  # a stderr that is full or closed takes nothing of the command with it
        errors.print(visible(words, keep), markup=False)


def tell(line: str) -> None:
    """A line on stdout, also while a bar is drawn: on a terminal, rich then moves the bar below it."""
    print(visible(line), flush=True)


def show(words: str) -> None:
    """Lines on stdout, the last with its end."""
    sys.stdout.write(visible(words, keep="\n\t"))


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout."""
    made = Table(title=Text(title), title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(Text(column), overflow="fold")
    for row in rows:
        made.add_row(*(Text(visible(cell)) for cell in row))  # Text: no [markup] in names
    if output.is_terminal:
        output.print(made)
    else:  # for a file or another program: a row a line
        Console(file=output.file, width=WIDE).print(made)


@contextmanager
def progress(label: str, total: int) -> Iterator[Any]:
    """A bar on stderr for long work, quiet when that is not a terminal: yields `advance(done)` to an absolute count.

    `advance(done, total, note)` may also change how many there are, and what stands behind the time left.
    """
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=errors,
        transient=True,
        disable=not sys.stderr.isatty(),
        redirect_stdout=sys.stdout.isatty(),  # else lines for a file would go to the terminal instead
    )
    with bar:
        task = bar.add_task(label, total=total, note="")
        yield lambda done, total=total, note="": bar.update(task, completed=done, total=total, note=note)


def ensure_folder(folder: Path) -> None:
    """Make an output folder and see that it can be written, before seconds of work. Raises OutputError."""
    from .files import probe

    probe(folder)


summary = largest  # of a photo's classes

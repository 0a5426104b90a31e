"""What can go wrong, and what to do about it.

Every message has two halves: what came (and what is allowed), and the remedy. The command line prints both as
one sentence and exits with `exit_code`; a batch writes them to `failed.jsonl`.
"""

import difflib
from collections.abc import Iterable

NO_MEMORY = (  # CUDA, MPS, Pillow; torch on a CPU; the system; oneDNN; cuBLAS and cuDNN; a library that is not mapped
    "out of memory",
    "allocate memory",
    "not enough memory",
    "insufficient memory",
    "could not create a memory object",
    "alloc_failed",
    "failed to map segment",
)


class SegloopError(Exception):
    """Anything segloop raises on purpose: `what` came, the `remedy`, and the command line's `exit_code`."""

    exit_code = 1

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what, remedy)
        self.what = what
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.what}; {self.remedy}."


class Notice(UserWarning):
    """Worth a line, and no fault: what takes long, what is done instead."""


class MachineError(SegloopError):
    """Not the user's mistake: a full disk, memory that ran out."""

    exit_code = 1


class UserError(SegloopError, ValueError):
    """The user's mistake, exit code 2."""

    exit_code = 2


class ImageError(UserError):
    """A photo that cannot be read as one."""


class PhotoWarning(UserWarning):
    """A photo that can be read, but is very likely not what it was meant to be."""


class TooLargeError(MachineError, ImageError):
    """A photo for which memory ran out: the machine's fault (exit code 1), and in a batch one line as for a bad one."""


class TooManyPixelsError(ImageError):
    """A photo of more pixels than are allowed to be opened at once."""


class VocabularyError(UserError):
    """A class list or template set that makes no sense."""


class ModelError(UserError):
    """A model that cannot be found, or must not be opened."""


class MissingModelError(ModelError):
    """A model that there may well be, but neither on this machine nor to be had now."""


class OptionError(UserError):
    """An option, a method or a constant outside what is allowed."""


class OutputError(UserError):
    """A place that cannot be written to."""


def memory_ran_out(error: BaseException) -> bool:
    """Whether an error means that: torch and the libraries below it say it in words only."""
    if isinstance(error, (MemoryError, TooLargeError)):
        return True
    text = str(error).lower()
    return isinstance(error, (RuntimeError, OSError, ImportError)) and any(words in text for words in NO_MEMORY)


def nearest(name: str, known: Iterable[str]) -> str:
    """The remedy for an unknown name: the closest known one whatever its case, then all of them."""
    known = list(known)
    folded = {each.casefold(): each for each in reversed(known)}
    close = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.4)
    listed = ", ".join(known)
    return f"did you mean {folded[close[0]]!r}? Known: {listed}" if close else f"choose one of {listed}"

"""The program: `python -m segloop`, and the script `segloop`, which both begin here."""

from __future__ import annotations

import os
import signal  # and no more: until `main` listens, Ctrl-C is a traceback

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

INTERRUPTED = 130
STOPPED = b"stopped by Ctrl-C; nothing was begun\n"


def main() -> None:
    """The program; Ctrl-C ends it in a sentence also while its parts are imported."""
    quick = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # else whoever started it has decided
    if quick:
        signal.signal(signal.SIGINT, _end)
    from .cli import main as command

    if quick:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    command()


def _end(number: int, frame: FrameType | None) -> None:
    """At once: an exception might be caught, or be told, by whatever is being imported."""
    try:
        os.write(2, STOPPED)
    finally:
        os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()

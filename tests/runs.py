"""What tests of evaluations share: small data sets, and the files of a record that must not change."""

import subprocess
import sys
import time
from pathlib import Path

RECORD = ("run.json", "images.csv", "counts.npz", "classes.csv")


def record_of(folder: Path) -> dict[str, bytes]:
    """The part of a run's folder that its inputs determine."""
    return {name: (folder / name).read_bytes() for name in RECORD}


TIMEOUT = 240  # seconds

KILLED = """
import os, signal, sys
from segloop.common import files

real, point, writes = os.replace, int(sys.argv.pop(1)), 0

def replace(part, target):
    global writes
    writes += 1
    if writes * 2 == point:  # the file lies there, under its first name
        os.kill(os.getpid(), signal.SIGKILL)
    real(part, target)
    if writes * 2 + 1 == point:
        os.kill(os.getpid(), signal.SIGKILL)

files.os.replace = replace
from segloop.cli import main
main()
"""


def killed_at(point: int, words: list[str], folder: Path) -> int:
    """Run until the kill -9 in front of a write (even points) or behind one (odd) -> exit code."""
    command = [sys.executable, "-c", KILLED, str(point), *words]
    return subprocess.run(command, cwd=folder, capture_output=True, timeout=TIMEOUT).returncode


def wait_for(path: Path, process: subprocess.Popen) -> None:
    """Until a running process has made a file or a folder."""
    deadline = time.monotonic() + TIMEOUT
    while not path.exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)

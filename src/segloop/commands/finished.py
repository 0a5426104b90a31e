"""Photos of `segloop segment` that are done: a line each, with what made their results, so that a repeat skips them."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from ..common.earlier import beginning
from ..common.files import digest_of, explaining

DONE = "done.jsonl"
DONE_LINES = beginning(b'{"result": ')
"""The kind of DONE; its last line may be half, where a run was killed."""


@dataclass(frozen=True)
class Finished:
    """What lies in a folder of results, and what this run adds."""

    folder: Path
    made: str  # hash of networks, words and constants
    known: Mapping[str, dict[str, Any]] = field(default_factory=dict)  # by the result's place below the folder

    def files(self, photo: Path, stem: Path, suffixes: Sequence[str]) -> list[str] | None:
        """Result files of a photo that is done as this run would do it; None where it is still to be done.

        So it is where its own bytes, networks, words and constants are the same, and its files as they were written.
        """
        line = self.known.get(self._place(stem))
        if line is None or line["made"] != self.made or line["bytes"] != _digest(photo):
            return None
        found = [f"{stem}{suffix}" for suffix in suffixes]
        kept = all(line["files"].get(suffix, "") == _digest(f"{stem}{suffix}") for suffix in suffixes)
        return found if kept else None

    def add(self, photo: Path, stem: Path, suffixes: Sequence[str]) -> None:
        """Say that a photo's files are written. Raises OutputError, MachineError."""
        files = {suffix: _digest(f"{stem}{suffix}") for suffix in suffixes}
        said = {"result": self._place(stem), "photo": str(photo), "made": self.made, "bytes": _digest(photo)}
        path = self.folder / DONE
        with explaining(path), open(path, "ab+") as stream:
            stream.write(_break(stream) + json.dumps({**said, "files": files}).encode() + b"\n")

    def _place(self, stem: Path) -> str:
        return os.path.relpath(stem, self.folder).replace(os.sep, "/")


def opened(folder: Path, made: Mapping[str, Any], anew: bool) -> Finished:
    """What is done in a folder; with `anew` nothing is. `made` is all that determines a result, fit for JSON."""
    path = folder / DONE
    if anew:
        path.unlink(missing_ok=True)
    said = hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()[:16]
    lines = path.read_bytes().splitlines() if path.is_file() else []
    found = [line for line in map(_line, lines) if line]
    return Finished(folder, said, {line["result"]: line for line in found})


def _line(data: bytes) -> dict[str, Any] | None:
    try:
        line = json.loads(data)
    except (ValueError, RecursionError):
        return None
    kinds = {"result": str, "made": str, "bytes": str, "files": dict}
    whole = isinstance(line, dict) and all(isinstance(line.get(key), kind) for key, kind in kinds.items())
    return line if whole else None


def _break(stream: IO[bytes]) -> bytes:
    """A line break behind half a line, else nothing."""
    if stream.seek(0, os.SEEK_END) == 0:
        return b""
    stream.seek(-1, os.SEEK_END)
    return b"" if stream.read() == b"\n" else b"\n"


def _digest(file: str | Path) -> str | None:
    """Of a file's bytes, as a line has it; None for one that cannot be read."""
    digest = digest_of(Path(file))
    return digest.hex()[:16] if digest else None

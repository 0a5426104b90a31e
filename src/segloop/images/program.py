"""Region masks by any program: it is given a photo as a PNG, and writes a file of masks. No shell is in between."""

import hashlib
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from ..common.files import digest_of
from ..common.visible import shortened, visible
from ..errors import ImageError, OptionError
from .idmaps import READERS, read_ids

OUT = re.compile(r"\{out(\.(?P<kind>\w+))?\}")  # {out} is a PNG, {out.json} and so on what it says
PHOTO = "{photo}"
FORM = 'write it as "cmd: mytool {photo} {out}", or {out.npy}, {out.npz}, {out.json}'
SHOWN = 200  # signs of a program's last line that are told


@dataclass(frozen=True)
class Program:
    """A command that writes the masks of a photo; its words are given to the program as they are."""

    line: str  # as the user wrote it
    words: tuple[str, ...]
    suffix: str = ".png"  # of what it writes

    @property
    def name(self) -> str:
        """As options have it."""
        return f"cmd: {self.line}"

    @property
    def said(self) -> str:
        """For records: without the folders of its files."""
        return f"cmd: {' '.join(_quoted(_bare(word)) for word in self.words)}"

    @cached_property
    def fingerprint(self) -> str:
        """Hash of its words, and of the files that they name: masks of another program are never reused."""
        digest = hashlib.sha256()
        for word in self.words:
            content = digest_of(file) if (file := _file(word)) else None
            digest.update(_bare(word).encode("utf-8", "surrogateescape") + b"\0" + (content or b"") + b"\0")
        return digest.hexdigest()

    def elsewhere(self) -> str:
        """Its line for another folder: files that it names have their whole paths."""
        return " ".join(_quoted(os.path.abspath(file) if (file := _file(word)) else word) for word in self.words)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 RGB -> (H, W) int64 ids. Raises ImageError where it fails or writes no masks of that size.

        The program sees the photo as segloop does, upright and in 8 bits, whatever its file is.
        """
        with TemporaryDirectory(prefix="segloop-masks-") as folder:
            photo, out = Path(folder, "photo.png"), Path(folder, f"masks{self.suffix}")
            Image.fromarray(image).save(photo, compress_level=1)
            self._run([OUT.sub(lambda _: str(out), word.replace(PHOTO, str(photo))) for word in self.words])
            if not out.is_file():
                remedy = "see that it writes its masks to {out}"
                raise ImageError(f"the command {shortened(self.name)} wrote no masks", remedy)
            try:
                return read_ids(out, (image.shape[0], image.shape[1]))
            except ImageError as error:
                what = error.what.replace(str(out), f"what {shortened(self.name)} wrote")
                raise type(error)(what, error.remedy) from error

    def _run(self, words: Sequence[str]) -> None:
        try:
            done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        except OSError as error:
            raise OptionError(f"{shortened(words[0])} cannot be run ({error.strerror})", "check the command") from error
        if done.returncode:
            said = (done.stderr or done.stdout).decode("utf-8", "replace").strip().splitlines()
            last = f": {visible(said[-1])[:SHOWN].rstrip('.')}" if said else ""
            what = f"the command {shortened(self.name)} ended with {done.returncode}{last}"
            raise ImageError(what, "see that it works on a photo by itself")


def _file(word: str) -> Path | None:
    """The file that a word of a command names, if it does."""
    path = Path(shutil.which(word) or word)
    return path if path.is_file() else None


def _quoted(word: str) -> str:
    """As a command line has it; braces alone need no quotes."""
    bare = re.sub("[{}]", "", word)
    return word if bare and shlex.quote(bare) == bare else shlex.quote(word)


def _bare(word: str) -> str:
    file = _file(word)
    return file.name if file else word


def program_of(text: str) -> Program:
    """ "mytool {photo} {out}" -> the command, its words parted as a shell parts them, but none of them expanded.

    Raises OptionError for a command without {photo} or {out}, and for a program that is not there.
    """
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise OptionError(f"the command {text!r} of --masks has an open quote", FORM) from error
    kinds = {match["kind"] or "png" for word in words for match in OUT.finditer(word)}
    if not any(PHOTO in word for word in words) or len(kinds) != 1:
        raise OptionError(f"the command {text.strip()!r} of --masks names no {{photo}} or not one {{out}}", FORM)
    suffix = f".{kinds.pop()}"
    if suffix not in READERS:
        raise OptionError(f"{{out{suffix}}} is no file of masks", f"write {{out}} or one of {', '.join(READERS)}")
    if shutil.which(words[0]) is None:
        raise OptionError(f"there is no program {shortened(words[0])!r}", "check its name or give its path")
    return Program(text.strip(), words, suffix)

"""`segloop export`: a window of the line as a file that others serve without torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ..common import console
from ..common.console import friendly
from ..errors import OptionError, OutputError, nearest
from . import options
from .taking import taking

EXAMPLE = 'segloop export served --classes "road, car|automobile, tree, sky" --method sclip'
FORMATS = ("onnx",)
OWN = {"model.onnx", "model.onnx.data", "text.npy", "window.json", "run.py"}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Options of `segloop export`."""

    out: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the files.", show_default=False)]
    formats: Annotated[str, typer.Option("--format", help="onnx.")] = "onnx"
    words: options.Words
    networks: options.Networks
    threads: options.Threads = None
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an export that is there.")] = False
    debug: options.Debug = False


@taking(Asked)
def export(asked: Asked) -> None:
    """Write one window of the line, pixels to cosines, as ONNX, with its words and a runner without torch.

    `python DIR/run.py PHOTO...` then needs numpy, onnxruntime and Pillow only.
    """
    with friendly(asked.debug):
        if asked.formats not in FORMATS:
            raise OptionError(f"there is no format {asked.formats!r} of exports", nearest(asked.formats, FORMATS))
        _check_place(asked.out, asked.overwrite)
        vocabulary = asked.words.vocabulary()
        changes = options.overrides(asked.networks.sets)
        networks = asked.networks
        if networks.device == "auto" and networks.dtype == "auto":  # what the file is written in
            from dataclasses import replace

            networks = replace(networks, device="cpu", dtype="float32")
        segmenter = networks.open(1, changes, asked.threads)
        from ..line.exporting import export as write

        about = write(segmenter, vocabulary, asked.out)
        height, width = about["window"]
        many = "any number of" if about["any_number_of_windows"] else "single"
        console.tell(f"{asked.out / 'model.onnx'} takes {many} windows of {height}x{width} pixels")
        console.tell(f"photos into label maps: python {asked.out / 'run.py'} PHOTO...")


def _check_place(out: Path, overwrite: bool) -> None:
    """Raises OutputError for a file, OptionError for a folder with other things, or with an export that is to stay."""
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is a file", "name a folder")
    there = {path.name for path in out.iterdir()} if out.is_dir() else set()
    if others := sorted(there - OWN - {"labels", "__pycache__"}):
        raise OptionError(f"{out} holds {others[0]}, which is of no export", "name another folder")
    if there and not overwrite:
        raise OptionError(f"{out} is not empty", "name another folder, or add --overwrite")

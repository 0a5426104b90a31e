"""`segloop segment`: photos into maps."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ..common import console
from ..common.console import friendly
from . import options
from .taking import taking

EXAMPLE = 'segloop segment photo.jpg --classes "road, car|automobile, tree, sky" --background'


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Options of `segloop segment`."""

    photos: Annotated[list[str], typer.Argument(metavar="PHOTO...", help="Files or globs.", show_default=False)]
    words: options.Words
    out: Annotated[Path, typer.Option("--out", help="Folder of the results.")] = Path("segloop-out")
    formats: Annotated[
        str, typer.Option("--format", help="Joined by commas, such as png,npz,coco; a wrong name is told all.")
    ] = "png,overlay,json"
    networks: options.Networks
    batch: options.Batch = 8
    json_lines: options.Json = False
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Begin COCO's file anew, and replace what bears a result's name and is none."),
    ] = False
    debug: options.Debug = False


@taking(Asked)
def segment(asked: Asked) -> None:
    """Cut photos into the words you give, and write maps, pictures and shares."""
    with friendly(asked.debug):
        from ..images import reading
        from ..results.segmentation import check_formats
        from .photos import SegmentRun, check_files_of_the_run, check_results, photo_stems, run_segment

        wanted = check_formats(asked.formats)
        vocabulary = asked.words.vocabulary()
        changes = options.overrides(asked.networks.sets)
        reading(asked.networks.bands, asked.networks.stretch)  # told before seconds of loading
        named = photo_stems(asked.photos, asked.out, wanted, asked.words.classes_file)
        check_files_of_the_run(asked.out, wanted, vocabulary.classes, asked.overwrite)
        console.ensure_folder(asked.out)
        check_results(named, asked.out, wanted, asked.overwrite)
        segmenter = asked.networks.open(asked.batch, changes)
        job = SegmentRun(segmenter, vocabulary, named, asked.out, wanted, asked.json_lines, asked.overwrite)
        code = run_segment(job)
        if code:
            raise typer.Exit(code)

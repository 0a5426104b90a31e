"""`segloop segment`: photos into maps."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ..common import console
from ..common.console import friendly
from ..common.files import leaving_nothing
from ..common.system import check_count
from . import options
from .kept import Kept
from .taking import taking

EXAMPLE = 'segloop segment photo.jpg --classes "road, car|automobile, tree, sky" --background'


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Options of `segloop segment`."""

    photos: Annotated[
        list[str], typer.Argument(metavar="PHOTO...", help="Files, folders or globs.", show_default=False)
    ]
    words: options.Words
    out: Annotated[Path, typer.Option("--out", help="Folder of the results.")] = Path("segloop-out")
    formats: Annotated[
        str, typer.Option("--format", help="Joined by commas, such as png,npz,coco; a wrong name is told all.")
    ] = "png,overlay,json"
    kept: Kept
    networks: options.Networks
    regions: options.Masks = None
    bank: options.Bank = None
    batch: options.BestBatch = None
    threads: options.Threads = None
    json_lines: options.Json = False
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Do all photos anew, replace what bears a result's name and is none."),
    ] = False
    debug: options.Debug = False


@taking(Asked)
def segment(asked: Asked) -> None:
    """Cut photos into the words you give, and write maps, pictures and shares.

    Of many photos, those that have their results of the same words and networks already are left as they are.
    """
    with friendly(asked.debug), leaving_nothing(asked.out):
        from ..images import reading
        from ..results.segmentation import check_formats
        from .photos import SegmentRun, run_segment
        from .places import check_files_of_the_run, check_no_words, check_results, photo_stems

        wanted = check_formats(asked.formats)
        check_count("--threads", asked.threads or 0)
        check_no_words(asked.photos, asked.words.classes)
        vocabulary = asked.words.vocabulary()
        keep = asked.kept.filter(vocabulary.classes)
        changes = options.overrides(asked.networks.sets)
        reading(asked.networks.bands, asked.networks.stretch)  # told before seconds of loading
        named = photo_stems(asked.photos, asked.out, wanted, asked.words.classes_file)
        check_files_of_the_run(asked.out, wanted, vocabulary.classes, asked.overwrite)
        console.ensure_folder(asked.out)
        check_results(named, asked.out, wanted, asked.overwrite)
        from ..line.measured import measured  # with torch: after everything that is quickly told

        segmenter = asked.networks.open(asked.batch, changes, asked.threads, asked.regions, asked.bank)
        if not asked.batch:
            segmenter = measured(segmenter, len(named), console.say)
        own = (asked.networks.method, asked.networks.host)
        lines, overwrite = asked.json_lines, asked.overwrite
        job = SegmentRun(segmenter, vocabulary, named, asked.out, wanted, lines, overwrite, keep, own)
        code = run_segment(job)
        if code:
            raise typer.Exit(code)

"""`segloop segment`: photos into maps."""

from pathlib import Path
from typing import Annotated

import typer

from .. import console
from ..console import friendly
from . import options

EXAMPLE = 'segloop segment photo.jpg --classes "road, car|automobile, tree, sky" --background'


def segment(
    photos: Annotated[list[str], typer.Argument(metavar="PHOTO...", help="Files or globs.", show_default=False)],
    classes: options.Classes = None,
    classes_file: options.ClassesFile = None,
    background: options.Background = False,
    templates: options.Templates = "openai80",
    out: Annotated[Path, typer.Option("--out", help="Folder of the results.")] = Path("segloop-out"),
    formats: Annotated[
        str, typer.Option("--format", help="Of png, overlay, json, npz, coco, coco-polygons.")
    ] = "png,overlay,json",
    clip: options.Clip = options.DEFAULT_CLIP,
    method: options.Method = None,
    host: options.Host = None,
    vision: options.Vision = None,
    recipe: options.Recipe = None,
    fidelity: options.Fidelity = "default",
    sets: options.Sets = None,
    bands: options.Bands = None,
    stretch: options.Stretch = "none",
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    batch: options.Batch = 8,
    offline: options.Offline = False,
    json_lines: options.Json = False,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Begin COCO's file anew, without earlier photos; other results are replaced."),
    ] = False,
    debug: options.Debug = False,
) -> None:
    """Cut photos into the words you give, and write maps, pictures and shares."""
    with friendly(debug):
        from ..images import reading
        from ..jobs import Job, check_files_of_the_run, photo_stems, run_segment
        from ..results import check_formats
        from ..vocabulary import Vocabulary

        wanted = check_formats(formats)
        words = options.words(classes, classes_file)
        vocabulary = Vocabulary(words, background=background or None, templates=templates)
        changes = options.overrides(sets)
        reading(bands, stretch)  # told before seconds of loading
        named = photo_stems(photos, out, wanted)
        check_files_of_the_run(out, wanted, vocabulary.classes, overwrite)
        console.ensure_folder(out)
        segmenter = options.open_segmenter(
            clip,
            method,
            host,
            changes,
            vision=vision,
            recipe=recipe,
            fidelity=fidelity,
            device=device,
            dtype=dtype,
            batch=batch,
            offline=offline,
            bands=bands,
            stretch=stretch,
        )
        code = run_segment(Job(segmenter, vocabulary, named, out, wanted, json_lines, overwrite))
        if code:
            raise typer.Exit(code)

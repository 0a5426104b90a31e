"""`segloop report`: run records into tables, comparisons, pictures."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import typer

from ..common import console
from ..common.console import friendly
from . import options
from .taking import taking

EXAMPLE = "segloop report runs --against published --format html --out report.html"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Options of `segloop report`; those that bear a name of `Wanted` become its field."""

    places: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="Run folders, or folders above them.", show_default=False)
    ]
    against: Annotated[
        str | None,
        typer.Option("--against", help="published: beside the figures of the papers."),
    ] = None
    form: Annotated[
        str | None,
        typer.Option("--format", help='md, csv, tex, html, xlsx (needs "segloop[xlsx]"); what --out ends in, else md.'),
    ] = None
    out: Annotated[
        Path | None, typer.Option("--out", help="File to write, instead of stdout; an earlier report is replaced.")
    ] = None
    compare: Annotated[
        bool | None,
        typer.Option("--compare/--no-compare", help="Second run minus first; by itself for two runs of a data set."),
    ] = None
    metric: Annotated[str, typer.Option("--metric", help="mIoU, aAcc, mAcc or boundary_mIoU.")] = "mIoU"
    digits: Annotated[int, typer.Option("--digits", min=0, max=6, help="Decimals of percentages.")] = 1
    intervals: Annotated[bool, typer.Option("--intervals", help="With 95 % intervals over images.")] = False
    pairs: Annotated[
        int | None,
        typer.Option("--pairs", min=0, help="Largest confusions of each run: 10 for one or two runs."),
    ] = None
    images: Annotated[
        int | None,
        typer.Option("--images", min=0, help="Best and worst images of each run: 5 for one or two runs."),
    ] = None
    pictures: Annotated[
        int, typer.Option("--pictures", min=0, help="So many of these as pictures, in html; of runs with --save-maps.")
    ] = 0
    data: Annotated[
        list[str] | None,
        typer.Option("--data", help="DIR or KEY=DIR of their photos; where they were, if it is not given."),
    ] = None
    json_lines: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False
    debug: options.Debug = False


@taking(Asked)
def report(asked: Asked) -> None:
    """Make tables as the papers have them of run records, and say whether a gain is real."""
    with friendly(asked.debug):
        from ..common.files import write_whole
        from ..report import export
        from ..report.build import Wanted, build
        from ..report.runs import find_runs

        out = asked.out
        chosen = export.check_format(asked.form, out, asked.pictures, asked.against)
        own = {field.name: getattr(asked, field.name) for field in fields(Wanted) if hasattr(asked, field.name)}
        wanted = Wanted(**{**own, "published": asked.against is not None, "data": tuple(asked.data or ())})
        runs = find_runs(asked.places)
        made = build(runs, wanted)
        if out is not None:
            written = export.files(made, chosen, out)
            export.check_files(written, chosen, runs)
            for path, content in written.items():
                write_whole(path, content)
                console.say(f"wrote {path}")
        if asked.json_lines:
            console.tell(export.json_text(made))
        elif out is None:
            console.show(export.printed(made, chosen))

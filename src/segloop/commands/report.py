"""`segloop report`: run records into tables, comparisons, pictures."""

from pathlib import Path
from typing import Annotated, Optional

import typer

from .. import console
from ..console import friendly
from . import options

EXAMPLE = "segloop report runs --against published --format html --out report.html"


def report(
    places: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="Run folders, or folders above them.", show_default=False)
    ],
    against: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--against", help="published: beside the figures of the papers."),
    ] = None,
    form: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--format", help="md, csv, xlsx or html; what --out ends in, else md."),
    ] = None,
    out: Annotated[Optional[Path], typer.Option("--out", help="File to write, instead of stdout.")] = None,  # noqa: UP045
    compare: Annotated[
        Optional[bool],  # noqa: UP045
        typer.Option("--compare/--no-compare", help="Second run minus first; by itself for two runs of a data set."),
    ] = None,
    metric: Annotated[str, typer.Option("--metric", help="mIoU, aAcc, mAcc or boundary_mIoU.")] = "mIoU",
    digits: Annotated[int, typer.Option("--digits", min=0, max=6, help="Decimals of percentages.")] = 1,
    intervals: Annotated[bool, typer.Option("--intervals", help="With 95 % intervals over images.")] = False,
    pairs: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--pairs", min=0, help="Largest confusions of each run: 10 for one or two runs."),
    ] = None,
    images: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--images", min=0, help="Best and worst images of each run: 5 for one or two runs."),
    ] = None,
    pictures: Annotated[
        int, typer.Option("--pictures", min=0, help="So many of these as pictures, in html; of runs with --save-maps.")
    ] = 0,
    data: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--data", help="DIR or KEY=DIR of their photos; where they were, if it is not given."),
    ] = None,
    json_lines: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    debug: options.Debug = False,
) -> None:
    """Make tables as the papers have them of run records, and say whether a gain is real."""
    with friendly(debug):
        from ..files import write_whole
        from ..report import export
        from ..report.build import Wanted, build
        from ..report.runs import find_runs

        chosen = export.check(form, out, pictures, against)
        wanted = Wanted(
            metric=metric,
            digits=digits,
            intervals=intervals,
            published=against is not None,
            compare=compare,
            pairs=pairs,
            images=images,
            pictures=pictures,
            data=tuple(data or ()),
        )
        made = build(find_runs(places), wanted)
        if out is not None:
            for path, content in export.files(made, chosen, out).items():
                write_whole(path, content)
                console.say(f"wrote {path}")
        if json_lines:
            console.tell(export.json_text(made))
        elif out is None:
            console.show(export.printed(made, chosen))

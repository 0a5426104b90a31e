"""`segloop prepare`: label files from a data set's raw download."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ..common import console
from ..common.console import friendly, say, tell
from ..common.strict import one_line
from . import options

EXAMPLE = "segloop prepare coco-object --data DIR"


def prepare(
    key: Annotated[str, typer.Argument(metavar="KEY", help="coco-object, coco-stuff, cityscapes, context, ade847 ...")],
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="The data set's folder, or one above it.")],
    split: Annotated[
        list[str] | None,
        typer.Option("--split", help="val by default; may be repeated."),
    ] = None,
    short_side: Annotated[
        int, typer.Option("--short-side", min=0, help="ade847 only: reduce to it, 512 as published; 0 keeps the size.")
    ] = 0,
    workers: Annotated[int, typer.Option("--workers", min=0, help="Threads; 0 is one a processor.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Make again whatever is there.")] = False,
    json_lines: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Make the label files that published evaluations read; safe to repeat, what is there and right is kept."""
    with friendly(debug):
        from ..prepare import prepare as run

        with console.progress("files", 0) as advance:
            done = run(
                key,
                data,
                splits=split or None,
                workers=workers,
                overwrite=overwrite,
                short_side=short_side,
                progress=advance,
                on_error=lambda source, error: say(f"error: {source}: {error}"),
            )
        if json_lines:
            failed = [dict(zip(("source", "error", "remedy"), line, strict=True)) for line in done.failed]
            tell(one_line({"key": key, **asdict(done), "failed": failed}))
        else:
            for sentence in done.checks:
                tell(sentence)
            tell(f"{done.made} made, {done.kept} were there, {len(done.failed)} failed")
        if done.failed:
            raise typer.Exit(console.SOME_FAILED)

"""`segloop scenes`: pictures with exact masks, drawn."""

from pathlib import Path
from typing import Annotated

import typer

from ..common.console import friendly, say
from ..common.visible import counted
from ..errors import OptionError, OutputError, nearest
from . import options

EXAMPLE = "segloop scenes scenes --count 20 --seed 1"


def scenes(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where images, masks, classes and captions go.")],
    count: Annotated[int, typer.Option("--count", min=1, help="How many.")] = 10,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed draws the same scenes.")] = 0,
    size: Annotated[str, typer.Option("--size", help="Height x width in pixels.")] = "192x256",
    renderer: Annotated[
        str, typer.Option("--renderer", help="Who draws: bands, or cells, whose textures no bundled model has seen.")
    ] = "bands",
    debug: options.Debug = False,
) -> None:
    """Draw procedural scenes: textured grounds and coloured shapes, with exact masks and captions."""
    with friendly(debug):
        from ..scenes.draw import write_scenes
        from ..scenes.renderers import RENDERERS

        height, cross, width = size.partition("x")
        if not (cross and height.isdigit() and width.isdigit()):
            raise OptionError(f"size {size!r}", "write height x width, such as 192x256")
        if renderer not in RENDERERS:
            raise OptionError(f"unknown renderer {renderer!r}", nearest(renderer, RENDERERS))
        try:
            write_scenes(folder, count, seed, (int(height), int(width)), RENDERERS[renderer])
        except OutputError as error:
            raise OutputError(error.what, "choose another folder") from error
        say(f"{counted(count, 'scene')} in {folder}")

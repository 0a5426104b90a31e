"""`segloop inspect`: what attention does to one photo, as a page of pictures."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..common import console
from ..common.console import friendly
from ..common.files import leaving_nothing
from ..errors import OptionError
from . import options
from .taking import taking

if TYPE_CHECKING:
    from ..inspection.places import Point

EXAMPLE = 'segloop inspect examples/scene-1.png --clip tiny --classes "grass, sand, water, red"'


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Options of `segloop inspect`."""

    photo: Annotated[list[str], typer.Argument(metavar="PHOTO", help="One file.", show_default=False)]
    words: options.Words
    point: Annotated[
        list[str] | None,
        typer.Option("--point", help="x,y in pixels from the upper left corner; may be repeated."),
    ] = None
    out: Annotated[Path, typer.Option("--out", help="Folder of the page.")] = Path("segloop-out")
    networks: options.Networks
    batch: options.Batch = None
    json_lines: options.Json = False
    debug: options.Debug = False


@taking(Asked)
def inspect(asked: Asked) -> None:
    """Show what feedback changes in a photo, and where outlier tokens sit: a page, its pictures, its numbers."""
    with friendly(asked.debug), leaving_nothing(asked.out):
        from .places import check_no_words

        out, networks = asked.out, asked.networks
        check_no_words(asked.photo, asked.words.classes)
        source, points = _photo(asked.photo, out, networks.bands, networks.stretch), _points(asked.point)
        vocabulary = asked.words.vocabulary()
        changes = options.overrides(networks.sets)
        console.ensure_folder(out)
        stem = out / source.stem
        from ..inspection.look import look
        from ..inspection.sides import sides_of, split
        from ..inspection.write import check, write

        check(stem)
        plain, special = split(changes)
        segmenter = networks.open(asked.batch, plain)
        with console.progress("looking", 1) as advance:
            found = look(sides_of(segmenter, special), str(source), vocabulary, points, advance)
        made = write(found, stem)
        options.as_lines([made], asked.json_lines)
        if not asked.json_lines:
            changed = made["changes"][0]["share"]
            console.tell(f"{source} -> {stem}.inspect.html  feedback changes {changed:.1%} of the pixels")


def _photo(patterns: list[str], out: Path, bands: str | None, stretch: str) -> Path:
    """The one photo that is meant. Raises OptionError for more, and where a result would replace it."""
    from ..images import expand_photos, read_image, reading

    photos = expand_photos(patterns)
    if len(photos) > 1:
        raise OptionError(f"{len(photos)} photos came", "inspect looks at one; segloop segment takes many")
    (photo,) = photos
    read_image(photo, reading(bands, stretch))  # says what it is instead, seconds before a model is open
    if photo.resolve().parent == (out / photo.stem).resolve():
        raise OptionError(f"the pictures in {out / photo.stem} could replace the photo", "choose another --out")
    return photo


def _points(texts: list[str] | None) -> "list[Point]":
    from ..inspection.places import parse_point

    return [parse_point(text) for text in texts or []]

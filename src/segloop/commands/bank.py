"""`segloop bank`: prototypes of classes from photos without labels, for --bank."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..common import console
from ..common.console import friendly, say, tell
from ..common.strict import one_line
from ..common.visible import counted, shortened
from ..errors import ImageError
from . import options
from .taking import taking

if TYPE_CHECKING:
    from ..words.vocabulary import Vocabulary

EXAMPLE = 'segloop bank photos --classes "road, car, tree, sky" --out bank.npz'
NAMED = 3  # classes that are told


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Options of `segloop bank`."""

    source: options.Source
    column: options.Column = None
    fps: options.Fps = None
    words: options.Words
    out: Annotated[Path, typer.Option("--out", help="The file of the bank.")] = Path("bank.npz")
    sure: Annotated[
        float, typer.Option("--sure", min=0, max=1, help="Patches whose class is less probable teach nothing.")
    ] = 0.5
    prototypes: Annotated[int, typer.Option("--prototypes", min=1, max=64, help="Of a class, at most.")] = 4
    networks: options.Networks
    regions: options.Masks = None
    batch: options.Batch = 8
    threads: options.Threads = None
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Begin anew where a bank was begun.")] = False
    json_lines: options.Json = False
    debug: options.Debug = False


@taking(Asked)
def bank(asked: Asked) -> None:
    """Learn from photos of yours, without labels, what the classes look like there.

    Every photo is labelled by the words; of patches that are sure, each class keeps a few prototypes. Give photos of
    the kind that is segmented later, then add --bank bank.npz to segment, label and evaluate, with the same words,
    networks and method. Started again, the same command goes on where it was stopped.
    """
    with friendly(asked.debug):
        from ..common.earlier import check_replaced, npz_of
        from ..sources.find import photos_of
        from ..words.bank import ARRAYS

        vocabulary = asked.words.vocabulary()
        changes = options.overrides(asked.networks.sets)
        photos = photos_of(asked.source, asked.column, asked.out, asked.fps)
        check_replaced({asked.out: npz_of(ARRAYS)}, "choose another --out")
        segmenter = asked.networks.open(asked.batch, changes, asked.threads, asked.regions)
        failed = _gathered(asked, segmenter, vocabulary, photos)
        if failed:
            say(f"{len(photos) - len(failed)} of {counted(len(photos), 'photo')} were learned from")
            raise typer.Exit(failed[0].exit_code if len(failed) == len(photos) else console.SOME_FAILED)


def _gathered(asked: Asked, segmenter: Any, vocabulary: "Vocabulary", photos: Any) -> list[ImageError]:
    """Gather, keep what is known now and then, write; nothing is written where no photo could be read."""
    from ..line.gathering import Gathering, bank_from, check_can_be_made, gather
    from ..line.half import Half
    from ..runs.inputs import images_hash

    how = Gathering(asked.sure, asked.prototypes)
    check_can_be_made(segmenter, vocabulary)
    half = Half.of(asked.out, segmenter, vocabulary, how, images_hash(photos.paths))
    done, known = half.read(say, asked.overwrite)
    failed: list[ImageError] = []

    def on_error(photo: Any, error: ImageError) -> None:
        failed.append(error)
        say(f"error: {error}")

    def left() -> Iterator[tuple[int, Any]]:
        for start in range(done, len(photos), half.step):
            some = photos[start : start + half.step]
            yield from enumerate((photo.file for photo in some), start)

    last = known
    with console.progress("photos", len(photos)) as advance:
        advance(done)
        for number, state in gather(segmenter, left(), vocabulary, how, known, on_error):
            half.write(done + number, state)
            advance(done + number)
            last = state
    if len(failed) < len(photos):
        made = bank_from(last, segmenter, vocabulary, how)
        made.save(asked.out)
        _tell(asked, made, len(photos) - len(failed))
    half.remove()
    return failed


def _tell(asked: Asked, made: Any, photos: int) -> None:
    if without := made.without:
        shown = ", ".join(map(repr, map(shortened, without[:NAMED]))) + (" ..." if without[NAMED:] else "")
        say(f"nothing in these photos is surely {shown}: words alone speak for that; a lower --sure may help")
    if asked.json_lines:
        counts = {name: int((made.owners == number).sum()) for number, name in enumerate(made.classes)}
        tell(one_line({"file": str(asked.out), "photos": photos, "prototypes": counts}))
        return
    made_of = f"{counted(len(made.owners), 'prototype')} of {counted(photos, 'photo')}"
    tell(f"{asked.out}: {made_of}; for `segloop segment --bank {asked.out}` with these words and options")

"""`segloop experts`: templates ranked for each class on photos without labels (FLOSS)."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..common import console
from ..common.console import friendly, say, tell
from ..common.strict import one_line
from ..common.visible import counted, shortened
from ..errors import ImageError, OptionError
from . import options
from .taking import taking

if TYPE_CHECKING:
    from ..words.vocabulary import Vocabulary

EXAMPLE = 'segloop experts photos --classes "road, car, tree, sky" --out experts.json'
KEYS = {"templates", "experts", "words"}  # that tell such a file


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Options of `segloop experts`."""

    photos: Annotated[
        list[str], typer.Argument(metavar="PHOTO...", help="Files, folders or globs.", show_default=False)
    ]
    words: options.Words
    out: Annotated[Path, typer.Option("--out", help="The file of experts.")] = Path("experts.json")
    count: Annotated[int, typer.Option("--count", min=1, help="Templates that speak for a class.")] = 4
    networks: options.Networks
    batch: options.Batch = None
    threads: options.Threads = None
    json_lines: options.Json = False
    debug: options.Debug = False


@taking(Asked)
def experts(asked: Asked) -> None:
    """Find the templates that each class does best with, on photos of yours, without labels.

    A template is good for a class where the pixels that it gives to the class are sure. Give many photos of the kind
    that is segmented later, then add --templates experts.json to segment, label and evaluate.
    """
    with friendly(asked.debug):
        from ..common.earlier import check_replaced, json_of
        from ..images import expand_photos

        vocabulary = asked.words.vocabulary()
        if vocabulary.experts or len(vocabulary.templates) < 2:
            what = "there is nothing to rank in a file of experts or one template"
            raise OptionError(what, "leave --templates out, or name a set of templates")
        changes = options.overrides(asked.networks.sets)
        photos = expand_photos(asked.photos)
        check_replaced({asked.out: json_of(KEYS)}, "choose another --out")
        segmenter = asked.networks.open(asked.batch, changes, asked.threads)
        failed = _ranked(asked, segmenter, vocabulary, photos)
        if failed:
            say(f"{len(photos) - len(failed)} of {counted(len(photos), 'photo')} were ranked on")
            raise typer.Exit(failed[0].exit_code if len(failed) == len(photos) else console.SOME_FAILED)


def _ranked(asked: Asked, segmenter: Any, vocabulary: "Vocabulary", photos: list[Path]) -> list[ImageError]:
    """Rank, write, tell; nothing is written where no photo could be read."""
    from ..common.files import write_whole
    from ..line.ranking import experts_of, figures, rank_templates

    failed: list[ImageError] = []

    def on_error(photo: Any, error: ImageError) -> None:
        failed.append(error)
        say(f"error: {error}")

    with console.progress("photos", len(photos)) as advance:
        known = rank_templates(segmenter, photos, vocabulary, lambda done: advance(done + len(failed)), on_error)
    if len(failed) == len(photos):
        return failed
    found = experts_of(known, vocabulary, segmenter.clip.fingerprint, asked.count)
    made = {"photos": len(photos) - len(failed), "made_by": segmenter.describe(vocabulary)}
    data = {**found.as_json(), **figures(known, vocabulary.classes), **made}
    write_whole(asked.out, (one_line(data) + "\n").encode())
    lost = [name for name, ranking in zip(vocabulary.classes, known.ranking(), strict=True) if not ranking]
    if lost:
        more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
        say(f"no template finds {lost[0]!r}{more} in these photos: all templates speak for it")
    _tell(asked, found.chosen, vocabulary, made["photos"])
    return failed


def _tell(asked: Asked, chosen: Any, vocabulary: "Vocabulary", photos: int) -> None:
    if asked.json_lines:
        own = {name: list(numbers) for name, numbers in chosen.items()}
        tell(one_line({"file": str(asked.out), "photos": photos, "experts": own}))
        return
    rows = [[name, shortened(vocabulary.templates[numbers[0]])] for name, numbers in chosen.items()]
    console.table(f"The first of each class's templates, of {counted(photos, 'photo')}", ["class", "template"], rows)
    tell(f"{asked.out}: add --templates {asked.out} with these classes")

"""`segloop label`: a source of many photos into a folder of label maps, in a run that survives anything."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Event
from typing import Annotated, Any

import typer

from ..common import console
from ..common.console import friendly, say
from ..common.strict import one_line
from ..common.system import check_count
from ..common.visible import counted
from ..errors import MissingModelError, OptionError
from . import options
from .kept import Kept
from .taking import flat, taking
from .watching import tell_event, watched

EXAMPLE = "segloop label photos --classes-file words.txt --out labelled"
STOPPED = 128 + signal.SIGTERM


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Options of `segloop label`."""

    source: options.Source
    column: options.Column = None
    fps: options.Fps = None
    words: options.Words
    out: Annotated[Path, typer.Option("--out", help="Folder of the run.")] = Path("segloop-out/labels")
    store: Annotated[str | None, typer.Option("--store", help="Results go there, as s3://bucket/labelled.")] = None
    formats: Annotated[
        str,
        typer.Option(
            "--format",
            help="confidence, coco, coco-polygons, parquet, parquet-rle, datasets, webdataset, geotiff, yolo.",
        ),
    ] = "png"
    kept: Kept
    networks: options.Networks
    regions: options.Masks = None
    bank: options.Bank = None
    batch: options.BestBatch = None
    shard: Annotated[int | None, typer.Option("--shard", min=1, help="Photos done or lost together; 64.")] = None
    threads: options.Threads = None
    workers: options.Workers
    dedup: Annotated[bool, typer.Option("--dedup", help="Label photos of the same bytes once, and copy.")] = False
    retry_failed: options.RetryFailed = False
    dry_run: Annotated[bool, typer.Option("--dry-run", help="How many, how long, how large; nothing is written.")] = (
        False
    )
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Start anew in the same folder.")] = False
    json_lines: options.Json = False
    debug: options.Debug = False


@taking(Asked)
def label(asked: Asked) -> None:
    """Label many photos: a map of class numbers for each, tables of photos and classes, a record of what made them.

    Maps are indexed PNGs below OUT/labels, in the folders of their photos. Started again, the same command goes on
    where it ended, however it ended; photos that cannot be used are lines of failed.jsonl. SIGTERM finishes the photos
    in hand.
    """
    with friendly(asked.debug):
        from ..labelling.exports import CONFIDENCE, exports_of
        from ..sources.find import photos_of

        exports = exports_of(asked.formats)
        vocabulary = asked.words.vocabulary()
        keep = asked.kept.filter(vocabulary.classes)
        changes = options.overrides(asked.networks.sets)
        photos = photos_of(asked.source, asked.column, asked.out, asked.fps)
        asked, crew = _with_crew(asked)
        settled = _settled(asked)
        networks = settled.networks.said(settled.batch, changes, asked.regions, asked.bank)
        if asked.dry_run:
            _tell_forecast(photos, networks, vocabulary, asked.json_lines)
            return
        from ..labelling.run import SHARD
        from ..labelling.run import label as run

        with _until_told() as stop, watched("photos", asked.json_lines) as progress:
            done = run(
                photos,
                networks,
                vocabulary,
                asked.out,
                store=asked.store,
                exports=[name for name in exports if name != CONFIDENCE],
                keep=keep,
                confidence=CONFIDENCE in exports,
                shard=settled.shard or SHARD,
                dedup=asked.dedup,
                retry_failed=asked.retry_failed,
                overwrite=asked.overwrite,
                crew=crew,
                stop=stop,
                say=say,
                progress=progress,
            )
        _tell(done, asked.json_lines)


def _with_crew(asked: Asked) -> tuple[Asked, Any]:
    """(with the device of this process, who works). Raises OptionError."""
    from ..runs.ranks import Ranks

    crew, own = asked.workers.crew(asked.networks)
    if isinstance(crew, Ranks):
        raise OptionError("segloop label came under torchrun", "start it once, with --devices or --engine ray")
    return replace(asked, networks=replace(asked.networks, **own)), crew


def _settled(asked: Asked) -> Asked:
    """With what the run in --out has settled already, where nothing is said; torch's threads are set."""
    import torch

    from ..runs.inputs import SETTLED, as_recorded

    check_count("--threads", asked.threads or 0)
    wanted = {name: value for name, value in flat(asked).items() if name in SETTLED}
    known = {} if asked.overwrite or asked.dry_run else as_recorded(asked.out, wanted)
    torch.set_num_threads(known.get("threads") or asked.threads or torch.get_num_threads())
    networks = {name: value for name, value in known.items() if name in vars(asked.networks)}
    own = {name: value for name, value in known.items() if name not in networks}
    return replace(asked, networks=replace(asked.networks, **networks), **own)


@contextmanager
def _until_told() -> Iterator[Event]:
    """An event that SIGTERM sets; a second one ends at once."""
    stop = Event()

    def told(number: int, frame: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        stop.set()

    before = signal.signal(signal.SIGTERM, told)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, before)


def _tell(done: Any, json_lines: bool) -> None:
    if done.run is None:
        if json_lines:
            tell_event({"event": "stopped", "run": str(done.folder), "shards_left": done.left})
        say(
            f"stopped; {counted(done.left, 'shard')} {'is' if done.left == 1 else 'are'} left, the same command goes on"
        )
        raise typer.Exit(STOPPED)
    images, failed = done.run["images"], done.run["failed"]
    if json_lines:
        tell_event({"event": "end", "run": str(done.folder), "images": images, "failed": failed})
    else:
        console.tell(f"{counted(images, 'label map')} in {done.folder / 'labels'}, tables beside it")
    if failed:
        say(f"{counted(failed, 'photo')} could not be used; {done.folder / 'failed.jsonl'} says why")
        raise typer.Exit(console.SOME_FAILED)


def _tell_forecast(photos: Any, networks: Any, vocabulary: Any, json_lines: bool) -> None:
    from ..labelling.forecast import forecast
    from ..runs.forecast import duration

    try:
        segmenter = networks.open()
    except MissingModelError as error:
        _tell_counts(photos, vocabulary, error, json_lines)
        return
    found = forecast(photos, segmenter, vocabulary)
    if json_lines:
        console.tell(one_line(asdict(found)))
        return
    pace = f"about {duration(found.seconds)} here, {found.bytes / 1e6:.3g} MB of label maps"
    told = f"{counted(found.photos, 'photo')}: {pace}"
    unusable = f", of which {found.unusable} cannot be used" if found.unusable else ""
    console.tell(f"{told}, judged by {found.tried} of them{unusable}")
    if found.large:
        verb = "is" if found.large == 1 else "are"
        say(f"{counted(found.large, 'scene')} of those, too large to be read at once, {verb} in no figure")


def _tell_counts(photos: Any, vocabulary: Any, missing: MissingModelError, json_lines: bool) -> None:
    """What can be said of a labelling whose networks are not here."""
    classes, words = len(vocabulary.classes), len(vocabulary.queries)
    if json_lines:
        told = {"photos": len(photos), "classes": classes, "words": words, "tried": 0, "seconds": None, "bytes": None}
        console.tell(one_line(told))
    else:
        lists = f"{classes} class{'es' if classes > 1 else ''} of {counted(words, 'word')}"
        console.tell(f"{counted(len(photos), 'photo')}, {lists}")
    say(f"how long and how large cannot be judged: {missing}")

"""`segloop evaluate`: a data set labelled, counted and scored."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..common import console
from ..common.console import friendly, say
from ..common.strict import one_line
from ..common.system import check_count
from ..common.visible import counted, plain
from ..errors import OptionError
from . import options
from .taking import flat, given, taking
from .watching import watched

if TYPE_CHECKING:
    from ..evaluation.sweep import Wish
    from ..evaluation.task import Task

OPENING = "evaluate: "  # of the first line
EXAMPLE = "segloop evaluate voc21 --data DIR --method sclip"
ANEW = ("sets", "regions", "data", "out", "overwrite", "json_lines", "debug")
WITHOUT_NETWORK = {"from_scores", *ANEW}  # all that deciding takes


@dataclass(frozen=True, kw_only=True)
class LabelMaps:
    """Options about label maps; the fields of `Masks`."""

    suffix: Annotated[
        str | None,
        typer.Option("--mask-suffix", help="What follows a photo's name in its label map's: _mask.png, .gif."),
    ] = None
    image_suffix: Annotated[
        str | None,
        typer.Option("--image-suffix", help="What a photo's file has behind the name that both share: _sat.jpg."),
    ] = None
    values: Annotated[
        str | None,
        typer.Option("--mask-values", help="Value=class: 0=0,255=1 or 1-4=0-3,9=void or #008000=grass; voc, potsdam."),
    ] = None
    turned: Annotated[
        bool, typer.Option("--turn-masks", help="Label maps lie as the photos' files: turn them by their EXIF too.")
    ] = False


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Options of `segloop evaluate`; those that bear a name of `Task` become its field."""

    key: Annotated[
        str | None, typer.Argument(metavar="KEY|all", help="Of `segloop datasets`, several joined by commas.")
    ] = None
    data: options.Data = None
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder of the run, by default segloop-out/KEY/METHOD; several lie below it."),
    ] = None
    networks: options.Networks
    regions: options.Masks = None
    bank: options.Bank = None
    methods: Annotated[
        str | None,
        typer.Option("--methods", help="Several, joined by commas, or all; each on every data set, in one go."),
    ] = None
    preset: Annotated[
        str | None,
        typer.Option("--preset", help="A grid of methods, guides and CLIPs by its name: see `segloop methods`."),
    ] = None
    fsa: Annotated[str, typer.Option("--fsa", help="With --methods: off, on, or off,on.")] = "off"
    names: Annotated[
        str | None,
        typer.Option("--names", help="Class list: P, S, SFP, clear, LPOSS, corrclip(-v2); by default the method's."),
    ] = None
    templates: options.Templates = "openai80"
    aliases: options.Aliases = None
    split: Annotated[str | None, typer.Option("--split", help="Another split, such as train, or a list file.")] = None
    labels: LabelMaps
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="The first N images only.")] = None
    boundary: Annotated[bool, typer.Option("--boundary", help="Boundary IoU too.")] = False
    maps: Annotated[bool, typer.Option("--save-maps", help="Keep label maps in RUN/maps.")] = False
    scores: Annotated[bool, typer.Option("--scores", help="Keep cosines in RUN/scores, to decide anew later.")] = False
    from_scores: Annotated[
        Path | None,
        typer.Option("--from-scores", metavar="RUN", help="Decide a run with --scores anew, without the network."),
    ] = None
    workers: options.Workers
    batch: options.BestBatch = None
    shard: Annotated[int | None, typer.Option("--shard", min=1, help="Images done or lost together; 16.")] = None
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="Of torch, in each process.")] = None
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="How many images and windows, how long, how large; nothing is written.")
    ] = False
    retry_failed: options.RetryFailed = False
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Start anew in the same folder.")] = False
    json_lines: options.Json = False
    debug: options.Debug = False


@taking(Asked)
def evaluate(asked: Asked) -> None:
    """Measure a method on a data set, or many on all of them; started again, a run goes on where it was stopped.

    With a benchmark and a method, geometry, thresholds and class list are the published ones. `all` is those of the
    papers' eight benchmarks that are there. --clip may name several, joined by commas: each has folders of its own.

    A folder of your own has images, masks and classes.txt. Label maps store 0, 1, 2 ... in the order of classes.txt,
    and 255 for void; or they are colours, with a colour behind each name in classes.txt or in colours.txt beside it:
    `grass: 0,128,0`, one a line, `void: 0,0,0` for no class. --mask-values says what other values are.
    """
    with friendly(asked.debug):
        if asked.from_scores is not None:
            _check_alone(asked)
        changes = options.overrides(asked.networks.sets)
        if asked.from_scores is not None:
            console.quiet_libraries()
            again = _decide_anew(asked, asked.from_scores, changes)
            _tell([again], asked.json_lines)
            return
        if asked.key is None or not asked.data:
            missing = "KEY" if asked.key is None else "--data"
            raise OptionError(f"{missing} is missing", f"write it as in: {EXAMPLE}")
        check_count("--threads", asked.threads or 0)
        say(_opening(asked, asked.key))  # before PyTorch, which takes seconds
        console.quiet_libraries()
        from ..evaluation.run import evaluate as run
        from ..evaluation.sweep import tasks_of

        _tell_of_doubles(asked)
        crew, own = asked.workers.crew(asked.networks)
        tasks = tasks_of(_wish(asked, asked.key, changes, own), say)
        if asked.dry_run:
            _tell_forecast(tasks, asked.json_lines)
            return
        with watched("images") as progress:
            finished = run(tasks, crew, say, progress)
        _tell(finished, asked.json_lines)


def _opening(asked: Asked, key: str) -> str:
    """The first line: what was understood."""
    networks = asked.networks
    preset = f"preset {asked.preset}" if asked.preset else None
    fsa = f" with feedback {asked.fsa}" if asked.methods else ""
    method = networks.method or networks.host or networks.recipe or f"the method of {networks.clip}"
    what = preset or (f"methods {asked.methods}{fsa}" if asked.methods else method)
    judged = "judging" if asked.dry_run else "evaluating"
    return f"{OPENING}{judged} {key} with {what}; loading PyTorch, then looking at {', '.join(asked.data or [])}"


def _tell_of_doubles(asked: Asked) -> None:
    """Say which name of a list came twice, and is done once."""
    for option, text in (("KEY", asked.key), ("--methods", asked.methods), ("--clip", asked.networks.clip)):
        names = [name.strip() for name in (text or "").split(",")]
        double = next((name for place, name in enumerate(names) if name in names[:place]), None)
        if double:
            say(f"{double} came twice in {option} {text}: it is done once")


def _check_alone(asked: Asked) -> None:
    """Raises OptionError for what --from-scores cannot heed: the run has settled it."""
    told = [word for name, word in given(asked).items() if name not in WITHOUT_NETWORK]
    if told:
        others = "--set of what decides, --masks, --data, --out, --overwrite, --json and --debug"
        remedy = f"leave that out (only {others} go with it)"
        raise OptionError(f"{', '.join(told)} came with --from-scores, which takes all that from its run", remedy)


def _wish(asked: Asked, key: str, changes: dict[str, Any], here: dict[str, Any]) -> "Wish":
    from ..data.masks import Masks
    from ..evaluation.sweep import Wish
    from ..evaluation.task import Task
    from ..line import banking, masking

    masking.check_heeded(changes, asked.regions)
    banking.check_heeded(changes, asked.bank)
    own = {field.name for field in fields(Task)} - {"key", "out"}
    common = {name: value for name, value in flat(asked).items() if name in own}
    common |= {"places": tuple(asked.data or ()), "changes": changes, **here}
    common["masks"] = Masks(**vars(asked.labels))
    return Wish(key, asked.out, asked.methods, asked.fsa, common, asked.preset, _clips(asked))


def _clips(asked: Asked) -> list[str]:
    """What --clip names; nothing where a preset has sizes of its own. Raises OptionError for an empty name."""
    given = asked.networks.clip
    if asked.preset and given == options.DEFAULT_CLIP:
        return []
    names = [given] if Path(given).is_dir() else [name.strip() for name in given.split(",")]
    if not all(names):
        raise OptionError(f"--clip {given} names none between its commas", "write models joined by commas")
    return list(dict.fromkeys(names))


def _tell_forecast(tasks: list["Task"], json_lines: bool) -> None:
    from ..evaluation.forecast import forecast
    from ..runs.forecast import duration

    found = forecast(tasks, say)
    if options.as_lines([asdict(one) for one in found], json_lines):
        return
    header = ("data set", "runs", "images", "windows", "time", "record", "maps", "scores", "judged by")
    rows = []
    for one in found:
        bad = f", {one.unusable} of them of no use" if one.unusable else ""
        sizes = [f"{size / 1e6:.3g} MB" if size else "-" for size in (one.record, one.maps, one.scores)]
        time = "-" if one.untimed == one.runs else duration(one.seconds)
        time += f" for {one.runs - one.untimed} of {one.runs}" if 0 < one.untimed < one.runs else ""
        counts = [str(one.runs), str(one.images), str(one.windows), time]
        rows.append([one.dataset, *counts, *sizes, f"{counted(one.tried, 'image')}{bad}"])
    console.table("What it would take here, about", header, rows)
    untimed, runs = (sum(getattr(one, name) for one in found) for name in ("untimed", "runs"))
    if untimed == runs:
        console.tell("how long cannot be judged: no run has its networks here")
        return
    more = f", without {counted(untimed, 'run')} whose networks are not here" if untimed else ""
    console.tell(f"in all about {duration(sum(one.seconds for one in found))}, as if nothing was done yet{more}")


def _decide_anew(asked: Asked, folder: Path, changes: dict[str, Any]) -> Any:
    from ..evaluation.anew import decide_anew, open_kept

    if asked.out is None:
        raise OptionError("--from-scores came without --out", "name a folder for the new record")
    several = next((name for name in ("logit_scale", "background_threshold") if "," in plain(changes.get(name))), None)
    if several:
        remedy = "give one value; `segloop tune RUN --scales ... --thresholds ...` tries many of a run's kept cosines"
        raise OptionError(
            f"--set {several}={plain(changes[several])} came with --from-scores, which makes one record", remedy
        )
    with watched("images") as progress:
        kept = open_kept(folder, asked.data or [])
        return decide_anew(kept, asked.out, changes, asked.overwrite, progress, say, asked.regions)


def _tell(finished: list[Any], json_lines: bool) -> None:
    from ..labels.strays import sentence
    from ..report.caveats import of_labels
    from ..report.runs import load_run
    from ..runs.alike import columns

    for one in finished:
        if json_lines:
            console.tell(one_line({"run": str(one.folder), **one.run}))
    for one in finished:
        said = sentence(one.run.get("labels") or {}, one.run["settings"].get("void", "corrected"))
        if said:
            say(f"warning: {one.folder}: {said}")
        if said := of_labels(load_run(one.folder)):
            say(f"{one.folder}: {said}")
    if finished and not json_lines:
        edges = any("boundary_mIoU" in one.run["metrics"] for one in finished)
        unlike = columns([one.run for one in finished], [one.task.key for one in finished])
        header = ("run", "images", *unlike, "mIoU", "95 %", "aAcc", "mAcc", *(["boundary mIoU"] if edges else []))
        told = f"; these are not alike: {', '.join(unlike)}" if unlike else ""
        rows = [_row(one, *values)[: len(header)] for one, *values in zip(finished, *unlike.values(), strict=True)]
        console.table(f"mIoU, in percent{told}", header, rows)
    failed = sum(one.run["failed"] for one in finished)
    if failed:
        say(f"{counted(failed, 'image')} could not be counted; failed.jsonl in the run's folder says why")
        raise typer.Exit(console.SOME_FAILED)


def _row(one: Any, *unlike: str) -> list[str]:
    metrics = {name: "-" if value is None else f"{value:.2f}" for name, value in one.run["metrics"].items()}
    low, high = one.run["intervals"].get("mIoU", (None, None))
    none = "one image" if one.run["images"] == 1 else "-"
    spread = none if low is None else f"{low:.1f} to {high:.1f}"
    figures = [metrics["mIoU"], spread, metrics["aAcc"], metrics["mAcc"], metrics.get("boundary_mIoU", "-")]
    return [str(one.folder), str(one.run["images"]), *unlike, *figures]

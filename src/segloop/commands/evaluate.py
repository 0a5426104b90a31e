"""`segloop evaluate`: a data set labelled, counted and scored."""

import json
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from .. import console
from ..console import friendly, say
from ..errors import OptionError
from . import options

EXAMPLE = "segloop evaluate voc21 --data DIR --method sclip"

Whole = Optional[int]  # noqa: UP045


def evaluate(
    key: Annotated[
        Optional[str],  # noqa: UP045
        typer.Argument(metavar="KEY|all", help="Of `segloop datasets`, several joined by commas."),
    ] = None,
    data: options.Data = None,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", help="Folder of the run; of several runs, KEY/METHOD lie below it."),
    ] = None,
    clip: options.Clip = options.DEFAULT_CLIP,
    method: options.Method = None,
    host: options.Host = None,
    vision: options.Vision = None,
    recipe: options.Recipe = None,
    methods: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--methods", help="Several, joined by commas: all of them on all data sets, in one go."),
    ] = None,
    fsa: Annotated[str, typer.Option("--fsa", help="With --methods: off, on, or off,on.")] = "off",
    names: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--names", help="Variant of the class list: P, S, SFP, clear; the method's own by default."),
    ] = None,
    templates: options.Templates = "openai80",
    fidelity: options.Fidelity = "default",
    sets: options.Sets = None,
    bands: options.Bands = None,
    stretch: options.Stretch = "none",
    split: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--split", help="Another split, such as train, or a list file."),
    ] = None,
    mask_suffix: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--mask-suffix", help="What follows a photo's name in its label map's: _mask.png, .gif."),
    ] = None,
    image_suffix: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--image-suffix", help="What a photo's file has behind the name that both share: _sat.jpg."),
    ] = None,
    mask_values: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--mask-values", help="Value=class: 0=0,255=1 or 1-4=0-3,9=void or #008000=grass; voc, potsdam."),
    ] = None,
    turn_masks: Annotated[
        bool, typer.Option("--turn-masks", help="Label maps lie as the photos' files: turn them by their EXIF too.")
    ] = False,
    limit: Annotated[Whole, typer.Option("--limit", min=1, help="The first N images only.")] = None,
    boundary: Annotated[bool, typer.Option("--boundary", help="Boundary IoU too.")] = False,
    maps: Annotated[bool, typer.Option("--save-maps", help="Keep label maps in RUN/maps.")] = False,
    scores: Annotated[bool, typer.Option("--scores", help="Keep cosines in RUN/scores, to decide anew later.")] = False,
    from_scores: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--from-scores", metavar="RUN", help="Decide a run with --scores anew, without the network."),
    ] = None,
    device: options.Device = "auto",
    devices: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--devices", help="Several processes: cuda:0,cuda:1 or a number. torchrun works too."),
    ] = None,
    dtype: options.Dtype = "auto",
    batch: Annotated[Whole, typer.Option("--batch", min=1, help="Windows that go together; 8.")] = None,
    shard: Annotated[Whole, typer.Option("--shard", min=1, help="Images that are done or lost together; 16.")] = None,
    threads: Annotated[Whole, typer.Option("--threads", min=1, help="Of torch, in each process.")] = None,
    offline: options.Offline = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Start anew in the same folder.")] = False,
    json_lines: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Measure a method on a data set, or many on all of them; started again, a run goes on where it was stopped.

    With a benchmark and a method, geometry, thresholds and class list are the published ones. `all` is the eight
    benchmarks of the papers.

    A folder of your own has images, masks and classes.txt. Label maps store 0, 1, 2 ... in the order of classes.txt,
    and 255 for void; or they are colours, with a colour behind each name in classes.txt or in colours.txt beside it:
    `grass: 0,128,0`, one a line, `void: 0,0,0` for no class. --mask-values says what other values are.
    """
    with friendly(debug):
        from ..evaluation.crew import crew_of
        from ..evaluation.sweep import Wish, tasks_of
        from ..masks import Masks

        changes = options.overrides(sets)
        console.quiet_libraries()
        if from_scores is not None:
            _tell([_decide_anew(from_scores, data or [], out, changes, overwrite)], json_lines)
            return
        if key is None or not data:
            missing = "KEY" if key is None else "--data"
            raise OptionError(f"{missing} is missing", f"write it as in: {EXAMPLE}")
        crew, own = crew_of(devices, device)
        wish = Wish(
            keys=key,
            out=out,
            methods=methods,
            fsa=fsa,
            common={
                "places": tuple(data),
                "clip": clip,
                "method": method,
                "host": host,
                "vision": vision,
                "recipe": recipe,
                "names": names,
                "templates": templates,
                "fidelity": fidelity,
                "changes": changes,
                "bands": bands,
                "stretch": stretch,
                "split": split,
                "limit": limit,
                "boundary": boundary,
                "maps": maps,
                "scores": scores,
                "device": own,
                "dtype": dtype,
                "batch": batch,
                "shard": shard,
                "threads": threads,
                "offline": offline,
                "masks": Masks(mask_suffix, image_suffix, mask_values, turn_masks),
                "overwrite": overwrite,
            },
        )
        tasks = tasks_of(wish)
        from ..evaluation.run import evaluate as run

        with console.progress("images", 0) as advance:
            finished = run(tasks, crew, say, advance)
        _tell(finished, json_lines)


def _decide_anew(folder: Path, data: list[str], out: Path | None, changes: dict[str, Any], overwrite: bool) -> Any:
    from ..evaluation.anew import decide_anew, open_kept

    if out is None:
        raise OptionError("--from-scores came without --out", "name a folder for the new record")
    with console.progress("images", 0) as advance:
        return decide_anew(open_kept(folder, data), out, changes, overwrite, advance)


def _tell(finished: list[Any], json_lines: bool) -> None:
    from ..strays import sentence

    for one in finished:
        if json_lines:
            console.tell(json.dumps({"run": str(one.folder), **one.run}))
    for one in finished:
        said = sentence(one.run.get("labels") or {}, one.run["settings"].get("void", "corrected"))
        if said:
            say(f"warning: {one.folder}: {said}")
    if finished and not json_lines:
        console.table(
            "mIoU, in percent", ("run", "images", "mIoU", "95 %", "aAcc", "mAcc"), [_row(one) for one in finished]
        )
    failed = sum(one.run["failed"] for one in finished)
    if failed:
        say(f"{failed} images could not be counted; failed.jsonl in the run's folder says why")
        raise typer.Exit(console.SOME_FAILED)


def _row(one: Any) -> list[str]:
    metrics = {name: "-" if value is None else f"{value:.2f}" for name, value in one.run["metrics"].items()}
    low, high = one.run["intervals"].get("mIoU", (None, None))
    spread = "-" if low is None else f"{low:.1f} to {high:.1f}"
    return [str(one.folder), str(one.run["images"]), metrics["mIoU"], spread, metrics["aAcc"], metrics["mAcc"]]

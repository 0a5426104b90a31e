"""`segloop tune`: logit scale and background threshold, chosen on one half of the images and judged on the other."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from ..common import console
from ..common.console import friendly, say, tell
from ..common.strict import one_line
from ..errors import OptionError
from . import options
from .watching import watched

EXAMPLE = "segloop tune segloop-out/voc21/sclip"


def tune(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of an evaluation made with --scores.")],
    data: options.Data = None,
    scales: Annotated[
        str | None,
        typer.Option("--scales", help="Logit scales to try, joined by commas."),
    ] = None,
    thresholds: Annotated[
        str | None,
        typer.Option("--thresholds", help="Background thresholds to try, joined by commas; 0 is off."),
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="Rows of the table.")] = 5,
    json_lines: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Find the logit scale and the background threshold of a run's kept cosines, without the network.

    Every second image chooses, the others judge; both figures are shown. Constants tuned on a benchmark's own
    images are not comparable with published ones: tune on --split train.
    """
    with friendly(debug):
        from ..evaluation.anew import open_kept
        from ..evaluation.tune import SCALES, THRESHOLDS
        from ..evaluation.tune import tune as run_tune

        kept = open_kept(run, data or [])
        with watched("images") as progress:
            tuned = run_tune(kept, _numbers(scales, SCALES), _numbers(thresholds, THRESHOLDS), progress)
        for error in tuned.lost:
            say(f"error: {error}")
        _tell(tuned, run, top, json_lines)
        if tuned.lost:
            raise typer.Exit(console.SOME_FAILED)


def _tell(tuned: Any, run: Path, top: int, json_lines: bool) -> None:
    gain = tuned.gain.mIoU
    if json_lines:
        choices = [asdict(choice) for choice in tuned.choices]
        found = {"best": choices[0], "recorded": asdict(tuned.recorded), "images": tuned.images}
        tell(one_line({"run": str(run), **found, "gain": asdict(gain), "choices": choices}))
        return
    rows = [("", choice) for choice in tuned.choices[:top]] + [("the run's own", tuned.recorded)]
    halves = f"{tuned.images[0]} images that choose, {tuned.images[1]} that judge"
    columns = ("logit_scale", "background_threshold", "choosing", "judging", "")
    console.table(f"mIoU in percent, {halves}", columns, [_row(choice, note) for note, choice in rows])
    low, high = gain.interval.low, gain.interval.high
    verdict = "real on these images" if gain.p < 0.05 else "not to be told from chance"
    tell("")
    if tuned.best == tuned.recorded:
        tell("None of the pairs is better than the run's own on the images that choose: there is nothing to change.")
        return
    tell(f"Held out, the best pair gains {gain.value:+.2f} ({low:+.2f} to {high:+.2f}): {verdict}.")
    best = tuned.best
    off = best.background_threshold is None
    changes = f"--set logit_scale={best.logit_scale:g}"
    changes += "" if off else f" --set background_threshold={best.background_threshold:g}"
    tell(f"Its record: segloop evaluate --from-scores {run} {changes} --out DIR")


def _numbers(text: str | None, default: Any) -> Any:
    if text is None:
        return default
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise OptionError(f"{text!r} is not a list of numbers", "write them as 20,40,60") from None


def _row(choice: Any, note: str) -> list[str]:
    threshold = "off" if choice.background_threshold is None else f"{choice.background_threshold:g}"
    return [f"{choice.logit_scale:g}", threshold, f"{choice.tuned:.2f}", f"{choice.held_out:.2f}", note]

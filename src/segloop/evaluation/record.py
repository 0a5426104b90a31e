"""The record of an evaluation: what its folder holds beside run.json, and how shards become scores.

`images.csv`, `classes.csv` and `counts.npz` hold only what the inputs determine.
"""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from ..common.earlier import FAILED, beginning, failure_lines, npz_of, png_of
from ..common.files import write_whole
from ..data.masks import leaves_out
from ..labels import strays
from ..labels.read import VOID
from ..runs.folder import Layout, clear_parts
from ..runs.record import Record, Shards
from ..scoring import tally
from ..words.vocabulary import first_is_background

MAPS, SCORES = "maps", "scores"  # folders of label maps and of cosines
MAP, SCORE = png_of("classes"), npz_of(("tiles", "size", "target", "direct"))


def has_scores(run: Mapping[str, Any]) -> bool:
    """Whether the record of an evaluation that is done holds scores, each a number or None, as `finish` writes them."""
    try:
        metrics, ends = run["metrics"], [end for pair in run["intervals"].values() for end in pair]
        numbers = [*(metrics[name] for name in ("aAcc", "mIoU", "mAcc")), *metrics.values(), *ends]
        pairs = all(len(pair) == 2 for pair in run["intervals"].values())
        labels_of(run)
    except (LookupError, TypeError, AttributeError):
        return False
    return pairs and all(one is None or (type(one) in (int, float) and isfinite(one)) for one in numbers)


def labels_of(run: Mapping[str, Any]) -> dict[str, Any]:
    """The record's `labels`; none in records from before they were counted.

    Raises TypeError, LookupError or AttributeError where they are damaged.
    """
    found = run.get("labels")
    if found is None:
        return {}
    if not all(isinstance(found[key], int) for key in ("pixels", "void", "stray", "others")):
        raise TypeError("labels are no numbers")
    if not isinstance(found["remedy"], (str, type(None))):
        raise TypeError("labels.remedy is no text")
    for one in found["values"]:
        if not isinstance(one["pixels"], int) or not isinstance(one.get("value", one.get("colour")), (int, str)):
            raise TypeError("labels.values has no pixels")
    return dict(found)


LAYOUT = Layout(
    files={
        "images.csv": beginning(b"image,height,width,pixels,"),
        "counts.npz": npz_of(("images", *tally.AREAS)),
        "classes.csv": beginning(b"class,name,IoU,"),
    },
    kept={MAPS: MAP, SCORES: SCORE},
    part=".npz",
    found=has_scores,
)
COUNTED: Shards[tally.Outcome] = Shards(
    LAYOUT,
    tally.encode_shard,
    lambda data, inputs, seal: tally.decode_shard(data, len(inputs["classes"]), seal),
    tally.Failed,
)
"""Shards of counts, image by image."""

Evaluation = Record[tally.Outcome]


def finish(record: Evaluation, shards: int) -> dict[str, Any]:
    """Put all shards together -> run.json as written.

    Raises MachineError where a shard is missing, UserError where no pixel counts; shards are done anew when the run
    starts again.
    """
    outcomes = record.all_outcomes(shards)
    counted = [outcome for outcome in outcomes if isinstance(outcome, tally.Scored)]
    failed = [outcome for outcome in outcomes if isinstance(outcome, tally.Failed)]
    folder, names = record.folder, record.inputs["classes"]
    if failed:
        write_whole(folder / FAILED, failure_lines((one.source, one.error, one.remedy) for one in failed))
    else:
        (folder / FAILED).unlink(missing_ok=True)
    facts = _facts(counted, names, record.inputs["settings"])
    if not sum(facts.areas):
        clear_parts(folder, LAYOUT)
        first = (f"{failed[0].source}: {failed[0].error}", failed[0].remedy) if failed else None
        raise strays.nothing(facts, first)
    scores, classes = tally.summary(counted, names)
    if all(outcome.uncounted for outcome in counted):
        scores["labels"] = strays.record(facts)
    write_whole(folder / "images.csv", tally.images_file(counted))
    write_whole(folder / "counts.npz", tally.counts_file(counted, len(names)))
    write_whole(folder / "classes.csv", classes)
    return record.end({"images": len(counted), "failed": len(failed), **scores})


def _facts(counted: Sequence[tally.Scored], names: Sequence[str], settings: Mapping[str, Any]) -> strays.Facts:
    """What label maps held, summed over a run."""
    masks = settings.get("masks") or {}
    values, wide = str(masks.get("values") or ""), len(names) >= strays.WIDE_FROM
    tabled = bool(values or masks.get("numbered_by_file"))
    unsaid = leaves_out(values, VOID) and not wide
    left = [outcome.uncounted for outcome in counted if outcome.uncounted]
    areas = tally.stacked(counted, len(names)).total().label.tolist()
    rare_first = first_is_background(names) or "table_hash" in masks  # which is void then; colours have no numbers
    moved = tally.moved(counted)
    return strays.gather(left, areas, str(settings.get("dataset")), wide, tabled, rare_first, unsaid, moved)

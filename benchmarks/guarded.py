"""The ratios that `guard.py` guards, each measured in small: two sides that take turns.

A ratio is of seconds, both sides in one process on one machine; a row says whether more or less is better, and whether
it hangs on the kind of processor.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

import feedback
import label
import line
import purify
import speed
from common import SMALL, as_published, photo, text_rows
from segloop.line.timed import Way
from textbook import Textbook


@dataclass(frozen=True)
class Sides:
    """Two tasks; the ratio is `factor` times the seconds of `over` by those of `under`."""

    over: Callable[[], Any]
    under: Callable[[], Any]
    factor: float = 1.0


@dataclass(frozen=True)
class Guarded:
    """A ratio: what it is, how its sides are made (they may write to a folder), which way is better."""

    what: str
    sides: Callable[[Path], Sides]
    better: str = "more"
    of_processor: bool = False  # recorded by kind of processor
    wander: float = 0.0  # of the ratio, between runs of the same code that each had narrow intervals
    in_half: bool = False  # only where half precision is fast


def lines(queries: int, _: Path) -> Sides:
    """A photo's whole way, the textbook's over ours."""
    tasks = line.photo_tasks(queries, {"segloop": line.ours("float32", 8)})
    return Sides(tasks["textbook"], tasks["segloop"])


def halves(_: Path) -> Sides:
    """A photo's whole way, float32 over the default precision."""
    one, half = (line.ours(dtype, 8) for dtype in ("float32", "auto"))
    tasks = line.photo_tasks(21, {"float32": one, "half": half})
    return Sides(tasks["float32"], tasks["half"])


def deciding(_: Path) -> Sides:
    """From windows' cosines to labels at the photo's size, many classes over few."""
    few, many = (decide_alone(queries) for queries in line.CLASSES)
    return Sides(many, few)


@torch.no_grad()
def decide_alone(queries: int) -> Callable[[], Any]:
    """The last step of a photo that has gone through all before."""
    way = Way(line.ours("float32", 8), photo(), line.vocabulary(queries), lambda result: None)
    for name, step in way.steps():
        if name in ("decide", "upsample", "write"):
            break
        step()
    return torch.no_grad()(way.decide)


def fed(_: Path) -> Sides:
    """One window with feedback over its host."""
    host, with_feedback = feedback.networks("float32")
    pixels, text = feedback.window(112 if SMALL else 224), text_rows(21)
    return Sides(lambda: with_feedback.logits(pixels, text), lambda: host.logits(pixels, text))


def stage(_: Path) -> Sides:
    """The feedback stage alone, the textbook's over ours."""
    tasks = feedback.stage_tasks(21)
    return Sides(tasks["textbook"], tasks["segloop"])


def purified(_: Path) -> Sides:
    """A photo by SFP over the same by plain CLIP."""
    image, words = photo(), purify.vocabulary()
    sfp, clip = (purify.segmenter(method, "float32") for method in ("sfp", "clip"))
    return Sides(lambda: sfp(image, words), lambda: clip(image, words))


def published(_: Path) -> Sides:
    """FSA on ProxyCLIP with DINO, the published pipeline over ours, two windows of 224."""
    side = 112 if SMALL else 224
    image, words = photo(side, side + 56), speed.vocabulary()
    ours = speed.ours("float32", short_side=side, crop=side, stride=56)
    plain = Textbook(as_published(ours.clip.model), as_published(ours.network.guide.model), text_rows(speed.QUERIES))
    return Sides(lambda: plain.labels(image, image.shape[:2], side, 56), lambda: ours(image, words))


def encoders(dtype: str, _: Path) -> Sides:
    """Both encoders' arithmetic rate over that of a large product."""
    tasks, factor = speed.encoders(speed.ours(dtype), speed.photos(1)[0])
    return Sides(tasks["matrix"], tasks["encoders"], factor)


def labelled(folder: Path) -> Sides:
    """Labelling photos, from files to files, over their windows through the network alone."""
    tasks = label.sides(folder, 4, "float32")
    return Sides(tasks["label"], tasks["network"])


WANDER = 0.1  # encoders 0.61 to 0.67 in five runs of a day, "published" 2.15 and 2.39 in two
GUARDED = {
    "line-21": Guarded(
        "textbook over segloop, SCLIP, 21 classes, float32", partial(lines, 21), wander=WANDER, of_processor=True
    ),
    "line-847": Guarded(
        "textbook over segloop, SCLIP, 847 classes, float32",
        partial(lines, line.CLASSES[1]),
        wander=WANDER,
        of_processor=True,
    ),
    "deciding": Guarded("deciding among 847 over 21 classes", deciding, "less"),
    "feedback": Guarded(
        "FSA and its host over the host, ProxyCLIP, a window of 224, float32", fed, "less", of_processor=True
    ),
    "stage": Guarded("textbook over segloop, the feedback stage alone, 1764 patches", stage, of_processor=True),
    "purify": Guarded("SFP over plain CLIP, float32", purified, "less"),
    "published": Guarded(
        "published pipeline over segloop, FSA on ProxyCLIP, windows of 224, float32",
        published,
        wander=WANDER,
        of_processor=True,
    ),
    "label": Guarded("labelling over its network alone, float32", labelled, "less"),
    "encoders": Guarded(
        "encoders' share of the matrix rate, float32", partial(encoders, "float32"), wander=WANDER, of_processor=True
    ),
    "half-encoders": Guarded(
        "encoders' share of the matrix rate, bfloat16",
        partial(encoders, "bfloat16"),
        wander=WANDER,
        of_processor=True,
        in_half=True,
    ),
    "half": Guarded("float32 over bfloat16, SCLIP, 21 classes", halves, of_processor=True, in_half=True),
}

"""What the page says of the whole photo: in brief, its maps, what changed, its classes, their scores."""

import math
from dataclasses import dataclass
from pathlib import Path

from ..results.palette import palette
from .look import Change, Inspection, Map
from .pictures import brightest, shown_classes
from .words import percent

LEGEND = 24  # rows of the table of classes
NAMED = 4  # classes that are told for a map


@dataclass(frozen=True)
class Key:
    """A class and its colour."""

    name: str
    colour: str  # "255,0,0"


@dataclass(frozen=True)
class Summary:
    """The head of the page: the photo, the method, and its main numbers."""

    name: str  # of the photo's file
    stem: str
    size: tuple[int, int]  # width, height in pixels
    windows: int
    grid: tuple[int, int]  # patches of a window, across and down
    model: str
    detector: str
    kept: str  # share of the pairs of patches that survive pruning
    outliers: int
    patches: int  # that could be outliers


@dataclass(frozen=True)
class Side:
    """A map in words."""

    title: str
    largest: str  # its largest classes with their shares
    entropy: str  # mean of a patch in bits


@dataclass(frozen=True)
class Changed:
    """What differs between the host's map and another."""

    share: str  # of the pixels
    after: str  # name of the other
    transitions: tuple[tuple[Key, Key, str], ...]  # class before, class after, share of the pixels


@dataclass(frozen=True)
class Legend:
    """The classes that are seen, largest first, with their shares of the three maps."""

    rows: tuple[tuple[Key, tuple[str, ...]], ...]
    more: int  # classes for which there is no room


@dataclass(frozen=True)
class Maps:
    """The three maps and what changed between them."""

    host: Side
    fsa: Side
    sfp: Side
    to_fsa: Changed
    to_sfp: Changed
    between: str  # share of the pixels in which FSA and SFP differ
    most: str  # bits, the entropy of a distribution that knows nothing
    change: str  # bits, where the colours of the change of entropy end
    legend: Legend


@dataclass(frozen=True)
class Scores:
    """The classes whose score maps are drawn, in their order."""

    shown: tuple[Key, ...]
    left_out: int
    pamr: bool  # whether PAMR comes after these scores


def summary(found: Inspection) -> Summary:
    """The head of the page."""
    name = Path(found.photo.source or "photo").name
    height, width = found.photo.target
    rows, columns = found.maps[0].grid
    return Summary(
        name=name,
        stem=Path(name).stem,
        size=(width, height),
        windows=len(found.windows),
        grid=(columns, rows),
        model=str(found.settings["host"]["model"]),
        detector=found.detector,
        kept=percent(sum(found.kept_share.values()) / len(found.kept_share)),
        outliers=sum(int(item.outliers.sum()) for item in found.tokens),
        patches=sum(len(item.outliers) for item in found.tokens),
    )


def maps(found: Inspection) -> Maps:
    """Maps, changes, entropies and classes."""
    host, fsa, sfp = found.maps
    to_fsa, to_sfp, between = found.changes
    return Maps(
        host=_side(host),
        fsa=_side(fsa),
        sfp=_side(sfp),
        to_fsa=_changed(found, to_fsa),
        to_sfp=_changed(found, to_sfp),
        between=percent(between.share),
        most=f"{math.log2(max(len(found.classes), 2)):.2g}",
        change=f"{brightest(fsa.entropy - host.entropy):.2g}",
        legend=_legend(found),
    )


def scores(found: Inspection) -> Scores:
    """Which classes have score maps."""
    shown = tuple(_key(found, index) for index in shown_classes(found))
    return Scores(shown, len(found.classes) - len(shown), bool(found.settings["host"].get("pamr_steps")))


def _key(found: Inspection, index: int) -> Key:
    return Key(found.classes[index], ",".join(map(str, palette(len(found.classes))[index].tolist())))


def _side(side: Map) -> Side:
    largest = sorted(side.share.items(), key=lambda item: -item[1])[:NAMED]
    told = ", ".join(f"{name} {percent(share)}" for name, share in largest if share)
    return Side(side.title, told, f"{side.entropy.mean():.2f}")


def _changed(found: Inspection, change: Change) -> Changed:
    rows = tuple((_key(found, a), _key(found, b), percent(share)) for a, b, share in change.transitions)
    return Changed(percent(change.share), change.after, rows)


def _legend(found: Inspection) -> Legend:
    shares = [[side.share[name] for side in found.maps] for name in found.classes]
    order = [c for c in sorted(range(len(shares)), key=lambda c: -max(shares[c])) if max(shares[c]) > 0]
    rows = tuple((_key(found, c), tuple(map(percent, shares[c]))) for c in order[:LEGEND])
    return Legend(rows, max(len(order) - LEGEND, 0))

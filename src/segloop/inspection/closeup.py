"""What the page says of single windows: rows of attention of the chosen patches, and outlier tokens."""

from dataclasses import dataclass

import numpy as np

from .look import Inspection, Seen, Tokens
from .pictures import brightest, norm_range
from .places import Window
from .record import reach
from .words import number, percent

BARS = 6  # classes that are told for a patch
TERMS = {"new_old": "A⁺A", "old_new": "AA⁺", "new": "ρA⁺"}  # of feedback, as they are written

Grid = tuple[int, int]


@dataclass(frozen=True)
class Row:
    """A row of attention in numbers."""

    reach: str  # patches that it listens to
    patches: int  # that there are
    largest: str
    most: str  # where the colours of its picture end
    class_token: str | None  # what it gives to the class token, where there is one


@dataclass(frozen=True)
class Bar:
    """Scores of one class at a patch."""

    name: str
    host: str
    fed: str
    lengths: tuple[str, str]  # percent of the whole width


@dataclass(frozen=True)
class Point:
    """A chosen patch and what it listens to."""

    number: int  # from 1
    point: tuple[int, int]  # x, y in pixels
    patch: tuple[int, int]  # row, column
    window: int
    why: str
    cells: str  # for the crosshair
    host: Row
    fsa: Row
    kept: str  # of the patches, by pruning
    change: str  # where the colours of the difference end
    new: str  # where those of feedback's own row end
    bars: tuple[Bar, ...]
    heads: int  # 1 where all share one matrix


@dataclass(frozen=True)
class Outlier:
    """The numbers of one outlier token."""

    patch: tuple[int, int]  # row, column
    numbers: tuple[str, ...]  # norm, repaired norm, attention from the class token, to itself


@dataclass(frozen=True)
class Norms:
    """Norms of a window's tokens before and after repair."""

    window: int
    cells: str  # for the crosshair
    ends: tuple[str, str]  # of the colours
    patches: int
    before: str  # medians
    after: str
    outliers: tuple[Outlier, ...]


def points(found: Inspection) -> tuple[Point, ...]:
    """Every chosen patch."""
    return tuple(_point(found, seen, place) for place, seen in enumerate(found.seen, start=1))


def formula(found: Inspection) -> str:
    """What FSA applies, by its terms."""
    terms = [
        {"new_old": "A⁺A", "old_new": "AA⁺", "new": "ρA⁺"}[term] for term in found.settings["fsa"]["feedback"]["terms"]
    ]
    return f"({' + '.join(terms)}) / {len(terms)}" if len(terms) > 1 else terms[0]


def rule(found: Inspection) -> str:
    """What makes a token an outlier."""
    purify = found.settings["host"].get("purify") or found.settings["sfp"]["purify"]
    return {
        "som": f"{number(purify['detection_scale'])} times the class token's attention exceeds the patch's own to "
        f"itself; at most {purify['outliers']}",
        "l2": f"the {purify['outliers']} largest norms",
        "none": "nobody",
    }.get(found.detector, f"above the {number(purify['quantile'])} quantile")


def norms(item: Tokens) -> Norms:
    """The tokens of one window."""
    low, high = norm_range(item)
    return Norms(
        window=item.window.number,
        cells=crosshair(item.window, item.grid),
        ends=(number(low), number(high)),
        patches=len(item.outliers),
        before=number(float(np.median(item.before))),
        after=number(float(np.median(item.after))),
        outliers=tuple(_outlier(item, patch) for patch in np.flatnonzero(item.outliers).tolist()),
    )


def _point(found: Inspection, seen: Seen, place: int) -> Point:
    spot, window = seen.place, found.windows[seen.place.window]
    host, fed = seen.host.mean(0), seen.fed.mean(0)
    given = seen.class_token or (None, None)
    return Point(
        number=place,
        point=spot.point,
        patch=spot.patch,
        window=window.number,
        why=spot.why,
        cells=crosshair(window, window.grid),
        host=_row(host, given[0]),
        fsa=_row(fed, given[1]),
        kept=f"{int(seen.kept.sum())} of {len(seen.kept)} patches kept ({percent(float(seen.kept.mean()))})",
        change=number(brightest(fed - host)),
        new=number(brightest(seen.new)),
        bars=_bars(found, seen),
        heads=len(seen.fed),
    )


def _row(row: np.ndarray, token: float | None) -> Row:
    return Row(
        reach=f"{reach(row):.0f}",
        patches=len(row),
        largest=number(float(row.max())),
        most=number(brightest(row)),
        class_token=None if token is None else number(token),
    )


def _bars(found: Inspection, seen: Seen) -> tuple[Bar, ...]:
    """What the patch says, in this window, before and after."""
    order = np.argsort(-np.maximum(seen.host_scores, seen.fed_scores), kind="stable")[:BARS]
    pairs = [(found.classes[c], seen.host_scores[c], seen.fed_scores[c]) for c in order.tolist()]
    return tuple(
        Bar(name, f"{host:.2f}", f"{fed:.2f}", (f"{100 * host:.1f}", f"{100 * fed:.1f}")) for name, host, fed in pairs
    )


def _outlier(item: Tokens, patch: int) -> Outlier:
    values = (item.before, item.after, item.class_attention, item.self_attention)
    return Outlier(divmod(patch, item.grid[1]), tuple(number(float(each[patch])) for each in values))


def crosshair(window: Window, grid: Grid) -> str:
    """Two lines "start step count", for rows and columns: patch = floor(start + step * fraction of the picture)."""
    parts = []
    for span, pad, count in zip((window.rows, window.columns), window.pads, grid, strict=True):
        length = span[1] - span[0]
        whole = length + sum(pad)
        parts += [f"{pad[0] * count / whole:.6g}", f"{length * count / whole:.6g}", str(count)]
    return " ".join(parts)

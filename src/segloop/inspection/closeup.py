"""Parts of the page on single windows: rows of attention of the chosen patches, and outlier tokens."""

from collections.abc import Sequence
from html import escape

import numpy as np

from .blocks import Sources, figure, number, percent, scale
from .look import Inspection, Seen, Tokens
from .pictures import brightest, norm_range
from .places import Window
from .record import reach

BARS = 6  # classes that are told for a patch

Grid = tuple[int, int]


def points(found: Inspection, sources: Sources) -> str:
    """Rows of attention of every chosen patch."""
    feedback = found.settings["fsa"]["feedback"]
    terms = " + ".join({"new_old": "A⁺A", "old_new": "AA⁺", "new": "ρA⁺"}[term] for term in feedback["terms"])
    several = len(feedback["terms"]) > 1
    formula = f"({terms}) / {len(feedback['terms'])}" if several else terms
    parts = "".join(_point(found, seen, place, sources) for place, seen in enumerate(found.seen, start=1))
    return f"""<h2>What a patch listens to</h2>
<p class="note">One row of attention each: how much the framed patch takes from every patch of its window.
<span class="sym">A</span> is the host's attention, <span class="sym">A⁺</span> feedback's own, and
<span class="sym">A* = {formula}</span> what FSA applies. Colours follow the square root of the weight, each map up to
its own 99th percentile; the mean over heads. <em>Reach</em> is the number of patches that a row listens to: 2 to its
entropy.</p>
{parts}"""


def _point(found: Inspection, seen: Seen, place: int, sources: Sources) -> str:
    spot, window = seen.place, found.windows[seen.place.window]
    cells = crosshair(window, window.grid)
    x, y = spot.point
    where = f"({x}, {y}), patch ({spot.patch[0]}, {spot.patch[1]}) of window {window.number}: {escape(spot.why)}"
    figures = "".join(
        figure(sources[f"point-{place}-{what}"], alt, caption, scale=bar, cells=cells)
        for what, alt, caption, bar in _rows(found, seen)
    )
    return f"""<section data-group="point-{place}"><h3>{place}&ensp;<span class="where">{where}</span></h3>
<div class="grid six">{figures}{_bars(found, seen)}</div><output></output>{_heads(seen, place, sources)}</section>"""


def _rows(found: Inspection, seen: Seen) -> list[tuple[str, str, str, str]]:
    """(picture, alternative text, caption, scale) of the five maps of a patch."""
    host, fed = seen.host.mean(0), seen.fed.mean(0)
    given = seen.class_token or (None, None)
    kept = f"{int(seen.kept.sum())} of {len(seen.kept)} patches kept ({percent(float(seen.kept.mean()))})"
    feedback = found.settings["fsa"]["feedback"]
    change = fed - host
    lead = ("<b>Host</b>, <span class='sym'>A</span>", "<b>FSA</b>, <span class='sym'>A*</span>")
    return [
        *(
            (
                what,
                f"Attention row, {what}: reaches {reach(row):.0f} of {len(row)} patches.",
                f"{name}. Reach {reach(row):.0f}, largest {number(float(row.max()))}{_to_class(token)}.",
                scale("rising", "0", f"≥ {number(brightest(row))}"),
            )
            for what, name, row, token in zip(("host", "fsa"), lead, (host, fed), given, strict=True)
        ),
        (
            "difference",
            "Difference of the two attention rows.",
            "<b>Difference</b>, <span class='sym'>A* − A</span>. Orange: heard more.",
            scale("parting", f"≤ −{number(brightest(change))}", f"≥ {number(brightest(change))}"),
        ),
        (
            "similarity",
            "Similarity of the patch's class distribution to that of every patch.",
            "<b>Similarity</b> <span class='sym'>s = 1 / (1 + K)</span> of class distributions.",
            scale("rising", "0", "1"),
        ),
        (
            "kept",
            f"Feedback's own attention row; {kept}.",
            f"<b>Feedback</b>, <span class='sym'>A⁺</span>: {kept}; λ = {number(feedback['lambda_'])}.",
            scale("rising", "0", f"≥ {number(brightest(seen.new))}"),
        ),
    ]


def _to_class(token: float | None) -> str:
    return "" if token is None else f"; class token {number(token)}"


def _bars(found: Inspection, seen: Seen) -> str:
    """What the patch says, in this window, before and after."""
    order = np.argsort(-np.maximum(seen.host_scores, seen.fed_scores), kind="stable")[:BARS]
    rows = "".join(
        f"<div><span><em>{escape(found.classes[c])}</em>"
        f"<b>{seen.host_scores[c]:.2f} → {seen.fed_scores[c]:.2f}</b></span>"
        f'<i style="width:{100 * seen.host_scores[c]:.1f}%"></i>'
        f'<i class="fed" style="width:{100 * seen.fed_scores[c]:.1f}%"></i></div>'
        for c in order.tolist()
    )
    return (
        f'<figure class="bars">{rows}<figcaption>Scores of this patch in this window, host → FSA.</figcaption></figure>'
    )


def _heads(seen: Seen, place: int, sources: Sources) -> str:
    heads = len(seen.fed)
    if heads == 1:
        return '<p class="note">Heads share one matrix.</p>'
    figures = "".join(
        figure(
            sources[f"point-{place}-heads-{what}"],
            f"Attention rows of {heads} heads, {words}.",
            f"<b>{words}</b>: heads 1 to {heads}, line by line, each with its own scale.",
        )
        for what, words in (("host", "Host"), ("fsa", "FSA"))
    )
    return f'<details><summary>{heads} single heads</summary><div class="grid wide">{figures}</div></details>'


def tokens(found: Inspection, sources: Sources) -> str:
    """Outlier tokens of every inspected window, before and after repair."""
    parts = "".join(_window(item, sources) for item in found.tokens)
    purify = found.settings["host"].get("purify") or found.settings["sfp"]["purify"]
    rule = {
        "som": f"{number(purify['detection_scale'])} times the class token's attention exceeds the patch's own to "
        f"itself; at most {purify['outliers']}",
        "l2": f"the {purify['outliers']} largest norms",
        "none": "nobody",
    }.get(found.detector, f"above the {number(purify['quantile'])} quantile")
    return f"""<h2>Outlier tokens</h2>
<p class="note">L<sub>2</sub> norms of the patch tokens after the last block but one, <span class="sym">‖x‖</span>.
Framed in cyan: outliers by the detector <b>{escape(found.detector)}</b> ({rule}). Repair replaces them by the mean of
their healthy neighbours. SFP and SC-CLIP go on with the repaired tokens, other methods do not.</p>
<div class="grid wide">{parts}</div>"""


def _window(item: Tokens, sources: Sources) -> str:
    low, high = norm_range(item)
    name = f"window-{item.window.number}"
    cells, bar = crosshair(item.window, item.grid), scale("rising", number(low), number(high))
    outliers = np.flatnonzero(item.outliers)
    told = f"{len(outliers)} outliers among {len(item.outliers)} patches"
    figures = "".join(
        figure(sources[f"{name}-{what}"], f"Norms of tokens {words}; {told}.", caption, scale=bar, cells=cells)
        for what, words, caption in (
            ("before", "before repair", f"<b>Before.</b> Median {number(float(np.median(item.before)))}."),
            ("after", "after repair", f"<b>After repair.</b> Median {number(float(np.median(item.after)))}."),
        )
    )
    heading = f'<h3>Window {item.window.number}&ensp;<span class="where">{told}</span></h3>'
    table = _numbers(item, outliers.tolist())
    return f'<section data-group="{name}">{heading}<div class="two">{figures}</div><output></output>{table}</section>'


def _numbers(item: Tokens, outliers: Sequence[int]) -> str:
    if not outliers:
        return ""
    rows = "".join(
        f"<tr><td>({patch // item.grid[1]}, {patch % item.grid[1]})</td>"
        + "".join(
            f"<td class=n>{number(float(values[patch]))}</td>"
            for values in (item.before, item.after, item.class_attention, item.self_attention)
        )
        + "</tr>"
        for patch in outliers
    )
    heads = "".join(f"<th class=n>{name}</th>" for name in ("Norm", "Repaired", "From class token", "To itself"))
    table = f'<div class="scroll"><table><tr><th>Patch</th>{heads}</tr>{rows}</table></div>'
    return f"<details><summary>Numbers of the outliers</summary>{table}</details>"


def crosshair(window: Window, grid: Grid) -> str:
    """Two lines "start step count", for rows and columns: patch = floor(start + step * fraction of the picture)."""
    parts = []
    for span, pad, count in zip((window.rows, window.columns), window.pads, grid, strict=True):
        length = span[1] - span[0]
        whole = length + sum(pad)
        parts += [f"{pad[0] * count / whole:.6g}", f"{length * count / whole:.6g}", str(count)]
    return " ".join(parts)

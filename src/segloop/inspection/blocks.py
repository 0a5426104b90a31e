"""Parts of the page on the whole photo, what changed, maps side by side, scores; and how a figure is written."""

import math
from collections.abc import Mapping
from html import escape
from pathlib import Path

from ..palette import palette
from .look import Change, Inspection
from .pictures import brightest, shown_classes

Sources = Mapping[str, str]
"""Data URIs of the pictures by name."""

LEGEND = 24  # rows of the table of classes


def figure(source: str, alt: str, caption: str, *, scale: str = "", cells: str = "", blink: bool = False) -> str:
    """A picture with its caption (HTML); `cells` lets the crosshair find patches, `blink` compares with the host."""
    data = f' data-cells="{cells}"' if cells else ""
    kind = "shot blink" if blink else "shot"
    shot = f'<span class="{kind}"{data}><img src="{source}" alt="{escape(alt, quote=True)}"></span>'
    return f"<figure>{shot}{scale}<figcaption>{caption}</figcaption></figure>"


def scale(kind: str, *marks: str) -> str:
    """A bar of colours with its ends: rising or parting."""
    low, high = marks[0], marks[-1]
    return f'<span class="scale">{escape(low)}<i class="{kind}"></i>{escape(high)}</span>'


def percent(share: float) -> str:
    """ "3.2 %"."""
    return f"{100 * share:.1f} %" if share >= 0.0005 or share == 0 else "< 0.1 %"


def number(value: float) -> str:
    """Three figures, without an exponent where that is short."""
    return f"{value:.3g}"


def key(found: Inspection, index: int) -> str:
    """The colour and the name of a class."""
    colour = ",".join(map(str, palette(len(found.classes))[index].tolist()))
    return f'<span class="key" style="background:rgb({colour})"></span>{escape(found.classes[index])}'


def facts(found: Inspection, sources: Sources) -> str:
    """The head of the page: the photo, the method, and four numbers."""
    host, fsa, _ = found.maps
    to_fsa, to_sfp, _ = found.changes
    height, width = found.photo.target
    outliers = sum(int(item.outliers.sum()) for item in found.tokens)
    patches = sum(len(item.outliers) for item in found.tokens)
    kept = sum(found.kept_share.values()) / len(found.kept_share)
    name = escape(Path(found.photo.source or "photo").name)
    cells = [
        (percent(to_fsa.share), "of the pixels change class by feedback"),
        (f"{host.entropy.mean():.2f} → {fsa.entropy.mean():.2f} bits", "mean entropy of a patch, host → FSA"),
        (percent(kept), "of the pairs of patches survive pruning"),
        (f"{outliers} of {patches}", f"patches are outlier tokens (detector {escape(found.detector)})"),
        (percent(to_sfp.share), f"of the pixels differ between {escape(host.title)} and SFP"),
    ]
    listed = "".join(f"<li><b>{value}</b>{words}</li>" for value, words in cells)
    model = escape(str(found.settings["host"]["model"]))
    count = f"{len(found.windows)} window{'s' if len(found.windows) > 1 else ''}"
    size = f"{width} × {height} pixels, {count} of {host.grid[1]} × {host.grid[0]} patches"
    return f"""<h1>{name}</h1>
<p class="lead">{size}. CLIP <b>{model}</b>: host <b>{escape(host.title)}</b>, feedback (FSA) on it, and SFP with the
host's windows and thresholds. What feedback changes, and where outlier tokens sit.</p>
<ul class="facts">{listed}</ul>"""


def maps(found: Inspection, sources: Sources) -> str:
    """Photo and maps, what changed, entropies; classes and transitions as tables."""
    host, fsa, _ = found.maps
    most = f"{math.log2(max(len(found.classes), 2)):.2g} bits"
    to_fsa, to_sfp, between = found.changes
    press = "Press the picture (or space) to see the host."
    change = f"{brightest(fsa.entropy - host.entropy):.2g}"
    own = figure(sources["host"], _map_alt(found, 0), f"<b>Host</b>, {escape(host.title)}.")
    figures = [
        figure(
            sources["photo"],
            "The photo with the inspected windows framed and the points numbered.",
            "<b>Photo.</b> Frames are the windows inspected below, numbers the patches.",
        ),
        f'<div id="map-host">{own}</div>',
        figure(sources["fsa"], _map_alt(found, 1), f"<b>FSA</b> on {escape(host.title)}. {press}", blink=True),
        figure(sources["sfp"], _map_alt(found, 2), f"<b>SFP</b>. {press}", blink=True),
        figure(
            sources["changed-fsa"],
            f"Pixels that feedback changed: {percent(to_fsa.share)}.",
            f"<b>Host → FSA:</b> {percent(to_fsa.share)} of the pixels, in the colour they change to.",
        ),
        figure(
            sources["changed-sfp"],
            f"Pixels where SFP differs from the host: {percent(to_sfp.share)}.",
            f"<b>Host → SFP:</b> {percent(to_sfp.share)} of the pixels. FSA → SFP: {percent(between.share)}.",
        ),
        figure(
            sources["entropy-host"],
            "Entropy of each patch for the host.",
            f"<b>Entropy, host.</b> Mean {host.entropy.mean():.2f} bits.",
            scale=scale("rising", "0", most),
        ),
        figure(
            sources["entropy-fsa"],
            "Entropy of each patch after feedback.",
            f"<b>Entropy, FSA.</b> Mean {fsa.entropy.mean():.2f} bits.",
            scale=scale("rising", "0", most),
        ),
    ]
    side = figure(
        sources["entropy-difference"],
        "Change of entropy by feedback.",
        "<b>Entropy, FSA − host.</b> Blue: surer than before. Square-root scale.",
        scale=scale("parting", f"≤ −{change}", f"≥ {change} bits"),
    )
    return f"""<h2>Maps and what changed</h2>
<p class="note">Entropy is that of the classes' distribution at a patch, synonyms added up, averaged over the windows
that cover it; from 0 to log<sub>2</sub> of the number of classes.</p>
<div class="grid four">{"".join(figures)}</div>
<div class="grid four tables">{_legend(found)}{"".join(_transitions(found, item) for item in found.changes[:2])}
{side}</div>"""


def _map_alt(found: Inspection, which: int) -> str:
    side = found.maps[which]
    largest = sorted(side.share.items(), key=lambda item: -item[1])[:4]
    told = ", ".join(f"{name} {percent(share)}" for name, share in largest if share)
    return f"Map by {side.title}: {told}."


def _legend(found: Inspection) -> str:
    shares = [[side.share[name] for side in found.maps] for name in found.classes]
    order = [c for c in sorted(range(len(shares)), key=lambda c: -max(shares[c])) if max(shares[c]) > 0]
    rows = "".join(
        f"<tr><td>{key(found, c)}</td>{''.join(f'<td class=n>{percent(share)}</td>' for share in shares[c])}</tr>"
        for c in order[:LEGEND]
    )
    rest = f'<p class="note">and {len(order) - LEGEND} more</p>' if len(order) > LEGEND else ""
    heads = "".join(f"<th class=n>{name}</th>" for name in ("Host", "FSA", "SFP"))
    return f"<div class=scroll><h3>Classes</h3><table><tr><th>Class</th>{heads}</tr>{rows}</table>{rest}</div>"


def _transitions(found: Inspection, change: Change) -> str:
    rows = "".join(
        f"<tr><td>{key(found, a)}</td><td>{key(found, b)}</td><td class=n>{percent(share)}</td></tr>"
        for a, b, share in change.transitions
    )
    body = f"<table><tr><th>From</th><th>To</th><th class=n>Pixels</th></tr>{rows}</table>" if rows else "<p>None.</p>"
    return f"<div class=scroll><h3>Largest changes, host → {change.after.upper()}</h3>{body}</div>"


def scores(found: Inspection, sources: Sources) -> str:
    """Score maps of the largest classes, host beside FSA."""
    pairs = []
    for place, index in enumerate(shown_classes(found), start=1):
        name = found.classes[index]
        shots = "".join(
            f'<img src="{sources[f"score-{place}-{side}"]}" alt="{escape(f"Score of {name}, {words}.", quote=True)}">'
            for side, words in (("host", "host"), ("fsa", "after feedback"))
        )
        pairs.append(f'<figure><div class="two">{shots}</div><figcaption>{key(found, index)}</figcaption></figure>')
    left_out = len(found.classes) - len(pairs)
    rest = f" The other {left_out} classes are smaller in both maps." if left_out else ""
    pamr = " PAMR comes after these." if found.settings["host"].get("pamr_steps") else ""
    return f"""<h2>Scores of the classes</h2>
<p class="note">Probability after the softmax over queries, the best synonym for its class, averaged over windows: host
left, FSA right, both from 0 (dark) to 1 (bright).{pamr}{rest}</p>
<div class="grid pairs">{"".join(pairs)}</div>"""

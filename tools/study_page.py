"""docs/study.md from the records of the study's runs."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from drawn import Case, Done, finished, gain, told
from oracle import drawn, oracle
from segloop.common.files import write_whole
from segloop.line.segmenter import Segmenter
from study import ABLATED, CLIP, DETECTORS, GUIDE, HOSTS, SEED
from study_pictures import by_distance, extremes, side_by_side, stages
from study_tuned import tuned_table

HERE = Path(__file__).parent
JUDGED, TAUGHT = 100, SEED + 100  # scenes for oracles and chance, and the seed of those that the probe learns on
PATCHES = (
    "One patch of it (framed): what it attends to under the host, how alike the output says others are, and what it "
    "attends to after feedback."
)
NOT_YET = "*Not run yet.*"
WATCHED = ("clip", "maskclip", "sclip", "qq+kk", "qq", "kk", "probe")


def page(cases: list[Case], work: Path, out: Path) -> str:
    """The whole file, of the runs that are there; its pictures are written to `out`. Raises SystemExit for no run."""
    done = {case.name: found for case in cases if (found := finished(case, work)) is not None}
    if not done:
        raise SystemExit(f"no finished run in {work / 'runs'}; leave --render out")
    missing = len(cases) - len(done)
    kept = (HERE / "study_words.md").read_text("utf-8")
    curve = json.loads((HERE / "clip8_curve.json").read_text("utf-8"))
    tables = {
        "ABOUT": about(next(iter(done.values())).run, missing),
        "HOSTS": "\n".join(hosts(done)),
        "SFP": "\n".join(purifiers(done)),
        "ABLATIONS": "\n".join(ablations(done, "fsa")),
        "REPAIRS": "\n".join(ablations(done, "sfp")),
        "OPEN": "\n".join(ablations(done, "open")),
        "TUNED": "\n".join(tuned_table(done, work))
        if any(one.case.group == "tuned" for one in done.values())
        else NOT_YET,
        "STRENGTH": strength(done),
        "MODEL": "\n".join([*ailments(curve[-1]), "", *bounds(work)]),
        "PLACES": "\n".join(by_distance(work, done, HOSTS)),
        "PICTURES": "\n".join(pictures(done, work, out)),
        "TRAINING": "\n".join(training(curve)),
    }
    for mark, text in tables.items():
        kept = kept.replace(f"<!-- {mark} -->", text)
    return kept


def about(run: dict[str, Any], missing: int) -> str:
    """How the figures were made."""
    version = run["versions"]
    lines = [
        f"`{CLIP}` and the guide `{GUIDE}`, {run['images']} scenes of seed {SEED}, float32, one thread, segloop",
        f"{version['segloop']}, torch {version['torch']}. mIoU in percent over 14 classes with 95 % intervals",
        "(bootstrap over images); gains are paired, the same images drawn for both, and bold where p is below 0.05.",
    ]
    if missing:
        lines.append(f"{missing} runs of the list have not ended and are left out.")
    return "\n".join(lines)


def hosts(done: dict[str, Done]) -> list[str]:
    """Each host without and with feedback."""
    lines = ["| host | mIoU | grounds, colours | + FSA gains | grounds, colours then |", "|---|---|---|---|---|"]
    for host in HOSTS:
        before, after = done.get(host), done.get(f"{host}+fsa")
        if before is None or after is None:
            continue
        parts = [f"{one.parts[0]:.1f}, {one.parts[1]:.1f}" for one in (before, after)]
        lines.append(f"| `{host}` | {before.score} | {parts[0]} | {told(gain(done, f'{host}+fsa'))} | {parts[1]} |")
    return lines


def purifiers(done: dict[str, Done]) -> list[str]:
    """SFP around each host, by detector, and feedback on that."""
    if not any(one.case.group == "detectors" for one in done.values()):
        return [NOT_YET]
    lines = [
        "| host | " + " | ".join(f"SFP, {detector}" for detector in DETECTORS) + " |",
        "|---|" + "---|" * len(DETECTORS),
    ]
    for host in HOSTS:
        cells = [told(gain(done, f"{host}+sfp-{detector}")) for detector in DETECTORS]
        lines.append(f"| `{host}` | {' | '.join(cells)} |")
    lines += ["", "What feedback adds on top of each of them:", ""]
    lines += lines[:2]
    for host in HOSTS:
        cells = [told(gain(done, f"{host}+sfp-{detector}+fsa")) for detector in DETECTORS]
        lines.append(f"| `{host}` | {' | '.join(cells)} |")
    return lines


def ablations(done: dict[str, Done], group: str) -> list[str]:
    """One row for each change, one column for each host: what it gains on the base."""
    rows: dict[str, dict[str, str]] = {}
    for name, one in done.items():
        if one.case.group == group:
            rows.setdefault(one.case.what, {})[one.case.host] = told(gain(done, name))
    if not rows:
        return [NOT_YET]
    lines = ["| what differs | " + " | ".join(f"`{host}`" for host in ABLATED) + " |", "|---|" + "---|" * len(ABLATED)]
    lines += [f"| {what} | {' | '.join(cells.get(host, '-') for host in ABLATED)} |" for what, cells in rows.items()]
    return lines


def strength(done: dict[str, Done]) -> str:
    """Gain of feedback against the strength of what it stands on, over all pairs: rank correlation."""
    pairs = [
        (done[one.case.base].mean, one.mean)
        for one in done.values()
        if one.case.name.endswith("+fsa") and one.case.base in done
    ]
    if len(pairs) < 3:
        return ""
    before, after = np.array(pairs).T
    ranks = [np.argsort(np.argsort(values)) for values in (before, after - before)]
    rho = float(np.corrcoef(*ranks)[0, 1])
    helped = int((after > before).sum())
    return (
        f"Over {len(pairs)} pairs of a host and feedback on it, {helped} gain; the rank correlation between a host's "
        f"mIoU and what feedback adds is {rho:+.2f}."
    )


def ailments(last: dict[str, float]) -> list[str]:
    """How ill the model is at the end of its training."""
    best = max(WATCHED[:-1], key=lambda name: last[name])
    plain, other, probe = last["clip"], last[best], last["probe"]
    flat, most, outliers = last["entropy"], last["top 1 %"], last["largest norm"] / last["norm"]
    return [
        f"At the end of training plain reading (`clip`) reaches {plain:.1f} mIoU on 24 scenes, the best other reading",
        f"of the same last block (`{best}`) {other:.1f}, a linear probe of what enters that block {probe:.1f}. Its",
        f"query-key attention is nearly flat (entropy {flat:.2f} of 1): it mixes patches over the whole window. The",
        f"1 % of patches that get most attention get {most:.1f} % of it, and the largest norm of a patch is",
        f"{outliers:.1f} times the median: outlier tokens, which large CLIPs have, are not what ails it.",
    ]


def bounds(work: Path) -> list[str]:
    """Chance, the probe and exact masks, on scenes of both renderers."""
    lines = ["| mIoU: all, grounds, colours | scenes as trained on (`bands`) | of the second renderer (`cells`) |"]
    lines.append("|---|---|---|")
    kept = work / "oracle.json"
    if not kept.exists():
        segmenter = Segmenter.from_pretrained(CLIP, dtype="float32")
        found = {
            renderer: oracle(segmenter, drawn(renderer, SEED, JUDGED), drawn(renderer, TAUGHT, JUDGED))
            for renderer in ("bands", "cells")
        }
        told_all = {name: {key: vars(one) for key, one in means.items()} for name, means in found.items()}
        write_whole(kept, json.dumps(told_all).encode())
    bands, cells = json.loads(kept.read_text("utf-8")).values()
    for name, row in bands.items():
        both = [f"{one['all']:.1f}, {one['grounds']:.1f}, {one['colours']:.1f}" for one in (row, cells[name])]
        lines.append(f"| {name} | {both[0]} | {both[1]} |")
    return lines


def pictures(done: dict[str, Done], work: Path, out: Path) -> list[str]:
    """The scenes that gain and lose most on the host that feedback moves most, and what it saw there."""
    pairs = [host for host in HOSTS if host in done and f"{host}+fsa" in done]
    host = max(pairs, key=lambda name: abs(done[f"{name}+fsa"].mean - done[name].mean))
    lines = []
    for index, end in zip(extremes(done[host], done[f"{host}+fsa"]), ("gain", "lose"), strict=True):
        write_whole(out / f"study-{end}s.png", side_by_side(work, index, (host, f"{host}+fsa")))
        stages(work, index, CLIP, host, out / f"study-{end}s-stages.png")
        lines += [f"![the scene of those that {end} most](study-{end}s.png)", ""]
        lines += [
            f"*The scene that {end}s most by feedback on `{host}`: photo, truth, host, host + FSA.*",
            "",
        ]
        lines += [
            f"*{PATCHES}*",
            "",
            f"![a patch in the scene that {end}s most](study-{end}s-stages.png)",
            "",
        ]
    return lines


def training(curve: list[dict[str, float]]) -> list[str]:
    """The curve of the training as a table."""
    lines = [
        "`python tools/train_clip8.py --out DIR --seed 0`; mIoU on 24 scenes, how often the class token names a single",
        "thing, in % (a silhouette by chance: 20), and the attention of the last block.",
        "",
        f"| step | losses | {' | '.join(f'`{name}`' for name in WATCHED[:-1])} | probe | ground, colour, shape named |"
        " entropy | top 1 % | largest norm |",
        "|---|---|" + "---|" * (len(WATCHED) + 4),
    ]
    for row in curve:
        cells = [f"{row['step']:.0f}", f"{row['words']:.2f}, {row['pictures']:.2f}"]
        cells += [f"{row[name]:.1f}" for name in WATCHED]
        cells.append(", ".join(f"{row[f'{kind} named']:.0f}" for kind in ("ground", "colour", "shape")))
        cells += [f"{row['entropy']:.2f}", f"{row['top 1 %']:.1f}", f"{row['largest norm'] / row['norm']:.1f} x"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines

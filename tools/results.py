"""Makes docs/results.md: every method with the bundled model on procedural scenes, feedback off and on.

    python tools/results.py [--work segloop-out/results] [--count 300] [--processes 2] [--render]

Draws the scenes, evaluates (a run that was stopped goes on), and writes the tables, intervals, and the pictures of the
scene that lost most. About an hour and a half on two cores, each a process; `--render` writes the page from the runs
that are there.
"""

import argparse
import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from drawn import IS_GROUND, Case, Done, crew_of, finished, gain, sheet, told
from oracle import drawn, oracle
from segloop.commands.watching import watched
from segloop.common.console import quiet_libraries, say
from segloop.common.files import write_whole
from segloop.data.datasets import open_dataset
from segloop.evaluation.run import evaluate
from segloop.labels.read import read_label
from segloop.line.segmenter import Segmenter
from segloop.scenes.draw import CLASSES, write_scenes
from segloop.scoring.metrics import scores
from segloop.words.vocabulary import Vocabulary

SEED, TAUGHT, SIGNIFICANT = 7, 107, 0.05
GUIDE, SAM = "tiny-dino", "tiny-sam"
HOSTS = ("clip", "maskclip", "sclip", "clearclip", "naclip", "proxyclip", "sfp", "sc-clip", "resclip")
PROPAGATED = ("lposs", "lposs+")  # have no attention to feed back into
MASKED = ("corrclip", "corrclip-v2")
GUIDED = ("proxyclip", "trident", *MASKED, *PROPAGATED)
DRAWN = ("sclip", "proxyclip", *MASKED)  # what has regions of the bundled SAM, too
VOTED = ("maskclip", "sclip", "naclip", "proxyclip")  # regions with exact masks vote on these
REFINED = {"refine": "sam"}


def cases(work: Path) -> Iterator[Case]:
    """All runs: hosts without and with feedback; LPOSS; exact masks; options of ours."""
    exact = {"regions": str(work / "regions")}
    for host in HOSTS:
        yield case(host, host, host, "hosts", {"method": host})
        yield case(f"{host}+fsa", host, host, "hosts", {"host": host})
    for name in PROPAGATED:
        yield case(name, name, "maskclip", "others", {"method": name})
    for host in VOTED:
        yield case(f"{host}+masks", host, host, "masks", {"method": host, **exact})
        yield case(f"{host}+fsa+masks", host, f"{host}+masks", "masks", {"host": host, **exact})
    for host in MASKED:
        yield case(host, host, "maskclip+masks", "masks", {"method": host, **exact})
        yield case(f"{host}+fsa", host, host, "masks", {"host": host, **exact})
    drawn = {"regions": SAM}
    for host in DRAWN:
        yield case(f"{host}+{SAM}", host, host, "sam", {"method": host, **drawn})
    yield case("trident", "trident", "trident", "hosts", {"method": "trident"})
    yield case("trident+fsa", "trident", "trident", "hosts", {"host": "trident"})
    for host in ("sclip", "trident"):
        yield case(f"{host}+refined", host, host, "sam", {"method": host}, REFINED)


def case(name: str, host: str, base: str, group: str, options: dict, changes: dict | None = None) -> Case:
    """With the bundled CLIP, and the bundled guide and SAM where they are asked for."""
    own = {"vision": GUIDE} if host in GUIDED else {}
    own |= {"affinity": SAM} if host == "trident" or changes else {}
    return Case(name, host, base, name, group, {"clip": "tiny", **own, **options}, changes or {})


def main() -> None:
    """Evaluate and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("segloop-out/results"))
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--processes", type=int, default=1, help="as many as there are cores")
    parser.add_argument("--out", type=Path, default=Path("docs"))
    parser.add_argument("--render", action="store_true", help="write the page from the runs that are there")
    options = parser.parse_args()
    quiet_libraries()
    if not options.render:
        write_scenes(options.work / "scenes", options.count, SEED)
        write_regions(options.work)
        with watched("images") as progress:
            tasks = [one.task(options.work) for one in cases(options.work)]
            evaluate(tasks, crew_of(options.processes), say, progress)
    done = {one.name: found for one in cases(options.work) if (found := finished(one, options.work)) is not None}
    compared = [host for host in HOSTS if host in done and f"{host}+fsa" in done]
    worst = min(compared, key=lambda host: moved(done, host))
    write_whole(options.out / "results.md", page(done, worst, options).encode())
    write_whole(options.out / "results.png", picture(done, worst, options.work / "scenes"))
    say(f"wrote {options.out / 'results.md'} and results.png beside it")


def write_regions(work: Path) -> None:
    """The true regions as files of ids from 1, for --masks: 0 would be no region."""
    for path in sorted((work / "scenes" / "masks").glob("*.png")):
        ids = np.asarray(Image.open(path)) + 1
        stream = io.BytesIO()
        Image.fromarray(ids.astype(np.uint8)).save(stream, "PNG")
        write_whole(work / "regions" / path.name, stream.getvalue())


def moved(done: dict[str, Done], host: str) -> float:
    """What feedback gains on a host, in points."""
    found = gain(done, f"{host}+fsa")
    return 0.0 if found is None else found.mIoU.value


def page(done: dict[str, Done], worst: str, options: argparse.Namespace) -> str:
    """The whole file."""
    run = next(iter(done.values())).run
    version = run["versions"]
    lines = [
        "# Every method on drawn scenes",
        "",
        f"The bundled model `tiny` on {run['images']} procedural scenes that it was not trained on (14 classes: six",
        "grounds, eight colours). This shows that every line works and what feedback does **on this small model**; it",
        "says nothing about real photographs, for which the papers' figures stand until someone measures with real",
        f"weights. Rows with a guide have the bundled `{GUIDE}`, `trident` the bundled `{SAM}` too.",
        "[The study](study.md) asks the same of a model that has what the methods are made to cure.",
        "",
        "Made by one command, which goes on where it was stopped:",
        "",
        "```bash",
        f".venv/bin/python tools/results.py --count {options.count}",
        "```",
        "",
        f"float32, one thread, segloop {version['segloop']}, torch {version['torch']}, scenes of seed {SEED}; geometry",
        "and logit scale are those of the bundled model for all methods. mIoU in percent with 95 % intervals",
        "(bootstrap over images; gains are paired, the same images drawn for both, and bold where p < 0.05).",
        "",
        *hosts(done),
        "",
        *bounds(done, options),
        "",
        *with_sam(done),
        "",
        *where(done),
        "",
        f"![the scene on which {worst} loses most](results.png)",
        "",
        f"*The scene on which feedback costs `{worst}` most pixels: photo, truth, host, host + FSA.*",
        "",
        "All constants are the papers', chosen on real CLIP: FSA's lambda, mass and scales, SFP's threshold. On this",
        "small model, whose patches are more alike, SFP's threshold of 0.4 lets unlike ones be averaged, which costs",
        "nearly all shapes; `examples/walkthrough.ipynb` shows both step by step. Under ProxyCLIP's beta of 1.2 three",
        "quarters of the windows are such that the guide finds all patches alike, and each keeps its own value.",
        "",
    ]
    return "\n".join(lines)


def hosts(done: dict[str, Done]) -> list[str]:
    """The main table."""
    lines = ["| host | host | + FSA | gain |", "|---|---|---|---|"]
    for host in (*HOSTS, "trident"):
        if f"{host}+fsa" in done:
            scored = f"{done[host].score} | {done[f'{host}+fsa'].score}"
            lines.append(f"| `{host}` | {scored} | {told(gain(done, f'{host}+fsa'))} |")
    for name in PROPAGATED:
        if name in done:
            lines.append(f"| `{name}` | {done[name].score} | has no attention to feed back into | |")
    return lines


def bounds(done: dict[str, Done], options: argparse.Namespace) -> list[str]:
    """What lies below and above: chance, the probe, exact masks."""
    lines = [
        "What masks could give: every region is exact, and takes the class that most of its pixels have, so that only",
        "words can be wrong. An upper bound, not a method; the last column is what feedback adds to it.",
        "",
        "| host | alone | exact masks | gain | + FSA gains |",
        "|---|---|---|---|---|",
    ]
    for host in (*VOTED, "corrclip", "corrclip-v2"):
        with_masks = done.get(f"{host}+masks", done.get(host))
        if with_masks is None:
            continue
        alone = done[host].score if host in VOTED and host in done else "needs masks"
        fed = f"{host}+fsa+masks" if host in VOTED else f"{host}+fsa"
        step = told(gain(done, with_masks.case.name)) if host in VOTED else "-"
        lines.append(f"| `{host}` | {alone} | {with_masks.score} | {step} | {told(gain(done, fed))} |")
    kept = options.work / "oracle.json"
    if not kept.exists():
        segmenter = Segmenter.from_pretrained("tiny", method="sclip", dtype="float32")
        count = min(options.count, 100)  # of each: the probe keeps all its patches
        means = oracle(segmenter, drawn("bands", SEED, count), drawn("bands", TAUGHT, count))
        write_whole(kept, json.dumps({name: vars(one) for name, one in means.items()}).encode())
    below = json.loads(kept.read_text("utf-8"))
    lines += ["", "Beside them (`python tools/oracle.py --count 100`; the method is `sclip`):", ""]
    lines += ["| | all | grounds | colours |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {row['all']:.1f} | {row['grounds']:.1f} | {row['colours']:.1f} |" for name, row in below.items()
    ]
    return lines


def with_sam(done: dict[str, Done]) -> list[str]:
    """What the bundled SAM gives: regions that vote, and refined labels."""
    lines = [
        f"What the bundled SAM, `{SAM}`, gives in their place: its masks of everything (`--masks {SAM}`), and labels",
        "that it draws anew from prompts (`--set refine=sam`, constants of the paper).",
        "",
        f"| host | alone | masks of `{SAM}` | gain | exact masks | refined | gain |",
        "|---|---|---|---|---|---|---|",
    ]
    for host in (*DRAWN, "trident"):
        masked, refined = done.get(f"{host}+{SAM}"), done.get(f"{host}+refined")
        exact = done.get(host if host in MASKED else f"{host}+masks")
        alone = done.get(host) if host not in MASKED else None
        scores = [one.score if one is not None else "-" for one in (alone, masked, exact, refined)]
        gains = [
            told(gain(done, one.case.name)) if one is not None and alone is not None else "-"
            for one in (masked, refined)
        ]
        lines.append(f"| `{host}` | {scores[0]} | {scores[1]} | {gains[0]} | {scores[2]} | {scores[3]} | {gains[1]} |")
    return lines


def where(done: dict[str, Done]) -> list[str]:
    """For each host: grounds and colours apart, and the classes that gained and lost most."""
    lines = [
        "Where it helps and where not: mean IoU of grounds and of colours, and the classes that moved most, in points.",
        "",
        "| host | grounds, host -> + FSA | colours, host -> + FSA | gained most | lost most |",
        "|---|---|---|---|---|",
    ]
    for host in (*HOSTS, "trident"):
        if f"{host}+fsa" not in done:
            continue
        before, after = (scores(done[name].counts.total()).IoU for name in (host, f"{host}+fsa"))
        means = [f"{np.nanmean(before[part]):.1f} -> {np.nanmean(after[part]):.1f}" for part in (IS_GROUND, ~IS_GROUND)]
        change = after - before
        order = np.argsort(change)
        gained = [f"{CLASSES[k]} {change[k]:+.1f}" for k in order[::-1][:3] if change[k] > 0.05]
        lost = [f"{CLASSES[k]} {change[k]:+.1f}" for k in order[:3] if change[k] < -0.05]
        lines.append(f"| `{host}` | {means[0]} | {means[1]} | {', '.join(gained) or '-'} | {', '.join(lost) or '-'} |")
    return lines


def picture(done: dict[str, Done], worst: str, folder: Path) -> bytes:
    """Photo, truth, host and host + FSA of the scene that lost most pixels, side by side, as PNG."""
    before, after = (scores(done[name].counts).aAcc for name in (worst, f"{worst}+fsa"))
    sample = open_dataset("scenes", [folder]).samples[int(np.nanargmax(before - after))]
    photo, truth = np.asarray(Image.open(sample.image).convert("RGB")), read_label(sample.label)
    words = Vocabulary(CLASSES)
    maps = [truth]
    for options in ({"method": worst}, {"host": worst}):
        guided = {"vision": GUIDE} if worst in GUIDED else {}
        segmenter = Segmenter.from_pretrained("tiny", dtype="float32", **options, **guided)
        maps.append(segmenter(sample.image, words).labels)
    return sheet(photo, maps)


if __name__ == "__main__":
    main()

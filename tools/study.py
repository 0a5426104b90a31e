"""Makes docs/study.md: what feedback and purification do to the bundled CLIP that has the disease they cure.

    python tools/study.py [--work segloop-out/study] [--count 500] [--groups hosts,detectors,...] [--processes 2]

Every run is an evaluation of its own that goes on where it was stopped, on the same scenes; the page is written from
their records alone, so `--render` makes it again without any run. About two hours on one core.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from drawn import Case, crew_of
from segloop.commands.watching import watched
from segloop.common.console import quiet_libraries, say
from segloop.common.files import write_whole
from segloop.evaluation.run import evaluate
from segloop.scenes.draw import write_scenes

CLIP, GUIDE, SEED = "tiny-clip8", "tiny-dino", 11
HOSTS = ("clip", "maskclip", "sclip", "clearclip", "naclip", "proxyclip")
DETECTORS = ("none", "som", "l2", "lof", "dbscan")
ABLATED = ("clip", "sclip", "proxyclip")  # a weak, a middling and a guided host
GROUPS = ("hosts", "detectors", "fsa", "sfp", "open", "tuned")


def case(name: str, host: str, base: str, what: str, group: str, options: dict, changes: dict | None = None) -> Case:
    """With the bundled CLIP, and the bundled guide where the host takes one."""
    guided = {"vision": GUIDE} if host == "proxyclip" else {}
    return Case(name, host, base, what, group, {"clip": CLIP, **guided, **options}, changes or {})


def cases(work: Path) -> list[Case]:
    """All runs of the study, bases before what is compared with them; tuned ones once their constants are chosen."""
    from study_tuned import tuned_cases

    return [*host_cases(), *feedback_cases(), *purifier_cases(), *open_cases(), *tuned_cases(work)]


def choose(work: Path, processes: int) -> None:
    """Run the grids of what is tuned, on scenes of their own."""
    from study_tuned import COUNT, TUNING, grids, tuning

    write_scenes(tuning(work) / "scenes", COUNT, TUNING)
    run([point for grid in grids() for point in grid.points()], tuning(work), processes)


def run(chosen: Sequence[Case], work: Path, processes: int) -> None:
    """Evaluate; what is done is read."""
    with watched("images") as progress:
        evaluate([one.task(work) for one in chosen], crew_of(processes), say, progress)


def host_cases() -> Iterator[Case]:
    """Every host x feedback off and on x detectors of SFP."""
    for host in HOSTS:
        yield case(host, host, host, "the host", "hosts", {"method": host, "maps": True})
        yield case(f"{host}+fsa", host, host, "FSA", "hosts", {"host": host, "maps": True})
        for detector in DETECTORS:
            name, changes = f"{host}+sfp-{detector}", {"detector": detector}
            yield case(name, host, host, f"SFP, {detector}", "detectors", {"method": "sfp", "host": host}, changes)
            on = {"host": f"sfp:{host}"}
            yield case(f"{name}+fsa", host, name, f"FSA on SFP, {detector}", "detectors", on, changes)


def feedback_cases() -> Iterator[Case]:
    """Ablations of FSA in the paper's order: uniform branch, mass, lambda, terms of the ensemble."""
    one_by_one: list[tuple[str, dict[str, Any]]] = [("no uniform branch", {"isolation": False})]
    one_by_one += [(f"mass {mass}", {"mass": mass}) for mass in (0.3, 0.5, 0.7, 0.9, 1.0)]
    one_by_one += [(f"lambda {value}", {"lambda_": float(value)}) for value in (0, 1, 2, 3, 5, 10, 20)]
    terms = ("new_old", "old_new", "new")
    one_by_one += [(f"only {term}", {"terms": (term,)}) for term in terms]
    one_by_one += [(f"without {term}", {"terms": tuple(t for t in terms if t != term)}) for term in terms]
    for host in ABLATED:
        for what, changes in one_by_one:
            yield case(f"{host}+fsa,{named(what)}", host, f"{host}+fsa", what, "fsa", {"host": host}, changes)


def purifier_cases() -> Iterator[Case]:
    """Ablations of SFP in the paper's order: repair, enhancement by likeness, integration of layers."""
    one_by_one: list[tuple[str, dict[str, Any]]] = [
        ("no repair", {"repair": None}),
        ("repair after every block", {"repair": "each"}),
        *((f"likeness above {value}", {"similarity_threshold": value}) for value in (0.0, 0.2, 0.6, 0.8, 0.9)),
        ("no integration", {"integrate": None}),
        ("integration of enhanced layers", {"integrate": "enhanced"}),
        ("no class token added", {"class_residual": 0.0}),
    ]
    for host in ABLATED:
        for what, changes in one_by_one:
            name, own = f"{host}+sfp,{named(what)}", {"method": "sfp", "host": host}
            yield case(name, host, f"{host}+sfp-som", what, "sfp", own, {"detector": "som", **changes})


def open_cases() -> Iterator[Case]:
    """What FSA's paper leaves open: a second round, other divergences, earlier blocks."""
    one_by_one: list[tuple[str, dict[str, Any]]] = [(f"{rounds} rounds", {"rounds": rounds}) for rounds in (2, 4)]
    one_by_one += [(divergence, {"divergence": divergence}) for divergence in ("symmetric", "hellinger", "js")]
    one_by_one += [(f"{count} blocks listen", {"feedback_layers": count}) for count in (2, 3)]
    for host in ABLATED:
        for what, changes in one_by_one:
            yield case(f"{host}+fsa,{named(what)}", host, f"{host}+fsa", what, "open", {"host": host}, changes)


def named(what: str) -> str:
    """A folder's name for what differs."""
    return what.replace(" ", "-").replace(",", "")


def main() -> None:
    """Evaluate and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("segloop-out/study"))
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--groups", default=",".join(GROUPS), help="which runs, joined by commas")
    parser.add_argument("--processes", type=int, default=1, help="as many as there are cores")
    parser.add_argument("--out", type=Path, default=Path("docs"))
    parser.add_argument("--render", action="store_true", help="write the page from the runs that are there")
    options = parser.parse_args()
    quiet_libraries()
    groups = options.groups.split(",")
    if not options.render:
        if "tuned" in groups:
            choose(options.work, options.processes)
        write_scenes(options.work / "scenes", options.count, SEED)
        run([one for one in cases(options.work) if one.group in groups], options.work, options.processes)
    from study_page import page

    write_whole(options.out / "study.md", page(cases(options.work), options.work, options.out).encode())
    say(f"wrote {options.out / 'study.md'}")


if __name__ == "__main__":
    main()

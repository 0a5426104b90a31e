"""Measures what docs/performance.md tells, and writes the page: one command, which goes on where it was stopped.

    python tools/performance.py [--only classes,speed] [--rounds 3] [--list] [--render] [--quick]

Each point of a sweep and each benchmark is a process of its own. What is measured lies in --work until all of its kind
is there; then it goes to benchmarks/measured/, from which the page is written. `--list` says what is left to do and
about how long it takes, `--render` only writes the page, `--anew` forgets what --work holds. `--quick` tries everything
with small networks, and writes nothing outside --work. Leave the machine alone meanwhile.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from performance_page import MEASURED, ROOT, page, read
from sweeps import SWEEPS, Number, Sweep

BENCHMARKS = ROOT / "benchmarks"
PAGE = ROOT / "docs" / "performance.md"
SAME = ("cpu", "class", "threads", "torch", "segloop")  # of a machine whose points go together


@dataclass(frozen=True)
class Script:
    """A benchmark whose lines the page has."""

    minutes: float  # about, on two cores with bfloat16
    options: tuple[str, ...] = ()
    small: tuple[str, ...] | None = None  # options to try it; None: it is not tried
    file: str | None = None  # where it is not called as its record


ONCE = ("--repeats", "1", "--most", "1")
SCRIPTS = {
    "speed": Script(9, ("--engine", "openvino,int8"), ("--photos", "1", "--engine", "openvino,int8", *ONCE)),
    "speed-avx2": Script(7, ("--as-avx2",), file="speed"),
    "line": Script(5, ("--repeats", "20", "--most", "40"), ONCE),
    "feedback": Script(13, ("--repeats", "16", "--until", "0.01"), ONCE),
    "purify": Script(2, small=("--repeats", "1")),
    "evaluate": Script(4, ("--images", "12"), ("--images", "2", *ONCE)),
    "label": Script(20, small=("--images", "2", "--repeats", "1", "--photos", "210", "--no-ray")),
    "methods": Script(8, ("--repeats", "2")),
    "engines": Script(4, small=("--repeats", "1", "--without", "compile")),
    "pruning": Script(2, small=("--tokens", "196", "--repeats", "1")),
    "large": Script(3, small=("--megapixels", "1", "--words", "5")),
}


@dataclass(frozen=True)
class Work:
    """Where records of a run lie until they are whole."""

    folder: Path
    rounds: int
    quick: bool

    def points(self, sweep: Sweep) -> tuple[Number, ...]:
        """Of a sweep, those of this run."""
        return sweep.small if self.quick else sweep.points

    def record(self, name: str) -> dict[str, Any]:
        """What is there already."""
        file = self.folder / f"{name}.json"
        return json.loads(file.read_text("utf-8")) if file.is_file() else {}

    def keep(self, name: str, record: dict[str, Any]) -> None:
        """Write a record, whole or not at all."""
        write(self.folder / f"{name}.json", json.dumps(record, indent=1, ensure_ascii=False) + "\n")

    def left(self, sweep: Sweep) -> list[Number]:
        """Points in the order of their turns, each second round backwards, once for every round that it lacks."""
        had = {point: len(rounds) for point, rounds in self.record(f"sweep-{sweep.key}").get("points", {}).items()}
        points = self.points(sweep)
        turns = [points if number % 2 == 0 else points[::-1] for number in range(self.rounds)]
        return [point for number, turn in enumerate(turns) for point in turn if had.get(str(point), 0) <= number]


def write(file: Path, text: str) -> None:
    """A file that is there whole or as before."""
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(file.name + ".part")
    beside.write_text(text, "utf-8")
    beside.replace(file)


def told(script: str, *options: str, small: bool) -> dict[str, Any]:
    """Run a benchmark; its lines are shown, and the last of them, JSON, is what it told."""
    environment = {**os.environ, **({"SEGLOOP_SMALL_BENCHMARKS": "1"} if small else {})}
    command = [sys.executable, str(BENCHMARKS / f"{script}.py"), *options]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit code {done.returncode}")
    *lines, last = done.stdout.splitlines()
    print("\n".join(lines), end="\n" if lines else "", flush=True)
    return json.loads(last)


def sweep_measured(work: Work, sweep: Sweep) -> None:
    """All points that are left, kept one by one. Raises RuntimeError on another machine than the points before."""
    name = f"sweep-{sweep.key}"
    for point in work.left(sweep):
        record = work.record(name)
        one = told("point", sweep.key, str(point), small=work.quick)
        now, day = one.pop("machine"), one.pop("date")
        del one["command"]
        other = [key for key in SAME if record and record["machine"].get(key) != now.get(key)]
        if other:
            raise RuntimeError(f"{name} was begun with another {', '.join(other)}: --anew forgets it")
        points = record.get("points", {})
        points.setdefault(str(point), []).append({key: round(value, 5) for key, value in one.items()})
        command = f"python tools/performance.py --only {sweep.key} --rounds {work.rounds}"
        work.keep(name, {"points": points, "machine": now, "date": day, "command": command})
        text = f"{one['seconds']:.3f} s, {one['above_mib']:.0f} MiB, round {len(points[str(point)])} of {work.rounds}"
        print(f"{sweep.key} {point}: {text}", flush=True)


def measure(work: Work, name: str) -> None:
    """A sweep or a benchmark, as far as it is not there."""
    sweep = next((one for one in SWEEPS if one.key == name), None)
    if sweep:
        sweep_measured(work, sweep)
    elif not work.record(name):
        script = SCRIPTS[name]
        options = script.small if work.quick else script.options
        work.keep(name, told(script.file or name, *(options or ()), small=work.quick))


def expected(work: Work, name: str) -> float:
    """About how many minutes are left of it."""
    sweep = next((one for one in SWEEPS if one.key == name), None)
    if sweep:
        return sweep.minutes * len(work.left(sweep)) / len(work.points(sweep))
    return 0.0 if work.record(name) else SCRIPTS[name].minutes


def forecast(work: Work, names: list[str]) -> Iterator[str]:
    """Lines on what is left."""
    for name in names:
        yield f"{name:<16} about {expected(work, name):.0f} minutes"
    total = sum(expected(work, name) for name in names)
    yield f"about {total:.0f} minutes in all, on two cores with bfloat16" + (
        "; a few with --quick" if work.quick else ""
    )


def render(folder: Path, to: Path) -> None:
    """Write the page from records."""
    write(to, page(read(folder)))
    print(f"wrote {to}")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="names, joined by commas")
    parser.add_argument("--rounds", type=int, help="of each sweep: 3, with --quick 1")
    parser.add_argument("--work", type=Path, help="segloop-out/performance")
    for flag, text in (
        ("--list", "what is left, and how long it takes"),
        ("--render", "only write the page"),
        ("--anew", "forget what --work holds of these"),
        ("--quick", "small networks, nothing outside --work"),
    ):
        parser.add_argument(flag, action="store_true", help=text)
    options = parser.parse_args()
    names = [*(sweep.key for sweep in SWEEPS), *SCRIPTS]
    if options.quick:
        names = [name for name in names if name not in SCRIPTS or SCRIPTS[name].small is not None]
    options.names = options.only.split(",") if options.only else names
    unknown = [name for name in options.names if name not in names]
    if unknown:
        parser.error(f"nothing is called {', '.join(unknown)}; there are {', '.join(names)}")
    return options


def main() -> int:
    """Measure what is left, and write the page."""
    options = arguments()
    folder = options.work or ROOT / "segloop-out" / ("performance-quick" if options.quick else "performance")
    work = Work(folder, options.rounds or (1 if options.quick else 3), options.quick)
    measured, to = (folder, folder / "performance.md") if options.quick else (MEASURED, PAGE)
    if options.render:
        render(measured, to)
        return 0
    for name in options.names if options.anew else ():
        for kind in (name, f"sweep-{name}"):
            (folder / f"{kind}.json").unlink(missing_ok=True)
    print("\n".join(forecast(work, options.names)), flush=True)
    if options.list:
        return 0
    failed = []
    for name in options.names:
        try:
            measure(work, name)
        except RuntimeError as error:
            print(error, file=sys.stderr)
            failed.append(name)
            continue
        kind = name if name in SCRIPTS else f"sweep-{name}"
        if not options.quick:
            measured.mkdir(exist_ok=True)
            shutil.copy(folder / f"{kind}.json", measured)
        render(measured, to)
    if failed:
        print(f"not measured: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""What has become slower: ratios, measured in small, against the committed record.

    python benchmarks/guard.py [--only line-21,label] [--write]

Ratios, not seconds, because both sides of one take turns on the same machine. What is worse than its record beyond both
intervals, and beyond what runs of the same code differ by where that is known, is measured once more with twice the
rounds; what still is, is named, and the exit code is 1. `--write` writes the record anew, ratio by ratio, so that a run
that is stopped goes on with `--only`. Ratios that hang on the processor are recorded for each kind (AVX2, AVX512-bf16,
AMX). Half a minute to three minutes a ratio.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from common import SMALL, Patience, Ratio, add_patience, circumstances, patience_of, processor_class, ratios, scaled
from segloop.common.files import write_whole

RECORD = Path(__file__).with_name("record.json")
ANY = "any processor"
Record = dict[str, dict[str, Any]]  # name -> kind of processor -> a ratio, its machine and date


@dataclass(frozen=True)
class Judged:
    """A ratio beside its record; without one, why."""

    name: str
    now: Ratio | None
    then: Ratio | None
    verdict: str  # worse, better, as recorded, or a sentence


def judged(now: Ratio, then: Ratio, better: str, wander: float = 0.0) -> str:
    """Whether both intervals lie apart by more than `wander` of the record, and which way."""
    if now.high < then.low * (1 - wander):
        return "worse" if better == "more" else "better"
    if now.low > then.high * (1 + wander):
        return "better" if better == "more" else "worse"
    return "as recorded"


def kind_of(of_processor: bool, processor: str) -> str:
    """Under which kind of processor a ratio is recorded."""
    return processor if of_processor else ANY


def read_record(file: Path) -> Record:
    """A record; an empty one where there is none yet."""
    return json.loads(file.read_text("utf-8")) if file.is_file() else {}


def recorded(record: Record, name: str, kind: str) -> Ratio | None:
    """What the record has of it."""
    kept = record.get(name, {}).get(kind)
    return None if kept is None else Ratio(**kept["ratio"])


def noted(record: Record, name: str, kind: str, ratio: Ratio, facts: Mapping[str, Any]) -> Record:
    """The record with this ratio; those of other kinds of processor stay."""
    kept = {"ratio": asdict(ratio), **{key: facts[key] for key in ("machine", "date", "command")}}
    return {**record, name: {**record.get(name, {}), kind: kept}}


def compared(
    record: Record,
    name: str,
    better: str,
    kind: str,
    measure: Callable[[bool], Ratio],
    runs_here: bool = True,
    wander: float = 0.0,
) -> Judged:
    """A ratio against its record; `measure(again)` is called only where there is one, once more where it is worse."""
    then = recorded(record, name, kind)
    if not runs_here:
        return Judged(name, None, then, f"skipped: half precision is not fast on {processor_class()}")
    if then is None:
        where = "" if kind == ANY else f" for {kind}"
        return Judged(name, None, None, f"skipped: the record has none{where}; --write makes one")
    now = measure(False)
    if judged(now, then, better, wander) == "worse":
        now = measure(True)
    return Judged(name, now, then, judged(now, then, better, wander))


def ending(found: list[Judged]) -> int:
    """Exit code: 1 where something is worse, 2 where nothing was compared, else 0."""
    if any(one.verdict == "worse" for one in found):
        return 1
    return 0 if any(one.now for one in found) else 2


def measured(guarded: Any, patience: Patience, again: bool = False) -> Ratio:
    """The ratio of one row, with twice the rounds where it is measured `again`."""
    if again:
        patience = replace(patience, least=2 * patience.least, most=2 * patience.most, minutes=2 * patience.minutes)
    with TemporaryDirectory() as folder:
        sides = guarded.sides(Path(folder))
        _, found = ratios({"over": sides.over, "under": sides.under}, {"": ("over", "under")}, patience)
    return scaled(found[""], sides.factor)


def elsewhere(record: Record, name: str, kind: str, machine: Mapping[str, Any]) -> str:
    """In what the machine of a ratio in the record was another; empty if in nothing."""
    kept = record[name][kind]["machine"]
    other = [key for key in ("cpu", "class", "threads", "torch") if kept.get(key) != machine.get(key)]
    return f", with {', '.join(f'{key} {kept.get(key)}' for key in other)}" if other else ""


def wrote(record: Record, file: Path, chosen: Mapping[str, Any], patience: Patience) -> None:
    """Measure all that runs here, each written as soon as it is known."""
    for name, row in chosen.items():
        if row.in_half and not fast_half():
            print(f"{name}: {row.what}: skipped: half precision is not fast here")
            continue
        now = measured(row, patience)
        record = noted(record, name, kind_of(row.of_processor, processor_class()), now, circumstances())
        write_whole(file, (json.dumps(record, indent=1) + "\n").encode())
        print(f"{name}: {row.what}: {now.told()}: written", flush=True)


def judge(record: Record, chosen: Mapping[str, Any], patience: Patience) -> list[Judged]:
    """Every ratio against its record, told as it comes."""
    found = []
    for name, row in chosen.items():
        kind = kind_of(row.of_processor, processor_class())
        runs_here = fast_half() or not row.in_half
        measure = partial(measured, row, patience)
        one = compared(record, name, row.better, kind, measure, runs_here, row.wander)
        found.append(one)
        told = ""
        if one.now and one.then:
            where = elsewhere(record, name, kind, circumstances()["machine"])
            told = f"{one.now.told()}, recorded {one.then.told()}{where}: "
        print(f"{name}: {row.what}: {told}{one.verdict}", flush=True)
    return found


def fast_half() -> bool:
    """Whether half precision is the default here."""
    return processor_class() in ("AVX512-bf16", "AMX")


def main() -> None:
    """Measure, compare or write."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # the record is of processors
    from guarded import GUARDED

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="names, joined by commas")
    parser.add_argument("--write", action="store_true", help="write the record anew")
    parser.add_argument("--record", type=Path, default=RECORD)
    add_patience(parser, Patience(most=20, minutes=3))
    options = parser.parse_args()
    names = options.only.split(",") if options.only else list(GUARDED)
    if unknown := set(names) - set(GUARDED):
        parser.error(f"no ratio is called {', '.join(sorted(unknown))}; there are {', '.join(GUARDED)}")
    if SMALL and options.record == RECORD:
        parser.error("small networks have no part in the record: name another --record")
    record = {name: kept for name, kept in read_record(options.record).items() if name in GUARDED}
    chosen = {name: GUARDED[name] for name in names}
    print(f"{len(chosen)} ratios, {options.minutes:g} minutes at most for each, on {processor_class()}", flush=True)
    if options.write:
        wrote(record, options.record, chosen, patience_of(options))
        return
    found = judge(record, chosen, patience_of(options))
    worse = [one.name for one in found if one.verdict == "worse"]
    said = {0: "nothing is worse", 1: f"worse: {', '.join(worse)}", 2: "nothing was compared"}
    print(said[ending(found)])
    print(json.dumps({"benchmark": "guard", "ratios": {one.name: asdict(one) for one in found}, **circumstances()}))
    sys.exit(ending(found))


if __name__ == "__main__":
    main()

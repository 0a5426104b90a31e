"""Benchmarks: the rule that ends repeats, the guard against its record, and every guarded ratio run in small."""

import math
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from itertools import cycle
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
RATIOS = [
    *("line-21", "line-847", "deciding", "feedback", "stage", "purify"),
    *("published", "label", "encoders", "half-encoders", "half"),
]
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], ModuleType]]:
    """Imports a benchmark with small networks; afterwards the tests' own modules of the same names are back."""
    names = [file.stem for file in BENCHMARKS.glob("*.py")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEGLOOP_SMALL_BENCHMARKS", "1")
        patch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
        before = {name: sys.modules.pop(name) for name in names if name in sys.modules}
        import_module("common").MODELS = tmp_path_factory.mktemp("models")
        yield import_module
    for name in names:
        sys.modules.pop(name, None)
    sys.modules.update(before)


class Clock:
    """Time that passes only in tasks."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def task(self, *seconds: float) -> Callable[[], None]:
        taking = cycle(seconds)

        def run() -> None:
            self.now += next(taking)

        return run


def measured(common, over, under, **options):
    clock = Clock()
    tasks = {"a": clock.task(*over), "b": clock.task(*under)}
    return common.ratios(tasks, {"": ("a", "b")}, common.Patience(**options), clock)


# repeats ---------------------------------------------------------------------------------------------------


def test_steady_ratios_end_as_soon_as_there_is_an_interval(benchmark):
    seconds, found = measured(benchmark("common"), [3], [2])
    assert seconds == {"a": 3, "b": 2}
    assert found[""] == benchmark("common").Ratio(1.5, 1.5, 1.5, 6)
    assert found[""].told() == "1.50 (1.50 to 1.50, 6 rounds)"


def test_drift_of_the_machine_cancels(benchmark):
    slower = [2.0**number for number in range(9)]
    _, found = measured(benchmark("common"), [3 * one for one in slower], slower)
    assert (found[""].low, found[""].high, found[""].limit) == (3, 3, "")


def test_wild_ratios_end_at_the_limit_and_say_so(benchmark):
    _, found = measured(benchmark("common"), [1, 2, 4], [1], most=9)
    assert (found[""].rounds, found[""].limit) == (9, "9 rounds")
    assert "stopped at 9 rounds with ± 75.0%" in found[""].told()
    _, found = measured(benchmark("common"), [60, 120, 240], [60], minutes=14)
    assert (found[""].rounds, found[""].limit) == (5, "14 minutes")
    assert "5 rounds, too few for 95 %)" in found[""].told()


def test_few_rounds_are_never_narrow(benchmark):
    _, found = measured(benchmark("common"), [3], [2], least=1, most=3)
    assert (found[""].rounds, found[""].limit) == (3, "3 rounds")


def test_shares_are_told_in_percent(benchmark):
    ratio = benchmark("common").Ratio(1.05, 1.04, 1.07, 12)
    assert ratio.told(100, 1, 1, " %") == "5.0 % (4.0 to 7.0, 12 rounds)"


@pytest.mark.parametrize("count", [6, 7, 16, 60])
def test_intervals_hold_the_median_as_often_as_they_say(benchmark, count):
    # the order statistics r and n+1-r hold the median unless fewer than r of n fair coins fall on one side
    low, _ = benchmark("common").median_interval(list(map(float, range(1, count + 1))))
    missed = 2 * sum(math.comb(count, side) for side in range(int(low))) / 2**count
    assert missed <= 0.05


@pytest.mark.parametrize(
    ("low", "high", "better", "told"),
    [
        (1.6, 1.8, "more", "holds"),
        (1.3, 1.5, "more", "missed"),
        (1.5, 1.7, "more", "not to be told: the bar lies within the interval"),
        (1.4, 1.6, "less", "holds"),
        (1.7, 1.8, "less", "missed"),
        (1.5, 1.7, "less", "not to be told: the bar lies within the interval"),
    ],
)
def test_verdicts_go_by_the_whole_interval(benchmark, low, high, better, told):
    common = benchmark("common")
    assert common.verdict(common.Ratio((low + high) / 2, low, high, 6), 1.6, better) == told


def test_too_few_rounds_have_no_verdict(benchmark):
    common = benchmark("common")
    assert common.verdict(common.Ratio(9, 9, 9, 5), 1.6) == "not to be told: too few rounds"


@pytest.mark.parametrize(("kind", "verdict"), [("AVX2", "holds"), ("AVX512-bf16", "holds"), ("AMX", "missed")])
def test_speed_has_the_bar_of_its_processor(benchmark, kind, verdict):
    ratio = benchmark("common").Ratio
    found = {"float32": ratio(2.2, 2.1, 2.3, 6), "default": ratio(3.5, 3.4, 3.6, 6)}
    shares = {"float32": ratio(0.87, 0.85, 0.9, 6), "bfloat16": ratio(0.39, 0.38, 0.395, 6)}
    bars = benchmark("speed").barred(found, shares, 0.998, "bfloat16", kind)
    (default,) = (told for name, told in bars.items() if name.startswith("default"))
    assert default == verdict
    assert sorted(bars.values()) == sorted(["holds", verdict, "holds", "missed", "holds"])


# the guard -------------------------------------------------------------------------------------------------

FACTS = {"machine": {"cpu": "made up"}, "date": "2026-11-30", "command": ""}


def guarding(benchmark, now, *, better="more", kind="AMX", then=(2.0, 1.9, 2.1)):
    """A made-up record, and a measurement that gives `now` in turn."""
    guard, ratio = benchmark("guard"), benchmark("common").Ratio
    record = guard.noted({}, "a", kind, ratio(*then, 6), FACTS)
    waiting, asked = list(now), []

    def measure(again: bool):
        asked.append(again)
        return ratio(*waiting.pop(0), 6)

    return guard.compared(record, "a", better, "AMX", measure), asked


@pytest.mark.parametrize(
    ("now", "better", "verdict"),
    [
        ((1.8, 1.7, 1.89), "more", "worse"),
        ((1.8, 1.7, 1.9), "more", "as recorded"),  # they touch
        ((2.2, 2.11, 2.3), "more", "better"),
        ((1.8, 1.7, 1.89), "less", "better"),
        ((2.2, 2.11, 2.3), "less", "worse"),
        ((1.5, 0.5, 2.5), "more", "as recorded"),  # too wide to tell
    ],
)
def test_worse_is_beyond_both_intervals(benchmark, now, better, verdict):
    one, asked = guarding(benchmark, [now, now], better=better)
    assert one.verdict == verdict
    assert asked == ([False, True] if verdict == "worse" else [False])


def test_runs_that_wander_are_told_apart_by_more(benchmark):
    judged, ratio = benchmark("guard").judged, benchmark("common").Ratio
    then = ratio(0.65, 0.64, 0.66, 6)
    for low, high, verdict in ((0.60, 0.62, "as recorded"), (0.5, 0.57, "worse"), (0.73, 0.8, "better")):
        assert judged(ratio(low, low, high, 6), then, "more", 0.1) == verdict


def test_what_was_a_slow_minute_is_not_named(benchmark):
    one, asked = guarding(benchmark, [(1.5, 1.4, 1.6), (2.0, 1.9, 2.1)])
    assert (one.verdict, asked) == ("as recorded", [False, True])


def test_another_kind_of_processor_is_skipped_with_a_sentence(benchmark):
    one, asked = guarding(benchmark, [], kind="AVX2")
    assert one.verdict == "skipped: the record has none for AMX; --write makes one"
    assert not asked and one.now is None


def test_half_precision_is_skipped_where_it_is_slow(benchmark):
    one = benchmark("guard").compared({}, "half", "more", "AVX2", lambda again: pytest.fail("measured"), False)
    assert one.verdict.startswith("skipped: half precision is not fast")


def test_a_record_keeps_other_kinds_of_processor(benchmark):
    guard, ratio = benchmark("guard"), benchmark("common").Ratio
    record = guard.noted({}, "a", "AVX2", ratio(1, 1, 1, 6), FACTS)
    record = guard.noted(record, "a", "AMX", ratio(2, 2, 2, 6), FACTS)
    record = guard.noted(record, "a", "AMX", ratio(3, 3, 3, 6), FACTS)
    assert guard.recorded(record, "a", "AVX2").value == 1 and guard.recorded(record, "a", "AMX").value == 3
    assert record["a"]["AMX"]["machine"] == FACTS["machine"] and record["a"]["AMX"]["date"] == FACTS["date"]


@pytest.mark.parametrize(("verdicts", "code"), [(["worse", "better"], 1), (["as recorded", ""], 0), (["", ""], 2)])
def test_exit_codes(benchmark, verdicts, code):
    guard, ratio = benchmark("guard"), benchmark("common").Ratio(1, 1, 1, 6)
    found = [guard.Judged("a", ratio if verdict else None, ratio, verdict) for verdict in verdicts]
    assert guard.ending(found) == code


def test_all_ratios_are_here(benchmark):
    assert list(benchmark("guarded").GUARDED) == RATIOS
    record = benchmark("guard").read_record(BENCHMARKS / "record.json")
    assert set(record) <= set(RATIOS)


@pytest.mark.filterwarnings("ignore:.thing. may not be English")
@pytest.mark.parametrize("name", [name for name in RATIOS if "half" not in name])
def test_both_sides_of_a_ratio_run(benchmark, tmp_path, name):
    row = benchmark("guarded").GUARDED[name]
    patience = benchmark("common").Patience(least=1, most=1)
    found = benchmark("guard").measured(row, patience)
    assert np.isfinite(found.value) and found.value > 0 and row.better in ("more", "less")


def test_another_machine_is_named(benchmark):
    guard, ratio = benchmark("guard"), benchmark("common").Ratio(1, 1, 1, 6)
    facts = {"machine": {"cpu": "old", "class": "AVX2", "threads": 2, "torch": "1"}, "date": "", "command": ""}
    record = guard.noted({}, "a", "any", ratio, facts)
    assert guard.elsewhere(record, "a", "any", facts["machine"]) == ""
    assert (
        guard.elsewhere(record, "a", "any", {**facts["machine"], "cpu": "new", "threads": 4})
        == ", with cpu old, threads 2"
    )

"""docs/performance.md is what its records render to; slopes, bends, and what is left of a run that was stopped."""

import json
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
MACHINE = {"cpu": "made up", "class": "AMX", "threads": 2, "torch": "2.13.0"}


@pytest.fixture
def tool(monkeypatch):
    """Imports a file of tools/."""
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return import_module


def swept(growing, memory=lambda x: 10 * x):
    """The record of a sweep whose points take `growing(x)` seconds, in three rounds that differ."""
    rounds = {
        str(x): [
            {"x": x, "seconds": share * growing(x), "above_mib": memory(x), "held_mib": 400} for share in (0.9, 1, 1.3)
        ]
        for x in (1, 10, 100, 1000)
    }
    return {"points": rounds, "machine": MACHINE, "date": "2026-11-30", "command": "python tools/performance.py"}


def test_the_page_is_what_its_records_say(tool):
    page = tool("performance_page")
    assert (ROOT / "docs/performance.md").read_text("utf-8") == page.page(page.read())


def test_every_figure_of_the_page_names_machine_day_and_command(tool):
    for name, record in tool("performance_page").read().items():
        assert {"cpu", "threads", "torch"} <= set(record["machine"]), name
        assert record["command"].startswith("python ") and record["date"].startswith("20"), name


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 2.0])
def test_powers_have_their_exponent_and_no_bend(tool, exponent):
    x = [1, 3, 10, 40, 100]
    y = [7 * one**exponent for one in x]
    assert tool("fits").slope(x, y) == pytest.approx(exponent, abs=1e-9)
    assert tool("fits").bend(x, y) is None


def test_a_fixed_cost_bends_where_what_grows_is_as_large(tool):
    x = np.logspace(-2, 2, 9)
    where, before, behind = tool("fits").bend(x, 5 + 5 * x)
    assert 0.3 < where < 3.1 and before < 0.25 and behind > 0.75


def test_two_lines_bend_at_their_knot(tool):
    x = [1, 2, 4, 8, 16, 32]
    y = [max(one, 8) for one in x]
    where, before, behind = tool("fits").bend(x, y)
    assert (where, behind) == (pytest.approx(8), pytest.approx(1)) and abs(before) < 1e-9
    assert tool("fits").bend(x[2:5], y[2:5]) is None  # three points have no bend


def test_sweeps_are_told_with_medians_slopes_and_source(tool):
    text = tool("performance_page").page({"sweep-classes": swept(lambda x: 0.1 * x)})
    assert "| Classes | 1 to 1000 classes | 1.00: ×10 a decade | none | 1.00: ×10 a decade | none |" in text
    assert "| 100 | 10 | 9 to 13 | 1000 | 400 |" in text
    source = "`python tools/performance.py`, 2026-11-30, 2 threads of made up, AMX, torch 2.13.0."
    assert f"Medians of 3 rounds. {source}" in text
    assert "- Windows of one photo" in text and "- Classes" not in text, "what is not measured is said"
    assert "Nothing on this page was measured on a GPU." in text


def test_memory_that_is_not_there_has_no_slope(tool):
    text = tool("performance_page").page({"sweep-photos": swept(lambda x: x, memory=lambda x: 0)})
    assert "| 1.00: ×10 a decade | none | - | - |" in text


def test_lines_of_a_benchmark_are_told_as_it_printed_them(tool):
    record = {"rows": [["engine a", "1.2 s"]], "machine": MACHINE, "date": "2026-11-30", "command": "python x.py"}
    text = tool("performance_page").page({"engines": record, "mine": record})
    assert text.index("## Engines side by side") < text.index("## mine")
    assert text.count("| engine a | 1.2 s |") == 2


def test_a_run_goes_on_where_it_was_stopped(tool, tmp_path):
    performance = tool("performance")
    sweep = performance.Sweep("a", "A", "x", (1, 2, 3), (1,), "", 3)
    work = performance.Work(tmp_path, rounds=2, quick=False)
    assert work.left(sweep) == [1, 2, 3, 3, 2, 1], "each second round backwards"
    work.keep("sweep-a", {"points": {"1": [{}], "2": [{}], "3": [{}, {}]}})
    assert work.left(sweep) == [2, 1]
    assert performance.Work(tmp_path, rounds=1, quick=True).left(sweep) == []


def test_points_of_two_machines_are_not_mixed(tool, tmp_path, monkeypatch):
    performance = tool("performance")
    sweep = performance.Sweep("a", "A", "x", (1,), (1,), "", 3)
    work = performance.Work(tmp_path, rounds=1, quick=False)
    kept = {"x": 1.0, "seconds": 0.5, "above_mib": 3.0, "held_mib": 9.0}
    monkeypatch.setattr(
        performance, "told", lambda *_, **__: {**kept, "machine": dict(MACHINE), "date": "2026-12-01", "command": ""}
    )
    work.keep("sweep-a", {"points": {}, "machine": {**MACHINE, "cpu": "another"}})
    with pytest.raises(RuntimeError, match="begun with another cpu: --anew forgets it"):
        performance.sweep_measured(work, sweep)
    work.keep("sweep-a", {"points": {}, "machine": MACHINE})
    performance.sweep_measured(work, sweep)
    record = json.loads((tmp_path / "sweep-a.json").read_text())
    assert record["points"] == {"1": [kept]} and record["date"] == "2026-12-01"


def test_every_sweep_has_its_points(tool):
    measured = (ROOT / "benchmarks/point.py").read_text()
    for sweep in tool("sweeps").SWEEPS:
        assert f'"{sweep.key}": ' in measured
    for name, script in tool("performance").SCRIPTS.items():
        assert (ROOT / f"benchmarks/{script.file or name}.py").is_file()

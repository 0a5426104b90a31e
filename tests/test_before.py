"""Records that the first segloop with evaluations wrote still open: they are read, compared, and gone on with.

tests/before holds two runs of `segloop scenes --count 3 --seed 5 --size 96x128`, of sclip and of feedback on sfp.
"""

import json
import shutil
from pathlib import Path

import pytest

from command import done
from segloop.runs.record import versions

BEFORE = Path(__file__).parent / "before"
OPTIONS = {"sclip": ("--method", "sclip"), "sfp": ("--host", "sfp")}
GEOMETRY = ("--set", "short_side=96", "--set", "crop=64", "--set", "stride=32")


@pytest.mark.parametrize("name", OPTIONS)
def test_it_is_the_same_run(segloop, tmp_path, name):
    segloop("scenes", tmp_path / "scenes", "--count", "3", "--seed", "5", "--size", "96x128")
    out = tmp_path / "run"
    shutil.copytree(BEFORE / name, out)
    record = json.loads((out / "run.json").read_text())
    record["versions"] = versions()  # of what computes here: others are another run, today as then
    (out / "run.json").write_text(json.dumps(record))
    options = (*OPTIONS[name], *GEOMETRY, "--clip", "tiny", "--templates", "plain", "--dtype", "float32")
    told = segloop("evaluate", "scenes", "--data", tmp_path / "scenes", *options, "--out", out)
    assert told.exit_code == 0 and "holds this run, done" in told.stderr
    assert json.loads((out / "run.json").read_text())["metrics"] == record["metrics"]


def test_they_are_reported_and_compared(segloop):
    made = json.loads(done(segloop("report", BEFORE / "sclip", BEFORE / "sfp", "--json")).stdout)
    (row, other) = made["tables"]["table"]["rows"]
    assert row["scenes"] == pytest.approx(75.897542, abs=1e-6)  # as their classes.csv says, to its digits
    assert (row["method"], other["method"]) == ("SCLIP", "SFP + FSA")
    assert made["tables"]["comparison"]["rows"]

"""A run's folder: continued where it is the same run, refused where it is another, never lost."""

import json
import re
import sys

import numpy as np
import pytest

from segloop.errors import OptionError, UserError
from segloop.evaluation.record import COUNTED, LAYOUT, finish
from segloop.runs.folder import locked, read_run
from segloop.runs.machine import command_line
from segloop.runs.record import Inputs, open_record
from segloop.scoring.metrics import confusion
from segloop.scoring.tally import Failed, Scored

NAMES = ["grass", "sand"]


def inputs(**settings) -> Inputs:
    return Inputs({"dataset": "scenes", "stride": 32, **settings}, NAMES, NAMES, (0, 1))


def scored(name: str, seed: int = 0) -> Scored:
    label, prediction = np.random.default_rng(seed).integers(0, 2, (2, 3, 3))
    return Scored(name, (3, 3), confusion(prediction, label, 2))


@pytest.fixture
def folder(tmp_path):
    with locked(tmp_path / "run", LAYOUT):
        yield tmp_path / "run"


def test_a_run_is_begun_continued_and_finished(folder):
    record = open_record(folder, inputs(), COUNTED)
    assert read_run(folder)["state"] == "running"
    assert record.missing(2) == [0, 1]
    record.keep(1, [scored("b", 2)])
    again = open_record(folder, inputs(), COUNTED)
    assert again.missing(2) == [0]
    again.keep(0, [scored("a", 1), Failed("x", "x.jpg", "x.jpg is empty", "copy it")])
    run = finish(again, 2)
    assert (run["images"], run["failed"], run["state"]) == (2, 1, "done")
    assert run == read_run(folder) == again.finished
    assert sorted(path.name for path in folder.iterdir() if path.name[0] != ".") == [
        "classes.csv",
        "counts.npz",
        "failed.jsonl",
        "images.csv",
        "parts",  # since an image failed, which may be tried again
        "run.json",
    ]
    assert json.loads((folder / "failed.jsonl").read_text())["source"] == "x.jpg"


def test_the_order_of_work_leaves_no_trace(tmp_path):
    written = []
    for place, order in (("forth", [0, 1, 2]), ("back", [2, 1, 0])):
        with locked(tmp_path / place, LAYOUT):
            record = open_record(tmp_path / place, inputs(), COUNTED)
            for shard in order:
                record.keep(shard, [scored(f"{shard}", shard)])
            finish(record, 3)
        written.append({path.name: path.read_bytes() for path in (tmp_path / place).iterdir()})
    assert written[0] == written[1]


def test_other_settings_are_refused_and_named(folder):
    open_record(folder, inputs(), COUNTED)
    with pytest.raises(OptionError, match=r"stride 32 there, 16 now.*--overwrite"):
        open_record(folder, inputs(stride=16), COUNTED)


def test_constants_of_methods_that_are_not_in_use_do_not_matter(folder):
    """Another segloop wrote sigma into every record, and did not know rounds yet: its run is this one."""
    unsaid = {"sigma": 5.0, "method": "x", "feedback": {"rounds": 1, "old": 2}}
    before = Inputs({"method": "sclip", "sigma": 5.0, "feedback": {"old": 2}}, NAMES, NAMES, (0, 1))
    now = Inputs({"method": "sclip", "feedback": {"rounds": 1}}, NAMES, NAMES, (0, 1), unsaid=unsaid)
    open_record(folder, before, COUNTED)
    open_record(folder, now, COUNTED)
    for changed in ({"method": "naclip", "feedback": {"rounds": 1}}, {"method": "sclip", "feedback": {"rounds": 2}}):
        with pytest.raises(OptionError, match="other settings"):
            open_record(folder, Inputs(changed, NAMES, NAMES, (0, 1), unsaid=unsaid), COUNTED)


def test_what_is_kept_as_a_hash_is_told_in_words(folder):
    there = {"model_hash": "a", "templates": "b", "keeps": ["maps"], "masks": {"suffix": "_m.png", "table_hash": "c"}}
    open_record(folder, inputs(**there), COUNTED)
    for changed, told in (
        ({"model_hash": "z"}, "other settings: other weights; choose"),
        ({"templates": "z"}, "other settings: other templates; choose"),
        ({"keeps": ["maps", "scores"]}, "other settings: --save-maps there, --save-maps and --scores now; choose"),
        ({"keeps": []}, "other settings: --save-maps there, none kept now; choose"),
        ({"masks": {"suffix": "_m.png", "table_hash": "z"}}, "settings: other colours or values of label maps; choose"),
        ({"masks": {"suffix": "_m.png"}}, "settings: other colours or values of label maps; choose"),
        (
            {"masks": {"turned": True, "table_hash": "c"}},
            '--mask-suffix "_m.png" there, none now; --turn-masks none there',
        ),
        ({"stride": 16, "code_hash": "z"}, "stride 32 there, 16 now; other code of your attention; choose"),
    ):
        with pytest.raises(OptionError, match=re.escape(told)):
            open_record(folder, inputs(**{**there, **changed}), COUNTED)


def test_overwrite_starts_anew(folder):
    record = open_record(folder, inputs(), COUNTED)
    record.keep(0, [scored("a")])
    finish(record, 1)
    anew = open_record(folder, inputs(stride=16), COUNTED, overwrite=True)
    assert anew.finished is None
    assert not (folder / "counts.npz").exists()


def test_a_damaged_shard_is_done_again(folder):
    record = open_record(folder, inputs(), COUNTED)
    record.keep(0, [scored("a")])
    record.part(0).write_bytes(record.part(0).read_bytes()[:50])
    assert record.missing(1) == [0]


def test_two_processes_do_not_share_a_folder(folder):
    with pytest.raises(OptionError, match="another process is working on"), locked(folder, LAYOUT):
        pass


def test_what_is_refused_leaves_nothing(tmp_path):
    for place, left in ((tmp_path / "a/b/run", set()), (tmp_path, {".lock"})):
        with pytest.raises(OptionError), locked(place, LAYOUT):
            raise OptionError("no model", "give one")
        assert {path.name for path in tmp_path.iterdir()} == left
    with pytest.raises(OptionError), locked(tmp_path / "c", LAYOUT):
        open_record(tmp_path / "c", inputs(), COUNTED)
        raise OptionError("no", "no")
    assert (tmp_path / "c" / "run.json").is_file()


def test_strangers_are_not_overwritten(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OptionError, match=r"not empty.*thesis\.txt"), locked(tmp_path, LAYOUT):
        open_record(tmp_path, inputs(), COUNTED)


def test_a_file_that_is_no_record(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(UserError, match="not the record of a run"):
        read_run(tmp_path)


def test_logs_keep_every_start(folder):
    record = open_record(folder, inputs(), COUNTED)
    record.log({"started": "1"})
    record.log({"started": "2"})
    record.log({"started": "2", "ended": "3"})
    starts = json.loads((folder / "log.json").read_text())["starts"]
    assert starts == [{"started": "1"}, {"started": "2", "ended": "3"}]


PROGRAMS = [("/x/segloop/__main__.py", "segloop"), ("/x/bin/segloop", "segloop"), ("a.py", "a.py")]


@pytest.mark.parametrize("program, said", PROGRAMS)
def test_a_command_can_be_typed_again(monkeypatch, program, said):
    monkeypatch.setattr(sys, "argv", [program, "evaluate", "my data"])
    assert command_line() == f"{said} evaluate 'my data'"

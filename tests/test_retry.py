"""`segloop evaluate --retry-failed`: what could not be used is tried again, and the record is that of a clean run."""

import json
import shutil

import pytest

from runs import record_of

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def data(drawn, tmp_path):
    """The scenes, one of them cut off."""
    shutil.copytree(drawn, tmp_path / "scenes")
    broken = tmp_path / "scenes" / "images" / "000004.png"
    broken.write_bytes(broken.read_bytes()[:100])
    return tmp_path / "scenes"


@pytest.fixture
def mend(data, drawn):
    return lambda: shutil.copy(drawn / "images" / "000004.png", data / "images" / "000004.png")


def test_what_failed_is_tried_again(evaluate, data, drawn, mend, tmp_path):
    options = ("--out", tmp_path / "run", "--shard", 2)
    assert evaluate(*options, data=data).exit_code == 3
    assert len(list((tmp_path / "run" / "parts").iterdir())) == 5
    before = record_of(tmp_path / "run")
    assert evaluate(*options, "--retry-failed", data=data).exit_code == 3  # as bad as before
    assert record_of(tmp_path / "run") == before
    mend()
    assert "holds this run, done" in evaluate(*options, data=data).stderr
    told = evaluate(*options, "--retry-failed", data=data)
    assert told.exit_code == 0 and "1 of 5 shards are left" in told.stderr
    assert evaluate("--out", tmp_path / "clean", "--shard", 2, data=drawn).exit_code == 0
    assert record_of(tmp_path / "run") == record_of(tmp_path / "clean")
    assert not (tmp_path / "run" / "failed.jsonl").exists() and not (tmp_path / "run" / "parts").exists()


def test_a_retry_that_is_interrupted_is_made_good(evaluate, data, drawn, mend, tmp_path, monkeypatch):
    options = ("--out", tmp_path / "run", "--shard", 2)
    assert evaluate(*options, data=data).exit_code == 3
    mend()

    def interrupted(record, shards):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("segloop.evaluation.run.finish", interrupted)
        assert evaluate(*options, "--retry-failed", data=data).exit_code == 130
    assert json.loads((tmp_path / "run" / "run.json").read_text())["state"] == "running"
    assert evaluate(*options, data=data).exit_code == 0
    assert evaluate("--out", tmp_path / "clean", "--shard", 2, data=drawn).exit_code == 0
    assert record_of(tmp_path / "run") == record_of(tmp_path / "clean")


def test_a_run_whose_shards_are_gone_is_counted_anew(evaluate, data, drawn, mend, tmp_path):
    options = ("--out", tmp_path / "run", "--shard", 2)
    assert evaluate(*options, data=data).exit_code == 3
    shutil.rmtree(tmp_path / "run" / "parts")
    mend()
    told = evaluate(*options, "--retry-failed", data=data)
    assert told.exit_code == 0 and "5 of 5 shards are left" in told.stderr
    assert evaluate("--out", tmp_path / "clean", "--shard", 2, data=drawn).exit_code == 0
    assert record_of(tmp_path / "run") == record_of(tmp_path / "clean")

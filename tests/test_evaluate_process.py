"""Runs that are killed, runs that share a folder, runs of several processes: the record does not tell them apart."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from command import sentence
from runs import RECORD, TIMEOUT, killed_at, record_of, wait_for

pytest.importorskip("resource")  # signals of POSIX


@pytest.fixture
def words(toy_clip: Path, drawn: Path, tmp_path: Path):
    """Arguments of an evaluation of ten scenes in five shards."""

    def arguments(out: str, *others: object) -> list[str]:
        clip = ("--clip", toy_clip, "--templates", "plain", "--threads", 1, "--shard", 2)
        return [str(word) for word in ("evaluate", "scenes", "--data", drawn, "--out", tmp_path / out, *clip, *others)]

    return arguments


@pytest.fixture
def whole(segloop, words, tmp_path, one_thread) -> dict[str, bytes]:
    """The record of a run that nothing happened to."""
    result = segloop(*words("whole"))
    assert result.exit_code == 0, result.output
    return record_of(tmp_path / "whole")


def goes_on(segloop, words, tmp_path, out: str) -> dict[str, bytes]:
    result = segloop(*words(out))
    assert result.exit_code == 0, result.output
    return record_of(tmp_path / out)


@pytest.mark.parametrize("point", np.random.default_rng(20).choice(np.arange(4, 24), 2, replace=False).tolist())
def test_a_killed_run_ends_as_the_others(segloop, words, whole, tmp_path, point):
    assert killed_at(point, words("torn"), tmp_path) == -signal.SIGKILL
    assert goes_on(segloop, words, tmp_path, "torn") == whole
    assert {path.name for path in (tmp_path / "torn").iterdir()} == {*RECORD, "log.json", ".lock"}
    log = json.loads((tmp_path / "torn" / "log.json").read_text())
    assert "ended" in log["starts"][-1]


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(20))
def test_killed_again_and_again(segloop, words, whole, tmp_path, seed):
    """Several kills at any time, also of runs with helpers, and in the middle of the last tables."""
    rng = np.random.default_rng(seed)
    for _ in range(rng.integers(1, 4)):
        if rng.random() < 0.5:
            killed_at(int(rng.integers(2, 26)), words("torn"), tmp_path)
            continue
        helpers = ("--devices", "cpu,cpu") if rng.random() < 0.5 else ()
        process = subprocess.Popen([sys.executable, "-m", "segloop", *words("torn", *helpers)], cwd=tmp_path)
        time.sleep(rng.uniform(3, 12))
        process.kill()
        process.wait(TIMEOUT)
    assert goes_on(segloop, words, tmp_path, "torn") == whole


def test_helpers_leave_no_trace(start, words, whole, tmp_path):
    process = start("evaluate", *words("shared", "--devices", "cpu,cpu")[1:])
    _, stderr = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, stderr
    assert record_of(tmp_path / "shared") == whole
    assert json.loads((tmp_path / "shared" / "log.json").read_text())["starts"][0]["devices"] == ["cpu", "cpu"]


def test_ranks_of_torchrun_leave_no_trace(words, whole, tmp_path):
    run = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", "-m", "segloop"]
    ended = subprocess.run([*run, *words("ranks")], cwd=tmp_path, capture_output=True, text=True, timeout=TIMEOUT)
    assert ended.returncode == 0, ended.stderr
    assert record_of(tmp_path / "ranks") == whole


WAITING = """
from pathlib import Path
from time import sleep

def mix(block):
    Path("waiting").touch()
    sleep(600)
    return lambda values: values
"""


def test_the_second_on_a_folder_says_so_and_stops(start, segloop, words, tmp_path):
    (tmp_path / "waiting.py").write_text(WAITING)
    first = start(*words("run", "--method", "waiting.py:mix"))
    wait_for((tmp_path / "waiting"), first)
    second = segloop(*words("run", "--method", "waiting.py:mix"))
    assert second.exit_code == 2
    assert "another process is working on" in sentence(second.stderr)
    first.kill()


def test_ctrl_c_keeps_what_was_done(start, words, tmp_path):
    (tmp_path / "waiting.py").write_text(WAITING.replace("sleep(600)", "sleep(3 if Path('run/parts').exists() else 0)"))
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs inherit deaf ears
    process = start(*words("run", "--method", "waiting.py:mix"), preexec_fn=heard)
    wait_for((tmp_path / "run" / "parts"), process)
    os.kill(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 130
    assert "stopped by Ctrl-C" in sentence_of(stderr)
    assert list((tmp_path / "run" / "parts").glob("*.npz"))


def sentence_of(stderr: str) -> str:
    return stderr.strip().splitlines()[-1]

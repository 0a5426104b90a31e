"""Who does a run's shards does not show in its results: this process, helpers, actors of Ray."""

import json
import os
import shutil
import signal
import subprocess
import time
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from command import complaint
from runs import TIMEOUT, killed_at, record_of, wait_for
from segloop import Segmenter, label
from segloop.errors import MachineError, OptionError
from segloop.runs import joining
from segloop.runs.cluster import Ledger
from segloop.runs.crew import Crew, when
from segloop.runs.engines import Engine, crew_of
from segloop.runs.joining import Room, check_ray, check_room, joined
from segloop.runs.sameness import check_agreed, check_there
from segloop.scenes.draw import write_scenes

PHOTOS, BAD, SHARDS = 40, 3, 11  # more photos than a process reads ahead, so that others have some, too
RAY = ("--engine", "ray", "--actors", 2, "--cpus", 1)


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> Path:
    """A data set of small scenes. Read only."""
    folder = tmp_path_factory.mktemp("many") / "scenes"
    write_scenes(folder, PHOTOS, 5, (48, 64))
    return folder


@pytest.fixture(scope="module")
def source(many: Path) -> Path:
    """Its photos, and three that cannot be used."""
    folder = many.parent / "source"
    shutil.copytree(many / "images", folder)
    for number, bad in enumerate([b"no photo", b"", (folder / "000001.png").read_bytes()[:100]]):
        (folder / f"000003-{number}.png").write_bytes(bad)
    return folder


@pytest.fixture(scope="module")
def words(toy_clip: Path, many: Path, source: Path):
    """Arguments of a labelling of the source."""

    def arguments(out: Path, *others: object) -> list[str]:
        clip = ("--clip", toy_clip, "--templates", "plain", "--threads", 1, "--shard", 4)
        return [
            str(word)
            for word in ("label", source, "--classes-file", many / "classes.txt", "--out", out, *clip, *others)
        ]

    return arguments


@pytest.fixture
def run(segloop, words, tmp_path):
    """`segloop label` of the source into a folder: run("name", options ...) -> click's Result, three photos failed."""

    def labelled(name: str, *others: object):
        told = segloop(*words(tmp_path / name, *others))
        assert told.exit_code == 3, told.output
        return told

    return labelled


@pytest.fixture(scope="module")
def alone(words, one_thread, tmp_path_factory) -> dict[str, bytes]:
    """What one process leaves."""
    from typer.testing import CliRunner

    from segloop.cli import app

    folder = tmp_path_factory.mktemp("alone") / "run"
    assert CliRunner().invoke(app, words(folder), prog_name="segloop").exit_code == 3
    return results_of(folder)


def results_of(folder: Path) -> dict[str, bytes]:
    """Every file that a labelling's inputs determine."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in ("log.json", ".lock")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


# helpers ---------------------------------------------------------------------------------------------------------


def test_helpers_leave_no_trace_in_labels(run, alone, tmp_path):
    events = [json.loads(line) for line in run("run", "--devices", "cpu,cpu", "--json").stdout.splitlines()]
    assert results_of(tmp_path / "run") == alone
    assert json.loads((tmp_path / "run" / "log.json").read_text())["starts"][0]["devices"] == ["cpu", "cpu"]
    check_events(events, tmp_path / "run")


def check_events(events: list[dict], folder: Path) -> None:
    """A start, all shards and failures with sums that fit, an end."""
    assert events[0] == {"event": "start", "images": PHOTOS + BAD}
    assert events[-1] == {"event": "end", "run": str(folder), "images": PHOTOS, "failed": BAD}
    shards = [event for event in events if event["event"] == "shard"]
    assert sorted(event["shard"] for event in shards) == list(range(SHARDS))
    assert sum(event["images"] for event in shards) == shards[-1]["images_done"] == PHOTOS + BAD
    assert (shards[-1]["images_left"], shards[-1]["seconds_left"]) == (0, 0) and shards[-1]["images_a_second"] > 0
    failures = [event for event in events if event["event"] == "failure"]
    assert sorted(Path(event["source"]).name for event in failures) == [f"000003-{number}.png" for number in range(BAD)]
    assert sum(event["failed"] for event in shards) == BAD and len(events) == SHARDS + BAD + 2


LOST = """
import multiprocessing, os, time
from pathlib import Path

def mix(block):
    if multiprocessing.parent_process():
        Path("lost").touch()
        os._exit(9)
    while not Path("lost").exists():
        time.sleep(0.05)
    return lambda values: values
"""


def test_what_a_lost_helper_had_is_left(segloop, words, tmp_path):
    (tmp_path / "lost.py").write_text(LOST)
    told = segloop(*words(tmp_path / "run", "--devices", "cpu,cpu", "--method", "lost.py:mix"))
    assert told.exit_code == 1 and "a helping process was lost; run the same command again" in told.stderr
    assert 0 < len(list((tmp_path / "run" / "parts").iterdir())) < SHARDS
    assert segloop(*words(tmp_path / "run", "--method", "lost.py:mix")).exit_code == 3


def test_what_happens_when_a_run_is_told_to_stop():
    stop, done = Event(), []
    with when(stop.is_set, lambda: done.append(1)):
        stop.set()
        deadline = time.monotonic() + TIMEOUT
        while not done:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert done == [1]
    with when(lambda: False, lambda: done.append(2)):
        pass
    assert done == [1]


def test_an_open_segmenter_cannot_be_sent(source, toy_clip, tmp_path):
    segmenter = Segmenter.from_pretrained(toy_clip, dtype="float32")
    with pytest.raises(OptionError, match="give its Networks instead"):
        label(source, segmenter, ["grass"], tmp_path / "run", crew=Crew(["cpu", "cpu"]))


def test_those_who_help_must_see_and_settle_the_same(tmp_path):
    known = {"settings": {"model_hash": "a", "images_hash": "b"}, "versions": {"torch": "2"}}
    with pytest.raises(MachineError, match="does not see the run's folder"):
        check_there(tmp_path, known)
    (tmp_path / "run.json").write_text(json.dumps(known))
    check_there(tmp_path, known)
    check_agreed(known, known)
    with pytest.raises(MachineError, match="do not agree on weights"):
        check_agreed(known, {**known, "settings": {**known["settings"], "model_hash": "c"}})
    with pytest.raises(MachineError, match="do not agree on versions"):
        check_agreed(known, {**known, "versions": {"torch": "3"}})


# options ---------------------------------------------------------------------------------------------------------


def test_options_of_engines_that_contradict(segloop, words, tmp_path, monkeypatch):
    for options, said in (
        (("--engine", "rya"), "there is no engine 'rya'; did you mean 'ray'?"),
        (("--actors", 2), "--actors came without --engine ray"),
        (("--address", "auto"), "--address came without --engine ray"),
        (("--engine", "ray", "--devices", "2"), "--devices came with --engine ray"),
        (("--device", "cpu", "--devices", "cpu,cpu"), "--device and --devices came together"),
    ):
        assert said in complaint(segloop(*words(tmp_path / "run", *options)))
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "came under torchrun" in complaint(segloop(*words(tmp_path / "run")))
    with pytest.raises(OptionError, match="came under torchrun"):
        crew_of(Engine("ray"))


def test_ray_that_is_missing_or_old(monkeypatch):
    def missing(name: str) -> str:
        raise PackageNotFoundError

    monkeypatch.setattr(joining, "version", missing)
    with pytest.raises(OptionError, match=r"needs Ray Data; pip install 'segloop\[ray\]'"):
        check_ray()
    monkeypatch.setattr(joining, "version", lambda name: "2.53.1")
    with pytest.raises(OptionError, match=r"came with Ray 2\.53\.1, and it takes 2\.54"):
        check_ray()


def test_room_for_actors():
    assert Room(None, 2.0, 0.0).fitting({"CPU": 9.0}) == 4
    assert Room(None, 1.0, 0.5).fitting({"CPU": 9.0, "GPU": 2.0}) == 4
    assert Room(None, 1.0, 1.0).fitting({"CPU": 9.0}) == 0
    assert Room(None, 0.0, 0.0).fitting({"CPU": 9.0}) == 1
    with pytest.raises(OptionError, match="has 2 CPUs and 0 GPUs, too few for 1 actors of 1 CPUs and 1 GPUs"):
        check_room({"CPU": 2.0}, Room(None, 1.0, 1.0))


def test_a_shard_that_loses_its_actor_is_counted():
    ledger = Ledger()
    assert [ledger.begin(3), ledger.begin(4), ledger.begin(3)] == [1, 1, 2]
    ledger.stop()
    assert ledger.begin(5) == 0


# Ray -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ray_cluster():
    """A cluster for all tests of this file, which runs in this process join; the address is for others."""
    pytest.importorskip("ray.data")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_MODE", "RAY_USAGE_STATS_ENABLED"):
            patch.setenv(name, "")  # put back at the end, whatever is set meanwhile
            os.environ.pop(name)
        with joined(None, Room(3, 1.0, 0.0)):
            import ray

            yield ray.get_runtime_context().gcs_address


@pytest.mark.soak
def test_actors_count_the_same(evaluate, ray_cluster, many, tmp_path, one_thread):
    for name, options in (("alone", ()), ("actors", RAY)):
        result = evaluate("--out", tmp_path / name, "--shard", 8, *options, data=many)
        assert result.exit_code == 0, result.output
    assert record_of(tmp_path / "actors") == record_of(tmp_path / "alone")


@pytest.fixture
def member(words, ray_cluster, tmp_path, monkeypatch):
    """Arguments of a process that joins the cluster."""
    monkeypatch.setenv("RAY_ADDRESS", ray_cluster)
    return words(tmp_path / "torn", *RAY)


def test_drivers_that_are_killed(run, member, alone, tmp_path, start):
    """While actors work; then the same command goes on."""
    killed_with(int(np.random.default_rng(26).integers(1, SHARDS - 4)), start(*member), tmp_path / "torn")
    told = run("torn", *RAY, "--json")
    assert results_of(tmp_path / "torn") == alone
    assert json.loads(told.stdout.splitlines()[-1])["event"] == "end"
    last = json.loads((tmp_path / "torn" / "log.json").read_text())["starts"][-1]
    assert last["engine"] == "ray" and "ended" in last


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(30))
def test_drivers_that_are_killed_again_and_again(run, member, alone, tmp_path, start, seed):
    rng = np.random.default_rng(seed)
    if rng.random() < 0.5:
        killed_with(int(rng.integers(0, SHARDS)), start(*member), tmp_path / "torn")
    else:
        killed_at(int(rng.integers(2, 12)), member, tmp_path)
    run("torn", *RAY)
    assert results_of(tmp_path / "torn") == alone


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(30))
def test_leaders_of_helpers_that_are_killed_again_and_again(run, words, alone, tmp_path, start, seed):
    rng = np.random.default_rng(seed)
    shared = words(tmp_path / "torn", "--devices", "cpu,cpu")
    if rng.random() < 0.5:
        killed_with(int(rng.integers(0, SHARDS - 3)), start(*shared), tmp_path / "torn")
    else:
        killed_at(int(rng.integers(2, 30)), shared, tmp_path)
    run("torn")
    assert results_of(tmp_path / "torn") == alone


@pytest.mark.soak
def test_a_cluster_of_its_own_ends_with_sigterm(start, run, words, alone, tmp_path, monkeypatch):
    """Nothing is joined here; photos in hand are finished, and a lost actor's shard is done again."""
    for name in ("RAY_ADDRESS", "RAY_AUTH_TOKEN", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    process = start(*words(tmp_path / "torn", *RAY))
    wait_for(tmp_path / "torn" / "parts", process)
    process.terminate()
    _, stderr = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 128 + signal.SIGTERM, stderr
    assert "the same command goes on" in stderr
    run("torn")
    assert results_of(tmp_path / "torn") == alone


@pytest.mark.soak
def test_two_thousand_scenes(segloop, ray_cluster, one_thread, tmp_path):
    write_scenes(tmp_path / "scenes", 2000, 7, (48, 64))
    for number in range(3):
        (tmp_path / "scenes" / "images" / f"bad-{number}.png").write_bytes(b"no photo")
    sets = [word for one in ("short_side=64", "crop=64", "stride=32") for word in ("--set", one)]
    options = ("--classes-file", tmp_path / "scenes" / "classes.txt", "--clip", "tiny", "--threads", 1, *sets)
    for name, engine in (("alone", ()), ("actors", RAY)):
        told = segloop("label", tmp_path / "scenes" / "images", *options, "--out", tmp_path / name, *engine)
        assert told.exit_code == 3 and "3 photos could not be used" in told.stderr
    assert len((tmp_path / "alone" / "failed.jsonl").read_text().splitlines()) == 3
    assert results_of(tmp_path / "actors") == results_of(tmp_path / "alone")


DEADLY = """
import os

def mix(block):
    if "RAY_JOB_ID" in os.environ:
        os._exit(9)
    return lambda values: values
"""


@pytest.mark.soak
def test_a_shard_that_kills_every_actor_ends_the_run(segloop, words, ray_cluster, tmp_path):
    (tmp_path / "deadly.py").write_text(DEADLY)
    told = segloop(*words(tmp_path / "run", *RAY, "--method", "deadly.py:mix"))
    assert told.exit_code == 1 and "was begun 4 times, and its actor was lost each time" in told.stderr


def killed_with(parts: int, process: subprocess.Popen, folder: Path) -> None:
    """kill -9 when so many shards are done, or when the process has ended."""
    deadline = time.monotonic() + TIMEOUT
    while len(list((folder / "parts").glob("*.jsonl"))) < parts and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.communicate(timeout=TIMEOUT)

"""A COCO file of many photos when the run is stopped in the middle: whole, and never without what was in it."""

import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from command import WORDS, done, left_over
from test_process import TIMEOUT, WAITING, arguments

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="signals of POSIX"),
    pytest.mark.usefixtures("one_thread"),
]

NAMES = ("annotations.coco.json", "annotations.coco-polygons.json")
FORMS = ("--format", "png,coco,coco-polygons")


def listed(path: Path) -> list[str]:
    data = json.loads(path.read_text())
    assert {one["image_id"] for one in data["annotations"]} == {one["id"] for one in data["images"]}
    return [image["file_name"] for image in data["images"]]


@pytest.fixture
def stopped(start, segment, toy_clip, street, tmp_path):
    """A run over b to g on top of one over a, stopped by a signal at the third batch -> (process, what was there)."""

    def run(number: int):
        for name in "abcdefg":
            shutil.copy(street, tmp_path / f"{name}.jpg")
        done(segment("a.jpg", *WORDS, *FORMS))
        before = {name: (tmp_path / "segloop-out" / name).read_bytes() for name in NAMES}
        (tmp_path / "slow.py").write_text(WAITING)
        options = ["--method", "slow.py:mix", "--batch", 2, "--set", "crop=0", *FORMS, "[b-g].jpg"]
        heed = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
        process = start(*arguments(toy_clip, *options), **heed)
        while not (tmp_path / "waiting").exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        process.send_signal(number)
        process.communicate(timeout=TIMEOUT)
        return process, before

    return run


def test_a_killed_run_leaves_the_earlier_file_as_it_was(stopped, segment, tmp_path):
    process, before = stopped(signal.SIGKILL)
    out = tmp_path / "segloop-out"
    assert process.returncode == -signal.SIGKILL
    assert {name: (out / name).read_bytes() for name in NAMES} == before and not left_over(out)
    done(segment("*.jpg", *WORDS, *FORMS))
    for name in NAMES:
        assert listed(out / name) == [f"{letter}.jpg" for letter in "abcdefg"]


def test_ctrl_c_adds_what_was_finished(stopped, tmp_path):
    process, _ = stopped(signal.SIGINT)
    out = tmp_path / "segloop-out"
    assert process.returncode == 130 and not left_over(out)
    for name in NAMES:
        assert listed(out / name) == [f"{letter}.jpg" for letter in "abcde"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")], ids=["ctrl-c", "full"])
@pytest.mark.parametrize("call", ["replace", "writelines"])
def test_stopped_while_the_file_is_written(segment, street, meadow, tmp_path, monkeypatch, error, call):
    done(segment(street, *WORDS, *FORMS))
    out = tmp_path / "segloop-out"
    before = {name: (out / name).read_bytes() for name in NAMES}
    replace = os.replace

    def fail(source, target):
        if Path(target).name in NAMES:
            raise error
        replace(source, target)

    def pieces(*_):
        yield b'{"info": '
        raise error

    if call == "replace":
        monkeypatch.setattr(os, "replace", fail)
    else:
        monkeypatch.setattr("segloop.results.annotations._file", pieces)
    assert segment(meadow, *WORDS, *FORMS).exit_code in (1, 130)
    assert {name: (out / name).read_bytes() for name in NAMES} == before and not left_over(out)

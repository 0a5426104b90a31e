"""The examples of CONTRIBUTING.md work as printed."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from command import WORDS, done, record
from segloop.backbones.families import FAMILIES
from segloop.words.rows import ROWS

TEXT = (Path(__file__).resolve().parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")


def fenced(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


FILES = {block.splitlines()[0].removeprefix("# "): block for block in fenced("python") if block.startswith("# ")}
COMMANDS = [line for block in fenced("bash") for line in block.splitlines() if line.startswith("segloop ")]


@pytest.fixture
def files(tmp_path, photos):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    shutil.copy(photos / "street.jpg", tmp_path / "photo.jpg")


@pytest.mark.parametrize("command", COMMANDS)
def test_commands(segloop, files, command):
    _, *words = shlex.split(command)
    done(segloop(*words, "--clip", "tiny", "--templates", "plain"))


def test_python(files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for block in fenced("python"):
        exec(compile(block, "CONTRIBUTING.md", "exec"), {"__name__": "example"})


def made(name: str, function: str):
    """A function that an example defines."""
    space: dict = {}
    exec(compile(FILES[name], name, "exec"), space)
    return space[function]


def test_a_step_on_text_rows_is_a_row(segment, street, tmp_path, monkeypatch):
    monkeypatch.setitem(ROWS, "centred", made("centred.py", "centred"))
    done(segment(street, *WORDS, "--set", "rows=centred", "--format", "json"))
    assert record(tmp_path / "segloop-out" / "street")["settings"]["rows"] == "centred"


def test_a_family_of_clip_is_a_row(segloop, street, toy_clip, tmp_path, monkeypatch):
    monkeypatch.setitem(FAMILIES, "mine", made("family.py", "open_mine"))
    shutil.copytree(toy_clip, tmp_path / "mine")
    config = json.loads((toy_clip / "config.json").read_text())
    (tmp_path / "mine" / "config.json").write_text(json.dumps({**config, "model_type": "mine"}))
    done(segloop("segment", street, *WORDS, "--clip", "mine", "--templates", "plain", "--format", "json"))
    assert record(tmp_path / "segloop-out" / "street")["settings"]["pixels"]["mean"] == [0.5, 0.5, 0.5]


def test_there_is_something_to_test():
    assert {"idea.py", "tau.py", "centred.py", "family.py"} <= FILES.keys() and len(COMMANDS) >= 3

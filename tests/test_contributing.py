"""The examples of CONTRIBUTING.md work as printed."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from command import done

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


def test_there_is_something_to_test():
    assert {"idea.py", "tau.py"} <= FILES.keys() and len(COMMANDS) >= 3

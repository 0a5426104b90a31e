"""What only a process of its own can show: imports, signals, limits, closed pipes."""

import os
import signal
import time
from pathlib import Path

import pytest
from PIL import Image

from command import WORDS, left_over, record, sentence

resource = pytest.importorskip("resource")  # limits and signals of POSIX

TIMEOUT = 120  # seconds; far more than needed, so that a hanging process fails a test and does not stop the run


def arguments(toy_clip: Path, *others: object) -> list[object]:
    return ["segment", "--clip", toy_clip, "--templates", "plain", *WORDS, *others]


def test_help_imports_no_network(start):
    for command in (["--help"], ["segment", "--help"]):
        process = start(*command, python=("-X", "importtime"))
        stdout, stderr = process.communicate(timeout=TIMEOUT)
        assert process.returncode == 0 and "Usage: " in stdout
        imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in stderr.splitlines()}
        assert "typer" in imported
        assert not imported & {"torch", "transformers", "safetensors", "huggingface_hub", "numpy", "PIL"}


WAITING = """
from pathlib import Path
from time import sleep

calls = []

def mix(block):
    calls.append(1)
    if len(calls) == 3:
        Path("waiting").touch()
        sleep(600)
    return lambda values: values
"""


def test_ctrl_c(start, toy_clip, street, tmp_path):
    for name in "abcdef":
        (tmp_path / f"{name}.jpg").write_bytes(street.read_bytes())
    (tmp_path / "slow.py").write_text(WAITING)
    options = ["--method", "slow.py:mix", "--batch", 2, "--set", "crop=0", "*.jpg"]
    # whoever runs the tests may have told its children to ignore the signal
    heed = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    process = start(*arguments(toy_clip, *options), **heed)
    while not (tmp_path / "waiting").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 130
    assert stderr == "stopped by Ctrl-C; what was finished is kept\n"
    out = tmp_path / "segloop-out"
    assert sorted(path.name for path in out.glob("*.json")) == ["a.json", "b.json", "c.json", "d.json"]
    assert len(list(out.iterdir())) == 13 and not left_over(out)  # three a photo, and done.jsonl
    for name in "abcd":
        assert record(out / name)["source"] == f"{name}.jpg"
        for suffix in (".png", ".overlay.png"):
            Image.open(out / f"{name}{suffix}").load()


def test_disk_full(start, toy_clip, street, tmp_path):
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))  # bytes a file: labels fit, the overlay does not

    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    process = start(*arguments(toy_clip, street), preexec_fn=limit, env=environment)
    _, stderr = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 1
    told = sentence(stderr)
    assert "the disk is full, segloop-out/street.overlay.png was not written" in told and "free some space" in told
    assert os.listdir(tmp_path / "segloop-out") == ["street.png"]
    Image.open(tmp_path / "segloop-out/street.png").load()


@pytest.mark.parametrize("command", ["methods", "methods --json", "segment"])
def test_stdout_closed_early(start, toy_clip, street, command):
    reader, writer = os.pipe()
    os.close(reader)  # as `| head` does after its lines
    given = arguments(toy_clip, street) if command == "segment" else command.split()
    process = start(*given, stdout=writer)
    os.close(writer)
    _, stderr = process.communicate(timeout=TIMEOUT)
    assert (process.returncode, stderr) == (1, "")


def test_a_terminal_that_knows_no_umlauts(start, toy_clip, street, tmp_path):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    options = ["segment", street, "--clip", toy_clip, "--classes", "Straße, Bäume", "--templates", "plain"]
    process = start(*options, env=environment)
    stdout, stderr = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0 and stderr.startswith("'Stra\\xdfe', 'B\\xe4ume' may not be English")
    assert "Stra\\xdfe" in stdout
    assert record(tmp_path / "segloop-out/street")["classes"] == ["Straße", "Bäume"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a disk that is always full")
@pytest.mark.parametrize("command", ["methods", "methods --json", "--help", "--version", "datasets --help"])
def test_a_full_disk_below_stdout_of(start, command):
    with open("/dev/full", "w") as full:
        process = start(*command.split(), stdout=full)
        _, stderr = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 1 and "the disk is full" in sentence(stderr)


def test_streams_that_are_closed(start, toy_clip, street, tmp_path):
    process = start(*arguments(toy_clip, street), preexec_fn=lambda: [os.close(number) for number in (0, 1, 2)])
    process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0
    assert len(os.listdir(tmp_path / "segloop-out")) == 3
    Image.open(tmp_path / "segloop-out/street.png").load()

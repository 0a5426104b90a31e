"""What is shipped: a wheel for any machine that holds all that the code opens."""

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LARGEST = 30 * 10**6  # bytes


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=300)
    (found,) = folder.iterdir()
    return found


def test_it_needs_no_compiler_and_is_small(wheel):
    assert wheel.name.endswith("-py3-none-any.whl")
    assert wheel.stat().st_size < LARGEST


def test_it_holds_every_file_of_the_package(wheel):
    with zipfile.ZipFile(wheel) as archive:
        shipped = {name for name in archive.namelist() if name.startswith("segloop/")}
    listed = subprocess.run(["git", "ls-files", "src/segloop"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert shipped == {name.removeprefix("src/") for name in listed.stdout.splitlines()}


@pytest.mark.soak
def test_the_readme_works_from_an_empty_environment(wheel, tmp_path):
    """Installs torch anew: minutes."""
    place = tmp_path / "env"
    venv.create(place, with_pip=True)
    python = place / "bin/python"
    constraints = ROOT / "constraints.txt"
    subprocess.run([python, "-m", "pip", "install", "-q", "-c", constraints, wheel], check=True)
    photo = ROOT / "examples/scene-1.png"
    words = ["--clip", "tiny", "--classes", "grass, sand, water, red circle|red"]
    others = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([place / "bin/segloop", "segment", photo, *words], cwd=tmp_path, check=True, env=others)
    assert (tmp_path / "segloop-out/scene-1.overlay.png").is_file()

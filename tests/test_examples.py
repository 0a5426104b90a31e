"""Every example runs with the bundled model."""

import runpy
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SCENE = EXAMPLES / "scene-1.png"
ARGUMENTS = {
    "street.py": [SCENE, "tiny"],
    "aerial.py": [SCENE, "0.5", "tiny"],
    "artwork.py": [SCENE, "tiny"],
    "video.py": ["clip.mp4", "tiny"],
    "to_supervision.py": [SCENE, "tiny"],
}


def clip(path: Path) -> None:
    """One second of a scene."""
    scene = np.asarray(Image.open(SCENE).convert("RGB").resize((96, 64)))
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=Fraction(4))
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for _ in range(4):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(scene, format="rgb24")))
        file.mux(stream.encode())


@pytest.mark.parametrize("name", ARGUMENTS)
def test_it_runs(name, tmp_path, monkeypatch, capsys):
    clip(tmp_path / "clip.mp4")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [name, *map(str, ARGUMENTS[name])])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    told = capsys.readouterr().out
    assert "%" in told or "m2" in told or "segloop-out" in told
    for line in told.splitlines():
        if line.startswith("segloop-out"):
            assert (tmp_path / line).is_file()


def test_every_script_is_run_and_listed():
    scripts = {path.name for path in EXAMPLES.glob("*.py")}
    assert scripts == {*ARGUMENTS, "idea.py"}
    listed = (EXAMPLES / "README.md").read_text()
    assert all(f"`{name}`" in listed for name in scripts)


def test_make_demo_shows_what_the_bundled_model_can_read(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main = runpy.run_path(str(EXAMPLES.parent / "tools/demo.py"))["main"]
    main("tiny")
    told = capsys.readouterr().out
    pictures = [Path(line.strip()) for line in told.splitlines() if line.endswith(".overlay.png")]
    assert [path.name for path in pictures] == [f"scene-{n}.overlay.png" for n in (1, 2, 3)]
    assert all(path.is_file() for path in pictures) and "nothing of\nphotographs" in told

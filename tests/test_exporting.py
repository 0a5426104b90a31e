"""`segloop export`: the graph gives the line's cosines, and its runner the line's labels, without torch."""

import ast
import json
import runpy
import sys

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

from command import complaint
from models import pixels, text_rows
from segloop import Segmenter, Vocabulary
from segloop.line import exporting, runner
from segloop.maps import windows
from segloop.scenes.draw import scene
from tolerances import NETWORK, close_but_for_flips

pytestmark = pytest.mark.usefixtures("one_thread")
WORDS = "grass, sand|beach, water, red, brick wall"
SIZE = {"short_side": 96, "crop": 64, "stride": 32, "dtype": "float32"}


@pytest.mark.parametrize("clip", ["toy", pytest.param("tiny", marks=pytest.mark.soak)])
def test_the_runner_gives_the_labels_of_the_line(segloop, toy_clip, tmp_path, monkeypatch, capsys, clip):
    clip = toy_clip if clip == "toy" else clip
    photo = scene(1, (90, 124)).image
    Image.fromarray(photo).save(tmp_path / "scene.png")
    options = ("--clip", clip, "--templates", "plain", "--method", "sclip", "--background")
    sets = [
        f"--set={name}={value}" for name, value in (*SIZE.items(), ("background_threshold", 0.2)) if name != "dtype"
    ]
    done = segloop("export", "served", "--classes", WORDS, *options, *sets)
    assert done.exit_code == 0 and "any number of windows of 64x64" in done.stdout
    source = (tmp_path / "served/run.py").read_text()
    imports = [node for node in ast.walk(ast.parse(source)) if isinstance(node, (ast.Import, ast.ImportFrom))]
    wanted = {getattr(node, "module", None) or node.names[0].name for node in imports}
    assert not any("torch" in name or "segloop" in name for name in wanted) and "from .." not in source

    monkeypatch.setattr(sys, "argv", ["run.py", "scene.png", "--out", "maps", "--threads", "1"])
    runpy.run_path(str(tmp_path / "served/run.py"), run_name="__main__")
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    labels = np.array(Image.open(tmp_path / "maps/scene.png"))
    assert told["photo"] == "scene.png" and abs(sum(told["share"].values()) - 1) < 1e-3 and len(np.unique(labels)) > 2

    words = Vocabulary([*WORDS.split(", ")], background=True, templates="plain")
    segmenter = Segmenter.from_pretrained(clip, method="sclip", background_threshold=0.2, **SIZE)
    expected = segmenter(photo, words)
    assert list(told["share"]) == list(words.classes)
    other = (
        labels != expected.labels.numpy() if isinstance(expected.labels, torch.Tensor) else labels != expected.labels
    )
    probability = segmenter(photo, words, scores=True).scores
    best = np.sort(np.asarray(probability), 0)
    # A label may differ where rounding decides: two classes, or one and the threshold, within what it can move.
    near = (best[-1] - best[-2] < 1e-3) | (np.abs(best[-1] - 0.2) < 1e-3)
    assert not (other & ~near).any() and other.mean() < 0.01

    assert "served is not empty; name another folder, or add --overwrite" in complaint(
        segloop("export", "served", "--classes", WORDS, *options)
    )
    (tmp_path / "served/mine.txt").write_text("")
    told = complaint(segloop("export", "served", "--classes", WORDS, *options, "--overwrite"))
    assert "mine.txt, which is of no export" in told


def test_feedback_too_and_other_words_than_those_of_the_export(toy_clip, tmp_path):
    segmenter = Segmenter.from_pretrained(toy_clip, host="sclip", **SIZE)
    words = Vocabulary(["a", "b"], embeddings=text_rows(2, 16))
    about = exporting.export(segmenter, words, tmp_path / "fed")
    assert not about["any_number_of_windows"] and about["made_by"]["host"] == "sclip"
    x, text = pixels(1, 3, 64, 64), text_rows(5, 16)
    session = onnxruntime.InferenceSession(str(tmp_path / "fed/model.onnx"))
    (found,) = session.run(["cosines"], {"pixels": x.numpy(), "text": text.numpy()})
    expected = segmenter.logits(x, text)
    close_but_for_flips(torch.from_numpy(found), expected, 64)
    assert (
        expected - Segmenter.from_pretrained(toy_clip, method="sclip", **SIZE).logits(x, text)
    ).abs().max() > NETWORK
    exported = runner.Exported(tmp_path / "fed", 1)
    assert np.array_equal(exported.text, text_rows(2, 16).numpy()) and exported.about["classes"] == ["a", "b"]


def test_matrices_of_the_runner_are_those_of_the_line():
    for cells, length in ((4, 9), (7, 3), (1, 5), (6, 6)):
        mine, its = runner.interpolation(cells, length), windows.interpolation(cells, length).numpy()
        assert np.abs(mine - its).max() < 1e-12
    spans = windows.spans(50, 32, 16)
    mine = runner.axis_matrix(spans, (1, 2), 5, 50, 50)
    assert np.abs(mine - windows.axis_matrix(spans, (1, 2), 5, 50).numpy()).max() < 1e-12


def test_what_cannot_be_exported_is_refused(segloop, toy_clip, monkeypatch):
    given = ("--classes", "road, sky", "--clip", toy_clip, "--templates", "plain")
    for options, told in (
        (("--fidelity", "reference"), "reference fidelity"),
        (("--set", "crop=0"), "crop=0 at short_side=64 gives windows of many sizes"),
        (("--set", "pamr_steps=2"), "the runner has no step pamr"),
        (("--dtype", "bfloat16"), "add --device cpu --dtype float32"),
        (("--method", "lposs", "--vision", "x"), "x"),
        (("--format", "tflite"), "there is no format 'tflite'"),
    ):
        assert told in complaint(segloop("export", "DIR", *given, *options))

    def fails(*given):
        raise RuntimeError("an operator that is not there\nand more")

    monkeypatch.setattr(exporting, "write_down", fails)
    told = complaint(segloop("export", "DIR", *given, "--method", "qq"))
    assert "method qq cannot be written as ONNX (RuntimeError: an operator that is not there)" in told

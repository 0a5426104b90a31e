"""A guide of your own: `--vision FILE.py:function`, windows in, features of a grid out."""

import json

import pytest
import torch

from command import WORDS, complaint, done, record, sentence
from segloop import Segmenter
from segloop.attention.operators import proxy_weights

COLOURS = """
import torch.nn.functional as F
from size import SIDE

def features(pixels):
    return F.avg_pool2d(pixels, SIDE).movedim(1, -1)
"""
PLACE = "guide.py:features"
PROXY = ("--method", "proxyclip", "--vision", PLACE)


@pytest.fixture
def guide(tmp_path, monkeypatch):
    """Writes guide.py, and size.py that it may import."""
    monkeypatch.chdir(tmp_path)

    def write(text: str = COLOURS, side: int = 8) -> None:
        (tmp_path / "guide.py").write_text(text)
        (tmp_path / "size.py").write_text(f"SIDE = {side}\n")

    return write


def body(expression: str) -> str:
    return f"import torch\nimport torch.nn.functional as F\n\ndef features(pixels):\n    return {expression}\n"


def logits(toy_clip, **choice):
    coarse = torch.randn(2, 3, 8, 6, generator=torch.Generator().manual_seed(0))
    pixels = coarse.repeat_interleave(8, 2).repeat_interleave(8, 3)
    return Segmenter.from_pretrained(toy_clip, dtype="float32", **choice).logits(pixels, torch.eye(16)[:3])


def test_proxyclip_is_lent_the_likeness_of_its_features(toy_clip, guide):
    def proxy(block):
        """ProxyCLIP on CLIP's own grid, written out."""
        weights = proxy_weights(block.guide)

        def mix(values):
            patches = torch.einsum("bij,bhjd->bhid", weights, values[:, :, 1:])
            return torch.cat([values[:, :, :1], patches], 2)

        return mix

    guide()
    found = logits(toy_clip, method="proxyclip", vision=PLACE)
    assert found.shape == (2, 3, 8, 6)
    torch.testing.assert_close(found, logits(toy_clip, method=proxy, vision=PLACE), atol=1e-5, rtol=0)
    assert not found.allclose(logits(toy_clip, method="maskclip"), atol=1e-3)


def test_features_that_are_all_alike_leave_every_patch_its_own(toy_clip, guide):
    guide(body("torch.ones(len(pixels), 8, 6, 5)"))
    found, plain = logits(toy_clip, method="proxyclip", vision=PLACE), logits(toy_clip, method="maskclip")
    torch.testing.assert_close(found, plain, atol=1e-5, rtol=0)


@pytest.mark.parametrize("side", [4, 16])
def test_its_grid_is_the_working_grid(toy_clip, guide, side):
    guide(side=side)
    assert logits(toy_clip, method="proxyclip", vision=PLACE).shape == (2, 3, 64 // side, 48 // side)
    assert logits(toy_clip, method="sfp", host="proxyclip", vision=PLACE, detector="none", **LAYERS).isfinite().all()
    assert logits(toy_clip, host="proxyclip", vision=PLACE).isfinite().all()


LAYERS = {"similarity_layer": 1 / 3, "detail_layer": 1 / 3, "state_layers": (2 / 3,)}


def test_it_is_recorded_and_hashed(evaluate, segment, street, guide, tmp_path):
    guide()
    done(segment(street, *WORDS, *PROXY))
    assert record(tmp_path / "segloop-out/street")["settings"]["vision"] == PLACE
    options = ("--limit", 2, *PROXY, "--out", "run")
    assert evaluate(*options).exit_code == 0
    settings = json.loads((tmp_path / "run" / "run.json").read_text())["settings"]
    assert list(settings["vision_code"]) == ["guide.py", "size.py"] and "code" not in settings
    assert settings["vision"] == PLACE and "vision_hash" not in settings
    assert "holds this run, done" in evaluate(*options).stderr
    guide(side=4)
    told = evaluate(*options)
    assert told.exit_code == 2
    assert "other code of your guide (size.py)" in sentence(told.stderr.splitlines()[-1])


WRONG = {
    "F.avg_pool2d(pixels, 8)": ("made features (", "return (B, rows, columns, C), channels last"),
    "F.avg_pool2d(pixels, 8).repeat(1, 200, 1, 1)": ("made features (", "channels last"),
    "pixels[0]": ("made features (", "channels last"),
    "pixels.numpy()": ("guide guide.py:features made ndarray", "return a tensor"),
    "pixels.movedim(1, -1) / 0": ("complex or not finite", "mend it"),
    "pixels @ pixels[:, :, :5]": ("guide guide.py:features fails (RuntimeError", "--debug"),
}


@pytest.mark.parametrize("expression", WRONG, ids=range(len(WRONG)))
def test_what_it_does_wrong_is_told_as_its_fault(segment, street, guide, expression):
    guide(body(expression))
    told = complaint(segment(street, *WORDS, *PROXY))
    assert all(words in told for words in WRONG[expression]), told


def test_a_place_that_is_none(segment, street, guide):
    guide()
    for place, words in (
        ("missing.py:features", "there is no file 'missing.py' for vision"),
        ("guide.py", "names no function; write guide.py:function"),
        ("guide.py:feature", "did you mean 'features'"),
    ):
        assert words in complaint(segment(street, *WORDS, "--method", "proxyclip", "--vision", place))
    told = complaint(segment(street, *WORDS, *PROXY, "--set", "vision_feature=k"))
    assert "a guide of your own has no feature 'k'" in told

"""The recipe of `tiny-clip8`: what captions claim, which are true, the loss, and the class token's short way."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tolerances import U

TOOLS = Path(__file__).resolve().parents[1] / "tools"
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module", autouse=True)
def tools():
    """Tools are scripts, not a package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TOOLS))
        yield
        for name in ("scene_words", "train_clip8", "clip8_watch"):
            sys.modules.pop(name, None)


THINGS = (("sand",), ("water",), ("red", "circle"), ("blue", "star"))


def test_what_is_true_of_a_picture():
    from scene_words import truth

    claims = [(("sand",),), (("red",), ("star",)), (("red", "star"),), (("sand",), ("snow",))]
    seen = [THINGS, (("snow",), ("sand",), ("red", "star"))]
    assert truth(claims, seen).tolist() == [[True, True], [True, True], [False, True], [False, True]]


def test_captions_say_what_they_claim_and_are_true():
    from scene_words import Narrator, truth

    narrator = Narrator(np.random.default_rng(3))
    for _ in range(200):
        text, claims = narrator.tell(THINGS)
        assert truth([claims], [THINGS]).all()
        colours = [word for claim in claims for word in claim if word in ("red", "blue")]
        assert all(colour in text for colour in colours)


def test_a_twist_differs_in_a_word_or_changes_two_shapes_about():
    from scene_words import Narrator, truth

    narrator = Narrator(np.random.default_rng(4))
    claims = (("sand",), ("red", "circle"), ("blue", "star"))
    swapped = 0
    for _ in range(200):
        _, twisted = narrator.twist(claims)
        before, after = ([word for claim in part for word in claim] for part in (claims, twisted))
        different = sum(one != other for one, other in zip(before, after, strict=True))
        swapped += different == 2
        assert different == 1 or twisted == (("sand",), ("red", "star"), ("blue", "circle"))
        assert not truth([twisted], [claims]).any()
    assert 0 < swapped < 200


def test_pictures_show_their_things():
    from scene_words import bold, single, view, whole

    for kind in (whole, bold, single):
        picture = kind(5, 104)
        again = kind(5, 104)
        assert (picture.pixels == again.pixels).all() and picture.things == again.things
        assert picture.pixels.shape == (104, 104, 3)
        assert view(np.random.default_rng(0), picture, 80).shape == (80, 80, 3)
    picture = single(5, 104)
    ground, thing = picture.things
    assert len(ground) == 1 and thing[0] == "red"
    red, green, blue = np.moveaxis(picture.pixels.astype(int), 2, 0)
    assert ((red > 180) & (green < 80) & (blue < 80)).mean() > 0.05  # it was painted before the picture became bytes


def test_contrast_is_the_mean_over_true_pairs_against_false_ones():
    from train_clip8 import contrast

    logits = torch.randn(3, 4)
    true = torch.tensor([[1, 0, 1, 0], [0, 1, 0, 0], [1, 1, 1, 1]], dtype=torch.bool)
    rows = []
    for z, a in zip(logits.double(), true, strict=True):
        false = z[~a].exp().sum()
        rows.append(torch.stack([-(one.exp() / (one.exp() + false)).log() for one in z[a]]).mean())
    assert abs(contrast(logits, true) - torch.stack(rows).mean()) <= 50 * U[torch.float32]


def test_class_token_is_that_of_the_whole_tower(monkeypatch):
    import train_clip8
    from tiny_captions import build_tokenizer

    monkeypatch.setattr(train_clip8, "DEPTH", 2)
    monkeypatch.setattr(train_clip8, "RESET", 0.0)
    model = train_clip8.build_model(build_tokenizer()).eval()
    pixels = torch.randn(2, 3, 80, 80)
    with torch.inference_mode():
        whole = model.vision_model(pixels).pooler_output
        expected = F.normalize(model.visual_projection(whole), dim=-1)
        assert (train_clip8.class_token(model, pixels) - expected).abs().max() <= 2000 * U[torch.float32]
        monkeypatch.setattr(train_clip8, "RESET", 1.0)
        assert (train_clip8.class_token(model, pixels) - expected).abs().max() > 1e-3

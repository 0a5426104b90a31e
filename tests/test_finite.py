"""Networks that give no numbers end with an error that names weights or precision, never with a map or a figure."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import models
from command import WORDS, complaint
from segloop import Segmenter, Vocabulary
from segloop.attention.purify import SFP
from segloop.backbones.finite import sound, unsound
from segloop.errors import ModelError, OptionError, UserError

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = {"short_side": 64, "crop": 64, "stride": 64}
LAST = "vision_model.encoder.layers.2"
PLACES = [
    "vision_model.embeddings.patch_embedding.weight",
    "vision_model.embeddings.position_embedding.weight",
    "vision_model.encoder.layers.0.mlp.fc1.weight",
    f"{LAST}.self_attn.v_proj.weight",
    f"{LAST}.self_attn.out_proj.weight",
    "vision_model.post_layernorm.weight",
    "visual_projection.weight",
]


@pytest.fixture
def spoil(toy_clip, tmp_path):
    """A copy of the toy model with one weight changed: spoil(name of a weight, change of it in place)."""

    def write(name: str, change, source: Path = toy_clip) -> Path:
        folder = Path(shutil.copytree(source, tmp_path / f"spoilt-{len([*tmp_path.iterdir()])}"))
        weights = load_file(folder / "model.safetensors")
        chosen = [key for key in weights if key.startswith(name)]
        assert chosen
        for key in chosen:
            change(weights[key])
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        return folder

    return write


def one(value: float):
    """Set a single number of a weight."""
    return lambda weight: weight.view(-1)[-1:].fill_(value)


def opened(folder: Path, method: str = "sclip", **how):
    return Segmenter.from_pretrained(folder, method=method, **{"dtype": "float32"} | SMALL | how)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", PLACES)
def test_one_bad_weight_in_python(spoil, street, place, value):
    segmenter = opened(spoil(place, one(value)))
    pixels, text = models.pixels(1, 3, 64, 64), models.text_rows(3, 16)
    words = Vocabulary(["road", "sky"], embeddings=models.text_rows(2, 16))
    for call in (
        lambda: segmenter.logits(pixels, text),
        lambda: segmenter.cosines(street, words),
        lambda: segmenter(street, words),
    ):
        with pytest.raises(ModelError, match=f"1 of its weights hold NaN or infinity, first {place}; fetch it again"):
            call()


@pytest.mark.parametrize("method", ["clip", "maskclip", "naclip", "sfp", "sc-clip", "proxyclip", "fsa", "qq+kk"])
def test_every_method_says_it(spoil, street, tmp_path, method):
    guide = {"vision": models.folder(tmp_path, "dino")} if method in ("proxyclip", "fsa") else {}
    segmenter = opened(spoil("vision_model.encoder.layers.1.mlp.fc2.bias", one(np.nan)), method, **guide)
    with pytest.raises(ModelError, match="hold NaN or infinity"):
        segmenter(street, Vocabulary(["road", "sky"], embeddings=models.text_rows(2, 16)))


@pytest.mark.parametrize("detector", ["som", "l2", "lof", "lof-textbook", "dbscan", "attention", "none"])
@pytest.mark.parametrize("repair", ["once", "each"])
def test_every_detector_says_it(spoil, street, detector, repair):
    folder = spoil("vision_model.encoder.layers.0.mlp.fc2.bias", one(np.nan))
    segmenter = opened(folder, purify=SFP(detector=detector, repair=repair), method="sfp")
    with pytest.raises(ModelError, match="hold NaN or infinity"):
        segmenter(street, Vocabulary(["road", "sky"], embeddings=models.text_rows(2, 16)))


def test_zeros_give_no_map(spoil, street):
    words = Vocabulary(["road", "sky"], embeddings=models.text_rows(2, 16))
    with pytest.raises(ModelError, match="nothing but zeros: all its weights are zero"):
        opened(spoil("vis", torch.Tensor.zero_))(street, words)
    with pytest.raises(ModelError, match="nothing but zeros"):
        opened(spoil("visual_projection", torch.Tensor.zero_))(street, words)


def test_an_overflow_names_the_precision(spoil, street):
    words = Vocabulary(["road", "sky"], embeddings=models.text_rows(2, 16))
    folder = spoil("visual_projection.weight", lambda weight: weight.mul_(3e4))
    opened(folder)(street, words)  # in float32 that is only another scale
    with pytest.raises(ModelError, match=r"they overflow in float16; use --dtype float32 \(in Python dtype"):
        opened(folder, dtype="float16")(street, words)


def test_weights_that_fit_no_half(spoil, street):
    words = Vocabulary(["road", "sky"], embeddings=models.text_rows(2, 16))
    folder = spoil("visual_projection.weight", lambda weight: weight.mul_(1e6))
    opened(folder)(street, words)
    with pytest.raises(ModelError, match="overflow in float16"):
        opened(folder, dtype="float16")(street, words)


def test_a_guide_is_named(spoil, toy_clip, street, tmp_path):
    words = Vocabulary(["road", "sky"], embeddings=models.text_rows(2, 16))
    source = models.folder(tmp_path, "dino")
    for value in (np.nan, np.inf):
        guide = spoil("encoder.layer.1.intermediate.dense.weight", one(value), source)
        with pytest.raises(ModelError, match=f"model '{guide}' gives values that are not finite.*first layers.1.mlp"):
            opened(toy_clip, "proxyclip", vision=guide)(street, words)
    with pytest.raises(ModelError, match="all its weights are zero"):
        opened(toy_clip, "proxyclip", vision=spoil("", torch.Tensor.zero_, source))(street, words)


@pytest.mark.parametrize(
    ("number", "error", "words"),
    [
        (torch.nan, OptionError, "attention test_finite:attention made NaN or infinity of finite values; mend it"),
        (3e38, ModelError, "with an attention of your own, see that it gives numbers"),  # overflows behind it
    ],
)
def test_one_window_is_enough(toy_clip, street, number, error, words):
    def attention(block):
        def mix(values):
            mixed = values.clone()
            mixed[-1, 0, -1, 0] = number  # one number of the last window
            return mixed

        return mix

    classes = Vocabulary(["road", "sky"], embeddings=models.text_rows(2, 16))
    with pytest.raises(error, match=words):
        opened(toy_clip, attention, crop=32, stride=16)(street, classes)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_text_rows_and_pixels_are_not_blamed_on_the_model(toy_clip, value):
    segmenter = opened(toy_clip)
    pixels, text = models.pixels(2, 3, 64, 64), models.text_rows(3, 16)
    text[1, 3] = value
    with pytest.raises(UserError, match="text row 1 is not made of finite numbers"):
        segmenter.logits(pixels, text)
    pixels[1, 0, 5, 5] = value
    with pytest.raises(UserError, match="the pixels are not all finite numbers"):
        segmenter.logits(pixels, models.text_rows(3, 16))


def test_no_windows_are_no_fault(toy_clip):
    assert opened(toy_clip).logits(torch.empty(0, 3, 64, 64), models.text_rows(3, 16)).shape == (0, 3, 8, 8)


# the command line ------------------------------------------------------------------------------------------------


@pytest.fixture
def nan_model(spoil) -> Path:
    return spoil("vision_model.encoder.layers.1.self_attn.q_proj.weight", one(np.nan))


def test_segment_and_inspect(segloop, street, meadow, nan_model, tmp_path):
    for command in ("segment", "inspect"):
        told = complaint(segloop(command, street, *WORDS, "--clip", nan_model, "--templates", "plain"))
        assert "gives values that are not finite" in told and "fetch it again" in told
    result = segloop("segment", street, meadow, *WORDS, "--clip", nan_model, "--templates", "plain")
    assert "not finite" in complaint(result)  # the model is wrong for every photo: nothing goes on
    assert not [*tmp_path.rglob("*.overlay.png")]


@pytest.mark.parametrize("more", [[], ["--devices", "cpu,cpu"], ["--fsa", "off,on", "--methods", "sclip,naclip"]])
def test_evaluate_gives_no_figure(evaluate, nan_model, tmp_path, more):
    named = [] if "--methods" in more else ["--method", "sclip"]
    result = evaluate("--out", "run", "--clip", nan_model, *named, *more)
    assert result.exit_code == 2, result.output
    assert "not finite" in result.stderr and "run the same command again" not in result.stderr
    assert not any("metrics" in json.loads(record.read_text()) for record in tmp_path.rglob("run.json"))


def test_text_that_has_no_direction(segloop, street, spoil):
    bad = spoil("text_model.encoder.layers.0.mlp.fc1.weight", one(np.nan))
    told = complaint(segloop("segment", street, *WORDS, "--clip", bad, "--templates", "plain"))
    assert "no finite direction for 'road'" in told and "text weights" in told


def test_one_template_is_enough():
    from segloop.words.embeddings import embed

    class Overflowing:
        fingerprint = "f" * 64

        def tokens_cut(self, texts):
            return [0] * len(texts)

        def encode_text(self, texts):
            rows = models.text_rows(len(texts), 6)
            rows[1] *= 1e30  # its norm is infinite, and its unit row would be all zeros
            return rows

    with pytest.raises(ModelError, match="no finite direction for 'car'"):
        embed(Vocabulary(["car"]), Overflowing())


def test_kept_cosines_that_are_no_numbers(segloop, evaluate, drawn, tmp_path):
    assert evaluate("--out", "run", "--method", "sclip", "--scores", "--limit", 3).exit_code == 0
    place = sorted((tmp_path / "run/scores").rglob("*.npz"))[0]
    with np.load(place) as kept:
        arrays = dict(kept)
    arrays["tiles"][0, 0, 0, 0] = np.nan
    np.savez(place, **arrays)
    result = segloop("evaluate", "--from-scores", "run", "--data", drawn, "--out", "anew", "--set", "logit_scale=30")
    assert result.exit_code == 3
    (line,) = (tmp_path / "anew/failed.jsonl").read_text().splitlines()
    assert "not finite" in json.loads(line)["error"]


# the sum itself --------------------------------------------------------------------------------------------------


def test_what_is_sound():
    fine = torch.ones(4)
    assert sound(fine.amin(), fine, -fine)
    for value in (torch.nan, torch.inf, -torch.inf):
        for bad in (torch.tensor([1.0, value]), torch.tensor([value, -value])):
            assert not sound(fine.amin(), fine, bad)
    assert not sound(torch.tensor(0.0), fine) and not sound(torch.tensor(torch.nan), fine)


def test_infinite_weights_of_a_half_may_be_the_precision():
    weights = {"a": torch.tensor([torch.inf], dtype=torch.float16), "b": torch.ones(1, dtype=torch.float16)}
    assert "overflow in float16" in str(unsound("x", weights, torch.float16))
    assert "1 of its weights hold NaN" in str(unsound("x", {"a": weights["a"].float()}, torch.float32))
    assert "1 of its weights hold NaN" in str(unsound("x", {"a": weights["a"] * 0}, torch.float16))

"""The straight line as a whole: what goes in, what comes out, and what must not matter."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from segloop import Segmentation, Segmenter, Vocabulary
from segloop.choice.methods import METHODS
from segloop.errors import ImageError, OptionError, UserError
from tolerances import NETWORK, U

WORDS = ["road", "car | automobile", "sky"]
HOSTS = [name for name in METHODS if not METHODS[name].host] + ["qq+kk+vv"]


def rows(count: int, width: int = 16, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(count, width, generator=torch.Generator().manual_seed(seed)), dim=-1)


def given(count: int, **options) -> Vocabulary:
    return Vocabulary([f"class {i}" for i in range(count)], embeddings=rows(count), **options)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


@pytest.fixture(scope="module")
def plain(toy_clip):
    return Segmenter.from_pretrained(toy_clip, dtype="float32")


def test_words_become_a_map(plain, street):
    result = plain(street, WORDS)
    assert isinstance(result, Segmentation)
    assert result.labels.shape == (96, 128)
    assert result.labels.dtype == np.int64
    assert result.classes == ["road", "car", "sky"]
    assert sum(result.share.values()) == pytest.approx(1)
    for number, name in enumerate(result.classes):
        assert result.share[name] == (result.labels == number).mean()
        assert (result.confidence[name] is None) == (result.share[name] == 0)
    assert result.scores is None
    assert result.source == str(street)


def test_every_kind_of_photo_gives_the_same(plain, meadow):
    pixels = np.asarray(Image.open(meadow).convert("RGB"))
    tensor = torch.from_numpy(pixels.copy()).permute(2, 0, 1)
    expected = plain(meadow, WORDS)
    for photo in (str(meadow), Image.open(meadow), pixels, tensor, tensor / 255):
        np.testing.assert_array_equal(plain(photo, WORDS).labels, expected.labels)


@pytest.mark.parametrize("method", HOSTS)
def test_photos_together_equal_photos_alone(toy_clip, method):
    photos = [picture(64, 100, 1), picture(64, 100, 2), picture(90, 64, 3), picture(30, 31, 4)]
    vocabulary = given(5)
    alone = Segmenter.from_pretrained(toy_clip, method=method, dtype="float32", batch=1, crop=48, stride=16)
    together = Segmenter.from_pretrained(toy_clip, method=method, dtype="float32", batch=64, crop=48, stride=16)
    tolerance = alone.plan.deciding.logit_scale / 2 * NETWORK  # softmax: a slope of 1/4, between two that move apart
    for photo, result in zip(photos, together(photos, vocabulary, scores=True), strict=True):
        single = alone(photo, vocabulary, scores=True)
        np.testing.assert_allclose(result.scores, single.scores, rtol=0, atol=tolerance)
        second, first = np.sort(single.scores, 0)[-2:]
        assert (result.labels == single.labels)[first - second > 2 * tolerance].all()


def test_labels_are_decided_from_cosines(toy_clip):
    segmenter = Segmenter.from_pretrained(toy_clip, dtype="float32", crop=48, stride=24, pamr_steps=2)
    photo, vocabulary = picture(70, 90), given(4)
    cosines = segmenter.cosines(photo, vocabulary)
    assert cosines.shape == (4, 70, 90)
    result = segmenter(photo, vocabulary, scores=True)
    scale = segmenter.plan.deciding.logit_scale
    probability = (cosines * scale).softmax(0)
    tolerance = 2 * scale * U[torch.float32]  # the exponent is rounded twice; softmax halves it
    np.testing.assert_allclose(result.scores, probability.numpy(), rtol=0, atol=tolerance)
    first, second = probability.topk(2, dim=0).values
    certain = (first - second > 2 * tolerance).numpy()
    np.testing.assert_array_equal(result.labels[certain], probability.argmax(0).numpy()[certain])


@pytest.mark.parametrize("size", [(1, 1), (3, 2000), (2000, 3), (7, 7), (65, 64)])
@pytest.mark.parametrize("crop", [0, 64])
def test_any_shape_of_photo(toy_clip, size, crop):
    segmenter = Segmenter.from_pretrained(toy_clip, crop=crop, long_side=256, short_side=64, pamr_steps=1)
    result = segmenter(picture(*size), given(3), scores=True)
    assert result.labels.shape == size
    assert np.isfinite(result.scores).all()


def test_a_flat_photo_is_finite_with_every_method(toy_clip):
    for method in HOSTS:
        segmenter = Segmenter.from_pretrained(toy_clip, method=method)
        assert np.isfinite(segmenter(np.full((64, 64, 3), 90, np.uint8), given(3), scores=True).scores).all()


def test_clip_is_the_librarys_own(toy_clip):
    """The vanilla method, residual and MLP kept, is transformers' CLIP where its positions are as trained."""
    segmenter = Segmenter.from_pretrained(toy_clip, method="clip", fidelity="reference")
    model, pixels, text = segmenter.clip.model, torch.randn(2, 3, 64, 64), rows(5)
    with torch.no_grad():
        tokens = model.vision_model(pixels).last_hidden_state[:, 1:]
        features = F.normalize(model.visual_projection(model.vision_model.post_layernorm(tokens)), dim=-1)
    expected = (features @ text.T).mT.unflatten(-1, (8, 8))
    torch.testing.assert_close(segmenter.logits(pixels, text), expected, rtol=0, atol=NETWORK)


def test_default_positions_are_the_librarys_on_rectangles(toy_clip):
    segmenter = Segmenter.from_pretrained(toy_clip, method="clip", dtype="float32")
    model, pixels, text = segmenter.clip.model, torch.randn(1, 3, 48, 88), rows(5)
    with torch.no_grad():
        tokens = model.vision_model(pixels, interpolate_pos_encoding=True).last_hidden_state[:, 1:]
        features = F.normalize(model.visual_projection(model.vision_model.post_layernorm(tokens)), dim=-1)
    expected = (features @ text.T).mT.unflatten(-1, (6, 11))
    torch.testing.assert_close(segmenter.logits(pixels, text), expected, rtol=0, atol=NETWORK)


def test_nothing_is_left_on_the_model(toy_clip, street):
    segmenter = Segmenter.from_pretrained(toy_clip, dtype="float32")
    before = {name: value.clone() for name, value in segmenter.clip.model.state_dict().items()}
    segmenter(street, WORDS)
    for module in segmenter.clip.model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
    for name, value in segmenter.clip.model.state_dict().items():
        assert torch.equal(value, before[name])


def test_results_may_be_worked_on(plain):
    """Tensors of inference mode would refuse this."""
    logits = plain.logits(torch.randn(1, 3, 64, 64), rows(2))
    logits.add_(1).requires_grad_().sum().backward()


def test_background_catches_the_rest(plain, street):
    result = plain(street, Vocabulary(["car"], background=True))
    assert result.classes == ["background", "car"]
    assert result.labels.max() <= 1


def test_half_precision_agrees_with_float32():
    """99 % of the pixels (design 4), on the bundled model, whose decisions are not coin tosses."""
    words = ["grass", "sand", "water", "red circle | red"]
    scene = Path(__file__).resolve().parents[1] / "examples" / "scene-1.png"
    exact, half = (Segmenter.from_pretrained("tiny", dtype=kind)(scene, words) for kind in ("float32", "bfloat16"))
    assert (exact.labels == half.labels).mean() > 0.99
    assert set(exact.labels[::16, ::16].flatten()) == {0, 1, 2, 3}


def test_your_own_attention(toy_clip, street):
    from segloop.attention.operators import product

    def mine(block):
        assert block.has_class_token
        assert block.guide is None
        assert block.q.shape[2] == block.grid[0] * block.grid[1] + 1
        return product("qq")(block)

    own = Segmenter.from_pretrained(toy_clip, method=mine, dtype="float32")
    typed = Segmenter.from_pretrained(toy_clip, method="qq", dtype="float32")
    np.testing.assert_array_equal(own(street, WORDS).labels, typed(street, WORDS).labels)
    assert own(street, WORDS).settings["method"].endswith(":mine")


def test_a_segmenter_shows_its_constants_and_opens_in_silence(toy_clip, capfd):
    """In Python, where nobody has quietened the library, a bar would fill the notebook."""
    from transformers.utils import logging

    def tau(block, *, tau=1.0, kind="point"):
        return lambda values: tau * values

    before = logging.is_progress_bar_enabled()
    logging.enable_progress_bar()
    try:
        opened = [Segmenter.from_pretrained(toy_clip, method=tau, tau=value) for value in (1, 0.25)]
        assert logging.is_progress_bar_enabled()
    finally:
        if not before:
            logging.disable_progress_bar()
    assert capfd.readouterr() == ("", "")
    shown = [repr(one).partition(",")[0] for one in opened]
    assert shown[0].endswith(":tau") and shown[1] == f"{shown[0]} tau=0.25"
    fed = Segmenter.from_pretrained(toy_clip, host="naclip", sigma=2)
    assert "fsa on naclip sigma=2.0, fidelity default" in repr(fed)


def test_words_come_as_they_are_everywhere(plain):
    rows = plain.text(["road", "sky"])
    assert rows.shape == (2, 16) and plain.encoded(["road", "sky"]).embeddings.equal(rows)
    with pytest.raises(UserError, match=r"pixels came as ndarray; give a tensor \(B, 3, H, W\)"):
        plain.logits(np.zeros((1, 3, 64, 64), np.float32), rows)


def test_mistakes_are_named(toy_clip, plain, street, tmp_path):
    with pytest.raises(OptionError, match="works by strips"):
        plain.cosines(street, given(5), limit=1000)
    with pytest.raises(OptionError, match="no background class, which background_threshold and area_threshold need;"):
        Segmenter.from_pretrained(toy_clip, recipe="sclip/voc21")(street, WORDS)
    with pytest.raises(UserError, match="give rows of shape"):
        plain.logits(torch.randn(1, 3, 64, 64), rows(2, width=7))
    with pytest.raises(UserError, match="CLIP-normalised"):
        plain.logits(torch.randn(3, 64, 64), rows(2))
    with pytest.raises(UserError, match="no patch"):
        plain.logits(torch.randn(1, 3, 7, 64), rows(2))
    with pytest.raises(OptionError, match="fidelity"):
        Segmenter.from_pretrained(toy_clip, fidelity="exact")
    with pytest.raises(OptionError, match="reference"):
        Segmenter.from_pretrained(toy_clip, fidelity="reference", dtype="bfloat16")
    with pytest.raises(OptionError, match="keeps the shape"):
        Segmenter.from_pretrained(toy_clip, method=lambda block: lambda v: v[:, :, :-1])(street, WORDS)
    with pytest.raises(ImageError, match="no file"):
        plain([street, tmp_path / "missing.jpg"], WORDS)


def test_a_bad_photo_of_many_is_told_and_skipped(plain, street, meadow, tmp_path):
    told = []
    photos = [street, tmp_path / "missing.jpg", meadow]
    results = list(plain.stream(photos, WORDS, on_error=lambda photo, error: told.append((photo, error.remedy))))
    assert [result.source for result in results] == [str(street), str(meadow)]
    assert told == [(photos[1], "check the path")]


def test_a_benchmark_list_brings_its_background(toy_clip, street):
    vocabulary = Vocabulary.benchmark("voc21", "clear", templates="plain")
    result = Segmenter.from_pretrained(toy_clip, recipe="sclip/voc21", short_side=64, dtype="float32")(
        street, vocabulary
    )
    assert result.classes[4] == "boat"
    assert result.settings["vocabulary"] == "voc21/clear"


MEMORY = """
import sys
import numpy as np, torch
from segloop import Segmenter, Vocabulary
queries, height, width, steps = map(int, sys.argv[2:])
rows = torch.nn.functional.normalize(torch.randn(queries, 16), dim=-1)
words = Vocabulary([f"class {i}" for i in range(queries)], embeddings=rows)
image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
Segmenter.from_pretrained(sys.argv[1], pamr_steps=steps, dtype="float32")(image, words)
lines = open("/proc/self/status").read().splitlines()
print(next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM")))
"""


def peak_mib(model: Path, queries: int, height: int, width: int, steps: int) -> int:
    arguments = [str(model), *map(str, (queries, height, width, steps))]
    done = subprocess.run([sys.executable, "-c", MEMORY, *arguments], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the kernel's own count of memory")
def test_many_classes_take_no_more_memory(toy_clip):
    few, many = (peak_mib(toy_clip, queries, 1000, 1500, 0) for queries in (2, 400))
    assert many - few < 300  # the whole map would be 2,300


@pytest.mark.soak
@pytest.mark.parametrize(("queries", "steps"), [(847, 0), (12, 10)])
def test_twelve_megapixels_stay_under_three_gigabytes(toy_clip, queries, steps):
    """With PAMR, memory does not depend on the number of classes, only time does: twelve stand for 847."""
    assert peak_mib(toy_clip, queries, 3000, 4000, steps) < 3000


def test_one_class_alone_is_told_once(toy_clip, street, meadow):
    segmenter = Segmenter.from_pretrained(toy_clip, dtype="float32")
    with pytest.warns(UserWarning) as caught:
        results = [segmenter(street, ["road"]), segmenter(meadow, ["road | sky"]), *segmenter([street] * 3, ["road"])]
    (told,) = caught
    assert "every pixel becomes 'road', the only class; add --background" in str(told.message)
    assert str(told.message).endswith("name what else there is, between commas")
    assert all(result.share == {"road": 1.0} for result in results)
    assert all(result.confidence["road"] <= 1 for result in results)


@pytest.mark.filterwarnings("error")
def test_a_background_or_a_second_class_is_enough(toy_clip, street):
    segmenter = Segmenter.from_pretrained(toy_clip, dtype="float32")
    segmenter(street, ["road", "sky"])
    segmenter(street, Vocabulary(["road"], background=True, templates="plain"))
    segmenter.cosines(street, ["road"])  # nothing is decided

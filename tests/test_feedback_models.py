"""FSA in whole models: the published stages, the textbook's logits on every host, flat pictures."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

import textbook
from golden import Case, cases
from models import clip_model, folder, pixels, text_rows
from segloop import Segmenter
from segloop.attention.feedback import FSA, class_distribution, kl, prune, sharpen, similarity
from segloop.attention.operators import Shared, proxy_weights
from segloop.errors import OptionError
from segloop.line import stages
from segloop.line.stages import BlockReadout, on_guide_grid
from tolerances import NETWORK, close_but_for_flips

pytestmark = pytest.mark.usefixtures("one_thread")

PRODUCTS = ("qk", "vv", "kv", "qq+kk", "qq+kk+vv")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("reduced")


@pytest.fixture
def opened(root):
    """Segmenter of the reduced B/16, in float32; vision= takes the name of a reduced guide."""

    def load(vision=None, **options) -> Segmenter:
        guide = folder(root, vision) if vision else None
        return Segmenter.from_pretrained(folder(root, "b16"), vision=guide, dtype="float32", **options)

    return load


def within_allowance(found: Tensor, expected: Tensor) -> None:
    close_but_for_flips(found, expected, found.shape[-2:].numel())


# --- stage by stage ---

STAGES = [case for case in cases("A_tensor") if case.manifest["method"] == "fsa" and str(case).endswith("_stages")]


class Stages:
    """A reference case, opened: its arrays as tensors, and what our code makes of its pixels before feedback."""

    def __init__(self, case: Case):
        manifest, self.tolerance = case.manifest, case.manifest["tolerance_stages"]
        self.params = manifest["params"]
        self.arrays = {name: torch.from_numpy(array).float() for name, array in case.arrays.items()}
        models = case.beside("models")
        segmenter = Segmenter.from_pretrained(
            models / manifest["clip"], vision=models / manifest["vision"], fidelity="reference", **self.params
        )
        clip, guide, pixels = segmenter.clip, segmenter.network.guide, self.arrays["pixels"]
        with torch.no_grad():
            x, _ = clip.tokens(pixels)
            block = clip.open_block(x, clip.grid(pixels))
            block = on_guide_grid(replace(block, guide=guide(pixels, self.params["crop"])))
        self.block, self.readout = block, BlockReadout(clip, self.arrays["text"], None, mlp=False)

    def check(self, name: str, found: Tensor) -> None:
        expected = self.arrays[name]
        difference = (found.reshape(expected.shape) - expected).abs().max().item()
        assert difference <= self.tolerance[name], f"{name} is off by {difference}"


@pytest.mark.parametrize("case", STAGES, ids=str)
@torch.no_grad()
def test_every_published_stage(case):
    stages = Stages(case)
    block, readout, arrays, check = stages.block, stages.readout, stages.arrays, stages.check
    weights = proxy_weights(block.guide, stages.params["beta"], stages.params["gamma"])
    check("A", weights)
    check("V", block.v.transpose(1, 2).flatten(2))
    mixed = Shared(weights)(block.v)
    check("Z", mixed.transpose(1, 2).flatten(2))
    check("l", 20 * readout(mixed))
    check("u", 35 * readout(block.v.mean(2, keepdim=True)))
    check("host_logits", readout(mixed).mT)
    # from here on each function gets the published stage before it
    check("P", class_distribution(arrays["l"][None] / 20, arrays["u"][None] / 35, 20, 35))
    divergence = kl(arrays["P"][None], slice(0, len(arrays["P"]))).clamp_min(0)
    check("K", divergence)
    check("s", similarity(arrays["K"].clone()))
    assert stages.tolerance["keep"] == "at most 20 disagreeing entries"
    assert (prune(arrays["s"], 0.45) != arrays["keep"].bool()).sum() <= 20
    check("A_plus", sharpen(arrays["s"], arrays["keep"].bool(), stages.params["lambda_"]))
    fed = FSA(lambda_=stages.params["lambda_"])(Shared(weights), block.v, readout)
    check("output", readout(fed))


# --- whole models against the textbook ---


@torch.no_grad()
def by_textbook(x: Tensor, text: Tensor, host: str, **options) -> Tensor:
    return textbook.logits(clip_model("b16").double(), x.double(), text.double(), host, **options)


@pytest.mark.parametrize("host", [*textbook.HOSTS, *PRODUCTS])
def test_logits_are_the_textbooks_on_every_host(opened, host):
    x, text = pixels(2, 3, 112, 112), text_rows(7)
    plain, fed = opened(method=host).logits(x, text), opened(host=host).logits(x, text)
    torch.testing.assert_close(plain.double(), by_textbook(x, text, host, feedback=False), rtol=0, atol=NETWORK)
    within_allowance(fed, by_textbook(x, text, host))
    assert (fed - plain).abs().mean() > 1e-4


@pytest.mark.parametrize("guide", ["dino", "dinov2", "sam"])
def test_logits_are_the_textbooks_on_proxies(opened, guide):
    x, text = pixels(2, 3, 112, 112), text_rows(7)
    fed = opened(method="fsa", vision=guide, lambda_=2.5)
    features = fed.network.guide(x).double()
    plain = opened(method="proxyclip", vision=guide).logits(x, text)
    within_allowance(plain, by_textbook(x, text, "proxyclip", features=features, feedback=False))
    within_allowance(fed.logits(x, text), by_textbook(x, text, "proxyclip", features=features, lambda_=2.5))


def test_a_typed_product_with_residual_and_mlp_is_sclip(opened):
    x, text = pixels(1, 3, 64, 96), text_rows(5)
    typed = opened(host="qq+kk", residual=True, mlp=True).logits(x, text)
    assert torch.equal(typed, opened(host="sclip").logits(x, text))


@pytest.mark.parametrize("layers", [2, 3])
def test_feedback_in_more_than_the_last_block(opened, layers):
    x, text = pixels(1, 3, 112, 112), text_rows(5)
    for host in ("sclip", "maskclip"):
        found = opened(host=host, feedback_layers=layers).logits(x, text)
        within_allowance(found, by_textbook(x, text, host, layers=layers))
        assert (found - opened(host=host).logits(x, text)).abs().mean() > 1e-4


def test_more_layers_than_there_are(opened):
    with pytest.raises(OptionError, match="has 3 blocks"):
        opened(host="sclip", feedback_layers=4).logits(pixels(1, 3, 112, 112), text_rows(5))


# --- pictures that the releases cannot take ---


@pytest.mark.parametrize("guide", ["dino", "dinov2", "sam", "mae"])
def test_flat_and_half_flat_pictures_are_finite(opened, guide):
    flat = torch.zeros(3, 3, 64, 96)
    flat[1] = 1.7
    flat[2, :, :, 48:] = pixels(3, 64, 48)
    for method in ("proxyclip", "fsa"):
        for text in (text_rows(5), text_rows(1)):
            assert opened(method=method, vision=guide).logits(flat, text).isfinite().all()


def test_features_that_are_all_alike_are_finite(opened):
    x, text = pixels(2, 3, 64, 96), text_rows(5)
    for method in ("proxyclip", "fsa"):
        segmenter = opened(method=method, vision="dino")
        same = replace(segmenter.network, guide=lambda windows, *_: torch.ones(len(windows), 6, 8, 12))
        assert same.logits(x, text).isfinite().all()


def test_windows_that_do_not_fit_together_go_one_by_one(opened, monkeypatch):
    x, text = pixels(3, 3, 64, 96), text_rows(5)
    segmenter = opened(method="fsa", vision="dino")
    together = segmenter.logits(x, text)
    for pairs in (1, 2 * 96**2):
        monkeypatch.setattr(stages, "PAIRS", pairs)
        within_allowance(segmenter.logits(x, text), together)


# --- grids of two networks over one window ---


@pytest.mark.parametrize("clip", ["b16", "l14"])
@pytest.mark.parametrize("guide", ["dino", "dino-b16", "dinov2", "dinov2-plain", "dinov3", "sam", "mae"])
@pytest.mark.parametrize("crop", [0, 84])
def test_both_networks_see_the_whole_window(root, clip, guide, crop):
    """Else one's grid would be stretched over the other's: patches of 14 see 490 of 504 pixels that 16s see."""
    geometry = {"crop": crop, "stride": 42, "short_side": 84}
    opened = Segmenter.from_pretrained(
        folder(root, clip), method="proxyclip", vision=folder(root, guide), dtype="float32", **geometry
    )
    seen, network = {}, opened.network.guide
    for size in ((84, 126), (126, 84), (3, 5), (168, 170)):
        photo = opened.prepare(np.zeros((*size, 3), np.uint8))
        height, width = photo.where.window
        rows, columns = opened.clip.grid(photo.windows)
        assert (rows * opened.clip.patch, columns * opened.clip.patch) == (height, width)
        if not network.adapter.resizes:
            rows, columns = network.grid(photo.windows)
            side = network.model.config.patch_size
            assert (rows * side, columns * side) == (height, width)
        seen[size] = height, width
    if (clip, guide, crop) == ("b16", "dinov2", 0):
        assert seen[84, 126] == (112, 224)
    if (clip, guide) == ("b16", "dino"):
        assert all(side % 16 == 0 and side < 144 for side in seen[84, 126])


def test_reference_keeps_the_releases_padding(root):
    geometry = {"crop": 84, "stride": 42, "short_side": 84}
    opened = Segmenter.from_pretrained(
        folder(root, "b16"), method="fsa", vision=folder(root, "dinov2"), fidelity="reference", **geometry
    )
    assert opened.prepare(np.zeros((84, 126, 3), np.uint8)).where.window == (112, 112)

"""Towers beside CLIP: blocks, heads and texts as the library has them, and every method on rectangles."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import SiglipConfig, SiglipModel, Tipsv2Config, Tipsv2Model

import models
from conftest import toy_tokenizer
from segloop import Segmenter, Vocabulary
from segloop.backbones.families import load_clip
from segloop.errors import ModelError, Notice, OptionError, UserError
from segloop.images import Normalisation
from tolerances import NETWORK

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.filterwarnings("ignore:.*is experimental")]
CPU = torch.device("cpu")
WORDS = ["road", "a Red car"]
PATCH = 8
SIDES = {"hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 3}


def randomised(model):
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for weight in model.parameters():
            spread = 1.2 * weight.shape[-1] ** -0.5 if weight.ndim > 1 else 0.2
            weight.copy_(spread * torch.randn(weight.shape, generator=generator) + (weight.ndim == 1))
    return model.eval().requires_grad_(False)


def siglip(**more):
    text = {**SIDES, "intermediate_size": 64, "vocab_size": len(toy_tokenizer()), "max_position_embeddings": 16}
    vision = {**SIDES, "intermediate_size": 64, "image_size": 64, "patch_size": PATCH, **more}
    return randomised(SiglipModel(SiglipConfig(text_config=text, vision_config=vision)))


def tips(**more):
    text = {**SIDES, "intermediate_size": 64, "vocab_size": len(toy_tokenizer()), "max_position_embeddings": 16}
    vision = {**SIDES, "mlp_ratio": 2, "image_size": 64, "patch_size": PATCH, **more}
    return randomised(Tipsv2Model(Tipsv2Config(text_config=text, vision_config=vision)))


MODELS = {"siglip": siglip, "tips": tips}


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("towers")
    for name, make in MODELS.items():
        make().save_pretrained(root / name)
        toy_tokenizer().save_pretrained(root / name)
    return root


@pytest.fixture
def tower(folders):
    return lambda name: load_clip(str(folders / name), CPU, torch.float32)


def same(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=NETWORK, atol=NETWORK * expected.abs().max().item())


def through(tower, pixels: Tensor) -> Tensor:
    """All blocks: (B, 3, H, W) -> (B, [1+]N, D)."""
    x, kept = tower.tokens(pixels, keep=(0, 1))
    assert torch.equal(tower.run_block(1, kept[0]), kept[1])
    return tower.run_block(tower.depth, x)


@pytest.mark.parametrize("size", [(64, 64), (32, 80)])
def test_siglip_is_the_librarys(tower, size):
    pixels, found, model = models.pixels(2, 3, *size), tower("siglip"), siglip()
    expected = model.vision_model(pixels, interpolate_pos_encoding=True).last_hidden_state
    assert found.grid(pixels) == (size[0] // PATCH, size[1] // PATCH)
    tokens = through(found, pixels)
    same(model.vision_model.post_layernorm(tokens), expected)
    alone = torch.stack([model.vision_model.head(expected[:, [n]]) for n in range(expected.shape[1])], 1)
    same(found.cosines(tokens, torch.eye(32)), F.normalize(alone, dim=-1))


def test_siglip_reads_small_letters_to_the_end_of_its_context(tower):
    found, model, tokenizer = tower("siglip"), siglip(), toy_tokenizer()
    how = {"padding": "max_length", "max_length": 16, "truncation": True, "return_tensors": "pt"}
    ids = tokenizer([word.lower() for word in WORDS], **how)["input_ids"]
    same(found.encode_text(WORDS), model.get_text_features(input_ids=ids).pooler_output)
    assert torch.equal(found.encode_text(WORDS[:1]), found.encode_text(["ROAD"]))
    assert found.tokens_cut(["road", "road " * 30]) == [0, len(tokenizer("road " * 30)["input_ids"]) - 16]
    assert len(found.fingerprint) == 64


@pytest.mark.parametrize("size", [(64, 64), (32, 80)])
def test_tips_is_the_librarys(tower, size):
    pixels, found, model = models.pixels(2, 3, *size), tower("tips"), tips()
    expected = model.vision_model(pixels).last_hidden_state
    assert found.first_patch == 2 and found.grid(pixels) == (size[0] // PATCH, size[1] // PATCH)
    tokens = through(found, pixels)
    same(model.vision_model.layernorm(tokens), expected)
    same(found.cosines(tokens[:, 2:], torch.eye(32)), F.normalize(expected[:, 2:], dim=-1))
    remainder = F.pad(pixels, (0, 5, 0, 7), value=9.0)
    same(found.tokens(remainder)[0], found.tokens(pixels)[0])


def test_tips_takes_the_mean_over_tokens(tower):
    found, model, tokenizer = tower("tips"), tips(), toy_tokenizer()
    how = {"padding": "max_length", "max_length": 16, "truncation": True, "return_tensors": "pt"}
    batch = tokenizer([word.lower() for word in WORDS], **how)
    expected = model.get_text_features(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    same(found.encode_text(WORDS), expected.pooler_output)
    assert torch.equal(found.encode_text(WORDS[:1]), found.encode_text(["ROAD"]))


def test_what_more_class_tokens_forbid(folders, street):
    how = {"crop": 64, "short_side": 64, "stride": 32}
    for asked, words in (
        ({"method": "sfp"}, r"sfp needs one class token, and .*tips has more"),
        ({"host": "naclip", "feedback_layers": 2}, r"feedback_layers=2 needs one class token, and .*tips has more"),
    ):
        segmenter = Segmenter.from_pretrained(folders / "tips", **asked, **how)
        with pytest.raises(OptionError, match=words):
            segmenter(street, Vocabulary(["road", "sky"], templates="plain"))


@pytest.mark.parametrize("name", MODELS)
def test_a_block_opened_and_closed_is_the_block(tower, name):
    found, pixels = tower(name), models.pixels(1, 3, 32, 48)
    x, _ = found.tokens(pixels)
    block = found.open_block(x, found.grid(pixels))
    assert block.v.shape[2] == 24 + block.first_patch
    mixed = F.scaled_dot_product_attention(block.q, block.k, block.v)[:, :, block.first_patch :]
    closed = found.close_block(mixed, x[:, found.first_patch :], mlp=True)
    if found.first_patch == block.first_patch:
        same(closed, found.run_block(found.depth, x)[:, found.first_patch :])
    assert closed.shape == (1, 24, 32)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("asked", [{"method": "clip"}, {"method": "maskclip"}, {"host": "naclip"}, {"host": "qq+kk"}])
def test_methods(folders, street, name, asked):
    segmenter = Segmenter.from_pretrained(folders / name, **asked, crop=64, short_side=64, stride=64)
    scores = segmenter(street, Vocabulary(["road", "sky", "tree"], templates="plain"), scores=True).scores
    assert scores.shape == (3, 96, 128) and np.isfinite(scores).all()
    assert segmenter.clip.size is None


@pytest.mark.parametrize("name", MODELS)
def test_a_guide(folders, street, name, tmp_path_factory):
    guide = models.folder(tmp_path_factory.mktemp("guides"), "dino")
    how = {"host": "proxyclip", "vision": guide, "crop": 0, "short_side": 64}
    segmenter = Segmenter.from_pretrained(folders / name, **how)
    assert segmenter(street, Vocabulary(["road", "sky"], templates="plain")).labels.shape == (96, 128)


@pytest.mark.parametrize("name", MODELS)
def test_rows_and_pixels_that_are_no_numbers_are_told_as_such(folders, name):
    segmenter = Segmenter.from_pretrained(folders / name, method="clip", dtype="float32")
    pixels, text = models.pixels(1, 3, 64, 64), models.text_rows(2, 32)
    bad = text.clone()
    bad[1, 0] = torch.nan
    with pytest.raises(UserError, match="text row 1 is not made of finite numbers"):
        segmenter.logits(pixels, bad)
    with pytest.raises(UserError, match="pixels are not all finite"):
        segmenter.logits(pixels.index_fill(3, torch.tensor([5]), torch.nan), text)


@pytest.mark.parametrize("name", MODELS)
def test_experimental_towers_say_so(folders, name):
    with pytest.warns(Notice, match="is experimental: methods and their constants were made for CLIP"):
        load_clip(str(folders / name), CPU, torch.float32)


def test_pixels_as_they_were_trained_on(tower):
    assert tower("siglip").normalisation == Normalisation((0.5,) * 3, (0.5,) * 3)
    assert tower("tips").normalisation == Normalisation((0.0,) * 3, (1.0,) * 3)


def test_a_siglip_without_its_head(tmp_path):
    siglip(vision_use_head=False).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="without the head that brings patches to the text"):
        load_clip(str(tmp_path), CPU, torch.float32)

"""CLIPs in OpenCLIP's files are the same networks as transformers' with the same weights, bit for bit."""

import json
import pickle
from pathlib import Path

import pytest
import torch
from transformers import CLIPModel

import models
import openclip
from command import WORDS, done
from openclip import OLD, SAFE
from segloop import Segmenter
from segloop.backbones.families import load_clip
from segloop.errors import ModelError
from segloop.images import CLIP, Normalisation

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")
SMALL = (
    "--method",
    "naclip",
    "--templates",
    "plain",
    "--set",
    "short_side=64",
    "--set",
    "crop=64",
    "--set",
    "stride=64",
)
SPLIT = "open_clip_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def toy(toy_clip):
    return CLIPModel.from_pretrained(toy_clip)


@pytest.fixture
def folder(toy, toy_clip, tmp_path) -> Path:
    """The toy CLIP in OpenCLIP's files, with its tokenizer."""
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / file).write_bytes((toy_clip / file).read_bytes())
    return openclip.write(tmp_path, toy)


def opened(folder: object):
    return load_clip(str(folder), CPU, torch.float32)


def told(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        opened(folder).encode_text(["road"])
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", models.BACKBONES)
def test_every_size_is_the_same_network(name, tmp_path):
    model = models.clip_model(name)
    same = opened(openclip.write(tmp_path, model)).model
    wanted = model.state_dict()
    assert same.state_dict().keys() == wanted.keys()
    assert all(torch.equal(weight, wanted[key]) for key, weight in same.state_dict().items())
    towers = (same.config.vision_config, same.config.text_config)
    assert {tower.hidden_act for tower in towers} == {models.BACKBONES[name]["hidden_act"]}
    assert {tower.layer_norm_eps for tower in towers} == {1e-5}
    pixels = models.pixels(2, 3, model.config.vision_config.image_size, model.config.vision_config.image_size)
    with torch.no_grad():
        both = [one.vision_model(pixels).last_hidden_state for one in (same, model)]
    assert torch.equal(*both)


@pytest.mark.parametrize("file", [SAFE, SPLIT, OLD])
def test_photos_and_words_are_read_alike(folder, toy, toy_clip, file, street):
    (folder / SAFE).unlink()
    openclip.write(folder, toy, file=file)
    theirs, ours = opened(folder), opened(toy_clip)
    words = ["road", "a red car"]
    assert torch.equal(theirs.encode_text(words), ours.encode_text(words))
    both = [
        Segmenter.from_pretrained(one, method="naclip", short_side=64, crop=64, stride=32) for one in (folder, toy_clip)
    ]
    cosines = [one.cosines(street, ["road", "tree"]) for one in both]
    assert torch.equal(*cosines)


def test_from_the_command_line(segloop, folder, street):
    assert "street.jpg" in done(segloop("segment", street, *WORDS, "--clip", folder, *SMALL)).output


def test_a_text_tower_of_its_own_name(folder, toy):
    weights = {key if key.startswith("visual.") else f"text.{key}": one for key, one in openclip.state(toy).items()}
    weights["logit_scale"] = weights.pop("text.logit_scale")
    openclip.write(folder, toy, weights, custom_text=True)
    assert torch.equal(opened(folder).model.text_projection.weight, toy.text_projection.weight)


def test_half_precision_weights_are_opened_in_float32(folder, toy):
    openclip.write(folder, toy, {key: weight.half() for key, weight in openclip.state(toy).items()})
    assert {weight.dtype for weight in opened(folder).model.state_dict().values()} == {torch.float32}


def test_pixels_as_its_config_has_them(folder, toy):
    path = folder / "open_clip_config.json"
    said = json.loads(path.read_text())
    path.write_text(json.dumps(said | {"preprocess_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3}}))
    assert opened(folder).normalisation == Normalisation((0.5,) * 3, (0.25,) * 3)
    path.write_text(json.dumps({"model_cfg": said["model_cfg"]}))
    assert opened(folder).normalisation == CLIP
    path.write_text(json.dumps(said | {"preprocess_cfg": {"mean": [0.5] * 3, "std": [0.0] * 3}}))
    assert "no mean and deviation of three channels" in told(folder)


def test_a_config_of_timm_beside_it(folder, toy_clip):
    (folder / "config.json").write_text('{"architecture": "vit_base_patch16_clip_224"}')
    assert opened(folder).depth == 3


def test_a_folder_of_both_is_opened_by_transformers(folder, toy_clip):
    for file in ("config.json", "model.safetensors"):
        (folder / file).write_bytes((toy_clip / file).read_bytes())
    (folder / SAFE).write_bytes(b"x")
    assert opened(folder).depth == 3
    (folder / "model.safetensors").unlink()
    assert SAFE in told(folder) or "cannot be loaded" in told(folder)  # of OpenCLIP's, which is damaged


# what does not open ----------------------------------------------------------------------------------------------


def test_weights_that_are_missing_or_too_many(folder, toy):
    weights = openclip.state(toy)
    for key in ("visual.proj", "visual.transformer.resblocks.1.attn.in_proj_bias", "ln_final.weight"):
        openclip.write(folder, toy, {name: one for name, one in weights.items() if name != key})
        assert f"lacks {3 if 'in_proj' in key else 1} weights, first {key}" in told(folder)
    openclip.write(folder, toy, weights | {"logit_bias": torch.zeros(1)})
    assert "weights that no plain CLIP of OpenCLIP has, such as logit_bias" in told(folder)
    openclip.write(folder, toy, weights | {"visual.transformer.resblocks.3.ln_1.bias": torch.zeros(32)})
    assert "that its open_clip_config.json does not, such as visual.transformer.resblocks.3.ln_1.bias" in told(folder)


def test_weights_of_another_shape(folder, toy):
    weights = openclip.state(toy)
    openclip.write(folder, toy, weights | {"visual.positional_embedding": torch.zeros(50, 32)})
    assert "visual.positional_embedding of model" in told(folder) and "(50, 32), not (65, 32)" in told(folder)


OTHERS = {
    "vision_cfg": [{"timm_model_name": "convnext_base"}, {"attentional_pool": True}, {"layers": [3, 4, 6, 3]}],
    "text_cfg": [{"hf_model_name": "roberta-base"}, {"no_causal_mask": True}, {"pool_type": "last"}],
    "model_cfg": [{"multimodal_cfg": {"width": 512}}],
}


@pytest.mark.parametrize("place", OTHERS)
def test_clips_that_are_built_otherwise(folder, toy, place):
    for option in OTHERS[place]:
        own = openclip.config(toy)
        (own if place == "model_cfg" else own[place]).update(option)
        (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": own}))
        assert f"no plain CLIP: its open_clip_config.json has {next(iter(option))} in {place}" in told(folder)


@pytest.mark.parametrize("said", [{}, {"model_cfg": 5}, {"model_cfg": {"vision_cfg": {}}}, {"model_cfg": {"a": []}}])
def test_configs_that_say_nothing(folder, said):
    (folder / "open_clip_config.json").write_text(json.dumps(said))
    assert "model_cfg" in told(folder) or "does not say how its CLIP is built" in told(folder)


def test_a_tokenizer_in_the_files_that_clip_came_with(folder, toy_clip):
    kept = json.loads((folder / "tokenizer.json").read_text())["model"]
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (folder / file).unlink()
    (folder / "vocab.json").write_text(json.dumps(kept["vocab"]))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *(" ".join(pair) for pair in kept["merges"])]))
    words = ["road", "a red car"]
    assert torch.equal(opened(folder).encode_text(words), opened(toy_clip).encode_text(words))


def test_a_tokenizer_that_is_missing(folder):
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (folder / file).unlink()
    assert "has no tokenizer" in told(folder) and "add the tokenizer's files" in told(folder)


class Evil:
    def __reduce__(self):
        return print, ("run",)


def test_a_pickle_that_asks_to_run_code(folder, capsys):
    (folder / SAFE).unlink()
    torch.save({"visual.proj": Evil()}, folder / OLD, pickle_module=pickle)
    assert "damaged, or a pickle that asks to run code" in told(folder)
    assert capsys.readouterr().out == ""


def test_files_that_are_no_weights(folder, toy):
    (folder / SAFE).write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    assert "a Git LFS pointer" in told(folder)
    (folder / SAFE).unlink()
    assert f"has no weights; put {SAFE} beside" in told(folder)
    torch.save({"state_dict": openclip.state(toy), "epoch": 3}, folder / OLD)
    assert f"{OLD} of model" in told(folder) and "more than weights, such as 'state_dict'" in told(folder)

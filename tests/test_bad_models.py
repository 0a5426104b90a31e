"""Models that cannot be opened, or must not be: one sentence with the remedy, exit code 2."""

import json
import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from command import WORDS, complaint, done


class Malicious:
    """A pickle that makes a folder when it is opened."""

    def __init__(self, place: Path) -> None:
        self.place = str(place)

    def __reduce__(self):
        return os.mkdir, (self.place,)


@pytest.fixture
def model(toy_clip: Path, tmp_path: Path) -> Path:
    """A copy of the toy model, to be spoiled."""
    return Path(shutil.copytree(toy_clip, tmp_path / "model"))


@pytest.fixture
def refused(segloop, street):
    """What the command line says to a model."""
    return lambda name, *options: complaint(segloop("segment", street, *WORDS, "--clip", name, *options))


def weights(model: Path) -> dict[str, torch.Tensor]:
    return load_file(model / "model.safetensors")


def configure(model: Path, **changes: object) -> None:
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | changes))


# folders -------------------------------------------------------------------------------------------------------


def test_a_folder_that_is_not_there(refused):
    for name in ("./nowhere", "/no/such/folder", "a/b/c"):
        told = refused(name)
        assert f"model folder {name!r} does not exist" in told and "check the path" in told


def test_no_config(refused, model):
    (model / "config.json").unlink()
    told = refused(model)
    assert "has no config.json" in told and "model.safetensors" in told


def test_a_config_that_is_none(refused, model):
    for text in ("{", "[1, 2]"):
        (model / "config.json").write_text(text)
        assert "is not valid JSON; fetch the model folder again" in refused(model)


def test_another_kind_of_model(refused, model):
    configure(model, model_type="blip")
    told = refused(model)
    assert "is of type 'blip', not 'clip'" in told and "openai/clip-vit-base-patch16" in told


def test_no_weights(refused, model):
    (model / "model.safetensors").unlink()
    told = refused(model)
    assert "has no weights" in told and "put model.safetensors" in told


def test_weights_that_are_missing(refused, model):
    left = {name: weight for name, weight in weights(model).items() if "vision_model.encoder.layers.2." not in name}
    save_file(left, model / "model.safetensors", metadata={"format": "pt"})
    told = refused(model)
    assert "lacks 16 weights, first vision_model.encoder.layers.2." in told and "complete model folder" in told


def test_weights_of_another_shape(refused, model):
    spoiled = weights(model) | {"visual_projection.weight": torch.zeros(3, 32)}
    save_file(spoiled, model / "model.safetensors", metadata={"format": "pt"})
    assert "visual_projection.weight" in refused(model)


def test_damaged_weights(refused, model):
    whole = (model / "model.safetensors").read_bytes()
    for damaged in (whole[:1000], whole[:-1000]):
        (model / "model.safetensors").write_bytes(damaged)
        told = refused(model)
        assert "cannot be loaded" in told and "fetch the model folder again" in told


def test_no_tokenizer(refused, model):
    for file in model.glob("tokenizer*"):
        file.unlink()
    told = refused(model)
    assert "has no tokenizer" in told and "add the tokenizer's files" in told


def test_a_tokenizer_of_another_model(refused, model):
    configure(model, text_config=json.loads((model / "config.json").read_text())["text_config"] | {"vocab_size": 300})
    spoiled = weights(model)
    name = "text_model.embeddings.token_embedding.weight"
    save_file(spoiled | {name: spoiled[name][:300].clone()}, model / "model.safetensors", metadata={"format": "pt"})
    assert "521 words, its text tower 300" in refused(model)


def test_settings_that_are_not_json(refused, model):
    for text in ("{", "[1, 2]", "5", "[" * 100_000):
        (model / "segloop.json").write_text(text)
        assert "segloop.json is not valid JSON" in refused(model)


@pytest.mark.parametrize("name", ["method", "host", "vision"])
def test_settings_that_are_no_names(refused, model, name):
    (model / "segloop.json").write_text(json.dumps({name: 5}))
    assert f"has 5 as {name}; put a name there" in refused(model)


def test_a_bin_that_this_torch_does_not_open(refused, model, monkeypatch):
    torch.save(weights(model), model / "pytorch_model.bin")
    (model / "model.safetensors").unlink()

    def too_old() -> None:
        raise ValueError("we now require users to upgrade torch to at least v2.6")

    monkeypatch.setattr("transformers.modeling_utils.check_torch_load_is_safe", too_old)
    assert "update torch to 2.6 or later" in refused(model)


# pickles -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model.pkl", "model.pt", "pytorch_model.bin"])
def test_a_single_file_is_no_model(refused, tmp_path, name):
    (tmp_path / name).write_bytes(pickle.dumps(Malicious(tmp_path / "made")))
    told = refused(name)
    assert "is a single file" in told and "Hugging Face folder" in told
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("kind", ["plain", "archive"])
def test_a_pickle_in_a_folder_is_not_run(refused, model, tmp_path, kind):
    (model / "model.safetensors").unlink()
    evil = {"logit_scale": Malicious(tmp_path / "made")}
    if kind == "plain":
        (model / "pytorch_model.bin").write_bytes(pickle.dumps(evil))
    else:
        torch.save(evil, model / "pytorch_model.bin")
    told = refused(model)
    assert "pickle" in told and "never runs code" in told
    assert not (tmp_path / "made").exists()


def test_a_harmless_pickle_loads(segment, segloop, street, model, tmp_path):
    done(segment(street, *WORDS, "--out", "safetensors"))
    torch.save(weights(model), model / "pytorch_model.bin")
    (model / "model.safetensors").unlink()
    done(segloop("segment", street, *WORDS, "--clip", model, "--templates", "plain", "--out", "bin"))
    assert (tmp_path / "bin/street.png").read_bytes() == (tmp_path / "safetensors/street.png").read_bytes()


def test_safetensors_come_first(segment, segloop, street, model, tmp_path):
    (model / "pytorch_model.bin").write_bytes(pickle.dumps(Malicious(tmp_path / "made")))
    done(segloop("segment", street, *WORDS, "--clip", model))
    assert not (tmp_path / "made").exists()

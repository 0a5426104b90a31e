"""Folders that hold no model that opens: one sentence says what they hold instead, and what to do."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from hub import keep
from segloop.backbones.families import load_clip
from segloop.backbones.folders import is_inside
from segloop.backbones.vision import load_guide
from segloop.errors import MachineError, ModelError, SegloopError

CPU = torch.device("cpu")
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 605143316\n"
SAFE, BIN = "model.safetensors", "pytorch_model.bin"
INDEX = f"{SAFE}.index.json"
EXAMPLE = "a CLIP such as openai/clip-vit-base-patch16"


def told(folder: object, error: type[SegloopError] = ModelError) -> str:
    with pytest.raises(error) as caught:
        load_clip(str(folder), CPU, torch.float32).encode_text(["road"])
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def make(toy_clip, tmp_path) -> Callable[..., Path]:
    """A folder with given files; `whole` beside those of the toy model but its weights."""

    def write(files: dict[str, bytes | str], whole: bool = True, name: str = "model") -> Path:
        folder = tmp_path / name
        if whole:
            shutil.copytree(toy_clip, folder, ignore=shutil.ignore_patterns(SAFE))
        folder.mkdir(exist_ok=True)
        for file, data in files.items():
            (folder / file).parent.mkdir(exist_ok=True)
            (folder / file).write_bytes(data if isinstance(data, bytes) else data.encode())
        return folder

    return write


@pytest.fixture
def safe(toy_clip) -> bytes:
    """The toy model's weights."""
    return (toy_clip / SAFE).read_bytes()


# files that are no transformers model ----------------------------------------------------------------------------

NO_CONFIG = {
    "nothing": ({}, ["is empty", "no config.json"]),
    "openclip": ({"open_clip_config.json": "{}"}, ["open_clip_config.json of", "has no model_cfg", EXAMPLE]),
    "openclip weights": (
        {"open_clip_pytorch_model.bin": "x"},
        ["without open_clip_config.json; fetch that too", EXAMPLE],
    ),
    "adapter": ({"adapter_config.json": "{}", "adapter_model.safetensors": "x"}, ["PEFT adapter", "merge_and_unload"]),
    "dino.txt": ({"dinov3_vitl16_dinotxt_vision_head.pth": "x"}, ["is dino.txt", "never runs that", EXAMPLE]),
    "onnx": ({"model.onnx": "x"}, ["ONNX files only"]),
    "onnx below": ({"onnx/model.onnx": "x"}, ["ONNX files only"]),
    "gguf": ({"clip-q4.gguf": "GGUF"}, ["a GGUF file"]),
    "checkpoint": ({"ViT-B-16.pt": "x"}, ["a checkpoint of training code"]),
    "diffusers": ({"model_index.json": "{}", "text_encoder/config.json": "{}"}, ["a diffusers pipeline"]),
    "one below": ({"inner/config.json": "{}"}, ["'inner' in it has; give ", "/inner"]),
    "other": ({"README.md": "x"}, ["has no config.json", "beside model.safetensors"]),
}


@pytest.mark.parametrize("case", NO_CONFIG)
def test_folders_without_config(make, case):
    files, words = NO_CONFIG[case]
    message = told(make(files, whole=False))
    assert all(word in message for word in words), message


NO_WEIGHTS = {
    "half": ({"model.fp16.safetensors": "x"}, ["only a variant, model.fp16.safetensors", f"rename it to {SAFE}"]),
    "bfloat": ({"model.bf16.safetensors": "x"}, ["only a variant"]),
    "half bin": ({"pytorch_model.fp16.bin": "x"}, ["only a variant", f"rename it to {BIN}"]),
    "other name": ({"clip.safetensors": "x"}, ["has clip.safetensors and no model.safetensors", "rename it"]),
    "parts alone": ({"model-00001-of-00002.safetensors": "x"}, ["without model.safetensors.index.json"]),
    "openclip": ({"open_clip_pytorch_model.bin": "x"}, ["without open_clip_config.json", EXAMPLE]),
    "adapter": ({"adapter_config.json": "{}", "adapter_model.safetensors": "x"}, ["PEFT adapter", "merge_and_unload"]),
    "unfinished": ({"model.safetensors.incomplete": "x"}, ["a download that did not end"]),
    "browser": ({"model.safetensors.crdownload": "x"}, ["a download that did not end"]),
    "tensorflow": ({"tf_model.h5": "x"}, ["TensorFlow only"]),
    "flax": ({"flax_model.msgpack": "x"}, ["Flax only"]),
    "onnx": ({"onnx/model.onnx": "x"}, ["ONNX weights only"]),
    "openvino": ({"openvino_model.xml": "x"}, ["OpenVINO weights only"]),
    "gguf": ({"clip-q4.gguf": "x"}, ["GGUF weights only"]),
    "checkpoint": ({"model.pt": "x"}, ["has model.pt and no model.safetensors"]),
    "nothing": ({}, ["has no weights", "put model.safetensors beside"]),
}


@pytest.mark.parametrize("case", NO_WEIGHTS)
def test_folders_without_weights(make, case):
    files, words = NO_WEIGHTS[case]
    message = told(make(files))
    assert all(word in message for word in words), message


def test_the_name_of_a_folder_may_say_which_clip_it_is(make):
    message = told(make({"open_clip_config.json": "{}"}, whole=False, name="CLIP-ViT-B-16-laion2B-s34B-b88K"))
    assert message.endswith("or give laion/CLIP-ViT-B-16-laion2B-s34B-b88K.")


SPOILT = {
    "lfs": (SAFE, LFS, ["Git LFS pointer", "`git lfs pull`"]),
    "lfs bin": (BIN, LFS, [f"{BIN} of", "Git LFS pointer"]),
    "lfs config": ("config.json", LFS, ["config.json of", "Git LFS pointer"]),
    "lfs tokenizer": ("tokenizer.json", LFS, ["tokenizer.json of", "Git LFS pointer"]),
    "xet": (SAFE, b"# xet version 0\n", ["pointer of git-xet"]),
    "page": (SAFE, b"<!DOCTYPE html><html>", ["a web page", "fetch the model folder again"]),
    "page config": ("config.json", b"\n<html>", ["config.json of", "a web page"]),
    "no entry": (SAFE, b"Entry not found", ["an answer of the hub"]),
    "refusal": (SAFE, b'{"error":"Invalid credentials"}', ["an answer of the hub"]),
    "zeros": (SAFE, bytes(10_000), ["full of zeros"]),
    "empty": (SAFE, b"", ["is empty"]),
    "gguf": (SAFE, b"GGUF\x03\x00", ["a GGUF file"]),
    "pickle": (SAFE, b"PK\x03\x04 and more", ["a pickle under the name", "call it pytorch_model.bin"]),
}


@pytest.mark.parametrize("case", SPOILT)
def test_files_that_are_others(make, safe, case):
    file, data, words = SPOILT[case]
    message = told(make({SAFE: safe, file: data} if file not in (SAFE, BIN) else {file: data}))
    assert all(word in message for word in words), message


def test_safetensors_under_the_name_of_a_pickle(make, safe):
    assert "a safetensors file under another name; call it model.safetensors" in told(make({BIN: safe}))


def test_links_that_lead_nowhere(make, tmp_path, safe):
    copy = make({})
    (copy / SAFE).symlink_to("../../blobs/0123")
    assert "model.safetensors of" in told(copy) and "`cp -rL`" in told(copy)
    (copy / "config.json").unlink()
    (copy / "config.json").symlink_to("../../blobs/4567")
    assert "config.json of" in told(copy) and "`cp -rL`" in told(copy)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_pipes_are_not_waited_for(make, tmp_path):
    folder = make({})
    os.mkfifo(folder / SAFE)
    assert "model.safetensors of" in told(folder) and "is no file" in told(folder)
    os.mkfifo(tmp_path / "pipe")
    assert "is a single file" in told(tmp_path / "pipe")


def test_a_file_of_a_model(make, safe, tmp_path):
    folder = make({SAFE: safe})
    for file in (SAFE, "config.json"):
        assert f"is a single file; give its folder, {folder}" in told(folder / file)
    (tmp_path / "ViT-L-14.pt").write_bytes(b"x")
    assert "or the hub id openai/clip-vit-large-patch14." in told(tmp_path / "ViT-L-14.pt")


def test_places_in_the_cache_that_are_no_model(toy_clip, tmp_path):
    snapshot = keep(tmp_path, "some/clip", "1" * 40, list(toy_clip.iterdir()))
    keep(tmp_path, "other/clip", "1" * 40, [])
    assert "is the hub's cache; give one of the models in it, other/clip, some/clip." in told(tmp_path)
    for place in ("", "snapshots", "blobs", "refs"):
        message = told(tmp_path / "models--some--clip" / place)
        assert f"where the hub's cache keeps some/clip; give some/clip, or the folder {snapshot}." in message
    blob = next((tmp_path / "models--some--clip/blobs").iterdir())
    assert "a single file of the hub's cache; give some/clip." in told(blob)
    load_clip(str(snapshot), CPU, torch.float32).encode_text(["road"])


# configs ---------------------------------------------------------------------------------------------------------

KINDS = {
    "siglip2": ["is of type 'siglip2', not 'clip' or", "NaFlex", EXAMPLE],
    "siglip_vision_model": ["the vision tower alone"],
    "clip_vision_model": ["the vision tower alone"],
    "clip_text_model": ["the text tower alone"],
    "clipseg": ["trained to segment"],
    "chinese_clip": ["built otherwise"],
    "dinov2": ["give it as --vision"],
    "bert": ["is of type 'bert', not 'clip' or"],
    None: ["names no model_type"],
}


@pytest.mark.parametrize("kind", KINDS)
def test_models_of_another_kind(make, kind):
    message = told(make({"config.json": json.dumps({"model_type": kind})}))
    assert all(word in message for word in KINDS[kind]), message


CONFIGS = {
    "openclip": ({"model_cfg": {}}, ["does not say how its CLIP is built, 'vision_cfg' is missing"]),
    "timm": ({"architecture": "resnet50"}, ["timm's resnet50, not a CLIP"]),
    "timm clip": (
        {"architecture": "vit_large_patch14_clip_336"},
        ["no text", "openai/clip-vit-large-patch14-336"],
    ),
    "diffusers": ({"_class_name": "AutoencoderKL"}, ["a part of a diffusers pipeline"]),
    "own code": (
        {"model_type": "own", "auto_map": {"AutoModel": "x.Y"}},
        ["code of its own, which segloop never runs"],
    ),
}


@pytest.mark.parametrize("case", CONFIGS)
def test_configs_of_others(make, case):
    config, words = CONFIGS[case]
    message = told(make({"config.json": json.dumps(config)}))
    assert all(word in message for word in words), message


@pytest.mark.parametrize("text", ["[" * 100_000, "null", "5", "{", "\udcff"])
def test_configs_that_are_no_object(make, text):
    message = told(make({"config.json": text.encode("utf-8", "surrogateescape")}))
    assert "is not valid JSON; fetch the model folder again" in message


def configured(make, safe, toy_clip, **changes):
    config = json.loads((toy_clip / "config.json").read_text())
    return make({SAFE: safe, "config.json": json.dumps(config | changes)})


def test_quantised_weights(make, safe, toy_clip):
    message = told(configured(make, safe, toy_clip, quantization_config={"quant_method": "bitsandbytes"}))
    assert "is quantised (bitsandbytes)" in message


def test_an_adapter_beside_a_model(make, safe):
    message = told(make({SAFE: safe, "adapter_config.json": '{"base_model_name_or_path": "../other"}'}))
    assert "holds a PEFT adapter beside the model" in message


def test_a_config_larger_than_any_memory(make, safe, toy_clip):
    text = json.loads((toy_clip / "config.json").read_text())["text_config"]
    spoilt = configured(make, safe, toy_clip, text_config=text | {"vocab_size": 10**13})
    assert "memory ran out while model" in told(spoilt, MachineError)


def test_clips_without_a_tower(make, toy_clip, tmp_path):
    weights = load_file(toy_clip / SAFE)
    for start, tower in (("text", "text"), ("vision", "vision")):
        left = {key: weight for key, weight in weights.items() if not key.startswith(f"{start}_model.")}
        save_file(left, tmp_path / "left", metadata={"format": "pt"})
        message = told(make({SAFE: (tmp_path / "left").read_bytes()}, name=tower))
        assert f"has no {tower} tower; give a whole CLIP" in message


def test_weights_under_other_names(make, toy_clip, tmp_path):
    weights = load_file(toy_clip / SAFE)
    for start, words in (("visual.", "bear OpenCLIP's names"), ("module.", "bear other names")):
        save_file({start + key: weight for key, weight in weights.items()}, tmp_path / "w", metadata={"format": "pt"})
        assert words in told(make({SAFE: (tmp_path / "w").read_bytes()}, name=start))


def test_a_clip_as_guide_and_a_guide_as_clip(toy_clip):
    with pytest.raises(ModelError, match=r"it is a CLIP; give it as --clip"):
        load_guide(str(toy_clip), CPU, torch.float32)


# indexes ---------------------------------------------------------------------------------------------------------


def index_of(part: object, weights: dict) -> str:
    return json.dumps({"metadata": {}, "weight_map": dict.fromkeys(weights, part)})


@pytest.mark.parametrize("index", [INDEX, f"{BIN}.index.json"])
@pytest.mark.parametrize(
    "where", ["../other/model.safetensors", "sub/../../other/model.safetensors", "absolute", "..\\x"]
)
def test_an_index_does_not_lead_out_of_its_folder(make, toy_clip, safe, tmp_path, index, where):
    make({SAFE: safe}, whole=False, name="other")
    part = str(tmp_path / "other" / SAFE) if where == "absolute" else where
    spoilt = make({index: index_of(part, load_file(toy_clip / SAFE))})
    assert "names a file outside the folder" in told(spoilt) and "does not follow it" in told(spoilt)


def test_nor_does_one_beside_whole_weights(make, toy_clip, safe):
    spoilt = make({SAFE: safe, f"{BIN}.index.json": index_of("../x.bin", load_file(toy_clip / SAFE))})
    assert "names a file outside the folder" in told(spoilt)


def test_a_folder_in_the_folder_and_links_are_fine(make, toy_clip, safe, tmp_path):
    (tmp_path / "blob").write_bytes(safe)
    good = make({INDEX: index_of("parts/one.safetensors", load_file(toy_clip / SAFE))})
    (good / "parts").mkdir()
    (good / "parts/one.safetensors").symlink_to(tmp_path / "blob")
    load_clip(str(good), CPU, torch.float32)


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"weight_map": 5}', '{"weight_map": {"a": 5}}', '{"weight_map": {"a": ""}}']
)
def test_indexes_that_are_none(make, text):
    message = told(make({INDEX: text}))
    assert "is no index of weights" in message or "names a file outside the folder" in message


def test_parts_that_are_missing(make, toy_clip):
    message = told(make({INDEX: index_of("model-00002-of-00002.safetensors", load_file(toy_clip / SAFE))}))
    assert "1 are missing, first model-00002-of-00002.safetensors; fetch the model folder again" in message


def test_names_that_stay_inside():
    inside = ["model-00001-of-00002.safetensors", "parts/one.safetensors", "..two", "a..b/c", "./x"]
    outside = ["../x", "a/../../x", "/x", "\\x", "C:x", "C:\\x", "..\\x", "//host/x", "..", "", "a\0", 5, None, ["x"]]
    assert all(map(is_inside, inside)) and not any(map(is_inside, outside))


def test_a_reader_of_a_tokenizer_does_not_leave_the_folder(make, safe, toy_clip):
    """A path in tokenizer_config.json is the library's to ignore."""
    config = json.loads((toy_clip / "tokenizer_config.json").read_text())
    spoilt = make(
        {SAFE: safe, "tokenizer_config.json": json.dumps(config | {"tokenizer_file": str(toy_clip / "tokenizer.json")})}
    )
    (spoilt / "tokenizer.json").unlink()
    assert "has no tokenizer" in told(spoilt)

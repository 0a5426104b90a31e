"""What people give for a model: addresses, names of other libraries, slips. Each has its sentence, nothing is asked."""

import pytest

from segloop.backbones import hub
from segloop.backbones.loading import resolve
from segloop.backbones.models import DEFAULT_CLIP
from segloop.backbones.names import nearest_model, same_clip
from segloop.errors import ModelError

B16, B32, L14 = DEFAULT_CLIP, "openai/clip-vit-base-patch32", "openai/clip-vit-large-patch14"
H14 = "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"
MEANT = {
    f"https://huggingface.co/{B16}": f"is an address; give its hub id, {B16}.",
    f"https://huggingface.co/{B16}/": f"give its hub id, {B16}.",
    f"https://huggingface.co/{B16}/tree/main": f"give its hub id, {B16}.",
    f"http://hf.co/{B16}/blob/main/config.json?download=true": f"give its hub id, {B16}.",
    f"https://huggingface.co/{B16}/resolve/main/model.safetensors#x": f"give its hub id, {B16}.",
    f"https://huggingface.co/api/models/{B16}": f"give its hub id, {B16}.",
    f"https://huggingface.co/{B16}/tree/refs%2Fpr%2F3": "names a revision, and segloop opens main",
    "https://hf-mirror.com/some/clip-vit-base-patch16-mine": "give its hub id, some/clip-vit-base-patch16-mine.",
    f"www.huggingface.co/{B16}": f"give its hub id, {B16}.",
    f"hf://{B16}": f"give its hub id, {B16}.",
    f"git@hf.co:{B16}.git": f"give its hub id, {B16}.",
    "https://huggingface.co/openai": "is an address; give a hub id such as",
    "https://huggingface.co/datasets/some/coco": "is one of the hub's datasets, not a model",
    "https://github.com/openai/CLIP": "segloop fetches from the hub only; download it",
    "https://somewhere.net/clip/5806e77/ViT-B-16.pt": f"give {B16}, which the hub has",
    "s3://bucket/clip": "segloop fetches from the hub only",
    "file:///home/me/clip": "give the folder as a path, /home/me/clip.",
    "ViT-B/16": f"is not named as the hub names it; give {B16}.",
    "ViT-B-16": f"give {B16}.",
    "vit_b_16": f"give {B16}.",
    "ViT-B-16-quickgelu": f"give {B16}.",
    "ViT-B/32": f"give {B32}.",
    "ViT-L-14": f"give {L14}.",
    "ViT-L/14@336px": f"give {L14}-336.",
    "ViT-L-14-336": f"give {L14}-336.",
    "ViT-H-14": f"give {H14}.",
    "ViT-bigG-14": "give laion/CLIP-ViT-bigG-14-laion2B-39B-b160k.",
    "clip-vit-base-patch16": f"give {B16}.",
    "openai/clip-vit-b-16": f"give {B16}.",
    "openai/ViT-B/16": f"give {B16}.",
    "openai/clip-vit-base-patch-16": f"give {B16}.",
    "RN50x16": "is a ResNet, which has no patches",
    "hf-hub:laion/CLIP-ViT-B-16-laion2B-s34B-b88K": "give its hub id, laion/CLIP-ViT-B-16-laion2B-s34B-b88K.",
    f"{B16}@main": f"names a revision, and segloop opens main; give {B16}",
    f"{B16}/": f"does not exist; check the path, or give {B16}, if that is meant",
    "C:\\models\\clip": "model folder 'C:\\\\models\\\\clip' does not exist; check the path",
    "./clip": "model folder './clip' does not exist; check the path",
    "~nobody-at-all/clip": "check the path",
    "models/clip/mine": "model folder 'models/clip/mine' does not exist",
    "clip": "is neither a folder here nor a hub id, which is owner/name",
    "tinny": "give tiny, if that is meant",
    "two words/clip": "is neither a folder here nor a hub id",
    "": "the model has no name",
    " ": "the model has no name",
    "a\0b": "is neither a folder here nor a hub id",
    "\udcff/x": "is neither a folder here nor a hub id",
    "x" * 300: "cannot be looked at (file name too long); check the path",
    "y/" * 2500: "cannot be looked at (file name too long); check the path",
}


@pytest.fixture
def told(monkeypatch, tmp_path):
    """What is said to a name, online; the hub must not be asked."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("segloop.backbones.loading.hub_is_off", lambda: False)
    monkeypatch.setattr(hub, "_ask", lambda name, quick: pytest.fail(f"the hub was asked for {name}"))

    def tell(name: str, **how: bool) -> str:
        with pytest.raises(ModelError) as caught:
            resolve(name, **how)
        return str(caught.value)

    return tell


@pytest.mark.parametrize("name", MEANT)
def test_what_is_meant(told, name):
    assert MEANT[name] in told(name)


def test_the_command_line_says_it_as_one_sentence(segloop, street):
    from command import WORDS, complaint

    for name in ("ViT-B/16", f"https://huggingface.co/{B16}/tree/main"):
        assert B16 in complaint(segloop("segment", street, *WORDS, "--clip", name))


def test_a_folder_comes_before_every_meaning(tmp_path, monkeypatch):
    (tmp_path / "ViT-B/16").mkdir(parents=True)
    (tmp_path / "ViT-B/16/config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert resolve("ViT-B/16") == "ViT-B/16"


def test_a_guide_is_no_clip(told):
    assert f"give its hub id, {B16}" in told(f"https://huggingface.co/{B16}", guide=True)
    assert "ViT-B-16" in told("ViT-B-16", guide=True) and "not named as" not in told("ViT-B-16", guide=True)


def test_what_other_libraries_call_the_same_clip():
    assert same_clip("timm/vit_base_patch16_clip_224.openai") == B16
    assert same_clip("timm/vit_large_patch14_clip_336.openai") == f"{L14}-336"
    assert same_clip("sentence-transformers/clip-ViT-B-32") == B32
    assert same_clip("laion/CLIP-ViT-B-16-laion2B-s34B-b88K") == "laion/CLIP-ViT-B-16-laion2B-s34B-b88K"
    for other in ("ViT-B-16-SigLIP", "EVA02-L-14", "facebook/dino-vitb16", "ViT-B-48", "some/model"):
        assert same_clip(other) is None


def test_the_nearest_known_model():
    assert nearest_model("openai/clip-vit-basse-patch16") == B16
    assert nearest_model("facebook/dino-vit-b8") == "facebook/dino-vitb8"
    assert nearest_model(B16) is None and nearest_model("someone/other") is None

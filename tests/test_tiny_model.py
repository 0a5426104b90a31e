"""The bundled model alone, through transformers: sizes, tokenizer, and what it knows of whole pictures."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import AutoTokenizer, CLIPModel

import segloop
from segloop.scenes.draw import CLASSES, COLOURS, GROUNDS, scene
from segloop.scenes.textures import texture

FOLDER = Path(segloop.__file__).parent / "backbones" / "tiny"
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
PROMPTS = ["itap of a {}.", "a bad photo of the {}.", "a photo of a {}.", "{}"]


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(FOLDER, local_files_only=True)


@pytest.fixture(scope="module")
def model():
    return CLIPModel.from_pretrained(FOLDER, local_files_only=True, dtype=torch.float32).eval()


def embed_texts(model, tokenizer, texts):
    inputs = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        pooled = model.text_model(**inputs).pooler_output
        return F.normalize(model.text_projection(pooled), dim=-1)


def embed_names(model, tokenizer, names):
    rows = [embed_texts(model, tokenizer, [prompt.format(name) for prompt in PROMPTS]).mean(0) for name in names]
    return F.normalize(torch.stack(rows), dim=-1)


def embed_pictures(model, pictures):
    pixels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        pooled = model.vision_model((pixels - MEAN) / STD).pooler_output
        return F.normalize(model.visual_projection(pooled), dim=-1)


def test_the_folder_holds_what_it_should_and_is_small(model):
    names = {path.name for path in FOLDER.iterdir()}
    needed = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert names == needed | {"segloop.json", "words.txt", "README.md"}
    assert sum(part.numel() for part in model.parameters()) <= 3_000_000
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 8_000_000
    assert model.config.vision_config.patch_size == 8


def test_the_settings_beside_it_name_method_and_geometry(model):
    settings = json.loads((FOLDER / "segloop.json").read_text())
    assert set(settings) == {"method", "short_side", "crop", "stride", "logit_scale"}
    assert settings["crop"] == model.config.vision_config.image_size
    assert 0 < settings["stride"] <= settings["crop"] <= settings["short_side"]


@pytest.mark.parametrize(
    "text", ["", " ", "grass", "日本語", "🙂", "e\u0301", "\x00\t\n", "Straße", "a" * 400, "\u202e"]
)
def test_any_text_has_tokens_and_its_end_is_pooled(model, tokenizer, text):
    ids = tokenizer(text, truncation=True)["input_ids"]
    end = tokenizer.eos_token_id
    assert ids[0] == tokenizer.bos_token_id and ids[-1] == end and ids.count(end) == 1
    assert end == len(tokenizer) - 1 == model.config.text_config.eos_token_id
    assert len(ids) <= tokenizer.model_max_length == model.config.text_config.max_position_embeddings
    with torch.inference_mode():
        out = model.text_model(input_ids=torch.tensor([(ids + [end] * 3)[: tokenizer.model_max_length]]))
    assert torch.equal(out.pooler_output[0], out.last_hidden_state[0, len(ids) - 1])


def test_text_comes_back(tokenizer):
    text = "a red circle, lying on 日本 grass"
    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True).replace(" ", "") == text.replace(
        " ", ""
    )


def test_published_prompts_fit(tokenizer):
    path = Path(segloop.__file__).parent / "words" / "classes" / "templates.json"
    prompts = json.loads(path.read_text("utf-8"))["openai80"]
    assert max(len(tokenizer(prompt.format("television monitor"))["input_ids"]) for prompt in prompts) <= 32


def test_grounds_of_fresh_pictures(model, tokenizer):
    names = [name for name in GROUNDS for _ in range(10)]
    pictures = [
        (255 * texture(name, np.random.default_rng([77, index]), (64, 64), 1.2)).astype(np.uint8)
        for index, name in enumerate(names)
    ]
    guess = (embed_pictures(model, pictures) @ embed_names(model, tokenizer, list(GROUNDS)).T).argmax(1)
    right = [list(GROUNDS)[best] == name for best, name in zip(guess, names, strict=True)]
    assert np.mean(right) >= 0.9


def test_colours_of_fresh_shapes(model, tokenizer):
    pictures, names = [], []
    for seed in range(400, 450):
        drawn = scene(seed)
        for tint, _ in drawn.shapes:
            rows, columns = np.nonzero(drawn.mask == CLASSES.index(tint))
            top, left = np.clip([rows.mean() - 32, columns.mean() - 32], 0, [128, 192]).astype(int)
            cut = drawn.mask[top : top + 64, left : left + 64]
            if not set(np.unique(cut)) - {CLASSES.index(tint)} & {CLASSES.index(name) for name in COLOURS}:
                pictures.append(drawn.image[top : top + 64, left : left + 64])
                names.append(tint)
    guess = (embed_pictures(model, pictures) @ embed_names(model, tokenizer, list(COLOURS)).T).argmax(1)
    right = [list(COLOURS)[best] == name for best, name in zip(guess, names, strict=True)]
    assert len(names) >= 50 and set(names) == set(COLOURS) and np.mean(right) >= 0.9


@pytest.mark.parametrize("word, ground", [("lawn", "grass"), ("beach", "sand"), ("sea", "water"), ("planks", "wood")])
def test_synonyms_lie_near_their_ground(model, tokenizer, word, ground):
    rows = embed_names(model, tokenizer, list(GROUNDS))
    nearest = (embed_names(model, tokenizer, [word]) @ rows.T).argmax()
    assert list(GROUNDS)[nearest] == ground

"""The bundled CLIP that learnt from captions alone: small, and ill as a real one is."""

import json
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer, CLIPModel

import segloop
from segloop import Segmenter
from segloop.backbones.models import MODELS
from segloop.backbones.shared import Models
from segloop.scenes import cells
from segloop.scenes.draw import CLASSES, scene
from segloop.scoring.metrics import Counts, confusion, scores

FOLDER = Path(segloop.__file__).parent / "backbones" / "tiny-clip8"


@pytest.fixture(scope="module")
def reading():
    """mIoU over a few scenes of a renderer, of a method on the bundled CLIP: (draw, **options) -> percent."""
    models, drawn = Models(), {}

    def read(draw, **options):
        segmenter = Segmenter.from_pretrained("tiny-clip8", dtype="float32", offline=True, models=models, **options)
        scenes = drawn.setdefault(draw, [draw(400_000_000 + seed, (120, 160)) for seed in range(10)])
        found = [segmenter(one.image, list(CLASSES)).labels for one in scenes]
        pairs = zip(found, scenes, strict=True)
        counts = [confusion(labels, one.mask, len(CLASSES)).counts() for labels, one in pairs]
        return float(scores(Counts.stack(counts).total()).mIoU)

    return read


def test_the_folder_holds_what_it_should_and_is_small():
    needed = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert {path.name for path in FOLDER.iterdir()} == needed | {"segloop.json", "words.txt", "README.md"}
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 12_000_000
    model = CLIPModel.from_pretrained(FOLDER, local_files_only=True)
    assert sum(part.numel() for part in model.parameters()) <= 6_000_000
    assert model.config.vision_config.num_hidden_layers == 8
    assert len(AutoTokenizer.from_pretrained(FOLDER, local_files_only=True)) == model.config.text_config.vocab_size
    assert {"method", "short_side", "crop", "stride", "logit_scale"} <= set(
        json.loads((FOLDER / "segloop.json").read_text())
    )
    assert "tiny-clip8" in MODELS


def test_plain_reading_is_far_below_others_and_feedback_mends_it(reading):
    plain, fed, values = reading(scene, method="clip"), reading(scene, host="clip"), reading(scene, method="maskclip")
    assert values - plain > 15
    assert fed > plain + 2


def test_scenes_of_another_renderer_are_read_too(reading):
    assert reading(cells.scene, method="maskclip") > 30


def test_the_whole_package_is_small():
    sizes = [path.stat().st_size for path in Path(segloop.__file__).parent.rglob("*") if path.is_file()]
    assert np.sum(sizes) < 30_000_000

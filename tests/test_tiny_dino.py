"""The bundled guide: small, opened without a network, and its patches alike where the scene is one thing."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import segloop
from command import complaint
from segloop import Segmenter
from segloop.backbones.models import GUIDES
from segloop.backbones.vision import load_guide
from segloop.choice.methods import METHODS
from segloop.errors import ModelError
from segloop.scenes import cells
from segloop.scenes.draw import CLASSES, scene

FOLDER = Path(segloop.__file__).parent / "backbones" / "tiny-dino"
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def guide():
    return load_guide("tiny-dino", CPU, torch.float32, offline=True)


def test_the_folder_holds_what_it_should_and_is_small(guide):
    assert {path.name for path in FOLDER.iterdir()} == {"config.json", "model.safetensors", "README.md"}
    assert sum(part.numel() for part in guide.model.parameters()) <= 3_000_000
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 4_000_000
    row = GUIDES["tiny-dino"]
    assert (guide.kind, guide.multiple, row.bundled, row.published) == (row.kind, row.patch, True, False)


def test_windows_of_any_size_and_of_any_batch(guide):
    pixels = torch.randn(3, 3, 64, 96)
    features = guide(pixels)
    assert features.shape == (3, 128, 8, 12) and torch.equal(features, guide(pixels))
    torch.testing.assert_close(features[:1], guide(pixels[:1]))


@pytest.mark.parametrize("draw, least", [(scene, 0.97), (cells.scene, 0.9)])
def test_patches_of_one_class_are_more_alike(guide, draw, least):
    """Over eight scenes, patches that show one class: 0.5 is chance, colour alone has 0.95 on windows."""
    right = []
    for seed in range(300, 308):
        drawn = draw(seed, (128, 192))
        pixels = torch.from_numpy(drawn.image.copy()).permute(2, 0, 1)[None] / 255
        mean, std = torch.tensor([0.48145466, 0.4578275, 0.40821073]), torch.tensor([0.26862954, 0.26130258, 0.2757771])
        features = guide((pixels - mean[:, None, None]) / std[:, None, None])[0].flatten(1).T
        share = F.one_hot(torch.from_numpy(drawn.mask).long(), len(CLASSES)).float()
        share = F.avg_pool2d(share.permute(2, 0, 1), 8).flatten(1)
        pure = share.amax(0) == 1
        unit, label = F.normalize(features[pure], dim=1), share.argmax(0)[pure]
        alike, same = unit @ unit.T, label[:, None] == label
        if len(label.unique()) > 1:
            inside, across = (alike[part].sort().values for part in (same, ~same))
            right.append(torch.searchsorted(across, inside).float().mean() / len(across))
    assert len(right) >= 4 and np.mean(right) > least


GUIDED = [name for name, row in METHODS.items() if row.needs_guide(name) and name not in ("trident", "lposs+")]


@pytest.mark.parametrize("method", GUIDED)
def test_it_guides_the_bundled_clip_past_chance(method):
    drawn = scene(321, (96, 128))
    options = {"masks": drawn.mask.astype(np.int64) + 1} if METHODS[method].masks else {}
    options_of = {"vision": "tiny-dino", "short_side": 192, "dtype": "float32", "offline": True}
    segmenter = Segmenter.from_pretrained("tiny", method=method, **options_of)
    found = segmenter(drawn.image, list(CLASSES), **options)
    most = np.bincount(drawn.mask.ravel()).max() / drawn.mask.size
    assert (found.labels == drawn.mask).mean() > max(most, 0.7)


def test_which_is_which(segment, photos):
    words = ["--classes", "grass, sand"]
    assert "guides attention" in complaint(segment(photos / "street.jpg", *words, "--clip", "tiny-dino"))
    with pytest.raises(ModelError, match="it is a CLIP"):
        load_guide("tiny", CPU, torch.float32)

"""The bundled SAM: small, opened without a network, and its masks those of the scene's regions."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import segloop
from command import complaint
from segloop import Segmenter
from segloop.attention.affinity import Trident
from segloop.backbones.models import GUIDES, MASKERS
from segloop.backbones.prompted import load_masker
from segloop.backbones.proposals import Proposing
from segloop.backbones.samview import load_sam
from segloop.backbones.vision import load_guide
from segloop.scenes import cells
from segloop.scenes.draw import CLASSES, scene

FOLDER = Path(segloop.__file__).parent / "backbones" / "tiny-sam"
CPU = torch.device("cpu")
SCENES = [scene(seed, (192, 256)) for seed in (401, 402, 403)]


@pytest.fixture(scope="module")
def sam():
    return load_sam("tiny-sam", CPU, torch.float32, offline=True)


@pytest.fixture(scope="module")
def masker():
    return load_masker("tiny-sam", CPU, offline=True)


def test_the_folder_holds_what_it_should_and_is_small(sam):
    assert {path.name for path in FOLDER.iterdir()} == {"config.json", "model.safetensors", "README.md"}
    assert json.loads((FOLDER / "config.json").read_text())["architectures"] == ["SamModel"]
    assert sum(part.numel() for part in sam.model.parameters()) <= 1_500_000
    row = GUIDES["tiny-sam"]
    assert (row.kind, row.patch, row.bundled, row.published) == ("sam", sam.patch, True, False)
    assert MASKERS["tiny-sam"] == row.hub
    assert all(torch.isfinite(part).all() for part in sam.model.state_dict().values())


@pytest.mark.parametrize("draw, least", [(scene, 0.8), (cells.scene, 0.6)])
def test_a_point_and_a_box_mean_the_thing_that_is_there(sam, draw, least):
    """Of the things of eight scenes that were not trained on: mean intersection over union with the true mask."""
    found = []
    for seed in range(400, 408):
        drawn = draw(seed, (192, 256))
        view = sam.look(sam.frame(drawn.image))
        for k in np.unique(drawn.mask[drawn.mask >= 6]):  # a shape's colour
            y, x = np.nonzero(drawn.mask == k)
            box = torch.tensor([[[x.min(), y.min(), x.max(), y.max()]]]).float()
            inside = np.argmin(np.hypot(x - x.mean(), y - y.mean()))
            point = torch.tensor([[[[x[inside], y[inside]]]]]).float()
            with torch.no_grad():
                answer = sam.model(
                    image_embeddings=view.embedding,
                    input_points=point,
                    input_labels=torch.ones(1, 1, 1, dtype=torch.int64),
                    input_boxes=box,
                    multimask_output=False,
                )
            guess = (view.frame.greatest(answer.pred_masks[0, :, 0]) > 0).numpy()
            true = drawn.mask == k
            found.append((guess & true).sum() / (guess | true).sum())
    assert len(found) >= 6 and np.mean(found) > least


def test_its_affinity_holds_regions_together(sam):
    for drawn in SCENES:
        view = sam.look(sam.frame(drawn.image))
        (rows, columns), (height, width) = view.grid, drawn.mask.shape
        y, x = (np.arange(rows) * 2 + 1) * height // (2 * rows), (np.arange(columns) * 2 + 1) * width // (2 * columns)
        classes = torch.from_numpy(drawn.mask[y][:, x].copy()).flatten()
        same = (classes[:, None] == classes).float()
        inside = (view.affinity(Trident()) * same).sum(1).mean()
        assert inside > 1 - (1 - same.mean()) / 3  # at most a third of what would stray by chance


def test_masks_of_everything(masker):
    """Each true region is found again: the best mask of a point grid covers most of it and little else."""
    found, covered = [], []
    for drawn in SCENES:
        ids = masker(drawn.image, Proposing())
        assert ids.shape == drawn.mask.shape
        covered.append((ids > 0).mean())
        for k in np.unique(drawn.mask):
            true = drawn.mask == k
            best = max(((ids == one) & true).sum() / ((ids == one) | true).sum() for one in np.unique(ids))
            found.append(best)
    assert np.mean(found) > 0.7 and np.mean(covered) > 0.7


def test_regions_that_it_draws_vote():
    """Not better than pixels alone, since larger masks lie on top of small things; never far from them either."""
    segmenter = Segmenter.from_pretrained("tiny", dtype="float32", offline=True)
    voted = [segmenter(one.image, list(CLASSES), masks="tiny-sam").labels == one.mask for one in SCENES]
    assert np.mean(voted) > 0.9


@pytest.mark.parametrize("options", [{"method": "trident"}, {"host": "trident"}, {"method": "sclip", "refine": "sam"}])
def test_trident_and_refinement_run_without_a_download(options):
    guided = {} if options.get("method") == "sclip" else {"vision": "tiny-dino"}
    given = {"affinity": "tiny-sam", "dtype": "float32", "offline": True, **guided, **options}
    segmenter = Segmenter.from_pretrained("tiny", **given)
    for drawn in SCENES[:2]:
        most = np.bincount(drawn.mask.ravel()).max() / drawn.mask.size
        assert (segmenter(drawn.image, list(CLASSES)).labels == drawn.mask).mean() > max(most, 0.7)


def test_it_guides_proxy_attention():
    guide = load_guide("tiny-sam", CPU, torch.float32)
    assert guide.kind == "sam" and guide(torch.randn(2, 3, 64, 96)).shape == (2, 64, 32, 32)


def test_which_is_which(segment, photos):
    words = ["--classes", "grass, sand", "--clip"]
    assert "guides attention" in complaint(segment(photos / "street.jpg", *words, "tiny-sam"))
    dino = ["tiny", "--set", "refine=sam", "--affinity", "tiny-dino"]
    assert "did you mean 'tiny-sam'?" in complaint(segment(photos / "street.jpg", *words, *dino))

"""Masks of everything in a photo: point grid, stability, box suppression by hand, SAM and SAM 2 in the plain form."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

import models
from segloop.backbones import prompted, proposals
from segloop.backbones.prompted import ADAPTERS, Masker, load_masker
from segloop.backbones.proposals import Proposing, grid, proposed, stability, suppress
from segloop.backbones.shared import weights_hash
from segloop.errors import ModelError, OptionError
from tolerances import U

ALL = Proposing(mask_points=4, mask_iou=0.0, mask_stability=0.0, mask_overlap=1.0)
CPU = torch.device("cpu")
PIXELS = 1e3 * U[torch.float32]  # of a network in float64 whose pixels and points are rounded to float32
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])

pytestmark = pytest.mark.usefixtures("one_thread")


# pure parts -------------------------------------------------------------------------------------------------------


def test_points_lie_in_the_middles_of_cells():
    assert grid(2).tolist() == [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]
    assert grid(8).shape == (64, 2)


def test_stability_by_hand():
    logits = torch.tensor([[[2.0, 0.5], [-0.5, -3.0]], [[2.0, 2.0], [2.0, 2.0]], [[-2.0, -2.0], [-2.0, -2.0]]])
    found = stability(logits)  # 1 pixel above 1, 3 above -1
    assert found[:2].tolist() == [pytest.approx(1 / 3), 1.0] and found[2].isnan()


def plain_overlap(one, other):
    sides = [min(one[i + 2], other[i + 2]) - max(one[i], other[i]) for i in (0, 1)]
    shared = max(sides[0], 0) * max(sides[1], 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return shared / (sum(areas) - shared) if sum(areas) - shared else 0.0


@settings(max_examples=40)
@given(seed=st.integers(0, 10**6), most=st.sampled_from([0.0, 0.3, 0.7, 1.0]), count=st.integers(0, 12))
def test_of_boxes_that_overlap_the_best_stays(seed, most, count):
    rng = np.random.default_rng(seed)
    boxes = np.sort(rng.integers(0, 6, (count, 2, 2)), axis=1).reshape(count, 4)
    scores = rng.integers(0, 3, count) / 2
    kept = suppress(boxes, scores, most)
    expected = []
    for one in sorted(range(count), key=lambda one: -scores[one]):
        if all(plain_overlap(boxes[one], boxes[other]) <= most for other in expected):
            expected.append(one)
    assert kept == expected


def discs(points, size=(20, 30)):
    """Logits that fall by 1 a pixel around points, 0 at 5.5 pixels; those of the left half are unsure."""
    y, x = torch.meshgrid(torch.arange(size[0]) + 0.5, torch.arange(size[1]) + 0.5, indexing="ij")
    far = ((x - points[:, 0, None, None] * size[1]) ** 2 + (y - points[:, 1, None, None] * size[0]) ** 2).sqrt()
    return 5.5 - far, torch.where(points[:, 0] < 0.5, 0.3, 0.8)


def test_what_is_kept_of_what_is_proposed():
    how = Proposing(mask_points=2, mask_iou=0.4, mask_stability=0.4)
    ids = proposed(discs, lambda logits: logits, (20, 30), how)
    left = discs(torch.tensor([[0.75, 0.25], [0.75, 0.75]]))[0] > 0
    assert sorted(np.unique(ids)) == [0, 1, 2] and ((ids > 0) == left.any(0).numpy()).all()
    every = proposed(discs, lambda logits: logits, (20, 30), Proposing(mask_points=2, mask_iou=0.0))
    assert sorted(np.unique(every)) == [0, 1, 2, 3, 4]
    none = proposed(discs, lambda logits: logits, (20, 30), Proposing(mask_points=2, mask_stability=1.0))
    assert none.shape == (20, 30) and not none.any()


def test_a_few_masks_at_a_time_change_nothing(monkeypatch):
    how = Proposing(mask_points=3, mask_iou=0.0)
    whole = proposed(discs, lambda logits: logits, (20, 30), how)
    monkeypatch.setattr(proposals, "FULL_BYTES", 1)
    monkeypatch.setattr(proposals, "TOGETHER", 2)
    np.testing.assert_array_equal(proposed(discs, lambda logits: logits, (20, 30), how), whole)


def test_which_lies_on_top():
    """A disc of radius 9 around (10, 10) takes in one of radius 3 around the same point."""
    y, x = torch.meshgrid(torch.arange(20), torch.arange(20), indexing="ij")
    far = ((x - 10.0) ** 2 + (y - 10.0) ** 2).sqrt()

    def both(points):
        return torch.stack([9 - far, 3 - far, *[-far] * (len(points) - 2)]), torch.ones(len(points))

    found = {}
    for top in ("largest", "smallest"):
        how = Proposing(mask_points=2, mask_stability=0.0, mask_overlap=0.5, mask_on_top=top)
        found[top] = proposed(both, lambda logits: logits, (20, 20), how)
        assert ((found[top] > 0) == (far < 9).numpy()).all()
    assert len(np.unique(found["largest"][far.numpy() < 9])) == 1
    inner = found["smallest"][far.numpy() < 3]
    assert len(np.unique(inner)) == 1 and inner[0] != found["smallest"][10, 2]


@pytest.mark.parametrize(
    "wrong",
    [{"mask_points": 0}, {"mask_points": 65}, {"mask_iou": 1.1}, {"mask_overlap": -0.1}, {"mask_on_top": "first"}],
)
def test_constants_out_of_range(wrong):
    with pytest.raises(OptionError, match="is not possible"):
        Proposing(**wrong)


# networks ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("maskers")


def photo(height, width):
    rng = np.random.default_rng(5)
    return (
        rng.integers(0, 256, (-(-height // 8), -(-width // 8), 3), np.uint8).repeat(8, 0).repeat(8, 1)[:height, :width]
    )


@pytest.mark.parametrize(("name", "size"), [("sam", (64, 64)), ("sam", (40, 64)), ("sam2", (64, 64))])
def test_what_networks_say_of_points(name, size, monkeypatch):
    """Logits at the photo's size and predicted IoU, of photos that fill the square or its width."""
    model = models.masker_model(name).double()
    monkeypatch.setattr(prompted, "proposed", lambda say, full, size, how: (say, full))
    say, full = Masker(model, name, ADAPTERS[name])(photo(*size), ALL)
    points = grid(3)
    logits, quality = say(points)
    pixels = ((torch.from_numpy(photo(*size)) / 255 - MEAN) / STD).movedim(-1, 0)[None]
    pixels = F.pad(pixels, (0, 64 - size[1], 0, 64 - size[0])).double()
    maps = full(logits)
    assert maps.shape == (9, *size) and maps.amax() > 0 > maps.amin()
    for number, (x, y) in enumerate(points.double().tolist()):
        point = torch.tensor([x * size[1], y * size[0]], dtype=torch.float64)
        alone = model(pixel_values=pixels, input_points=point[None, None, None], multimask_output=False)
        low = alone.pred_masks[:, 0].clamp(-32, 32) if name == "sam2" else alone.pred_masks[:, 0]
        expected = F.interpolate(low, size=(64, 64), mode="bilinear")[0, 0, : size[0], : size[1]]
        torch.testing.assert_close(maps[number], expected, rtol=0, atol=float(PIXELS * expected.abs().amax()))
        torch.testing.assert_close(quality[number], alone.iou_scores[0, 0, 0], rtol=PIXELS, atol=PIXELS)


@pytest.mark.parametrize("name", ["sam", "sam2"])
@pytest.mark.parametrize("size", [(30, 50), (90, 20), (1, 200)])
def test_photos_of_any_size(root, name, size):
    masker = load_masker(str(models.masker_folder(root, name)), CPU)
    ids = masker(photo(*size), ALL)
    assert ids.shape == size and ids.dtype == np.int64
    np.testing.assert_array_equal(masker(photo(*size), ALL), ids)


def test_other_weights_are_another_network(root):
    masker = load_masker(str(models.masker_folder(root, "sam")), CPU)
    other = Masker(models.masker_model("sam"), "other", ADAPTERS["sam"])
    assert weights_hash(masker.model) == weights_hash(other.model)
    other = Masker(models.masker_model("sam"), "other", ADAPTERS["sam"])
    other.model.mask_decoder.iou_token.weight.add_(1)
    assert weights_hash(masker.model) != weights_hash(other.model)


def test_models_that_draw_no_masks(root, toy_clip):
    with pytest.raises(
        ModelError, match=r"of type 'clip', which draws no masks .* SAM 2: sam, sam2, tiny-sam, a hub id"
    ):
        load_masker(str(toy_clip), CPU)
    with pytest.raises(ModelError, match="is not on this machine"):
        load_masker("sam2", CPU, offline=True)
    masker = Masker(models.masker_model("sam"), "broken", ADAPTERS["sam"])
    masker.model.mask_decoder.iou_token.weight.fill_(float("nan"))
    with pytest.raises(ModelError, match="'broken' gives values that are not finite"):
        masker(photo(20, 20), ALL)


def test_the_hub_s_sam2_is_of_its_model_of_videos(root, tmp_path):
    import json
    import shutil

    folder = shutil.copytree(models.masker_folder(root, "sam2"), tmp_path / "video")
    config = json.loads((folder / "config.json").read_text()) | {"model_type": "sam2_video", "num_maskmem": 7}
    (folder / "config.json").write_text(json.dumps(config))
    here, there = (load_masker(str(one), CPU) for one in (folder, models.masker_folder(root, "sam2")))
    assert weights_hash(here.model) == weights_hash(there.model)

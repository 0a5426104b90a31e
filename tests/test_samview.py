"""SAM's view of a photo and refinement by its masks (spec 2.12.1, 5.6): the library, a plain form, and records."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage
from transformers.models.sam import modeling_sam

from golden import Case, cases
from models import folder, guide_model, pixels
from segloop.attention.affinity import Trident
from segloop.backbones import samview
from segloop.backbones.samview import load_sam
from segloop.errors import ModelError
from segloop.maps import probabilities as parts_of
from segloop.maps.connected import connected
from segloop.maps.decide import Block, Decision, Rule, class_scores
from segloop.maps.probabilities import Probabilities
from segloop.maps.prompts import Prompts, Refinement, refine
from tolerances import NETWORK, U

CPU = torch.device("cpu")


def photo(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture(scope="module")
def sam(tmp_path_factory: pytest.TempPathFactory):
    return load_sam(str(folder(tmp_path_factory.mktemp("sam"), "sam")), CPU, torch.float32)


# --- the encoder; the reduced SAM has 4 x 4 patches of 16 pixels ---


@pytest.mark.parametrize("size", [(40, 70), (64, 64), (200, 3)])
def test_a_photo_lies_in_the_upper_left_of_its_frame(sam, size: tuple[int, int]):
    frame = replace(sam, multiple=16).frame(photo(*size))
    height, width = frame.inside
    assert max(height, width) == 64 and frame.photo == size
    assert all(side % 16 == 0 for side in frame.resized)
    assert frame.pixels.shape == (1, 3, 64, 64)
    assert not frame.pixels[..., height:, :].any() and not frame.pixels[..., width:].any()
    assert frame.pixels[..., :height, :width].abs().sum(1).min() > 0


def test_halves_are_frames_of_their_own(sam):
    both = list(replace(sam, multiple=15).frames(photo(40, 130), 2))
    assert [frame.resized for frame in both] == [(45, 75)] * 2  # of 45 x 150: equal halves of an odd patch, too
    assert [frame.inside for frame in both] == [(38, 64)] * 2
    assert not torch.equal(both[0].pixels, both[1].pixels)


def test_the_encoder_is_the_librarys(sam):
    view = sam.look(replace(sam, multiple=8).frame(photo(40, 70)))
    expected = sam.model.get_image_embeddings(view.frame.pixels)
    assert (view.embedding - expected).abs().max() <= NETWORK * expected.abs().max()


def test_the_last_attention_is_the_librarys_over_all_patches(sam):
    view = sam.look(replace(sam, multiple=8).frame(photo(40, 70)))
    assert view.grid == (2, 4)
    layer = sam.layers[-1]
    plain = modeling_sam.SamVisionAttention(sam.model.config.vision_config, 0)
    plain.load_state_dict(layer.attn.state_dict())
    _, attention = plain(layer.layer_norm1(view.x))  # (h, 16, 16)
    heads = sam.opened(layer, view.x)
    assert (heads.rows(slice(0, 16)) - attention).abs().max() <= 1e3 * U[torch.float32]
    unit = torch.nn.functional.normalize(heads.values[:, :8], dim=-1)
    alike = unit @ unit.mT
    kept = torch.where(alike > (1.2 * alike.mean((0, 2))).clamp(max=0.9)[:, None], attention[:, :8, :8], 0).mean(0)
    found = view.affinity(Trident())
    assert (found - kept / kept.sum(-1, keepdim=True)).abs().max() <= 1e4 * U[torch.float32]


def test_rows_of_attention_come_in_blocks(sam, monkeypatch: pytest.MonkeyPatch):
    view = sam.look(replace(sam, multiple=8).frame(photo(64, 64)))
    heads = sam.opened(sam.layers[-1], view.x)
    whole = heads.mixed()
    monkeypatch.setattr(samview, "BLOCK", {"cpu": 2 * 16 * 3})
    assert (heads.mixed() - whole).abs().max() <= 100 * U[torch.float32] * whole.abs().max()


def test_masks_normed_over_channels_are_the_librarys(sam):
    view = sam.look(replace(sam, multiple=8).frame(photo(64, 50)))
    points, boxes = (
        torch.tensor([[5.0, 7.0], [30.0, 20.0]]),
        torch.tensor([[1.0, 2.0, 20.0, 30.0], [9.0, 9.0, 40.0, 60.0]]),
    )
    mask = pixels(16, 16)
    sparse, dense = sam.model.prompt_encoder(
        points[None, :, None], torch.ones(1, 2, 1, dtype=torch.int64), boxes[None], mask[None, None]
    )
    expected = sam.model.mask_decoder(
        view.embedding, sam.model.get_image_wide_positional_embeddings(), sparse, dense, multimask_output=False
    )
    found = view.masks(points, boxes, mask, "channels")
    for one, other in zip(found, expected, strict=True):
        assert (one - other[0, :, 0]).abs().max() <= NETWORK * other.abs().max()
    rows = view.masks(points, boxes, mask, "rows")
    assert not torch.allclose(rows[0], found[0])


def test_only_a_sam_is_opened(tmp_path):
    with pytest.raises(ModelError, match="not a SAM"):
        load_sam(str(folder(tmp_path, "dino")), CPU, torch.float32)
    with pytest.raises(ModelError, match="did you mean 'sam'"):
        load_sam("samm", CPU, torch.float32)
    guide_model("sam").vision_encoder.save_pretrained(tmp_path / "encoder")
    with pytest.raises(ModelError):
        load_sam(str(tmp_path / "encoder"), CPU, torch.float32)


def test_recent_views_are_kept_where_photos_are_seen_twice(sam, monkeypatch: pytest.MonkeyPatch):
    keeping = replace(sam, multiple=8, recent={})
    frames = [keeping.frame(photo(40, 50 + number)) for number in range(samview.RECENT + 1)]
    views = [keeping.look(frame) for frame in frames]
    assert keeping.look(frames[-1]) is views[-1] and keeping.look(keeping.frame(photo(40, 51))) is views[1]
    assert len(keeping.recent) == samview.RECENT and keeping.look(frames[0]) is not views[0]
    assert sam.look(frames[0]) is not sam.look(frames[0])


# --- regions ---


@pytest.mark.parametrize("share", [0.0, 0.2, 0.45, 0.6, 1.0])
def test_regions_are_scipys(share: float):
    for shape in ((1, 1), (1, 9), (9, 1), (23, 31)):
        mask = np.random.default_rng(5).random(shape) < share
        expected, count = ndimage.label(mask, np.ones((3, 3)))
        found, number = connected(mask)
        assert number == count
        np.testing.assert_array_equal(found, expected)


def test_a_snail_is_one_region():
    snail = np.array([[1, 1, 1, 1, 1], [0, 0, 0, 0, 1], [1, 1, 1, 0, 1], [1, 0, 0, 0, 1], [1, 1, 1, 1, 1]], bool)
    assert connected(snail)[1] == 1
    assert connected(np.eye(7, dtype=bool))[1] == 1
    assert connected(np.eye(7, dtype=bool)[:, ::-1])[1] == 1


# --- refinement ---


def given(probabilities: torch.Tensor):
    return lambda classes: ((number, probabilities[number]) for number in classes)


def recorded() -> list:
    slow = {"refine_no_coarse"}
    found = cases("H_masks/sam_refine")
    return [pytest.param(one, marks=pytest.mark.soak if str(one) in slow else ()) for one in found]


@pytest.mark.parametrize("case", recorded(), ids=str)
def test_recorded_refinements(case: Case):
    manifest, arrays, tolerance = case.manifest, case.arrays, case.manifest["tolerance"]
    params = {name: value for name, value in manifest["params"].items() if name != "stride"}
    constants = Refinement(**params)
    sam = load_sam(str(case.folder.parents[1] / "models" / manifest["sam"]), CPU, torch.float32)
    prompted = replace(sam, multiple=manifest["params"]["stride"]).prompted(arrays["photo"], constants.mask_norm)
    probabilities, asked, said = torch.from_numpy(arrays["probabilities"]).float(), [], []

    def masks(*prompts):
        answer = prompted(*prompts)
        asked.append(prompts)
        said.append(answer[0])
        return answer

    labels = torch.from_numpy(arrays["labels"]).long()
    decision = Decision(labels, probabilities.amax(0))
    found = refine(decision, len(probabilities), given(probabilities), masks, constants, (sam.side, 256)).labels
    points, boxes = (torch.cat([prompts[part] for prompts in asked]) for part in (0, 1))
    assert np.abs(points.numpy() - arrays["points"]).max() <= tolerance["points"]
    assert np.abs(boxes.numpy() - arrays["boxes"]).max() <= tolerance["boxes"]
    assert np.abs(torch.cat(said).numpy() - arrays["iou"]).max() <= tolerance["iou"]
    assert (found.numpy() == arrays["refined"]).mean() >= tolerance["label_agreement"]


def blob(labels: torch.Tensor, number: int, top: int, left: int, height: int, width: int) -> None:
    labels[top : top + height, left : left + width] = number


def made_up() -> tuple[torch.Tensor, torch.Tensor]:
    """Labels (60, 90) with three blobs of class 1 and one of class 2, and probabilities (3, 60, 90)."""
    labels = torch.zeros(60, 90, dtype=torch.int64)
    for place in ((2, 2, 20, 20), (30, 40, 24, 24), (0, 80, 2, 4)):
        blob(labels, 1, *place)
    blob(labels, 2, 4, 50, 20, 30)
    generator = torch.Generator().manual_seed(1)
    noise = torch.rand(3, 60, 90, generator=generator)
    return labels, (0.3 * noise + torch.nn.functional.one_hot(labels, 3).movedim(-1, 0)).clamp(max=1)


def refined(labels, probabilities, masks, **constants):
    settings = Refinement(**{"minimal_area": 50} | constants)
    sure = torch.gather(probabilities, 0, labels[None].clamp(max=len(probabilities) - 1))[0]
    found = refine(Decision(labels, sure), len(probabilities), given(probabilities), masks, settings, (1024, 256))
    expected = torch.gather(probabilities, 0, found.labels[None].clamp(max=len(probabilities) - 1))[0]
    assert torch.equal(found.confidence, expected)
    return found.labels


def test_no_accepted_mask_leaves_the_labels():
    labels, probabilities = made_up()
    found = refined(labels, probabilities, lambda points, *_: (torch.zeros(len(points)), None))
    assert torch.equal(found, labels) and found is not labels


def test_prompts_by_hand():
    labels, probabilities = made_up()
    probabilities[1, 10:12, 14:16] = 1.0
    probabilities[1, 10:12, 14:16] += 1e-3
    asked = []
    refined(
        labels, probabilities, lambda *prompts: (asked.append(Prompts(*prompts)) or torch.zeros(len(prompts[0])), None)
    )
    background, blobs, other = asked
    assert len(background.points) == len(other.points) == 1 and len(blobs.points) == 2  # one is too small
    scale = 1024 / 45  # of half the width; 683 / 30 of half the height
    down = 683 / 30
    expected = torch.tensor([1 * scale, 1 * down, 10 * scale, 10 * down])
    assert (blobs.boxes[0] - expected).abs().max() < 1e-3
    assert (blobs.points[0] - torch.tensor([7 * scale, 5 * down])).abs().max() < 1e-3
    assert blobs.mask.shape == (256, 256) and not blobs.mask[171:].any()
    assert 0 < blobs.mask.max() <= 0.005 * 1.001


def test_accepted_masks_compete_by_sigmoid_times_probability():
    labels, probabilities = made_up()
    logits = torch.randn(4, 60, 90, generator=torch.Generator().manual_seed(2))
    use = iter(([0], [1, 2], [3]))

    def masks(*prompts):
        own = logits[next(use)]
        return torch.ones(len(own)), lambda chosen: own[chosen].amax(0)

    found = refined(labels, probabilities, masks)
    owner = [0, 1, 1, 2]
    score = torch.stack([(logits[i].sigmoid() * probabilities[owner[i]]) * (logits[i] > 0) for i in range(4)])
    classes = torch.stack([score[0], score[1:3].amax(0), score[3]])
    expected = torch.where(classes.sum(0) > 0, classes.argmax(0), labels)
    assert torch.equal(found, expected)


def test_pixels_without_class_and_tiny_photos_are_left():
    labels, probabilities = made_up()
    blob(labels, 255, 40, 0, 20, 30)
    found = refined(labels, probabilities, lambda points, *_: (torch.zeros(len(points)), None))
    assert torch.equal(found, labels)
    one = torch.zeros(1, 1, dtype=torch.int64)
    assert torch.equal(refined(one, torch.ones(1, 1, 1), None), one)


def test_a_coarse_threshold_looks_at_all_classes():
    labels, probabilities = made_up()
    asked = []
    low = probabilities * 0.15
    refined(labels, low, lambda *prompts: asked.append(prompts))
    assert not asked
    refined(labels, low, lambda *one: (asked.append(one) or torch.zeros(len(one[0])), None), coarse_threshold=0.0)
    assert len(asked) == 3


@pytest.mark.parametrize("by_rows", [True, False])
@pytest.mark.parametrize("at_once", [1, 5 * 4 * 7 * 9, 2**30])
def test_probabilities_in_blocks_are_class_scores(by_rows: bool, at_once: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(parts_of, "AT_ONCE", at_once)
    cosines, index = pixels(23, 7, 9), torch.arange(23) * 7 % 11
    rule = Rule(index, 11, 40.0)
    if by_rows:
        blocks = [Block(slice(a, min(a + 3, 7)), slice(0, 23), cosines[:, a : a + 3]) for a in range(0, 7, 3)]
    else:
        blocks = [Block(slice(0, 7), slice(a, min(a + 5, 23)), cosines[a : a + 5]) for a in range(0, 23, 5)]
    wanted = [3, 0, 10, 7]
    found = list(Probabilities(lambda: blocks, (7, 9), rule)(wanted))
    assert [number for number, _ in found] == wanted
    expected = class_scores(cosines, rule)[wanted]
    assert (torch.stack([own for _, own in found]) - expected).abs().max() <= 40 * 4 * 8 * U[torch.float32]

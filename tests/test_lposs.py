"""LPOSS as a method: from photos to scores against the textbook, recorded cases, and what it is refused."""

import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from golden import MORE, ROOT, Case, cases
from models import folder
from segloop import Segmenter, Vocabulary
from segloop.backbones.pixels import UNIT, framed
from segloop.choice.naming import Choice
from segloop.choice.plan import resolve
from segloop.data.datasets import Sample
from segloop.errors import OptionError
from segloop.evaluation.anew import KeptRun
from segloop.evaluation.source import Kept, Live, write_scores
from segloop.images import CLIP, IMAGENET, normalise
from segloop.line.steps import full_map
from segloop.maps.decide import Block, decide
from segloop.maps.propagation import PatchGraph, patch_places
from textbook_graphs import dense_graph, dense_normalised, textbook_solver
from tolerances import U

RENAMED = {  # settings as the cases have them, and as they are called here
    "neighbours": ("graph_neighbours",),
    "gamma": ("graph_gamma",),
    "pixel_distance_weight": ("graph_distance_weight",),
    "pixel_distance_power": ("graph_distance_power",),
    "alpha": ("graph_alpha", "pixel_alpha"),
    "solver_steps": ("graph_steps", "pixel_steps"),
    "solver_tolerance": ("graph_tolerance", "pixel_tolerance"),
}
GEOMETRY = {"short_side": 64, "crop": 48, "stride": 24, "dtype": "float32"}
WORDS = ["grass", "sand", "water"]
PHOTO = np.random.default_rng(3).integers(0, 256, (70, 120, 3), dtype=np.uint8)
SPREAD = 1e4 * U[torch.float32]  # of scores up to 10, by networks and a solver that ends at a residual of 1e-2


@pytest.fixture(scope="module")
def dino(tmp_path_factory, one_thread) -> str:
    return str(folder(tmp_path_factory.mktemp("guides"), "dino"))


def renamed(constants: dict) -> dict:
    return {new: value for name, value in constants.items() for new in RENAMED.get(name, (name,))}


@pytest.mark.skipif(not MORE.is_dir(), reason="reference cases are not beside the project")
def test_the_cases_are_there():
    assert sum(case.manifest["method"] == "lposs" for case in cases("B_end_to_end")) == 4


@pytest.mark.parametrize("case", [c for c in cases("B_end_to_end") if c.manifest["method"] == "lposs"], ids=str)
def test_recorded_pictures(case: Case):
    manifest, arrays, tolerance = case.manifest, case.arrays, case.manifest["tolerance"]
    places = case.beside(manifest["clip_model"]), case.beside(manifest["vision_model"])
    recipe = renamed(manifest["recipe"])
    segmenter = Segmenter.from_pretrained(places[0], method="lposs", vision=places[1], fidelity="reference", **recipe)
    text, owners = (torch.from_numpy(arrays[name]) for name in ("text", "query_index"))
    vocabulary = Vocabulary([f"c{i}" for i in range(manifest["classes"])], embeddings=text, query_index=owners)
    rule = segmenter.rule(vocabulary)
    ready = segmenter.prepare(case.beside(manifest["image"]))
    (logits,) = segmenter.tiles([ready], text)
    found = full_map(segmenter.parts(ready, logits, owners), (len(owners), *ready.target))
    decision = decide(lambda: [Block(slice(0, ready.target[0]), slice(0, len(owners)), found)], ready.target, rule)
    scores = found[np.unique(owners, return_index=True)[1], ::8, ::8]  # queries of a class have its map
    difference = (scores - torch.from_numpy(arrays["scores"])).abs()
    assert difference.max() <= tolerance["scores_max_abs"]
    assert difference.mean() <= tolerance["scores_mean_abs"]
    assert (decision.labels.numpy() == arrays["labels"]).mean() >= tolerance["label_agreement"]


WITH_WINDOWS = [case for case in cases("F_propagation") if "window_images" in case.manifest["arrays"]]


@pytest.mark.parametrize("case", WITH_WINDOWS, ids=str)
def test_recorded_features(case: Case):
    manifest, arrays, tolerance = case.manifest, case.arrays, case.manifest["tolerance"]
    models = [root / "A_tensor" / "models" for root in (MORE, ROOT)]
    clip, vision = (
        next(place / manifest[name] for place in models if (place / manifest[name]).is_dir())
        for name in ("clip", "vision")
    )
    segmenter = Segmenter.from_pretrained(clip, method="lposs", vision=vision, fidelity="reference")
    mean, std = (torch.from_numpy(numbers)[:, None, None] for numbers in CLIP.in_bytes)
    pixels = (torch.from_numpy(arrays["window_images"]).float() * 255 - mean) / std
    text = torch.from_numpy(arrays["text"])
    rows = segmenter.network.windows(pixels, text).movedim(1, -1).flatten(0, 2)
    own, guide = rows[:, : text.shape[1]], rows[:, text.shape[1] :]
    assert np.abs(guide.numpy() - arrays["guide"]).max() <= tolerance["guide"]
    assert np.abs((own @ text.T).numpy() - arrays["initial"]).max() <= tolerance["initial"]


def textbook(segmenter: Segmenter, handed: Tensor, where, text: Tensor, patch: int, c: PatchGraph) -> Tensor:
    """(n, E + C, h, w) -> (n, Q, h, w) with dense matrices."""
    n, _, h, w = handed.shape
    rows = handed.movedim(1, -1).flatten(0, 2).double()
    own, guide = rows[:, : text.shape[1]], rows[:, text.shape[1] :]
    graph = dense_normalised(dense_graph(guide, patch_places(where, (h, w), (patch, patch)).double(), c))
    matrix = torch.eye(len(rows), dtype=torch.float64) - c.graph_alpha * graph
    scores = (own @ text.double().T).T
    found = torch.stack([textbook_solver(matrix, b, c.graph_steps, c.graph_tolerance) for b in scores], 1)
    return found.view(n, h, w, -1).movedim(-1, 1).float()


def test_windows_are_joined_as_in_the_textbook(dino):
    segmenter = Segmenter.from_pretrained("tiny", method="lposs", vision=dino, **{**GEOMETRY, "short_side": 32})
    ready = segmenter.prepare(PHOTO[:60, :100])
    text = segmenter.text(Vocabulary(WORDS))
    handed = segmenter.network.windows(ready.windows, text)
    torch.testing.assert_close(handed[:, : text.shape[1]].norm(dim=1), torch.ones_like(handed[:, 0]))
    expected = textbook(segmenter, handed, ready.where, text, 8, PatchGraph())
    (found,) = segmenter.tiles([ready], text)
    torch.testing.assert_close(found, expected, rtol=0, atol=SPREAD)


def test_photos_of_a_batch_do_not_meet(dino):
    segmenter = Segmenter.from_pretrained("tiny", method="lposs+", vision=dino, **GEOMETRY)
    photos = [PHOTO, PHOTO[:, ::-1].copy(), PHOTO[:40, :80], np.full((50, 90, 3), 128, np.uint8)]
    text = segmenter.text(Vocabulary(WORDS))
    ready = [segmenter.prepare(photo) for photo in photos]
    together = segmenter.tiles(ready, text)
    for one, tile in zip(ready[:3], together, strict=False):  # of a flat photo all patches are alike, any may be taken
        torch.testing.assert_close(segmenter.tiles([one], text)[0], tile, rtol=0, atol=SPREAD)
    for photo, found in zip(photos, segmenter(photos, WORDS), strict=True):
        assert found.labels.shape == photo.shape[:2] and np.isfinite(found.confidence_map).all()


@pytest.mark.parametrize(("size", "fidelity"), [((9, 100), "default"), ((100, 9), "reference"), ((5, 5), "reference")])
def test_thin_and_small_photos(dino, size, fidelity):
    small = {"short_side": 24, "crop": 24, "stride": 12, "fidelity": fidelity}
    segmenter = Segmenter.from_pretrained("tiny", method="lposs+", vision=dino, **small)
    found = segmenter.cosines(PHOTO[np.ix_(np.arange(size[0]) % 70, np.arange(size[1]) % 120)], WORDS)
    assert found.shape == (3, *size) and found.isfinite().all()


@pytest.mark.parametrize("queries", [1, 847])
def test_any_number_of_words(dino, queries):
    segmenter = Segmenter.from_pretrained("tiny", method="lposs", vision=dino, **GEOMETRY)
    rows = F.normalize(torch.randn(queries, segmenter.clip.width, generator=torch.Generator().manual_seed(0)), dim=1)
    names = [f"c{i}" for i in range(queries)]
    with pytest.warns(UserWarning) if queries == 1 else np.errstate():
        labels = segmenter(PHOTO, Vocabulary(names, embeddings=rows)).labels
    assert labels.shape == PHOTO.shape[:2] and (labels.max() > 0) == (queries > 1)


def test_the_pixel_graph_is_a_setting_and_a_row(dino):
    plus = Segmenter.from_pretrained("tiny", method="lposs+", vision=dino, **GEOMETRY)
    same = Segmenter.from_pretrained("tiny", method="lposs", vision=dino, pixel_refine=True, **GEOMETRY)
    assert torch.equal(plus.cosines(PHOTO, WORDS), same.cosines(PHOTO, WORDS))
    with pytest.raises(OptionError, match=r"no cosines, and method qq has no scale.*lposs\+, perhaps with --host"):
        resolve(Choice("qq", overrides={"pixel_refine": True}))
    with pytest.raises(OptionError, match=r"pixel_refine=off keeps its step off.*pixel_refine=on"):
        Segmenter.from_pretrained("tiny", method="lposs", vision=dino, pixel_tau=0.1)


def test_one_window_is_a_photo_of_its_own(dino):
    segmenter = Segmenter.from_pretrained("tiny", method="lposs", vision=dino, **GEOMETRY)
    text = segmenter.text(Vocabulary(WORDS))
    pixels = torch.from_numpy(normalise(PHOTO))[None]  # 70 x 120: a margin of 6 pixels is dropped
    found = segmenter.logits(torch.cat([pixels, pixels.flip(3)]), text)
    assert found.shape == (2, 3, 8, 15)
    torch.testing.assert_close(segmenter.logits(pixels, text), found[:1], rtol=0, atol=SPREAD)


def test_on_another_host_its_own_constants_are_kept(dino):
    segmenter = Segmenter.from_pretrained("tiny", method="lposs", host="sclip", vision=dino, **GEOMETRY)
    assert (segmenter.plan.host, segmenter.plan.deciding.logit_scale) == ("sclip", 1.0)
    assert segmenter.plan.around.residual and segmenter.cosines(PHOTO, WORDS).isfinite().all()


def test_the_plan_of_a_row():
    for name, pixels in (("lposs", False), ("lposs+", True)):
        plan = resolve(Choice(name))
        assert (plan.vision, plan.guidance.vision_feature, plan.beside) == ("dino-b16", "v", True)
        assert (plan.geometry.short_side, plan.geometry.crop, plan.geometry.stride) == (448, 224, 112)
        assert (plan.around.residual, plan.around.mlp, plan.deciding.logit_scale) == (True, True, 1.0)
        assert plan.deciding.background_threshold is None and plan.map_steps[0].pixel_refine is pixels
        assert plan.records == {"patchgraph": {f"graph_{key}": value for key, value in GRAPH.items()}}


GRAPH = {"neighbours": 400, "gamma": 3.0, "alpha": 0.95, "distance_weight": 0.01, "distance_power": 1.0}
GRAPH |= {"steps": 10, "tolerance": 1e-6}


@pytest.mark.parametrize("fidelity", ["default", "reference"])
def test_kept_scores_are_decided_anew_as_they_were(dino, tmp_path, fidelity):
    segmenter = Segmenter.from_pretrained("tiny", method="lposs+", vision=dino, fidelity=fidelity, **GEOMETRY)
    vocabulary = Vocabulary(["grass | ground", "sand", "water | sea | red"])
    photo = tmp_path / "photo.png"
    Image.fromarray(PHOTO).save(photo)
    sample = Sample("photo", photo, photo)
    live = Live(segmenter, segmenter.text(vocabulary), segmenter.rule(vocabulary))
    ready = live.read(sample)
    (tiles,) = live.tiles([ready])
    write_scores(tmp_path, sample, live.encode(ready, tiles))
    kept = Kept(tmp_path, segmenter.plan.map_steps, segmenter.plan.label_steps, live.rule)
    again = kept.read(sample)
    assert (kept.labels(again, *kept.tiles([again])) == live.labels(ready, tiles)).all()
    maps = segmenter.cosines(PHOTO, vocabulary)
    assert torch.equal(maps[0], maps[1]) == (fidelity == "reference")  # synonyms have one map there


def test_kept_cosines_are_not_made_scores(tmp_path):
    kept = KeptRun(tmp_path, {"settings": {"method": "sclip"}}, None, Vocabulary(WORDS), None)
    with pytest.raises(OptionError, match="no cosines, and method sclip has no scale"):
        kept.source({"pixel_refine": True})


def test_feedback_is_refused():
    for host in ("lposs", "lposs+", "lposs:sclip"):
        with pytest.raises(OptionError, match=re.escape(f"on {host}, which has no attention behind its scores")):
            resolve(Choice(None, host))


def test_a_guide_without_values_is_refused(tmp_path):
    with pytest.raises(OptionError, match="vision_feature to tokens"):
        Segmenter.from_pretrained("tiny", method="lposs", vision=folder(tmp_path, "dinov2"))


def test_windows_are_framed_in_black():
    image = np.random.default_rng(0).integers(0, 256, (10, 13, 3), dtype=np.uint8)
    pixels = torch.from_numpy(normalise(image))[None]
    seen = framed(pixels, CLIP, 8, IMAGENET)
    plain = F.pad(torch.from_numpy(image).permute(2, 0, 1)[None] / 255.0, (0, 3, 0, 6))
    mean, std = (torch.tensor(numbers)[:, None, None] for numbers in (IMAGENET.mean, IMAGENET.std))
    torch.testing.assert_close(seen, (plain - mean) / std, rtol=0, atol=20 * U[torch.float32])
    torch.testing.assert_close(framed(pixels, CLIP, 1, UNIT), plain[..., :10, :13], rtol=0, atol=10 * U[torch.float32])

"""Trident over whole photos (spec 2.12) and refinement behind any method (5.6), through the public names."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import textbook
from command import complaint, done, record
from golden import Case, cases
from models import folder, text_rows
from segloop import Segmenter, Vocabulary
from segloop.attention.affinity import SideBySide, Trident
from segloop.backbones.samview import View
from segloop.backbones.shared import Models
from segloop.choice.methods import RECIPES
from segloop.choice.naming import Choice
from segloop.choice.plan import resolve
from segloop.errors import ModelError, OptionError
from segloop.line.spliced import Spliced
from segloop.line.whole import whole_of
from tolerances import NETWORK, close_but_for_flips

pytestmark = pytest.mark.usefixtures("one_thread")
SLOW = {"trident_p16_voc20_style", "trident_p14_ade_style", "trident_p16_cityscapes_style"}
GEOMETRY = {"short_side": 64, "crop": 64, "stride": 32}
OPEN = Models()


def recorded() -> list:
    return [pytest.param(one, marks=pytest.mark.soak if str(one) in SLOW else ()) for one in cases("H_masks/trident")]


@pytest.mark.parametrize("case", recorded(), ids=str)
def test_recorded_photos(case: Case):
    manifest, arrays, tolerance = case.manifest, case.arrays, case.manifest["tolerance"]
    params = {name: value for name, value in manifest["params"].items() if name != "sam_refine"}
    models = case.folder.parents[1] / "models"
    clip, vision, sam = (models / manifest[name] for name in ("clip", "vision", "sam"))
    segmenter = Segmenter.from_pretrained(
        clip, method="trident", vision=vision, affinity=sam, fidelity="reference", **params
    )
    text = torch.from_numpy(arrays["text"])
    background = 0 if params["background_threshold"] else None
    names, index = [f"c{i}" for i in range(manifest["classes"])], torch.from_numpy(arrays["query_index"])
    words = Vocabulary(names, background=background, embeddings=text, query_index=index)
    ready = segmenter.prepare(arrays["photo"])
    assert list(ready.size) == manifest["spliced_pixels"] and len(ready.windows) == manifest["windows"]
    (tile,) = segmenter.tiles([ready], text)
    difference = np.abs(tile[0].numpy() - arrays["logits"])
    assert difference.max() <= tolerance["never_above"]
    assert (difference > tolerance["max_abs"]).mean() <= tolerance["may_exceed_fraction"]
    rule = segmenter.rule(words)
    decision = segmenter.decided(ready, segmenter.parts(ready, tile, rule.query_index), rule)
    assert (decision.labels.numpy() == arrays["labels"]).mean() >= tolerance["label_agreement"]


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Local folders of reduced networks: a CLIP, its guide, and a SAM of 4 x 4 patches."""
    root = tmp_path_factory.mktemp("networks")
    return {"model": folder(root, "b16"), "vision": folder(root, "dino-b16"), "affinity": folder(root, "sam")}


def segmenter(named: dict[str, Path], **options) -> Segmenter:
    return Segmenter.from_pretrained(
        **{**named, **GEOMETRY, "dtype": "float32", "offline": True, "models": OPEN, **options}
    )


def photo(height: int, width: int) -> np.ndarray:
    coarse = np.random.default_rng(height * width).integers(0, 256, (6, 6, 3))
    return np.kron(coarse, np.ones((-(-height // 6), -(-width // 6), 1)))[:height, :width].astype(np.uint8)


def words(queries: int) -> Vocabulary:
    return Vocabulary([f"c{i}" for i in range(queries)], embeddings=text_rows(queries))


PHOTOS = [photo(70, 120), photo(120, 70), photo(30, 200), photo(64, 64), photo(5, 7)]


@pytest.mark.parametrize(("queries", "halves"), [(21, False), (847, True)])
def test_photos_of_any_shape_together_are_as_alone(named, queries: int, halves: bool):
    trident = segmenter(named, method="trident", affinity_halves=halves)
    ready = [trident.prepare(one) for one in PHOTOS]
    assert all(side % 16 == 0 and side >= 64 for one in ready for side in one.size)
    together = trident.tiles(ready, text_rows(queries))
    for one, tile in zip(ready, together, strict=True):
        assert tile.shape[:2] == (1, queries) and tile.abs().max() <= 1 + NETWORK
        (alone,) = trident.tiles([one], text_rows(queries))
        close_but_for_flips(tile, alone, tile[0, 0].numel())
    result = trident(PHOTOS[1], words(queries))
    assert result.labels.shape == (120, 70) and np.isfinite(result.confidence_map).all()


def joined(trident: Segmenter, image: np.ndarray, text: torch.Tensor):
    network, ready = trident.network, trident.prepare(image)
    handed = network.windows(ready.windows, text)
    return network.joint.join(replace(whole_of(ready, handed, text, network.clip), models=network.models))


@pytest.mark.parametrize("halves", [False, True])
def test_feedback_stands_on_the_joined_map(named, halves: bool):
    """As the specification writes it, with both matrices stored: one map, whose host is SAM's affinity."""
    options = {"affinity_halves": halves, "cosine_factor": 1.0}
    fed, text = segmenter(named, method="fsa", host="trident", **options), text_rows(5)
    opened = joined(fed, PHOTOS[0], text)
    count = opened.block.v.shape[2]
    assert isinstance(opened.mix, SideBySide) == halves
    host = opened.mix.rows(range(count)).expand(-1, opened.block.v.shape[1], -1, -1).double()
    (tile,) = fed.tiles([fed.prepare(PHOTOS[0])], text)

    def readout(mixed: torch.Tensor) -> torch.Tensor:
        return opened.readout(mixed.float()).double()

    expected = readout(textbook.fsa(host, opened.block.v.double(), readout))
    close_but_for_flips(tile.flatten(2).mT, expected, count)
    assert fed.plan.feedback.lambda_ == 3.0  # as published for a guide
    assert not torch.allclose(
        segmenter(named, method="trident", **options).tiles([fed.prepare(PHOTOS[0])], text)[0], tile
    )


def test_halves_are_cut_in_the_middle_of_both(named):
    """SAM's photo, and the joined map at floor(9 / 2): each half is brought to the grid that SAM saw it on."""
    stage, sam = Spliced(Trident(affinity_halves=True)), segmenter(named, method="trident").network.models["affinity"]
    views = [sam.look(frame) for frame in sam.frames(PHOTOS[2], 2)]
    assert [view.frame.resized for view in views] == [(32, 104)] * 2 and [view.grid for view in views] == [(1, 4)] * 2
    map_ = torch.arange(2 * 5 * 9.0).view(2, 5, 9)
    found, mix = stage._on_grids(map_, views)
    halves = [torch.nn.functional.interpolate(part[None], (1, 4), mode="bilinear")[0] for part in map_.split([4, 5], 2)]
    assert torch.equal(found, torch.cat(halves, 2))
    for part, view in zip(mix.parts, views, strict=True):
        assert torch.equal(part.weights[0], view.affinity(stage.constants))


def test_other_guides_and_windows_of_your_own(named, tmp_path):
    for guide in ("dino", "sam", "mae"):
        trident = segmenter({**named, "vision": folder(tmp_path, guide)}, method="trident")
        assert trident(PHOTOS[0], words(3)).labels.shape == (70, 120)
    pixels = segmenter(named, method="trident").prepare(PHOTOS[2]).pixels[None, :, :60, :100]
    alone = segmenter(named, method="trident").logits(pixels, text_rows(3))
    assert alone.shape[:2] == (1, 3) and alone.isfinite().all()


# --- refinement ---


def telling(one: Segmenter, image: np.ndarray, count: int) -> Vocabulary:
    """Words that differ where patches of this photo do: random ones all mean the same to a random network."""
    (features,) = one.tiles([one.prepare(image)], torch.eye(64))
    features = features.transpose(0, 1).flatten(1).T
    rows = torch.nn.functional.normalize(features - features.mean(0), dim=-1)
    return Vocabulary([f"c{i}" for i in range(count)], embeddings=rows[:: len(rows) // count][:count])


@pytest.mark.parametrize("method", ["trident", "naclip"])
def test_labels_are_refined_behind_any_method(named, method: str, monkeypatch: pytest.MonkeyPatch):
    """A SAM that masks nothing of the first class and everything of the others: the best of these is left."""
    given = {name: named[name] for name in named if method == "trident" or name == "model"}
    plain = segmenter(given, method=method)
    refined = segmenter(
        given | {"affinity": named["affinity"]}, method=method, refine="sam", minimal_area=1, coarse_threshold=0.0
    )
    asked = []

    def masks(view: View, points: torch.Tensor, boxes: torch.Tensor, mask: torch.Tensor, norm: str):
        asked.append(norm)
        return torch.full((len(points), 16, 16), 1.0 if len(asked) % per_photo != 1 else -1.0), torch.ones(len(points))

    monkeypatch.setattr(View, "masks", masks)
    some = telling(plain, PHOTOS[0], 4)
    before = plain(PHOTOS[0], some, scores=True)
    present = np.unique(before.labels)
    per_photo = len(present)
    after = refined(PHOTOS[0], some)
    assert per_photo >= 2 and asked == ["channels"] * per_photo
    others = before.scores[present[1:]]
    np.testing.assert_array_equal(after.labels, present[1:][others.argmax(0)])
    assert np.abs(after.confidence_map - others.max(0)).max() <= 1e-5
    assert after.settings["refine"] == "sam" and after.settings["mask_norm"] == "channels"
    assert "refine" not in before.settings and ("affinity" in before.settings) == (method == "trident")
    for one, alone in zip(refined(PHOTOS[:2], some), (after, refined(PHOTOS[1], some)), strict=True):
        assert one.labels.shape == alone.labels.shape
    monkeypatch.setattr(View, "masks", lambda *_: (torch.ones(1, 16, 16), torch.zeros(1)))
    np.testing.assert_array_equal(refined(PHOTOS[0], some).labels, before.labels)


def test_the_release_normalises_over_rows(named):
    given = {name: named[name] for name in ("model", "affinity")}
    assert (
        segmenter(given, method="naclip", refine="sam", fidelity="reference").plan.label_steps[-1].mask_norm == "rows"
    )
    told = segmenter(given, method="naclip", refine="sam", fidelity="reference", mask_norm="channels")
    assert told.plan.label_steps[-1].mask_norm == "channels"


# --- choices ---


def test_published_constants():
    table = {  # short side, stride, cosine factor, negative threshold, halves, background, coarse
        "voc21": (448, 224, 1.2, None, False, 0.20, 0.20),
        "voc20": (336, 112, 0.0, None, False, None, 0.20),
        "context60": (576, 224, 1.2, None, False, 0.15, 0.15),
        "context59": (576, 224, 1.2, None, False, None, 0.15),
        "coco-object": (448, 224, 1.2, None, False, 0.25, 0.25),
        "coco-stuff": (448, 224, 1.2, None, False, None, 0.05),
        "cityscapes": (688, 224, 3.0, 0.6, True, None, 0.10),
        "ade20k": (576, 224, 1.2, 0.6, False, None, 0.05),
        "ade847": (448, 224, 1.2, None, False, None, 0.20),
        "context459": (448, 224, 1.2, None, False, None, 0.20),
    }
    for key, row in table.items():
        plan = resolve(Choice(recipe=f"trident/{key}", overrides={"refine": "sam"}))
        (trident,), geometry, step = plan.stages, plan.geometry, plan.label_steps[-1]
        own = trident.cosine_factor, trident.negative_threshold, trident.affinity_halves
        found = (geometry.short_side, geometry.stride, *own, plan.deciding.background_threshold, step.coarse_threshold)
        assert found == row and geometry.crop == 336, key
        assert (step.iou_threshold, step.minimal_area, step.mask_factor) == (0.8, 225, 0.005)
        assert (plan.vision, plan.affinity, trident.beta, trident.gamma) == ("dino-b16", "sam", 1.2, 3.0)
        assert RECIPES[f"trident/{key}"].names == "P"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"method": "naclip", "affinity": "sam"}, "looks at no SAM; leave it out, take trident"),
        ({"method": "trident", "host": "naclip"}, "a host goes with fsa"),
        ({"method": "sfp", "host": "trident"}, "goes with feedback only"),
        ({"host": "sfp:trident"}, "goes with feedback only"),
        ({"method": "naclip", "refine": "sams"}, "did you mean 'sam'"),
        ({"method": "naclip", "iou_threshold": 0.7}, "add --set refine=sam"),
        ({"method": "naclip", "cosine_factor": 0.7}, "belongs to trident"),
        ({"method": "sclip", "beta": 0.7}, "belongs to proxyclip"),
    ],
)
def test_what_does_not_go_together_is_refused(options, said):
    with pytest.raises(OptionError) as caught:
        Segmenter.from_pretrained("tiny", **options)
    assert said in str(caught.value)


def test_windows_that_would_cut_patches_are_refused(named):
    for wrong, said in (
        ({"crop": 60, "stride": 16}, "give a multiple of 16 pixels, such as 64"),
        ({"stride": 20}, "such as 32"),
        ({"crop": 0}, "joins windows; give crop=336"),
    ):
        with pytest.raises(OptionError) as caught:
            segmenter(named, method="trident", **wrong)
        assert said in str(caught.value)
    with pytest.raises(ModelError, match="not a SAM"):
        segmenter({**named, "affinity": named["vision"]}, method="trident")
    with pytest.raises(ModelError, match="not on this machine"):
        segmenter({**named, "affinity": "sam"}, method="trident")


# --- the command line ---


def test_segment_and_evaluate_from_local_folders(segloop, segment, evaluate, toy_clip, drawn, photos, named, tmp_path):
    networks = ("--method", "trident", "--vision", named["vision"], "--affinity", named["affinity"])
    sets = [part for one in ("refine=sam", "iou_threshold=-9", "minimal_area=1") for part in ("--set", one)]
    done(segment(*photos.iterdir(), "--classes", "road, car, sky", *networks, *sets))
    settings = record(tmp_path / "segloop-out" / "street")["settings"]
    assert settings["affinity"].endswith("sam") and settings["refine"] == "sam"
    assert settings["trident"]["cosine_factor"] == 0.0  # VOC20's
    assert evaluate(*networks, *sets, "--limit", 3, "--scores", "--out", "run").exit_code == 0
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["settings"]["affinity"] == "sam" and len(run["settings"]["affinity_hash"]) == 64
    again = ("evaluate", "--from-scores", "run", "--out", "again")
    assert "looks at the photo" in complaint(segloop(*again))
    assert segloop(*again, "--set", "refine=none").exit_code == 0
    settings = json.loads((tmp_path / "again" / "run.json").read_text())["settings"]
    assert settings["affinity"] == "sam" and not {"refine", "iou_threshold", "mask_norm"} & set(settings)


def test_a_sam_serves_those_of_a_sweep_that_look_at_one():
    from segloop.evaluation.sweep import Wish, tasks_of

    common = {"places": (), "affinity": "sam"}
    tasks = tasks_of(Wish("scenes", Path("runs"), "sclip,trident", "off,on", common))
    assert [(task.label, task.affinity) for task in tasks] == [
        ("sclip", None),
        ("sclip+fsa", None),
        ("trident", "sam"),
        ("trident+fsa", "sam"),
    ]
    with pytest.raises(OptionError, match="look at no SAM"):
        tasks_of(Wish("scenes", Path("runs"), "sclip,sfp", "off", common))
    refining = {**common, "changes": {"refine": (None, "sam")}}
    found = tasks_of(Wish("scenes", Path("runs"), "sclip", "off", refining))
    assert [(task.affinity, task.changes) for task in found] == [("sam", {"refine": None}), ("sam", {"refine": "sam"})]
    assert resolve(Choice("sclip", affinity="sam", overrides={"refine": None})).affinity is None

"""CorrCLIP from pixels to cosines: recorded cases, the textbook, feedback on it, and a guide of the whole photo."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

import models
import textbook
import textbook_corrclip
from command import complaint, done, record
from golden import MORE, Case, cases
from segloop import Segmenter, Vocabulary
from segloop.attention.corrclip import CorrCLIP, region_weights, spatial_blocks
from segloop.attention.regions import MARGIN, merged, near
from segloop.backbones.shared import Models
from segloop.choice.methods import METHODS, RECIPES
from segloop.choice.naming import Choice
from segloop.choice.plan import resolve
from segloop.errors import ImageError, OptionError
from segloop.images import CLIP, normalise
from segloop.inspection.look import look
from segloop.inspection.sides import sides_of
from segloop.line.branched import Branching
from segloop.line.photowide import cut_features
from segloop.line.stages import Batch, Host, OnGuideGrid, open_last
from segloop.line.straight import straight_line
from segloop.maps.windows import layout
from tolerances import NETWORK, U, close_but_for_flips

pytestmark = pytest.mark.usefixtures("one_thread")

WINDOW = (48, 64)
GRID, FINE = (3, 4), (6, 8)  # of 16-pixel patches, and of the guide's 8
COARSE = np.random.default_rng(0).integers(0, 256, (7, 12, 3), np.uint8).repeat(8, 0).repeat(8, 1)
PHOTOS = [COARSE[:50, :90], COARSE[8:, 8:72]]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("reduced")


@pytest.fixture(scope="module")
def opened(root):
    """The reduced B/16 with the reduced DINO: opened("corrclip", fidelity=...) -> Segmenter."""

    once = Models()

    def segmenter(method: str | None = "corrclip", guide: str = "dino", **options) -> Segmenter:
        geometry = {"short_side": 48, "crop": 48, "stride": 16, "dtype": "float32", "models": once}
        options = {"vision": models.folder(root, guide), **geometry, **options}
        return Segmenter.from_pretrained(models.folder(root, "b16"), method=method or "auto", **options)

    return segmenter


def regions(photo: object, image: np.ndarray) -> np.ndarray:
    """Tiles of 16 x 16 pixels, every fifth without a region."""
    rows, columns = (np.arange(side) // 16 for side in image.shape[:2])
    ids = 1 + rows[:, None] * 7 + columns
    return np.where(ids % 5 == 0, 0, ids)


def ids_of_windows(count: int, names: tuple[int, ...] = (0, 2, 5, 9), seed: int = 0) -> Tensor:
    coarse = torch.randint(0, len(names), (count, 1, 3, 4), generator=torch.Generator().manual_seed(seed))
    fine = F.interpolate(coarse.float(), size=WINDOW, mode="nearest").long()[:, 0]
    return torch.tensor(names)[fine]


# --- recorded cases ---


def case_segmenter(case: Case, method: str, **options) -> Segmenter:
    manifest, renamed = case.manifest, {"sharpness": "region_sharpness"}
    known = {renamed.get(name, name): value for name, value in {**manifest["params"], **options}.items()}
    folder = MORE / "H_masks" / "models"
    vision = folder / (manifest["vision"] if manifest["vision"] != "array" else "dino_t8")
    return Segmenter.from_pretrained(
        folder / manifest["clip"], method=method, vision=vision, fidelity="reference", **known
    )


@pytest.mark.parametrize("case", cases("H_masks/corrclip") + cases("H_masks/corrclip_v2"), ids=str)
def test_recorded_windows(case):
    arrays, tolerance = case.arrays, case.manifest["tolerance"]
    network = case_segmenter(case, "corrclip-v2" if "guide" in arrays else "corrclip").network
    pixels, text = torch.from_numpy(arrays["pixels"]).float(), torch.from_numpy(arrays["text"])
    guide = torch.from_numpy(arrays["guide"]).float() if "guide" in arrays else None
    found = network.logits(pixels, text, torch.from_numpy(arrays["masks"])[None].long(), guide)
    difference = np.abs(found.numpy() - arrays["logits"])
    assert difference.max() <= tolerance["never_above"]
    assert (difference > tolerance["max_abs"]).mean() <= tolerance["may_exceed_fraction"]


@pytest.mark.parametrize("case", cases("H_masks/corrclip_photo"), ids=str)
def test_recorded_photos(case):
    arrays, tolerance = case.arrays, case.manifest["tolerance"]
    classes, masks = case.manifest["classes"], {"masks": arrays["masks"]}
    segmenter = case_segmenter(case, "corrclip")
    words = Vocabulary(
        [f"c{i}" for i in range(classes)],
        background=0 if segmenter.plan.deciding.background_threshold else None,
        embeddings=torch.from_numpy(arrays["text"]),
        query_index=torch.from_numpy(arrays["query_index"]),
    )
    difference = np.abs(segmenter.cosines(arrays["photo"], words, **masks)[:, ::8, ::8].numpy() - arrays["scores"])
    assert difference.max() <= tolerance["scores_max_abs"]
    assert difference.mean() <= tolerance["scores_mean_abs"]
    labels = segmenter(arrays["photo"], words, **masks).labels
    assert (labels == arrays["labels"]).mean() >= tolerance["label_agreement"]


# --- the textbook ---


def by_the_textbook(segmenter: Segmenter, pixels: Tensor, text: Tensor, ids: Tensor, eps: float | None, **how):
    """(B, Q, h, w) of windows, one at a time."""
    clip, found = segmenter.clip, []
    for window, names in zip(pixels, ids, strict=True):
        x, states = clip.tokens(window[None], range(clip.depth))
        f = F.normalize(segmenter.network.guide(window[None])[0], dim=0)
        own = textbook_corrclip.near(names.tolist(), FINE)
        own = own if eps is None else textbook_corrclip.merge(own, f, eps)
        before = [*(states[number][0] for number in range(clip.depth - 1)), x[0]]
        cosines = textbook_corrclip.window(
            clip.model, before, text, GRID, f, own, blocks=spatial_blocks(clip.depth), **how
        )
        found.append(cosines.T.unflatten(-1, FINE))
    return torch.stack(found)


@pytest.mark.parametrize("names", [(0, 2, 5, 9), (4,), (0, MARGIN, 3), (MARGIN, 1, 2, 3, 4, 5)])
@torch.no_grad()
def test_windows_of_a_batch_follow_the_textbook(opened, names):
    segmenter = opened()
    pixels, text, ids = models.pixels(2, 3, *WINDOW), models.text_rows(5), ids_of_windows(2, names)
    found = segmenter.network.logits(pixels, text, ids)
    close_but_for_flips(found, by_the_textbook(segmenter, pixels, text, ids, 0.2), 48)


@pytest.mark.parametrize(
    ("constants", "how"),
    [
        ({"merge_distance": None}, {}),
        ({"merge_distance": 0.5}, {}),
        ({"region_sharpness": 9.0}, {"sharpness": 9.0}),
        ({"spatial_weight": 0.3, "semantic_weight": 2.0}, {"weights": (0.3, 2.0)}),
        ({"spatial_weight": None, "semantic_weight": 0.7}, {"weights": (0.0, 0.7)}),
        ({"spatial_weight": 0.7, "semantic_weight": None}, {"weights": (0.7, 0.0)}),
        ({"spatial_weight": None, "semantic_weight": None}, {"weights": (0.0, 0.0)}),
    ],
)
@torch.no_grad()
def test_constants_follow_the_textbook(opened, constants, how):
    segmenter = opened(**constants)
    pixels, text, ids = models.pixels(1, 3, *WINDOW), models.text_rows(3), ids_of_windows(1)
    found = segmenter.network.logits(pixels, text, ids)
    eps = constants.get("merge_distance", 0.2)
    close_but_for_flips(found, by_the_textbook(segmenter, pixels, text, ids, eps, **how), 48)


def test_the_release_takes_the_lowest_id_for_no_region(opened):
    segmenter = {fidelity: opened(fidelity=fidelity) for fidelity in ("reference", "default")}
    assert [one.plan.stages[0].unsegmented for one in segmenter.values()] == ["lowest", "zero"]
    pixels, text, ids = models.pixels(1, 3, *WINDOW), models.text_rows(3), ids_of_windows(1, (4, 7, 9))
    found = {fidelity: one.network.logits(pixels, text, ids) for fidelity, one in segmenter.items()}
    published = opened(unsegmented="lowest").network.logits(pixels, text, ids)
    renamed = opened().network.logits(pixels, text, torch.where(ids == 4, 0, ids))
    torch.testing.assert_close(published, renamed, rtol=0, atol=NETWORK)
    assert (found["default"] - published).abs().max() > 1e-3
    whole = ids_of_windows(1, (0, 7, 9))
    same = [opened(unsegmented=name).network.logits(pixels, text, whole) for name in ("lowest", "zero")]
    torch.testing.assert_close(*same, rtol=0, atol=NETWORK)


# --- feedback, hosts ---


@torch.no_grad()
def test_feedback_goes_through_all_branches(opened):
    segmenter = opened(None, host="corrclip")
    pixels, text, ids = models.pixels(1, 3, *WINDOW), models.text_rows(5), ids_of_windows(1)
    block = segmenter.network.opened(pixels, text, ids)
    plain = opened().network.opened(pixels, text, ids)
    torch.testing.assert_close(block.cosines(), plain.cosines(), rtol=0, atol=NETWORK)
    assert block.block.v.shape[-1] == 2 * block.block.q.shape[-1]  # values of both branches, side by side
    merged_ids = merged(near(ids, FINE), segmenter.network.guide(pixels), 0.2)
    host = region_weights(segmenter.network.guide(pixels), merged_ids)[:, None].double()
    values = block.block.v.double()
    mixed = textbook.fsa(host.expand(-1, 2, -1, -1), values, lambda some: block.readout(some.float()).double())
    expected = block.readout(mixed.float()).mT.unflatten(-1, FINE)
    found = segmenter.network.logits(pixels, text, ids)
    close_but_for_flips(found, expected, 48)
    assert (found - plain.cosines()).abs().max() > 1e-3


@pytest.mark.parametrize("host", ["naclip", "sclip", "proxyclip", "sfp", "qq+vv"])
def test_branches_stand_on_other_hosts(opened, host):
    pixels, text, ids = models.pixels(2, 3, *WINDOW), models.text_rows(5), ids_of_windows(2)
    options = {"vision_feature": "tokens"} if host == "proxyclip" else {"vision": None}
    alone = opened(host, **options).network.logits(pixels, text)
    off = opened("corrclip", host=host, spatial_weight=None, semantic_weight=None, **options)
    torch.testing.assert_close(off.network.logits(pixels, text, ids), alone, rtol=0, atol=NETWORK)
    full = opened("corrclip", host=host, **options).network.logits(pixels, text, ids)
    assert full.shape == alone.shape and (full - alone).abs().max() > 1e-3
    fed = opened("fsa", host=f"corrclip:{host}", **options).network.logits(pixels, text, ids)
    assert fed.isfinite().all() and (fed - full).abs().max() > 1e-4


def test_a_tower_without_a_class_token_has_no_copies():
    tower = SimpleNamespace(first_patch=0, name="toy")
    ids, v = torch.zeros(1, 2, 2, dtype=torch.int64), torch.zeros(1, 1, 4, 2)
    block = SimpleNamespace(regions=ids, guide=None, grid=(2, 2), v=v)
    opened_ = SimpleNamespace(block=block, batch=SimpleNamespace(tower=tower, grid=(2, 2)))
    with pytest.raises(OptionError, match=r"toy has none; take another method, or semantic_weight=0"):
        Branching(CorrCLIP(unsegmented="zero"))(opened_)


@torch.no_grad()
def test_a_stage_that_reads_by_itself_is_no_host(opened):
    segmenter = opened()
    batch, states, features = segmenter.network.encoded(
        models.pixels(1, 3, *WINDOW), models.text_rows(3), ids_of_windows(1)
    )
    block = replace(open_last(batch, states, features), read=lambda opened: lambda mixed: mixed.mean(1))
    host, grid, branching = segmenter.network.stages
    assert (type(host), type(grid), type(branching)) == (Host, OnGuideGrid, Branching) and isinstance(batch, Batch)
    with pytest.raises(OptionError, match="reads by itself"):
        branching(grid(host(block))).cosines()


# --- plans ---


@pytest.mark.parametrize("name", ["corrclip", "corrclip-v2"])
def test_constants_of_data_sets(name):
    expected = {
        "voc21": (336, 336, 0.2),
        "voc20": (336, 336, None),
        "context60": (336, 336, 0.15),
        "context59": (336, 336, None),
        "coco-object": (336, 336, 0.25),
        "coco-stuff": (336, 336, None),
        "cityscapes": (448 if name == "corrclip" else 784, 224, None),
        "ade20k": (448, 336, None),
        "ade847": (448, 336, None),
        "context459": (448, 336, None),
    }
    for key, row in expected.items():
        plan = resolve(Choice(recipe=f"{name}/{key}"))
        assert (plan.geometry.short_side, plan.geometry.crop, plan.deciding.background_threshold) == row, key
        assert (plan.geometry.stride, plan.deciding.logit_scale) == (112, 40)
        assert RECIPES[f"{name}/{key}"].names == ("P" if key in ("ade847", "context459") else name)


def test_what_the_two_versions_have():
    first, second = (resolve(Choice(method=name)) for name in ("corrclip", "corrclip-v2"))
    assert (first.vision, first.guidance.vision_feature, first.guidance.vision_view) == ("dino", "q+k", "window")
    assert (second.vision, second.guidance.vision_feature) == ("dinov2-large", "tokens")
    assert second.guidance.sees_photos
    assert (first.stages, second.stages) == ((CorrCLIP(),), (CorrCLIP(merge_distance=None),))
    assert first.records["corrclip"]["merge_distance"] == 0.2
    assert resolve(Choice(host="corrclip-v2")).vision == "dinov2-large"
    assert resolve(Choice(method="corrclip", vision="dino-b16")).vision == "dino-b16"
    assert METHODS["corrclip"].masks and METHODS["corrclip-v2"].masks


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"merge_distance": -1.0}, "merge_distance"),
        ({"unsegmented": "lowst"}, "did you mean 'lowest'"),
        ({"region_sharpness": 0.0}, "region_sharpness"),
        ({"vision_view": "half"}, "window or photo"),
        ({"vision_feature": "q+v"}, "it must be tokens, q, k, v or q+k"),
        ({"sharpness": 3.0}, "belongs to sfp"),
    ],
)
def test_what_is_not_possible(changes, words):
    with pytest.raises(OptionError, match=words.replace("+", r"\+")):
        resolve(Choice(method="corrclip", overrides=changes))


@pytest.mark.parametrize("name", ["merge_distance", "region_sharpness"])
def test_settings_of_corrclip_say_whose_they_are(name):
    with pytest.raises(OptionError, match=f"{name}.* belongs to corrclip; add --method corrclip"):
        resolve(Choice(method="sclip", overrides={name: 1.0}))


def test_without_masks_one_sentence_says_what_to_do(segment, street, root):
    guide = models.folder(root, "dino")
    for method in (("--method", "corrclip"), ("--host", "corrclip"), ("--method", "corrclip", "--host", "naclip")):
        vision = () if "naclip" in method else ("--vision", guide)
        told = complaint(segment(street, "--classes", "road, sky", *method, *vision))
        assert "needs the photo's regions; give --masks" in told


def test_a_folder_of_masks_on_the_command_line(segment, street, meadow, root, tmp_path):
    (tmp_path / "masks").mkdir()
    for photo in (street, meadow):
        image = np.array(Image.open(photo))
        Image.fromarray(regions(photo, image).astype(np.uint8)).save(tmp_path / "masks" / f"{photo.stem}.png")
    guide, out = ("--vision", models.folder(root, "dino")), tmp_path / "out"
    words = ("--classes", "car, road, sky", "--masks", tmp_path / "masks", "--format", "json")
    for host in ((), ("--host", "corrclip")):
        method = host or ("--method", "corrclip")
        done(segment(street, meadow, *words, *method, *guide, "--set", "spatial_weight=0.5", "--out", out / method[1]))
        told = record(out / method[1] / "street")["settings"]
        assert told["corrclip"] == {
            "merge_distance": 0.2,
            "spatial_weight": 0.5,
            "semantic_weight": 0.5,
            "unsegmented": "zero",
        }
        assert told["mask_vote"] is True and told["region_sharpness"] == 4.0 and told["vision_feature"] == "q+k"


# --- photos ---


def words_of(queries: int) -> Vocabulary:
    return Vocabulary([f"c{i}" for i in range(queries)], embeddings=models.text_rows(queries))


@pytest.mark.parametrize("fidelity", ["default", "reference"])
@pytest.mark.parametrize("method", ["corrclip", "corrclip-v2", "fsa"])
def test_photos_of_a_batch_are_as_alone(opened, method, fidelity):
    how = {"host": "corrclip"} if method == "fsa" else {}
    segmenter = replace(opened(method, fidelity=fidelity, **how), masks=regions)
    words, ready = words_of(21), [segmenter.prepare(photo) for photo in PHOTOS]
    text = segmenter.text(words)
    for photo, own, tile in zip(PHOTOS, ready, segmenter.tiles(ready, text), strict=True):
        (alone,) = segmenter.tiles([own], text)
        close_but_for_flips(tile, alone, 48)
        labels = segmenter(photo, words).labels
        assert labels.shape == photo.shape[:2]
        assert (straight_line(segmenter, photo, words).numpy() == labels).all()


def test_a_photo_smaller_than_a_window_has_a_margin(opened):
    photo = PHOTOS[0][:30, :40]
    segmenter = replace(opened(short_side=30, crop=48), masks=regions)
    ready = segmenter.prepare(photo)
    assert (ready.window_regions == MARGIN).any()
    for fidelity in ("default", "reference"):
        one = replace(opened(short_side=30, crop=48, fidelity=fidelity), masks=regions)
        assert one.cosines(photo, words_of(3)).isfinite().all()


def test_many_words(opened):
    segmenter = replace(opened(), masks=regions)
    cosines = segmenter.cosines(PHOTOS[1], words_of(847))
    assert cosines.shape == (847, 48, 64) and cosines.isfinite().all()
    few = segmenter.cosines(PHOTOS[1], Vocabulary([f"c{i}" for i in range(5)], embeddings=models.text_rows(847)[:5]))
    torch.testing.assert_close(few, cosines[:5], rtol=0, atol=NETWORK)


def test_half_precision_follows_float32(opened):
    pixels, text, ids = models.pixels(1, 3, *WINDOW), models.text_rows(5), ids_of_windows(1)
    for method in ("corrclip", "corrclip-v2"):
        exact, rough = (
            opened(method, dtype=dtype).network.logits(pixels, text, ids) for dtype in ("float32", "bfloat16")
        )
        angle = F.cosine_similarity(exact.flatten(2), rough.flatten(2), dim=-1).min().acos()
        assert angle < 24 * U[torch.bfloat16]  # a rounding in each product of three blocks, on their way in and out


def test_flat_photos_and_photos_without_any_region(opened):
    flat = np.full((48, 64, 3), 90, np.uint8)
    for masks in (regions, lambda photo, image: np.zeros(image.shape[:2], int), lambda *_: np.full((48, 64), -1)):
        for method, fidelity in (("corrclip", "default"), ("corrclip", "reference"), ("corrclip-v2", "default")):
            segmenter = replace(opened(method, fidelity=fidelity), masks=masks)
            assert segmenter.cosines(flat, words_of(3)).isfinite().all()


def test_inspection_sees_regions_and_the_whole_photo(opened):
    for method in ("corrclip", "corrclip-v2"):
        segmenter = replace(opened(method), masks=regions)
        found = look(sides_of(segmenter), PHOTOS[0], words_of(3), [(20, 20)])
        rows = found.seen[0].host
        assert rows.shape[0] == 1 and abs(rows.sum() - 1) < 48 * U[torch.float32]
        assert (rows == 0).any()  # what lies in other regions


# --- a guide of the whole photo ---


@pytest.mark.parametrize(
    ("own", "size", "crop", "multiple"),
    [
        ((9, 13), (70, 100), 48, 16),
        ((9, 13), (40, 100), 48, 16),
        ((30, 20), (33, 57), 0, 14),
        ((1, 1), (48, 48), 48, 8),
    ],
)
def test_cut_features_are_those_of_every_pixel(own, size, crop, multiple):
    features, where = models.pixels(6, *own), layout(size, crop, 24, multiple)
    grid = tuple(2 * side // multiple for side in where.window)
    pixels = F.normalize(F.interpolate(features[None], size=size, mode="bilinear"), dim=1)
    expected = []
    for top, bottom in where.rows:
        for left, right in where.columns:
            window = pixels[:, :, top:bottom, left:right]
            window = F.pad(window, (*where.pad_columns, *where.pad_rows), mode="replicate")
            expected.append(F.normalize(F.interpolate(window, size=grid, mode="bilinear"), dim=1))
    found = cut_features(features, size, where, grid)
    torch.testing.assert_close(found, torch.cat(expected), rtol=0, atol=128 * U[torch.float32])


@pytest.mark.parametrize(("longest", "sides"), [(2048, (48, 88)), (72, (40, 72))])
@torch.no_grad()
def test_the_guide_sees_the_photo_at_its_own_size(opened, longest, sides):
    segmenter = opened("corrclip-v2", long_side=longest)
    network, ready = segmenter.network, segmenter.prepare(PHOTOS[0])
    whole = torch.from_numpy(normalise(PHOTOS[0], CLIP))[None]
    features = network.guide(F.interpolate(whole, size=sides, mode="bilinear"))[0]  # sides of its patches, 50 x 90
    grid = tuple(2 * side // 16 for side in ready.where.window)
    expected = cut_features(features, ready.size, ready.where, grid)
    torch.testing.assert_close(network.guides(ready), expected, rtol=0, atol=NETWORK)


def test_a_photo_of_one_window_is_that_window(opened):
    """Where photo, network's size and window are one, the guide says the same, on another grid."""
    segmenter = opened("proxyclip", vision_view="photo", crop=0)
    (tile,) = segmenter.tiles([segmenter.prepare(PHOTOS[1])], models.text_rows(5))
    assert tile.shape == (1, 5, *FINE)  # twice CLIP's, which is also the guide's own
    (other,) = opened("proxyclip", crop=0).tiles([segmenter.prepare(PHOTOS[1])], models.text_rows(5))
    unlike = (tile - other).abs()
    assert unlike.max() > 0  # unit at every pixel, and only then on the grid
    assert F.cosine_similarity(tile.flatten(1), other.flatten(1)).min() > 0.9


def test_windows_are_no_larger_for_a_guide_that_does_not_see_them(opened):
    assert opened("proxyclip", guide="dinov2", crop=40, short_side=40).network.multiple == 112
    assert opened("proxyclip", guide="dinov2", crop=40, short_side=40, vision_view="photo").network.multiple == 16


@pytest.mark.parametrize("method", ["lposs", "trident"])
def test_methods_that_join_windows_see_windows(method):
    with pytest.raises(OptionError, match=f"vision_view=photo came with {method}"):
        resolve(Choice(method=method, overrides={"vision_view": "photo"}))


def test_a_photo_read_by_bands_is_never_whole(opened):
    segmenter = opened("corrclip-v2")
    banded = SimpleNamespace(image=None, source="scene.tif")
    with pytest.raises(ImageError, match=r"scene.tif is too large .*vision_view=window"):
        segmenter.network.guides(banded)

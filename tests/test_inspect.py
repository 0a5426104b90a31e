"""`segloop inspect`: rows of attention before and after feedback, places, outliers, and the page."""

import json
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import browser
from command import WORDS, complaint, done, left_over
from models import folder, pixels, text_rows
from segloop import Segmenter, Vocabulary
from segloop.attention.purify import SFP, interpolate
from segloop.choice.settings import Geometry
from segloop.errors import OptionError
from segloop.inspection import rows as rows_room
from segloop.inspection.look import look
from segloop.inspection.pictures import brightest, strength
from segloop.inspection.places import check_points, default_points, parse_point, place, windows_of
from segloop.inspection.record import reach
from segloop.inspection.rows import matrix_rows, rows_of
from segloop.inspection.sides import sides_of, split
from segloop.line.purified import outlier_mask
from segloop.line.steps import prepare
from tolerances import NETWORK, U, summed

pytestmark = pytest.mark.usefixtures("one_thread")

NAMES = ["road", "car | automobile", "sky"]
HOSTS = ["clip", "maskclip", "sclip", "clearclip", "naclip", "proxyclip", "sfp", "sc-clip", "qq+kk+vv", "own"]
PATCHES = [0, 7, 22]
UNIT = U[torch.float32]
ROWS = 2 * 64**0.5 * 120 * UNIT
"""Relative, of weights: logits are sums of 64 products, |q| |k| / 8 <= 120 together; softmax doubles their error."""


def own(block):
    """No `rows`, no `row_sum`: only what a Mix must have. Its rows sum to 1.5."""
    weights = (block.scale * block.q @ block.k.mT).softmax(-1)
    return lambda values: weights @ values + 0.5 * values.mean(2, keepdim=True)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("reduced")


@pytest.fixture
def opened(root):
    """(FSA, block, mix, readout) of a host on the reduced B/16 and one window of noise, 4 x 6 patches."""

    def load(host: str, **changes):
        vision = folder(root, "dino") if host == "proxyclip" else None
        named = own if host == "own" else host
        segmenter = Segmenter.from_pretrained(folder(root, "b16"), host=named, vision=vision, dtype="float32")
        sides = sides_of(segmenter, changes)
        opened = sides.fsa.network.opened(pixels(1, 3, 64, 96), text_rows(5))
        return sides.feedback, opened.block, opened.mix, opened.readout

    return load


@pytest.fixture
def toy(toy_clip):
    """The toy CLIP's segmenter in float32, with any options."""
    return lambda **options: Segmenter.from_pretrained(toy_clip, dtype="float32", **options)


@pytest.fixture
def words():
    return Vocabulary(NAMES, templates="plain")


@pytest.fixture
def inspect(segloop, toy_clip):
    """`segloop inspect` with the toy model: inspect(photo, "--classes", ...) -> click's Result."""

    def run(*arguments: object):
        return segloop("inspect", "--clip", toy_clip, "--templates", "plain", "--dtype", "float32", *arguments)

    return run


def one_hot_rows(mix, block, index) -> torch.Tensor:
    """Rows of an operator's matrix, column by column."""
    _, heads, tokens, width = block.v.shape
    columns = []
    for token in range(tokens):
        values = torch.zeros(1, heads, tokens, width)
        values[:, :, token] = 1
        columns.append(mix(values)[0, :, index, 0])
    return torch.stack(columns, -1)


# rows ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", HOSTS)
def test_rows_of_a_host_are_those_of_the_operator_on_one_hot_values(opened, host):
    _, block, mix, _ = opened(host)
    index = [patch + int(block.has_class_token) for patch in PATCHES]
    expected = one_hot_rows(mix, block, index)
    found = matrix_rows(mix, block, index)
    torch.testing.assert_close(found.expand_as(expected), expected, rtol=ROWS, atol=2 * UNIT)
    bare = matrix_rows(lambda values: mix(values), block, index)
    torch.testing.assert_close(bare, expected, rtol=ROWS, atol=2 * UNIT)


@pytest.mark.parametrize("host", HOSTS)
def test_composed_rows_times_values_are_what_feedback_gives(opened, host):
    fsa, block, mix, readout = opened(host)
    first = int(block.has_class_token)
    found = rows_of(fsa, block, mix, readout, PATCHES)
    mixed = fsa(mix, block.v, readout, class_token=block.has_class_token)
    expected = mixed[0, :, [patch + first for patch in PATCHES]]
    torch.testing.assert_close(found.fed @ block.v[0], expected, rtol=0, atol=ROWS * block.v.abs().max().item())
    torch.testing.assert_close(found.fed_cosines, readout(mixed[:, :, first:])[0])
    torch.testing.assert_close(found.host_cosines, readout(mix(block.v)[:, :, first:])[0])
    sums, three_sums = found.fed.sum(-1), summed(2 * found.fed.shape[-1], 3)  # of A A+, A+ A and A+, and theirs
    torch.testing.assert_close(sums, found.host.sum(-1).expand_as(sums), rtol=0, atol=three_sums)


def test_rows_of_maskclip_are_one_hot_and_become_feedbacks_own(opened):
    found = rows_of(*opened("maskclip"), PATCHES)
    assert found.host.shape == (1, 3, 25)
    assert found.host[0].argmax(-1).tolist() == [patch + 1 for patch in PATCHES] and found.host.sum() == 3
    torch.testing.assert_close(found.fed[0, :, 1:], found.new)
    assert found.fed[..., 0].abs().max() == 0


def test_guides_drop_the_class_token_and_lend_their_grid(opened):
    _, block, mix, _ = opened("proxyclip")
    assert block.grid == (8, 12) and not block.has_class_token
    assert matrix_rows(mix, block, [3]).shape == (1, 1, 96)


@pytest.mark.parametrize(
    "changes",
    [
        {"rounds": 2},
        {"terms": ("new",)},
        {"terms": ("old_new", "new_old")},
        {"third_term": 0.25},
        {"isolation": False, "divergence": "hellinger", "mass": 0.2},
        {"feedback_layers": 2},
    ],
    ids=str,
)
def test_options_of_feedback_are_in_the_rows(opened, changes):
    fsa, block, mix, readout = opened("clip", **changes)
    found = rows_of(fsa, block, mix, readout, PATCHES)
    expected = fsa(mix, block.v, readout, class_token=True)[0, :, [patch + 1 for patch in PATCHES]]
    assert found.fed.dim() == 3 and len(found.fed) in (1, len(block.v[0]))
    torch.testing.assert_close(found.fed @ block.v[0], expected, rtol=0, atol=ROWS * block.v.abs().max().item())


def test_what_is_kept_is_what_feedback_weighs(opened):
    fsa, block, mix, readout = opened("naclip")
    every = rows_of(fsa, block, mix, readout, range(24))
    assert torch.equal(every.kept, every.new > 0)
    assert every.kept_share == pytest.approx(float(every.kept.float().mean()))
    assert every.similarity.diagonal().eq(1).all() and every.kept.diagonal().all()
    torch.testing.assert_close(every.new.sum(-1), torch.ones(24))


@pytest.mark.parametrize("host", ["sclip", "proxyclip", "own"])
def test_blocks_of_rows_change_nothing(opened, host, monkeypatch):
    parts = opened(host)
    whole = rows_of(*parts, PATCHES)
    monkeypatch.setattr(rows_room, "BLOCK", 100)
    in_blocks = rows_of(*parts, PATCHES)
    torch.testing.assert_close(in_blocks.fed, whole.fed, rtol=ROWS, atol=2 * UNIT)
    assert torch.equal(in_blocks.kept, whole.kept) and in_blocks.kept_share == whole.kept_share


# sides ---------------------------------------------------------------------------------------------------------


def test_sides_share_one_set_of_weights(toy):
    segmenter = toy(method="fsa", host="sclip", lambda_=2.0, logit_scale=30.0)
    sides = sides_of(segmenter)
    assert {id(side.clip) for _, side in sides.named()} == {id(segmenter.clip)}
    assert (sides.host.plan.method, sides.fsa.plan.method, sides.sfp.plan.method) == ("sclip", "fsa", "sfp")
    assert sides.feedback.lambda_ == 2.0 and sides.fsa.plan == segmenter.plan
    assert {side.plan.deciding.logit_scale for _, side in sides.named()} == {30.0}
    assert sides.host.plan.around.residual and not sides.sfp.plan.around.residual


def test_sides_are_what_the_methods_give_alone(toy, street, words):
    sides = sides_of(toy(method="sclip"))
    geometry = {name: getattr(sides.host.plan.geometry, name) for name in ("short_side", "crop", "stride")}
    alone = {"host": toy(method="sclip"), "fsa": toy(method="fsa", host="sclip"), "sfp": toy(method="sfp")}
    for name, side in sides.named():
        assert geometry.items() <= side.describe(words).items()
        np.testing.assert_array_equal(side(street, words).labels, alone[name](street, words).labels)


def test_constants_of_feedback_and_purification_go_with_any_method(toy):
    plain, special = split({"stride": 16, "lambda_": 1.5, "detector": "l2", "no_such": 1})
    assert plain == {"stride": 16, "no_such": 1}
    sides = sides_of(toy(method="naclip"), special)
    assert sides.feedback.lambda_ == 1.5 and sides.purify.detector == "l2"
    assert sides_of(toy(method="sc-clip")).purify.detector == "lof"
    with pytest.raises(OptionError, match="unknown detector"):
        sides_of(toy(method="naclip"), {"detector": "som1"})


def test_the_guides_kind_chooses_lambda(root):
    for guide, expected in (("mae", 4.5), ("dino", 3.0)):
        segmenter = Segmenter.from_pretrained(folder(root, "b16"), method="proxyclip", vision=folder(root, guide))
        sides = sides_of(segmenter)
        assert sides.feedback.lambda_ == expected
        assert sides.fsa.network.guide is segmenter.network.guide and sides.sfp.network.guide is None


# places --------------------------------------------------------------------------------------------------------


def photo_of(height: int, width: int, **changes):
    return prepare(np.zeros((height, width, 3), np.uint8), Geometry(**changes), pad=8, at_least=8)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_place_is_the_patch_that_shows_its_point(data):
    height, width = data.draw(st.integers(1, 90)), data.draw(st.integers(1, 90))
    crop = data.draw(st.sampled_from([0, 24, 32]))
    photo = photo_of(height, width, short_side=40, crop=crop, stride=min(crop, 20) or 20)
    grid = tuple(length // 8 * data.draw(st.sampled_from([1, 2])) for length in photo.where.window)
    windows = windows_of(photo, grid)
    assert len(windows) == len(photo.windows)
    point = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    found = place(photo, windows, point, "as asked")
    top, bottom, left, right = windows[found.window].box
    assert 0 <= top <= point[1] < bottom <= height and 0 <= left <= point[0] < right <= width
    assert 0 <= found.number(grid) < grid[0] * grid[1]
    window = windows[found.window]
    rows, columns = window.cells((window.rows[1] - window.rows[0], window.columns[1] - window.columns[0]))
    inside = int((point[1] + 0.5) * photo.size[0] / height) - window.rows[0]
    across = int((point[0] + 0.5) * photo.size[1] / width) - window.columns[0]
    assert (rows[inside], columns[across]) == found.patch


def test_the_window_whose_middle_is_nearest_is_taken():
    photo = photo_of(64, 64, short_side=64, crop=32, stride=16)
    windows = windows_of(photo, (4, 4))
    assert len(windows) == 9
    assert place(photo, windows, (32, 32), "").window == 4 and place(photo, windows, (0, 63), "").window == 6
    assert place(photo, windows, (32, 32), "").patch == (2, 2)


def test_points_as_text():
    assert parse_point("120, 80") == (120, 80)
    for text in ("120", "120,", "1,2,3", "a,b", "-1,2", "1.5,2"):
        with pytest.raises(OptionError, match="is not x,y"):
            parse_point(text)
    check_points([(0, 0), (127, 95)], (96, 128))
    for point in ((128, 0), (0, 96)):
        with pytest.raises(OptionError, match="outside the photo; x goes from 0 to 127 and y from 0 to 95"):
            check_points([point], (96, 128))
    with pytest.raises(OptionError, match="17 points"):
        check_points([(0, 0)] * 17, (96, 128))


def test_points_that_are_chosen():
    host = np.full((2, 2, 3), 0.5)
    fed = host.copy()
    fed[:, 1, 2] = (0.9, 0.1)
    entropy = np.zeros((2, 3))
    entropy[0, 1] = 1
    chosen = default_points(host, fed, entropy, (40, 60))
    assert chosen == {(50, 30): "feedback changes it most", (30, 10): "the host is least decided",
                      (30, 20): "the photo's centre"}  # fmt: skip
    assert len(default_points(host[..., :1, :1], fed[..., 1:, 2:], entropy[:1, :1], (1, 1))) == 1


# numbers -------------------------------------------------------------------------------------------------------


def test_reach_by_hand():
    assert reach(np.array([0.0, 1, 0])) == 1
    assert reach(np.array([0.5, 0.5, 0.5, 0.5])) == pytest.approx(4)
    assert reach(np.array([0.5, 0.25, 0.25])) == pytest.approx(2**1.5)


def test_strength_by_hand():
    assert strength(np.array([0.0, -0.25, 1])).tolist() == pytest.approx(
        [0, -((0.25 / brightest(np.array([0, 0.25, 1]))) ** 0.5), 1]
    )
    assert brightest(np.eye(200)[0]) == 0.05 and not strength(np.zeros(4)).any()


@pytest.mark.parametrize(
    "options", [{}, {"method": "sfp"}, {"method": "maskclip"}, {"host": "clip", "feedback_layers": 2}]
)
def test_maps_and_changes(toy, street, words, options):
    sides = sides_of(toy(**options))
    found = look(sides, street, words)
    labels = [side(street, words).labels for _, side in sides.named()]
    for side, expected in zip(found.maps, labels, strict=True):
        np.testing.assert_array_equal(side.labels, expected)
        np.testing.assert_allclose(side.distribution.sum(0), 1, rtol=0, atol=summed(8))
        p = side.distribution.astype(float)
        np.testing.assert_allclose(side.entropy, -(p * np.log2(np.maximum(p, 1e-30))).sum(0), rtol=0, atol=summed(8, 2))
        assert side.entropy.shape == side.scores.shape[1:] == (8, 11)  # 64 x 85 pixels, 8 a patch
    for change, (before, after) in zip(found.changes, ((0, 1), (0, 2), (1, 2)), strict=True):
        assert change.share == pytest.approx((labels[before] != labels[after]).mean())
        for a, b, share in change.transitions:
            assert share == pytest.approx(((labels[before] == a) & (labels[after] == b)).mean()) and a != b
    assert found.seen[0].place.why == "feedback changes it most"


def test_scores_of_a_patch_are_those_of_its_window(toy, street, words):
    sides = sides_of(toy(logit_scale=7.0))
    found = look(sides, street, words, [(40, 60)])
    (seen,) = found.seen
    text = sides.host.text(words)
    for side, scores in ((sides.host, seen.host_scores), (sides.fsa, seen.fed_scores)):
        cosines = side.network.logits(found.photo.windows[seen.place.window][None], text)[0]
        probability = (7 * cosines[(slice(None), *seen.place.patch)]).softmax(0)
        expected = [probability[0], probability[1:3].max(), probability[3]]
        tolerance = 7 / 2 * NETWORK  # the slope of softmax is at most 1/4, between two that move apart
        np.testing.assert_allclose(scores, torch.stack(expected), rtol=0, atol=tolerance)


def test_feedback_of_earlier_blocks_leaves_the_host_as_it_is_alone(toy, street, words):
    found = [
        look(sides_of(toy(host="clip"), {"feedback_layers": n}), street, words, [(40, 60)]).seen[0] for n in (1, 2)
    ]
    np.testing.assert_array_equal(found[0].host, found[1].host)
    np.testing.assert_array_equal(found[0].host_scores, found[1].host_scores)
    assert np.abs(found[0].fed - found[1].fed).max() > 1e-4


@pytest.mark.parametrize("detector", ["som", "l2", "lof", "none"])
def test_outliers_are_those_of_the_detector_whatever_the_method(toy, street, words, detector):
    sides = sides_of(toy(method="maskclip"), {"detector": detector, "outliers": 5})
    found = look(sides, street, words, [(40, 60)])
    (tokens,) = found.tokens
    clip, sfp = sides.host.clip, SFP(detector=detector, outliers=5).on(3)
    window = found.photo.windows[tokens.window.number][None]
    after, states = clip.tokens(window, {1})
    mask = outlier_mask(clip, sfp, 2, {1: states[1], 2: after}, (8, 8))
    np.testing.assert_array_equal(tokens.outliers, mask[0])
    assert found.detector == detector and (detector == "none") == (not tokens.outliers.any())
    repaired = interpolate(after[:, 1:], mask, (8, 8))
    np.testing.assert_allclose(tokens.before, after[0, 1:].norm(dim=-1), rtol=NETWORK)
    np.testing.assert_allclose(tokens.after, repaired[0].norm(dim=-1), rtol=NETWORK)


def test_points_of_one_patch_are_one(toy, street, words):
    found = look(sides_of(toy()), street, words, [(40, 60), (41, 60), (100, 20)])
    assert [seen.place.point for seen in found.seen] == [(40, 60), (100, 20)]
    assert set(found.kept_share) == {tokens.window.number for tokens in found.tokens}


# files ---------------------------------------------------------------------------------------------------------


def test_the_page_its_pictures_and_its_numbers(inspect, street, tmp_path):
    result = done(inspect(street, *WORDS, "--point", "40,60", "--json", "--out", "here"))
    told = json.loads(result.stdout)
    stored = json.loads((tmp_path / "here/street.inspect.json").read_text())
    assert told == stored and told["source"] == str(street) and told["classes"] == ["road", "car", "sky"]
    files = {str(path.relative_to(tmp_path / "here")) for path in (tmp_path / "here").rglob("*") if path.is_file()}
    assert files == {*told["files"], "street.inspect.json"} and not left_over(tmp_path)
    for name in told["files"][1:]:
        Image.open(tmp_path / "here" / name).load()
    (point,) = told["points"]
    assert (point["x"], point["y"], point["why"]) == (40, 60, "as asked") and point["patches"] == 64
    (window,) = told["windows"]
    assert len(window["norms"]["before"]) == 64 and window["detector"] == "som"
    assert set(told["settings"]) == {"host", "fsa", "sfp"} and told["settings"]["fsa"]["feedback"]["lambda_"] == 3.0


def test_the_page_stands_alone(inspect, street, tmp_path):
    classes = '<img onerror>alert(1), sky & sea, "car"'
    done(inspect(street, "--classes", classes, *("--set", "pamr_steps=1")))
    page = (tmp_path / "segloop-out/street.inspect.html").read_text()
    assert not re.search(r'(src|href)="(?!data:)', page) and "http" not in page
    images = re.findall(r"<img [^>]*>", page)
    assert images and all(re.search(r'alt="[^"]{9,}"', image) for image in images)
    assert "<img onerror" not in page and "&lt;img onerror&gt;alert(1)" in page and "sky &amp; sea" in page


def test_same_inputs_same_bytes(inspect, street, tmp_path):
    for out in ("one", "two"):
        done(inspect(street, *WORDS, "--out", out))
    names = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert len(names) > 20
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (200, 3)], ids=str)
def test_photos_of_any_shape(inspect, tmp_path, size):
    Image.new("RGB", size, (90, 120, 40)).save(tmp_path / "odd.png")
    done(inspect("odd.png", *WORDS, "--fidelity", "reference" if size == (1, 1) else "default", "--set", "crop=0"))


def test_an_attention_from_a_file(inspect, street, tmp_path):
    (tmp_path / "idea.py").write_text(
        "def mix(block):\n    return lambda values: (values + values.mean(2, True)) / 2\n"
    )
    told = json.loads(done(inspect(street, *WORDS, "--host", "idea.py:mix", "--point", "40,60", "--json")).stdout)
    (point,) = told["points"]
    assert told["maps"]["host"]["method"] == "idea.py:mix"
    assert point["rows"]["host"]["largest"] == pytest.approx(0.5 + 0.5 / 65, rel=summed(65))
    assert point["rows"]["host"]["class_token"] == pytest.approx(0.5 / 65, rel=summed(65))
    assert point["rows"]["fsa"]["class_token"] < point["rows"]["host"]["class_token"]


def test_constants_of_every_side_can_be_set(inspect, street):
    sets = ("--set", "lambda_=1.5", "--set", "detector=l2", "--set", "outliers=3", "--set", "stride=16")
    told = json.loads(done(inspect(street, *WORDS, "--method", "naclip", *sets, "--json")).stdout)
    assert told["settings"]["fsa"]["feedback"]["lambda_"] == 1.5
    assert {len(window["outliers"]) for window in told["windows"]} == {3}
    assert {side["stride"] for side in told["settings"].values()} == {16}


# mistakes ------------------------------------------------------------------------------------------------------


def test_mistakes_are_told_in_one_sentence(inspect, street, photos, tmp_path):
    assert "2 photos came; inspect looks at one" in complaint(inspect(photos / "*", *WORDS))
    assert "outside the photo" in complaint(inspect(street, *WORDS, "--point", "128,5"))
    assert "point '5' is not x,y" in complaint(inspect(street, *WORDS, "--point", "5"))
    assert "none of --classes" in complaint(inspect(street))
    assert "did you mean 'stride'" in complaint(inspect(street, *WORDS, "--set", "strid=3"))
    assert "a host goes with fsa" in complaint(inspect(street, *WORDS, "--method", "sclip", "--host", "naclip"))
    (tmp_path / "no.png").write_text("no picture")
    complaint(inspect("no.png", *WORDS))
    complaint(inspect("missing.png", *WORDS))
    (tmp_path / "street").mkdir()
    (tmp_path / "street/street.jpg").write_bytes(street.read_bytes())
    assert "could replace the photo" in complaint(inspect("street/street.jpg", *WORDS, "--out", "."))


# in a browser --------------------------------------------------------------------------------------------------

TOUCH = """<script>window.addEventListener("load", () => {
  const group = document.querySelector('[data-group="point-1"]'), shot = group.querySelector(".shot");
  const box = shot.getBoundingClientRect(), told = document.body.dataset;
  const middle = {clientX: box.left + 0.51 * box.width, clientY: box.top + 0.26 * box.height};
  shot.dispatchEvent(new PointerEvent("pointermove", middle));
  told.cross = group.querySelector("output").textContent;
  told.frames = [...group.querySelectorAll(".shot i")].filter((mark) => mark.offsetWidth > 0).length;
  const fsa = document.querySelector(".blink"), own = fsa.querySelector("img").src;
  const host = document.querySelector("#map-host img").src;
  fsa.dispatchEvent(new PointerEvent("pointerdown"));
  const pressed = fsa.querySelector("img").src === host;
  fsa.dispatchEvent(new PointerEvent("pointerup"));
  told.blink = own !== host && pressed && fsa.querySelector("img").src === own;
});</script></body>"""


@pytest.fixture
def page(inspect, street, tmp_path):
    """The page of a photo, and a folder for the browser."""
    browser.needed()
    done(inspect(street, *WORDS, "--point", "40,60"))
    (tmp_path / "browser").mkdir()
    return tmp_path / "segloop-out/street.inspect.html", tmp_path / "browser"


def test_every_picture_is_drawn_and_nothing_complains(page, tmp_path):
    touched = tmp_path / "touched.html"
    touched.write_text(page[0].read_text().replace("</body>", TOUCH))
    document, said = browser.document(touched, page[1])
    assert said == []
    told = dict(re.findall(r'data-(pictures|cross|frames|blink)="([^"]*)"', document))
    images = len(list((tmp_path / "segloop-out/street").glob("*.png")))
    assert told["pictures"] == f"{images} of {images}" and told["frames"] == "5" and told["blink"] == "true"
    values = json.loads(re.search(r'id="values">(.*?)</script>', document).group(1))["point-1"]
    first, *numbers = re.split(r"   ", told["cross"])
    assert first == "patch (2, 4)" and len(numbers) == 4
    for number, (name, list_) in zip(numbers, values.items(), strict=True):
        shown_name, shown = number.split(" ")
        assert shown_name == name and float(shown) == pytest.approx(list_[2 * 8 + 4], rel=0.06, abs=6e-4)  # two digits


def test_the_page_in_light_and_dark(page):
    light, dark = (browser.screenshot(*page, dark=dark) for dark in (False, True))
    assert light.shape == (900, 1200, 3) and len(np.unique(light.reshape(-1, 3), axis=0)) > 500
    assert light[5, 5].min() > 230 and dark[5, 5].max() < 40

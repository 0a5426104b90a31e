"""Masks of regions all the way: from Python and the command line, on any method, in records, and anew from cosines."""

import json
import shlex
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import models
from command import complaint, done, record
from segloop import Segmenter, Vocabulary
from segloop.attention.types import MARGIN
from segloop.errors import ImageError, OptionError
from segloop.line.masking import check_heeded, source_of, whole_masks
from segloop.line.straight import straight_line
from segloop.maps.vote import vote

pytestmark = pytest.mark.usefixtures("one_thread")

WORDS = Vocabulary(["grass", "sand", "water"], templates="plain")
PHOTO = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)  # 48 x 64
IDS = np.arange(48)[:, None] // 12 * 2 + np.arange(64) // 32  # 0 to 7
CPU = torch.device("cpu")
CLASSES = ("--classes", "road, car, sky")


@pytest.fixture(scope="module")
def segmenter(toy_clip):
    return Segmenter.from_pretrained(toy_clip, dtype="float32")


def voted(result, ids=IDS):
    return vote(torch.from_numpy(result.labels), torch.from_numpy(ids)).numpy()


# Python -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "how",
    [{}, {"method": "sfp"}, {"host": "sclip"}, {"host": "sfp:naclip"}, {"method": "qq", "pamr_steps": 2}],
    ids=str,
)
def test_regions_vote_under_every_method(toy_clip, how):
    plain = Segmenter.from_pretrained(toy_clip, dtype="float32", **how)
    before, after = plain(PHOTO, WORDS), plain(PHOTO, WORDS, masks=IDS)
    assert (after.labels == voted(before)).all()
    assert (after.labels != before.labels).any() or len(np.unique(before.labels)) == 1
    assert (after.settings["mask_vote"], after.settings["regions"]) == (True, "given")
    assert "mask_vote" not in before.settings
    scores = plain(PHOTO, WORDS, scores=True).scores
    expected = np.take_along_axis(scores, after.labels[None], 0)[0]
    np.testing.assert_allclose(after.confidence_map, expected, rtol=1e-5)  # the probability of the voted class
    same = after.labels == before.labels
    assert (after.confidence_map[same] == before.confidence_map[same]).all()


def test_a_vote_can_be_left_out(toy_clip, segmenter):
    off = Segmenter.from_pretrained(toy_clip, dtype="float32", mask_vote=False, masks=lambda image: IDS)
    before = segmenter(PHOTO, WORDS)
    assert (off(PHOTO, WORDS).labels == before.labels).all() and off(PHOTO, WORDS).settings["regions"] == "<lambda>"
    assert off.prepare(PHOTO).window_regions is not None
    on = Segmenter.from_pretrained(toy_clip, dtype="float32", mask_vote=True)
    with pytest.raises(OptionError, match="mask_vote needs masks of regions; give them with --masks"):
        on(PHOTO, WORDS)
    assert (on(PHOTO, WORDS, masks=IDS).labels == voted(before)).all()


def test_the_reference_leaves_the_lowest_region_out(toy_clip):
    exact = Segmenter.from_pretrained(toy_clip, fidelity="reference")
    before, after = exact(PHOTO, WORDS).labels, exact(PHOTO, WORDS, masks=IDS + 1)
    expected = vote(torch.from_numpy(before), torch.from_numpy(IDS + 1), reserve_zero=False)
    assert (after.labels == expected.numpy()).all() and after.settings["mask_lowest"] is True
    zero = Segmenter.from_pretrained(toy_clip, fidelity="reference", mask_lowest=False)
    expected = vote(torch.from_numpy(before), torch.from_numpy(IDS + 1))
    assert (zero(PHOTO, WORDS, masks=IDS + 1).labels == expected.numpy()).all()


def test_masks_of_a_call(segmenter):
    before = segmenter(PHOTO, WORDS)
    stack = np.stack([one == IDS for one in range(1, 8)])
    for masks in (IDS.astype(np.uint8), torch.from_numpy(IDS), stack, list(stack), lambda image: IDS):
        assert (segmenter(PHOTO, WORDS, masks=masks).labels == voted(before)).all()
    other = IDS.T[:48, :48].repeat(2, 1)[:, :64] % 3
    one, two = segmenter([PHOTO, PHOTO], WORDS, masks=[IDS, other])
    assert (one.labels == voted(before)).all() and (two.labels == voted(before, other)).all()
    assert (segmenter(PHOTO, WORDS).labels == before.labels).all()  # nothing stays of them


@pytest.mark.parametrize(
    ("photos", "masks", "error", "words"),
    [
        ([PHOTO, PHOTO], IDS, OptionError, "one array of masks came with a list of 2 photos; give a list of arrays"),
        ([PHOTO, PHOTO], [IDS], OptionError, "masks of 1 photos came with 2 photos"),
        (PHOTO, IDS.T, ImageError, "masks is 48x64 pixels, its photo 64x48"),
        (PHOTO, IDS / 2, ImageError, "masks holds float64"),
        (
            PHOTO,
            "nowhere",
            OptionError,
            "there are no masks at nowhere; check the path, or give sam, sam2 or tiny-sam, or cmd:",
        ),
        (PHOTO, lambda image: IDS[:3], ImageError, "what <lambda> made is 64x3 pixels"),
    ],
)
def test_masks_that_do_not_fit_a_call(segmenter, photos, masks, error, words):
    with pytest.raises(error, match=words):
        segmenter(photos, WORDS, masks=masks)


def test_masks_in_folders(toy_clip, tmp_path, segmenter):
    (tmp_path / "masks").mkdir()
    Image.fromarray(IDS.astype(np.uint8)).save(tmp_path / "masks" / "a.png")
    for name in "ab":
        Image.fromarray(PHOTO).save(tmp_path / f"{name}.png")
    opened = Segmenter.from_pretrained(toy_clip, dtype="float32", masks=tmp_path / "masks")
    before, after = segmenter(tmp_path / "a.png", WORDS), opened(tmp_path / "a.png", WORDS)
    assert (after.labels == voted(before)).all() and after.settings["regions"] == "masks"
    assert (straight_line(opened, tmp_path / "a.png", WORDS).numpy() == after.labels).all()
    failed = []
    found = list(
        opened.stream([tmp_path / "b.png", tmp_path / "a.png"], WORDS, on_error=lambda *one: failed.append(one))
    )
    assert len(found) == 1 and "there are no masks of" in str(failed[0][1])
    with pytest.raises(ImageError, match=r"a photo without a file's name came with the masks in .*masks; give"):
        opened(PHOTO, WORDS)
    with pytest.raises(OptionError, match="masks came as ndarray, which are those of one photo"):
        Segmenter.from_pretrained(toy_clip, masks=IDS)


def test_cosines_and_logits_take_masks(toy_clip):
    seen = []

    def mix(block):
        seen.append(block.regions)
        return lambda values: values

    opened = Segmenter.from_pretrained(toy_clip, method=mix, dtype="float32")
    opened.cosines(PHOTO, WORDS, masks=IDS)
    assert set(torch.cat([ids.flatten() for ids in seen]).tolist()) <= {*range(8), -1}
    seen.clear()
    opened.logits(torch.zeros(1, 3, 64, 64), opened.text(WORDS), torch.ones(1, 64, 64, dtype=torch.int64))
    assert seen[0].shape == (1, 64, 64)


@pytest.mark.parametrize("size", [(61, 100), (30, 64), (43, 43)])
def test_regions_are_cut_as_the_pixels_are(toy_clip, size):
    image = np.random.default_rng(1).integers(1, 250, (*size, 3), np.uint8)
    how = {"short_side": min(size), "crop": 48, "stride": 24, "dtype": "float32"}  # nothing is resized
    opened = Segmenter.from_pretrained(toy_clip, masks=lambda image: image[..., 0].astype(int), **how)
    ready = opened.prepare(image)
    normalised = opened.clip.normalisation
    red = ((ready.windows[:, 0] * normalised.std[0] + normalised.mean[0]) * 255).round().long()
    margin = ready.window_regions == MARGIN
    assert margin.equal((ready.windows == 0).all(1)) and margin.any() == (min(size) < 48)
    assert red[~margin].equal(ready.window_regions[~margin])


def test_exact_masks_of_a_scene_make_its_labels_exact():
    from segloop.scenes.draw import CLASSES, scene

    drawn = scene(0, (96, 128))
    opened = Segmenter.from_pretrained("tiny", dtype="float32", short_side=128, crop=128)
    words = Vocabulary(list(CLASSES), templates="plain")
    before, after = (opened(drawn.image, words, masks=masks).labels for masks in (None, drawn.mask.astype(int) + 1))
    right = [(labels == drawn.mask).mean() for labels in (before, after)]
    assert right[1] == 1 > right[0] > 0.9


# networks and programs --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sam2(tmp_path_factory):
    return models.masker_folder(tmp_path_factory.mktemp("maskers"), "sam2")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SEGLOOP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "masks"


def test_a_network_s_masks_are_kept_by_pixels_and_settings(toy_clip, sam2, cache, monkeypatch):
    how = {"mask_points": 4, "mask_iou": 0.0, "mask_stability": 0.0, "mask_overlap": 1.0}
    opened = Segmenter.from_pretrained(toy_clip, dtype="float32", masks=f"sam2:{sam2}", **how)
    first = opened(PHOTO, WORDS)
    assert {name: first.settings[name] for name in (*how, "regions")} == {**how, "regions": "sam2:masker-sam2"}
    (file,) = cache.rglob("*.npz")
    made = opened.masks.make(PHOTO)
    assert len(np.unique(made)) > 1
    monkeypatch.setattr(type(opened.masks), "make", None, raising=False)
    again = Segmenter.from_pretrained(toy_clip, dtype="float32", masks=f"sam2:{sam2}", **how)
    object.__setattr__(again.masks, "make", lambda image: pytest.fail("they are kept"))
    assert (again(PHOTO, WORDS).labels == first.labels).all()
    np.testing.assert_array_equal(again.prepare(PHOTO).regions, made)
    file.write_bytes(b"damaged")
    object.__setattr__(again.masks, "make", lambda image: made)
    np.testing.assert_array_equal(again.prepare(PHOTO).regions, made)
    opened.prepare(PHOTO[::-1].copy())
    other = Segmenter.from_pretrained(toy_clip, dtype="float32", masks=f"sam2:{sam2}", **{**how, "mask_points": 2})
    other.prepare(PHOTO)
    assert len([*cache.rglob("*.npz")]) == 3 and len([*cache.iterdir()]) == 2


def test_a_cache_that_cannot_be_written_costs_a_warning(toy_clip, sam2, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SEGLOOP_CACHE", str(tmp_path / "file"))
    source = source_of(f"sam2:{sam2}", {"mask_points": 1}, CPU)
    with pytest.warns(UserWarning, match="masks are not kept for the next time"):
        assert source(PHOTO, PHOTO).shape == PHOTO.shape[:2]


HALVES = """
import sys
from PIL import Image
photo = Image.open(sys.argv[1])
ids = Image.new("L", photo.size, 1)
ids.paste(2, (0, 0, photo.width // 2, photo.height))
ids.save(sys.argv[2])
print("ran", file=open(sys.argv[0] + ".log", "a"))
"""


@pytest.fixture
def halves(tmp_path):
    (tmp_path / "tool.py").write_text(HALVES)
    return f"cmd: {shlex.quote(sys.executable)} {tmp_path / 'tool.py'} {{photo}} {{out}}"


def test_a_program_s_masks_are_kept_until_it_changes(segmenter, halves, tmp_path, cache):
    for _ in range(2):
        result = segmenter(PHOTO, WORDS, masks=halves)
    assert len({*result.labels[:, :32].flat}) == len({*result.labels[:, 32:].flat}) == 1
    assert result.settings["regions"].endswith(" tool.py {photo} {out}") and str(tmp_path) not in str(result.settings)
    assert (tmp_path / "tool.py.log").read_text() == "ran\n"
    (tmp_path / "tool.py").write_text(HALVES.replace("// 2", "// 4"))
    segmenter(PHOTO, WORDS, masks=halves)
    assert (tmp_path / "tool.py.log").read_text() == "ran\nran\n"


def test_settings_of_masks_that_nothing_heeds(toy_clip, halves):
    with pytest.raises(
        OptionError, match="setting 'mask_points' belongs to masks that a network makes; add --masks sam"
    ):
        Segmenter.from_pretrained(toy_clip, mask_points=8)
    with pytest.raises(OptionError, match="belongs to masks that a network"):
        Segmenter.from_pretrained(toy_clip, masks=halves, mask_points=8)
    with pytest.raises(OptionError, match="setting 'mask_vote' came without masks; add --masks"):
        check_heeded({"mask_vote": True}, None)
    check_heeded({"mask_vote": False, "stride": 3}, None)
    with pytest.raises(OptionError, match="unknown setting 'mask_point' of method naclip; did you mean 'mask_points'"):
        Segmenter.from_pretrained(toy_clip, mask_point=8)
    with pytest.raises(OptionError, match="mask_points=0 is not possible"):
        source_of("sam2", {"mask_points": 0}, CPU, offline=True)


def test_masks_for_a_process_in_another_folder(tmp_path, monkeypatch, halves):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "masks").mkdir()
    assert whole_masks("masks") == str(tmp_path / "masks")
    assert (whole_masks("sam2"), whole_masks(None)) == ("sam2", None)
    assert whole_masks("sam:masks") == f"sam:{tmp_path / 'masks'}"
    near = f"cmd:{sys.executable} tool.py {{photo}} {{out}}"
    assert whole_masks(near) == f"cmd: {sys.executable} {tmp_path / 'tool.py'} {{photo}} {{out}}"
    one, other = (source_of(line, {}, CPU) for line in (near, whole_masks(near)))
    assert (one.said, one.fingerprint) == (other.said, other.fingerprint)


# the command line -------------------------------------------------------------------------------------------------


@pytest.fixture
def masks(tmp_path, street, meadow):
    """A folder with id maps of the two photos."""
    folder = tmp_path / "regions"
    folder.mkdir()
    for photo in (street, meadow):
        with Image.open(photo) as opened:
            ids = np.arange(opened.height)[:, None] // 40 * 4 + np.arange(opened.width) // 40
        np.save(folder / f"{photo.stem}.npy", ids + 1)
    return folder


@pytest.fixture
def labels_of(tmp_path):
    """The labels of a photo below --out."""
    return lambda out, name: np.asarray(Image.open(tmp_path / out / f"{name}.png")).astype(np.int64)


def test_segment_with_a_folder_of_masks(segment, masks, street, meadow, labels_of, tmp_path):
    done(segment(street, meadow, *CLASSES, "--format", "png,json", "--out", "plain"))
    done(segment(street, meadow, *CLASSES, "--format", "png,json", "--out", "voted", "--masks", masks))
    for name in ("street", "meadow"):
        expected = vote(*map(torch.from_numpy, (labels_of("plain", name), np.load(masks / f"{name}.npy"))))
        assert (labels_of("voted", name) == expected.numpy()).all()
    settings = record(tmp_path / "voted" / "street")["settings"]
    assert (settings["regions"], settings["mask_vote"], settings["mask_lowest"]) == ("regions", True, False)
    before = segment(street, meadow, *CLASSES, "--format", "png,json", "--out", "voted", "--masks", masks)
    assert "2 of 2 photos were done before" in before.stderr
    np.save(masks / "street.npy", np.load(masks / "street.npy") + 1)
    again = segment(street, meadow, *CLASSES, "--format", "png,json", "--out", "voted", "--masks", masks)
    assert "done before" not in again.stderr
    off = ("--masks", masks, "--set", "mask_vote=off", "--out", "off", "--format", "png")
    done(segment(street, *CLASSES, *off))
    assert (labels_of("off", "street") == labels_of("plain", "street")).all()


def test_a_photo_without_masks_costs_a_line(segment, masks, street, meadow):
    (masks / "meadow.npy").unlink()
    result = segment(street, meadow, *CLASSES, "--masks", masks)
    assert result.exit_code == 3 and "add meadow.png there" in result.stderr
    assert "there are no masks of" in complaint(segment(meadow, *CLASSES, "--masks", masks, "--out", "other"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ("--masks", "nowhere"),
            "there are no masks at nowhere; check the path, or give sam, sam2 or tiny-sam, or cmd:",
        ),
        (("--masks", "cmd: python {photo}"), "names no {photo} or not one {out}; write it as"),
        (("--masks", "sam2"), "model 'facebook/sam2-hiera-large' is not on this machine"),
        (("--set", "mask_points=4"), "setting 'mask_points' came without masks; add --masks"),
        (("--set", "mask_vote=true"), "setting 'mask_vote' came without masks"),
    ],
)
def test_masks_that_are_none_are_told_before_the_networks(segment, street, options, words):
    assert words in complaint(segment(street, *CLASSES, *options))


def test_label_with_masks(segloop, toy_clip, masks, photos, tmp_path):
    run = ("label", photos, *CLASSES, "--clip", toy_clip, "--templates", "plain", "--format", "confidence")
    for out, options in (("plain", ()), ("voted", ("--masks", masks))):
        result = segloop(*run, "--out", out, *options)
        assert result.exit_code == 0, result.output
    before, after = (np.asarray(Image.open(tmp_path / out / "labels" / "street.png")) for out in ("plain", "voted"))
    expected = vote(torch.from_numpy(before.astype(np.int64)), torch.from_numpy(np.load(masks / "street.npy")))
    assert (after == expected.numpy()).all() and (after != before).any()
    settings = json.loads((tmp_path / "voted" / "run.json").read_text())["settings"]
    assert settings["regions"] == "regions" and len(settings["regions_hash"]) == 64
    told = complaint(segloop(*run, "--out", "voted"))
    assert "holds a run with other settings" in told and '--masks "regions" there, none now' in told
    np.save(masks / "street.npy", np.load(masks / "street.npy") + 1)
    assert "other masks" in complaint(segloop(*run, "--out", "voted", "--masks", masks))


@pytest.fixture
def exact(drawn, tmp_path):
    """Exact masks of the drawn scenes, whose ids begin with 1."""
    folder = tmp_path / "exact"
    folder.mkdir()
    for path in (drawn / "masks").glob("*.png"):
        Image.fromarray(np.asarray(Image.open(path)) + 1).save(folder / path.name)
    return folder


def test_evaluate_with_masks_live_and_from_scores(evaluate, segloop, exact, drawn, tmp_path):
    def run(out):
        return json.loads((tmp_path / out / "run.json").read_text())

    for out, options in (("plain", ()), ("voted", ("--masks", exact))):
        result = evaluate("--out", out, "--limit", 3, "--scores", *options)
        assert result.exit_code == 0, result.output
    assert run("voted")["metrics"]["aAcc"] != run("plain")["metrics"]["aAcc"]
    settings = run("voted")["settings"]
    assert settings["regions"] == "exact" and settings["regions_hash"] and "masks" not in settings
    anew = ("evaluate", "--from-scores")
    done(segloop(*anew, "voted", "--out", "same"))  # where the masks were is in its log
    done(segloop(*anew, "plain", "--out", "later", "--masks", exact))
    for out in ("same", "later"):
        assert run(out)["metrics"] == run("voted")["metrics"]
        assert run(out)["settings"]["regions_hash"] == settings["regions_hash"]
    done(segloop(*anew, "voted", "--out", "off", "--set", "mask_vote=off"))
    assert run("off")["metrics"] == run("plain")["metrics"]
    told = segloop("report", "plain", "voted").stdout
    assert "Not like with like" in told and "mask vote off" in told
    told = complaint(segloop(*anew, "plain", "--out", "none", "--set", "mask_vote=true"))
    assert "mask_vote needs masks of regions; name them with --masks" in told
    told = complaint(segloop(*anew, "plain", "--out", "none", "--set", "mask_vote=off", "--masks", exact))
    assert "--masks came, and no region votes" in told
    assert "changes labels behind the threshold (vote)" in complaint(segloop("tune", "voted"))
    one = next(exact.iterdir())
    Image.fromarray(np.asarray(Image.open(one)) + 1).save(one)
    assert "gives other masks than the run saw" in complaint(segloop(*anew, "voted", "--out", "none"))
    (tmp_path / "voted" / "log.json").unlink()
    assert "does not say where its masks lie" in complaint(segloop(*anew, "voted", "--out", "none", "--data", drawn))


def test_settings_of_masks_are_runs(evaluate, sam2, cache, tmp_path):
    result = evaluate("--out", "runs", "--limit", 1, "--masks", f"sam:{sam2}", "--set", "mask_points=1,2")
    assert result.exit_code == 0, result.output
    found = [json.loads(path.read_text())["settings"] for path in sorted((tmp_path / "runs").rglob("run.json"))]
    assert sorted(one["mask_points"] for one in found) == [1, 2]
    assert len({one["regions_hash"] for one in found}) == 1 and len([*cache.rglob("*.npz")]) == 2


def test_large_scenes_with_masks_are_refused(segloop, toy_clip, masks, photos, tmp_path, monkeypatch):
    monkeypatch.setenv("SEGLOOP_MAX_PIXELS", "6000")
    run = ("label", photos, *CLASSES, "--clip", toy_clip, "--templates", "plain", "--masks", masks)
    assert segloop(*run).exit_code == 3
    (line,) = (tmp_path / "segloop-out" / "labels" / "failed.jsonl").read_text().splitlines()
    assert "street.jpg" in line and "without --masks: masks cover the whole photo" in line

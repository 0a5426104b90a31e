"""Counts against their definition, scikit-learn and the reference cases; intervals and rims worked out by hand."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.metrics import confusion_matrix

from golden import ROOT, Case, cases
from segloop.errors import ImageError, OptionError
from segloop.scoring import bootstrap, metrics
from segloop.scoring.bootstrap import Interval, intervals, paired
from segloop.scoring.boundary import boundary_counts, interior
from segloop.scoring.metrics import Confusion, Counts, confusion, scores

LABELS = Path(__file__).resolve().parents[2] / "shared" / "data" / "VOCdevkit" / "VOC2012" / "SegmentationClass"
PARTS = ("intersection", "prediction", "label")


def by_definition(prediction, label, classes, void) -> Counts:
    """Spec 6, one class after the other."""
    known = (label >= 0) & (label < classes) if void == "corrected" else label != 255
    z, y = prediction[known], label[known]
    areas = [[((z == k) & (y == k)).sum(), (z == k).sum(), (y == k).sum()] for k in range(classes)]
    return Counts(*np.array(areas).T)


def assert_equal(found: Counts, expected: Counts) -> None:
    for part in PARTS:
        np.testing.assert_array_equal(getattr(found, part), getattr(expected, part), err_msg=part)
        assert getattr(found, part).dtype == np.int64


def images_of(case: Case) -> list[tuple[np.ndarray, np.ndarray]]:
    arrays = case.arrays
    return [(arrays[f"prediction_{i}"], arrays[f"label_{i}"]) for i in range(case.manifest["images"])]


def check_percent(case: Case, made: metrics.Scores, expected: dict) -> None:
    for name in ("aAcc", "mIoU", "mAcc"):
        assert getattr(made, name) == pytest.approx(expected[name], abs=case.manifest["tolerance"]["percent"])


@pytest.mark.skipif(not ROOT.is_dir(), reason="reference cases are not beside the project")
def test_the_cases_are_there():
    assert len(cases("C_metrics")) == 7


@pytest.mark.parametrize("case", cases("C_metrics"), ids=str)
def test_reference_mode_gives_the_published_areas_and_scores(case: Case):
    classes, arrays = case.manifest["classes"], case.arrays
    parts = [confusion(*maps, classes, "reference") for maps in images_of(case)]
    counts = Confusion.total(parts).counts()
    assert_equal(counts, Counts(arrays["intersect"], arrays["area_prediction"], arrays["area_label"]))
    np.testing.assert_array_equal(counts.prediction + counts.label - counts.intersection, arrays["union"])
    made, tolerance = scores(counts), case.manifest["tolerance"]["iou_acc"]
    np.testing.assert_allclose(made.IoU / 100, arrays["iou"], rtol=0, atol=tolerance)
    np.testing.assert_allclose(made.Acc / 100, arrays["acc"], rtol=0, atol=tolerance)
    check_percent(case, made, case.manifest["expected"])


@pytest.mark.parametrize("case", cases("C_metrics"), ids=str)
def test_corrected_mode_gives_the_corrected_scores(case: Case):
    classes, arrays = case.manifest["classes"], case.arrays
    counts = Counts.stack([confusion(*maps, classes).counts() for maps in images_of(case)])
    expected = Counts.stack([by_definition(*maps, classes, "corrected") for maps in images_of(case)])
    assert_equal(counts, expected)
    if case.manifest["corrected"] is not None:
        made, tolerance = scores(counts.total()), case.manifest["tolerance"]["iou_acc"]
        np.testing.assert_allclose(made.IoU / 100, arrays["corrected_iou"], rtol=0, atol=tolerance)
        np.testing.assert_allclose(made.Acc / 100, arrays["corrected_acc"], rtol=0, atol=tolerance)
        check_percent(case, made, case.manifest["corrected"])


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    classes=st.sampled_from([1, 2, 5, 255, 256, 300]),
    void=st.sampled_from(["corrected", "reference"]),
    dtype=st.sampled_from([np.uint8, np.uint16, np.int32, np.int64]),
)
def test_counts_follow_their_definition(seed, classes, void, dtype):
    rng = np.random.default_rng(seed)
    odd = [value for value in (-1, 254, 255, 256, 65535, classes, classes + 1) if value in range(*limits(dtype))]
    few = [*rng.choice(classes, min(classes, 4), replace=False).tolist(), *odd]
    usable = [value for value in few if value in range(*limits(dtype))]
    prediction, label = rng.choice(usable, (2, *rng.integers(1, 12, 2))).astype(dtype)
    found = confusion(prediction, label, classes, void).counts()
    assert_equal(found, by_definition(prediction.astype(int), label.astype(int), classes, void))


def limits(dtype) -> tuple[int, int]:
    info = np.iinfo(dtype)
    return int(info.min), int(info.max) + 1


@pytest.mark.parametrize("classes", [4, 3000])  # a table of all cells, and sorted cells
def test_confusion_equals_scikit_learn(classes):
    rng = np.random.default_rng(1)
    prediction, label = rng.integers(classes - 4, classes, (2, 31, 17))
    found = confusion(prediction, label, classes)
    expected = confusion_matrix(label.ravel(), prediction.ravel(), labels=range(classes))
    np.testing.assert_array_equal(np.stack([found.label, found.prediction]), expected.nonzero())
    np.testing.assert_array_equal(found.pixels, expected[expected.nonzero()])


@pytest.mark.filterwarnings("ignore:A single label was found")
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), classes=st.integers(1, 9))
def test_confusion_equals_scikit_learn_on_random_maps(seed, classes):
    rng = np.random.default_rng(seed)
    prediction, label = rng.integers(classes, size=(2, 9, 11))
    found, matrix = confusion(prediction, label, classes), np.zeros((classes, classes), int)
    matrix[found.label, found.prediction] = found.pixels
    np.testing.assert_array_equal(matrix, confusion_matrix(label.ravel(), prediction.ravel(), labels=range(classes)))


def test_cells_are_sorted_and_none_is_empty():
    found = confusion(np.array([[2, 0, 0, 1]]), np.array([[0, 0, 1, 1]]), 3)
    assert list(zip(found.label, found.prediction, found.pixels, strict=True)) == [
        (0, 0, 1),
        (0, 2, 1),
        (1, 0, 1),
        (1, 1, 1),
    ]
    assert found.label.dtype == found.prediction.dtype == found.pixels.dtype == np.int64


def test_labels_outside_cost_the_predicted_class_in_reference_mode_only():
    prediction, label = np.array([[0, 0, 1, 1]]), np.array([[0, 65535, 255, 1]], np.uint16)
    reference = confusion(prediction, label, 2, "reference")
    assert reference.label.tolist() == [0, 1, 2]  # 2 is outside
    assert scores(reference.counts()).IoU.tolist() == [50, 100]
    assert scores(confusion(prediction, label, 2).counts()).IoU.tolist() == [100, 100]


def test_class_255_of_300_counts_in_corrected_mode_only():
    maps = np.full((2, 4, 5), 255, np.uint16)
    assert confusion(*maps, 300).counts().label[255] == 20
    assert not len(confusion(*maps, 300, "reference").pixels)


def test_predictions_outside_cost_the_labelled_class():
    counts = confusion(np.array([[0, 7]]), np.array([[0, 0]]), 2).counts()
    assert (counts.prediction.sum(), counts.label.sum()) == (1, 2)
    assert scores(counts).IoU[0] == 50


def test_scores_by_hand():
    """Class 0: 6 of 8 right and 2 too many; 1: only predicted; 2: only labelled; 3: nowhere."""
    made = scores(Counts(np.array([6, 0, 0, 0]), np.array([8, 4, 0, 0]), np.array([8, 0, 4, 0])))
    np.testing.assert_array_equal(made.IoU, [60, 0, 0, np.nan])
    np.testing.assert_array_equal(made.Acc, [75, np.nan, 0, np.nan])
    assert (made.aAcc, made.mIoU, made.mAcc) == (50, 20, 37.5)
    assert all(isinstance(figure, float) for figure in (made.aAcc, made.mIoU, made.mAcc))


@pytest.mark.filterwarnings("error")
def test_scores_of_nothing_are_not_a_number_and_do_not_warn():
    empty = confusion(np.zeros((3, 3), int), np.full((3, 3), 255), 2)
    made = scores(empty.counts())
    assert np.isnan([made.aAcc, made.mIoU, made.mAcc, *made.IoU, *made.Acc]).all()


def test_scores_of_many_images_at_once_are_those_of_each():
    counts = random_counts(6, 4)
    many = scores(counts)
    assert many.mIoU.shape == (6,) and many.IoU.shape == (6, 4)
    for i in range(6):
        one = scores(Counts(*(getattr(counts, part)[i] for part in PARTS)))
        np.testing.assert_array_equal(many.IoU[i], one.IoU)
        np.testing.assert_allclose((many.aAcc[i], many.mIoU[i], many.mAcc[i]), (one.aAcc, one.mIoU, one.mAcc))


def test_sums_over_images_agree_however_they_are_made():
    rng = np.random.default_rng(2)
    maps = [rng.integers(5, size=(2, 6 + i, 9)) for i in range(4)]
    parts = [confusion(*pair, 5) for pair in maps]
    whole = confusion(*(np.concatenate([pair[i] for pair in maps]) for i in range(2)), 5)
    total = Confusion.total(parts)
    for name in ("label", "prediction", "pixels"):
        np.testing.assert_array_equal(getattr(total, name), getattr(whole, name))
    assert_equal(Counts.stack([part.counts() for part in parts]).total(), whole.counts())
    assert_equal(whole.counts().total(), whole.counts())


def test_sums_of_nothing_or_of_different_classes_are_refused():
    one = confusion(np.zeros((1, 1), int), np.zeros((1, 1), int), 2)
    other = confusion(np.zeros((1, 1), int), np.zeros((1, 1), int), 3)
    with pytest.raises(OptionError, match="2 and 3 classes"):
        Confusion.total([one, other])
    for total in (Confusion.total, Counts.stack):
        with pytest.raises(OptionError, match="no counts"):
            total([])


def test_bad_maps_are_refused_with_a_sentence():
    label = np.zeros((30, 40), np.uint8)
    with pytest.raises(ImageError, match=r"30x40 pixels and the photo 31x40 \(height x width\)"):
        confusion(np.zeros((31, 40), int), label, 2)
    with pytest.raises(ImageError, match=r"prediction of shape \(30, 40\) and float64"):
        confusion(label.astype(float), label, 2)
    with pytest.raises(ImageError, match=r"label map of shape \(30, 40, 3\)"):
        confusion(label, np.zeros((30, 40, 3), int), 2)
    with pytest.raises(OptionError, match="did you mean 'corrected'"):
        confusion(label, label, 2, "correct")


@pytest.mark.skipif(not LABELS.is_dir(), reason="samples are not beside the project")
def test_real_masks_score_100_against_themselves_and_void_is_left_out():
    for path in sorted(LABELS.glob("*.png"))[:3]:
        label = np.asarray(Image.open(path))
        for void in ("corrected", "reference"):
            counts = confusion(label % 21, label, 21, void).counts()  # void is predicted as some class
            assert counts.label.sum() == (label != 255).sum() > 0
            assert scores(counts).mIoU == scores(boundary_counts(label % 21, label, 21, void)).mIoU == 100


def random_counts(images: int, classes: int, seed: int = 0) -> Counts:
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 900, (images, classes)) * rng.integers(0, 2, (images, classes))
    intersection = rng.integers(0, label + 1)
    return Counts(intersection, intersection + rng.integers(0, 200, (images, classes)), label)


def better(counts: Counts, pixels: int) -> Counts:
    """The same images with more pixels right, where there are any to gain."""
    gain = np.minimum(pixels, counts.label - counts.intersection)
    return Counts(counts.intersection + gain, counts.prediction + gain, counts.label)


def test_one_image_says_nothing_of_others():
    found = intervals(random_counts(1, 5), draws=50)
    assert np.isnan([found["mIoU"].low, found["mIoU"].high, *found["IoU"].ravel()]).all()


def test_few_images_whose_draws_all_lie_beside_the_score_have_an_interval_that_holds_it():
    """Class 0 is perfect and in ten images, two hopeless ones are in one image each: mIoU is 100 / 3.

    A draw without one of the two has the mean over two classes, 50, without both 100.
    """
    label = np.zeros((12, 3), np.int64)
    label[:10, 0], label[10, 1], label[11, 2] = 10, 10, 10
    right = np.where(np.arange(3) == 0, label, 0)
    found = intervals(Counts(right, label, label), draws=400, level=0.01)["mIoU"]
    assert found.low == pytest.approx(100 / 3) and found.high == 50


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), images=st.integers(2, 6), classes=st.integers(1, 9))
def test_an_interval_holds_its_score_however_few_images_there_are(seed, images, classes):
    counts = random_counts(images, classes, seed)
    found, made = intervals(counts, draws=40, seed=seed, level=0.5), scores(counts.total())
    for name in ("aAcc", "mIoU", "mAcc"):
        assert not found[name].low > getattr(made, name) and not getattr(made, name) > found[name].high
    gain = paired(counts, better(counts, 9), draws=40, seed=seed, level=0.5).mIoU
    assert not gain.interval.low > gain.value and not gain.value > gain.interval.high


@pytest.mark.parametrize("images", [2, 7])
def test_equal_images_give_intervals_of_no_width(images):
    one = random_counts(1, 5)
    counts = Counts(*(np.repeat(getattr(one, part), images, axis=0) for part in PARTS))
    found, made = intervals(counts, draws=50), scores(counts.total())
    for name in ("aAcc", "mIoU", "mAcc"):
        assert found[name].low == found[name].high == pytest.approx(getattr(made, name), abs=1e-12)
    np.testing.assert_array_equal(found["IoU"], np.stack([made.IoU, made.IoU], 1))


def test_two_images_one_right_one_wrong():
    """Draws hold the right image 0, 1 or 2 times with chances 1/4, 1/2, 1/4, so that half of them lie at 50."""
    zero = np.zeros((2, 1), int)
    counts = Counts(np.array([[10], [0]]), zero + 10, zero + 10)
    assert intervals(counts, draws=400)["aAcc"] == Interval(0, 100)
    assert intervals(counts, draws=400, level=0.4)["aAcc"] == Interval(50, 50)
    assert intervals(counts, draws=400)["IoU"].tolist() == [[0, 100]]


def test_intervals_narrow_with_images_as_the_standard_error_does():
    """Independent images of equal size: the mean of n values between 0 and 100 %."""
    right = np.random.default_rng(5).integers(0, 1001, (400, 1))
    counts = Counts(right, np.full_like(right, 1000), np.full_like(right, 1000))
    found = intervals(counts, draws=4000)["aAcc"]
    error = (right / 10).std() / 400**0.5  # a quantile of 4000 draws is good to 0.042 of it; 0.2 is three times that
    assert found.low == pytest.approx(right.mean() / 10 - 1.96 * error, abs=0.2)
    assert found.high == pytest.approx(right.mean() / 10 + 1.96 * error, abs=0.2)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_interval_contains_the_value(seed):
    counts = random_counts(60, 3, seed)
    found, made = intervals(counts, draws=200, seed=seed, level=0.999), scores(counts.total())
    for name in ("aAcc", "mIoU", "mAcc"):
        assert found[name].low < getattr(made, name) < found[name].high
    assert ((found["IoU"][:, 0] < made.IoU) & (made.IoU < found["IoU"][:, 1])).all()


def test_draws_are_the_same_for_a_seed_and_however_they_are_cut(monkeypatch):
    counts = random_counts(9, 4)
    first = intervals(counts, draws=100, seed=3)
    assert intervals(counts, draws=100, seed=4)["mIoU"] != first["mIoU"]
    for block in (1, 64, 1 << 20):
        monkeypatch.setattr(bootstrap, "BLOCK", block)
        again = intervals(counts, draws=100, seed=3)
        assert [again[name] for name in ("aAcc", "mIoU", "mAcc")] == [first[n] for n in ("aAcc", "mIoU", "mAcc")]
        np.testing.assert_array_equal(again["IoU"], first["IoU"])


def test_each_draw_takes_as_many_images_as_there_are():
    weights = bootstrap._weights(np.random.default_rng(0), 2000, 5)
    assert weights.shape == (2000, 5) and (weights.sum(1) == 5).all()
    np.testing.assert_allclose(weights.mean(0), 1, atol=0.08)  # four standard errors, sqrt(0.8 / 2000)
    np.testing.assert_allclose(weights.var(0), 0.8, atol=0.08)  # n p (1 - p); three standard errors


@pytest.mark.filterwarnings("error")
def test_a_class_that_few_images_hold_is_left_out_of_other_draws():
    """Class 1 is perfect and in one image of two: a draw without it scores class 0 alone."""
    counts = Counts(np.array([[5, 10], [5, 0]]), np.array([[5, 10], [5, 0]]), np.array([[10, 10], [10, 0]]))
    found = intervals(counts, draws=100)
    assert found["mIoU"] == Interval(50, 75)
    assert found["IoU"][0].tolist() == [50, 50] and np.isnan(found["IoU"][1]).all()  # one image says nothing of others


@pytest.mark.filterwarnings("error")
def test_classes_of_no_image_and_sets_of_no_image_have_no_interval():
    counts = random_counts(4, 3)
    counts = Counts(*(np.pad(getattr(counts, part), ((0, 0), (0, 1))) for part in PARTS))
    assert np.isnan(intervals(counts, draws=20)["IoU"][3]).all()
    gain = paired(counts, counts, draws=20).IoU[3]
    assert np.isnan([gain.value, gain.interval.low, gain.interval.high, gain.p]).all()
    nothing = np.zeros((0, 2), np.int64)
    assert np.isnan(intervals(Counts(nothing, nothing, nothing), draws=20)["mIoU"].low)


def test_equal_runs_differ_by_nothing_and_it_may_be_chance():
    counts = random_counts(12, 4)
    found = paired(counts, counts, draws=100)
    for gain in (found.aAcc, found.mIoU, found.mAcc, *found.IoU):
        assert (gain.value, gain.interval, gain.p) == (0, Interval(0, 0), 1)


def test_a_gain_on_every_image_is_real_and_one_in_both_directions_is_not():
    counts = random_counts(40, 3)
    found, value = paired(counts, better(counts, 30), draws=200), scores(counts.total()).mIoU
    assert found.mIoU.value == scores(better(counts, 30).total()).mIoU - value > 0
    assert 0 < found.mIoU.interval.low < found.mIoU.value < found.mIoU.interval.high
    assert found.mIoU.p == 2 / 201
    back = paired(better(counts, 30), counts, draws=200)
    assert (back.mIoU.value, back.mIoU.p) == (-found.mIoU.value, 2 / 201)


def test_gains_in_both_directions_may_be_chance():
    plain = random_counts(40, 3)
    gained, even = better(plain, 30), (np.arange(40) % 2 == 0)[:, None]

    def where(chosen: np.ndarray) -> Counts:
        return Counts(*(np.where(chosen, getattr(gained, part), getattr(plain, part)) for part in PARTS))

    found = paired(where(even), where(~even), draws=200).aAcc
    assert found.interval.low < 0 < found.interval.high
    assert found.p > 0.05


def test_p_is_worked_out_as_said():
    """One image of three gains: a draw leaves it out with chance (2/3)**3 = 8/27, and none loses."""
    same = np.full((3, 1), 10)
    first, second = Counts(same - 5, same, same), Counts(same - [[5], [5], [0]], same, same)
    assert paired(first, second, draws=4000).aAcc.p == pytest.approx(16 / 27, abs=0.043)  # three errors


def test_few_images_prove_little():
    for images, least in ((1, 1), (2, 0.5), (4, 0.125)):
        half, whole = np.full((images, 1), 5), np.full((images, 1), 10)
        assert paired(Counts(half, whole, whole), Counts(whole, whole, whole), draws=100).aAcc.p == least


def test_p_of_a_class_is_bounded_by_the_images_that_hold_it():
    """Forty images, all of class 0; class 1 lies in three, class 2 in one prediction of the first run, 3 nowhere."""
    label = np.zeros((40, 4), np.int64)
    label[:, 0], label[:3, 1] = 90, 10
    half, wrong = label // 2, label // 2
    wrong[0, 2] = 5
    first, second = Counts(half, wrong, label), Counts(label, label, label)
    found = paired(first, second, draws=4000)
    assert [gain.images for gain in (found.aAcc, found.mIoU, found.mAcc)] == [40] * 3
    assert [gain.images for gain in found.IoU] == [40, 3, 1, 0]
    assert [gain.least for gain in found.IoU] == [2.0**-39, 0.25, 1.0, 1.0]
    assert found.IoU[0].p == 2 / 4001  # all draws gain: the draws bound it
    assert found.IoU[1].p == 0.25  # 2 * (1 + 0) / (1 + 4000 * (1 - (37 / 40)**40)) without the bound
    assert np.isnan([found.IoU[2].p, found.IoU[3].p]).all()  # one run does not define them


def test_images_without_a_pixel_say_nothing():
    counts = [np.array([[5], [0], [0]]), np.array([[10], [0], [0]]), np.array([[10], [0], [0]])]
    found = paired(Counts(*counts), Counts(counts[2], *counts[1:]), draws=100)
    assert found.aAcc.images == 1 and found.aAcc.p == found.aAcc.least == 1


def test_bad_bootstraps_are_refused_with_a_sentence():
    counts = random_counts(3, 2)
    with pytest.raises(OptionError, match="0 draws"):
        intervals(counts, draws=0)
    with pytest.raises(OptionError, match="hold 95 of the draws"):
        intervals(counts, level=95)
    with pytest.raises(OptionError, match=r"\(2,\) are not one row an image"):
        intervals(counts.total())
    with pytest.raises(OptionError, match="3 images of 2 classes and 4 images of 2 classes"):
        paired(counts, random_counts(4, 2))


def rims_by_opencv(values: np.ndarray, classes: int, steps: int) -> np.ndarray:
    """(C, H, W) bool: each mask without its erosion."""
    masks = [(values == k).astype(np.uint8) for k in range(classes)]
    border = {"borderType": cv2.BORDER_CONSTANT, "borderValue": 0}
    eroded = [cv2.erode(mask, np.ones((3, 3), np.uint8), iterations=steps, **border) for mask in masks]
    return np.array(masks) > np.array(eroded)


@st.composite
def patchy(draw, classes: int = 4):
    """Two maps (H, W) of squares with some odd pixels, holding classes and 255."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    height, width, side = draw(st.integers(1, 70)), draw(st.integers(1, 70)), draw(st.integers(1, 50))
    coarse = rng.choice([*range(classes), 255], (2, height // side + 1, width // side + 1))
    maps = np.kron(coarse, np.ones((1, side, side), int))[:, :height, :width]
    odd = rng.random(maps.shape) < draw(st.sampled_from([0, 0.001, 0.3]))
    return np.where(odd, rng.integers(classes, size=maps.shape), maps)


@settings(max_examples=100, deadline=None)
@given(maps=patchy(), width=st.sampled_from([0.02, 0.05, 0.1, 2.0]))
def test_rims_are_masks_without_their_erosion(maps, width):
    prediction, label = maps
    steps = max(1, round(width * np.hypot(*label.shape)))
    void = label == 255
    rims, true = (rims_by_opencv(np.where(void, 255, values), 4, steps) for values in (prediction, label))
    expected = Counts(*(areas.sum((1, 2)) for areas in (rims & true, rims, true)))
    assert_equal(boundary_counts(prediction, label, 4, width=width), expected)


@settings(max_examples=50, deadline=None)
@given(maps=patchy(), steps=st.integers(1, 8))
def test_interiors_are_what_erosion_leaves(maps, steps):
    rims = rims_by_opencv(maps[0], 256, steps).any(0)
    np.testing.assert_array_equal(interior(maps[0], steps), ~rims)


def test_rims_by_hand():
    """A square of 4x4 pixels, moved by one column: a rim is 12 pixels."""
    label, prediction = np.zeros((2, 10, 10), int)
    label[3:7, 3:7] = prediction[3:7, 4:8] = 1
    counts = boundary_counts(prediction, label, 2)
    assert (counts.prediction[1], counts.label[1]) == (12, 12)
    assert counts.intersection[1] == 6  # of three common columns, what is rim of both: the top and the bottom row


def test_the_default_width_is_two_percent_of_the_diagonal():
    """300x400 pixels have a diagonal of 500: ten pixels on every side of a map of one class."""
    counts = boundary_counts(*np.zeros((2, 300, 400), int), 1)
    assert counts.label.tolist() == [300 * 400 - 280 * 380]
    assert boundary_counts(*np.zeros((2, 9, 9), int), 1).label.tolist() == [32]  # 0.25, but at least one pixel
    assert boundary_counts(*np.zeros((2, 78, 104), int), 1).label.tolist() == [78 * 104 - 72 * 98]  # 2.6, so three


def test_void_ends_a_mask_and_costs_nothing():
    label, prediction = np.zeros((2, 9, 9), int)
    label[:, 6:] = 255
    prediction[:, 6:] = 1
    counts = boundary_counts(prediction, label, 2)
    assert counts.label.tolist() == counts.prediction.tolist() == counts.intersection.tolist() == [54 - 28, 0]


def test_labels_outside_cost_rims_in_reference_mode_only():
    prediction, label = np.ones((9, 9), int), np.full((9, 9), 65535)
    assert boundary_counts(prediction, label, 2, "reference").prediction.tolist() == [0, 32]
    assert boundary_counts(prediction, label, 2).prediction.tolist() == [0, 0]


def test_bad_widths_and_sizes_are_refused():
    flat = np.zeros((4, 4), int)
    for width in (0, -1, np.nan, np.inf):
        with pytest.raises(OptionError, match="positive share"):
            boundary_counts(flat, flat, 2, width=width)
    with pytest.raises(ImageError, match="4x4 pixels and the photo 3x4"):
        boundary_counts(flat[1:], flat, 2)

"""What of a label map is kept: classes, sure pixels, large regions; in results of every format."""

import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from command import complaint, done
from segloop import Filter, Segmenter, label
from segloop.commands.amounts import area, share
from segloop.errors import OptionError, UserError
from segloop.labels.read import stored_values
from segloop.results.coco import coco_object
from segloop.results.filters import unlabelled
from segloop.results.overlay import draw_overlay
from segloop.results.segmentation import Segmentation, label_png

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools
CLASSES = ["sky", "tree", "wall"]
LABELS = np.array([[0, 0, 1, 2], [0, 1, 1, 2], [2, 2, 0, 2]])
SURE = np.array([[0.9, 0.8, 0.7, 0.6], [0.5, 0.4, 0.3, 0.2], [0.1, 0.9, 0.9, 0.9]], np.float32)
X = 255


def kept(**options) -> list[list[int]]:
    return Filter(**options)(LABELS, SURE, CLASSES).tolist()


def test_nothing_asked_for_takes_nothing():
    assert Filter()(LABELS, SURE, CLASSES) is LABELS
    assert not Filter().is_on and Filter().as_settings() == {}


def test_only_some_classes():
    assert kept(only=("tree", "sky")) == [[0, 0, 1, X], [0, 1, 1, X], [X, X, 0, X]]
    assert Filter(only=["tree"]).as_settings() == {"only": ["tree"]}


def test_only_what_is_sure():
    assert kept(min_confidence=0.5) == [[0, 0, 1, 2], [0, X, X, X], [X, 2, 0, 2]]


def test_only_regions_that_hang_together_over_edges():
    """Sky has regions of 3 pixels and 1, tree of 3, wall of 2 and 3."""
    assert kept(min_area=3) == [[0, 0, 1, 2], [0, 1, 1, 2], [X, X, X, 2]]
    assert kept(min_area=0.25) == kept(min_area=3)  # of twelve pixels
    assert kept(min_area=0.26) == np.full((3, 4), X).tolist()


def test_regions_are_those_of_what_is_left():
    assert kept(min_confidence=0.5, min_area=3) == [[0, 0, X, X], [0, X, X, X], [X, X, X, X]]


@pytest.mark.parametrize("classes, value", [(1, 255), (255, 255), (256, 65535), (65535, 65535)])
def test_the_value_of_no_class_is_never_a_class(classes, value):
    assert unlabelled(classes) == value >= classes


def test_a_map_of_256_classes_has_a_value_to_spare(tmp_path):
    names = [str(number) for number in range(256)]
    labels = Filter(only=("255",))(np.array([[0, 255]]), np.ones((1, 2), np.float32), names)
    (tmp_path / "map.png").write_bytes(label_png(labels, names))
    assert stored_values(tmp_path / "map.png").tolist() == [[65535, 255]]


@pytest.mark.parametrize(
    "options", [{"min_confidence": 1.5}, {"min_confidence": float("nan")}, {"min_area": -1}, {"min_area": float("inf")}]
)
def test_numbers_that_mean_nothing(options):
    with pytest.raises(OptionError):
        Filter(**options)


def test_a_class_that_is_none_is_told_with_the_nearest():
    with pytest.raises(OptionError, match=r"'tre' is to be kept.*tree"):
        Filter(only=("tre",)).check(CLASSES)


def test_without_scipy_a_sentence(monkeypatch):
    def missing(name, *others):
        raise ImportError(name)

    monkeypatch.setattr("segloop.results.filters.import_module", missing)
    with pytest.raises(UserError, match="scipy"):
        Filter(min_area=3).check(CLASSES)
    Filter(min_confidence=0.5).check(CLASSES)


def test_areas_as_people_write_them():
    assert (area("400"), area("0.5%"), area(" 12 "), area("0")) == (400, 0.005, 12, 0)
    for text in ("many", "-3", "0.5", "100%", "nan", "inf", ""):
        with pytest.raises(OptionError, match="--min-area"):
            area(text)


def test_results_without_a_class_in_every_format():
    labels = Filter(only=("tree",))(LABELS, SURE, CLASSES)
    found = coco_object(labels, CLASSES, "x.jpg")["annotations"]
    assert [one["category_id"] for one in found] == [2]
    assert (coco_mask.decode(found[0]["segmentation"]) == (LABELS == 1)).all()
    photo = np.full((3, 4, 3), 200, np.uint8)
    shown = np.asarray(draw_overlay(photo, labels, CLASSES, legend=False))
    assert (shown[-40:, -40:] == 200).all()  # the photo shines through where nothing is known
    draw_overlay(photo, np.full((3, 4), X), CLASSES)  # with a legend that names no class
    result = Segmentation(labels, CLASSES, None, {}, {}, photo)
    assert result.record()["unlabelled"] == 0.75


def test_from_python(toy_clip, street):
    segmenter = Segmenter.from_pretrained(toy_clip)
    plain = segmenter(street, CLASSES)
    assert plain.confidence_map.shape == plain.labels.shape
    limit = float(np.median(plain.confidence_map))
    strict = segmenter(street, CLASSES, keep=Filter(min_confidence=limit))
    left = plain.confidence_map >= np.float32(limit)
    assert (strict.labels == np.where(left, plain.labels, X)).all()
    assert strict.settings["filter"] == {"min_confidence": limit} and "filter" not in plain.settings
    assert sum(strict.share.values()) == pytest.approx(left.mean(), abs=1e-12)


WORDS = ("--classes", ",".join(CLASSES), "--templates", "plain")


def test_on_the_command_line(segment, street, tmp_path):
    done(segment(street, *WORDS, "--only", "tree", "--format", "png,confidence,json"))
    out = tmp_path / "segloop-out"
    assert set(np.unique(stored_values(out / "street.png"))) <= {1, X}
    assert Image.open(out / "street.confidence.png").mode == "L"
    told = json.loads((out / "street.json").read_text())
    assert told["settings"]["filter"] == {"only": ["tree"]}
    assert told["share"]["tree"] + told.get("unlabelled", 0) == pytest.approx(1, abs=1e-12)


def test_nothing_left_is_said(segment, street):
    assert "no class is left" in done(segment(street, *WORDS, "--min-area", "99%", "--min-confidence", "100%")).stdout


def test_probabilities_as_people_write_them():
    assert (share("0.5"), share("50%"), share("0"), share(" 1 ")) == (0.5, 0.5, 0, 1)
    for text in ("0,5", "7", "-1", "half", "nan", ""):
        with pytest.raises(OptionError, match="--min-confidence"):
            share(text)


@pytest.mark.parametrize("option, value", [("--only", "bush"), ("--min-confidence", "7"), ("--min-area", "few")])
def test_wrong_options_are_told_before_any_network(segment, street, option, value):
    assert value in complaint(segment(street, *WORDS, option, value, "--clip", "/nowhere"), 2)


def test_a_labelling_keeps_the_same(toy_clip, street, tmp_path):
    """`label` writes what `segment` gives, its confidence beside it; another filter is another run."""
    segmenter = Segmenter.from_pretrained(toy_clip)
    keep = Filter(min_confidence=0.34)
    expected = segmenter(street, CLASSES, keep=keep)
    found = label(str(street), segmenter, CLASSES, tmp_path / "out", keep=keep, confidence=True)
    assert (stored_values(tmp_path / "out/labels/street.png") == expected.labels).all()
    levels = np.asarray(Image.open(tmp_path / "out/confidence/street.png"))
    assert np.abs(levels / 255 - expected.confidence_map).max() <= 0.5 / 255 + 1e-6
    assert found.run["settings"]["filter"] == {"min_confidence": 0.34}
    with pytest.raises(OptionError, match="filter"):
        label(str(street), segmenter, CLASSES, tmp_path / "out", confidence=True)

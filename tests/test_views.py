"""A result in other hands: masks, outlines, regions, supervision, notebooks, arrays of OpenCV, torch.hub."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import supervision as sv
import torch
from PIL import Image

import segloop.results.views
from segloop import Segmenter
from segloop.errors import OptionError, UserError
from segloop.images import read_image, reading
from segloop.results.segmentation import Segmentation

ROOT = Path(__file__).resolve().parents[1]
CLASSES = ["sky", "tree", "<b>wall</b>", "nowhere"]
LABELS = np.array([[0, 0, 1, 2], [0, 1, 1, 2], [2, 2, 255, 2]])
SURE = np.array([[0.9, 0.8, 0.7, 0.6], [0.5, 0.4, 0.3, 0.2], [0.1, 0.9, 0.9, 0.9]], np.float32)


@pytest.fixture
def result() -> Segmentation:
    share = {name: float((index == LABELS).mean()) for index, name in enumerate(CLASSES)}
    confidence = {"sky": 0.75, "tree": 0.5, "<b>wall</b>": 0.6, "nowhere": None}
    return Segmentation(LABELS, CLASSES, None, share, confidence, np.zeros((3, 4, 3), np.uint8), confidence_map=SURE)


def test_masks(result):
    assert result.mask("tree").tolist() == (LABELS == 1).tolist()
    assert not result.mask("nowhere").any()
    with pytest.raises(OptionError, match="tree"):
        result.mask("tre")


def test_polygons_give_every_pixel_back(result):
    """Rings run along pixel edges; twice the signed area of a ring is twice its pixels."""
    for index, name in enumerate(CLASSES):
        area = sum(
            np.abs(np.sum(ring[:, 0] * np.roll(ring[:, 1], -1) - np.roll(ring[:, 0], -1) * ring[:, 1])) / 2
            for ring in result.polygons(name)
        )
        assert area == (index == LABELS).sum()
    assert [ring.tolist() for ring in result.polygons("sky")] == [[[0, 0], [2, 0], [2, 1], [1, 1], [1, 2], [0, 2]]]


def test_a_region_by_box_and_by_mask(result):
    box = result.within((0, 0, 2, 2))  # 0 0 / 0 1
    assert list(box) == ["sky", "tree"]
    assert box["sky"] == {"share": 0.75, "confidence": pytest.approx((0.9 + 0.8 + 0.5) / 3, rel=1e-6)}
    mask = np.zeros((3, 4), bool)
    mask[:2, :2] = True
    assert result.within(mask) == box
    assert result.within((2, 2, 4, 3)) == {"<b>wall</b>": {"share": 0.5, "confidence": pytest.approx(0.9)}}


@pytest.mark.parametrize("region", [(4, 0, 9, 9), (1, 1, 1, 5), np.zeros((3, 4), bool), np.ones((2, 2), bool), (1, 2)])
def test_regions_that_are_none(result, region):
    with pytest.raises(OptionError):
        result.within(region)


def test_supervision_draws_and_counts(result):
    found = result.to_supervision()
    assert found.class_id.tolist() == [0, 1, 2] and found.data["class_name"].tolist() == CLASSES[:3]
    assert found.xyxy.tolist() == [[0, 0, 2, 2], [1, 0, 3, 2], [0, 0, 4, 3]]
    assert (found.mask[1] == (LABELS == 1)).all() and found.confidence.tolist() == pytest.approx([0.75, 0.5, 0.6])
    assert found.area.tolist() == [3, 3, 5]
    scene = np.zeros((3, 4, 3), np.uint8)
    assert sv.MaskAnnotator().annotate(scene.copy(), found).any()


def test_supervision_slices_large_photos(toy_clip, street):
    """A function of a slice, in OpenCV's order, is all that an InferenceSlicer wants."""
    segmenter = Segmenter.from_pretrained(toy_clip)
    image = cv2.imread(str(street))
    slicer = sv.InferenceSlicer(
        lambda part: segmenter(part, ["road", "sky"], channels="bgr").to_supervision(), slice_wh=64, overlap_wh=0
    )
    assert set(slicer(image).data["class_name"]) <= {"road", "sky"}


def test_nothing_labelled_is_no_detection(result):
    nothing = Segmentation(np.full((3, 4), 255), CLASSES, None, {}, {}, result.image)
    assert len(nothing.to_supervision()) == 0 and nothing.within((0, 0, 4, 4)) == {}
    assert "<table>" in nothing._repr_html_()


def test_without_supervision_a_sentence(result, monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(segloop.results.views, "import_module", missing)
    with pytest.raises(UserError, match="pip install supervision"):
        result.to_supervision()


def test_a_notebook_shows_it(result):
    page = result._repr_html_()
    assert "&lt;b&gt;wall" in page and "<b>wall" not in page  # names are text
    assert "25.0%" in page and "nowhere" not in page
    assert re.fullmatch(r"data:image/png;base64,[A-Za-z0-9+/=]+", re.search(r'src="([^"]+)"', page)[1])
    assert not re.search(r"https?:", page)
    assert result._repr_png_().startswith(b"\x89PNG")


def test_arrays_of_opencv(toy_clip, meadow):
    """A PNG holds the same pixels for both; OpenCV has blue first."""
    bgr = cv2.imread(str(meadow))
    assert (read_image(bgr, reading(channels="bgr")) == np.asarray(Image.open(meadow).convert("RGB"))).all()
    segmenter = Segmenter.from_pretrained(toy_clip)
    expected = segmenter(meadow, ["road", "sky"]).labels
    assert (segmenter(bgr, ["road", "sky"], channels="bgr").labels == expected).all()
    again = Segmenter.from_pretrained(toy_clip, channels="bgr")
    assert (again(bgr, ["road", "sky"]).labels == expected).all()
    assert (again(meadow, ["road", "sky"]).labels == expected).all()  # files know their order
    for wrong in ({"channels": "grb"}, {"channels": "bgr", "bands": (3, 2, 1)}):
        with pytest.raises(OptionError):
            reading(**wrong)


def test_torch_hub(toy_clip, street):
    segmenter = torch.hub.load(str(ROOT), "segmenter", str(toy_clip), source="local")
    assert segmenter(street, ["road", "sky"]).labels.shape == (96, 128)

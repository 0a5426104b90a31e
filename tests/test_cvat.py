"""The auto-annotation function of CVAT, held against cvat-sdk's own reading of what it gives."""

import sys

import numpy as np
import pytest
from PIL import Image, ImageDraw

from command import WORDS
from segloop import Segmenter
from segloop.errors import OptionError, UserError
from segloop.web.cvat import create

pytestmark = pytest.mark.usefixtures("one_thread")
OPTIONS = {"method": "sclip", "dtype": "float32"}


class Context:
    conf_threshold = None
    conv_mask_to_poly = False


@pytest.fixture(scope="module")
def cvat():
    return pytest.importorskip("cvat_sdk.auto_annotation")


@pytest.fixture(scope="module")
def function(cvat, toy_clip):
    return create(words=WORDS[1], clip=str(toy_clip), **OPTIONS)


def masks(shapes, size) -> dict[int, np.ndarray]:
    from cvat_sdk.masks import decode_mask

    height, width = size
    return {one.label_id: decode_mask(one.points, image_width=width, image_height=height) for one in shapes}


def test_labels_have_the_classes_names(function, cvat):
    assert isinstance(function.spec, cvat.DetectionFunctionSpec)
    assert [(label.name, label.id, label.type) for label in function.spec.labels] == [
        ("road", 0, "mask"),
        ("car", 1, "mask"),
        ("sky", 2, "mask"),
    ]


def test_masks_are_the_map(function, street, toy_clip):
    expected = Segmenter.from_pretrained(toy_clip, **OPTIONS)(street, ["road", "car|automobile", "sky"])
    found = masks(function.detect(Context, Image.open(street)), expected.labels.shape)
    assert set(found) == set(np.unique(expected.labels))
    for c, mask in found.items():
        assert np.array_equal(mask, expected.labels == c)


def test_the_threshold_and_polygons_of_the_context(function, street):
    class Unsure(Context):
        conf_threshold = 0.45

    class Rings(Context):
        conv_mask_to_poly = True

    with Image.open(street) as photo:
        photo.load()
    size = photo.size[::-1]
    all_of_it, some = (sum(map(np.sum, masks(function.detect(c, photo), size).values())) for c in (Context, Unsure))
    assert all_of_it == photo.width * photo.height > some
    rings = function.detect(Rings, photo)
    assert {str(one.type) for one in rings} == {"polygon"}
    drawn = Image.new("L", photo.size)
    for one in rings:
        ImageDraw.Draw(drawn).polygon(one.points, fill=1)
    assert np.asarray(drawn).mean() > 0.9


def test_an_added_background_is_no_label(cvat, toy_clip, street):
    made = create(words="road, sky", clip=str(toy_clip), background=True, **OPTIONS)
    assert [label.name for label in made.spec.labels] == ["road", "sky"]
    assert {one.label_id for one in made.detect(Context, Image.open(street))} <= {1, 2}


def test_what_is_missing_is_told(toy_clip, monkeypatch):
    with pytest.raises(OptionError, match="RGB"):
        create(words="a", channels="bgr")
    monkeypatch.setitem(sys.modules, "cvat_sdk.auto_annotation", None)
    with pytest.raises(UserError, match="pip install cvat-cli"):
        create(words="road", clip=str(toy_clip), **OPTIONS)

"""COCO's instance JSON as other programs write it: every form gives the right pixels, or a sentence."""

import copy
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from command import complaint
from golden import ROOT
from segloop.errors import UserError
from segloop.prepare import prepare
from segloop.prepare.instances import categories, place_of, polygons
from segloop.words.vocabulary import benchmark_names

FIELD = ROOT.parent / "field" / "prep"
SQUARE = [[0, 0, 2, 0, 2, 2, 0, 2]]  # columns and rows 0 and 1
WHOLE = {"size": [4, 6], "counts": [0, 24]}
COLUMNS = {"size": [4, 6], "counts": [4, 8, 12]}  # columns 1 and 2
PERSON, DOG, BRUSH = 1, 17, 80  # train ids; the categories are 1, 18 and 90


def one(**values):
    return {"id": 1, "image_id": 1, "category_id": 18, "iscrowd": 0, "area": 4, "segmentation": SQUARE, **values}


def without(record, *keys):
    return {key: value for key, value in record.items() if key not in keys}


def write(root, annotations, images=None, **more):
    images = [{"id": 1, "file_name": "1.jpg", "height": 4, "width": 6}] if images is None else images
    path = root / "annotations" / "instances_val2017.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"images": images, "annotations": annotations, **more}))
    return path


def label(root, name="1"):
    with Image.open(root / "annotations" / "val2017" / f"{name}_instanceTrainIds.png") as image:
        return np.array(image).tolist()


def square(value, around=0):
    made = np.full((4, 6), around)
    made[:2, :2] = value
    return made.tolist()


def failure(root):
    """The one sentence of a photo that failed."""
    (failed,) = prepare("coco-object", root).failed
    assert "damaged" not in failed[1]
    return failed[1]


# what may be missing -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", [["area"], ["id"], ["iscrowd"], ["area", "id", "iscrowd"]])
def test_area_id_and_iscrowd_are_not_needed(tmp_path, missing):
    large = {**without(one(category_id=1, area=24, segmentation=WHOLE), *missing)}
    write(tmp_path, [large, without(one(id=2), *missing)])
    prepared = prepare("coco-object", tmp_path)
    assert (prepared.made, prepared.failed) == (1, [])
    assert label(tmp_path) == square(DOG, around=PERSON)


@pytest.mark.parametrize("area", [None, 0, -1, "4", float("nan")])
def test_an_area_that_says_nothing_is_counted(tmp_path, area):
    """The smaller lies on top, though it comes first and has the lower id."""
    write(tmp_path, [one(area=area), one(id=2, category_id=1, area=24, segmentation=WHOLE)])
    prepare("coco-object", tmp_path)
    assert label(tmp_path) == square(DOG, around=PERSON)


def test_without_ids_what_comes_later_lies_on_top(tmp_path):
    write(tmp_path, [without(one(), "id"), without(one(category_id=1), "id")])
    prepare("coco-object", tmp_path)
    assert label(tmp_path) == square(PERSON)


@pytest.mark.parametrize("crowd", [1, True, "1"])
def test_crowds_lie_lowest_also_as_polygons(tmp_path, crowd):
    all_over = [[0, 0, 6, 0, 6, 4, 0, 4]]
    write(tmp_path, [one(area=24, segmentation=WHOLE), one(id=2, category_id=1, iscrowd=crowd, segmentation=all_over)])
    prepare("coco-object", tmp_path)
    assert label(tmp_path) == square(DOG, around=DOG)  # the crowd covers all, and nothing of it is to be seen


# masks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "segmentation",
    [
        SQUARE,
        SQUARE[0],
        [[[0, 0], [2, 0], [2, 2], [0, 2]]],
        [[0, 0], [2, 0], [2, 2], [0, 2]],
        [[0, 0, 2, 0, 2, 1, 0, 1], [0, 1, 2, 1, 2, 2, 0, 2]],
        [[0.0, 0.0, 2.0, 0.0, 2.0, 2.0, 0.0, 2.0], [5, 3], [5, 3, 4, 3], []],
        {"size": [4, 6], "counts": [0, 2, 2, 2, 18]},
        {"counts": [0, 2, 2, 2, 18]},
        {"size": [4, 6], "counts": "0220`0"},
    ],
    ids=str,
)
def test_forms_of_a_mask(tmp_path, segmentation):
    write(tmp_path, [one(segmentation=segmentation)])
    prepared = prepare("coco-object", tmp_path)
    assert prepared.failed == [] and label(tmp_path) == square(DOG)


@pytest.mark.parametrize(
    "empty", [[], {}, None, [[]], [[1, 1]], [[1, 1, 2, 2]], {"size": [4, 6], "counts": []}], ids=str
)
def test_a_box_alone_is_told_and_left_out(tmp_path, empty):
    box = one(id=7, category_id=1, bbox=[3, 1, 2, 2], segmentation=empty)
    for boxes in ([box], [without(box, "segmentation", "id")]):
        write(tmp_path, [one(), *boxes])
        prepared = prepare("coco-object", tmp_path, overwrite=True)
        assert prepared.failed == [] and label(tmp_path) == square(DOG)
        named = " (7)" if "id" in boxes[0] else ""
        assert f"val: left out: 1 annotation{named} with a box and no mask, so that it is background" in prepared.checks


@pytest.mark.parametrize("empty", [[], {}, None, [[]]], ids=str)
def test_boxes_without_any_mask_make_no_labels(tmp_path, empty):
    write(tmp_path, [one(segmentation=empty), without(one(id=2), "segmentation")])
    with pytest.raises(UserError, match=r"holds boxes and no masks.*give annotations with segmentation"):
        prepare("coco-object", tmp_path)
    assert not (tmp_path / "annotations" / "val2017").exists()


@pytest.mark.parametrize(
    ("segmentation", "sentence"),
    [
        ("a mask", "the mask of annotation 1 in .* cannot be read"),
        ([[0, 0, 2, 0, 2, 2, 0]], "a polygon is not pairs of numbers"),
        ([[0, 0, 2, 0, 2, float("nan")]], "a polygon is not pairs of numbers"),
        ([[0, 0, 2, 0, 2, "2"]], "a polygon is not pairs of numbers"),
        ([{"x": 0, "y": 0}, {"x": 2, "y": 0}, {"x": 2, "y": 2}], "a polygon is not pairs of numbers"),
        ([[0, 0, 1e9, 0, 1e9, 1e9]], "a polygon lies far outside the photo"),
        ({"size": [4, 5], "counts": [0, 20]}, r"annotation 1 has a mask of \(4, 5\) pixels for a photo of \(4, 6\)"),
        ({"size": [10**6, 10**6], "counts": [0, 10**12]}, "has a mask of"),
        ({"size": [4, 6], "counts": [0, 23]}, "run lengths do not fill"),
        ({"size": [4, 6], "counts": "0"}, "run lengths do not fill"),
        ({"size": [4, 6], "counts": 7}, "cannot be read"),
        ({"size": 4, "counts": [0, 24]}, "cannot be read"),
    ],
)
def test_masks_that_are_none_are_a_sentence_of_that_photo(tmp_path, segmentation, sentence):
    images = [{"id": number, "file_name": f"{number}.jpg", "height": 4, "width": 6} for number in (1, 2)]
    write(tmp_path, [one(segmentation=segmentation), one(id=2, image_id=2)], images)
    prepared = prepare("coco-object", tmp_path)
    assert prepared.made == 1 and label(tmp_path, "2") == square(DOG)
    ((source, error, remedy),) = prepared.failed
    assert source.endswith("instances_val2017.json (1)") and remedy
    assert re.search(sentence, error), error


# categories ------------------------------------------------------------------------------------------------------


def test_names_count_whatever_the_numbers_are():
    """All 80 as COCO numbers them, with its gaps, and counted on from 0, from 1, and as text."""
    from segloop.prepare.coco import THINGS

    names = benchmark_names("coco-object")[1:]
    assert list(THINGS.values()) == list(range(1, 81)) and max(THINGS) == 90
    own = [{"id": number, "name": name} for number, name in zip(THINGS, names, strict=True)]
    official = categories(own, THINGS, Path("x"))
    assert official == THINGS == {key: categories(None, THINGS, Path("x"))[key] for key in THINGS}
    for start in (0, 1):
        made = [{"id": start + place, "name": name.replace(" ", "_").upper()} for place, name in enumerate(names)]
        assert list(categories(made, THINGS, Path("x")).values()) == list(range(1, 81))
    assert categories([{"id": "18", "name": "dog"}], THINGS, Path("x")) == {18: DOG}


@pytest.mark.parametrize("numbers", [(1, 2), (0, 1), (5, 900), ("1", "2")])
def test_numbers_of_another_program(tmp_path, numbers):
    named = [{"id": number, "name": name} for number, name in zip(numbers, ("toothbrush", "dog"), strict=True)]
    write(tmp_path, [one(category_id=numbers[1])], categories=named)
    prepare("coco-object", tmp_path)
    assert label(tmp_path) == square(DOG)


def test_stuff_is_background(tmp_path):
    named = [{"id": 3, "name": "sky-other"}, {"id": 4, "name": "floor-other-merged", "isthing": 0}]
    write(tmp_path, [one(category_id=3), one(id=2, category_id=4, segmentation=COLUMNS)], categories=named)
    prepare("coco-object", tmp_path)
    assert label(tmp_path) == square(0)


def test_categories_that_coco_does_not_have_are_refused(tmp_path):
    named = [{"id": 1, "name": "person"}, {"id": 2, "name": "pallet"}, {"id": 3, "name": "unused thing"}]
    write(tmp_path, [one(category_id=1), one(id=2, category_id=2)], categories=named)
    with pytest.raises(UserError, match=r"none of COCO's: pallet \(2\); for classes of your own"):
        prepare("coco-object", tmp_path)
    write(tmp_path, [one(category_id=1)], categories=named)
    assert prepare("coco-object", tmp_path).made == 1


@pytest.mark.parametrize("category", [500, 12, 0, None, "dog"])
def test_a_category_that_nobody_describes(tmp_path, category):
    for more in ({}, {"categories": [{"id": 18, "name": "dog"}]}):
        write(tmp_path, [one(category_id=category)], **more)
        assert "annotation 1 has the unknown category" in failure(tmp_path)


# images --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file_name", "name"),
    [
        ("1.jpg", "1"),
        ("val2017/1.jpg", "1"),
        ("images/val2017/1.jpg", "1"),
        ("images\\val2017\\1.jpg", "1"),
        ("/data/coco/val2017/1.jpg", "1"),
        ("http://images.cocodataset.org/val2017/1.jpg", "1"),
        ("val2017/day/1.jpg", "day/1"),
        ("somewhere/1.jpg", "1"),
        ("../../1.jpg", "1"),
        ("there/1.jpg", "there/1"),
        ("scene.1.jpg", "scene.1"),
    ],
)
def test_a_label_lies_as_its_photo_does(tmp_path, file_name, name):
    (tmp_path / "images/val2017/there").mkdir(parents=True)
    (tmp_path / "images/val2017/there/1.jpg").touch()
    assert place_of(file_name, tmp_path, "val") == name
    write(tmp_path, [one()], [{"id": 1, "file_name": file_name, "height": 4, "width": 6}])
    prepare("coco-object", tmp_path)
    assert label(tmp_path, name) == square(DOG)


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        ([{"id": 1, "file_name": "a/1.jpg"}, {"id": 2, "file_name": "b/1.jpg"}], "two images whose labels .* 1;"),
        ([{"id": 1, "file_name": "1.jpg"}, {"id": "1", "file_name": "2.jpg"}], "two images with the id 1;"),
        ([], "lists no images"),
        ({"1": "1.jpg"}, "images is no list of records"),
        (["1.jpg"], "images is no list of records"),
    ],
)
def test_lists_of_images_that_cannot_be_meant(tmp_path, images, sentence):
    write(tmp_path, [one()], images)
    with pytest.raises(UserError, match=sentence):
        prepare("coco-object", tmp_path)


@pytest.mark.parametrize("wrong", [{"id": 2}, {"file_name": "2.jpg"}, {"id": 2, "file_name": "/.."}])
def test_an_image_without_id_or_name_costs_itself(tmp_path, wrong):
    write(tmp_path, [one()], [{"id": 1, "file_name": "1.jpg", "height": 4, "width": 6}, wrong])
    prepared = prepare("coco-object", tmp_path)
    assert prepared.made == 1 and label(tmp_path) == square(DOG)
    assert f"image 2 of the list has no {'file_name' if 'id' in wrong else 'id'}" in prepared.failed[0][1]


@pytest.mark.parametrize("side", [10**9, 2**40])
def test_a_height_out_of_reason_costs_its_photo(tmp_path, side):
    write(tmp_path, [one()], [{"id": 1, "file_name": "1.jpg", "height": side, "width": 6}])
    assert f"says that its photo is {side} high and 6 wide" in failure(tmp_path)


def test_annotations_of_images_that_are_not_listed(tmp_path):
    write(tmp_path, [one(), one(id=5, image_id=9), without(one(id=6), "image_id")])
    prepared = prepare("coco-object", tmp_path)
    assert prepared.failed == [] and label(tmp_path) == square(DOG)
    assert "val: left out: 2 annotations (5, 6) of no image that the file lists" in prepared.checks


def test_ids_as_text_and_as_numbers_are_the_same(tmp_path):
    write(tmp_path, [one(image_id="1")])
    assert prepare("coco-object", tmp_path).made == 1 and label(tmp_path) == square(DOG)


def test_a_size_that_is_not_stated(tmp_path):
    image = {"id": 1, "file_name": "1.jpg"}
    write(tmp_path, [one()], [image])
    assert "has no height and width, and its photo is not there" in failure(tmp_path)
    write(tmp_path, [one(), one(id=2, category_id=1, area=1, segmentation=COLUMNS)], [image])
    prepare("coco-object", tmp_path)
    assert np.shape(label(tmp_path)) == (4, 6)
    (tmp_path / "val2017").mkdir()
    Image.new("RGB", (8, 5)).save(tmp_path / "val2017/1.jpg")
    write(tmp_path, [one()], [{**image, "height": 0, "width": None}])
    prepare("coco-object", tmp_path, overwrite=True)
    assert np.shape(label(tmp_path)) == (5, 8)


def test_the_file_is_read_and_not_changed():
    for given in ([[0, 0, 1, 0, 1, 1]], [[[0, 0], [1, 0], [1, 1]]]):
        before = copy.deepcopy(given)
        assert polygons(given) == [[0, 0, 1, 0, 1, 1]] and given == before


# panoptic ----------------------------------------------------------------------------------------------------


def panoptic(root, parts, categories=None):
    folder = root / "annotations" / "panoptic_val2017"
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array([[[5, 0, 0], [0, 0, 0]]], np.uint8)).save(folder / "1.png")
    data = {"annotations": [{"file_name": "val2017/1.jpg", **parts}]} | (
        {"categories": categories} if categories else {}
    )
    (root / "annotations" / "panoptic_val2017.json").write_text(json.dumps(data))


def test_panoptic_categories_go_by_name_too(tmp_path):
    named = [{"id": 1, "name": "dog", "isthing": 1}, {"id": 2, "name": "floor-other-merged", "isthing": 0}]
    for category, value in ((1, DOG), (2, 0)):
        panoptic(tmp_path, {"segments_info": [{"id": 5, "category_id": category}]}, named)
        prepare("coco-object", tmp_path, overwrite=True)
        assert label(tmp_path) == [[value, 0]]
    panoptic(tmp_path, {"segments_info": [{"id": 5, "category_id": 7}]}, named)
    (failed,) = prepare("coco-object", tmp_path, overwrite=True).failed
    assert "a segment of category 7, which is not described" in failed[1]


def test_panoptic_entries_without_segments(tmp_path):
    panoptic(tmp_path, {})
    assert "annotation 1 of the list has no segments_info" in failure(tmp_path)


# the inputs from the field -----------------------------------------------------------------------------------


@pytest.mark.skipif(not (FIELD).is_dir(), reason="no inputs from the field")
def test_inputs_from_the_field(segloop, tmp_path):
    for name in ("no-area", "empty-seg"):
        source = FIELD / name / "annotations" / "instances_val2017.json"
        (tmp_path / name / "annotations").mkdir(parents=True)
        (tmp_path / name / "annotations" / source.name).write_bytes(source.read_bytes())
    ended = segloop("prepare", "coco-object", "--data", "no-area")
    assert ended.exit_code == 0 and "1 of 1 label files" in ended.output
    made = np.array(label(tmp_path / "no-area", "000000000001"))
    expected = np.zeros((40, 30), int)
    expected.flat[100:150] = PERSON
    np.testing.assert_array_equal(made, expected.T)
    told = complaint(segloop("prepare", "coco-object", "--data", "empty-seg"))
    assert "holds boxes and no masks" in told

"""Raw downloads to label files: PASCAL-Context, ADE20K's 847 classes, VOC's augmented training set."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from segloop.errors import UserError
from segloop.prepare import PREPARATIONS, ade, context, matlab, prepare
from segloop.prepare.ade_ids import ADE847_INDEX
from segloop.results.coco import compress, run_lengths
from segloop.words.vocabulary import benchmark_names

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="real samples are absent")


def ids_of(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


def save(path: Path, array: np.ndarray, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def write_list(path: Path, *names: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name}\n" for name in names))
    return path


def write_mat(path: Path, **variables) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pytest.importorskip("scipy.io").savemat(path, variables, do_compression=True)
    return path


def raw_id(name: str) -> int:
    return benchmark_names("context459").index(name) + 1


def train_id(name: str) -> int:
    return benchmark_names("context60").index(name)


def context_mats(root: Path, **maps) -> None:
    for name, labels in maps.items():
        write_mat(root / "trainval" / f"{name}.mat", LabelMap=np.array(labels, np.uint16))


SCENE = [[raw_id("sky"), raw_id("accordion"), 0], [raw_id("aeroplane"), raw_id("wood"), raw_id("pottedplant")]]


def test_the_59_frequent_classes_are_the_ids_that_the_detail_api_lists():
    # fmt: off
    known = {2, 259, 260, 415, 324, 9, 258, 144, 18, 19, 22, 23, 397, 25, 284, 158, 159, 416, 33, 162, 420, 454, 295,
             296, 427, 44, 45, 46, 308, 59, 440, 445, 31, 232, 65, 354, 424, 68, 326, 72, 458, 34, 207, 80, 355, 85,
             347, 220, 349, 360, 98, 187, 104, 105, 366, 189, 368, 113, 115}
    # fmt: on
    table = context._frequent_table()
    assert set(np.flatnonzero(table).tolist()) == known
    assert table[sorted(known)].tolist() == list(range(1, 60))


def test_context_of_raw_maps_has_59_classes_in_order_and_background(tmp_path):
    context_mats(tmp_path, one=SCENE)
    write_list(tmp_path / "ImageSets" / "SegmentationContext" / "val.txt", "one")
    prepared = prepare("context", tmp_path)
    expected = [[train_id("sky"), 0, 0], [1, 59, train_id("pottedplant")]]
    with Image.open(tmp_path / "SegmentationClassContext" / "one.png") as image:
        assert (image.mode, np.array(image).tolist()) == ("L", expected)
    assert "459 classes in trainval" in prepared.checks[0]
    assert prepare("context59", tmp_path).kept == prepare("context60", tmp_path).kept == 1


def test_context459_counts_from_0_and_void_is_65535(tmp_path):
    context_mats(tmp_path, one=SCENE, two=[[459, 1, 0]])
    write_list(tmp_path / "ImageSets" / "Main" / "val.txt", "one", "two")
    prepared = prepare("context459", tmp_path)
    folder = tmp_path / "annotations_detectron2" / "pc459_val"
    made = ids_of(folder / "two.tif")
    assert made.dtype == np.uint16
    assert made.tolist() == [[458, 0, 65535]]
    assert ids_of(folder / "one.tif")[0].tolist() == [raw_id("sky") - 1, 0, 65535]
    assert prepared.checks[1] == "val: 2 of 2 label files; 6 of 459 class numbers occur, none outside the range"
    listed = tmp_path / "ImageSets" / "SegmentationContext" / "val.txt"
    assert listed.read_text() == "one\ntwo\n"
    assert prepare("context459", tmp_path).kept == 2


def test_other_readers_see_the_same_16_bits(tmp_path):
    cv2 = pytest.importorskip("cv2")
    context_mats(tmp_path, two=[[459, 1, 0]])
    write_list(tmp_path / "ImageSets" / "Main" / "val.txt", "two")
    prepare("context459", tmp_path)
    (made,) = tmp_path.rglob("*.tif")
    assert cv2.imread(str(made), cv2.IMREAD_UNCHANGED).tolist() == [[458, 0, 65535]]


@needs_data
def test_a_real_context_map_survives_the_way_over_raw_ids(tmp_path):
    sample = DATA / "VOCdevkit" / "VOC2010"
    back = [0, *(raw_id(name) for name in benchmark_names("context59"))]
    for path in (sample / "SegmentationClassContext").glob("*.png"):
        context_mats(tmp_path, **{path.stem: np.array(back)[ids_of(path)]})
    shutil.copytree(sample / "ImageSets", tmp_path / "ImageSets")
    assert prepare("context", tmp_path).made == 2
    for path in (sample / "SegmentationClassContext").glob("*.png"):
        assert (ids_of(tmp_path / "SegmentationClassContext" / path.name) == ids_of(path)).all()


def detail(root: Path) -> None:
    def region(number: int, image: int, category: str, mask: list) -> dict:
        counts = compress(run_lengths(np.array(mask))[1])
        segmentation = {"size": [2, 3], "counts": counts}
        return {"id": number, "image_id": image, "category_id": raw_id(category), "segmentation": segmentation}

    images = [
        {"image_id": 2008000002, "file_name": "2008_000002.jpg", "height": 2, "width": 3, "phase": "val"},
        {"image_id": 2008000001, "file_name": "2008_000001.jpg", "height": 2, "width": 3, "phase": "val"},
        {"image_id": 2008000009, "file_name": "2008_000009.jpg", "height": 2, "width": 3, "phase": "train"},
    ]
    regions = [
        region(1, 2008000002, "sky", [[1, 1, 1], [0, 0, 0]]),
        region(2, 2008000009, "wood", [[1, 1, 1], [1, 1, 1]]),
        region(3, 2008000002, "aeroplane", [[0, 1, 0], [0, 1, 0]]),
    ]
    root.mkdir(parents=True, exist_ok=True)
    (root / "trainval_merged.json").write_text(json.dumps({"images": images, "annos_segmentation": regions}))


def test_context_of_the_detail_api_paints_regions_in_their_order(tmp_path):
    detail(tmp_path / "VOCdevkit" / "VOC2010")
    prepared = prepare("context60", tmp_path)
    folder = tmp_path / "VOCdevkit" / "VOC2010"
    sky = train_id("sky")
    made = ids_of(folder / "SegmentationClassContext" / "2008_000002.png")
    assert made.tolist() == [[sky, 1, sky], [0, 1, 0]]
    assert not ids_of(folder / "SegmentationClassContext" / "2008_000001.png").any()
    listed = folder / "ImageSets" / "SegmentationContext" / "val.txt"
    assert listed.read_text() == "2008_000001\n2008_000002\n"
    assert (prepared.made, prepared.failed) == (2, [])
    assert prepared.checks[-1] == "val: the official split has 5105 photos, found: 2"


def test_a_list_that_is_there_decides_and_stays(tmp_path):
    detail(tmp_path)
    listed = write_list(tmp_path / "ImageSets" / "SegmentationContext" / "val.txt", "2008_000002", "2007_000001")
    prepared = prepare("context60", tmp_path)
    assert prepared.made == 1
    assert any(f"1 photos of {listed} are not in trainval_merged.json" in line for line in prepared.checks)
    assert listed.read_text() == "2008_000002\n2007_000001\n"


def test_a_cut_off_run_length_costs_one_photo(tmp_path):
    detail(tmp_path)
    path = tmp_path / "trainval_merged.json"
    data = json.loads(path.read_text())
    data["annos_segmentation"][0]["segmentation"]["counts"] = "P"
    path.write_text(json.dumps(data))
    prepared = prepare("context60", tmp_path)
    assert prepared.made == 1
    source, error, _ = prepared.failed[0]
    assert source.endswith("trainval_merged.json (2008_000002)")
    assert "run lengths are cut off" in error


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"height": "tall"}, "says that its photo is tall high and 3 wide"),
        ({"height": 10**9, "width": 10**9}, "says that its photo is 1000000000 high"),
        ({"width": None}, "says that its photo is 2 high and None wide"),
        ({"file_name": 5}, "an image has no id or no file_name"),
        ({"file_name": ".."}, "an image has no id or no file_name"),
    ],
)
def test_a_damaged_image_of_the_detail_api_costs_itself(segloop, tmp_path, wrong, told):
    detail(tmp_path)
    path = tmp_path / "trainval_merged.json"
    data = json.loads(path.read_text())
    data["images"][0] |= wrong
    data["annos_segmentation"].append({"image_id": [1]})
    path.write_text(json.dumps(data))
    result = segloop("prepare", "context60", "--data", tmp_path)
    assert result.exit_code == 3 and told in result.stderr
    assert "1 made, 0 were there, 1 failed" in result.stdout


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes of POSIX")
def test_a_pipe_costs_itself(segloop, tmp_path):
    context_mats(tmp_path, one=SCENE)
    os.mkfifo(tmp_path / "trainval" / "two.mat")
    write_list(tmp_path / "ImageSets" / "Main" / "val.txt", "one", "two")
    result = segloop("prepare", "context59", "--data", tmp_path)
    assert result.exit_code == 3 and "pipe or a device" in result.stderr and "1 made" in result.stdout


@pytest.mark.parametrize("name", ["../../outside", "/outside", "..", "a/../../outside"])
def test_a_line_that_leads_outside_costs_itself(segloop, tmp_path, name):
    context_mats(tmp_path / "data", one=SCENE)
    write_mat(tmp_path / "data" / "trainval" / "../../outside.mat", LabelMap=np.array([[1]], np.uint16))
    write_list(tmp_path / "data" / "ImageSets" / "Main" / "val.txt", name, "one")
    before = set(tmp_path.iterdir())
    result = segloop("prepare", "context59", "--data", tmp_path / "data")
    assert result.exit_code == 3 and "outside the data set" in result.stderr
    assert "1 made" in result.stdout and set(tmp_path.iterdir()) == before


def test_the_detail_api_alone_makes_no_459_classes(tmp_path):
    detail(tmp_path)
    with pytest.raises(UserError, match="holds the 59 frequent classes only"):
        prepare("context459", tmp_path)


def test_missing_and_damaged_mat_files_are_reported(tmp_path):
    context_mats(tmp_path, one=SCENE)
    (tmp_path / "trainval" / "two.mat").write_bytes(b"no MATLAB file at all")
    write_mat(tmp_path / "trainval" / "three.mat", Other=np.zeros((2, 2)))
    write_mat(tmp_path / "trainval" / "four.mat", LabelMap=np.array([[460]], np.uint16))
    write_list(tmp_path / "ImageSets" / "Main" / "val.txt", "one", "two", "three", "four", "five")
    prepared = prepare("context", tmp_path)
    assert prepared.made == 1
    two, three, four, five = (error for _, error, _ in prepared.failed)
    assert "two.mat is damaged" in two
    assert "three.mat is damaged" in three
    assert "four.mat holds 460" in four
    assert "there is no file" in five


def test_mat_files_without_scipy_name_the_package(tmp_path, monkeypatch):
    context_mats(tmp_path, one=SCENE)
    write_list(tmp_path / "ImageSets" / "Main" / "val.txt", "one")

    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(matlab, "import_module", absent)
    with pytest.raises(UserError, match="pip install scipy"):
        prepare("context", tmp_path)


def test_the_847_classes_lie_in_the_object_list_in_the_order_of_their_names():
    def letters(name: str) -> str:
        return re.sub(r"[^a-z0-9, ]", "", name)

    named = sorted(zip(ADE847_INDEX, benchmark_names("ade847"), strict=True))
    listed = [letters(name) for place, name in named if place < 3100 and name != "post-it"]  # later ones were added
    assert listed == sorted(listed)
    assert len(set(ADE847_INDEX)) == 847


@needs_data
@pytest.mark.parametrize("above", [False, True])
def test_the_real_ade_sample_becomes_its_published_label_file(above, tmp_path):
    sample = DATA / "ADE20K_2021_17_01"
    root = tmp_path / "ADE20K_2021_17_01" if above else tmp_path
    skip = shutil.ignore_patterns("instance_*")
    shutil.copytree(sample / "images", root / "images", ignore=skip)
    prepared = prepare("ade847", tmp_path, splits=["train"])
    assert (prepared.made, prepared.failed) == (2, [])
    (expected,) = (sample / "annotations_detectron2").rglob("*.tif")
    made = ids_of(root / expected.relative_to(sample))
    assert made.dtype == np.uint16
    assert (made == ids_of(expected)).all()
    photo = root / "images_detectron2" / "training" / f"{expected.stem}.jpg"
    (source,) = (root / "images").rglob("*.jpg")
    assert os.path.samefile(photo, source)
    assert not any("other names" in line for line in prepared.checks)
    again = prepare("ade847", tmp_path, splits=["train"], overwrite=True)
    assert again.made == 2
    assert not list(root.rglob("*.part"))
    assert prepare("ade847", tmp_path, splits=["train"]).kept == 2


def ade_photo(root: Path, size=(4, 6), name: str = "ADE_val_00000001", places=(2978, 312)) -> Path:
    folder = root / "images" / "ADE" / "validation" / "urban" / "street"
    place = np.resize(np.array(places), size)
    rgb = np.stack([place // 256 * 10, place % 256, place * 0], axis=-1).astype(np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    save(folder / f"{name}.jpg", noise, quality=95)
    return save(folder / f"{name}_seg.png", rgb)


def described(root: Path, *objects: tuple[int, str]) -> None:
    folder = root / "images" / "ADE" / "validation" / "urban" / "street"
    found = [{"name_ndx": number, "name": name} for number, name in objects]
    (folder / "ADE_val_00000001.json").write_text(json.dumps({"annotation": {"object": found}}))


def test_objects_outside_the_847_are_void(tmp_path):
    ade_photo(tmp_path, places=(2978, 312, 1, 0, 3148, 3688))
    prepare("ade847", tmp_path)
    made = ids_of(tmp_path / "annotations_detectron2" / "validation" / "ADE_val_00000001.tif")
    assert made[0].tolist() == [0, 1, 65535, 65535, 846, 65535]


def test_the_last_digit_of_red_says_nothing():
    rgb = np.array([[[9, 14, 0], [110, 162, 7], [119, 162, 0]]], np.uint8)  # places 14 and 11 * 256 + 162
    assert ade.train_ids(rgb).tolist() == [[94, 0, 0]]


def test_photos_are_copied_where_the_disk_has_no_links(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError

    ade_photo(tmp_path)
    monkeypatch.setattr(os, "link", refuse)
    prepare("ade847", tmp_path)
    (source,) = (tmp_path / "images").rglob("*.jpg")
    made = tmp_path / "images_detectron2" / "validation" / source.name
    assert made.read_bytes() == source.read_bytes()
    assert not os.path.samefile(made, source)


def test_a_photo_that_is_missing_costs_only_itself(tmp_path):
    ade_photo(tmp_path).with_name("ADE_val_00000001.jpg").unlink()
    prepared = prepare("ade847", tmp_path)
    assert prepared.made == 1
    assert "there is no file" in prepared.failed[0][1]


def test_photos_and_maps_are_reduced_as_the_published_preparation_does(tmp_path):
    cv2 = pytest.importorskip("cv2")
    raw = ade_photo(tmp_path, size=(45, 67), places=ADE847_INDEX)
    prepare("ade847", tmp_path, short_side=20)
    made = ids_of(tmp_path / "annotations_detectron2" / "validation" / "ADE_val_00000001.tif")
    full = ade.train_ids(ids_of(raw)).astype(np.int32)
    assert (made == cv2.resize(full, (30, 20), interpolation=cv2.INTER_NEAREST)).all()
    photo = tmp_path / "images_detectron2" / "validation" / "ADE_val_00000001.jpg"
    with Image.open(photo) as image:
        assert image.size == (30, 20)
    source = raw.with_name("ADE_val_00000001.jpg")
    before = source.read_bytes()
    assert len(prepare("ade847", tmp_path).failed) == 2  # another size than what is there
    assert prepare("ade847", tmp_path, overwrite=True).made == 2
    assert os.path.samefile(photo, source)
    prepare("ade847", tmp_path, short_side=20, overwrite=True)
    assert source.read_bytes() == before  # a link is replaced, never written through


@given(st.tuples(st.integers(1, 90), st.integers(1, 90)), st.integers(1, 100))
def test_nearest_samples_are_those_of_opencv(size, short_side):
    cv2 = pytest.importorskip("cv2")
    labels = np.arange(size[0] * size[1], dtype=np.int32).reshape(size)
    rows, columns = ade.reduced_size(*size, short_side)
    assert min(rows, columns) == min(short_side, *size)
    made = ade.resize_nearest(labels, (rows, columns))
    assert (made == cv2.resize(labels, (columns, rows), interpolation=cv2.INTER_NEAREST)).all()


@pytest.mark.parametrize(
    ("size", "reduced"),
    [((512, 683), (512, 683)), ((600, 601), (512, 513)), ((1467, 2200), (512, 768)), ((900, 700), (658, 512))],
)
def test_only_short_sides_above_512_are_reduced(size, reduced):
    assert ade.reduced_size(*size, 512) == reduced
    assert ade.reduced_size(*size, 0) == size


def test_another_release_of_ade_is_refused(tmp_path):
    ade_photo(tmp_path)
    described(tmp_path, (312, "bucket, pail"), (2978, "wall"), (303, "broom"))
    with pytest.raises(UserError, match="ADE20K_2021_17_01"):
        prepare("ade847", tmp_path)
    described(tmp_path, (312, "building, edifice"), (2978, "Wall"), (303, "broom"), (7, "anything"))
    assert any("1 objects have other names" in line for line in prepare("ade847", tmp_path).checks)
    (tmp_path / "images/ADE/validation/urban/street/ADE_val_00000001.json").write_text("{")
    assert prepare("ade847", tmp_path).kept == 2


def sbd(root: Path, name: str, labels: list) -> None:
    inside = {"Segmentation": np.array(labels, np.uint8), "Boundaries": np.zeros((2, 2)), "CategoriesPresent": [[1]]}
    write_mat(root / f"{name}.mat", GTcls=inside)


def voc(root: Path) -> Path:
    folder = root / "VOCdevkit" / "VOC2012"
    write_list(folder / "ImageSets" / "Segmentation" / "train.txt", "2007_000001", "2008_000001")
    write_list(folder / "ImageSets" / "Segmentation" / "val.txt", "2007_000009")
    for name in ("2007_000001", "2008_000001", "2007_000009"):
        with_void = Image.fromarray(np.array([[255, 20, 0]], np.uint8))
        with_void.putpalette(list(range(256)) * 3)
        (folder / "SegmentationClass").mkdir(exist_ok=True)
        with_void.save(folder / "SegmentationClass" / f"{name}.png")
    for name in ("2008_000001", "2008_000002", "2007_000009"):
        sbd(root / "VOCdevkit" / "VOCaug" / "dataset" / "cls", name, [[0, 20, 15]])
    return folder


def test_the_augmented_training_set_takes_voc_s_own_maps_where_there_are_some(tmp_path):
    folder = voc(tmp_path)
    prepared = prepare("voc", tmp_path)
    made = folder / "SegmentationClassAug"
    assert sorted(path.stem for path in made.iterdir()) == ["2007_000001", "2008_000001", "2008_000002"]
    assert ids_of(made / "2008_000001.png").tolist() == [[255, 20, 0]]
    assert ids_of(made / "2008_000002.png").tolist() == [[0, 20, 15]]
    listed = folder / "ImageSets" / "Segmentation" / "trainaug.txt"
    assert listed.read_text() == "2007_000001\n2008_000001\n2008_000002\n"
    assert prepared.checks[0] == "trainaug: made from 1 maps of SBD and 2 of VOC itself"
    assert "10582 photos, found: 3" in prepared.checks[2]
    assert prepare("voc", folder).kept == 3


def test_a_list_that_says_something_else_is_kept_unless_overwritten(tmp_path):
    folder = voc(tmp_path)
    listed = write_list(folder / "ImageSets" / "Segmentation" / "trainaug.txt", "2008_000002")
    assert any("lists other photos" in line for line in prepare("voc", tmp_path).checks)
    assert listed.read_text() == "2008_000002\n"
    prepare("voc", tmp_path, overwrite=True)
    assert listed.read_text().count("\n") == 3


@needs_data
def test_the_lists_of_the_splits_have_the_sizes_that_are_expected():
    lists = DATA / "splits"
    trainaug = (lists / "voc2012_seg_trainaug_10582.txt").read_text().split()
    assert len(trainaug) == PREPARATIONS["voc"].expected["trainaug"]
    val = (lists / "pascal_context_val_5105.txt").read_text().split()
    assert len(val) == PREPARATIONS["context"].expected["val"] - 1  # the list that evaluations share lacks one

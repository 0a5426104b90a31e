"""Raw downloads to label files: COCO and Cityscapes, real samples, and what holds for every preparation."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from golden import cases
from segloop.errors import ImageError, MachineError, OptionError, OutputError, UserError
from segloop.images import polygons, rle
from segloop.prepare import PREPARATIONS, READY, coco, prepare, runner
from segloop.results.coco import compress, run_lengths

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="real samples are absent")
COCO_IDS = [case for case in cases("E_geometry") if case.folder.name == "coco_ids"]


def ids_of(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


def save(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def raw_map(root: Path, name: str = "000000000001", value: int = 0, size=(4, 6), split: str = "val") -> Path:
    return save(root / "stuffthingmaps" / f"{split}2017" / f"{name}.png", np.full(size, value, np.uint8))


def bytes_below(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("case", COCO_IDS, ids=str)
def test_coco_ids_are_those_of_the_published_scripts(case):
    stored = case.arrays
    raw = stored["raw_id"].astype(np.uint8)
    assert (coco.stuff_ids(raw) == stored["stuff_train_id"]).all()
    assert (coco.object_ids(raw) == stored["object_train_id"]).all()
    for number in (0, 1):
        raw = ids_of(case.folder / f"input_{number}.png")
        assert (raw == stored[f"input_{number}"]).all()
        for convert, kind in ((coco.stuff_ids, "stuff"), (coco.object_ids, "object")):
            made = convert(raw)
            assert made.dtype == np.uint8
            assert (made == stored[f"{kind}_{number}"]).all()
            assert (made == ids_of(case.folder / f"{kind}_{number}.png")).all()


@pytest.mark.parametrize("case", COCO_IDS, ids=str)
def test_golden_files_become_the_golden_files(case, tmp_path):
    for number in (0, 1):
        raw = tmp_path / "stuffthingmaps" / "val2017" / f"{number}.png"
        raw.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(case.folder / f"input_{number}.png", raw)
    for key, kind, ending in (("coco-stuff", "stuff", "label"), ("coco-object", "object", "instance")):
        prepare(key, tmp_path)
        for number in (0, 1):
            made = tmp_path / "annotations" / "val2017" / f"{number}_{ending}TrainIds.png"
            assert (ids_of(made) == ids_of(case.folder / f"{kind}_{number}.png")).all()


def test_eleven_ids_are_absent_and_the_others_are_ranks():
    assert (coco.STUFF >= 0).sum() == 172
    assert coco.STUFF[[0, 10, 12, 89, 91, 181, 255]].tolist() == [0, 10, 11, 79, 80, 170, 255]
    assert coco.OBJECT[[0, 10, 12, 89, 91, 181, 255]].tolist() == [1, 11, 12, 80, 0, 0, 0]


@needs_data
@pytest.mark.parametrize("split", ["val", "train"])
def test_real_coco_stuff_maps_become_the_published_labels(split, tmp_path):
    shutil.copytree(DATA / "coco_stuff164k" / "stuffthingmaps", tmp_path / "stuffthingmaps")
    prepared = prepare("coco-stuff", tmp_path, splits=[split])
    expected = sorted((DATA / "coco_stuff164k" / "annotations" / f"{split}2017").glob("*_labelTrainIds.png"))
    assert prepared.made == len(expected) > 0
    for path in expected:
        assert (ids_of(tmp_path / path.relative_to(DATA / "coco_stuff164k")) == ids_of(path)).all()


@needs_data
def test_objects_of_real_maps_agree_with_those_of_the_panoptic_ones(tmp_path):
    shutil.copytree(DATA / "coco_stuff164k" / "stuffthingmaps" / "val2017", tmp_path / "annotations" / "val2017")
    assert prepare("coco-object", tmp_path).made == 4
    shared = 0
    for made in (tmp_path / "annotations" / "val2017").glob("*_instanceTrainIds.png"):
        other = DATA / "coco_object" / "annotations" / "val2017" / made.name
        if other.is_file():
            shared += 1
            assert (ids_of(made) == ids_of(other)).mean() > 0.99
    assert shared


def test_both_places_of_the_raw_maps_and_the_folder_above_are_found(tmp_path):
    raw_map(tmp_path / "coco_stuff164k", value=181)
    prepared = prepare("coco-stuff", str(tmp_path))
    assert prepared.made == 1
    assert "raw stuff-and-things maps in stuffthingmaps/val2017" in prepared.checks[0]
    shutil.move(tmp_path / "coco_stuff164k" / "stuffthingmaps", tmp_path / "moved")
    folder = tmp_path / "coco_stuff164k" / "annotations"
    shutil.copytree(tmp_path / "moved", folder, dirs_exist_ok=True)
    again = prepare("coco-stuff", tmp_path)  # its own results there are no raw maps
    assert (again.made, again.kept) == (0, 1)
    assert "annotations/val2017" in again.checks[0]


def panoptic(root: Path) -> None:
    """A photo of 2x4 pixels: void, a bus (category 6), sky (187) and a crowd of persons."""
    numbers = np.array([[0, 300, 300, 70000], [5, 5, 300, 70000]])
    rgb = np.stack([numbers % 256, numbers // 256 % 256, numbers // 65536], axis=-1).astype(np.uint8)
    save(root / "annotations" / "panoptic_val2017" / "000000000007.png", rgb)
    segments = [
        {"id": 300, "category_id": 6, "iscrowd": 0},
        {"id": 5, "category_id": 187, "iscrowd": 0},
        {"id": 70000, "category_id": 1, "iscrowd": 1},
    ]
    entry = {"image_id": 7, "file_name": "000000000007.png", "segments_info": segments}
    (root / "annotations" / "panoptic_val2017.json").write_text(json.dumps({"annotations": [entry]}))


def test_panoptic_maps_keep_things_and_drop_stuff(tmp_path):
    panoptic(tmp_path)
    prepared = prepare("coco-object", tmp_path)
    made = ids_of(tmp_path / "annotations" / "val2017" / "000000000007_instanceTrainIds.png")
    assert made.tolist() == [[0, 6, 6, 1], [0, 0, 6, 1]]
    assert "panoptic" in prepared.checks[0]


def test_a_segment_nobody_describes_is_an_error_of_that_file(tmp_path):
    panoptic(tmp_path)
    described = tmp_path / "annotations" / "panoptic_val2017.json"
    described.write_text(described.read_text().replace("70000", "70001"))
    (failure,) = prepare("coco-object", tmp_path).failed
    assert "segment 70000" in failure[1]


def instances(root: Path, annotations: list[dict]) -> None:
    images = [{"id": number, "file_name": f"{number:012d}.jpg", "height": 4, "width": 6} for number in (1, 2)]
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    path = root / "annotations" / "instances_val2017.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations}))


def test_instances_lie_crowds_lowest_and_smaller_ones_on_top(tmp_path):
    pytest.importorskip("pycocotools")
    whole = {"size": [4, 6], "counts": [0, 24]}
    two_columns = {"size": [4, 6], "counts": "48<"}  # 4 off, 8 on, 12 off: columns 1 and 2
    assert rle.decode(two_columns).sum() == 8
    square = [[0, 0, 2, 0, 2, 2, 0, 2]]  # columns and rows 0 and 1
    found = [
        {"id": 3, "image_id": 1, "category_id": 18, "iscrowd": 0, "area": 4, "segmentation": square},
        {"id": 1, "image_id": 1, "category_id": 90, "iscrowd": 0, "area": 8, "segmentation": two_columns},
        {"id": 2, "image_id": 1, "category_id": 1, "iscrowd": 1, "area": 2, "segmentation": whole},
    ]
    instances(tmp_path, found)
    prepared = prepare("coco-object", tmp_path)
    folder = tmp_path / "annotations" / "val2017"
    dog, brush = 17, 80
    assert ids_of(folder / "000000000001_instanceTrainIds.png").tolist() == [
        [dog, dog, brush, 1, 1, 1],
        [dog, dog, brush, 1, 1, 1],
        [1, brush, brush, 1, 1, 1],
        [1, brush, brush, 1, 1, 1],
    ]
    assert not ids_of(folder / "000000000002_instanceTrainIds.png").any()
    assert "instances_val2017.json" in prepared.checks[0]


def test_a_mask_of_another_size_names_file_and_photo(tmp_path):
    whole = {"size": [4, 5], "counts": [0, 20]}
    instances(tmp_path, [{"id": 3, "image_id": 1, "category_id": 18, "area": 20, "segmentation": whole}])
    prepared = prepare("coco-object", tmp_path)
    assert prepared.made == 1
    source, error, _ = prepared.failed[0]
    assert source.endswith("instances_val2017.json (000000000001)")
    assert "(4, 5)" in error


def test_polygons_without_pycocotools_name_the_package(tmp_path, monkeypatch):
    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(polygons, "import_module", absent)
    one = {"id": 3, "image_id": 1, "category_id": 18, "iscrowd": 0, "area": 4, "segmentation": [[0, 0, 2, 0, 2, 2]]}
    instances(tmp_path, [one])
    with pytest.raises(UserError, match="pip install pycocotools"):
        prepare("coco-object", tmp_path)


def test_raw_maps_are_preferred_to_panoptic_maps_and_those_to_instances(tmp_path):
    instances(tmp_path, [])
    assert "instances" in prepare("coco-object", tmp_path).checks[0]
    panoptic(tmp_path)
    assert "panoptic" in prepare("coco-object", tmp_path).checks[0]
    raw_map(tmp_path)
    assert "stuffthingmaps" in prepare("coco-object", tmp_path).checks[0]


@given(arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_run_lengths_of_any_mask_come_back(mask):
    counts = run_lengths(mask.astype(np.int64)).get(1, np.array([mask.size]))
    size = list(mask.shape)
    assert (rle.decode({"size": size, "counts": compress(counts)}) == mask).all()
    assert (rle.decode({"size": size, "counts": counts.tolist()}) == mask).all()


@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=30), elements=st.integers(0, 1)))
def test_run_lengths_are_read_as_pycocotools_reads_them(mask):
    api = pytest.importorskip("pycocotools.mask")
    packed = api.encode(np.asfortranarray(mask))
    assert (rle.decode(packed) == mask).all()


@pytest.mark.parametrize("counts", ["", "P", [3], [30, -6], "04"])
def test_run_lengths_that_do_not_fit_are_refused(counts):
    with pytest.raises(ValueError, match="run lengths"):
        rle.decode({"size": [4, 6], "counts": counts})


@needs_data
def test_real_cityscapes_label_ids_become_the_published_train_ids(tmp_path):
    shutil.copytree(DATA / "fixtures_mmseg" / "pseudo_cityscapes_dataset" / "gtFine", tmp_path / "gtFine")
    (expected,) = tmp_path.rglob("*_labelTrainIds.png")
    published = ids_of(expected)
    raw = ids_of(expected.with_name(expected.name.replace("Train", "")))
    expected.unlink()
    prepared = prepare("cityscapes", tmp_path)
    assert (prepared.made, prepared.failed) == (1, [])
    made = ids_of(expected)
    assert (made == published).mean() > 0.997  # the sample's two maps were made small one by one
    for label in np.unique(raw):
        assert np.bincount(published[raw == label]).argmax() == made[raw == label][0]


def frame(root: Path, ending: str) -> Path:
    path = root / "gtFine" / "val" / "ulm" / f"ulm_000000_000001_gtFine_{ending}"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def test_all_34_label_ids_of_cityscapes(tmp_path):
    save(frame(tmp_path, "labelIds.png"), np.arange(34, dtype=np.uint8)[None])
    prepare("cityscapes", tmp_path)
    expected = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12}
    expected |= {26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18}
    made = ids_of(frame(tmp_path, "labelTrainIds.png"))
    assert made[0].tolist() == [expected.get(number, 255) for number in range(34)]


def test_polygons_are_filled_in_their_order(tmp_path):
    def box(left, right):
        return [[left, 0], [right, 0], [right, 3], [left, 3]]

    objects = [
        {"label": "road", "polygon": box(0, 9)},
        {"label": "cargroup", "polygon": box(2, 4)},
        {"label": "license plate", "polygon": box(3, 3)},
        {"label": "ego vehicle", "polygon": box(6, 7)},
        {"label": "sky", "polygon": box(8, 9), "deleted": 1},
    ]
    described = frame(tmp_path, "polygons.json")
    described.write_text(json.dumps({"imgHeight": 4, "imgWidth": 10, "objects": objects}))
    prepared = prepare("cityscapes", tmp_path)
    made = ids_of(frame(tmp_path, "labelTrainIds.png"))
    assert made.tolist() == [[0, 0, 13, 13, 13, 0, 255, 255, 0, 0]] * 4
    assert "0 label id maps and 1 polygon files" in prepared.checks[0]
    described.write_text(described.read_text().replace("road", "rood"))
    assert "'rood'" in prepare("cityscapes", tmp_path, overwrite=True).failed[0][1]


def test_a_second_run_keeps_everything_and_makes_the_same_bytes(tmp_path):
    for number in range(9):
        raw_map(tmp_path, f"{number:012d}", number)
    first = prepare("coco-stuff", tmp_path)
    made = bytes_below(tmp_path)
    second = prepare("coco-stuff", tmp_path, workers=3)
    assert (first.made, first.kept, second.made, second.kept) == (9, 0, 0, 9)
    third = prepare("coco-stuff", tmp_path, overwrite=True, workers=1)
    assert (third.made, third.kept) == (9, 0)
    assert bytes_below(tmp_path) == made
    assert first.checks == second.checks == third.checks


def test_progress_counts_to_the_end_over_all_splits(tmp_path):
    for number in range(3):
        raw_map(tmp_path, f"{number:012d}", split="val")
        raw_map(tmp_path, f"{number:012d}", split="train")
    told = []
    prepare("coco-stuff", tmp_path, splits=["val", "train"], progress=lambda done, total: told.append((done, total)))
    assert told == [(number, 6) for number in range(1, 7)]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(path.read_bytes()[:45]),
        lambda path: path.write_bytes(b""),
    ],
    ids=["cut off", "empty"],
)
def test_a_damaged_target_is_made_again(spoil, tmp_path):
    raw_map(tmp_path, value=5)
    prepare("coco-stuff", tmp_path)
    (target,) = (tmp_path / "annotations").rglob("*.png")
    spoil(target)
    assert prepare("coco-stuff", tmp_path).made == 1
    assert (ids_of(target) == 5).all()


@pytest.mark.parametrize(
    "other",
    [np.zeros((4, 7), np.uint8), np.full((4, 6), 200, np.uint8), np.zeros((4, 6, 3), np.uint8)],
    ids=["another size", "numbers that do not exist", "colours"],
)
def test_another_picture_in_place_of_a_target_is_the_users(other, tmp_path):
    raw_map(tmp_path, value=5)
    prepare("coco-stuff", tmp_path)
    (target,) = (tmp_path / "annotations").rglob("*.png")
    save(target, other)
    before = target.read_bytes()
    prepared = prepare("coco-stuff", tmp_path)
    ((_, what, remedy),) = prepared.failed
    assert prepared.made == 0 and target.read_bytes() == before
    assert "is not what would be made" in what and "--overwrite" in remedy
    assert prepare("coco-stuff", tmp_path, overwrite=True).made == 1
    assert (ids_of(target) == 5).all()


def test_a_link_is_never_written_through(tmp_path):
    raw = raw_map(tmp_path, value=5)
    prepare("coco-stuff", tmp_path)
    (target,) = (tmp_path / "annotations").rglob("*.png")
    before = raw.read_bytes()
    target.unlink()
    target.symlink_to(raw)
    ((_, what, _),) = prepare("coco-stuff", tmp_path, overwrite=True).failed
    assert "is a link" in what and raw.read_bytes() == before


def test_damaged_raw_files_are_reported_and_skipped(tmp_path):
    raw_map(tmp_path, "1")
    cut = raw_map(tmp_path, "2")
    cut.write_bytes(cut.read_bytes()[:45])
    raw_map(tmp_path, "3", value=11)
    save(tmp_path / "stuffthingmaps" / "val2017" / "4.png", np.zeros((4, 6, 3), np.uint8))
    told = []
    prepared = prepare("coco-stuff", tmp_path, on_error=lambda source, error: told.append((source, error)))
    assert prepared.made == 1
    damaged, absent, colours = prepared.failed
    assert damaged[0].endswith("2.png") and "damaged or cut off" in damaged[1] and "download it again" in damaged[2]
    assert "holds 11, which" in absent[1]
    assert "holds colours (RGB)" in colours[1]
    assert [source for source, _ in told] == [source for source, _, _ in prepared.failed]
    assert "1 of 4 label files" in prepared.checks[1]
    assert len(list((tmp_path / "annotations").rglob("*"))) == 2  # the folder and one file: no leftovers


def test_a_full_disk_ends_the_whole_run(tmp_path, monkeypatch):
    def full(target, data):
        raise MachineError("the disk is full", "free some space")

    raw_map(tmp_path)
    monkeypatch.setattr("segloop.prepare.work.write_whole", full)
    with pytest.raises(MachineError):
        prepare("coco-stuff", tmp_path)


def test_a_place_that_cannot_be_written_to_says_so(tmp_path):
    raw_map(tmp_path)
    (tmp_path / "annotations").write_text("a file where the folder should be")
    with pytest.raises(OutputError, match="copy the data set to a place of yours"):
        prepare("coco-stuff", tmp_path)


def test_checks_say_counts_numbers_and_what_is_official(tmp_path):
    save(tmp_path / "stuffthingmaps" / "val2017" / "1.png", np.array([[0, 181, 255]], np.uint8))
    assert prepare("coco-stuff", tmp_path).checks == [
        "val: made from the raw stuff-and-things maps in stuffthingmaps/val2017",
        "val: 1 of 1 label files; 2 of 171 class numbers occur, none outside the range",
        "val: the official split has 5000 photos, found: 1",
    ]


def test_label_files_are_grey_with_8_bits(tmp_path):
    raw_map(tmp_path, value=181)
    prepare("coco-stuff", tmp_path)
    (target,) = (tmp_path / "annotations").rglob("*.png")
    with Image.open(target) as image:
        assert (image.mode, image.getpixel((0, 0))) == ("L", 170)


@pytest.mark.parametrize("key", PREPARATIONS)
def test_missing_raw_files_say_what_is_needed_found_and_where_to_get_it(key, tmp_path):
    (tmp_path / "holiday").mkdir()
    with pytest.raises(UserError) as caught:
        prepare(key, tmp_path)
    row = PREPARATIONS[key]
    assert row.needs in caught.value.what
    assert "there is holiday" in caught.value.what
    assert caught.value.remedy == row.get
    assert caught.value.exit_code == 2


def test_raw_files_of_another_split_are_mentioned(tmp_path):
    raw_map(tmp_path, split="train")
    with pytest.raises(UserError, match="raw files of the split train"):
        prepare("coco-stuff", tmp_path)


def test_unknown_keys_splits_folders_and_options_are_named(tmp_path):
    with pytest.raises(OptionError, match="did you mean 'coco-stuff'"):
        prepare("coco-stuf", tmp_path)
    with pytest.raises(OptionError, match="did you mean 'val'"):
        prepare("coco-stuff", tmp_path, splits=["vall"])
    with pytest.raises(OptionError, match="short_side"):
        prepare("coco-stuff", tmp_path, short_side=512)
    with pytest.raises(OptionError, match="short side of -1"):
        prepare("ade847", tmp_path, short_side=-1)
    with pytest.raises(UserError, match="there is no folder"):
        prepare("coco-stuff", tmp_path / "nowhere")
    for key in READY:
        with pytest.raises(OptionError, match="needs no preparation"):
            prepare(key, tmp_path)


def test_json_that_is_not_coco_s_is_refused(tmp_path):
    instances(tmp_path, [])
    path = tmp_path / "annotations" / "instances_val2017.json"
    for text in ("{", "[]", '{"images": []}'):
        path.write_text(text)
        with pytest.raises(UserError, match=r"instances_val2017\.json"):
            prepare("coco-object", tmp_path)


def test_jobs_end_in_their_order_and_not_all_at_once(tmp_path):
    raw = [raw_map(tmp_path, f"{number:03d}") for number in range(40)]
    jobs = coco.plan_stuff(tmp_path, "val").jobs
    done = runner.run_jobs(jobs, frozenset(range(171)), workers=2, overwrite=False)
    assert next(done).job.source == raw[0]
    done.close()
    assert len(list((tmp_path / "annotations").rglob("*.png"))) <= 2 * runner.AHEAD + 1


def test_out_of_range_lookups_name_the_file(tmp_path):
    with pytest.raises(ImageError, match="some place holds 200"):
        coco.stuff_ids(np.array([[200]], np.uint8), Path("some place"))

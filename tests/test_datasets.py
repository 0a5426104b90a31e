import numpy as np
import pytest
from PIL import Image

from segloop.data.datasets import DATASETS, check, open_dataset, rows
from segloop.errors import OptionError, VocabularyError
from segloop.labels.read import WIDE_VOID, read_label
from segloop.prepare import PREPARATIONS
from segloop.scenes.draw import CLASSES, write_scenes
from segloop.words.vocabulary import BENCHMARKS, benchmark_names
from trees import DATA, make, make_own

real = pytest.mark.skipif(not DATA.is_dir(), reason="real samples are not beside the project")
STREETS = f"cityscapes={DATA / 'fixtures_mmseg/pseudo_cityscapes_dataset'}"
OWN = ("scenes", "folder")


def names(opened):
    return [sample.name for sample in opened.samples]


def refused(key, *places, **options):
    with pytest.raises(OptionError) as caught:
        open_dataset(key, places, **options)
    return str(caught.value)


# the table -------------------------------------------------------------------------------------------------------


def test_every_key_of_the_interface_has_a_row():
    keys = (*BENCHMARKS, "camvid", "loveda", "potsdam", *OWN)
    assert sorted(DATASETS) == sorted(keys) and all(DATASETS[key].key == key for key in keys)
    assert [row[0] for row in rows()] == list(DATASETS)


@pytest.mark.parametrize("key", BENCHMARKS)
def test_published_lists_have_as_many_classes_as_the_row_says(key):
    row = DATASETS[key]
    assert row.names == key and row.classes == len(benchmark_names(key))


@pytest.mark.parametrize(
    "key, zero, count, expected",
    [
        ("voc21", False, 21, 1449),
        ("voc20", True, 20, 1449),
        ("context60", False, 60, 5104),
        ("context59", True, 59, 5104),
        ("coco-object", False, 81, 5000),
        ("coco-stuff", False, 171, 5000),
        ("cityscapes", False, 19, 500),
        ("ade20k", True, 150, 2000),
        ("ade847", False, 847, 2000),
        ("context459", False, 459, 5104),
        ("camvid", False, 11, 233),
        ("loveda", True, 7, 1669),
        ("potsdam", True, 6, 2016),
    ],
)
def test_rows_as_published(key, zero, count, expected):
    row = DATASETS[key]
    assert (row.rule.reduce_zero, row.classes, row.expected) == (zero, count, expected)
    assert row.rule.wide == (count > 255)


@pytest.mark.parametrize("row", [row for row in DATASETS.values() if row.prepare], ids=lambda row: row.key)
def test_labels_that_are_made_can_be_made(row):
    assert row.prepare in PREPARATIONS


def test_sentences_of_the_table_are_halves():
    assert all(row.how_to_get and row.how_to_get[-1] not in ".;" for row in DATASETS.values())


# real samples ----------------------------------------------------------------------------------------------------


@real
@pytest.mark.parametrize(
    "key, count, first",
    [
        ("voc21", 4, "2007_000033"),
        ("voc20", 4, "2007_000033"),
        ("context60", 2, "2008_008376"),
        ("context59", 2, "2008_008376"),
        ("coco-object", 50, "000000000139"),
        ("coco-stuff", 4, "000000000139"),
        ("cityscapes", 1, "frankfurt/frankfurt_000000_000294"),
        ("ade20k", 5, "ADE_val_00000001"),
        ("camvid", 29, "0001TP_008640"),
        ("loveda", 1, "1"),
        ("potsdam", 1, "2_10_0_0_512_512"),
    ],
)
def test_real_samples_open_from_one_folder(key, count, first):
    opened = open_dataset(key, [DATA, STREETS])
    assert len(opened.samples) == count and names(opened)[0] == first
    assert len(opened.notes) == 1 and str(count) in opened.notes[0]
    classes = opened.dataset.classes
    assert len(opened.vocabulary().classes) == classes
    seen = set()
    for sample in opened.samples:
        labels = read_label(sample.label, opened.dataset.rule)
        with Image.open(sample.image) as photo:
            assert labels.shape == photo.size[::-1]
        seen |= set(np.unique(labels).tolist())
    assert seen <= {*range(classes), 255} and len(seen - {255}) >= 3


@real
@pytest.mark.parametrize(
    "key, split, count",
    [
        ("voc21", "trainval", 12),
        ("voc20", "train", 8),
        ("coco-object", "train", 30),
        ("coco-stuff", "train", 7),
        ("ade20k", "training", 1),
    ],
)
def test_other_splits_of_real_samples(key, split, count):
    opened = open_dataset(key, [DATA], split=split)
    assert (opened.split, len(opened.samples)) == (split, count)
    assert f"the split is {split}" in opened.notes[0]


@real
def test_raw_ade_says_how_its_labels_are_made():
    report = check("ade847", [DATA])
    assert report.root == DATA / "ADE20K_2021_17_01" and report.opened is None
    assert "has no folder images_detectron2/validation" in str(report.problem)
    assert f"segloop prepare ade847 --data {report.root}" in str(report.problem)
    assert "has no folder images_detectron2/training" in str(check("ade847", [DATA], split="training").problem)


@real
def test_real_labels_of_847_classes(tmp_path):
    raw = DATA / "ADE20K_2021_17_01"
    (tmp_path / "images_detectron2").mkdir()
    (tmp_path / "images_detectron2/training").symlink_to(raw / "images/ADE/training/urban/street")
    (tmp_path / "annotations_detectron2").symlink_to(raw / "annotations_detectron2")
    opened = open_dataset("ade847", [f"ade847={tmp_path}"], split="training")
    labels = read_label(opened.samples[0].label, opened.dataset.rule)
    assert names(opened) == ["ADE_train_00016964"]
    assert set(np.unique(labels).tolist()) <= {*range(847), WIDE_VOID} and (labels == WIDE_VOID).any()


# opening ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [key for key in DATASETS if key not in OWN])
def test_a_whole_data_set_opens(tmp_path, key):
    opened = open_dataset(key, [make(tmp_path, key, ["b", "a"]).parent, f"{key}={tmp_path}"])
    assert opened.root == tmp_path and opened.split == DATASETS[key].part
    assert names(opened) == (["b", "a"] if DATASETS[key].split else ["a", "b"])
    assert all(sample.image.is_file() and sample.label.is_file() for sample in opened.samples)


@pytest.mark.parametrize("key", ["ade847", "camvid"])
def test_lists_that_are_optional(tmp_path, key):
    root = make(tmp_path / DATASETS[key].root, key, ["b", "a"])
    next(root.glob("*.txt")).unlink()
    assert names(open_dataset(key, [root])) == ["a", "b"]


def test_order_is_that_of_the_paths_suffix_included(tmp_path):
    root = make(tmp_path / "cityscapes", "cityscapes", ["ulm/1", "ulm/1-a", "bonn/2", "ulm/1_a"])
    paths = [sample.image.as_posix() for sample in open_dataset("cityscapes", [root]).samples]
    assert paths == sorted(paths)
    root = make(tmp_path / "ade20k", "ade20k", ["a-b", "a"])
    assert names(open_dataset("ade20k", [root])) == ["a-b", "a"]  # "-" is before "."


def test_a_limit_takes_the_first(tmp_path):
    root = make(tmp_path / "VOC2012", "voc21", ["c", "a", "b"])
    opened = open_dataset("voc21", [root], limit=2)
    assert names(opened) == ["c", "a"] and "the first 2 of 3" in opened.notes[-1]
    assert names(open_dataset("voc21", [root], limit=9)) == ["c", "a", "b"]
    assert "at least 1" in refused("voc21", root, limit=0)


def test_a_limit_asks_only_for_what_it_takes(tmp_path):
    root = make(tmp_path / "VOC2012", "voc21", ["a", "b"])
    (root / "SegmentationClass/b.png").unlink()
    assert names(open_dataset("voc21", [root], limit=1)) == ["a"]


@pytest.mark.parametrize(
    "line",
    [
        "a",
        "a.jpg",
        "/JPEGImages/a.jpg /SegmentationClass/a.png",
        "elsewhere/VOC2012/JPEGImages/a.jpg",
        "a 1",
        "\ufeffa\r",
    ],
)
def test_lines_of_lists(tmp_path, line):
    root = make(tmp_path / "VOC2012", "voc21", ["a", "b"])
    (root / "ImageSets/Segmentation/val.txt").write_bytes(f"{line}\n\n".encode())
    assert names(open_dataset("voc21", [root])) == ["a"]


def test_lines_with_folders_and_blanks(tmp_path):
    root = make(tmp_path / "cityscapes", "cityscapes", ["ulm/a", "ulm/b c"])
    mine = tmp_path / "mine.txt"
    mine.write_text("ulm/b c\nleftImg8bit/val/ulm/a_leftImg8bit.png\n")
    opened = open_dataset("cityscapes", [root], split=str(mine))
    assert names(opened) == ["ulm/b c", "ulm/a"] and opened.split == str(mine)


def test_files_that_macos_leaves_are_no_samples(tmp_path):
    root = make(tmp_path / "ade20k", "ade20k", ["a"])
    (root / "images/validation/._a.jpg").write_text("")
    assert names(open_dataset("ade20k", [root])) == ["a"]


def test_labels_of_the_augmented_split_lie_elsewhere(tmp_path):
    root = make(make(tmp_path / "VOC2012", "voc21", ["a"]), "voc21", ["s"], part="trainaug")
    sample = open_dataset("voc21", [root], split="trainaug").samples[0]
    assert sample.label == root / "SegmentationClassAug/s.png"


def test_published_counts_carry_no_note(tmp_path, monkeypatch):
    for count in (5104, 5105):
        root = make(tmp_path / str(count) / "VOC2010", "context60", ["a"])
        listed = root / "ImageSets/SegmentationContext/val.txt"
        listed.write_text("\n".join(["a", *map(str, range(count - 1))]))
        assert open_dataset("context60", [root], limit=1).notes == (f"context60: the first 1 of {count} photos only",)


# what is missing -------------------------------------------------------------------------------------------------


def test_an_unknown_key_names_the_nearest():
    assert refused("voc2l", "/").startswith("there is no data set 'voc2l'; did you mean 'voc21'?")


def test_nothing_found(tmp_path):
    (tmp_path / "photos").mkdir()
    said = refused("ade20k", tmp_path)
    assert "no ADEChallengeData2016 with images/validation and annotations/validation" in said
    assert f"{tmp_path} (it holds photos)" in said and "--data ade20k=DIR" in said and said.endswith("unpack it.")
    assert refused("ade20k").startswith("no folder was given for ADE20K")


def test_a_missing_folder(tmp_path):
    root = make(tmp_path / "coco", "coco-object", ["1"])
    (root / "annotations").rename(root / "labels")
    said = refused("coco-object", tmp_path)
    assert f"{root} has no folder annotations/val2017 for its label maps (it holds images, labels)" in said
    assert f"`segloop prepare coco-object --data {root}`" in said


def test_labels_that_were_never_made(tmp_path):
    root = make(tmp_path / "my data/coco_stuff164k", "coco-stuff", ["1", "2"])
    for path in sorted((root / "annotations/val2017").iterdir()):
        path.rename(path.with_name(path.name.replace("_labelTrainIds", "")))
    said = refused("coco-stuff", tmp_path)
    assert "no label maps (*_labelTrainIds.png) in annotations/val2017 (it holds 1.png, 2.png)" in said
    assert f"make them with `segloop prepare coco-stuff --data '{root}'`" in said


def test_a_missing_list(tmp_path):
    root = make(tmp_path / "VOC2012", "voc21", ["a"])
    (root / "ImageSets/Segmentation/val.txt").rename(root / "ImageSets/Segmentation/test.txt")
    assert "has no list ImageSets/Segmentation/val.txt (it holds test.txt)" in refused("voc21", root)


def test_photos_without_labels_are_counted_and_a_few_named(tmp_path):
    root = make(tmp_path / "VOC2012", "voc21", list("abcdef"))
    for name in "bcde":
        (root / f"SegmentationClass/{name}.png").unlink()
    said = refused("voc21", root)
    assert "missing label maps in SegmentationClass: 4 of 6 (b.png, c.png, d.png ...), 2 pairs are whole" in said
    assert "list the photos to use in a text file, one a line, and add --split FILE" in said


def test_a_list_of_ones_own_that_names_nothing_shows_a_line(tmp_path):
    root = make(tmp_path / "VOC2012", "voc21", ["a", "b"])
    words = tmp_path / "words.txt"
    words.write_text("grass\nsand\n")
    said = refused("voc21", root, split=str(words))
    assert "no line of the list" in said and "(the first line is grass); write one photo a line, such as a.jpg." in said
    words.write_text("b\ngrass\n")
    assert "missing photos" in refused("voc21", root, split=str(words))


def test_labels_without_photos_are_refused_too(tmp_path):
    root = make(tmp_path / "ade20k", "ade20k", ["a", "b"])
    (root / "images/validation/a.jpg").unlink()
    said = refused("ade20k", root)
    assert "missing photos in images/validation: 1 of 2 (a.jpg), 1 pairs are whole" in said


def test_a_list_that_names_what_is_not_there(tmp_path):
    root = make(tmp_path / "VOC2012", "voc21", ["a"])
    (root / "ImageSets/Segmentation/val.txt").write_text("a\n/x/JPEGImages/z.jpg /x/y/z.png\n")
    said = refused("voc21", root)
    assert "missing photos in JPEGImages: 1 of 2 (z.jpg), missing label maps in SegmentationClass: 1 of 2" in said


@pytest.mark.parametrize(
    "data, sentence",
    [
        (b"", "names no photo"),
        (b"a\nb\na\n", "names a twice"),
        (b"\xff", "is not UTF-8; save"),
        (b"\x89PNG\r\n\x1a\n\0", "a PNG, not a text; give"),
    ],
)
def test_lists_that_make_no_sense(tmp_path, data, sentence):
    root = make(tmp_path / "VOC2012", "voc21", ["a", "b"])
    (root / "ImageSets/Segmentation/val.txt").write_bytes(data)
    assert sentence in refused("voc21", root)


def test_unknown_splits_name_those_that_are_there(tmp_path):
    root = make(tmp_path / "VOC2012", "voc21", ["a"])
    make(root, "voc21", ["a"], part="train")
    assert "has no split 'trian'; did you mean 'train'? Known: train, val." in refused("voc21", root, split="trian")
    root = make(make(tmp_path / "streets", "cityscapes", ["u/a"]), "cityscapes", ["u/a"], part="train")
    assert "'tain'; did you mean 'train'? Known: train, val." in refused("cityscapes", root, split="tain")
    root = make(tmp_path / "CamVid", "camvid", ["a"])
    assert "has no split 'val'; choose one of test." in refused("camvid", root, split="val")
    assert "there is no list mine.txt" in refused("camvid", root, split="mine.txt")


def test_check_tells_what_is_found_without_an_error(tmp_path):
    root = make(tmp_path / "VOC2012", "voc21", ["a"])
    whole, half, absent = check("voc21", [root]), check("voc20", [root]), check("ade20k", [root])
    assert whole.root == root and names(whole.opened) == ["a"] and whole.problem is None
    assert half.opened is not None
    assert absent.root is None and absent.opened is None and "no root of ADE20K" in str(absent.problem)
    (root / "SegmentationClass/a.png").unlink()
    damaged = check("voc21", [root])
    assert damaged.root == root and damaged.opened is None and "no label maps" in str(damaged.problem)


# vocabularies ----------------------------------------------------------------------------------------------------


def test_published_vocabularies_keep_their_variant(tmp_path):
    opened = open_dataset("voc21", [make(tmp_path / "VOC2012", "voc21", ["a"])])
    assert len(opened.vocabulary().queries) == 46 and opened.vocabulary("S", "plain").templates == ("{}",)
    assert opened.vocabulary("S").source == "voc21/S" and opened.vocabulary().background == 0
    with pytest.raises(VocabularyError, match="no variant 'Q'"):
        opened.vocabulary("Q")


def test_camvid_asks_for_its_signs_in_words(tmp_path):
    words = open_dataset("camvid", [make(tmp_path / "CamVid", "camvid", ["a"])]).vocabulary()
    assert words.classes[6] == "signsymbol" and "traffic sign" in words.queries and words.background is None


def test_the_background_of_loveda_is_a_class(tmp_path):
    words = open_dataset("loveda", [make(tmp_path / "loveDA", "loveda", ["1"])]).vocabulary()
    assert words.classes[0] == "background" and words.background == 0


# folders of your own ---------------------------------------------------------------------------------------------


def test_a_folder_of_your_own(tmp_path):
    root = make_own(tmp_path, ["road", "car | automobile", "# not this"], np.array([[0, 1, 255]], np.uint8))
    make_own(tmp_path, ["road", "car | automobile"], np.array([[1]], np.uint8), name="deep/er/b c")
    Image.new("RGB", (1, 1)).save(root / "images/0.PNG")
    Image.fromarray(np.zeros((1, 1), np.uint16)).save(root / "masks/0.tiff")
    (root / "images/notes.md").write_text("")
    opened = open_dataset("folder", [root])
    assert names(opened) == ["0", "a", "deep/er/b c"] and opened.split == "all" and opened.notes == ()
    assert opened.dataset.classes == 2 and opened.vocabulary().lines() == ["road", "car | automobile"]
    assert read_label(opened.samples[1].label, opened.dataset.rule).tolist() == [[0, 1, 255]]


def test_a_first_class_called_background_is_the_background(tmp_path):
    make_own(tmp_path, ["background | wall", "car"], np.zeros((1, 1), np.uint8))
    assert open_dataset("folder", [tmp_path]).vocabulary().background == 0
    make_own(tmp_path, ["car", "background"], np.zeros((1, 1), np.uint8))
    assert open_dataset("folder", [tmp_path]).vocabulary().background is None


@pytest.mark.parametrize("count, void", [(255, 255), (256, 65535)])
def test_255_is_a_class_where_there_are_that_many(tmp_path, count, void):
    make_own(tmp_path, [f"c{n}" for n in range(count)], np.array([[0, 255, 65535]], np.uint16))
    opened = open_dataset("folder", [tmp_path])
    assert read_label(opened.samples[0].label, opened.dataset.rule).tolist() == [[0, 255, void]]


def test_photos_and_masks_of_one_name_are_refused(tmp_path):
    make_own(tmp_path, ["road"], np.zeros((1, 1), np.uint8))
    Image.new("RGB", (1, 1)).save(tmp_path / "images/a.png")
    assert "a.jpg and a.png in" in refused("folder", tmp_path)


def test_what_a_folder_of_your_own_lacks(tmp_path):
    assert "has no folder images for its photos (it is empty); put photos into images" in refused("folder", tmp_path)
    make_own(tmp_path, ["road"], np.zeros((1, 1), np.uint8))
    Image.new("RGB", (1, 1)).save(tmp_path / "images/b.jpg")
    assert "missing label maps in masks: 1 of 2 (b)" in refused("folder", tmp_path)
    assert "has no splits, and 'train' was asked for; leave it out" in refused("folder", tmp_path, split="train")
    (tmp_path / "images/b.jpg").unlink()
    (tmp_path / "classes.txt").write_text("road\nroad\n")
    with pytest.raises(VocabularyError, match="named twice"):
        open_dataset("folder", [tmp_path])
    (tmp_path / "classes.txt").unlink()
    with pytest.raises(VocabularyError, match=r"cannot read .*classes\.txt"):
        open_dataset("folder", [tmp_path])


def test_a_list_chooses_photos_of_your_own(tmp_path):
    for name in ("a", "b", "c"):
        make_own(tmp_path, ["road"], np.zeros((1, 1), np.uint8), name=name)
    (tmp_path / "few.txt").write_text("c.jpg\na\n")
    opened = open_dataset("folder", [tmp_path], split=str(tmp_path / "few.txt"))
    assert names(opened) == ["c", "a"]


def test_scenes_open_where_they_were_written(tmp_path):
    write_scenes(tmp_path / "drawn", 2, seed=1, size=(32, 48))
    for place in (tmp_path / "drawn", f"scenes={tmp_path}/drawn"):
        opened = open_dataset("scenes", [place])
        assert names(opened) == ["000000", "000001"] and opened.vocabulary().classes == list(CLASSES)
        labels = read_label(opened.samples[0].label, opened.dataset.rule)
        assert labels.shape == (32, 48) and labels.max() < len(CLASSES)
    (tmp_path / "drawn").rename(tmp_path / "scenes")
    assert open_dataset("scenes", [tmp_path]).root == tmp_path / "scenes"

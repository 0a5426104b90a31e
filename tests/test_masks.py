"""Label maps of a folder of your own as people have them: other names, other values, colours, turned."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from command import complaint, lines_of
from segloop.data.datasets import open_dataset
from segloop.data.masks import Masks, suffixes, value_table
from segloop.data.pairing import both_suffixes, mask_suffix
from segloop.errors import ImageError, OptionError, VocabularyError
from segloop.evaluation.preflight import check_labels, orientation_notes
from segloop.labels.orientation import orientation, upright
from segloop.labels.read import VOID, LabelRule
from trees import make, make_own

FIELD = Path(__file__).resolve().parents[2] / "shared" / "field" / "eval"
NAMES = ["grass", "sand", "water", "red | crimson"]
COLOURS = np.array([[0, 128, 0], [230, 200, 120], [0, 0, 200], [255, 0, 0]], np.uint8)
TRUTH = np.array([[0, 1, 1], [2, 3, 0]], np.uint8)
BOTH = {"suffix": "_mask.png", "image_suffix": "_sat"}
LINES = "grass: 0,128,0\nsand: 230,200,120\nwater: 0,0,200\nred: 255,0,0\n"
field = pytest.mark.skipif(not FIELD.is_dir(), reason="inputs from the field are not beside the project")


def truth(root, **masks):
    opened = open_dataset("folder", [root], masks=Masks(**masks))
    return [opened.truth(sample).tolist() for sample in opened.samples]


# --mask-values ----------------------------------------------------------------------------------------------------


def test_values_and_ranges():
    spans, colours = value_table("0=0, 10-12=1-3 ,255=void,20-29=Crimson,#E6C878=sand", NAMES, LabelRule())
    assert [str(span) for span in spans] == ["0=0", "10-12=1-3", "20-29=3", "255=void"]
    assert colours == ((0xE6C878, 1),)
    assert value_table("7=grass", NAMES, LabelRule())[0][0].first == 0
    assert value_table("#000000=ignore", NAMES, LabelRule())[1] == ((0, VOID),)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x", "'x' is not understood; write it as 0=0,255=1"),
        ("1=", "'1=' is not understood"),
        ("", "'' is not understood"),
        ("0=0;255=1", "names '0;255=1', which is no class"),
        ("0=4", "names class 4, and they go from 0 to 3"),
        ("1-3=0-1", "1-3=0-1 are not as many values as classes"),
        ("1-9=0-8", "names class 8"),
        ("3-1=0", "3-1 is no range of values"),
        ("70000=0", "no range of values; values are 0 to 65535"),
        ("0=0,0=1", "says twice what 0 is"),
        ("0-5=0,3=1", "says twice what 3 is"),
        ("5=gras", "names 'gras', which is no class; did you mean 'grass'"),
        ("#12345=0", "is not understood"),
    ],
)
def test_tables_that_make_no_sense(text, words):
    with pytest.raises(OptionError) as caught:
        value_table(text, NAMES, LabelRule())
    assert words in str(caught.value)


def test_palettes_by_name(tmp_path):
    make_own(tmp_path, NAMES, np.array([[[0, 0, 0], [128, 0, 0]], [[128, 128, 0], [224, 224, 192]]], np.uint8))
    assert truth(tmp_path, values="voc") == [[[0, 1], [3, 255]]]
    make_own(tmp_path, [f"c{n}" for n in range(6)], np.array([[[255, 255, 255], [255, 0, 0], [0, 0, 0]]], np.uint8))
    assert truth(tmp_path, values="Potsdam") == [[[0, 5, 255]]]


def test_values_are_for_folders_of_your_own(tmp_path):
    with pytest.raises(OptionError, match="--mask-values came with voc21, whose values are published"):
        open_dataset("voc21", [make(tmp_path / "VOC2012", "voc21", ["a"])], masks=Masks(values="0=0"))


# colours ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.txt", LINES),
        ("classes.txt", "# label:color_rgb:parts:actions\n" + LINES.replace(": ", ":").replace("\n", "::\n")),
        ("colours.txt", LINES),
        ("colors.txt", LINES.replace("red:", "Crimson:") + "red: 254,0,0\nvoid: 9,9,9\n"),
        ("label_colors.txt", "0 128 0\tgrass\n230 200 120\tsand\n0 0 200\twater\n255 0 0\tred\n"),
        ("class_dict.csv", "name,r,g,b\n" + LINES.replace(": ", ",")),
        ("colours.json", json.dumps({"grass": "#008000", "sand": "#e6c878", "water": "#0000c8", "red": "#ff0000"})),
    ],
)
def test_colours_stand_in_the_class_file_or_beside_it(tmp_path, name, text):
    make_own(tmp_path, NAMES, COLOURS[TRUTH])
    (tmp_path / name).write_text(text)
    opened = open_dataset("folder", [tmp_path])
    assert opened.truth(opened.samples[0]).tolist() == TRUTH.tolist()
    assert any("colours" in note for note in opened.notes) or "CVAT" in opened.notes[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("grass\nsand\nwater\nred\n", "has names without colours"),
        (LINES.replace("sand", "beach"), "line 2 of .*names 'beach', which is no class"),
        (LINES.replace("sand: 230,200,120\n", ""), "has no colour for 'sand'"),
        (LINES + "grass: 255,0,0\n", "has the colour 255,0,0 twice"),
    ],
)
def test_colour_tables_that_make_no_sense(tmp_path, text, words):
    make_own(tmp_path, NAMES, COLOURS[TRUTH])
    (tmp_path / "colours.txt").write_text(text)
    with pytest.raises(VocabularyError, match=words):
        open_dataset("folder", [tmp_path])


def test_two_tables_that_disagree(tmp_path):
    make_own(tmp_path, NAMES, COLOURS[TRUTH])
    (tmp_path / "classes.txt").write_text(LINES)
    (tmp_path / "colours.txt").write_text(LINES.replace("255,0,0", "254,0,0"))
    with pytest.raises(OptionError, match=r"colours\.txt and classes\.txt in .* give other colours"):
        open_dataset("folder", [tmp_path])
    (tmp_path / "colours.txt").write_text(LINES)
    assert truth(tmp_path) == [TRUTH.tolist()]


@pytest.mark.parametrize(("key", "classes"), [("voc21", [0, 1, 15, 255]), ("voc20", [255, 0, 14, 255])])
def test_voc_as_pictures(tmp_path, key, classes):
    root = make(tmp_path / "VOC2012", key, ["a"])
    colours = [[0, 0, 0], [128, 0, 0], [192, 128, 128], [224, 224, 192]]
    Image.fromarray(np.array([colours], np.uint8)).save(root / "SegmentationClass" / "a.png")
    opened = open_dataset(key, [root])
    assert opened.truth(opened.samples[0]).tolist() == [classes]


def test_potsdam_as_pictures(tmp_path):
    root = make(tmp_path / "potsdam", "potsdam", ["a"])
    colours = [[255] * 3, [0, 0, 255], [0, 255, 255], [0, 255, 0], [255, 255, 0], [255, 0, 0], [0, 0, 0]]
    Image.fromarray(np.array([colours], np.uint8)).save(root / "ann_dir" / "val" / "a.png")
    opened = open_dataset("potsdam", [root])
    assert opened.truth(opened.samples[0]).tolist() == [[0, 1, 2, 3, 4, 5, 255]]


# names ------------------------------------------------------------------------------------------------------------


def test_suffixes():
    known = (".png", ".tif")
    assert suffixes("_mask.png", known) == ("_mask.png",)
    assert suffixes("_mask", known) == ("_mask.png", "_mask.tif")
    assert suffixes("png, .gif", known) == (".png", ".gif")
    with pytest.raises(OptionError, match="is empty"):
        suffixes(".png,,", known)


def test_what_would_find_them():
    assert mask_suffix(["a", "b"], ["a_m.png", "b_m.png", "b.txt"]) == "_m.png"
    assert mask_suffix(["1", "11"], ["1.gif", "11.gif"]) == ".gif"
    assert mask_suffix(["a", "b"], ["c.png", "d.png"]) is None
    assert mask_suffix(["a"], ["a"]) is None
    assert both_suffixes(["1_sat.jpg", "2_sat.jpg"], ["1_mask.png", "2_mask.png"]) == ("_sat.jpg", "_mask.png")
    assert both_suffixes(["1.jpg", "2.jpg"], ["8.png", "9.png"]) is None


@pytest.mark.parametrize(
    ("photo", "label", "words", "masks"),
    [
        ("{}.jpg", "{}_mask.png", "add --mask-suffix _mask.png.", {"suffix": "_mask.png"}),
        ("{}.jpg", "{}.gif", "add --mask-suffix .gif.", {"suffix": ".gif"}),
        ("{}.jpg", "{}.bmp", "add --mask-suffix .bmp.", {"suffix": "bmp,.png"}),
        ("{}.png", "{}-labels.tif", "add --mask-suffix -labels.tif.", {"suffix": "-labels"}),
        ("{}_sat.jpg", "{}_mask.png", "add --image-suffix _sat.jpg --mask-suffix _mask.png.", BOTH),
        ("{}.jpg", "mask_{}.png", "rename the label maps: mask_ stands before the photo's name", None),
        ("{}.jpg", "{}.jpg", "save the label maps as PNG: those that end in .jpg are JPEGs", None),
        ("{}.jpg", "{}_labels.npy", "those that end in _labels.npy are no pictures", None),
    ],
)
def test_other_names_are_named_and_found(tmp_path, photo, label, words, masks):
    make_own(tmp_path, NAMES, TRUTH)
    (tmp_path / "images" / "a.jpg").unlink()
    (tmp_path / "masks" / "a.png").unlink()
    for name in ("p0", "deep/p1", "p2"):
        for folder, called in (("images", photo), ("masks", label)):
            path = tmp_path / folder / called.format(name)
            if called.startswith("mask_"):
                path = tmp_path / folder / called.format(name.replace("deep/", ""))
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".npy":
                np.save(path, TRUTH)
            else:
                Image.fromarray(TRUTH).save(path)
    with pytest.raises(OptionError) as caught:
        open_dataset("folder", [tmp_path])
    assert words in str(caught.value)
    if masks:
        assert truth(tmp_path, **masks) == [TRUTH.tolist()] * 3


def test_benchmarks_are_not_told_to_take_other_labels(tmp_path):
    root = make(tmp_path / "coco_stuff164k", "coco-stuff", ["1"])
    path = root / "annotations/val2017/1_labelTrainIds.png"
    path.rename(path.with_name("1.png"))
    with pytest.raises(OptionError, match="segloop prepare coco-stuff") as caught:
        open_dataset("coco-stuff", [root])
    assert "--mask-suffix" not in str(caught.value)


# turned photos ----------------------------------------------------------------------------------------------------


def turn(root, exif, size=(4, 6), name="a"):
    """Photo and label map (H, W) of one scene as the file stores them; the photo says how it is turned."""
    made = Image.Exif()
    made[0x0112] = exif
    labels = np.arange(size[0] * size[1]).reshape(size) % 4
    make_own(root, NAMES, labels.astype(np.uint8), name)
    Image.fromarray((labels[..., None] * [60, 0, 0]).astype(np.uint8)).save(root / "images" / f"{name}.png", exif=made)
    (root / "images" / f"{name}.jpg").unlink()
    return labels


@pytest.mark.parametrize("exif", range(1, 9))
def test_label_maps_turn_as_their_photos(tmp_path, exif):
    from segloop.images import read_image

    labels = turn(tmp_path, exif)
    photo = tmp_path / "images" / "a.png"
    assert orientation(photo) == exif
    turned = upright(labels, photo)
    np.testing.assert_array_equal(turned * 60, read_image(photo)[..., 0])
    assert truth(tmp_path, turned=True) == [turned.tolist()]


def test_a_label_map_that_lies_as_the_file_says_so(tmp_path):
    turn(tmp_path, 6)
    opened = open_dataset("folder", [tmp_path])
    with pytest.raises(ImageError, match=r"4x6 pixels .* the photo 6x4, .* orientation \(6\); add --turn-masks"):
        opened.truth(opened.samples[0], (6, 4))
    assert orientation_notes(opened) == []  # its size says enough
    opened = open_dataset("folder", [tmp_path], masks=Masks(turned=True))
    assert opened.truth(opened.samples[0], (6, 4)).shape == (6, 4)
    Image.new("L", (4, 6)).save(tmp_path / "masks" / "a.png")
    with pytest.raises(ImageError, match="lies on its side; leave out --turn-masks"):
        opened.truth(opened.samples[0], (6, 4))


@pytest.mark.parametrize(("exif", "size"), [(3, (4, 6)), (2, (4, 6)), (6, (5, 5))])
def test_photos_whose_label_maps_might_lie_either_way_are_told(tmp_path, exif, size):
    turn(tmp_path, exif, size)
    (note,) = orientation_notes(open_dataset("folder", [tmp_path]))
    assert note.startswith("1 of 1 photos are turned by their EXIF orientation (such as a.png)")
    assert orientation_notes(open_dataset("folder", [tmp_path], masks=Masks(turned=True))) == []


def test_turned_photos_are_counted_whether_or_not_their_size_tells(tmp_path):
    for name, exif in (("a", 6), ("b", 3), ("c", 1)):
        turn(tmp_path, exif, name=name)
    (note,) = orientation_notes(open_dataset("folder", [tmp_path]))
    assert note.startswith("2 of 3 photos are turned by their EXIF orientation, 1 of them so that no size tells how ")
    assert "(such as b.png)" in note


# before the networks ----------------------------------------------------------------------------------------------


def test_one_class_is_no_evaluation(tmp_path):
    make_own(tmp_path, ["grass sand water red"], TRUTH)
    with pytest.raises(OptionError, match=r"names one class \('grass sand water red'\), which every pixel gets"):
        check_labels(open_dataset("folder", [tmp_path]))


def test_a_numbered_class_file_must_fit_every_label_map(tmp_path):
    make_own(tmp_path, NAMES, TRUTH + 1, "a")
    make_own(tmp_path, ["1: grass", "2: sand", "3: water", "4: red"], TRUTH + 1, "b")
    opened = open_dataset("folder", [tmp_path])
    check_labels(opened)
    assert [opened.truth(sample).tolist() for sample in opened.samples] == [TRUTH.tolist()] * 2
    Image.fromarray(TRUTH).save(tmp_path / "masks" / "b.png")
    with pytest.raises(OptionError, match=r"b\.png: the label map holds 0, and .* numbers its classes from 1 to 4"):
        check_labels(opened)
    opened = open_dataset("folder", [tmp_path], masks=Masks(values="0=void,1-4=0-3"))
    check_labels(opened)
    assert opened.truth(opened.samples[1]).tolist() == [[255, 0, 0], [1, 2, 255]]


def test_one_pixel_that_counts_is_enough(tmp_path):
    make_own(tmp_path, NAMES, np.full((2, 2), 255, np.uint8), "a")
    make_own(tmp_path, NAMES, TRUTH, "b")
    check_labels(open_dataset("folder", [tmp_path]))
    with pytest.raises(ValueError, match=r"no pixel of the label maps counts: 100\.0 % of them are void"):
        check_labels(open_dataset("folder", [tmp_path], limit=1))


# the command line -------------------------------------------------------------------------------------------------


@pytest.fixture
def own(evaluate, tmp_path):
    """`evaluate folder` on six pictures whose stored values are a function of the classes: own(change, *options)."""

    def run(change, *options, classes="grass\nsand\nwater\nred\n", suffix=".png"):
        rng = np.random.default_rng(0)
        folder = tmp_path / "own"
        for name in "abc":
            labels = rng.integers(0, 4, (4, 4)).repeat(8, axis=0).repeat(8, axis=1).astype(np.uint8)
            make_own(folder, NAMES, labels, name)
            (folder / "masks" / f"{name}.png").unlink()
            Image.fromarray(change(labels)).save(folder / "masks" / f"{name}{suffix}")
        (folder / "classes.txt").write_text(classes)
        return evaluate("--out", tmp_path / "run", "--overwrite", *options, key="folder", data=folder)

    return run


def scored(result, tmp_path):
    assert result.exit_code == 0, result.output
    return json.loads((tmp_path / "run" / "run.json").read_text())


def test_stray_values_are_in_output_record_and_report(own, segloop, tmp_path):
    plain = scored(own(lambda labels: labels), tmp_path)
    assert plain["labels"] == {
        "pixels": 3 * 1024, "void": 0, "stray": 0, "images": 0, "values": [], "others": 0, "remedy": None
    }  # fmt: skip
    result = own(lambda labels: labels * 80)
    spread = scored(result, tmp_path)
    assert "values that no class has are on" in result.stderr and "--mask-values 0=0,80=1,160=2,240=3" in result.stderr
    labels = spread["labels"]
    assert {one["value"] for one in labels["values"]} == {80, 160, 240} and labels["images"] == 3
    assert sum(one["pixels"] for one in labels["values"]) == labels["stray"]
    told = segloop("report", tmp_path / "run").stdout
    assert "values that no class has are on" in told and "0=0,80=1,160=2,240=3" in told
    again = own(lambda labels: labels * 80, "--mask-values", "0=0,80=1,160=2,240=3")
    assert lines_of(again.stderr) == [] and scored(again, tmp_path)["metrics"] == plain["metrics"]


def test_records_made_before_open_without_a_word(own, segloop, tmp_path):
    run = scored(own(lambda labels: labels * 80), tmp_path)
    del run["labels"]
    (tmp_path / "run" / "run.json").write_text(json.dumps(run))
    assert segloop("report", tmp_path / "run").exit_code == 0
    run["labels"] = {"stray": "many"}
    (tmp_path / "run" / "run.json").write_text(json.dumps(run))
    assert "is damaged" in complaint(segloop("report", tmp_path / "run"))


def test_nothing_to_count_is_refused_before_anything_is_written(own, tmp_path):
    told = complaint(own(lambda labels: labels + 10))
    assert "no pixel of the label maps counts" in told and "--mask-values 10=0,11=1,12=2,13=3" in told
    told = complaint(own(lambda labels: COLOURS[labels]))
    assert "no image can be counted" in told and "a.png holds colours (RGB)" in told and "`grass: 0,128,0`" in told
    assert not (tmp_path / "run").exists()


def test_images_that_cannot_be_read_leave_nothing_to_count(own, evaluate, tmp_path):
    scored(own(lambda labels: labels), tmp_path)
    for path in (tmp_path / "own" / "images").iterdir():
        path.write_bytes(path.read_bytes()[:100])
    run = ("--out", tmp_path / "other", "--shard", 2)
    told = complaint(evaluate(*run, key="folder", data=tmp_path / "own"))
    assert told.startswith("error: no image can be counted: ") and "a.jpg" in told
    assert len((tmp_path / "other" / "failed.jsonl").read_text().splitlines()) == 3
    scored(own(lambda labels: labels), tmp_path)  # the photos are whole again, and so is what the folder holds
    assert evaluate(*run, key="folder", data=tmp_path / "own").exit_code == 0


def test_how_label_maps_are_read_is_part_of_the_record(own, evaluate, segloop, tmp_path):
    options = ("--mask-values", "1-4=0-3", "--mask-suffix", "_m.png")
    result = own(lambda labels: labels + 1, *options, "--scores", "--save-maps", suffix="_m.png")
    masks = scored(result, tmp_path)["settings"]["masks"]
    assert masks.pop("table_hash") and masks == {"suffix": "_m.png", "values": "1-4=0-3"}
    run = ("--out", tmp_path / "run", "--mask-suffix", "_m.png")
    told = complaint(evaluate(*run, "--scores", "--save-maps", key="folder", data=tmp_path / "own"))
    assert "other colours or values of label maps" in told and '--mask-values "1-4=0-3" there, none now' in told
    anew = segloop("evaluate", "--from-scores", tmp_path / "run", "--out", tmp_path / "anew")
    assert anew.exit_code == 0, anew.output
    first, second = (json.loads((tmp_path / name / "run.json").read_text()) for name in ("run", "anew"))
    assert first["metrics"] == second["metrics"] and first["labels"] == second["labels"]
    page = segloop("report", tmp_path / "run", "--pictures", 1, "--format", "html", "--out", tmp_path / "page.html")
    assert page.exit_code == 0, page.output
    assert segloop("tune", tmp_path / "run", "--scales", "20,40").exit_code == 0


def test_other_colours_are_another_run(own, evaluate, tmp_path):
    scored(own(lambda labels: COLOURS[labels], classes=LINES), tmp_path)
    (tmp_path / "own" / "classes.txt").write_text(LINES.replace("sand: 230,200,120", "sand: 1,1,1"))
    result = evaluate("--out", tmp_path / "run", key="folder", data=tmp_path / "own")
    assert result.exit_code == 2 and "other settings: other colours or values of label maps;" in result.stderr


def test_label_maps_that_were_mended_in_place_are_another_run(own, evaluate, tmp_path):
    run = scored(own(lambda labels: labels + 1), tmp_path)
    assert len(run["settings"]["labels_hash"]) == 64
    again = ("--out", tmp_path / "run")
    assert "done" in evaluate(*again, key="folder", data=tmp_path / "own").stderr
    for path in (tmp_path / "own" / "masks").iterdir():
        Image.fromarray(np.asarray(Image.open(path)) - 1).save(path)
    told = complaint(evaluate(*again, key="folder", data=tmp_path / "own"))
    assert "holds a run with other settings: other label maps; choose another --out" in told
    del run["settings"]["labels_hash"]  # as records were before
    (tmp_path / "run" / "run.json").write_text(json.dumps(run))
    assert "done" in evaluate(*again, key="folder", data=tmp_path / "own").stderr


def test_options_of_label_maps_are_for_one_data_set(evaluate):
    told = complaint(evaluate("--mask-suffix", "_m.png", key="folder,scenes"))
    assert "came with 2 data sets; evaluate one data set at a time" in told


@field
@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("comma", (), "is read as one line, separated by commas: 4 classes"),
        ("cvat-labelmap", (), "is read as a label map of CVAT: 4 classes, colours"),
        ("spread", ("--mask-values", "0=0,80=1,160=2,240=3"), ""),
        ("suffix-mask", ("--mask-suffix", "_mask.png"), ""),
    ],
)
def test_inputs_from_the_field_give_the_labels_of_the_control(name, options, words):
    masks = dict(zip(options[::2], options[1::2], strict=True))
    values, suffix = masks.get("--mask-values"), masks.get("--mask-suffix")
    opened = open_dataset("folder", [FIELD / name], masks=Masks(suffix=suffix, values=values))
    control = open_dataset("folder", [FIELD / "plain"])
    assert opened.dataset.names == control.dataset.names and words in "".join(opened.notes)
    for mine, other in zip(opened.samples, control.samples, strict=True):
        np.testing.assert_array_equal(opened.truth(mine), control.truth(other))


@field
def test_the_field_s_two_classes_are_one_truth():
    one, white, inverted = (
        open_dataset("folder", [FIELD / name], masks=Masks(values=values))
        for name, values in (("binary1", None), ("binary255", "0=0,255=1"), ("label-miniswhite1", None))
    )
    expected = one.truth(one.samples[0])
    np.testing.assert_array_equal(white.truth(white.samples[0]), expected)
    np.testing.assert_array_equal(inverted.truth(inverted.samples[0]), expected)

import pytest

from segloop.data.layouts import DATASETS
from segloop.data.places import Place, files_below, find_root, glimpse, places_of, read_places, suffix_of
from segloop.errors import OptionError
from trees import make


def found(key, *values):
    row = DATASETS[key]
    return find_root(row, places_of(key, read_places(values)), *row.folders(row.part))


def test_a_place_is_a_folder_or_a_key_and_a_folder(tmp_path):
    assert read_places([tmp_path, f"voc21={tmp_path}"]) == [Place(tmp_path), Place(tmp_path, "voc21")]


def test_a_folder_whose_name_holds_an_equals_sign(tmp_path, monkeypatch):
    (tmp_path / "a=b").mkdir()
    monkeypatch.chdir(tmp_path)
    assert [str(place.folder) for place in read_places(["a=b", f"{tmp_path}/a=b"])] == ["a=b", f"{tmp_path}/a=b"]


def test_the_home_folder_is_known_behind_a_key(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read_places(["voc21=~"]) == [Place(tmp_path, "voc21")]


@pytest.mark.parametrize(
    "value, sentence",
    [
        ("vocc21=x", "names no data set that is known; did you mean 'voc21'"),
        ("nowhere", "'nowhere'. is not there; give a folder"),
        ("voc21=", "is not there"),
        ("voc21=file", "is not a folder"),
    ],
)
def test_wrong_places_say_what_to_do(tmp_path, monkeypatch, value, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(OptionError, match=sentence):
        read_places([value])


def test_a_place_with_a_key_wins_for_its_key_alone(tmp_path):
    places = read_places([tmp_path, f"voc21={tmp_path}"])
    assert places_of("voc21", places) == places[1:]
    assert places_of("voc20", places) == places[:1]


@pytest.mark.parametrize("above", ["", "VOCdevkit", "VOCdevkit/VOC2012", ".."])
def test_a_root_is_found_from_itself_and_from_folders_above(tmp_path, above):
    root = make(tmp_path / "data/VOCdevkit/VOC2012", "voc21", ["a"])
    assert found("voc21", tmp_path / "data" / above).resolve() == root


def test_a_root_is_found_without_the_folder_above_its_name(tmp_path):
    root = make(tmp_path / "VOC2012", "voc21", ["a"])
    assert found("voc21", tmp_path) == root


def test_a_root_under_any_name_can_be_given_itself(tmp_path):
    root = make(tmp_path / "my_streets", "cityscapes", ["ulm/a"])
    assert found("cityscapes", root) == root
    assert found("cityscapes", tmp_path) is None
    assert found("cityscapes", f"cityscapes={root}") == root


@pytest.mark.parametrize("name", ["loveda", "LOVEDA", "loveDA"])
def test_names_are_compared_without_case(tmp_path, name):
    root = make(tmp_path / name, "loveda", ["1"])
    assert found("loveda", tmp_path).name.casefold() == root.name.casefold()


def test_deep_folders_are_not_searched(tmp_path):
    make(tmp_path / "a/b/c/VOCdevkit/VOC2012", "voc21", ["a"])
    assert found("voc21", tmp_path) is None


def test_two_data_sets_of_one_layout_are_told_apart_by_name(tmp_path):
    make(tmp_path / "potsdam", "potsdam", ["1"])
    assert found("loveda", tmp_path) is None
    assert found("loveda", tmp_path / "potsdam") is None
    assert found("loveda", f"loveda={tmp_path / 'potsdam'}") == tmp_path / "potsdam"


def test_a_link_bears_its_own_name_and_that_of_its_folder(tmp_path):
    for root, link in (("one/VOC2012", "voc"), ("two/disk", "VOC2012")):
        (tmp_path / root / "JPEGImages").mkdir(parents=True)  # not whole: only the name tells
        (tmp_path / link).symlink_to(tmp_path / root)
        assert found("voc21", tmp_path / link) == tmp_path / link


def test_of_coco_roots_the_one_with_the_labels_is_taken(tmp_path):
    objects = make(tmp_path / "coco_object", "coco-object", ["1"])
    stuff = make(tmp_path / "coco_stuff164k", "coco-stuff", ["1"])
    assert found("coco-object", tmp_path) == objects and found("coco-stuff", tmp_path) == stuff
    both = make(make(tmp_path / "b/COCO", "coco-object", ["1"]), "coco-stuff", ["1"])
    assert found("coco-object", tmp_path / "b") == found("coco-stuff", tmp_path / "b") == both


def test_coco_labels_may_lie_under_another_of_its_names(tmp_path):
    (tmp_path / "coco_object/images/val2017").mkdir(parents=True)
    (tmp_path / "coco_object/annotations/val2017").mkdir(parents=True)
    whole = make(tmp_path / "coco_stuff164k", "coco-object", ["1"])
    assert found("coco-object", tmp_path) == whole


def test_of_several_places_the_most_complete_is_taken(tmp_path):
    (tmp_path / "one/VOC2012/JPEGImages").mkdir(parents=True)
    root = make(tmp_path / "two/x/VOC2012", "voc21", ["a"])
    assert found("voc21", tmp_path / "one", tmp_path / "two") == root
    assert found("voc21", tmp_path / "one") == tmp_path / "one/VOC2012"  # to say what it lacks


def test_links_are_followed_once(tmp_path):
    (tmp_path / "real/deep").mkdir(parents=True)
    (tmp_path / "real/deep/x.png").write_text("")
    (tmp_path / "real/deep/back").symlink_to(tmp_path / "real")
    (tmp_path / "top").symlink_to(tmp_path / "real")
    assert sorted(files_below(tmp_path / "top", (".png",))) == [("deep/x", ".png")]


def test_hidden_files_and_other_suffixes_are_left_out(tmp_path):
    for name in ("a.png", "._a.png", "b.PNG", "c.jpg", "d_labelTrainIds.png", ".png"):
        (tmp_path / name).write_text("")
    assert sorted(files_below(tmp_path, (".png",))) == [("a", ".png"), ("b", ".PNG"), ("d_labelTrainIds", ".png")]
    assert list(files_below(tmp_path, ("_labelTrainIds.png",))) == [("d", "_labelTrainIds.png")]
    assert list(files_below(tmp_path / "absent", (".png",))) == []


def test_a_suffix_needs_a_stem():
    assert suffix_of("x_leftImg8bit.png", ("_leftImg8bit.png",)) == "_leftImg8bit.png"
    assert suffix_of("_leftImg8bit.png", ("_leftImg8bit.png",)) is None
    assert suffix_of("x.tif", (".png", ".TIF")) == ".tif"


def test_a_glimpse_names_a_few(tmp_path):
    assert glimpse(tmp_path) == "it is empty"
    for name in "abcdefg":
        (tmp_path / name).mkdir()
    assert glimpse(tmp_path) == "it holds a, b, c, d, e and 2 more"

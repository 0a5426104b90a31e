"""COCO files of whole runs: polygons that give the map back, one file for many photos, and who can read it."""

import json
import os
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

import segloop
from command import WORDS, complaint, done, left_over
from segloop import Segmentation, save_coco
from segloop.commands.finished import DONE
from segloop.errors import MachineError, OptionError, OutputError
from segloop.results.annotations import collecting, common_folder
from segloop.results.coco import coco_object
from segloop.results.outline import outlines
from segloop.results.segmentation import FORMATS

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools

NAMES = ["annotations.coco.json", "annotations.coco-polygons.json"]
BOTH = ("--format", "coco,coco-polygons")


def drawn(rings, size):
    """What pycocotools fills."""
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(rings, *size))).astype(bool)


# polygons ------------------------------------------------------------------------------------------------------


def test_one_pixel_is_a_square():
    assert outlines(np.array([[4]])) == {4: [[0, 0, 1, 0, 1, 1, 0, 1]]}


def test_an_outline_by_hand():
    """Down the right side of the one class, back up the stairs; the other is what is left."""
    found = outlines(np.array([[0, 0, 2], [0, 2, 2]]))
    assert found[0] == [[0, 0, 2, 0, 2, 1, 1, 1, 1, 2, 0, 2]]
    assert found[2] == [[2, 0, 3, 0, 3, 2, 1, 2, 1, 1, 2, 1]]


def test_pixels_that_touch_at_a_corner_are_two_regions():
    found = outlines(np.array([[1, 0], [0, 1]]))
    assert found[1] == [[0, 0, 1, 0, 1, 1, 0, 1], [1, 1, 2, 1, 2, 2, 1, 2]]
    assert len(found[0]) == 2


def test_a_hole_is_joined_by_a_seam_that_has_no_area():
    """A ring of eight pixels: from the top down the seam at x = 1, around the hole the other way, and up again."""
    found = outlines(np.pad([[1]], 1))
    assert found[0] == [[0, 0, 1, 0, 1, 2, 2, 2, 2, 1, 1, 1, 1, 0, 3, 0, 3, 3, 0, 3]]
    assert drawn(found[0], (3, 3)).sum() == 8


def test_a_hole_that_touches_the_outside_at_a_corner_needs_no_seam():
    """C-shaped, its ends touch at a corner: one ring of an even walk, and 8 of 9 + 1 pixels."""
    shape = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 0]])
    (ring,) = outlines(shape)[1]
    np.testing.assert_array_equal(drawn([ring], (3, 3)), shape == 1)


MAPS = arrays(np.int64, st.tuples(st.integers(1, 16), st.integers(1, 16)), elements=st.integers(0, 2))


@settings(max_examples=400, deadline=None, derandomize=True)
@given(MAPS, st.integers(1, 3))
def test_polygons_give_every_pixel_back(labels, enlarged):
    labels = np.kron(labels, np.ones((enlarged, enlarged), int))
    found = outlines(labels)
    assert list(found) == np.unique(labels).tolist()
    for index, rings in found.items():
        np.testing.assert_array_equal(drawn(rings, labels.shape), labels == index)
        pixels = sum(drawn([ring], labels.shape).sum() for ring in rings)
        assert pixels == (labels == index).sum()  # no two regions share one
        assert all(len(ring) >= 8 and len(ring) % 2 == 0 for ring in rings)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (97, 61)])
def test_polygons_of_any_size(size):
    labels = np.random.default_rng(1).integers(0, 4, size) // 2
    for index, rings in outlines(labels).items():
        np.testing.assert_array_equal(drawn(rings, size), labels == index)


def test_holes_within_holes():
    labels = np.zeros((21, 21), int)
    for step in range(10):
        labels[step : 21 - step, step : 21 - step] = step % 2
    for index, rings in outlines(labels).items():
        assert len(rings) == 5
        np.testing.assert_array_equal(drawn(rings, labels.shape), labels == index)


def test_polygons_and_run_lengths_say_the_same():
    labels = np.random.default_rng(2).integers(0, 3, (30, 40)).repeat(2, 0)
    plain, outlined = (coco_object(labels, list("abc"), "a.jpg", polygons=form) for form in (False, True))
    for one, other in zip(plain["annotations"], outlined["annotations"], strict=True):
        assert isinstance(other["segmentation"], list)
        assert {**one, "segmentation": 0} == {**other, "segmentation": 0}


# one file for many photos --------------------------------------------------------------------------------------


def result(source, labels, classes=("sky", "tree", "wall")):
    labels = np.asarray(labels, np.int64)
    share = {name: float((labels == index).mean()) for index, name in enumerate(classes)}
    image = np.zeros((*labels.shape, 3), np.uint8)
    return Segmentation(labels, list(classes), None, share, dict.fromkeys(classes, 0.5), image, source and str(source))


def some(count=3, seed=0):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 30, (count, 2))
    places = ["trip/b.jpg", "trip/a.jpg", "c.png", "trip/deep/a.jpg"]
    return [result(place, rng.integers(0, 3, size)) for place, size in zip(places, sizes, strict=False)]


def check(path, results, root="."):
    """That a file holds exactly these results, as pycocotools reads them."""
    coco = COCO(str(path))
    data = json.loads(Path(path).read_text("utf-8"))
    assert [image["id"] for image in data["images"]] == list(range(1, len(results) + 1))
    assert [one["id"] for one in data["annotations"]] == list(range(1, len(data["annotations"]) + 1))
    by_name = {os.path.relpath(one.source, root): one.labels for one in results}
    assert [image["file_name"] for image in data["images"]] == sorted(by_name)
    for image in data["images"]:
        painted = np.full((image["height"], image["width"]), -1)
        for one in coco.loadAnns(coco.getAnnIds(imgIds=image["id"])):
            mask = coco.annToMask(one).astype(bool)
            assert (painted[mask] == -1).all() and one["area"] == mask.sum()
            painted[mask] = one["category_id"] - 1
        np.testing.assert_array_equal(painted, by_name[image["file_name"]])


@pytest.mark.parametrize("polygons", [False, True])
def test_many_results_in_one_file(tmp_path, monkeypatch, polygons, capsys):
    monkeypatch.chdir(tmp_path)
    path = save_coco(some(4), "out/all.json", polygons=polygons)
    assert path == Path("out/all.json")
    check(path, some(4))
    assert not left_over(tmp_path)


def test_bytes_do_not_depend_on_the_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written = {save_coco(order, "all.json").read_bytes() for order in permutations(some(3))}
    assert len(written) == 1


def test_names_are_below_the_common_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    found = [replace(one, source=str(tmp_path / "x" / Path(one.source).name)) for one in some(3) if one.source != "c"]
    check(save_coco(found[:2], "all.json"), found[:2], root=tmp_path / "x")
    data = json.loads(Path("all.json").read_text())
    assert [image["file_name"] for image in data["images"]] == ["a.jpg", "b.jpg"]
    assert data["info"]["root"] == "x"
    assert str(tmp_path) not in Path("all.json").read_text()


def test_any_name_of_a_photo_and_a_class(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ["汽车.jpg", 'quo"te.jpg', "new\nline.jpg", "bad\udcff.jpg", "], .jpg"]
    classes = ['], "annotations": [', "é\n", "]}"]
    save_coco([result(name, [[0, 1, 2]], classes) for name in names], "all.json")
    data = json.loads(Path("all.json").read_text("utf-8"))
    assert [image["file_name"] for image in data["images"]] == sorted(names)
    assert [category["name"] for category in data["categories"]] == classes
    with collecting(Path("all.json"), classes) as collection:  # and such a file can be continued
        collection.add("more.jpg", np.zeros((2, 2), int))
        assert collection.write(anew=False) == 6


def test_what_cannot_become_one_file_is_refused_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one, two, three = some(3)
    for wrong, sentence in [
        ([], "no result came"),
        ([one, replace(two, source=None)], "result 2 has no source"),
        ([one, two, replace(three, classes=["a", "b", "c"])], "c.png has other classes than trip/b.jpg"),
        ([one, replace(two, source=os.path.abspath(one.source))], "came twice"),
    ]:
        with pytest.raises(OptionError, match=sentence):
            save_coco(wrong, "all.json")
    assert not list(tmp_path.iterdir())


def test_results_are_taken_one_by_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    alive = []

    def stream():
        for one in some(4):
            alive.append(one)
            yield one

    save_coco(stream(), "all.json")
    assert len(alive) == 4


def test_memory_does_not_grow_with_the_masks(tmp_path):
    """Of a photo stay its path and three numbers; its masks lie on the disk."""
    labels = np.random.default_rng(0).integers(0, 3, (60, 60))
    with collecting(tmp_path / "all.json", ["a", "b", "c"]) as collection:
        for number in range(20):
            collection.add(f"{number}.jpg", labels)
        assert collection.spool.seek(0, os.SEEK_END) > 20 * 1000
        assert {len(vars(lines)) for lines in collection.photos.values()} == {3}
        assert os.listdir(tmp_path) == []  # it has no name: nothing of it outlives a kill


@pytest.mark.parametrize("parts", [[[0], [1], [2, 3]], [[3, 0], [2], [1]], [[0, 1, 2], [1, 2], [3]]])
@pytest.mark.parametrize("polygons", [False, True])
def test_several_runs_end_as_one(tmp_path, monkeypatch, parts, polygons):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trip/deep").mkdir(parents=True)
    results = some(4)
    whole = save_coco(results, "whole.json", polygons=polygons).read_bytes()
    for part in parts:
        with collecting(Path("all.json"), results[0].classes, polygons) as collection:
            for number in part:
                collection.add(results[number].source, results[number].labels)
            listed = collection.write(anew=False)
    assert listed == 4
    assert Path("all.json").read_bytes() == whole


def test_a_photo_that_comes_again_by_another_way_is_the_same(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    for place in ("real/a.jpg", "link/a.jpg", str(tmp_path / "real/../link/a.jpg")):
        with collecting(Path("all.json"), ["a"]) as collection:
            collection.add(place, np.zeros((2, 3), int))
            assert collection.write(anew=False) == 1
    assert [image["file_name"] for image in json.loads(Path("all.json").read_text())["images"]] == ["a.jpg"]


def test_both_can_be_moved_together(tmp_path, monkeypatch):
    for place in ("one", "two"):
        (tmp_path / place / "in").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "one")
    save_coco([result("in/a.jpg", [[0]])], "out/all.json")
    (tmp_path / "one/out").rename(tmp_path / "two/out")
    with collecting(tmp_path / "two/out/all.json", ["sky", "tree", "wall"]) as collection:
        collection.add(tmp_path / "two/in/b.jpg", np.zeros((1, 1), int))
        assert collection.write(anew=False) == 2
    data = json.loads((tmp_path / "two/out/all.json").read_text())
    assert [image["file_name"] for image in data["images"]] == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: "",
        lambda text: "{}",
        lambda text: text[:-2],
        lambda text: text[: len(text) // 2],
        lambda text: json.dumps(json.loads(text)),
        lambda text: json.dumps(json.loads(text), indent=2),
        lambda text: text.replace('"image_id": 1', '"image_id": 7', 1),
        lambda text: text.replace('"file_name"', '"name"', 1),
        lambda text: text.replace(', "root"', ', "boot"', 1),
        lambda text: "a picture\n" * 3,
    ],
)
def test_what_segloop_did_not_write_is_left_alone(tmp_path, monkeypatch, spoil):
    monkeypatch.chdir(tmp_path)
    path = save_coco(some(2), "all.json")
    text = spoil(path.read_text())
    path.write_text(text)
    with collecting(path, ["sky", "tree", "wall"]) as collection:
        collection.add("a.jpg", np.zeros((1, 1), int))
        with pytest.raises(OptionError, match="is not what segloop wrote, or was changed since; move it away"):
            collection.write(anew=False)
    assert path.read_text() == text and not left_over(tmp_path)


def test_a_full_disk_and_a_closed_folder(tmp_path, monkeypatch):
    class Full:
        def seek(self, *_):
            return 0

        def writelines(self, _):
            raise OSError(28, "No space left on device")

    with collecting(tmp_path / "all.json", ["a"]) as collection:
        full = replace(collection, spool=Full())
        with pytest.raises(MachineError, match="the disk is full"):
            full.add("a.jpg", np.zeros((1, 1), int))
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"), collecting(tmp_path / "file" / "all.json", ["a"]):
        pass


# one result ----------------------------------------------------------------------------------------------------


def test_one_result_is_named_as_its_photo_is(tmp_path):
    for form in ("coco", "coco-polygons"):
        (path,) = result("far/away/x.jpg", [[0, 1]]).save(tmp_path / "x", [form])
        assert path.name == f"x.{form}.json"
        assert json.loads(path.read_text())["images"] == [{"id": 1, "file_name": "x.jpg", "height": 1, "width": 2}]


def test_save_coco_is_a_public_name():
    assert segloop.save_coco is save_coco and "save_coco" in dir(segloop)


def test_common_folder():
    assert common_folder(["/a/b/c.jpg"]) == "/a/b"
    assert common_folder(["/a/b/c.jpg", "/a/d.jpg"]) == "/a"
    assert common_folder(["x.jpg"]) == os.getcwd()


# the command line ----------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, street, meadow):
    """in/street.jpg, in/more/meadow.png, and in/more/street.jpg of the same name."""
    for source, place in ((street, "street.jpg"), (meadow, "more/meadow.png"), (street, "more/street.jpg")):
        target = tmp_path / "in" / place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    return tmp_path / "in"


def labels_below(out, names, stem=lambda name: Path(name).with_suffix(".png")):
    return {name: np.array(Image.open(out / stem(name))) for name in names}


def test_a_run_is_one_file(segment, folder, tmp_path, capsys):
    shown = done(segment("in/**/*.*", "in/*.*", *WORDS, "--format", "png,coco,coco-polygons"))
    out = tmp_path / "segloop-out"
    assert sorted(path.name for path in out.iterdir()) == sorted([*NAMES, DONE, "more", "street.png"])
    assert shown.stdout.splitlines()[-2:] == [f"segloop-out/{name}  3 photos" for name in NAMES]
    listed = ["more/meadow.png", "more/street.jpg", "street.jpg"]
    maps = labels_below(out, listed)
    for name in NAMES:
        check(out / name, [result(folder / place, maps[place], ("road", "car", "sky")) for place in listed], folder)


def test_order_and_earlier_runs_change_nothing(segment, folder, tmp_path):
    photos = [str(path) for path in sorted(folder.rglob("*.*"))]
    alone = (*WORDS, *BOTH, "--batch", 1)  # each window by itself: the same sums in any order of photos
    done(segment(*photos, *alone, "--out", "one"))
    done(segment(*reversed(photos), *alone, "--out", "two"))
    for photo in photos:
        done(segment(photo, *alone, "--out", "three"))
    shown = done(segment(photos[0], *alone, "--out", "three"))
    assert shown.stdout.splitlines()[-2:] == [f"three/{name}  3 photos, 2 of them from before" for name in NAMES]
    for name in NAMES:
        assert len({(tmp_path / out / name).read_bytes() for out in ("one", "two", "three")}) == 1


def test_other_words_need_another_folder_or_overwrite(segment, folder, tmp_path):
    done(segment(folder / "street.jpg", *WORDS, *BOTH))
    before = (tmp_path / "segloop-out" / NAMES[0]).read_bytes()
    again = (folder / "more/meadow.png", "--classes", "road, sky", *BOTH)
    told = complaint(segment(*again))
    assert "lists photos with other classes (road, car, sky)" in told and "--overwrite" in told
    assert (tmp_path / "segloop-out" / NAMES[0]).read_bytes() == before
    done(segment(*again, "--overwrite"))
    data = json.loads((tmp_path / "segloop-out" / NAMES[0]).read_text())
    assert [image["file_name"] for image in data["images"]] == ["meadow.png"]
    assert [category["name"] for category in data["categories"]] == ["road", "sky"]


def test_a_folder_of_photos_that_is_gone(segment, folder, tmp_path):
    done(segment(folder / "more/meadow.png", *WORDS, "--format", "coco"))
    (folder / "more").rename(tmp_path / "moved")
    told = complaint(segment(folder / "street.jpg", *WORDS, "--format", "coco"))
    assert "lists photos below" in told and "which is not there" in told


def test_a_file_of_the_user_is_not_replaced(segment, street, tmp_path):
    (tmp_path / "segloop-out").mkdir()
    own = tmp_path / "segloop-out" / NAMES[0]
    own.write_text('{"images": [], "annotations": []}')
    for more in ((), ("--overwrite",)):
        told = complaint(segment(street, *WORDS, "--format", "coco", *more))
        assert "is not what segloop wrote" in told and "choose another --out" in told
    assert own.read_text() == '{"images": [], "annotations": []}'
    done(segment(street, *WORDS, "--format", "png"))  # who asks for no COCO is not disturbed


def test_photos_that_failed_are_not_listed(segment, folder, tmp_path):
    (folder / "bad.jpg").write_text("no photo")
    ended = segment("in/*.jpg", *WORDS, *BOTH)
    assert ended.exit_code == 3
    for name in NAMES:
        data = json.loads((tmp_path / "segloop-out" / name).read_text())
        assert [image["file_name"] for image in data["images"]] == ["street.jpg"]
    nothing = segment(folder / "bad.jpg", *WORDS, *BOTH, "--out", "none")
    assert nothing.exit_code == 2 and [path.name for path in (tmp_path / "none").iterdir()] == ["failed.jsonl"]


def test_results_and_the_file_of_the_run_never_meet(segment, street, tmp_path):
    for place in ("annotations.coco.jpg", "annotations.jpg", "annotations.coco-polygons.jpg"):
        (tmp_path / place).write_bytes(street.read_bytes())
    done(segment("*.jpg", *WORDS, "--format", "png,json,coco,coco-polygons"))
    written = sorted(path.name for path in (tmp_path / "segloop-out").iterdir())
    assert written == sorted(
        [
            *NAMES,
            DONE,
            *(f"annotations{end}" for end in (".png", ".json", ".coco.jpg.png", ".coco.jpg.json")),
            *(f"annotations.coco-polygons.jpg{end}" for end in (".png", ".json")),
        ]
    )


def test_lines_of_json_name_the_file(segment, street, tmp_path):
    told = json.loads(done(segment(street, *WORDS, "--json", "--format", "png,coco")).stdout)
    assert told["files"] == ["segloop-out/street.png", f"segloop-out/{NAMES[0]}"]
    assert all((tmp_path / file).is_file() for file in told["files"])


# who can read it -----------------------------------------------------------------------------------------------


@pytest.fixture
def listed(segment, folder, tmp_path):
    done(segment("in/**/*.*", *WORDS, "--format", "png,coco,coco-polygons"))
    return labels_below(tmp_path / "segloop-out", ["more/meadow.png", "more/street.jpg", "street.jpg"])


def test_supervision_reads_every_mask(listed, folder, tmp_path):
    supervision = pytest.importorskip("supervision")
    found = supervision.DetectionDataset.from_coco(str(folder), str(tmp_path / "segloop-out" / NAMES[0]))
    assert found.classes == ["road", "car", "sky"] and len(found) == 3
    for place, image, detections in found:
        labels = listed[Path(place).relative_to(folder.resolve()).as_posix()]
        assert image.shape[:2] == labels.shape
        assert sorted(detections.class_id.tolist()) == np.unique(labels).tolist()
        for index, mask in zip(detections.class_id, detections.mask, strict=True):
            np.testing.assert_array_equal(mask, labels == index)


def test_supervision_reads_polygons_and_fills_their_outline_too(listed, folder, tmp_path):
    """It takes corners for the middles of pixels, so that masks grow by the pixel to the right and below."""
    supervision = pytest.importorskip("supervision")
    found = supervision.DetectionDataset.from_coco(str(folder), str(tmp_path / "segloop-out" / NAMES[1]))
    for place, _, detections in found:
        labels = listed[Path(place).relative_to(folder.resolve()).as_posix()]
        for index, mask in zip(detections.class_id, detections.mask, strict=True):
            padded = np.pad(labels == index, ((1, 0), (1, 0)))
            grown = padded[1:, 1:] | padded[:-1, 1:] | padded[1:, :-1] | padded[:-1, :-1]
            assert (mask >= (labels == index)).all() and (mask <= grown).all()


def test_what_other_readers_ask_for(listed, folder, tmp_path):
    """datumaro, FiftyOne and Label Studio: whole numbers as ids, boxes, every photo where `file_name` says."""
    for name in NAMES:
        data = json.loads((tmp_path / "segloop-out" / name).read_text("utf-8"))
        for image in data["images"]:
            with Image.open(folder / image["file_name"]) as photo:
                assert (photo.height, photo.width) == (image["height"], image["width"])
        sizes = {image["id"]: image for image in data["images"]}
        for one in data["annotations"]:
            assert all(type(one[key]) is int for key in ("id", "image_id", "category_id", "area", "iscrowd"))
            x, y, width, height = one["bbox"]
            image = sizes[one["image_id"]]
            assert x >= 0 and y >= 0 and x + width <= image["width"] and y + height <= image["height"]
            if name == NAMES[1]:
                assert all(len(ring) >= 6 and len(ring) % 2 == 0 for ring in one["segmentation"])


def test_every_format_has_its_own_suffix():
    suffixes = [row.suffix for row in FORMATS.values()]
    assert len(set(suffixes)) == len(suffixes)

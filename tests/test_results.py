import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageFont
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

import segloop
from segloop.errors import MachineError, OptionError, OutputError
from segloop.results.coco import bounding_box, coco_object, compress, run_lengths
from segloop.results.overlay import draw_overlay, drawable, view_size
from segloop.results.palette import palette
from segloop.results.segmentation import FORMATS, Segmentation

ALL = tuple(FORMATS)
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools


def result_of(labels, classes, *, image=None, scores=None, source="photos/a.jpg", settings=None):
    labels = np.asarray(labels, np.int64)
    share = np.bincount(labels.ravel(), minlength=len(classes)) / labels.size
    return Segmentation(
        labels=labels,
        classes=list(classes),
        scores=scores,
        share=dict(zip(classes, share.tolist(), strict=True)),
        confidence={name: 0.75 if part else None for name, part in zip(classes, share, strict=True)},
        image=np.full((*labels.shape, 3), 100, np.uint8) if image is None else image,
        source=source,
        settings={"method": "fsa", "crop": 336} if settings is None else settings,
        confidence_map=np.full(labels.shape, 0.75, np.float32),
    )


def small(**options):
    return result_of([[0, 0, 2], [0, 2, 2]], ["sky", "tree", "wall, old"], **options)


def png_bytes(image):
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


# files -----------------------------------------------------------------------------------------------------


def test_names_and_order_of_files(tmp_path):
    paths = small().save(tmp_path / "new" / "a.b", ["npz", "png", "npz", "coco", "overlay", "json"])
    expected = ["a.b.npz", "a.b.png", "a.b.coco.json", "a.b.overlay.png", "a.b.json"]
    assert [path.name for path in paths] == expected
    assert sorted(os.listdir(tmp_path / "new")) == sorted(expected)
    assert [path.name for path in small().save(str(tmp_path / "c"))] == ["c.png", "c.overlay.png", "c.json"]
    assert [path.name for path in small().save(tmp_path / "d", "json,png")] == ["d.json", "d.png"]


def test_unknown_format_writes_nothing(tmp_path):
    with pytest.raises(OptionError, match="did you mean 'coco'"):
        small().save(tmp_path / "a", ["png", "cocoo"])
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("count", [1, 3, 256])
def test_png_has_8_bits_and_a_palette_up_to_256_classes(tmp_path, count):
    classes = [f"class {i}" for i in range(count)]
    labels = np.arange(20).reshape(4, 5) * 13 % count
    (path,) = result_of(labels, classes).save(tmp_path / "a", ["png"])
    assert path.read_bytes()[24:26] == b"\x08\x03"  # the header's depth and colour type: 8 bits, palette
    with Image.open(path) as image:
        np.testing.assert_array_equal(np.asarray(image), labels)
        assert json.loads(image.text["segloop:classes"]) == classes
        colours = np.array(image.getpalette()).reshape(-1, 3)[:count]
    np.testing.assert_array_equal(colours, palette(count))


def test_png_has_16_bits_above_256_classes(tmp_path):
    classes = [f"class {i}" for i in range(1000)]
    labels = np.array([[0, 255, 256], [999, 1, 2]])
    (path,) = result_of(labels, classes).save(tmp_path / "a", ["png"])
    assert path.read_bytes()[24:26] == b"\x10\x00"
    np.testing.assert_array_equal(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), labels)
    with Image.open(path) as image:
        assert json.loads(image.text["segloop:classes"]) == classes


def test_png_refuses_more_classes_than_it_can_hold(tmp_path):
    with pytest.raises(OptionError, match="npz"):
        result_of([[0]], [str(i) for i in range(65537)]).save(tmp_path / "a", ["png"])


def test_json_by_hand(tmp_path):
    (path,) = small().save(tmp_path / "a", ["json"])
    assert json.loads(path.read_text("utf-8")) == {
        "source": "photos/a.jpg",
        "size": {"height": 2, "width": 3},
        "classes": ["sky", "tree", "wall, old"],
        "share": {"sky": 0.5, "tree": 0.0, "wall, old": 0.5},
        "confidence": {"sky": 0.75, "tree": None, "wall, old": 0.75},
        "settings": {"method": "fsa", "crop": 336},
    }


def test_json_is_strict_whatever_the_settings_hold(tmp_path):
    odd = {"a": float("nan"), "b": (np.float32("inf"), np.int64(3), True), "c": {1: Path("x")}}
    (path,) = small(settings=odd, source="bad\udcff.jpg").save(tmp_path / "a", ["json"])

    def refuse(name):
        raise AssertionError(name)

    stored = json.loads(path.read_text("utf-8"), parse_constant=refuse)
    assert stored["settings"] == {"a": None, "b": [None, 3, True], "c": {"1": "x"}}
    assert stored["source"] == "bad\udcff.jpg"


def test_npz_opens_without_pickle(tmp_path):
    scores = np.random.default_rng(0).random((3, 2, 3)).astype(np.float32)
    (path,) = small(scores=scores).save(tmp_path / "a", ["npz"])
    with np.load(path, allow_pickle=False) as stored:
        assert stored["labels"].dtype == np.uint8
        np.testing.assert_array_equal(stored["labels"], small().labels)
        assert stored["classes"].tolist() == ["sky", "tree", "wall, old"]
        np.testing.assert_array_equal(stored["share"], [0.5, 0, 0.5])
        np.testing.assert_array_equal(stored["confidence"], [0.75, np.nan, 0.75])
        np.testing.assert_array_equal(stored["scores"], scores)
        assert json.loads(str(stored["settings"])) == {"method": "fsa", "crop": 336}
        assert str(stored["source"]) == "photos/a.jpg"


@pytest.mark.parametrize(("count", "dtype"), [(256, np.uint8), (257, np.uint16), (65537, np.uint32)])
def test_npz_labels_are_as_small_as_the_classes_allow(tmp_path, count, dtype):
    (path,) = result_of([[0, count - 1]], [str(i) for i in range(count)]).save(tmp_path / "a", ["npz"])
    with np.load(path) as stored:
        assert stored["labels"].dtype == dtype and stored["labels"].tolist() == [[0, count - 1]]
        assert "scores" not in stored


def test_same_result_gives_the_same_bytes(tmp_path):
    first, second = small().save(tmp_path / "a", ALL), small().save(tmp_path / "b", ALL)
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}  # no clock in it


@pytest.mark.parametrize("name", ["汽车", "дерево", "café", "🚗", "שמיים", "a\nb\x07", "x" * 5000, "", "bad\udcff"])
def test_any_class_name_is_written(tmp_path, name):
    result = result_of([[0, 1]], [name, "tree"])
    result.save(tmp_path / "a", ALL)
    assert json.loads((tmp_path / "a.json").read_text("utf-8"))["classes"] == [name, "tree"]
    assert json.loads((tmp_path / "a.coco.json").read_text("utf-8"))["categories"][0]["name"] == name
    with Image.open(tmp_path / "a.png") as image:
        assert json.loads(image.text["segloop:classes"]) == [name, "tree"]
    with np.load(tmp_path / "a.npz") as stored:
        assert stored["classes"][0] == name


def test_record_is_frozen_and_short_in_print():
    result = small()
    with pytest.raises(AttributeError):
        result.source = "other"
    assert "array" not in repr(result) and "photos/a.jpg" in repr(result)


# failures --------------------------------------------------------------------------------------------------


def test_unwritable_folder(tmp_path):
    file = tmp_path / "file"
    file.write_text("in the way")
    with pytest.raises(OutputError, match="cannot write"):
        small().save(file / "a", ["png"])
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("stem", ["", ".", "/"])
def test_stem_without_a_name(stem):
    with pytest.raises(OutputError, match="names no file"):
        small().save(stem, ["png"])


FULL_DISK = """
import resource, signal, sys
import numpy as np
sys.path.insert(0, sys.argv[2])
from segloop.errors import MachineError
from segloop import Segmentation
labels = np.random.default_rng(0).integers(0, 2, (300, 300))
image = np.zeros((300, 300, 3), np.uint8)
result = Segmentation(labels, ["a", "b"], None, {"a": 0.5, "b": 0.5}, {"a": 0.5, "b": 0.5}, image)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
try:
    result.save(sys.argv[1], ["json", sys.argv[3]])
except MachineError as error:
    sys.exit(0 if "disk is full" in str(error) else str(error))
sys.exit("nothing was raised")
"""


@pytest.mark.parametrize("name", ["png", "npz"])
def test_full_disk_leaves_nothing_half_written(tmp_path, name):
    (tmp_path / f"a.{name}").write_bytes(b"from before")
    source = os.path.dirname(os.path.dirname(segloop.__file__))
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "a"), source, name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert sorted(os.listdir(tmp_path)) == ["a.json", f"a.{name}"]
    assert (tmp_path / f"a.{name}").read_bytes() == b"from before"
    assert MachineError.exit_code == 1


# coco ------------------------------------------------------------------------------------------------------

MAPS = arrays(np.int64, st.tuples(st.integers(1, 40), st.integers(1, 40)), elements=st.integers(0, 3))


def test_run_lengths_by_hand():
    # down the columns: 0 0 | 0 2 | 2 2
    counts = run_lengths(np.array([[0, 0, 2], [0, 2, 2]]))
    assert {index: runs.tolist() for index, runs in counts.items()} == {0: [0, 3, 3], 2: [3, 3]}
    assert bounding_box(counts[0], 2) == [0, 0, 2, 2]
    assert bounding_box(counts[2], 2) == [1, 0, 2, 2]


def test_compress_by_hand():
    # 48 + 3 twice; 40 = 01000 + 1 * 32 -> (8 + 32 + 48, 1 + 48); the fourth is 1 - 3 = -2 -> 30 + 48
    assert compress(np.array([3, 3, 40, 1])) == "33X1N"


@settings(max_examples=150, deadline=None, derandomize=True)
@given(MAPS)
def test_masks_equal_pycocotools(labels):
    height, width = labels.shape
    found = coco_object(labels, list("abcd"), "a.jpg")["annotations"]
    assert [one["category_id"] - 1 for one in found] == np.unique(labels).tolist()
    for one in found:
        mask = labels == one["category_id"] - 1
        theirs = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        assert one["segmentation"] == {"size": [height, width], "counts": theirs["counts"].decode()}
        np.testing.assert_array_equal(coco_mask.decode(one["segmentation"]), mask)
        assert one["area"] == coco_mask.area(one["segmentation"]) == mask.sum()
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        tight = [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]
        assert one["bbox"] == tight == coco_mask.toBbox(one["segmentation"]).tolist()


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 2**27), min_size=2, max_size=9))
def test_long_runs_equal_pycocotools(counts):  # pycocotools itself has room for six characters a run
    theirs = coco_mask.frPyObjects({"size": [sum(counts), 1], "counts": counts}, sum(counts), 1)
    assert compress(np.array(counts)) == theirs["counts"].decode()


def test_coco_file_opens_in_pycocotools(tmp_path, capsys):
    (path,) = small().save(tmp_path / "a", ["coco"])
    coco = COCO(str(path))
    assert coco.loadCats(coco.getCatIds()) == [
        {"id": 1, "name": "sky", "supercategory": "class"},
        {"id": 2, "name": "tree", "supercategory": "class"},
        {"id": 3, "name": "wall, old", "supercategory": "class"},
    ]
    assert coco.imgs == {1: {"id": 1, "file_name": "a.jpg", "height": 2, "width": 3}}
    for one in coco.loadAnns(coco.getAnnIds(imgIds=1)):
        np.testing.assert_array_equal(coco.annToMask(one), small().labels == one["category_id"] - 1)
        assert one["iscrowd"] == 0


# overlay ---------------------------------------------------------------------------------------------------


def test_overlay_mixes_photo_and_colour_by_hand():
    image = np.full((400, 500, 3), 100, np.uint8)
    labels = np.zeros((400, 500), np.int64)
    labels[:, 250:] = 1
    picture = np.asarray(draw_overlay(image, labels, ["a", "b"], alpha=0.5, legend=False))
    assert picture.shape == (400, 500, 3)
    assert picture[5, 5].tolist() == [50, 107, 139]  # (100 + (0, 114, 178)) / 2
    assert picture[5, 495].tolist() == [165, 130, 50]  # (100 + (230, 159, 0)) / 2, halves to even
    assert picture[5, 249].max() < 60 and picture[399, 249].max() < 60  # the boundary is darker, to the last row
    np.testing.assert_array_equal(picture[:, 5], np.broadcast_to(picture[5, 5], (400, 3)))


def test_overlay_without_colour_is_the_photo():
    image = np.random.default_rng(0).integers(0, 256, (320, 330, 3), dtype=np.uint8)
    plain = np.zeros((320, 330), np.int64)
    np.testing.assert_array_equal(np.asarray(draw_overlay(image, plain, ["a"], 0, False)), image)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_overlay_refuses_an_impossible_alpha(alpha):
    with pytest.raises(OptionError, match="alpha"):
        small().overlay(alpha=alpha)


@pytest.mark.parametrize(
    ("size", "seen"),
    [
        ((375, 500), (375, 500)),
        ((1, 1), (320, 320)),
        ((30, 40), (240, 320)),
        ((3000, 4000), (1536, 2048)),
        ((20000, 3), (2048, 32)),
        ((3, 20000), (32, 2048)),
    ],
)
def test_view_sizes(size, seen):
    assert view_size(*size) == seen


@pytest.mark.parametrize("size", [(1, 1), (375, 500), (500, 375), (20000, 3), (3, 20000)])
@pytest.mark.parametrize("count", [1, 5, 60])
def test_legend_never_covers_the_picture_and_fits(size, count):
    labels = np.arange(size[0] * size[1]).reshape(size) % count
    classes = [f"a rather long class name {i}" for i in range(count)]
    result = result_of(labels, classes)
    bare, full = result.overlay(legend=False), result.overlay()
    assert bare.size == view_size(*size)[::-1]
    np.testing.assert_array_equal(np.asarray(full.crop((0, 0, *bare.size))), np.asarray(bare))
    assert full.width * full.height > bare.width * bare.height
    border = np.asarray(full)
    assert (border[-3:, -3:] == 255).all()
    legend = border[bare.height :] if full.width == bare.width else border[:, bare.width :]
    ink = np.argwhere((legend < 128).all(axis=2))
    assert len(ink) and (ink.min(axis=0) >= 2).all() and (ink.max(axis=0) < np.array(legend.shape[:2]) - 2).all()


def texts_of(result, monkeypatch):
    """What the legend writes, in order."""
    from PIL import ImageDraw

    written = []
    plain = ImageDraw.ImageDraw.text

    def spy(self, place, text, *rest, **options):
        written.append(text)
        return plain(self, place, text, *rest, **options)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", spy)
    result.overlay()
    return written


def test_legend_lists_what_occurs_by_share(monkeypatch):
    labels = np.zeros((50, 50), np.int64)
    labels[:10], labels[49, 49] = 3, 1
    written = texts_of(result_of(labels, ["sky", "speck", "absent", "sea"]), monkeypatch)
    assert written == ["sky", "80.0 %", "sea", "20.0 %", "speck", "< 0.1 %"]


def test_legend_ends_with_how_many_more(monkeypatch):
    labels = np.arange(2500).reshape(50, 50) % 25
    written = texts_of(result_of(labels, [f"c{i}" for i in range(25)]), monkeypatch)
    assert len(written) == 2 * 21 and written[:2] == ["c0", "4.0 %"]  # a tie: in the order of classes
    assert written[-2:] == ["and 5 more", "20.0 %"]


def test_long_names_are_cut(monkeypatch):
    (name, _) = texts_of(result_of([[0]], ["a house " * 1000]), monkeypatch)
    assert name.startswith("a house a") and name.endswith("…") and len(name) < 40


@pytest.mark.parametrize(
    ("name", "drawn"),
    [
        ("wall, old", "wall, old"),
        ("café crème", "cafe creme"),
        ("two\nlines\tand  more", "two lines and more"),
        ("child’s", "child’s"),
        ("汽车", "class 7"),
        ("taxi 汽车", "class 7"),
        ("bell\x07", "class 7"),
        ("", "class 7"),
        ("bad\udcff", "class 7"),
    ],
)
def test_drawable_names(name, drawn):
    assert drawable(name, 7) == drawn


def test_the_font_has_every_sign_that_counts_as_drawable():
    font = ImageFont.load_default(20)
    missing = bytes(font.getmask("\uffff"))
    for sign in [*map(chr, range(33, 127)), *"‘’“”«»…"]:
        assert drawable(sign, 7) in (sign, "...") and bytes(font.getmask(sign)) != missing


def test_overlay_is_deterministic():
    assert png_bytes(small().overlay()) == png_bytes(small().overlay())

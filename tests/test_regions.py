"""Region masks as inputs: files of one photo, folders and lists of many, and whose masks are whose."""

import json
import shlex
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from segloop.errors import ImageError, OptionError
from segloop.images.idmaps import Mask, ids_of, paint, read_ids
from segloop.images.program import program_of
from segloop.images.regions import open_regions
from segloop.results.coco import compress, run_lengths

IDS = np.array([[0, 0, 1, 1], [7, 7, 1, 1], [7, 7, 200, 200]])
SIZE = (3, 4)


def stack(*rows):
    """Masks of letters: one where a letter stands."""
    return np.array([[[sign == "#" for sign in line] for line in mask] for mask in rows])


OVERLAPPING = stack(["####", "####", "...."], ["##..", "....", "...."], ["..##", "..##", "..##"])
PAINTED = [[2 + 1, 3, 3, 3], [3, 3, 3, 3], [0, 0, 2, 2]]  # areas 8, 2 and 6: the smallest lies below the largest


def lengths(mask, text=True):
    counts = run_lengths(mask.astype(np.int64))[1]
    return {"size": list(mask.shape), "counts": compress(counts) if text else counts.tolist()}


# one file ---------------------------------------------------------------------------------------------------------


def test_larger_masks_lie_on_top():
    assert paint(map(Mask.of, OVERLAPPING), SIZE).tolist() == PAINTED
    alike = stack(["##..", "....", "...."], [".##.", "....", "...."], ["....", "....", "...."])
    assert paint(map(Mask.of, alike), SIZE)[0].tolist() == [2, 3, 3, 0]  # of equal areas the later; one has no pixel
    assert paint([], SIZE).tolist() == [[0] * 4] * 3


def test_a_mask_is_kept_within_its_box():
    mask = Mask.of(OVERLAPPING[2])
    assert (mask.top, mask.left, mask.inside.shape, mask.area) == (0, 2, (3, 2), 6)
    assert Mask.of(np.zeros(SIZE, bool)).area == 0


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.png", lambda path: Image.fromarray(IDS.astype(np.uint8)).save(path)),
        ("a16.png", lambda path: Image.fromarray(IDS.astype(np.uint16)).save(path)),
        ("p.PNG", lambda path: Image.fromarray(IDS.astype(np.uint8)).convert("P").save(path)),
        ("a.npy", lambda path: np.save(path, IDS)),
        ("u.npy", lambda path: np.save(path, IDS.astype(np.uint8))),
        ("a.npz", lambda path: np.savez(path, whatever=IDS)),
        ("b.npz", lambda path: np.savez_compressed(path, masks=IDS, boxes=np.zeros(4))),
    ],
)
def test_files_of_ids(tmp_path, name, write):
    if name == "p.PNG":
        picture = Image.fromarray(IDS.astype(np.uint8))
        picture.putpalette([3, 2, 1] * 256)
        write = lambda path: picture.save(path)  # noqa: E731
    write(tmp_path / name)
    found = read_ids(tmp_path / name, SIZE)
    assert found.dtype == np.int64 and found.tolist() == IDS.tolist()


def test_colours_are_panoptic_ids(tmp_path):
    ids = IDS * 70000  # beyond 16 bits
    colours = np.stack([ids & 255, ids >> 8 & 255, ids >> 16], -1).astype(np.uint8)
    Image.fromarray(colours).save(tmp_path / "a.png")
    assert read_ids(tmp_path / "a.png", SIZE).tolist() == ids.tolist()
    Image.fromarray(colours).convert("RGBA").save(tmp_path / "b.png")
    assert read_ids(tmp_path / "b.png", SIZE).tolist() == ids.tolist()


def test_files_of_overlapping_masks(tmp_path):
    np.save(tmp_path / "a.npy", OVERLAPPING)
    assert read_ids(tmp_path / "a.npy", SIZE).tolist() == PAINTED
    found = [{"segmentation": lengths(mask, text)} for mask, text in zip(OVERLAPPING, [True, False, True], strict=True)]
    for name, data in {"list.json": found, "sa.json": {"image": {"image_id": 1}, "annotations": found}}.items():
        (tmp_path / name).write_text(json.dumps(data))
        assert read_ids(tmp_path / name, SIZE).tolist() == PAINTED
    (tmp_path / "none.json").write_text("[]")
    assert not read_ids(tmp_path / "none.json", SIZE).any()


def test_polygons_are_masks_too(tmp_path):
    square = [[0, 0, 2, 0, 2, 2, 0, 2]]
    (tmp_path / "a.json").write_text(json.dumps([{"segmentation": square}, {"segmentation": []}]))
    assert read_ids(tmp_path / "a.json", SIZE).tolist() == [[2, 2, 0, 0], [2, 2, 0, 0], [0, 0, 0, 0]]


def test_arrays_and_tensors():
    assert ids_of(torch.from_numpy(IDS), "masks", SIZE).tolist() == IDS.tolist()
    assert ids_of(IDS - 1, "masks", SIZE).min() == -1
    assert ids_of(OVERLAPPING, "masks", SIZE).tolist() == PAINTED
    assert ids_of(IDS > 0, "masks", SIZE).max() == 1


def save16(path):
    """A PNG of 16 bits a colour, which Pillow does not write."""
    import cv2

    cv2.imwrite(str(path), np.full((*SIZE, 3), 300, np.uint16))


@pytest.mark.parametrize(
    ("name", "write", "words"),
    [
        ("a.npy", lambda path: np.save(path, IDS.T), r"3x4 pixels, its photo 4x3; .* turned as its EXIF"),
        ("a.png", lambda path: Image.new("L", (8, 6)).save(path), r"8x6 pixels, its photo 4x3; make masks .* resized"),
        ("a.npy", lambda path: np.save(path, IDS / 2), "float64, not whole numbers"),
        ("a.npy", lambda path: np.save(path, np.zeros((2, 3, 4))), r"shape \(2, 3, 4\); .* bool: array.astype"),
        ("a.npy", lambda path: np.save(path, np.zeros(4, int)), r"shape \(4,\)"),
        ("a.npy", lambda path: np.save(path, np.full(SIZE, 2**64 - 1, np.uint64)), "63 bits"),
        ("a.npy", lambda path: np.save(path, np.array([[{}] * 4] * 3)), "damaged, or no npy at all"),
        ("a.npy", lambda path: np.save(path, np.zeros((2, 4, 3), bool)), "3x4 pixels"),
        ("a.npz", lambda path: np.savez(path, a=IDS, b=IDS), "the arrays a, b; keep one, or call it masks"),
        ("a.npz", lambda path: path.write_bytes(b"PK nonsense"), "damaged, or no npz at all"),
        ("a.png", lambda path: Image.new("RGBA", (4, 3)).save(path), "transparent"),
        ("a.png", lambda path: Image.new("L", (4, 3)).save(path, "JPEG"), "damaged, or no png at all"),
        ("a.png", save16, "16 bits a colour"),
        ("a.png", lambda path: None, "there is no file of masks"),
        ("a.json", lambda path: path.write_text("{}"), "lists no masks"),
        ("a.json", lambda path: path.write_text("[1]"), "without run lengths or polygons"),
        ("a.json", lambda path: path.write_text('[{"segmentation": [[0, 0, 1, 1, 2, "x"]]}]'), "not pairs of numbers"),
        ("a.json", lambda path: path.write_text('[{"segmentation": {"counts": [3]}}]'), "a mask that cannot be read"),
        ("a.json", lambda path: path.write_text('[{"segmentation": {"size": [4, 3], "counts": [12]}}]'), "3x4 pixels"),
        ("a.json", lambda path: path.write_text("["), "damaged, or no json at all"),
        ("a.jpg", lambda path: path.write_text(""), "is no file of masks; give a PNG of ids"),
    ],
)
def test_what_is_refused(tmp_path, name, write, words):
    write(tmp_path / name)
    with pytest.raises(ImageError, match=words) as caught:
        read_ids(tmp_path / name, SIZE)
    assert name in str(caught.value)


# whose masks ------------------------------------------------------------------------------------------------------


@pytest.fixture
def masks(tmp_path):
    """A folder with id maps of 1, 2, 3 ... where files are named: masks("a.png", "b/c.png")."""

    def write(*names):
        for number, name in enumerate(names, start=1):
            path = tmp_path / "masks" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full(SIZE, number, np.uint8)).save(path, "PNG")
        return open_regions(tmp_path / "masks")

    return write


def test_the_longest_path_counts(masks):
    found = masks("c.png", "b/c.png", "x.jpg.png", "clip/000001.png", ".hidden.png")
    assert len(found.files) == 4
    for photo, number in {
        "a/b/c.jpg": 2,
        "a/c.jpg": 1,
        r"D:\photos\x.jpg": 3,
        "clip.mp4/000001": 4,
    }.items():
        assert found.read(photo, SIZE).max() == number
    assert found.read("a/c.jpg", SIZE).max() == 1  # as often as one likes


def test_two_photos_never_share_masks(masks):
    found = masks("c.png")
    found.read("a/c.jpg", SIZE)
    with pytest.raises(ImageError, match=r"c.png would be those of b/c.jpg and of .*a/c.jpg; put masks into"):
        found.read("b/c.jpg", SIZE)


def test_masks_that_are_missing(masks):
    with pytest.raises(ImageError, match=r"no masks of a/d.jpg in .*; add d.png there"):
        masks("c.png").read("a/d.jpg", SIZE)


def test_folders_that_say_nothing(tmp_path, masks):
    (tmp_path / "bare").mkdir()
    with pytest.raises(OptionError, match="bare holds no masks"):
        open_regions(tmp_path / "bare")
    with pytest.raises(OptionError, match="there are no masks at nowhere"):
        open_regions("nowhere")
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(OptionError, match=r"a\.txt is no file of masks"):
        open_regions(tmp_path / "a.txt")
    masks("c.png")
    np.save(tmp_path / "masks" / "c.npy", IDS)
    with pytest.raises(OptionError, match=r"holds the masks c\.npy and c\.png of one photo"):
        open_regions(tmp_path / "masks")


def test_one_file_is_one_photo_s(tmp_path):
    np.save(tmp_path / "a.npy", IDS)
    found = open_regions(tmp_path / "a.npy")
    assert found.read("photo.jpg", SIZE).tolist() == IDS.tolist()
    with pytest.raises(ImageError, match=r"holds the masks of one photo, which is photo\.jpg; give a folder"):
        found.read("other.jpg", SIZE)
    (tmp_path / "b.json").write_text(json.dumps([{"segmentation": lengths(OVERLAPPING[0])}]))
    assert open_regions(tmp_path / "b.json").read("photo.jpg", SIZE).sum() == 8


def coco(**changes):
    images = [{"id": 5, "file_name": "b/c.jpg"}, {"id": 6, "file_name": "d.jpg"}]
    found = [{"image_id": 5, "segmentation": lengths(mask)} for mask in OVERLAPPING]
    return {"images": images, "annotations": found} | changes


def test_one_file_of_many_photos(tmp_path):
    (tmp_path / "all.json").write_text(json.dumps(coco()))
    found = open_regions(tmp_path / "all.json")
    assert found.read("photos/b/c.jpg", SIZE).tolist() == PAINTED
    assert not found.read("d.jpg", SIZE).any()
    with pytest.raises(ImageError, match=r"all.json lists no image photos/c.jpg"):
        found.read("photos/c.jpg", SIZE)
    with pytest.raises(ImageError, match=r"all.json \(b/c\) is 4x3 pixels, its photo 4x4"):
        found.read("photos/b/c.jpg", (4, 4))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"images": [{"id": 5, "file_name": "c.jpg"}, {"id": 6, "file_name": "c.jpg"}]}, "lists two images c"),
        ({"images": [{"id": 5, "file_name": "c.jpg"}, {"id": 5, "file_name": "d.jpg"}]}, "two of the id 5"),
        ({"images": [{"id": 9, "file_name": "c.jpg"}]}, r"is no COCO file \(KeyError: 5\)"),
        ({"images": [1]}, "is no COCO file"),
    ],
)
def test_lists_that_are_none(tmp_path, changes, words):
    (tmp_path / "all.json").write_text(json.dumps(coco(**changes)))
    with pytest.raises(OptionError, match=words):
        open_regions(tmp_path / "all.json")
    (tmp_path / "all.json").write_text("{")
    with pytest.raises(OptionError, match="cannot be read"):
        open_regions(tmp_path / "all.json")


def test_digests_are_of_names_and_bytes(tmp_path, masks):
    first = masks("a.png", "b.png").digest()
    assert masks("a.png", "b.png").digest() == first
    (tmp_path / "masks" / "b.png").rename(tmp_path / "masks" / "c.png")
    second = open_regions(tmp_path / "masks").digest()
    Image.fromarray(np.full(SIZE, 9, np.uint8)).save(tmp_path / "masks" / "c.png")
    assert len({first, second, open_regions(tmp_path / "masks").digest()}) == 3


# programs ---------------------------------------------------------------------------------------------------------

HALVES = """
import sys
from PIL import Image
photo = Image.open(sys.argv[1])
ids = Image.new("L", photo.size, 1)
ids.paste(2, (0, 0, photo.width // 2, photo.height))
ids.save(sys.argv[2])
"""


@pytest.fixture
def program(tmp_path):
    """A command line that runs a script: program(text, "{photo} {out}")."""

    def write(script, words="{photo} {out}"):
        path = tmp_path / "a tool.py"
        path.write_text(script)
        return f"{shlex.quote(sys.executable)} '{path}' {words}"

    return write


def test_a_program_s_masks(program):
    run = program_of(program(HALVES))
    ids = run(np.zeros((4, 6, 3), np.uint8))
    assert ids.tolist() == [[2, 2, 2, 1, 1, 1]] * 4
    assert run.name.startswith("cmd: ") and run.name.endswith("{photo} {out}")
    first = run.fingerprint
    assert program_of(program(HALVES)).fingerprint == first
    assert program_of(program(HALVES + "# other")).fingerprint != first


def test_a_program_may_write_other_files(program):
    script = "import sys, numpy\nnumpy.save(sys.argv[1][6:], numpy.full((4, 6), 7))"
    assert program_of(program(script, "--out={out.npy} {photo}"))(np.zeros((4, 6, 3), np.uint8)).min() == 7


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("import sys\nprint('so', file=sys.stderr)\nsys.exit('no masks today.')", "ended with 1: no masks today; see"),
        ("", r"wrote no masks; see that it writes its masks to \{out\}"),
        (HALVES.replace("photo.size", "(3, 3)"), r"what cmd: .* wrote is 3x3 pixels, its photo 6x4"),
        ("import sys\nopen(sys.argv[2], 'w').write('x')", r"what cmd: .* wrote is damaged"),
    ],
)
def test_programs_that_fail(program, script, words):
    with pytest.raises(ImageError, match=words):
        program_of(program(script))(np.zeros((4, 6, 3), np.uint8))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("no-such-program-at-all {photo} {out}", "there is no program 'no-such-program-at-all'"),
        ("python {out}", r"names no \{photo\} or not one \{out\}; write it as"),
        ("python {photo}", "names no"),
        ("python {photo} {out} {out.npy}", "or not one"),
        ("python {photo} {out.jpg}", r"\{out.jpg\} is no file of masks"),
        ("python '{photo} {out}", "open quote"),
        ("", "names no"),
    ],
)
def test_commands_that_are_none(text, words):
    with pytest.raises(OptionError, match=words):
        program_of(text)


def test_nothing_of_a_command_is_expanded(program):
    script = HALVES + "assert sys.argv[3] == '$HOME;*'"
    assert program_of(program(script, "{photo} {out} '$HOME;*'"))(np.zeros((4, 6, 3), np.uint8)).min() == 1

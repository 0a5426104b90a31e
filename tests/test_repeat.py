"""`segloop segment` on many photos: folders, and a repeat that does what is not done, and nothing twice."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from command import complaint, done
from segloop.commands.finished import DONE

WORDS = ("--classes", "road, car|automobile, sky", "--format", "png,json")


@pytest.fixture
def folder(photos: Path, tmp_path: Path) -> Path:
    """Three photos in two folders, and a file that is none."""
    for name in ("street.jpg", "deep/meadow.png", "deep/street.jpg"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(photos / Path(name).name, tmp_path / "in" / name)
    (tmp_path / "in/notes.txt").write_text("no photo")
    return tmp_path / "in"


def told(result) -> dict[str, bool]:
    """The photos that a run in JSON lines names -> whether they were done before."""
    return {line["source"]: line.get("done") == "before" for line in map(json.loads, result.stdout.splitlines())}


def results(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*.*") if path.name != DONE}


def test_a_folder_is_all_below_it(segment, folder, tmp_path):
    done(segment(folder, *WORDS))
    assert set(results(tmp_path / "segloop-out")) == {
        f"{name}{end}" for name in ("street", "deep/meadow", "deep/street") for end in (".png", ".json")
    }


def test_a_folder_without_a_photo(segment, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "holds no photo" in complaint(segment("empty", *WORDS))


def test_results_below_the_folder_are_no_photos(segment, folder, tmp_path):
    done(segment(folder, *WORDS, "--out", folder / "results"))
    again = segment(folder, *WORDS, "--out", folder / "results", "--json")
    assert len(told(again)) == 3


def test_a_repeat_leaves_what_is_done(segment, folder, tmp_path):
    done(segment(folder, *WORDS))
    before = {path: os.stat(path).st_mtime_ns for path in (tmp_path / "segloop-out").rglob("*.png")}
    again = segment(folder, *WORDS, "--json")
    assert again.exit_code == 0 and all(told(again).values()) and len(told(again)) == 3
    assert "3 of 3 photos were done before" in again.stderr and "--overwrite" in again.stderr
    assert {path: os.stat(path).st_mtime_ns for path in before} == before


def test_a_repeat_does_what_is_missing_or_was_changed(segment, folder, tmp_path):
    """A new photo, a photo that changed, a result that was deleted, one that another run replaced."""
    done(segment(folder, *WORDS))
    out = tmp_path / "segloop-out"
    shutil.copy(folder / "street.jpg", folder / "new.jpg")
    shutil.copy(folder / "deep/meadow.png", folder / "street.jpg")
    (out / "deep/meadow.json").unlink()
    done(segment(folder / "deep/street.jpg", "--classes", "tree, wall", "--out", out / "deep"))
    expected = done(segment(folder, *WORDS, "--out", tmp_path / "fresh"))
    again = segment(folder, *WORDS, "--json")
    assert not any(told(again).values()) and len(told(again)) == 4, expected.output
    (out / "deep/street.overlay.png").unlink()  # of the other run
    assert results(out) == results(tmp_path / "fresh")


@pytest.mark.parametrize("changed", [("--classes", "road, sky"), ("--only", "sky"), ("--set", "stride=16")])
def test_other_words_and_constants_do_all_anew(segment, folder, changed):
    done(segment(folder, *WORDS))
    again = segment(folder, *WORDS, *changed, "--json")
    assert not any(told(again).values())


def test_overwrite_does_all_anew(segment, folder):
    done(segment(folder, *WORDS))
    assert not any(told(segment(folder, *WORDS, "--overwrite", "--json")).values())


def test_another_format_is_added(segment, folder, tmp_path):
    done(segment(folder, *WORDS))
    done(segment(folder, *WORDS, "--format", "npz"))
    assert len(list((tmp_path / "segloop-out").rglob("*.npz"))) == 3


def test_files_of_other_settings_that_stay_are_told(segment, folder, tmp_path):
    """Another filter writes PNG and JSON; the arrays of the first stay."""
    done(segment(folder, *WORDS, "--format", "png,json,npz"))
    again = segment(folder, *WORDS, "--only", "sky")
    (line,) = again.stderr.splitlines()
    assert line == "street.npz and 2 more of an earlier run stay as they are: they may be of other words or settings"
    done(segment(folder, *WORDS, "--format", "png,json,npz", "--out", "fresh"))
    repeated = segment(folder, *WORDS, "--out", "fresh")
    assert "may be of other" not in repeated.stderr and "done before" in repeated.stderr


def test_results_of_another_photo_that_are_replaced_are_told(segment, folder, tmp_path):
    first, second = tmp_path / "one" / "x.jpg", tmp_path / "two" / "x.jpg"
    for place in (first, second):
        place.parent.mkdir()
        shutil.copy(folder / "street.jpg", place)
    done(segment(first, *WORDS))
    done(segment(first, *WORDS))
    line = segment(second, *WORDS).stderr.strip()
    assert line == f"segloop-out/x was of {first}: results of {second} replace it; another --out keeps both"
    done(segment(second, *WORDS, "--out", "other"))


def test_the_coco_file_lists_all(segment, folder, tmp_path):
    """A photo that is done comes into the file of all photos by its map; those that are in it stay."""
    coco = (*WORDS[:2], "--format", "png,coco")
    done(segment(folder / "deep", *coco, "--out", "at-once"))
    done(segment(folder / "deep", *WORDS[:2], "--format", "png", "--out", tmp_path / "segloop-out"))
    assert all(told(segment(folder / "deep", *coco, "--json")).values())
    files = [Path(tmp_path, out, "annotations.coco.json").read_text() for out in ("at-once", "segloop-out")]
    assert files[0] == files[1]
    (tmp_path / "segloop-out/meadow.png").unlink()
    assert sorted(told(segment(folder / "deep", *coco, "--json")).values()) == [False, True]
    shutil.copy(folder / "street.jpg", folder / "deep/third.jpg")
    again = segment(folder / "deep", *coco, "--json")
    assert sorted(told(again).values()) == [False, True, True]
    listed = json.loads((tmp_path / "segloop-out/annotations.coco.json").read_text())["images"]
    assert [one["file_name"] for one in listed] == ["meadow.png", "street.jpg", "third.jpg"]


def test_one_photo_is_always_done(segment, folder, tmp_path):
    for _ in range(2):
        assert not any(told(segment(folder / "street.jpg", *WORDS, "--json")).values())
    assert not (tmp_path / "segloop-out" / DONE).exists()


@pytest.mark.parametrize("damage", [b'{"result": "street", "ma', b"[[[[", b'{"result": 3}\n', b"\xff\xfe\n"])
def test_half_a_line_is_no_line(segment, folder, tmp_path, damage):
    """As a run that was killed leaves it; what was said before it counts."""
    done(segment(folder, *WORDS))
    with open(tmp_path / "segloop-out" / DONE, "ab") as stream:
        stream.write(damage)
    shutil.copy(folder / "street.jpg", folder / "new.jpg")
    assert sorted(told(segment(folder, *WORDS, "--json")).values()) == [False, True, True, True]
    assert all(told(segment(folder, *WORDS, "--json")).values())


def test_failed_photos_are_tried_again(segment, folder, photos):
    (folder / "bad.jpg").write_bytes(b"no photo at all")
    assert segment(folder, *WORDS).exit_code == 3
    shutil.copy(photos / "street.jpg", folder / "bad.jpg")
    again = segment(folder, *WORDS, "--json")
    assert told(again)[str(folder / "bad.jpg")] is False and sorted(told(again).values()) == [False, True, True, True]


def test_a_file_of_that_name_that_is_not_ours_stays(segment, folder, tmp_path):
    (tmp_path / "segloop-out").mkdir()
    (tmp_path / "segloop-out" / DONE).write_text("my notes")
    assert DONE in complaint(segment(folder, *WORDS))


def test_threads(segment, folder, one_thread):
    import torch

    done(segment(folder / "street.jpg", *WORDS, "--threads", 2))
    assert torch.get_num_threads() == 2
    assert "--threads" in complaint(segment(folder / "street.jpg", *WORDS, "--threads", 100000))


def test_threads_that_wait_leave_the_processor_to_other_processes():
    """Set before torch is imported, unless the user has chosen."""
    code = "import os, sys; sys.argv = ['segloop', '--version']; from segloop.cli import main\n"
    code += "try: main()\nexcept SystemExit: print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    for chosen, expected in ({}, "passive"), ({"OMP_WAIT_POLICY": "active"}, "active"):
        others = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
        shown = subprocess.run([sys.executable, "-c", code], env={**others, **chosen}, capture_output=True, text=True)
        assert shown.stdout.splitlines()[-1] == f"{expected} False", shown.stderr

"""Nothing of the user's is lost: what segloop did not write is neither replaced nor removed, whatever it is called."""

import json
import os
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from command import WORDS, complaint, done, sentence
from records import write_run
from segloop.common.earlier import FAILURES, PART, is_a, is_free
from segloop.common.files import lands_at, write_whole
from segloop.errors import OptionError, OutputError
from segloop.evaluation.record import LAYOUT
from segloop.results import segmentation as results

posix = pytest.mark.skipif(os.name != "posix", reason="links, pipes and sockets of POSIX")
pytestmark = pytest.mark.usefixtures("one_thread")

MINE = b"of the user"


def mine(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(MINE)
    return path


def refused(result) -> str:
    """The sentence of a refusal, below what was said before it."""
    assert result.exit_code == 2 and result.stdout == "", result.output
    return sentence(result.stderr.splitlines()[-1])


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# one file ------------------------------------------------------------------------------------------------------


@posix
def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path):
    (tmp_path / "disk").mkdir()
    for there in (True, False):
        file = tmp_path / "disk" / f"{there}.txt"
        if there:
            mine(file)
        link = tmp_path / f"{there}.link"
        link.symlink_to(Path("disk") / file.name)
        write_whole(link, b"new")
        assert link.is_symlink() and file.read_bytes() == link.read_bytes() == b"new"
    assert len(list(tmp_path.rglob("*"))) == 5


@posix
def test_another_name_of_a_file_keeps_what_it_had(tmp_path):
    os.link(mine(tmp_path / "a"), tmp_path / "b")
    write_whole(tmp_path / "b", b"new")
    assert (tmp_path / "a").read_bytes() == MINE


def bind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(path))


STRANGE = {  # places that are no files of a disk
    "pipe": os.mkfifo if os.name == "posix" else None,
    "folder": Path.mkdir,
    "loop": lambda path: path.symlink_to(path.name),
    "null": lambda path: path.symlink_to(os.devnull),
    "socket": bind,
}


@posix
def test_what_is_no_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "odd").mkdir()
    for name, make in STRANGE.items():
        make(tmp_path / "odd" / name)
    for place in (*(tmp_path / "odd").iterdir(), Path(os.devnull)):
        before = os.lstat(place)
        with pytest.raises(OutputError):
            write_whole(place, b"new")
        with pytest.raises(OutputError):
            lands_at(place)
        assert os.lstat(place).st_ino == before.st_ino
    assert len(list((tmp_path / "odd").iterdir())) == 5


def test_kinds_know_their_own_and_nothing_else(tmp_path, street):
    result = results.Segmentation(
        labels=np.array([[0, 1]]), classes=["a", "b"], scores=None, share={"a": 0.5, "b": 0.5},
        confidence={"a": 0.5, "b": 0.5}, image=np.zeros((1, 2, 3), np.uint8), source="x.jpg",
        confidence_map=np.ones((1, 2), np.float32),
    )  # fmt: skip
    kinds = {name: row.kind for name, row in results.FORMATS.items() if not row.together}
    written = dict(zip(kinds, result.save(tmp_path / "x", list(kinds)), strict=True))
    others = [street, mine(tmp_path / "mine"), mine(tmp_path / "mine.json")]
    for path, data in {"list.json": [1], "labelme.json": {"shapes": []}}.items():
        (tmp_path / path).write_text(json.dumps(data))
        others.append(tmp_path / path)
    Image.new("P", (3, 3)).save(tmp_path / "mask.png")
    np.savez(tmp_path / "mine.npz", labels=np.zeros(3))
    others += [tmp_path / "mask.png", tmp_path / "mine.npz", tmp_path]
    for name, kind in kinds.items():
        assert [one for one, path in written.items() if is_a(path, kind)] == [name]
        assert not any(is_free(path, kind) for path in others)
        assert is_free(tmp_path / "nothing", kind)
    (tmp_path / "empty.png").touch()
    assert is_free(tmp_path / "empty.png", kinds["png"])  # as mktemp makes it


def test_lines_of_failures(tmp_path):
    path = tmp_path / "failed.jsonl"
    line = json.dumps({"source": "a", "error": "b", "remedy": "c"}) + "\n"
    for text, known in ((line * 3, True), (line + "my notes\n", False), ('{"source": "a"}\n', False), ("[]\n", False)):
        path.write_text(text)
        assert is_a(path, FAILURES) == known


# segment -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["street.png", "street.overlay.png", "street.json", "street.npz", "failed.jsonl"])
def test_a_file_of_the_user_beside_results(segment, street, tmp_path, name):
    own = mine(tmp_path / "out" / name)
    told = complaint(segment(street, *WORDS, "--out", "out", "--format", "png,overlay,json,npz"))
    assert f"out/{name} is there and is not what segloop wrote" in told
    assert everything(tmp_path / "out") == {str(own): MINE}
    if name == "failed.jsonl":
        complaint(segment(street, *WORDS, "--out", "out", "--overwrite"))
        assert own.read_bytes() == MINE
    else:
        done(segment(street, *WORDS, "--out", "out", "--format", "png,overlay,json,npz", "--overwrite"))
        done(segment(street, *WORDS, "--out", "out", "--format", "png,overlay,json,npz"))
        assert own.read_bytes() != MINE


def test_annotations_of_labelme_beside_a_photo(segment, street, tmp_path):
    shutil.copy(street, tmp_path / "a.jpg")
    (tmp_path / "a.json").write_text('{"version": "5", "shapes": [], "imagePath": "a.jpg"}')
    before = everything(tmp_path)
    assert "a.json is there" in complaint(segment("a.jpg", *WORDS, "--out", "."))
    assert everything(tmp_path) == before


@pytest.mark.parametrize("name", ["failed.jsonl", "street.json"])
def test_photos_and_class_files_are_never_results(segment, street, tmp_path, name):
    shutil.copy(street, tmp_path / "street.jpg")
    if name == "street.json":
        (tmp_path / name).write_text('["road", "sky"]')
        options = ("street.jpg", "--classes-file", name)
    else:
        shutil.copy(street, tmp_path / name)
        options = ("street.jpg", name, *WORDS)
    before = everything(tmp_path)
    for more in ((), ("--overwrite",)):
        assert "would replace the" in refused(segment(*options, "--out", ".", *more))
        assert everything(tmp_path) == before


@posix
def test_results_that_are_links_to_photos(segment, meadow, tmp_path):
    shutil.copy(meadow, tmp_path / "meadow.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "meadow.png").symlink_to("../meadow.png")
    for more in ((), ("--overwrite",)):
        assert "would replace the photo" in complaint(segment("meadow.png", *WORDS, "--out", "out", *more))
    assert (tmp_path / "meadow.png").read_bytes() == meadow.read_bytes()


@posix
@pytest.mark.parametrize("name", ["a.png", "a.json", "annotations.coco.json", "failed.jsonl"])
@pytest.mark.parametrize("kind", STRANGE)
def test_strange_places_of_results(segment, street, tmp_path, name, kind):
    shutil.copy(street, tmp_path / "a.jpg")
    (tmp_path / "out").mkdir()
    place = tmp_path / "out" / name
    STRANGE[kind](place)
    before = os.lstat(place).st_ino
    complaint(segment("a.jpg", *WORDS, "--out", "out", "--format", "png,json,coco", "--overwrite"))
    assert os.lstat(place).st_ino == before


@posix
def test_a_link_at_the_annotations_leads_on(segment, street, meadow, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "annotations.coco.json").symlink_to("../elsewhere/all.json")
    for photo in (street, meadow):
        done(segment(photo, *WORDS, "--out", "out", "--format", "coco"))
    assert (tmp_path / "out" / "annotations.coco.json").is_symlink()
    data = json.loads((tmp_path / "elsewhere" / "all.json").read_text())
    assert [image["file_name"] for image in data["images"]] == ["meadow.png", "street.jpg"]
    root = tmp_path / "elsewhere" / data["info"]["root"]
    assert all((root / image["file_name"]).is_file() for image in data["images"])
    assert sorted(os.listdir(tmp_path / "elsewhere")) == ["all.json"]


# inspect, scenes -----------------------------------------------------------------------------------------------


def test_an_inspection_replaces_only_another(segloop, toy_clip, street, tmp_path):
    command = ("inspect", street, *WORDS, "--clip", toy_clip, "--templates", "plain", "--out", "look")
    for _ in range(2):
        done(segloop(*command))
    made = everything(tmp_path / "look")
    picture = min(path.name for path in (tmp_path / "look" / "street").glob("*.png"))
    for name in ("street.inspect.html", "street.inspect.json", f"street/{picture}"):
        before = (tmp_path / "look" / name).read_bytes()
        mine(tmp_path / "look" / name)
        assert f"look/{name} is there" in complaint(segloop(*command))
        (tmp_path / "look" / name).write_bytes(before)
    assert everything(tmp_path / "look") == made


@pytest.mark.parametrize("name", ["images/000001.png", "masks/000000.png", "classes.txt", "captions.jsonl"])
def test_scenes_replace_only_scenes(segloop, tmp_path, name):
    for count in (1, 2, 2):
        assert segloop("scenes", "drawn", "--count", count, "--size", "32x32").exit_code == 0
    own = mine(tmp_path / "drawn" / name)
    before = everything(tmp_path / "drawn")
    assert f"drawn/{name} is there" in complaint(segloop("scenes", "drawn", "--count", 2, "--size", "32x32"))
    assert everything(tmp_path / "drawn") == before and own.read_bytes() == MINE


# report --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["md", "csv", "xlsx", "html"])
def test_a_report_replaces_only_a_report(segloop, tmp_path, form):
    if form == "xlsx":
        pytest.importorskip("openpyxl")
    write_run(tmp_path / "run")
    for more in ((), ("--digits", 2), ("--intervals",), ()):
        result = segloop("report", "run", "--out", f"r.{form}", *more)
        assert result.exit_code == 0, result.output
    with open(tmp_path / f"r.{form}", "ab" if form == "md" else "wb") as stream:
        stream.write(b"my own notes\n")
    before = everything(tmp_path)
    assert f"r.{form} is there" in complaint(segloop("report", "run", "--out", f"r.{form}"))
    assert everything(tmp_path) == before


@pytest.mark.parametrize("name", ["run.json", "classes.csv", "images.csv", "counts.npz", "log.json"])
@pytest.mark.parametrize("form", ["md", "csv"])
def test_a_report_never_replaces_a_run(segloop, tmp_path, name, form):
    write_run(tmp_path / "run")
    write_run(tmp_path / "other")
    (tmp_path / "link").symlink_to("run", target_is_directory=True)
    before = everything(tmp_path)
    for folder in ("run", "link"):
        complaint(segloop("report", "run", "--format", form, "--out", f"{folder}/{name}"))
    if name != "log.json":
        complaint(segloop("report", "run", "--format", form, "--out", f"other/{name}"))
    assert everything(tmp_path) == before


def test_tables_beside_a_report_are_looked_at_first(segloop, tmp_path):
    write_run(tmp_path / "run")
    own = tmp_path / "r.classes.csv"
    own.write_text("number,word\n0,sky\n")
    assert "r.classes.csv is there" in complaint(segloop("report", "run", "--out", "r.csv"))
    assert own.read_text() == "number,word\n0,sky\n" and not (tmp_path / "r.csv").exists()


# evaluate ------------------------------------------------------------------------------------------------------


def test_overwrite_begins_a_run_anew_and_nothing_else(evaluate, tmp_path):
    for name in ("maps/a.png", "classes.csv", "scores/x.npz", "parts/000000.npz", "notes/.x.0123abcd.part"):
        mine(tmp_path / "own" / name)
    before = everything(tmp_path / "own")
    assert "holds no run" in refused(evaluate("--out", "own", "--overwrite", "--limit", 2))
    assert everything(tmp_path / "own") == before


def test_what_the_user_put_into_a_run_stays(evaluate, tmp_path):
    kept = ("--limit", 2, "--save-maps", "--scores")
    assert evaluate("--out", "run", *kept).exit_code == 0
    own = [
        mine(tmp_path / "run" / name)
        for name in (
            "maps/notes.txt",
            "maps/own.png",
            "scores/own.npz",
            "report.md",
            "parts/x",
            ".x.part",
            "sub/.y.part",
        )
    ]
    (tmp_path / "run" / "parts" / "000000.npz").touch()
    (tmp_path / "run" / ".run.json.0123abcd.part").touch()
    assert evaluate("--out", "run", "--limit", 1, "--overwrite").exit_code == 0
    assert all(path.read_bytes() == MINE for path in own)
    left = {path.relative_to(tmp_path / "run").as_posix() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    record = {"run.json", "images.csv", "classes.csv", "counts.npz", "log.json", ".lock"}
    assert left - {".lock"} == record - {".lock"} | {path.relative_to(tmp_path / "run").as_posix() for path in own}


@pytest.mark.parametrize("name", ["maps/000001.png", "scores/000001.npz"])
def test_a_map_of_the_user_is_not_replaced(evaluate, tmp_path, name):
    assert evaluate("--out", "run", "--limit", 2, "--save-maps", "--scores").exit_code == 0
    mine(tmp_path / "run" / name)
    again = evaluate("--out", "run", "--limit", 2, "--save-maps", "--scores", "--overwrite")
    assert f"run/{name} is there" in refused(again)
    assert (tmp_path / "run" / name).read_bytes() == MINE


@pytest.mark.parametrize("name", LAYOUT.beside)
def test_a_run_that_goes_on_replaces_no_stranger(evaluate, tmp_path, name):
    run = json.loads((write_run(tmp_path / "run", state="running") / "run.json").read_text())
    assert run["state"] == "running"
    mine(tmp_path / "run" / name)
    assert f"run/{name} is there" in refused(evaluate("--out", "run", "--overwrite", "--limit", 2))
    assert (tmp_path / "run" / name).read_bytes() == MINE


def test_files_of_a_run_are_known(evaluate, tmp_path, drawn):
    data = Path(shutil.copytree(drawn, tmp_path / "data"))
    next((data / "images").iterdir()).write_text("no photo")
    assert evaluate("--out", "run", "--save-maps", "--scores", data=data).exit_code == 3
    assert all(is_a(tmp_path / "run" / name, kind) for name, kind in LAYOUT.beside.items())
    for folder, kind in LAYOUT.kept.items():
        found = [path for path in (tmp_path / "run" / folder).rglob("*") if path.is_file()]
        assert len(found) == 9 and all(is_a(path, kind) for path in found)


def test_kept_cosines_are_not_decided_into_their_own_folder(evaluate, segloop, tmp_path):
    assert evaluate("--out", "run", "--limit", 2, "--scores").exit_code == 0
    before = everything(tmp_path / "run")
    for more in ((), ("--overwrite",)):
        told = complaint(segloop("evaluate", "--from-scores", "run", "--out", "./run/", *more))
        assert "is the run whose cosines are read" in told
    assert everything(tmp_path / "run") == before


def test_label_maps_of_a_run_are_not_deleted_to_judge_it(evaluate, drawn, tmp_path):
    assert evaluate("--out", "run", "--limit", 3, "--save-maps").exit_code == 0
    (tmp_path / "data").mkdir()
    for name in ("images", "masks"):
        (tmp_path / "data" / name).mkdir()
    for path in sorted((tmp_path / "run" / "maps").rglob("*.png")):
        shutil.copy(drawn / "images" / path.name, tmp_path / "data" / "images")
    (tmp_path / "data" / "masks").rmdir()
    (tmp_path / "data" / "masks").symlink_to(next((tmp_path / "run" / "maps").rglob("*.png")).parent)
    shutil.copy(drawn / "classes.txt", tmp_path / "data")
    before = everything(tmp_path / "run")
    told = complaint(evaluate("--out", "run", "--overwrite", key="folder", data=tmp_path / "data"))
    assert "would delete the label maps" in told
    assert everything(tmp_path / "run") == before


def test_names_of_halves():
    assert PART.fullmatch(".run.json.0123abcd.part") and not PART.fullmatch(".movie.part")


def test_the_error_of_a_stranger_is_the_users(tmp_path):
    from segloop.common.earlier import check_replaced

    with pytest.raises(OptionError, match="is not what segloop wrote"):
        check_replaced({mine(tmp_path / "x"): FAILURES}, "move it away")

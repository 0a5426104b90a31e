"""Photos, words and options that cannot be used: one sentence with the remedy, and the right exit code."""

import errno
import json
import os
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from command import WORDS, complaint, done, left_over, record, sentence
from segloop import Segmenter
from segloop.common import console
from segloop.results import segmentation as results


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def claiming(side: int) -> bytes:
    """A PNG whose header claims side x side pixels in a few bytes."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"\0" * 100)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


# photos --------------------------------------------------------------------------------------------------------


@pytest.fixture
def bad(tmp_path, street):
    """Photos that are none: name -> what the sentence says."""
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("a photo of a street")
    (tmp_path / "cut.jpg").write_bytes(street.read_bytes()[:1500])
    (tmp_path / "bomb.png").write_bytes(claiming(50_000))
    return {
        "missing.jpg": ("missing.jpg", "check"),
        "folder.jpg": ("is a folder and holds no photo", "give another"),
        "empty.jpg": ("is empty", "again"),
        "text.jpg": ("is not a photo", "convert"),
        "cut.jpg": ("is damaged or cut off", "again"),
        "bomb.png": ("more pixels than is safe", "smaller"),
    }


@pytest.mark.parametrize("name", ["missing.jpg", "folder.jpg", "empty.jpg", "text.jpg", "cut.jpg", "bomb.png"])
def test_a_single_bad_photo(segment, bad, name):
    told = complaint(segment(name, *WORDS))
    assert all(part in told for part in bad[name]), told


def test_a_pattern_without_files(segment):
    told = complaint(segment("nothing/*.jpg", *WORDS))
    assert "no file matches 'nothing/*.jpg'" in told and "check the folder" in told


def test_in_a_list_the_good_ones_are_finished(segment, bad, street, meadow, tmp_path):
    first, *others = bad
    result = segment(first, street, *others, meadow, *WORDS, "--json")
    assert result.exit_code == 3
    assert [json.loads(line)["source"] for line in result.stdout.splitlines()] == [str(street), str(meadow)]
    *complaints, summary = result.stderr.splitlines()
    assert summary == "2 of 8 photos done; the others are in segloop-out/failed.jsonl"
    failed = [json.loads(line) for line in (tmp_path / "segloop-out/failed.jsonl").read_text().splitlines()]
    assert [line["source"] for line in failed] == list(bad)
    for line, told in zip(failed, complaints, strict=True):
        assert set(line) == {"source", "error", "remedy"}
        assert sentence(told) == f"error: {line['error']}; {line['remedy']}."


def test_only_bad_photos(segment, bad):
    result = segment(*bad, *WORDS)
    assert result.exit_code == 3 and result.stdout == ""


UNUSUAL = {
    "dot.png": Image.new("RGB", (1, 1), "red"),
    "thin.png": Image.new("RGB", (20_000, 3), "red"),
    "grey.png": Image.new("L", (40, 30), 90),
    "palette.png": Image.new("P", (40, 30), 3),
    "deep.png": Image.fromarray(np.full((30, 40), 40_000, np.uint16)),
    "print.jpg": Image.new("CMYK", (40, 30), (10, 200, 30, 0)),
    "bits.png": Image.new("1", (40, 30), 1),
    "glass.png": Image.new("RGBA", (40, 30), (10, 200, 30, 100)),
}


def test_unusual_photos_are_segmented(segment, tmp_path):
    for name, photo in UNUSUAL.items():
        photo.save(tmp_path / name)
    done(segment(*UNUSUAL, *WORDS, "--format", "png,overlay"))
    for name, photo in UNUSUAL.items():
        with Image.open(tmp_path / "segloop-out" / name.replace(".jpg", ".png")) as labels:
            assert labels.size == photo.size


# words ---------------------------------------------------------------------------------------------------------

WORD_FAULTS = {
    ("--classes", ""): ("no class is named", "write some"),
    ("--classes", "road,,sky"): ("class 2 has an empty name", "remove"),
    ("--classes", "road, sky, Road"): ("'Road' is named twice", "once"),
    ("--classes-file", "none.txt"): ("cannot read none.txt", "one class a line"),
    ("--classes-file", "empty.txt"): ("names no class", "one class a line"),
    ("--classes-file", "."): ("cannot read .", "one class a line"),
    ("--classes-file", "utf16.txt"): ("not UTF-8", "save it again"),
    (): ("none of --classes and --classes-file", "give one"),
    ("--classes", "road", "--classes-file", "empty.txt"): ("both of", "give one"),
    ("--classes", "background, road", "--background"): ("'background'", "leave out --background", "first"),
    ("--classes", "words.txt"): ("'words.txt' looks like a file", "--classes-file words.txt"),
    ("--classes", "road, Empty.JSON"): ("looks like a file", "--classes-file Empty.JSON"),
    ("--classes", "./words"): ("'./words' is a file", "--classes-file ./words"),
    ("--classes", "dog; puppy, cat"): ("commas and semicolons between them", "commas alone"),
    ("--classes", "road, traffic\nlight"): ("commas and ends of lines", "commas alone"),
    ("--classes-file", "street.jpg"): ("street.jpg is a JPEG, not a text", "one class a line"),
    (*WORDS, "--templates", "street.jpg"): ("street.jpg is a JPEG, not a text", "one template a line"),
    (*WORDS, "--templates", "none.txt"): ("cannot read none.txt", "one template a line, {} in each"),
    (*WORDS, "--templates", "words"): ("the template 'road' does not hold", "write {} where the name goes"),
    (*WORDS, "--templates", "{} or {}"): ("does not hold exactly one {}", "write {}"),
    (*WORDS, "--templates", "a photo"): ("does not hold exactly one {}", "as in 'a photo of a {}.'"),
    (*WORDS, "--templates", "openai8"): ("no template set 'openai8'", "did you mean 'openai80'?"),
}


@pytest.mark.parametrize("command", ["segment", "inspect", "label", "evaluate"])
def test_a_command_that_is_refused_leaves_nothing(segloop, street, drawn, tmp_path, command):
    what = ("scenes", "--data", drawn) if command == "evaluate" else (street, *WORDS)
    for wrong in (("--clip", "no/model", "--offline"), ("--clip", "tiny", "--set", "strid=2")):
        assert segloop(command, *what, *wrong, "--out", "a/b").exit_code == 2
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", WORD_FAULTS, ids=" ".join)
def test_words_that_cannot_be_used(segloop, street, tmp_path, options):
    (tmp_path / "empty.txt").write_text("# nothing\n\n")
    (tmp_path / "words").write_text("road\n")
    Image.new("RGB", (8, 8)).save(tmp_path / "street.jpg")
    (tmp_path / "utf16.txt").write_text("road", encoding="utf-16")
    told = complaint(segloop("segment", street, *options))
    assert all(part in told for part in WORD_FAULTS[options]), told
    assert not (tmp_path / "segloop-out").exists()


# options -------------------------------------------------------------------------------------------------------

OPTION_FAULTS = {
    ("--method", "naclp"): ("unknown method 'naclp'", "did you mean 'naclip'?"),
    ("--method", "qq+"): ("unknown method 'qq+'", "such as 'qq+kk'"),
    ("--recipe", "sclip/voc2"): ("unknown recipe", "did you mean 'sclip/voc2"),
    ("--recipe", "sclip/voc21"): ("no background class", 'put a class "background" first', "area_threshold=none"),
    ("--format", "pgn"): ("no format 'pgn'", "did you mean 'png'?"),
    ("--format", ""): ("no format ''", "choose one of png"),
    ("--dtype", "float8"): ("unknown dtype 'float8'", "bfloat16"),
    ("--device", "gpu"): ("unknown device 'gpu'", "cuda"),
    ("--fidelity", "exact"): ("unknown fidelity 'exact'", "reference"),
    ("--fidelity", "reference", "--dtype", "bfloat16"): ("reference fidelity with bfloat16", "float32"),
    ("--set", "strid=80"): ("'strid'", "did you mean 'stride'?"),
    ("--set", "stride"): ("'stride' has no value", "--set stride=56"),
    ("--set", "stride=wide"): ("stride=wide", "a whole number"),
    ("--set", "stride=none"): ("'stride' cannot be off", "value"),
    ("--set", "stride=0"): ("stride=0 is not possible", "at least 1"),
    ("--set", "background_threshold=2"): ("background_threshold=2.0", "between 0 and 1"),
}


@pytest.mark.parametrize("options", OPTION_FAULTS, ids=" ".join)
def test_options_that_cannot_be_used(segment, street, options):
    told = complaint(segment(street, *WORDS, *options))
    assert all(part in told for part in OPTION_FAULTS[options]), told


@pytest.mark.parametrize("size", ["big", "64", "64x", "8x8"])
def test_scenes_of_no_size(segloop, size):
    told = complaint(segloop("scenes", "drawn", "--size", size))
    assert "size" in told and ("192x256" in told or "at least 16 pixels" in told)


def test_what_the_parser_refuses_is_the_users_mistake(segloop, street):
    for options in (["--batch", "0"], ["--no-such-option"], ["--batch", "many"]):
        result = segloop("segment", street, *WORDS, *options)
        assert result.exit_code == 2 and options[0] in result.stderr and result.stdout == ""
    assert segloop("segmnt").exit_code == 2


# where results go ----------------------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_written(segment, street, tmp_path):
    (tmp_path / "file").write_text("in the way")
    told = complaint(segment(street, *WORDS, "--out", "file/below"))
    assert "cannot write file/below" in told and "another folder with --out" in told
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.parametrize("link", [False, True], ids=["plain", "link"])
def test_a_result_never_replaces_a_photo(segment, meadow, tmp_path, link):
    (tmp_path / "photos").mkdir()
    photo = tmp_path / "photos/meadow.png"
    photo.write_bytes(meadow.read_bytes())
    out = tmp_path / "photos"
    if link:
        out = tmp_path / "link"
        out.symlink_to("photos", target_is_directory=True)
    told = complaint(segment("photos/meadow.png", *WORDS, "--out", out))
    assert "would replace the photo photos/meadow.png" in told and "another --out" in told
    assert photo.read_bytes() == meadow.read_bytes()
    done(segment("photos/meadow.png", *WORDS, "--out", out, "--format", "json"))
    assert sorted(os.listdir(tmp_path / "photos")) == ["meadow.json", "meadow.png"]


# what goes wrong on the way ------------------------------------------------------------------------------------


def failing(monkeypatch, error: BaseException, after: int = 0) -> None:
    """Renaming a finished file fails with `error`, after some that succeed."""
    rename, calls = os.replace, []

    def replace(source, target):
        if "segloop-out" in str(target) and not str(target).endswith("writable"):
            calls.append(target)
            if len(calls) > after:
                raise error
        rename(source, target)

    monkeypatch.setattr(os, "replace", replace)


def test_a_full_disk_is_the_machines_fault(segment, street, tmp_path, monkeypatch):
    failing(monkeypatch, OSError(errno.ENOSPC, "No space left on device"), after=1)
    told = complaint(segment(street, *WORDS), code=1)
    assert "the disk is full, segloop-out/street.overlay.png was not written" in told and "free some space" in told
    assert os.listdir(tmp_path / "segloop-out") == ["street.png"]


def test_ctrl_c_while_writing(segment, photos, tmp_path, monkeypatch):
    failing(monkeypatch, KeyboardInterrupt(), after=4)
    result = segment(photos / "*", *WORDS, "--batch", 1)
    assert result.exit_code == 130
    assert result.stderr == "stopped by Ctrl-C; what was finished is kept\n"
    out = tmp_path / "segloop-out"
    assert sorted(os.listdir(out)) == ["done.jsonl", "meadow.json", "meadow.overlay.png", "meadow.png", "street.png"]
    assert not left_over(out) and record(out / "meadow")["source"] == str(photos / "meadow.png")


def test_memory_that_runs_out(segment, street, monkeypatch):
    def run(*_, **__):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr(Segmenter, "stream", run)
    told = complaint(segment(street, *WORDS), code=1)
    assert "memory ran out" in told and "--batch" in told


def surprise(*_, **__):
    raise ZeroDivisionError("two\nlines")


def test_a_surprise_ends_in_one_sentence(segment, street, monkeypatch):
    monkeypatch.setitem(results.FORMATS, "png", replace(results.FORMATS["png"], encode=surprise))
    result = segment(street, *WORDS)
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ZeroDivisionError: two;") and "--debug" in line


def test_debug_shows_the_traceback_and_keeps_the_exit_code(segment, street, monkeypatch):
    result = segment(street, *WORDS, "--debug", "--method", "naclp")
    assert result.exit_code == 2
    assert "Traceback (most recent call last)" in result.stderr
    assert "did you mean 'naclip'" in result.stderr.splitlines()[-1]
    monkeypatch.setitem(results.FORMATS, "png", replace(results.FORMATS["png"], encode=surprise))
    result = segment(street, *WORDS, "--debug")
    assert result.exit_code == 1 and "in surprise" in result.stderr


def test_a_warning_is_a_sentence(segment, street, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SEGLOOP_CACHE", str(tmp_path / "file"))
    result = segment(street, *WORDS)
    assert result.exit_code == 0
    (line,) = result.stderr.splitlines()
    assert line.startswith("warning: text embeddings are not kept for the next time: cannot write")


def test_a_full_disk_below_stdout():
    sentence_, code = console.explain(OSError(errno.ENOSPC, "No space left on device"))
    assert code == console.OURS and "the disk is full; free some space" in sentence_

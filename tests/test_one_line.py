"""One photo that cannot be used costs one line, whatever is wrong with it: memory, pipes, links, names."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from command import WORDS, complaint, done, sentence
from records import write_run
from runs import record_of
from segloop import Segmenter
from segloop.common.attempts import Line, attempt
from segloop.data.datasets import OpenDataset
from segloop.errors import ImageError, TooLargeError, VocabularyError
from segloop.line import steps
from segloop.results import segmentation as results
from segloop.words.read import read_classes

posix = pytest.mark.skipif(os.name != "posix", reason="links and pipes of POSIX")
pytestmark = pytest.mark.usefixtures("one_thread")

OUT_OF_MEMORY = {
    "numpy": MemoryError("Unable to allocate 1.26 GiB for an array"),
    "torch": RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: 9 bytes"),
    "cuda": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
}


@pytest.fixture(params=OUT_OF_MEMORY)
def out_of_memory(request) -> Exception:
    return OUT_OF_MEMORY[request.param]


def failing_on(name: str, error: Exception, do):
    """`do`, unless one of its arguments, or their parts, comes from a file of this name."""

    def about(value: object) -> bool:
        if isinstance(value, (list, tuple)):
            return any(map(about, value))
        return Path(str(getattr(value, "source", value))).stem == name

    def maybe(*arguments, **options):
        if about(arguments):
            raise error
        return do(*arguments, **options)

    return maybe


# trying --------------------------------------------------------------------------------------------------------


def test_memory_is_the_photos_error_and_nothing_else_is_caught(out_of_memory):
    def fail():
        raise out_of_memory

    found = attempt(fail, "a.jpg")
    assert isinstance(found, TooLargeError) and "a.jpg" in found.what and found.exit_code == 1
    assert found.__context__ is found.__cause__ is None  # nothing of what was in memory is held
    assert attempt(lambda: 3, "a.jpg") == 3
    assert "the photo" in str(attempt(fail, np.zeros((2, 2, 3))))
    for error in (ZeroDivisionError(), RuntimeError("shapes differ"), KeyboardInterrupt()):

        def other(error=error):
            raise error

        with pytest.raises(type(error)):
            attempt(other, "a.jpg")


def test_what_does_not_fit_together_fits_alone():
    def double(some):
        if len(some) > 1 or "big" in some:
            raise MemoryError
        return [2 * one for one in some]

    failed = []
    line = Line(str.strip, double, lambda one, two: (one, two))
    found = list(line.results([" a", "big", "b ", "c"], lambda some: len(some) == 3, lambda *one: failed.append(one)))
    assert found == [("a", "aa"), ("b", "bb"), ("c", "cc")]
    ((photo, error),) = failed
    assert photo == "big" and isinstance(error, ImageError)
    assert list(line.results([], bool, print)) == []


# segment -------------------------------------------------------------------------------------------------------


@pytest.fixture
def three(tmp_path, street) -> list[str]:
    for name in ("a.jpg", "big.jpg", "c.jpg"):
        shutil.copy(street, tmp_path / name)
    return ["a.jpg", "big.jpg", "c.jpg"]


@pytest.mark.parametrize("stage", ["read", "tiles", "decide", "save"])
def test_memory_that_runs_out_on_one_photo(segment, three, tmp_path, monkeypatch, out_of_memory, stage):
    place, name = {
        "read": (steps, "read_image"),
        "tiles": (Segmenter, "tiles"),
        "decide": (Segmenter, "_decide"),
        "save": (results.Segmentation, "overlay"),
    }[stage]
    monkeypatch.setattr(place, name, failing_on("big", out_of_memory, getattr(place, name)))
    result = segment(*three, *WORDS)
    assert result.exit_code == 3
    told, summary = result.stderr.splitlines()
    assert sentence(told).startswith("error: memory ran out on big.jpg; make it smaller first")
    assert summary == "2 of 3 photos done; the others are in segloop-out/failed.jsonl"
    assert [line.partition(" -> ")[0] for line in result.stdout.splitlines()] == ["a.jpg", "c.jpg"]
    (line,) = map(json.loads, (tmp_path / "segloop-out/failed.jsonl").read_text().splitlines())
    assert line["source"] == "big.jpg" and "--batch" in line["remedy"]
    alone = segment("big.jpg", *WORDS)
    assert sentence(alone.stderr.strip()) and alone.exit_code == 1


def test_the_others_are_as_if_it_had_not_been_there(segment, three, tmp_path, monkeypatch):
    done(segment("a.jpg", "c.jpg", *WORDS, "--out", "without", "--dtype", "float32"))
    monkeypatch.setattr(Segmenter, "tiles", failing_on("big", MemoryError(), Segmenter.tiles))
    assert segment(*three, *WORDS, "--out", "with", "--dtype", "float32").exit_code == 3
    for name in ("a.png", "c.png"):
        assert (tmp_path / "with" / name).read_bytes() == (tmp_path / "without" / name).read_bytes()


@posix
def test_odd_files_among_photos(segment, three, tmp_path):
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "null.jpg").symlink_to(os.devnull)
    bad = ("loop.jpg", "pipe.jpg", "null.jpg")
    result = segment(*bad, "a.jpg", *WORDS)
    assert result.exit_code == 3 and len(result.stdout.splitlines()) == 1
    *told, _ = result.stderr.splitlines()
    for line, name in zip(told, bad, strict=True):
        assert name in sentence(line)


@posix
@pytest.mark.parametrize("letter", ["n", "ü"])
def test_a_name_too_long_for_its_results(segment, street, tmp_path, letter):
    name = letter * (251 // len(letter.encode())) + ".jpg"
    for copy in (name, "street.jpg"):
        shutil.copy(street, tmp_path / copy)
    result = segment(name, "street.jpg", *WORDS, "--json")
    assert result.exit_code == 3 and len(result.stdout.splitlines()) == 1
    assert "name that is too long for its results; shorten it" in result.stderr.splitlines()[0]
    written = os.listdir(tmp_path / "segloop-out")
    assert sorted(written) == ["done.jsonl", "failed.jsonl", "street.json", "street.overlay.png", "street.png"]
    done(segment(name, *WORDS, "--format", "png", "--out", "short"))
    assert "shorten it" in complaint(segment(name, *WORDS))


# evaluate ------------------------------------------------------------------------------------------------------


@pytest.fixture
def own(drawn, tmp_path) -> Path:
    return Path(shutil.copytree(drawn, tmp_path / "own"))


def failed(folder: Path) -> dict[str, str]:
    lines = map(json.loads, (folder / "failed.jsonl").read_text().splitlines())
    return {Path(line["source"]).stem: line["error"] for line in lines}


def memory_of(sample_name: str, error: Exception, do):
    """`Opened.truth` that fails for one sample."""

    def truth(data, sample, size=None):
        if sample.name == sample_name and size is not None:
            raise error
        return do(data, sample, size)

    return truth


@pytest.mark.parametrize("stage", ["read", "tiles", "decide", "mask"])
def test_memory_that_runs_out_on_one_image(evaluate, own, tmp_path, monkeypatch, stage):
    error = OUT_OF_MEMORY["torch"]
    if stage == "mask":
        monkeypatch.setattr(OpenDataset, "truth", memory_of("000004", error, OpenDataset.truth))
    else:
        place, name = {
            "read": (steps, "read_image"),
            "tiles": (Segmenter, "tiles"),
            "decide": (Segmenter, "score_map"),
        }[stage]
        monkeypatch.setattr(place, name, failing_on("000004", error, getattr(place, name)))
    result = evaluate("--out", "run", "--dtype", "float32", data=own)
    assert result.exit_code == 3, result.output
    assert list(failed(tmp_path / "run")) == ["000004"]
    run = json.loads((tmp_path / "run/run.json").read_text())
    assert (run["images"], run["failed"]) == (9, 1)


def test_neighbours_that_did_not_fit_beside_it_are_counted(evaluate, own, tmp_path, monkeypatch):
    assert evaluate("--out", "whole", "--dtype", "float32", "--batch", 1, data=own).exit_code == 0
    tiles = Segmenter.tiles

    def one_at_a_time(self, photos, text):
        if len(photos) > 1:
            raise MemoryError
        return tiles(self, photos, text)

    monkeypatch.setattr(Segmenter, "tiles", one_at_a_time)
    assert evaluate("--out", "run", "--dtype", "float32", data=own).exit_code == 0
    whole, run = record_of(tmp_path / "whole"), record_of(tmp_path / "run")
    assert {name: whole[name] == run[name] for name in whole} == {
        "run.json": False,  # another batch is another run
        "images.csv": True,
        "counts.npz": True,
        "classes.csv": True,
    }


def test_a_first_label_map_too_large_stops_nothing(evaluate, own, tmp_path, monkeypatch):
    truth = OpenDataset.truth

    def first_fails(data, sample, size=None):
        if sample.name == "000000":
            raise MemoryError
        return truth(data, sample, size)

    monkeypatch.setattr(OpenDataset, "truth", first_fails)
    assert evaluate("--out", "run", data=own).exit_code == 3
    assert list(failed(tmp_path / "run")) == ["000000"]


@posix
def test_pipes_and_devices_among_images_and_label_maps(evaluate, own, tmp_path):
    for place, make in {
        "images/000001.png": os.mkfifo,
        "images/000002.png": lambda path: path.symlink_to(os.devnull),
        "masks/000003.png": os.mkfifo,
        "masks/000005.png": lambda path: path.symlink_to(os.devnull),
    }.items():
        (own / place).unlink()
        make(own / place)
    for key, out in (("scenes", "run"), ("folder", "own run")):
        result = evaluate("--out", out, key=key, data=own)
        assert result.exit_code == 3, result.output
        told = failed(tmp_path / out)
        assert list(told) == ["000001", "000002", "000003", "000005"]
        assert all("is a pipe or a device, not a file" in error for error in told.values())


# other inputs --------------------------------------------------------------------------------------------------


@posix
def test_class_files_that_are_pipes(segloop, street, tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    for place in ("pipe.txt", os.devnull):
        told = complaint(segloop("segment", street, "--classes-file", place))
        assert "it is a pipe or a device" in told


@pytest.mark.skipif(not os.path.exists("/dev/fd"), reason="a shell's <(...)")
def test_a_pipe_that_is_open_already_is_read(monkeypatch):
    reader, writer = os.pipe()
    os.write(writer, b"road\nsky\n")
    os.close(writer)
    try:
        assert list(read_classes(f"/dev/fd/{reader}").names) == ["road", "sky"]
    finally:
        os.close(reader)
    with open("/dev/zero", "rb") as endless, pytest.raises(VocabularyError, match="does not end"):
        read_classes(f"/dev/fd/{endless.fileno()}")


@posix
@pytest.mark.parametrize("name", ["run.json", "images.csv", "classes.csv", "counts.npz", "log.json"])
def test_records_that_are_pipes(segloop, tmp_path, name):
    write_run(tmp_path / "runs" / "run")
    (tmp_path / "runs" / "run" / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / "runs" / "run" / name)
    for place in ("runs", "runs/run"):
        result = segloop("report", place)
        assert result.exit_code == (0 if name == "log.json" else 2), result.output


def test_a_picture_of_any_size_says_its_name(tmp_path, monkeypatch):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")

    def load(_):
        raise MemoryError

    monkeypatch.setattr(Image.Image, "load", load)
    with pytest.raises(TooLargeError, match=r"a\.png does not fit into memory"):
        steps.read_image(tmp_path / "a.png")

"""`segloop label --dedup`: photos of the same bytes are labelled once, whatever happens to the run."""

import csv
import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from command import complaint, done
from runs import killed_at
from segloop.labelling.copies import copies_of
from segloop.sources.find import photos_of

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def source(drawn: Path, tmp_path: Path) -> Path:
    """Ten photos, copies of some, and two that are equal and cannot be used."""
    folder = tmp_path / "source"
    shutil.copytree(drawn / "images", folder)
    for copy, original in (("000000-b", "000003"), ("a/x", "000001"), ("a/y", "000001"), ("a/z", "000009")):
        (folder / f"{copy}.png").parent.mkdir(exist_ok=True)
        shutil.copy(folder / f"{original}.png", folder / f"{copy}.png")
    for name in ("000005-empty", "a/empty"):
        (folder / f"{name}.png").touch()
    os.mkfifo(folder / "pipe.png")
    return folder


@pytest.fixture
def words(toy_clip: Path, drawn: Path, source: Path):
    """Arguments of a labelling of the source."""

    def arguments(out: str, *others: object) -> list[str]:
        clip = ("--clip", toy_clip, "--templates", "plain", "--threads", 1, "--shard", 2)
        classes = ("--classes-file", drawn / "classes.txt")
        return [str(word) for word in ("label", source, *classes, "--out", source.parent / out, *clip, *others)]

    return arguments


def files_of(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in ("log.json", ".lock")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def test_the_first_by_name_is_the_original(source):
    found = copies_of(photos_of(str(source)))
    names = [photo.name for photo in found.photos]
    assert names[found.originals :] == ["000003", "a/x", "a/y", "a/empty", "a/z"]
    assert [names[place] for place in found.of] == ["000000-b", "000001", "000001", "000005-empty", "000009"]
    assert found.shards(5) == [slice(0, 5), slice(5, 10), slice(10, 12), slice(12, 17)]


def test_copies_have_maps_and_lines_of_their_own(segloop, words, source, tmp_path):
    told = segloop(*words("run", "--dedup", "--format", "coco,confidence"))
    assert told.exit_code == 3 and "3 photos could not be used" in told.stderr
    assert segloop(*words("each", "--format", "coco,confidence")).exit_code == 3
    folder = tmp_path / "run"
    pairs = {row["photo"]: row["same_as"] for row in rows(folder / "copies.csv")}
    assert pairs == {"000003": "000000-b", "a/x": "000001", "a/y": "000001", "a/z": "000009", "a/empty": "000005-empty"}
    for kind in ("labels", "confidence"):
        assert files_of(folder / kind) == files_of(tmp_path / "each" / kind)
    assert sorted(map(str, rows(folder / "photos.csv"))) == sorted(map(str, rows(tmp_path / "each" / "photos.csv")))
    failed = [json.loads(line)["source"] for line in (folder / "failed.jsonl").read_text().splitlines()]
    assert sorted(Path(name).name for name in failed) == ["000005-empty.png", "empty.png", "pipe.png"]
    assert json.loads((folder / "log.json").read_text())["starts"][0]["images"] == 17
    again = segloop(*words("run", "--dedup", "--format", "confidence"))
    assert "holds this labelling, done" in again.stderr
    assert "dedup on there, none now" in complaint(segloop(*words("run", "--format", "confidence")))


def test_networks_see_each_once(segloop, words, monkeypatch):
    from segloop import Segmenter

    seen, real = [], Segmenter.tiles
    monkeypatch.setattr(Segmenter, "tiles", lambda self, photos, text: seen.extend(photos) or real(self, photos, text))
    assert segloop(*words("run", "--dedup")).exit_code == 3
    assert len(seen) == 10


@pytest.mark.parametrize("point", np.random.default_rng(31).choice(np.arange(4, 50), 2, replace=False).tolist())
def test_a_killed_run_ends_as_the_others(segloop, words, tmp_path, point):
    assert segloop(*words("whole", "--dedup")).exit_code == 3
    assert killed_at(point, words("torn", "--dedup"), tmp_path) == -signal.SIGKILL
    assert segloop(*words("torn", "--dedup")).exit_code == 3
    assert files_of(tmp_path / "torn") == files_of(tmp_path / "whole")


def test_a_copy_that_was_mended_is_no_copy_any_more(segloop, words, source, tmp_path):
    assert segloop(*words("run", "--dedup")).exit_code == 3
    (source / "pipe.png").unlink()
    for name, kept in (("pipe", "000002"), ("000005-empty", "000004"), ("a/empty", "000002")):
        shutil.copy(source / f"{kept}.png", source / f"{name}.png")
    done_again = segloop(*words("run", "--dedup", "--retry-failed"))
    assert done_again.exit_code == 0, done_again.output
    done(segloop(*words("each")))
    assert files_of(tmp_path / "run" / "labels") == files_of(tmp_path / "each" / "labels")

"""`segloop label`: sources, maps and tables, runs that go on."""

import csv
import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from command import complaint, done
from runs import TIMEOUT, killed_at, wait_for
from segloop import Segmenter, label
from segloop.errors import ImageError, OptionError
from segloop.labelling.outcomes import Labelled, Unlabelled, decode, encode
from segloop.runs.forecast import duration
from segloop.sources.find import photos_of

RESULTS = ("run.json", "photos.csv", "classes.csv")


@pytest.fixture
def source(drawn: Path, tmp_path: Path) -> Path:
    """Ten photos in two folders, and a file that is none."""
    for number, photo in enumerate(sorted((drawn / "images").iterdir())):
        place = tmp_path / "source" / ("deep/er" if number % 2 else ".") / photo.name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(photo, place)
    (tmp_path / "source" / "notes.md").write_text("no photo")
    return tmp_path / "source"


@pytest.fixture
def words(toy_clip: Path, drawn: Path, source: Path):
    """Arguments of a labelling of the source in five shards."""

    def arguments(out: str, *others: object) -> list[str]:
        clip = ("--clip", toy_clip, "--templates", "plain", "--threads", 1, "--shard", 2)
        classes = ("--classes-file", drawn / "classes.txt")
        return [str(word) for word in ("label", source, *classes, "--out", source.parent / out, *clip, *others)]

    return arguments


def results_of(folder: Path) -> dict[str, bytes]:
    """All that a labelling's inputs determine."""
    maps = [path for path in (folder / "labels").rglob("*") if path.is_file()]
    parts = list((folder / "parts").iterdir())
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in (*maps, *parts, *map(folder.joinpath, RESULTS))
    }


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


# sources ---------------------------------------------------------------------------------------------------------


def test_a_folder_is_all_below_it(source):
    (source / ".hidden").mkdir()
    shutil.copy(source / "000000.png", source / ".hidden" / "x.png")
    found = photos_of(str(source))
    assert found.root == str(source) and len(found) == 10
    assert [photo.name for photo in found][:2] == ["000000", "000002"]
    assert list(found.paths)[-1] == "deep/er/000009.png"
    assert len(photos_of(str(source), but=source / "deep")) == 5


def test_photos_of_one_name_keep_their_suffix(source):
    shutil.copy(source / "000000.png", source / "000000.JPG")
    names = {photo.name for photo in photos_of(str(source))}
    assert {"000000.png", "000000.JPG"} <= names and "000002" in names


@pytest.mark.parametrize("name", ["list.txt", "list.csv", "list.tsv"])
def test_lists_and_tables(source, name):
    lines = {
        "list.txt": "# mine\n000000.png\n\ndeep/er/000001.png\n000000.png\n",
        "list.csv": "id,Path\n1,000000.png\n2,deep/er/000001.png\n",
        "list.tsv": "id\tfile_name\n1\t000000.png\n2\tdeep/er/000001.png\n",
    }
    (source / name).write_text(lines[name])
    assert tuple(photos_of(str(source / name)).paths) == ("000000.png", "deep/er/000001.png")


def test_patterns_and_single_photos(source):
    assert tuple(photos_of(str(source / "**" / "*1.png")).paths) == ("000001.png",)
    assert tuple(photos_of(str(source / "000000.png")).paths) == ("000000.png",)


def test_sources_that_are_none(source):
    (source / "list.csv").write_text("id,where\n1,000000.png\n")
    with pytest.raises(OptionError, match="no column"):
        photos_of(str(source / "list.csv"))
    with pytest.raises(OptionError, match=r"has no column 'wher'; .*where"):
        photos_of(str(source / "list.csv"), "wher")
    assert tuple(photos_of(str(source / "list.csv"), "where").paths) == ("000000.png",)
    with pytest.raises(OptionError, match="goes with a table"):
        photos_of(str(source / "000000.png"), "path")
    (source / "empty").mkdir()
    with pytest.raises(ImageError, match="holds no photo"):
        photos_of(str(source / "empty"))


# labelling -------------------------------------------------------------------------------------------------------


def test_maps_tables_and_record(segloop, words, source, toy_clip, drawn, tmp_path):
    told = done(segloop(*words("run")))
    assert told.stdout.startswith("10 label maps in ")
    photos, classes = rows(tmp_path / "run" / "photos.csv"), rows(tmp_path / "run" / "classes.csv")
    options = ("--classes-file", drawn / "classes.txt", "--clip", toy_clip, "--templates", "plain", "--format", "png")
    done(segloop("segment", source / "000000.png", source / "deep/er/000001.png", *options, "--out", tmp_path / "one"))
    for name in ("000000", "deep/er/000001"):
        stored = np.asarray(Image.open(tmp_path / "run" / "labels" / f"{name}.png"))
        assert (stored == np.asarray(Image.open(tmp_path / "one" / f"{name}.png"))).all()
        (row,) = [row for row in photos if row["photo"] == name]
        largest = np.bincount(stored.ravel()).argmax()
        assert row["labels"] == f"labels/{name}.png" and row["largest"] == classes[largest]["name"]
        assert float(row["share"]) == pytest.approx((stored == largest).mean(), abs=1e-6)  # as written: six digits
    assert sum(int(row["pixels"]) for row in classes) == 10 * 48 * 64
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (run["state"], run["images"], run["failed"], run["settings"]["kind"]) == ("done", 10, 0, "label")
    assert str(tmp_path) not in (tmp_path / "run" / "run.json").read_text()


def test_bad_photos_are_lines_and_are_tried_again(segloop, words, source, tmp_path):
    kept = (source / "000004.png").read_bytes()
    (source / "000004.png").write_bytes(kept[:100])
    os.mkfifo(source / "pipe.png")
    (source / f"{'x' * 248}.png").write_bytes(kept)
    told = segloop(*words("run"))
    assert told.exit_code == 3 and "3 photos could not be used" in told.stderr
    lines = [json.loads(line) for line in (tmp_path / "run" / "failed.jsonl").read_text().splitlines()]
    assert [Path(line["source"]).name[:8] for line in lines] == ["000004.p", "pipe.png", "xxxxxxxx"]
    again = segloop(*words("run"))
    assert again.exit_code == 3 and "holds this labelling, done" in again.stderr
    (source / "000004.png").write_bytes(kept)
    told = segloop(*words("run", "--retry-failed"))
    assert told.exit_code == 3 and "2 photos could not be used" in told.stderr
    assert results_of(tmp_path / "run") == results_of_a_new(segloop, words, tmp_path)


def results_of_a_new(segloop, words, tmp_path: Path) -> dict[str, bytes]:
    assert segloop(*words("new")).exit_code in (0, 3)
    return results_of(tmp_path / "new")


def test_a_retry_that_is_interrupted_is_made_good(segloop, words, source, tmp_path, monkeypatch):
    kept = (source / "000004.png").read_bytes()
    (source / "000004.png").write_bytes(kept[:100])
    assert segloop(*words("run")).exit_code == 3
    (source / "000004.png").write_bytes(kept)

    def interrupted(record, shards):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("segloop.labelling.run._end", interrupted)
        assert segloop(*words("run", "--retry-failed")).exit_code != 0
    assert segloop(*words("run")).exit_code == 0
    assert results_of(tmp_path / "run") == results_of_a_new(segloop, words, tmp_path)


def test_from_python(source, toy_clip, tmp_path):
    segmenter = Segmenter.from_pretrained(toy_clip, dtype="float32")
    done = label(source, segmenter, ["grass", "sand"], tmp_path / "run", exports=["coco"])
    assert done.run["images"] == 10 and (tmp_path / "run" / "annotations.coco.json").is_file()
    again = label(source, segmenter, ["grass", "sand"], tmp_path / "run")
    assert again.run == done.run
    stored = np.asarray(Image.open(tmp_path / "run" / "labels" / "000000.png"))
    assert (stored == segmenter(source / "000000.png", ["grass", "sand"]).labels).all()


def test_other_words_and_other_photos_are_another_run(segloop, words, source, drawn, tmp_path):
    done(segloop(*words("run")))
    shutil.copy(source / "000000.png", source / "more.png")
    assert "images_listed 10 there, 11 now" in complaint(segloop(*words("run")))
    (source / "more.png").unlink()
    other = [word if word != str(drawn / "classes.txt") else str(tmp_path / "other.txt") for word in words("run")]
    (tmp_path / "other.txt").write_text("grass\nsand\n")
    assert "another list of classes" in complaint(segloop(*other))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    assert "thesis.txt is there" in complaint(segloop(*words("mine")))


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # of pycocotools
def test_one_coco_file_for_all(segloop, words, source, tmp_path):
    (source / "000004.png").write_bytes(b"no photo")
    assert segloop(*words("run", "--format", "png,coco")).exit_code == 3
    again = segloop(*words("run", "--format", "coco-polygons"))  # of a run that is done, without labelling anew
    assert again.exit_code == 3 and "holds this labelling, done" in again.stderr
    for file in ("annotations.coco.json", "annotations.coco-polygons.json"):
        loaded = COCO(tmp_path / "run" / file)
        assert sorted(image["file_name"] for image in loaded.imgs.values())[-1] == "deep/er/000009.png"
        assert len(loaded.imgs) == 9
        for number, image in loaded.imgs.items():
            stored = np.asarray(Image.open(tmp_path / "run" / "labels" / image["file_name"]))
            for one in loaded.imgToAnns[number]:
                assert (loaded.annToMask(one) == (stored == one["category_id"] - 1)).all()
    assert "there is no format 'yollo' of many photos" in complaint(segloop(*words("run", "--format", "yollo")))


def test_a_labelling_is_no_evaluation(segloop, words, evaluate, drawn, tmp_path):
    done(segloop(*words("run")))
    before = results_of(tmp_path / "run")
    for options in ((), ("--overwrite",)):
        told = complaint_of_the_last_line(evaluate("--out", tmp_path / "run", *options))
        assert "holds a run of another kind (labelling); choose another --out" in told
    assert "is a labelling, which has no scores" in complaint(segloop("report", tmp_path / "run"))
    assert results_of(tmp_path / "run") == before
    assert evaluate("--out", tmp_path / "scored").exit_code == 0
    assert "holds a run of another kind (evaluation)" in complaint(segloop(*words("scored", "--overwrite")))
    assert "scored" in done(segloop("report", tmp_path)).stdout  # the labelling below is passed over


def complaint_of_the_last_line(result) -> str:
    assert result.exit_code == 2, result.output
    return result.stderr.splitlines()[-1]


def test_sources_that_are_not_there(segloop, words, source):
    told = complaint(segloop("label", source / "nowhere", *words("run")[2:]))
    assert "nowhere is not there" in told
    (source.parent / "list.txt").write_text("dog\ncat\n")
    told = complaint(segloop("label", source.parent / "list.txt", *words("run")[2:]))
    assert "what" in told and "list.txt names is not there" in told


def test_results_below_the_photos_are_no_photos(segloop, words, source):
    inside = str(source / "labelled")
    first = [inside if word.endswith("/run") else word for word in words("run")]
    done(segloop(*first))
    again = segloop(*first)
    assert again.exit_code == 0 and "holds this labelling, done" in again.stderr


def test_a_dry_run_writes_nothing(segloop, words, tmp_path):
    told = done(segloop(*words("run", "--dry-run"))).stdout
    assert told.startswith("10 photos: about ") and "judged by 8 of them" in told
    assert not (tmp_path / "run").exists()


def test_a_dry_run_counts_without_the_networks(segloop, words, tmp_path):
    asked = words("run", "--dry-run", "--clip", "openai/clip-vit-huge-patch99", "--offline")
    told = segloop(*asked)
    assert told.exit_code == 0, told.output
    assert told.stdout == "10 photos, 14 classes of 14 words\n"
    assert "how long and how large cannot be judged: " in told.stderr and "patch99" in told.stderr
    assert not (tmp_path / "run").exists()


def test_durations_are_said_as_people_say_them():
    said = [duration(seconds) for seconds in (12, 600, 7200, 864000)]
    assert said == ["12 seconds", "10 minutes", "2 hours", "10 days"]


def test_shards_are_whole_or_nothing():
    outcomes = [Labelled("a", "labels/a.png", (2, 3), {0: 5, 7: 1}), Unlabelled("b", "/b.png", "is \udcff", "mend it")]
    data, inputs = encode(outcomes, "run-3"), {"classes": ["c"] * 8}
    assert decode(data, inputs, "run-3") == outcomes
    assert all(decode(data[:end], inputs, "run-3") is None for end in range(len(data) - 1))
    assert decode(data, inputs, "run-4") is None and decode(data.replace(b'"7": 1', b'"6": 1'), inputs, "run-3") is None


def test_shards_from_before_seals_open_too():
    inputs = {"classes": ["c", "d"]}
    line = '{"photo": "a", "labels": "labels/a.png", "size": [2, 3], "pixels": {"1": 6}}'
    assert decode(f'{line}\n{{"photos": 1}}\n'.encode(), inputs, "run-0") == [
        Labelled("a", "labels/a.png", (2, 3), {1: 6})
    ]
    for wrong in ('"x": 6', '"2": 6', '"1": 7', '"1": null'):
        changed = line.replace('"1": 6', wrong)
        assert decode(f'{changed}\n{{"photos": 1}}\n'.encode(), inputs, "run-0") is None


# runs that end otherwise -----------------------------------------------------------------------------------------


@pytest.fixture
def whole(segloop, words, tmp_path, one_thread) -> dict[str, bytes]:
    """What a run leaves that nothing happened to."""
    return results_of_a_new(segloop, words, tmp_path)


@pytest.mark.parametrize("point", np.random.default_rng(12).choice(np.arange(4, 36), 2, replace=False).tolist())
def test_a_killed_run_ends_as_the_others(segloop, words, whole, tmp_path, point):
    assert killed_at(point, words("torn"), tmp_path) == -signal.SIGKILL
    done_again = segloop(*words("torn"))
    assert done_again.exit_code == 0, done_again.output
    assert results_of(tmp_path / "torn") == whole


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(30))
def test_killed_again_and_again(segloop, words, whole, tmp_path, seed):
    rng = np.random.default_rng(seed)
    for point in rng.integers(2, 38, rng.integers(1, 4)).tolist():
        killed_at(point, words("torn"), tmp_path)
    assert segloop(*words("torn")).exit_code == 0
    assert results_of(tmp_path / "torn") == whole


SLOW = """
from pathlib import Path
from time import sleep

def mix(block):
    Path("begun").touch()
    sleep(1)
    return lambda values: values
"""


def test_sigterm_finishes_the_photos_in_hand(start, segloop, words, tmp_path):
    (tmp_path / "slow.py").write_text(SLOW)
    process = start(*words("run", "--method", "slow.py:mix"))
    wait_for((tmp_path / "begun"), process)
    process.terminate()
    _, stderr = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 128 + signal.SIGTERM, stderr
    assert "the same command goes on" in stderr
    parts = len(list((tmp_path / "run" / "parts").iterdir()))
    assert 1 <= parts < 5 and json.loads((tmp_path / "run" / "run.json").read_text())["state"] == "running"

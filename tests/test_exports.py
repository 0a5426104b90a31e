"""What a labelling leaves for others, opened by those others."""

import hashlib
import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import webdataset
import yaml
from PIL import Image
from pycocotools import mask as masks

from command import complaint
from segloop.common.earlier import is_a
from segloop.labelling import maps as maps_module
from segloop.labelling.outcomes import LAYOUT
from segloop.labelling.tarred import key_of
from segloop.labelling.yolo import yolo_lines

FORMATS = "parquet,parquet-rle,webdataset,datasets,yolo"


@pytest.fixture
def label(segloop, toy_clip, drawn, tmp_path, one_thread, monkeypatch):
    """`segloop label` of ten photos, one of them broken, in files of four: label("run", options) -> its folder."""
    monkeypatch.setattr(maps_module, "PER_FILE", 4)
    source = tmp_path / "source"
    for number, photo in enumerate(sorted((drawn / "images").iterdir())):
        place = source / ("deep" if number % 2 else ".") / f"{photo.stem}{'.x' * (number == 3)}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(photo, place)
    (source / "000004.png").write_bytes(b"no photo")
    words = ("--classes-file", drawn / "classes.txt", "--clip", toy_clip, "--templates", "plain", "--shard", 2)

    def run(out: str, *options: object, code: int = 3) -> Path:
        told = segloop("label", source, *words, "--threads", 1, "--out", tmp_path / out, *options)
        assert told.exit_code == code, told.output
        return tmp_path / out

    return run


@pytest.fixture
def done(label) -> Path:
    """One in all formats."""
    return label("run", "--format", FORMATS)


def stored(folder: Path) -> dict[str, np.ndarray]:
    """The maps themselves, by the photo's name."""
    labels = folder / "labels"
    return {
        path.relative_to(labels).with_name(path.name.removesuffix(".png")).as_posix(): np.asarray(Image.open(path))
        for path in sorted(labels.rglob("*.png"))
    }


def hashes(folder: Path) -> dict[str, str]:
    """Every file but what varies from start to start."""
    names = [path for path in folder.rglob("*") if path.is_file() and path.name not in ("log.json", ".lock")]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in names}


def test_what_is_written(done):
    found = {place for place in hashes(done) if not place.startswith(("labels/", "parts/", "yolo/labels"))}
    numbers = [f"{number:05d}-of-00003" for number in range(3)]
    assert found == {
        *(f"{folder}/labels-{number}.parquet" for folder in ("parquet", "parquet-rle") for number in numbers),
        *(f"dataset/data/train-{number}.parquet" for number in numbers),
        *(f"webdataset/labels-{number:06d}.tar" for number in range(3)),
        *("dataset/README.md", "yolo/data.yaml", "run.json", "photos.csv", "classes.csv", "failed.jsonl"),
    }


def test_made_again_the_bytes_are_the_same(done, label):
    before = hashes(done)
    for folder in ("parquet", "dataset", "webdataset", "yolo"):
        shutil.rmtree(done / folder)
    assert hashes(label("run", "--format", FORMATS)) == before
    assert hashes(label("other", "--format", FORMATS)) == before


def test_parquet_with_pictures(done):
    rows = pq.read_table(done / "parquet").to_pylist()
    maps = stored(done)
    assert [row["photo"] for row in rows] == list(maps) and len(rows) == 9
    for row in rows:
        labels = np.asarray(Image.open(io.BytesIO(row["labels"])))
        assert (labels == maps[row["photo"]]).all() and labels.shape == (row["height"], row["width"])
        assert row["path"] == f"{row['photo']}.png"
    said = pq.read_schema(done / "parquet" / "labels-00000-of-00003.parquet").metadata
    assert json.loads(said[b"segloop:class_list"]) == json.loads((done / "run.json").read_text())["classes"]


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # of pycocotools
def test_parquet_with_run_lengths(done):
    maps = stored(done)
    for row in pq.read_table(done / "parquet-rle").to_pylist():
        labels, found = maps[row["photo"]], np.full((row["height"], row["width"]), -1)
        for mask in row["masks"]:
            size = [row["height"], row["width"]]
            found[masks.decode({"size": size, "counts": mask["counts"]}).astype(bool)] = mask["class"]
        assert (found == labels).all()


def test_webdataset(done):
    maps = stored(done)
    shards = str(done / "webdataset" / "labels-{000000..000002}.tar")
    samples = list(webdataset.WebDataset(shards, shardshuffle=False).decode("pil"))
    assert [sample["json"]["photo"] for sample in samples] == list(maps)
    for sample in samples:
        name = sample["json"]["photo"]
        assert sample["__key__"] == key_of(name) and sample["json"]["path"] == f"{name}.png"
        labels = np.asarray(Image.open(io.BytesIO(raw(shards, sample["__key__"]))))
        assert (labels == maps[name]).all()
        assert sample["json"]["pixels"] == {str(i): n for i, n in enumerate(np.bincount(labels.ravel())) if n}
    assert "deep/000003%2Ex" in [sample["__key__"] for sample in samples]


def raw(shards: str, key: str) -> bytes:
    return next(one["png"] for one in webdataset.WebDataset(shards, shardshuffle=False) if one["__key__"] == key)


def test_the_datasets_library(done, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset(str(done / "dataset"), split="train", cache_dir=str(tmp_path / "cache"))
    maps = stored(done)
    assert loaded["photo"][:] == list(maps) and isinstance(loaded.features["labels"], datasets.Image)
    for row in loaded:
        assert (np.asarray(row["labels"]) == maps[row["photo"]]).all()
    card = (done / "dataset" / "README.md").read_text()
    head = yaml.safe_load(card.split("---")[1])
    assert head["task_categories"] == ["image-segmentation"] and str(tmp_path) not in card
    assert "| 0 | " in card and "Nobody has checked" in card


@pytest.mark.filterwarnings("ignore")  # of supervision
def test_yolo(done, tmp_path):
    import supervision

    flat, labels = tmp_path / "images", tmp_path / "texts"
    flat.mkdir(), labels.mkdir()
    maps = stored(done)
    for name in maps:  # the reader knows no folders
        shutil.copy(tmp_path / "source" / f"{name}.png", flat / f"{name.replace('/', '_')}.png")
        shutil.copy(done / "yolo" / "labels" / f"{name}.txt", labels / f"{name.replace('/', '_')}.txt")
    data = str(done / "yolo" / "data.yaml")
    loaded = supervision.DetectionDataset.from_yolo(str(flat), str(labels), data, force_masks=True)
    assert loaded.classes == json.loads((done / "run.json").read_text())["classes"]
    for path, _, found in loaded:
        drawn = maps[next(name for name in maps if name.replace("/", "_") == Path(path).stem)]
        assert set(found.class_id) == set(np.unique(drawn))
        for number in np.unique(drawn):  # that reader draws the pixel under a corner too
            mask = found.mask[found.class_id == number].any(0)
            assert mask[drawn == number].all() or np.mean(mask == (drawn == number)) > 0.8


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
def test_pixels_without_a_class_are_in_no_mask(label):
    folder = label("run", "--format", "parquet-rle,yolo,datasets", "--min-confidence", "0.21")
    maps = stored(folder)
    assert any((labels == 255).any() for labels in maps.values())
    for row in pq.read_table(folder / "parquet-rle").to_pylist():
        there = np.unique(maps[row["photo"]])
        assert [mask["class"] for mask in row["masks"]] == there[there != 255].tolist()
        lines = (folder / "yolo" / "labels" / f"{row['photo']}.txt").read_text().splitlines()
        assert {int(line.split()[0]) for line in lines} == set(there[there != 255].tolist())
    assert "255 is no class" in (folder / "dataset" / "README.md").read_text()


def test_polygons_of_yolo_by_hand():
    labels = np.zeros((4, 4), int)
    labels[1:3, 1:3] = 1
    assert yolo_lines(labels[:2], 2) == [
        "0 0 0 1 0 1 1 0.75 1 0.75 0.5 0.25 0.5 0.25 1 0 1",
        "1 0.25 0.5 0.75 0.5 0.75 1 0.25 1",
    ]
    ring, piece = yolo_lines(labels, 2)
    points = np.array(ring.split()[1:], float).reshape(-1, 2) * 4
    x, y = points.T
    assert abs((x * np.roll(y, -1) - y * np.roll(x, -1)).sum()) / 2 == 12 and len(points) == 10  # 16 less the hole's 4
    assert piece == "1 0.25 0.25 0.75 0.25 0.75 0.75 0.25 0.75"
    apart = np.array([[1, 0, 1, 255]])
    assert [line.split()[0] for line in yolo_lines(apart, 2)] == ["0", "1", "1"]


def test_strangers_are_left_alone(label, done):
    mine = done / "parquet" / "labels-00001-of-00003.parquet"
    pq.write_table(pq.read_table(mine).replace_schema_metadata(None), mine)
    before = mine.read_bytes()
    label("run", "--format", "parquet", code=2)
    assert mine.read_bytes() == before


def test_all_of_it_is_told_as_ours_and_taken_away(done, label):
    for place in hashes(done):
        folder = place.partition("/")[0]
        if folder in LAYOUT.kept:
            assert is_a(done / place, LAYOUT.kept[folder]), place
    label("run", "--overwrite")
    assert not (done / "yolo").exists() and not (done / "dataset").exists() and not (done / "webdataset").exists()


def test_a_disk_that_is_full_behind_the_maps(label, done, monkeypatch):
    before = hashes(done)
    replace = os.replace

    def fail(part, target):
        if Path(target).name == "labels-00001-of-00003.parquet":
            raise OSError(28, "No space left on device")
        replace(part, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        (done / "parquet" / "labels-00001-of-00003.parquet").unlink()
        label("run", "--format", "parquet", code=1)
    assert hashes(label("run", "--format", "parquet")) == before


def test_formats_that_are_none(segloop, tmp_path):
    told = complaint(segloop("label", tmp_path, "--classes", "a,b", "--format", "web-dataset"))
    assert "did you mean 'webdataset'" in told


def test_a_package_that_is_missing_is_told_before_the_work(segloop, tmp_path, monkeypatch):
    monkeypatch.setattr("segloop.labelling.exports.find_spec", lambda package: None)
    told = complaint(segloop("label", tmp_path, "--classes", "a,b", "--format", "geotiff"))
    assert "the format geotiff needs the package rasterio; pip install 'segloop[geo]'" in told
    told = complaint(segloop("label", tmp_path, "--classes", "a,b", "--format", "png,datasets"))
    assert "needs the package pyarrow" in told

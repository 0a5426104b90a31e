"""Labelling from Python: results in order, and batches of other libraries."""

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from segloop import Labeller, Segmenter, iter_results
from segloop.errors import ImageError, OptionError
from segloop.images import read_image

WORDS = ["grass", "sand", "water"]

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def segmenter(toy_clip) -> Segmenter:
    return Segmenter.from_pretrained(toy_clip, dtype="float32")


@pytest.fixture
def source(drawn: Path, tmp_path: Path) -> Path:
    """Three photos and one that is none."""
    (tmp_path / "source").mkdir()
    for photo in sorted((drawn / "images").iterdir())[:3]:
        shutil.copy(photo, tmp_path / "source" / photo.name)
    (tmp_path / "source" / "000001x.png").write_bytes(b"no photo")
    return tmp_path / "source"


@pytest.fixture
def good(source) -> list[Path]:
    return [path for path in sorted(source.iterdir()) if "x" not in path.name]


@pytest.fixture
def expected(segmenter, good) -> list[np.ndarray]:
    return [segmenter(path, WORDS).labels for path in good]


def same(found, expected) -> bool:
    return len(found) == len(expected) and all(
        (np.asarray(one) == other).all() for one, other in zip(found, expected, strict=True)
    )


def test_results_in_order(segmenter, source, good, expected):
    failed = []
    results = list(iter_results(source, segmenter, WORDS, on_error=lambda *told: failed.append(told)))
    assert same([result.labels for result in results], expected)
    assert [result.source for result in results] == list(map(str, good))
    ((place, error),) = failed
    assert place == str(source / "000001x.png") and "is not a photo" in str(error)
    with pytest.raises(ImageError, match="000001x"):
        list(iter_results(str(source), segmenter, WORDS))


def test_photos_of_every_kind(segmenter, good, expected):
    labeller = Labeller(segmenter, WORDS)
    arrays = [read_image(path) for path in good]
    tensors = [torch.from_numpy(array).permute(2, 0, 1) for array in arrays]
    data = [path.read_bytes() for path in good]
    pictures = [Image.open(path) for path in good]
    records = [{"bytes": data[0], "path": None}, {"bytes": None, "path": str(good[1])}, {"bytes": data[2], "path": "x"}]
    for photos in (good, list(map(str, good)), data, pictures, arrays, np.stack(arrays), torch.stack(tensors), records):
        found = labeller({"image": photos, "id": [1, 2, 3]})
        assert list(found) == ["labels"] and same(found["labels"], expected)
        assert {labels.dtype for labels in found["labels"]} == {np.dtype(np.uint8)}


def test_bad_photos_and_other_columns(segmenter, source, expected):
    batch = {"path": sorted(map(str, source.iterdir())), "id": np.arange(4)}
    with pytest.raises(ImageError, match="000001x"):
        Labeller(segmenter, WORDS, column="path")(batch)
    failed = []
    found = Labeller(segmenter, WORDS, column="path", into="map", others=True, on_error=failed.append)(batch)
    assert list(found) == ["path", "id", "map"] and found["map"][2] is None and len(failed) == 1
    assert same([one for one in found["map"] if one is not None], expected)
    with pytest.raises(OptionError, match=r"no column 'image'.*path"):
        Labeller(segmenter, WORDS)(batch)


def test_it_opens_a_model_from_plain_values(toy_clip, good, expected):
    labeller = Labeller(str(toy_clip), WORDS, dtype="float32", batch=2)
    assert same(labeller(good), expected) and labeller.classes == WORDS


def test_the_datasets_library(segmenter, good, expected, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    datasets = pytest.importorskip("datasets")
    table = datasets.Dataset.from_dict({"image": list(map(str, good)), "id": [1, 2, 3]})
    table = table.cast_column("image", datasets.Image())
    made = table.map(Labeller(segmenter, WORDS, pictures=True), batched=True, batch_size=2)
    assert made.column_names == ["image", "id", "labels"] and isinstance(made.features["labels"], datasets.Image)
    assert same(made["labels"][:], expected)
    arrays = table.map(Labeller(segmenter, WORDS), batched=True, batch_size=2)
    assert same(arrays.with_format("numpy")["labels"][:], expected)
    undecoded = table.cast_column("image", datasets.Image(decode=False))
    assert same(undecoded.map(Labeller(segmenter, WORDS), batched=True)["labels"][:], expected)


def test_a_loader(segmenter, good, expected):
    loader = torch.utils.data.DataLoader(good, batch_size=2, collate_fn=Labeller(segmenter, WORDS))
    assert same([labels for batch in loader for labels in batch], expected)
    arrays = [{"image": torch.from_numpy(read_image(path)).permute(2, 0, 1)} for path in good]
    found = [Labeller(segmenter, WORDS)(batch)["labels"] for batch in torch.utils.data.DataLoader(arrays, batch_size=2)]
    assert same([labels for batch in found for labels in batch], expected)


def test_batches_as_ray_has_them(segmenter, good, expected):
    data = np.array([path.read_bytes() for path in good], object)
    found = Labeller(segmenter, WORDS, column="bytes", others=True)({"bytes": data, "id": np.arange(3)})
    assert same(found["labels"], expected) and found["id"].tolist() == [0, 1, 2]
    assert Image.open(io.BytesIO(found["bytes"][0])).size == expected[0].shape[::-1]

"""Every data set on its real samples, from files to a record, whose counts are the label files' own."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
CITYSCAPES = DATA / "fixtures_mmseg" / "pseudo_cityscapes_dataset"

pytestmark = [
    pytest.mark.skipif(not DATA.is_dir(), reason="real samples are not beside the project"),
    pytest.mark.usefixtures("one_thread"),
]

ZERO = ("voc20", "context59", "ade20k", "loveda", "potsdam")  # label 0 is no class there
CLASSES = {
    "voc21": 21,
    "voc20": 20,
    "context60": 60,
    "context59": 59,
    "coco-object": 81,
    "coco-stuff": 171,
    "cityscapes": 19,
    "ade20k": 150,
    "ade847": 847,
    "camvid": 11,
    "loveda": 7,
    "potsdam": 6,
}
BACKGROUND = ("voc21", "context60", "coco-object")


@pytest.fixture
def place(request, segloop, tmp_path):
    """Where a data set's samples lie; ADE with 847 classes is prepared from its raw files first."""
    if request.param == "cityscapes":
        return f"cityscapes={CITYSCAPES}"
    if request.param != "ade847":
        return str(DATA)
    root = tmp_path / "ADE20K_2021_17_01"
    shutil.copytree(DATA / root.name / "images", root / "images", copy_function=shutil.copyfile)
    result = segloop("prepare", "ade847", "--data", root, "--split", "train")
    assert result.exit_code == 0, result.output
    return str(root)


@pytest.mark.parametrize(("key", "place"), [(key, key) for key in CLASSES], indirect=["place"])
def test_real_samples_are_measured(segloop, toy_clip, tmp_path, key, place):
    options = ["--clip", toy_clip, "--templates", "plain", "--method", "maskclip", "--limit", 2]
    options += ["--split", "training"] if key == "ade847" else []
    options += ["--names", "P"] if key == "ade847" else []
    result = segloop("evaluate", key, "--data", place, "--out", tmp_path / "run", *options)
    assert result.exit_code == 0, result.output
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert len(run["classes"]) == CLASSES[key]
    assert 0 <= run["metrics"]["mIoU"] <= 100
    assert bool(run["settings"]["background_threshold"]) == (key in BACKGROUND)
    with np.load(tmp_path / "run" / "counts.npz") as counts:
        assert counts["label"].shape == (run["images"], CLASSES[key])
        for number, name in enumerate(counts["images"]):
            assert counts["label"][number].tolist() == areas(key, place, str(name))


def areas(key: str, place: str, name: str) -> list[int]:
    """Pixels of each class in a label file, read without segloop."""
    (file,) = [path for path in label_files(key, Path(place.partition("=")[2] or place)) if matches(path, name)]
    stored = np.asarray(Image.open(file)).astype(np.int64)
    classes = stored - 1 if key in ZERO else stored
    return np.bincount(classes[(classes >= 0) & (classes < CLASSES[key])], minlength=CLASSES[key]).tolist()


FOLDERS = {
    "voc21": "VOCdevkit/VOC2012/SegmentationClass/*.png",
    "voc20": "VOCdevkit/VOC2012/SegmentationClass/*.png",
    "context60": "VOCdevkit/VOC2010/SegmentationClassContext/*.png",
    "context59": "VOCdevkit/VOC2010/SegmentationClassContext/*.png",
    "coco-object": "coco_object/annotations/val2017/*_instanceTrainIds.png",
    "coco-stuff": "coco_stuff164k/annotations/val2017/*_labelTrainIds.png",
    "cityscapes": "gtFine/**/*_labelTrainIds.png",
    "ade20k": "ADEChallengeData2016/annotations/validation/*.png",
    "ade847": "annotations_detectron2/training/*.tif",
    "camvid": "CamVid/testannot/*.png",
    "loveda": "loveDA/ann_dir/val/*.png",
    "potsdam": "potsdam/ann_dir/val/*.png",
}


def label_files(key: str, root: Path) -> list[Path]:
    return sorted(root.glob(FOLDERS[key]))


def matches(path: Path, name: str) -> bool:
    own = path.stem
    for ending in ("_instanceTrainIds", "_gtFine_labelTrainIds", "_labelTrainIds"):
        own = own.removesuffix(ending)
    return own == Path(name).name.removesuffix("_leftImg8bit")

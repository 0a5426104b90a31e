"""The benchmarks as rows: where their files lie, how their labels are read, what they are called (spec 7)."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..common.doors import Table
from ..errors import OptionError
from ..labels.colours import POTSDAM, voc_colours
from ..labels.read import VOID, WIDE_VOID, LabelRule

ANY_IMAGE = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
ANY_MASK = (".png", ".tif", ".tiff")

BYTES = LabelRule()
ZERO = LabelRule(reduce_zero=True)
VOC, VOC_ZERO = (LabelRule(reduce_zero=zero, colours=voc_colours()) for zero in (False, True))
WIDE = LabelRule(void=(WIDE_VOID,), wide=True)


@dataclass(frozen=True)
class Dataset:
    """One data set. Folders and files are relative to its root; `{split}` in them stands for the split's name."""

    key: str
    title: str
    root: str  # the usual path of its root, below a folder of data sets
    images: str  # folder of the photos
    labels: str  # folder of the label maps
    image_suffix: tuple[str, ...]  # what follows a sample's name, in any case of letters
    label_suffix: tuple[str, ...]
    classes: int  # 0: as many as the folder's own classes.txt names
    names: str | Path | tuple[str, ...]  # a list of Vocabulary.benchmark, or the classes, `|` between synonyms
    expected: int | None  # photos in the published split
    how_to_get: str  # a remedy: half a sentence
    part: str | None = "val"  # the published split; None: there is only one
    split: str | None = None  # the list of its photos; None: all files of the folder, sorted by path
    split_optional: bool = False  # without the list: all files, as above
    rule: LabelRule = BYTES
    aliases: tuple[str, ...] = ()  # other paths the root is known under
    elsewhere: tuple[tuple[str, str], ...] = ()  # (split, label folder) where that is not `labels`
    also: tuple[int, ...] = ()  # other counts of photos the published split goes by
    prepare: str | None = None  # what `segloop prepare` calls the making of its label files

    @property
    def roots(self) -> tuple[str, ...]:
        """The usual path of the root, then the others."""
        return (self.root, *self.aliases)

    def folders(self, part: str | None) -> tuple[str, str]:
        """Folders of the photos and of the label maps of a split, below the root."""
        labels = dict(self.elsewhere).get(part or "", self.labels)
        return self.images.format(split=part), labels.format(split=part)

    def way(self, root: str | Path) -> str:
        """The remedy where nothing is there: how to get it and, where labels are made, the command."""
        made = f", then `{self._command(root)}`" if self.prepare else ""
        return self.how_to_get + made

    def way_to_labels(self, root: str | Path) -> str:
        """The remedy where only label maps are missing."""
        if self.prepare is None:
            return self.how_to_get
        return f"make them with `{self._command(root)}`, or first {self.how_to_get}"

    def _command(self, root: str | Path) -> str:
        return f"segloop prepare {self.prepare} --data {shlex.quote(str(root))}"


JPG, PNG, TIF = (".jpg",), (".png",), (".tif",)

_COCO = ("coco_object", "coco_stuff164k", "coco_stuff", "coco", "coco2017", "mscoco")
_GET_VOC = "get VOCtrainval_11-May-2012.tar from the PASCAL VOC 2012 site and unpack it"
_GET_VOC2010 = "get the VOC 2010 devkit from the PASCAL VOC site and the annotations from the PASCAL-Context site"
_GET_COCO = "get val2017.zip from the COCO site and stuffthingmaps_trainval2017.zip from the COCO-Stuff page"
_GET_CITYSCAPES = "get leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip from the Cityscapes site"
_GET_ADE_FULL = "get the full ADE20K release (ADE20K_2021_17_01) from its site, after registration"


def _voc(key: str, title: str, classes: int, rule: LabelRule) -> Dataset:
    return Dataset(
        key=key,
        title=title,
        root="VOCdevkit/VOC2012",
        images="JPEGImages",
        labels="SegmentationClass",
        split="ImageSets/Segmentation/{split}.txt",
        image_suffix=JPG,
        label_suffix=PNG,
        classes=classes,
        names=key,
        expected=1449,
        rule=rule,
        elsewhere=(("trainaug", "SegmentationClassAug"),),
        how_to_get=_GET_VOC,
    )


def _context(key: str, title: str, classes: int, labels: str, suffix: tuple[str, ...], rule: LabelRule) -> Dataset:
    return Dataset(
        key=key,
        title=title,
        root="VOCdevkit/VOC2010",
        images="JPEGImages",
        labels=labels,
        split="ImageSets/SegmentationContext/{split}.txt",
        image_suffix=JPG,
        label_suffix=suffix,
        classes=classes,
        names=key,
        expected=5104,
        also=(5105,),
        rule=rule,
        how_to_get=_GET_VOC2010,
        prepare="context459" if classes == 459 else "context",
    )


def _coco(key: str, title: str, classes: int, suffix: str) -> Dataset:
    own = "coco_object" if key == "coco-object" else "coco_stuff164k"
    return Dataset(
        key=key,
        title=title,
        root=own,
        aliases=tuple(name for name in _COCO if name != own),
        images="images/{split}2017",
        labels="annotations/{split}2017",
        image_suffix=JPG,
        label_suffix=(suffix,),
        classes=classes,
        names=key,
        expected=5000,
        how_to_get=_GET_COCO,
        prepare=key,
    )


def _aerial(
    key: str, title: str, root: str, names: tuple[str, ...], expected: int, how_to_get: str, rule: LabelRule = ZERO
) -> Dataset:
    return Dataset(
        key=key,
        title=title,
        root=root,
        images="img_dir/{split}",
        labels="ann_dir/{split}",
        image_suffix=PNG,
        label_suffix=PNG,
        classes=len(names),
        names=names,
        expected=expected,
        rule=rule,
        how_to_get=how_to_get,
    )


def _own(key: str, title: str, root: str, how_to_get: str) -> Dataset:
    return Dataset(
        key=key,
        title=title,
        root=root,
        images="images",
        labels="masks",
        image_suffix=ANY_IMAGE,
        label_suffix=ANY_MASK,
        classes=0,
        names=(),
        expected=None,
        part=None,
        how_to_get=how_to_get,
    )


_ROWS = (
    _voc("voc21", "PASCAL VOC 2012 with background", 21, VOC),
    _voc("voc20", "PASCAL VOC 2012 without background", 20, VOC_ZERO),
    _context("context60", "PASCAL Context with background", 60, "SegmentationClassContext", PNG, BYTES),
    _context("context59", "PASCAL Context without background", 59, "SegmentationClassContext", PNG, ZERO),
    _coco("coco-object", "COCO objects with background", 81, "_instanceTrainIds.png"),
    _coco("coco-stuff", "COCO-Stuff 164k", 171, "_labelTrainIds.png"),
    Dataset(
        key="cityscapes",
        title="Cityscapes",
        root="cityscapes",
        images="leftImg8bit/{split}",
        labels="gtFine/{split}",
        image_suffix=("_leftImg8bit.png",),
        label_suffix=("_gtFine_labelTrainIds.png",),
        classes=19,
        names="cityscapes",
        expected=500,
        how_to_get=_GET_CITYSCAPES,
        prepare="cityscapes",
    ),
    Dataset(
        key="ade20k",
        title="ADE20K with 150 classes",
        root="ADEChallengeData2016",
        aliases=("ade20k",),
        images="images/{split}",
        labels="annotations/{split}",
        image_suffix=JPG,
        label_suffix=PNG,
        classes=150,
        names="ade20k",
        expected=2000,
        part="validation",
        rule=ZERO,
        how_to_get="get ADEChallengeData2016.zip from the scene parsing benchmark of MIT (sceneparsing) and unpack it",
    ),
    Dataset(
        key="ade847",
        title="ADE20K with 847 classes",
        root="ADE20K_2021_17_01",
        aliases=("ADE20K_full", "ade847"),
        images="images_detectron2/{split}",
        labels="annotations_detectron2/{split}",
        split="{split}.txt",
        split_optional=True,
        image_suffix=JPG,
        label_suffix=TIF,
        classes=847,
        names="ade847",
        expected=2000,
        part="validation",
        rule=WIDE,
        how_to_get=_GET_ADE_FULL,
        prepare="ade847",
    ),
    _context("context459", "PASCAL Context with 459 classes", 459, "annotations_detectron2/pc459_{split}", TIF, WIDE),
    Dataset(
        key="camvid",
        title="CamVid with 11 classes",
        root="CamVid",
        images="{split}",
        labels="{split}annot",
        split="{split}.txt",
        split_optional=True,
        image_suffix=PNG,
        label_suffix=PNG,
        classes=11,
        # The data set's own names first; "signsymbol" is one word there and no word to a text tower.
        names=(
            *("sky", "building", "pole", "road", "pavement", "tree", "signsymbol | traffic sign"),
            *("fence", "car", "pedestrian", "bicyclist"),
        ),
        expected=233,
        part="test",
        rule=LabelRule(void=(11, VOID)),
        how_to_get="get the CamVid folder of the SegNet tutorial (test, testannot, test.txt)",
    ),
    _aerial(
        "loveda",
        "LoveDA (aerial)",
        "loveDA",
        ("background", "building", "road", "water", "barren", "forest", "agricultural"),
        1669,
        "get Val.zip from the LoveDA site and put images into img_dir/val, masks into ann_dir/val",
    ),
    _aerial(
        "potsdam",
        "ISPRS Potsdam (aerial)",
        "potsdam",
        ("impervious surface", "building", "low vegetation", "tree", "car", "clutter"),
        2016,
        "get the Potsdam set from the ISPRS site, cut into 512x512 tiles in img_dir/val and ann_dir/val",
        LabelRule(reduce_zero=True, colours=POTSDAM),
    ),
    _own("scenes", "procedural scenes", "scenes", "make some with `segloop scenes DIR --count 200 --seed 0`"),
    _own("folder", "a folder of your own", "", "put photos into images, label maps into masks, names into classes.txt"),
)


def _of_package(name: str, found: Any) -> Dataset:
    """The row that another package's entry point names."""
    if not isinstance(found, Dataset) or found.key != name:
        told = f"a {type(found).__name__}" if not isinstance(found, Dataset) else f"the data set {found.key!r}"
        raise OptionError(f"data set {name!r} of another package is {told}", f"it must be a Dataset with key {name!r}")
    return found


DATASETS: Table[Dataset] = Table({row.key: row for row in _ROWS}, "segloop.datasets", _of_package)
"""Rows by key. Other packages add theirs through entry points of the group `segloop.datasets`."""

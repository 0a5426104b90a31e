"""The preparations: what each needs, makes and counts, and where its raw files come from."""

from types import MappingProxyType

from . import ade, cityscapes, coco, context, voc
from .work import WIDE_VOID, Preparation

COCO_SPLITS = {"val": 5000, "train": 118287}
CONTEXT_SPLITS = {"val": 5105, "train": 4998}
COCO_ROOTS = ("coco", "COCO", "coco_stuff164k", "coco_object")
VOC2010 = ("VOCdevkit/VOC2010", "VOC2010")

_CONTEXT = Preparation(
    key="context",
    title="PASCAL-Context, 59 classes and background",
    needs="trainval_merged.json, or trainval/*.mat (459 classes) with ImageSets/Main",
    makes="SegmentationClassContext/*.png and ImageSets/SegmentationContext/*.txt",
    get="put trainval_merged.json of the PASCAL in Detail challenge, or trainval/*.mat of the PASCAL-Context site, "
    "into VOCdevkit/VOC2010; the site's PNG files of 33 or 59 classes are not converted",
    expected=CONTEXT_SPLITS,
    ids=60,
    void=None,
    plan=context.plan_frequent,
    roots=VOC2010,
)

_ROWS = (
    Preparation(
        key="coco-stuff",
        title="COCO-Stuff 164k, 171 classes",
        needs="stuffthingmaps/<split>2017/*.png or annotations/<split>2017/*.png",
        makes="annotations/<split>2017/*_labelTrainIds.png",
        get="download stuffthingmaps_trainval2017.zip from the COCO-Stuff page and unpack it as stuffthingmaps",
        expected=COCO_SPLITS,
        ids=171,
        void=255,
        plan=coco.plan_stuff,
        roots=COCO_ROOTS,
    ),
    Preparation(
        key="coco-object",
        title="COCO-Object, 80 classes and background",
        needs="stuffthingmaps/<split>2017/*.png, or annotations/panoptic_<split>2017.json with its PNG files, "
        "or annotations/instances_<split>2017.json",
        makes="annotations/<split>2017/*_instanceTrainIds.png",
        get="download stuffthingmaps_trainval2017.zip from the COCO-Stuff page, or the panoptic or instance "
        "annotations of 2017 from the COCO site",
        expected=COCO_SPLITS,
        ids=81,
        void=None,
        plan=coco.plan_object,
        roots=COCO_ROOTS,
    ),
    Preparation(
        key="cityscapes",
        title="Cityscapes, 19 classes",
        needs="gtFine/<split>/<city>/*_gtFine_labelIds.png or *_gtFine_polygons.json",
        makes="gtFine/<split>/<city>/*_gtFine_labelTrainIds.png",
        get="download gtFine_trainvaltest.zip from the Cityscapes site",
        expected={"val": 500, "train": 2975},
        ids=19,
        void=255,
        plan=cityscapes.plan,
        roots=("cityscapes", "Cityscapes"),
    ),
    _CONTEXT,
    Preparation(
        key="context459",
        title="PASCAL-Context, 459 classes",
        needs="trainval/*.mat (459 classes) with ImageSets/SegmentationContext or ImageSets/Main",
        makes="annotations_detectron2/pc459_<split>/*.tif and ImageSets/SegmentationContext/*.txt",
        get="put trainval/*.mat of the PASCAL-Context site into VOCdevkit/VOC2010; "
        "trainval_merged.json holds the 59 frequent classes only",
        expected=CONTEXT_SPLITS,
        ids=459,
        void=WIDE_VOID,
        plan=context.plan_all,
        roots=VOC2010,
    ),
    Preparation(
        key="ade847",
        title="ADE20K full release, 847 classes",
        needs="images/ADE/<split>/**/*_seg.png with the photos beside them",
        makes="annotations_detectron2/<split>/*.tif and images_detectron2/<split>/*.jpg",
        get="download ADE20K_2021_17_01 from the ADE20K site (after registration)",
        expected={"val": 2000, "train": 25574},
        ids=847,
        void=WIDE_VOID,
        plan=ade.plan,
        roots=("ADE20K_2021_17_01",),
    ),
    Preparation(
        key="voc",
        title="PASCAL VOC 2012, augmented training set",
        needs="dataset/cls/*.mat of SBD and ImageSets/Segmentation/{train,val}.txt of VOC 2012",
        makes="SegmentationClassAug/*.png and ImageSets/Segmentation/trainaug.txt",
        get="download benchmark.tgz of the Semantic Boundaries Dataset and put its dataset folder into VOC2012",
        expected={"trainaug": 10582},
        ids=21,
        void=255,
        plan=voc.plan,
        roots=("VOCdevkit/VOC2012", "VOC2012"),
    ),
)

PREPARATIONS = MappingProxyType({row.key: row for row in _ROWS} | {"context60": _CONTEXT, "context59": _CONTEXT})
READY = MappingProxyType(  # data sets whose files are read as they were published
    {
        "voc21": "SegmentationClass is read as it is published; `voc` makes the augmented training set",
        "voc20": "SegmentationClass is read as it is published; `voc` makes the augmented training set",
        "ade20k": "ADEChallengeData2016 is read as it is published",
        "camvid": "the SegNet layout is read as it is published",
        "scenes": "`segloop scenes` writes what is read",
        "folder": "give images, masks and classes.txt",
    }
)

"""Rows of SFP and SC-CLIP, with the constants of every data set."""

from ..attention.purify import SFP
from ..common.records import Constants
from .method import Method, threshold

_PURIFIED: dict[str, Constants] = {
    "voc21": threshold(0.15, logit_scale=50.0, area_threshold=0.1),
    "context60": threshold(0.15),
    "coco-object": threshold(0.35, logit_scale=55.0),
    "cityscapes": {"short_side": 560},
}
SFP_ROW = Method(
    summary="outlier tokens repaired, attention enhanced by likeness, layers integrated",
    cost="one pass; outliers, three likenesses of patches",
    source="SFP's configurations (ICCV 2025); scale 40 on ViT-L/14 inferred from their comments",
    names="SFP",
    datasets={**_PURIFIED, "ade20k": {"short_side": 384}},
    by_size={
        "ViT-L/14": {
            "voc21": threshold(0.20, logit_scale=40.0),
            "coco-object": threshold(0.25, logit_scale=40.0),
        }
    },
    host="qq+kk",
    purify=SFP(),
)
SC_CLIP_ROW = Method(
    summary="as sfp, outliers by local density, key-key attention, likeness taken as it is",
    cost="one pass; outliers, three likenesses of patches",
    source="SC-CLIP's configurations",
    names="S",
    datasets=_PURIFIED,
    host="kk",
    purify=SFP(detector="lof", isolated="keep", raw_similarity=True, integrate="enhanced"),
)

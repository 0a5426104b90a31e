"""Rows of the methods that rest on regions of masks, with the constants of every data set."""

from dataclasses import replace

from ..attention.corrclip import CorrCLIP, Correlation
from ..attention.variants import Variant
from .baselines import BASELINES
from .method import Method

_PROXY = BASELINES["proxyclip"]
CORRCLIP_ROW = Method(
    summary="attention within regions of masks; values of earlier blocks, and what each region is as a whole, join in",
    source="CorrCLIP's release, first version",
    names="corrclip",
    defaults={**_PROXY.defaults, "vision_feature": "q+k"},
    datasets=_PROXY.datasets,
    pad=56,
    host=Variant(Correlation(), on_guide_grid=True),
    stages=(CorrCLIP(),),
    masks=True,
    uses="masks of regions; DINO",
    cost="one pass and a third, one of the guide, copies of the class token as further queries",
)
CORRCLIP_V2_ROW = replace(
    CORRCLIP_ROW,
    summary="as corrclip; the vision model sees the whole photo, and regions do not merge",
    source="CorrCLIP's release, second version, without its memory bank",
    names="corrclip-v2",
    defaults={**_PROXY.defaults, "vision_view": "photo"},
    datasets={**_PROXY.datasets, "cityscapes": {"short_side": 784, "crop": 224}},
    stages=(CorrCLIP(merge_distance=None),),
    uses="masks of regions; a vision model",
    cost="one pass and a third, one of the guide over the photo, copies of the class token as further queries",
    guide="dinov2-large",
)

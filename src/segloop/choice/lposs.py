"""Rows of LPOSS and LPOSS+ (spec 2.8): one set of constants for all data sets."""

from dataclasses import replace

from ..attention.operators import identity
from ..attention.variants import Variant
from ..maps.propagation import PatchGraph
from .method import BLACK, Method

LPOSS_ROW = Method(
    summary="words spread over a graph of all windows' patches, joined where a vision model finds them alike",
    source="LPOSS's configurations (CVPR 2025)",
    names="LPOSS",
    defaults={"short_side": 448, "logit_scale": 1.0, "vision_feature": "v"},
    pad=BLACK,
    synonyms_first=True,
    sized_positions=True,
    host=Variant(identity, residual=True, mlp=True),
    stages=(PatchGraph(),),
    cosines=False,
    guide="dino-b16",
    uses="a vision model",
    cost="one pass of each; likeness of all patches of a photo, ten passes over 400 neighbours of each",
)
LPOSS_PLUS_ROW = replace(
    LPOSS_ROW,
    summary="as lposs, then over a graph of the photo's pixels, joined where they lie close and are alike in colour",
    defaults={**LPOSS_ROW.defaults, "pixel_refine": True},
    cost=f"{LPOSS_ROW.cost}; the same over 168 of every pixel, which takes longest",
)

"""The row of Trident, whose windows are spliced before anything is compared with text."""

from ..attention.affinity import Trident
from ..attention.operators import identity
from ..attention.variants import Variant
from .method import Method, threshold

_TOO_FEW_ALIKE = 0.6  # what thresholds of SAM's affinity become that lie below 0
TRIDENT_ROW = Method(
    summary="windows mixed by DINO, spliced, and mixed again by SAM's affinity over the whole photo",
    source="Trident's configurations; refinement by SAM, which its evaluation switches on, is refine=sam",
    names="P",
    uses="DINO ViT-B/16 (--vision), SAM (--affinity)",
    cost="DINO on every window, SAM's encoder once a photo; refine=sam: its decoder once a class that shows",
    defaults={"short_side": 448, "crop": 336, "stride": 224},
    datasets={
        "voc21": threshold(0.20),
        "voc20": {"short_side": 336, "stride": 112, "cosine_factor": 0.0},
        "context60": threshold(0.15, short_side=576, coarse_threshold=0.15),
        "context59": {"short_side": 576, "coarse_threshold": 0.15},
        "coco-object": threshold(0.25, coarse_threshold=0.25),
        "coco-stuff": {"coarse_threshold": 0.05},
        "cityscapes": {
            "short_side": 688,
            "cosine_factor": 3.0,
            "negative_threshold": _TOO_FEW_ALIKE,
            "affinity_halves": True,
            "coarse_threshold": 0.10,
        },
        "ade20k": {"short_side": 576, "negative_threshold": _TOO_FEW_ALIKE, "coarse_threshold": 0.05},
        "ade847": {},
        "context459": {},
    },
    host=Variant(identity, on_guide_grid=True),
    stages=(Trident(),),
    guide="dino-b16",
    alone=True,
)

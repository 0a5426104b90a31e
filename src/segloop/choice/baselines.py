"""Rows of the hosts, and of feedback on them, with the constants of every data set."""

from ..common.records import Constants
from .method import PATCH, Method, threshold

PROXY_HOST = "proxyclip"

PROXY_GEOMETRY: dict[str, Constants] = {
    "cityscapes": {"short_side": 448, "crop": 224},
    "ade20k": {"short_side": 448},
    "ade847": {"short_side": 448},
    "context459": {"short_side": 448},
}
CLIP_THRESHOLDS = {
    "voc21": threshold(0.10),
    "context60": threshold(0.05),
    "coco-object": threshold(0.10),
}

BASELINES: dict[str, Method] = {
    "clip": Method(
        summary="plain CLIP: query-key attention, residual and MLP kept",
        cost="one pass",
        source="FSA's code base, vanilla CLIP column",
        names="P",
        defaults={"crop": 336},
        datasets={**PROXY_GEOMETRY, **CLIP_THRESHOLDS},
        pad=56,
    ),
    "maskclip": Method(
        summary="values as they are, no residual, no MLP",
        cost="one pass",
        source="geometry of segloop, thresholds of vanilla CLIP",
        names="clear",
        datasets=CLIP_THRESHOLDS,
        pad=PATCH,
        published=False,
    ),
    "sclip": Method(
        summary="query-query plus key-key attention, residual and MLP kept",
        cost="one pass",
        source="SCLIP's configurations",
        names="S",
        datasets={
            "voc21": threshold(0.1, logit_scale=65.0, area_threshold=0.1),
            "context60": threshold(0.1, logit_scale=50.0),
            "coco-object": threshold(0.1, logit_scale=50.0),
            "coco-stuff": {"short_side": 448},
            "cityscapes": {"short_side": 560},
        },
    ),
    "clearclip": Method(
        summary="query-query attention, no residual, no MLP",
        cost="one pass",
        source="ClearCLIP's configurations",
        names="clear",
        defaults={"short_side": 448, "crop": 448, "stride": 224, "logit_scale": 50.0},
        datasets={
            "voc21": threshold(0.5),
            "context60": threshold(0.15),
            "coco-object": threshold(0.4),
            "cityscapes": {"crop": 224},
        },
        pad=PATCH,
    ),
    "naclip": Method(
        summary="key-key attention drawn to its neighbourhood, no residual, no MLP; PAMR in its published rows",
        cost="one pass; PAMR on the map in its published rows",
        source="NACLIP's configurations",
        names="S",
        defaults={"pamr_steps": 10},
        datasets={
            "voc21": threshold(0.1, crop=0),
            "voc20": {"crop": 0},
            "context60": threshold(0.1),
            "coco-object": threshold(0.1),
            "cityscapes": {"short_side": 560},
        },
        whole_in_two_steps=True,
    ),
}

BASELINES["proxyclip"] = Method(
    summary="attention lent by a vision model: how alike patches look to it",
    uses="a vision model",
    cost="one pass of each; a matrix of likeness that heads share",
    source="ProxyCLIP's configurations",
    names="P",
    defaults={"crop": 336},
    datasets={
        **PROXY_GEOMETRY,
        "voc21": threshold(0.20),
        "context60": threshold(0.15),
        "coco-object": threshold(0.25),
    },
    pad=56,
    host=PROXY_HOST,
)
BASELINES["fsa"] = Method(
    summary="feedback: the output's own coherence, fed back into the attention of any host",
    uses="what its host uses",
    cost="its host, three readouts, and a matrix of patches by blocks of rows",
    source="FSA's configurations (arXiv 2508.20265)",
    names="P",
    defaults={"crop": 336},
    datasets={
        **PROXY_GEOMETRY,
        "voc21": threshold(0.20),
        "context60": threshold(0.14),
        "coco-object": threshold(0.30),
        "cityscapes": {"short_side": 448, "crop": 224, "stride": 80},
    },
    pad=56,
    host=PROXY_HOST,
)

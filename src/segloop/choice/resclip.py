"""The row of ResCLIP, with the constants of every data set."""

from typing import Any

from ..attention.resclip import ResCLIP
from ..common.records import Constants
from .method import Method


def _constants(rcs: float, tau: float, sfr: float, theta: float, background: float = 0, **others: Any) -> Constants:
    found = {"rcs_lambda": rcs, "sfr_tau": tau, "sfr_lambda": sfr, "feedback_threshold": theta, **others}
    return {**found, "background_threshold": background} if background else found


RESCLIP_ROW = Method(
    summary="attention of earlier blocks and the host's own labels drawn into its attention",
    cost="one pass, the last block twice, four attention calls, PAMR on a map of every window",
    source="ResCLIP's configurations (CVPR 2025)",
    names="S",
    datasets={
        "voc21": _constants(0.3, 2.2, 0.7, 0.50, 0.1, crop=0),
        "voc20": _constants(0.6, 2.1, 0.6, 0.10, crop=0),
        "context60": _constants(0.3, 1.8, 0.7, 0.30, 0.1),
        "context59": _constants(0.4, 1.8, 0.7, 0.25),
        "coco-object": _constants(0.4, 1.8, 0.7, 0.11, 0.1),
        "coco-stuff": _constants(0.4, 1.8, 0.7, 0.11),
        "cityscapes": _constants(0.2, 2.1, 0.6, 0.10, short_side=560),
        "ade20k": _constants(0.3, 2.1, 0.7, 0.25),
    },
    whole_in_two_steps=True,
    host="naclip",
    stages=(ResCLIP(),),
)

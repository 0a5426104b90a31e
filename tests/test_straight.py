"""The function to read is the product: the same labels on every kind of method."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from models import folder
from segloop import Segmenter, Vocabulary
from segloop.line.straight import straight_line

METHODS = {
    "clip": {"method": "clip"},
    "naclip with PAMR": {"method": "naclip", "pamr_steps": 2},
    "sfp": {"method": "sfp"},
    "fsa on proxyclip": {"host": "proxyclip", "vision": "dino"},
    "fsa on sfp on proxyclip": {"host": "sfp:proxyclip", "vision": "dino"},
}


@pytest.mark.parametrize("fidelity", ["default", "reference"])
@pytest.mark.parametrize("method", METHODS)
def test_it_says_what_the_segmenter_says(tmp_path, method, fidelity):
    options = dict(METHODS[method])
    if "vision" in options:
        options["vision"] = folder(tmp_path, options["vision"])
    geometry = {"short_side": 96, "crop": 96, "stride": 16, "dtype": "float32", "fidelity": fidelity}
    segmenter = Segmenter.from_pretrained(folder(tmp_path, "b16"), **geometry, **options)
    photo = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    rows = F.normalize(torch.randn(4, segmenter.clip.width, generator=torch.Generator().manual_seed(1)), dim=-1)
    words = Vocabulary(["grass", "sand", "water", "red"], embeddings=rows)
    assert (straight_line(segmenter, photo, words).numpy() == segmenter(photo, words).labels).all()


def test_it_encodes_words_as_the_segmenter_does(toy_clip):
    segmenter = Segmenter.from_pretrained(toy_clip, method="naclip", dtype="float32", rows=lambda table: table[:, 0])
    words, photo = Vocabulary(["road", "sky", "car"], templates=["{}", "no {}"]), np.zeros((64, 64, 3), np.uint8)
    photo[:, 20:] = 200, 90, 40
    assert (straight_line(segmenter, photo, words).numpy() == segmenter(photo, words).labels).all()

"""No Python where nobody writes Python: errors of the command line; reprs that fit a line or two."""

import re

import numpy as np
import pytest

from command import complaint
from segloop import Segmentation, Segmenter, Vocabulary
from segloop.common.visible import plain

PYTHON = re.compile(r"\bNone\b|\bTrue\b|\bFalse\b|<class|<function|<\w+\.\w+|\(\d+, |\[['\d]|\{'|\b\w+=['\"]|\w\(\)")
WORDS = ("--classes", "grass, sand")
FAULTS = [  # of `segment`, of `evaluate`, of others
    ("segment", "PHOTO", *WORDS, "--set", "crop=none,none"),
    ("segment", "PHOTO", *WORDS, "--set", "stride=true"),
    ("segment", "PHOTO", *WORDS, "--set", "stride=wide"),
    ("segment", "PHOTO", *WORDS, "--set", "stride=1,2"),
    ("segment", "PHOTO", *WORDS, "--set", "logit_scale=-1"),
    ("segment", "PHOTO", *WORDS, "--set", "logit_scale=none"),
    ("segment", "PHOTO", *WORDS, "--set", "background_threshold=2"),
    ("segment", "PHOTO", *WORDS, "--set", "background_threshold=0.5"),
    ("segment", "PHOTO", *WORDS, "--set", "pamr_steps=3", "--set", "pamr_dilations=0,1"),
    ("segment", "PHOTO", *WORDS, "--set", "residual=3"),
    ("segment", "PHOTO", *WORDS, "--set", "terms=new,old"),
    ("segment", "PHOTO", *WORDS, "--set", "divergence=kll"),
    ("segment", "PHOTO", *WORDS, "--method", "sclip", "--set", "vision_feature=k"),
    ("segment", "PHOTO", *WORDS, "--set", "vision_feature=none"),
    ("segment", "PHOTO", *WORDS, "--method", "sfp", "--set", "detector=none,som"),
    ("segment", "PHOTO", *WORDS, "--method", "sfp", "--set", "repair=2"),
    ("segment", "PHOTO", *WORDS, "--method", "sclip", "--vision", "dino"),
    ("segment", "PHOTO", *WORDS, "--bands", "0,1"),
    ("segment", "PHOTO", *WORDS, "--bands", "a,b,c"),
    ("segment", "PHOTO", *WORDS, "--dtype", "half"),
    ("segment", "PHOTO", *WORDS, "--device", "gpu"),
    ("segment", "PHOTO", *WORDS, "--fidelity", "exact"),
    ("segment", "PHOTO", *WORDS, "--templates", "a photo"),
    ("segment", "PHOTO", "--classes", "grass,,sand"),
    ("segment", "PHOTO", "--classes-file", "colours.csv"),
    ("segment", "PHOTO", "--classes-file", "records.json"),
    ("segment", "PHOTO", "--classes-file", "nested.json"),
    ("segment", "PHOTO"),
    ("evaluate", "scenes", "--data", "DATA", "--mask-values", "x"),
    ("evaluate", "scenes", "--data", "DATA", "--fsa", "on"),
    ("evaluate", "scenes", "--data", "DATA", "--devices", "cpu,"),
    ("evaluate", "scenes", "--data", "DATA", "--split", "train"),
    ("evaluate", "scenes", "--data", "DATA", "--methods", "all", "--fsa", "yes"),
    ("evaluate", "--from-scores", "nowhere", "--out", "x"),
    ("report", "nowhere"),
    ("report", "record"),
    ("scenes", "out", "--size", "3"),
    ("inspect", "PHOTO", *WORDS, "--point", "1"),
]


@pytest.mark.parametrize("words", FAULTS, ids=" ".join)
def test_errors_of_the_command_line_hold_no_python(segloop, street, drawn, tmp_path, words):
    (tmp_path / "colours.csv").write_text("name,r,g,b\ngrass,1,2,3\nsand,300,1,2\n")
    (tmp_path / "records.json").write_text('[{"name": null, "id": true}]')
    (tmp_path / "nested.json").write_text('[["a", "b"], 3]')
    (tmp_path / "record").mkdir()
    (tmp_path / "record" / "run.json").write_text('{"format": null}')
    places = {"PHOTO": street, "DATA": drawn}
    clip = ("--clip", "tiny") if words[0] in ("segment", "inspect") else ()
    told = complaint(segloop(*(places.get(word, word) for word in words), *clip))
    for place in (tmp_path, street, drawn):
        told = told.replace(str(place), "PLACE")
    assert not PYTHON.search(told), told


def test_values_are_said_as_they_are_typed():
    assert [plain(value) for value in (None, True, (1, 2.5), ["a", None], "word", 0.5)] == [
        *("none", "on", "1,2.5", "a,none", "word", "0.5")
    ]


# --- reprs

SHORT = 2 * 110  # two lines


def test_reprs_fit_two_lines():
    words = Vocabulary([f"class number {n} with a long name" for n in range(300)])
    assert repr(words).startswith("Vocabulary(300 classes, 300 words: class number 0") and len(repr(words)) <= SHORT
    assert repr(Vocabulary(["road=a|b"])) == "Vocabulary(1 class, 2 words: road)"
    assert repr(Vocabulary.benchmark("voc20")) == (
        "Vocabulary(voc20/P, 20 classes, 20 words: aeroplane, bicycle, bird, boat ...)"
    )
    segmenter = Segmenter.from_pretrained("tiny", method="sfp", host="sclip", dtype="float32")
    assert repr(segmenter) == "Segmenter(tiny: sfp on sclip, fidelity default, float32 on cpu)"
    classes = [f"a class with quite a long name, of which there are many, number {n}" for n in range(50)]
    share = dict.fromkeys(classes, 0.02)
    labels = np.zeros((375, 500), np.int64)
    made = Segmentation(labels, classes, None, share, dict.fromkeys(classes), np.zeros((375, 500, 3), np.uint8))
    assert repr(made).startswith("Segmentation(a photo, 375 x 500: a class") and len(repr(made)) <= SHORT

"""An attention of your own: `--method FILE.py:function`, and the same as a Python function."""

import numpy as np
import pytest
from PIL import Image
from torch.nn.functional import scaled_dot_product_attention

from command import WORDS, complaint, done, record
from segloop import Segmenter, Vocabulary

IDEA = """
from dataclasses import dataclass
from torch.nn.functional import scaled_dot_product_attention
from neighbour import HALF

@dataclass
class Half:
    block: "LastBlock"

    def __call__(self, values):
        block = self.block
        return HALF * (scaled_dot_product_attention(block.q, block.q, values, scale=block.scale) + values)

def mix(block):
    return Half(block)
"""


def mix(block):
    """What IDEA does."""
    q = block.q
    return lambda values: 0.5 * (scaled_dot_product_attention(q, q, values, scale=block.scale) + values)


@pytest.fixture
def idea(tmp_path):
    """Writes idea.py, and neighbour.py that it may import."""

    def write(text: str) -> str:
        (tmp_path / "neighbour.py").write_text("HALF = 0.5\n")
        (tmp_path / "idea.py").write_text(text)
        return "idea.py"

    return write


def test_a_file_is_the_same_as_a_function(segment, street, toy_clip, tmp_path, idea):
    done(segment(street, *WORDS, "--method", f"{idea(IDEA)}:mix", "--dtype", "float32"))
    segmenter = Segmenter.from_pretrained(toy_clip, method=mix, dtype="float32")
    expected = segmenter(street, Vocabulary(["road", "car | automobile", "sky"], templates="plain"))
    with Image.open(tmp_path / "segloop-out/street.png") as found:
        np.testing.assert_array_equal(np.array(found), expected.labels)
    told = record(tmp_path / "segloop-out/street")
    assert told["settings"]["method"] == "idea.py:mix" and expected.settings["method"].endswith(":mix")
    for other in ("qq", "maskclip"):
        assert (Segmenter.from_pretrained(toy_clip, method=other)(street, list("abc")).labels != expected.labels).any()


RECORD = """
from dataclasses import dataclass
from typing import Literal
from torch.nn.functional import scaled_dot_product_attention

@dataclass(frozen=True)
class Tau:
    tau: float = 0.5
    shape: Literal["point", "line"] = "point"

    def __call__(self, block):
        own = 1.0 if self.shape == "point" else 0.0
        return lambda v: self.tau * scaled_dot_product_attention(block.q, block.q, v, scale=block.scale) + own * v

small = Tau(tau=0.1)
"""


def test_constants_of_your_own_record_are_settings(segment, street, tmp_path, idea):
    place = idea(RECORD)
    for name, sets, expected in (
        ("Tau", (), {"tau": 0.5, "shape": "point"}),
        ("small", (), {"tau": 0.1, "shape": "point"}),
        ("Tau", ("--set", "tau=2", "--set", "shape=line"), {"tau": 2.0, "shape": "line"}),
    ):
        for how in ("--method", "--host"):
            done(segment(street, *WORDS, how, f"{place}:{name}", *sets))
            told = record(tmp_path / "segloop-out/street")["settings"]
            assert {key: told[key] for key in expected} == expected
            assert f"idea.py:{name}" in (told["method"], told.get("host")) and "sigma" not in told
    for sets, words in (("tau=wide", "give a number"), ("shape=lime", "did you mean 'line'"), ("tua=1", "'tau'")):
        assert words in complaint(segment(street, *WORDS, "--method", f"{place}:Tau", "--set", sets))
    assert "belongs to naclip" in complaint(segment(street, *WORDS, "--method", f"{place}:Tau", "--set", "sigma=2"))


def test_a_constant_may_not_bear_the_name_of_another_setting(segment, street, idea):
    text = RECORD.replace("tau", "crop")
    assert "is the name of another setting" in complaint(segment(street, *WORDS, "--method", f"{idea(text)}:Tau"))


FAULTS = {
    "def mix(block):\n    raise KeyError('no such\\nthing')": ("idea.py:mix fails (KeyError", "mend it"),
    "def mix(block):\n    return lambda values: values @ values": ("fails (RuntimeError", "--debug"),
    "def mix(block):\n    return lambda values: values[:, :1]": ("idea.py:mix made (", "keeps the shape"),
    "def mix(block):\n    return block.v": ("returned Tensor, not a function", "return a Mix"),
    "def mix(block):\n    return lambda values: None": ("made NoneType of values", "returns a tensor"),
    "def mux(block):\n    return lambda values: values": ("no function 'mix'", "did you mean 'mux'?"),
    "import math": ("no function 'mix'", "write one"),
    "def mix(block)": ("fails when run (SyntaxError", "line 1"),
    "import no_such_module": ("fails when run (ModuleNotFoundError", "mend it"),
    "raise SystemExit": ("fails when run (SystemExit", "mend it"),
}


@pytest.mark.parametrize("text", FAULTS, ids=range(len(FAULTS)))
def test_faults_are_told_as_those_of_the_file(segment, street, idea, text):
    told = complaint(segment(street, *WORDS, "--method", f"{idea(text)}:mix"))
    assert all(part in told for part in FAULTS[text]), told


def test_a_place_that_is_none(segment, street, idea):
    told = complaint(segment(street, *WORDS, "--method", "missing.py:mix"))
    assert "no file 'missing.py'" in told and "FILE.py:function" in told
    for place in ("idea.py", "idea.py:"):
        assert "write idea.py:function" in complaint(segment(street, *WORDS, "--method", place))


def test_debug_shows_the_line_of_the_file(segment, street, idea):
    result = segment(street, *WORDS, "--debug", "--method", f"{idea('def mix(block): return 1 / 0')}:mix")
    assert result.exit_code == 2
    assert "def mix(block): return 1 / 0" in result.stderr and "ZeroDivisionError" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: ")

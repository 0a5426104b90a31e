"""An attention of your own: `--method FILE.py:function`, and the same as a Python function."""

import json

import numpy as np
import pytest
from PIL import Image
from torch.nn.functional import scaled_dot_product_attention

from command import WORDS, complaint, done, record
from segloop import Segmenter, Vocabulary
from segloop.errors import OptionError

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
    "def mix(block):\n    return lambda values: values.float().numpy()": ("made ndarray of values", "returns a tensor"),
    "def mux(block):\n    return lambda values: values": ("no function 'mix'", "did you mean 'mux'?"),
    "import math": ("no function 'mix'", "write one"),
    "def mix(block)": ("fails when run (SyntaxError", "line 1"),
    "import no_such_module": ("fails when run (ModuleNotFoundError", "mend it"),
    "from .helper import K": ("fails when run (ImportError", "write `from name import ...`"),
    "def mix(block):\n    return lambda values: values\nmix.needs = {1, 2}": (
        "needs of attention",
        "is a set",
        "lambda depth",
    ),
    "raise SystemExit": ("fails when run (SystemExit", "mend it"),
}


@pytest.mark.parametrize("text", FAULTS, ids=range(len(FAULTS)))
def test_faults_are_told_as_those_of_the_file(segment, street, idea, text):
    told = complaint(segment(street, *WORDS, "--method", f"{idea(text)}:mix"))
    assert all(part in told for part in FAULTS[text]), told


ROUTES = (("--method", "{}"), ("--host", "{}"), ("--method", "sfp", "--host", "{}"))
WRONG = {
    "lambda values: values[:, :1]": ("idea.py:mix made (", "keeps the shape"),
    "lambda values: values[..., :-1]": ("idea.py:mix made (", "keeps the shape"),
    "lambda values: values * float('nan')": ("error: attention ", "idea.py:mix made NaN or infinity", "mend it"),
    "lambda values: values.float() * 1j": ("idea.py:mix made complex numbers", "return real ones"),
    "lambda values: values / 0": ("error: attention ", "idea.py:mix made NaN or infinity", "mend it"),
}


@pytest.mark.parametrize("route", ROUTES, ids=("method", "host", "sfp"))
@pytest.mark.parametrize("code", WRONG, ids=range(len(WRONG)))
def test_what_a_mix_makes_is_told_on_every_route(segment, street, idea, route, code):
    place = f"{idea('def mix(block):' + chr(10) + '    return ' + code)}:mix"
    told = complaint(segment(street, *WORDS, *(word.format(place) for word in route)))
    assert all(part in told for part in WRONG[code]), told


@pytest.mark.parametrize("route", ROUTES, ids=("method", "host", "sfp"))
@pytest.mark.parametrize("kind", ["double", "half", "float"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_mix_may_compute_in_another_precision(segment, street, idea, route, kind, dtype):
    place = f"{idea(f'def mix(block):{chr(10)}    return lambda values: values.{kind}()')}:mix"
    done(segment(street, *WORDS, *(word.format(place) for word in route), "--dtype", dtype))


def test_a_function_of_python_is_held_to_the_same(street, toy_clip):
    for code in (lambda values: values[:, :1], lambda values: values / 0):
        for how in ("method", "host"):
            segmenter = Segmenter.from_pretrained(toy_clip, **{how: lambda block, code=code: code})
            with pytest.raises(OptionError, match=r"attention test_own_attention:.* made"):
                segmenter(street, ["a", "b"])


NO_MIX = {
    "None": ("returned NoneType, not a function", "return a Mix"),
    "block.v": ("returned Tensor, not a function", "return a Mix"),
    "block.v.numpy()": ("returned ndarray, not a function", "return a Mix"),
    "lambda values: None": ("made NoneType of values", "returns a tensor"),
    "lambda values: values.numpy()": ("made ndarray of values", "returns a tensor"),
    "lambda values: (values, 1)": ("made tuple of values", "returns a tensor"),
}


@pytest.mark.parametrize("text", NO_MIX)
def test_what_is_no_mix_is_told_in_python_too(street, toy_clip, text):
    attention = eval(f"lambda block: {text}")
    for how in ({"method": attention}, {"host": attention}, {"method": "sfp", "host": attention}):
        segmenter = Segmenter.from_pretrained(toy_clip, dtype="float32", **how)
        with pytest.raises(OptionError) as raised:
            segmenter(street, ["a", "b"])
        assert all(part in str(raised.value) for part in NO_MIX[text]), raised.value


def test_a_file_behind_a_method_is_told_how(segment, street, idea):
    told = complaint(segment(street, *WORDS, "--host", f"sfp:{idea(IDEA)}:mix"))
    assert "names two methods; write --method sfp --host idea.py:mix" in told


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


def test_a_recipe_with_an_attention_of_your_own_is_its_recipe(evaluate, tmp_path, idea):
    """SCLIP's attention in a file of one's own, under SCLIP's recipe: SCLIP's numbers, to the byte."""
    place = idea("from segloop.attention import product\nmix = product('qq+kk')")
    sets = ("--set", "short_side=64", "--set", "crop=64", "--set", "stride=32")
    common = ("--recipe", "sclip/voc20", *sets, "--limit", 2)
    for name, own in {"published": (), "own": ("--method", f"{place}:mix")}.items():
        assert evaluate(*common, *own, "--out", name).exit_code == 0
    published, own = (json.loads((tmp_path / name / "run.json").read_text()) for name in ("published", "own"))
    assert own["metrics"] == published["metrics"] and own["settings"]["method"] == "idea.py:mix"
    same = ("recipe", "residual", "mlp", "logit_scale", "stride", "vocabulary")
    assert {name: own["settings"][name] for name in same} == {name: published["settings"][name] for name in same}
    told = segloop_lines(evaluate(*common[2:], "--recipe", "sfp/voc20", "--method", f"{place}:mix", "--out", "none"))
    assert "give it as the host" in told[-1]


def segloop_lines(result):
    assert result.exit_code == 2
    return result.stderr.splitlines()

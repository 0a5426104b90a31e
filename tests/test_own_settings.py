"""An attention of your own as a full citizen: parameters as settings, swept in one run; what the block tells it."""

import json

import pytest
import torch

from command import WORDS, complaint, done, record
from segloop import Segmenter
from segloop.errors import OptionError

MIX = """
from typing import Literal

from segloop.attention import product

def mix(block, *, lambda_=1.0, back: int = 0, mode="soft", taps=(1, 2), scale_by=None, steps=3, on=True,
        turn: Literal["on", "off", "half"] = "half"):
    assert type(lambda_) is float and type(back) is int and mode in ("soft", "hard")
    similar = product("qq")(block)
    return lambda values: lambda_ * similar(values) + (1 - lambda_) * values
"""
OWN = {
    "lambda_": 1.0,
    "back": 0,
    "mode": "soft",
    "taps": [1, 2],
    "scale_by": None,
    "steps": 3,
    "on": True,
    "turn": "half",
}


@pytest.fixture
def mine(tmp_path):
    (tmp_path / "idea.py").write_text(MIX)
    return ("--method", "idea.py:mix")


def sets(**values):
    return [word for name, value in values.items() for word in ("--set", f"{name}={value}")]


def run_of(folder):
    return json.loads((folder / "run.json").read_text())


def test_parameters_are_settings(segment, street, tmp_path, mine):
    for changes, expected in (
        ({}, OWN),
        ({"lambda_": 2, "mode": "hard"}, {**OWN, "lambda_": 2.0, "mode": "hard"}),
        (
            {"taps": "3", "scale_by": 0.5, "steps": 0.5, "on": "off", "turn": "on"},
            {**OWN, "taps": [3], "scale_by": 0.5, "steps": 0.5, "on": False, "turn": "on"},
        ),
        ({"on": "no", "turn": "off"}, {**OWN, "on": False, "turn": "off"}),
        ({"on": "yes", "turn": "half"}, OWN),
    ):
        done(segment(street, *WORDS, *mine, *sets(**changes)))
        told = record(tmp_path / "segloop-out/street")["settings"]
        assert {name: told[name] for name in OWN} == expected and told["method"] == "idea.py:mix"


def test_parameters_are_checked(segment, street, tmp_path, mine):
    for text, words in (
        ("lamda_=2", "did you mean 'lambda_'"),
        ("lambda_=wide", "setting lambda_=wide; give a number"),
        ("lambda_=nan", "lambda_=nan is not possible; it must be finite"),
        ("back=0.5", "give a whole number"),
        ("steps=many", "give a number"),
        ("back=none", "cannot be off"),
        ("on=maybe", "setting on=maybe; give on or off"),
        ("back=1,2", "setting back=1,2; give a whole number"),
        ("sigma=2", "belongs to naclip"),
    ):
        assert words in complaint(segment(street, *WORDS, *mine, "--set", text))
    told = complaint(segment(street, *WORDS, "--host", "idea.py:mix"))  # feedback has a lambda_ too
    assert "constant 'lambda_' of attention idea.py:mix is the name of another setting, of feedback (FSA)" in told
    assert "such as own_lambda" in told
    (tmp_path / "idea.py").write_text("def mix(block, share):\n    return lambda values: values\n")
    assert "parameter 'share' of attention mix has no default; write mix(block, ...)" in complaint(
        segment(street, *WORDS, *mine)
    )


def test_parameters_are_settings_in_python_too(toy_clip, street):
    def mix(block, *, share: float = 1.0):
        return lambda values: share * values + (1 - share) * values.mean(2, keepdim=True)

    plain, half, same = (
        Segmenter.from_pretrained(toy_clip, method=mix, dtype="float32", **own).cosines(street, ["a", "b"])
        for own in ({}, {"share": 0.5}, {"share": 1})
    )
    assert same.equal(plain) and not half.allclose(plain)
    assert Segmenter.from_pretrained(toy_clip, method=mix, share=2).plan.constants["share"] == 2.0
    with pytest.raises(OptionError, match="did you mean 'share'"):
        Segmenter.from_pretrained(toy_clip, method=mix, shares=2)


def test_a_setting_that_comes_twice_is_refused(segment, evaluate, street):
    words = "setting 'stride' came twice (the second time as 'stride=112'); give it once"
    twice = ("--set", "stride=80", "--set", "stride=112")
    for told in (segment(street, *WORDS, *twice), evaluate(*twice)):
        assert words in complaint(told)


def test_values_of_a_setting_are_runs_that_share_networks(evaluate, tmp_path, mine, monkeypatch):
    from segloop.backbones import shared

    opened = []
    load = shared.load_clip
    monkeypatch.setattr(shared, "load_clip", lambda *how: opened.append(how) or load(*how))
    told = evaluate("--limit", 2, *mine, *sets(lambda_="0.5,1,2"), "--out", "runs", "--json")
    assert told.exit_code == 0 and len(opened) == 1
    lines = [json.loads(line) for line in told.stdout.splitlines()]
    places = [f"runs/scenes/idea-mix/lambda_={value}" for value in ("0.5", "1", "2")]
    assert [line["run"] for line in lines] == places
    assert [run_of(tmp_path / place)["settings"]["lambda_"] for place in places] == [0.5, 1.0, 2.0]
    alone = evaluate("--limit", 2, *mine, *sets(lambda_=0.5), "--out", "alone")
    assert alone.exit_code == 0
    assert (tmp_path / places[0] / "run.json").read_bytes() == (tmp_path / "alone" / "run.json").read_bytes()
    again = evaluate("--limit", 2, *mine, *sets(lambda_="0.5,1,2"), "--out", "runs")
    assert again.stderr.count("holds this run, done") == 3


def test_values_of_several_settings_are_all_pairs(evaluate, tmp_path, mine):
    swept = sets(lambda_="0,1", mode="soft,hard", taps="4,5")
    assert evaluate("--limit", 1, *mine, *swept, "--out", "runs").exit_code == 0
    found = sorted(path.parent.name for path in tmp_path.glob("runs/scenes/idea-mix/*/run.json"))
    assert found == ["lambda_=0,mode=hard", "lambda_=0,mode=soft", "lambda_=1,mode=hard", "lambda_=1,mode=soft"]
    run = run_of(tmp_path / "runs/scenes/idea-mix/lambda_=0,mode=hard")
    assert run["settings"]["taps"] == [4, 5]  # one value, which is a list


def test_methods_of_segloop_are_swept_too(evaluate, tmp_path):
    options = ("--limit", 1, "--methods", "naclip,clearclip", *sets(logit_scale="20,40"), "--out", "runs")
    assert evaluate(*options).exit_code == 0
    found = {path.parent.relative_to(tmp_path).as_posix() for path in tmp_path.glob("runs/**/run.json")}
    assert found == {f"runs/scenes/{m}/logit_scale={s}" for m in ("naclip", "clearclip") for s in (20, 40)}
    one = evaluate("--limit", 1, "--host", "qq", *sets(terms="new,new_old"), "--out", "one")
    assert one.exit_code == 0, one.output
    assert run_of(tmp_path / "one")["settings"]["feedback"]["terms"] == ["new", "new_old"]
    told = evaluate("--limit", 1, "--method", "naclip", *sets(sigma="2,wide"), "--out", "bad")
    assert told.exit_code == 2 and "give a number" in told.stderr


def attending(needs, reads):
    """An attention that asks for the blocks of `needs`, and remembers what the block told of those in `reads`."""
    from segloop.attention import Needs

    seen = {}

    def mix(block):
        seen["x"], seen["grid"], seen["q"] = block.x, block.grid, block.q
        seen.update({number: block.states[number] for number in reads})
        return lambda values: values

    mix.needs = lambda depth: Needs(states=frozenset(needs(depth)))
    return mix, seen


@pytest.mark.parametrize("how", ["method", "host", "sfp"])
def test_earlier_blocks_and_the_input_of_the_last_can_be_read(toy_clip, how):
    mix, seen = attending(lambda depth: {0, 1, depth - 1}, (0, 1, 2))
    choice = {"method": "sfp", "host": mix, "detector": "none"} if how == "sfp" else {how: mix}
    layers = {"similarity_layer": 1 / 3, "detail_layer": 1 / 3, "state_layers": (2 / 3,)} if how == "sfp" else {}
    segmenter = Segmenter.from_pretrained(toy_clip, dtype="float32", **choice, **layers)
    pixels = torch.rand(2, 3, 64, 48, generator=torch.Generator().manual_seed(0))
    text = torch.eye(16)[:3]
    segmenter.logits(pixels, text)
    tower = segmenter.clip
    last, states = tower.tokens(pixels, (0, 1))
    expected = {**states, 2: last}
    assert {number: tuple(seen[number].shape) for number in expected} == dict.fromkeys(expected, (2, 1 + 48, 32))
    assert all(seen[number].allclose(state) for number, state in expected.items())
    assert seen["x"].shape == (2, seen["q"].shape[2], 32) and seen["grid"] == (8, 6)
    assert tower.open_block(seen["x"], (8, 6)).q.allclose(seen["q"], atol=1e-5)
    if how != "sfp":
        assert seen["x"].equal(last)


def test_blocks_that_cannot_be_read_are_told(toy_clip, street):
    for needs, reads, words in (
        (lambda depth: {5}, (), "needs the output of block 5; there are those of 0"),
        (lambda depth: {depth}, (), "needs the output of block 3"),
        (lambda depth: {1}, (0,), "reads the output of block 0, and there are those of 1; ask for it"),
    ):
        segmenter = Segmenter.from_pretrained(toy_clip, method=attending(needs, reads)[0])
        with pytest.raises(OptionError, match=words):
            segmenter(street, ["a", "b"])


def test_an_attention_of_a_file_may_ask_for_blocks(segment, street, tmp_path):
    text = """
from dataclasses import dataclass
from segloop.attention import Needs

@dataclass(frozen=True)
class Early:
    block: int = 1

    def needs(self, depth):
        return Needs(states=frozenset({self.block}))

    def __call__(self, block):
        assert set(block.states) == {self.block}
        return lambda values: values
"""
    (tmp_path / "early.py").write_text(text)
    for changes in ((), ("--set", "block=2")):
        done(segment(street, *WORDS, "--method", "early.py:Early", *changes))
    told = complaint(segment(street, *WORDS, "--method", "early.py:Early", "--set", "block=7"))
    assert "attention early.py:Early needs the output of block 7" in told

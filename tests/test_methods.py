"""The tables say what the papers say, and options win in the stated order."""

import json

import pytest
import torch

from command import complaint, done
from segloop import Segmenter
from segloop.attention.feedback import FSA
from segloop.choice.methods import METHODS, RECIPES
from segloop.choice.naming import Choice
from segloop.choice.plan import Plan
from segloop.choice.plan import resolve as resolve_choice
from segloop.choice.settings import Deciding, Geometry, Surroundings
from segloop.common.keys import BENCHMARKS
from segloop.common.records import override, parse_assignments
from segloop.errors import OptionError, UserError
from segloop.maps.refine import MAP_STEPS, PAMR


def resolve(method=None, folder=None, **choice) -> Plan:
    return resolve_choice(Choice(method, **choice), folder)


PUBLISHED = [  # spec 0.7: recipe, short side, crop, stride, scale, threshold, area rule, names
    ("sclip/voc21", 336, 224, 112, 65, 0.1, 0.1, "S"),
    ("sclip/voc20", 336, 224, 112, 40, None, None, "S"),
    ("sclip/context60", 336, 224, 112, 50, 0.1, None, "S"),
    ("sclip/coco-stuff", 448, 224, 112, 40, None, None, "S"),
    ("sclip/cityscapes", 560, 224, 112, 40, None, None, "S"),
    ("clearclip/voc21", 448, 448, 224, 50, 0.5, None, "clear"),
    ("clearclip/cityscapes", 448, 224, 224, 50, None, None, "clear"),
    ("clearclip/coco-object", 448, 448, 224, 50, 0.4, None, "clear"),
    ("naclip/voc21", 336, 0, 112, 40, 0.1, None, "S"),
    ("naclip/voc20", 336, 0, 112, 40, None, None, "S"),
    ("naclip/ade20k", 336, 224, 112, 40, None, None, "S"),
    ("clip/voc21", 336, 336, 112, 40, 0.1, None, "P"),
    ("clip/context60", 336, 336, 112, 40, 0.05, None, "P"),
    ("clip/cityscapes", 448, 224, 112, 40, None, None, "P"),
    ("clip/ade847", 448, 336, 112, 40, None, None, "P"),
    ("proxyclip/context60", 336, 336, 112, 40, 0.15, None, "P"),
    ("proxyclip/cityscapes", 448, 224, 112, 40, None, None, "P"),
    ("proxyclip/coco-object", 336, 336, 112, 40, 0.25, None, "P"),
    ("fsa/voc21", 336, 336, 112, 40, 0.2, None, "P"),
    ("fsa/context60", 336, 336, 112, 40, 0.14, None, "P"),
    ("fsa/coco-object", 336, 336, 112, 40, 0.3, None, "P"),
    ("fsa/cityscapes", 448, 224, 80, 40, None, None, "P"),
    ("fsa/context459", 448, 336, 112, 40, None, None, "P"),
    ("sfp/voc21", 336, 224, 112, 50, 0.15, 0.1, "SFP"),
    ("sfp/voc20", 336, 224, 112, 40, None, None, "SFP"),
    ("sfp/context60", 336, 224, 112, 40, 0.15, None, "SFP"),
    ("sfp/coco-object", 336, 224, 112, 55, 0.35, None, "SFP"),
    ("sfp/cityscapes", 560, 224, 112, 40, None, None, "SFP"),
    ("sfp/ade20k", 384, 224, 112, 40, None, None, "SFP"),
    ("sc-clip/voc21", 336, 224, 112, 50, 0.15, 0.1, "S"),
    ("sc-clip/context60", 336, 224, 112, 40, 0.15, None, "S"),
    ("sc-clip/coco-object", 336, 224, 112, 55, 0.35, None, "S"),
    ("sc-clip/coco-stuff", 336, 224, 112, 40, None, None, "S"),
    ("sc-clip/cityscapes", 560, 224, 112, 40, None, None, "S"),
    ("sc-clip/ade20k", 336, 224, 112, 40, None, None, "S"),
    ("resclip/voc21", 336, 0, 112, 40, 0.1, None, "S"),
    ("resclip/coco-object", 336, 224, 112, 40, 0.1, None, "S"),
    ("resclip/cityscapes", 560, 224, 112, 40, None, None, "S"),
    ("maskclip/voc21", 336, 224, 112, 40, 0.1, None, "clear"),
    ("maskclip/cityscapes", 336, 224, 112, 40, None, None, "clear"),
]


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: row[0])
def test_published_rows(row):
    name, short_side, crop, stride, scale, threshold, area, names = row
    recipe, plan = RECIPES[name], resolve(recipe=name)
    found = plan.geometry
    assert (found.short_side, found.crop, found.stride, plan.deciding.logit_scale) == (short_side, crop, stride, scale)
    assert (plan.deciding.background_threshold, plan.deciding.area_threshold, recipe.names) == (threshold, area, names)
    assert recipe.source


def test_every_method_has_a_recipe_for_every_data_set():
    assert set(RECIPES) == {f"{method}/{key}" for method in METHODS for key in BENCHMARKS}
    assert RECIPES["naclip/voc21"].constants["pamr_steps"] == 10
    assert "not published" in RECIPES["sclip/ade847"].source
    assert RECIPES["sclip/ade847"].names == "P"


def test_overrides_win_over_method_recipe_folder_and_row():
    folder = {"method": "clearclip", "short_side": 96, "crop": 64, "stride": 32}
    assert resolve(folder=folder).method == "clearclip"
    assert resolve(folder=folder).geometry.crop == 64
    assert resolve("naclip", folder=folder).method == "naclip"
    assert resolve("naclip", folder=folder).geometry.crop == 64
    assert resolve("naclip", folder=folder).map_steps == tuple(MAP_STEPS.values())
    assert resolve(recipe="sclip/voc21", folder=folder).geometry.crop == 224
    assert resolve(recipe="sclip/voc21", folder=folder).deciding.logit_scale == 65
    assert resolve("naclip", dataset="voc21") == resolve(recipe="naclip/voc21")
    assert resolve(recipe="sclip/voc21", overrides={"logit_scale": 20}).deciding.logit_scale == 20
    assert resolve(recipe="sclip/voc21", overrides={"area_threshold": None}).deciding.area_threshold is None


def test_without_a_recipe_nothing_is_thrown_away():
    for method in (*(name for name in METHODS if name != "lposs+"), "qq+kk"):  # whose step is what it is
        plan = resolve(method)
        assert (plan.deciding.background_threshold, plan.deciding.area_threshold) == (None, None)
        assert plan.map_steps == tuple(MAP_STEPS.values()) and not any(step.is_on for step in plan.map_steps)
        assert plan.geometry == resolve(method, dataset="voc20").geometry


def test_residual_and_mlp_follow_the_method_unless_told():
    assert (resolve("sclip").around.residual, resolve("sclip").around.mlp) == (True, True)
    assert (resolve("qq+kk").around.residual, resolve("qq+kk").around.mlp) == (False, False)
    told = resolve("qq", overrides={"residual": True, "mlp": True})
    assert (told.around.residual, told.around.mlp) == (True, True)
    assert resolve("clip", overrides={"residual": None}).around.residual is False


def test_your_own_attention_takes_the_row_of_products():
    def mine(block):
        return lambda values: values

    plan = resolve(mine)
    assert plan.method == f"{__name__}:mine"
    assert plan.constants == resolve("qq").constants
    assert (plan.around.residual, plan.around.mlp) == (False, False)


OWN = {"own": lambda block: lambda values: values, "product": "qq+kk"}


@pytest.mark.parametrize("method", OWN.values(), ids=OWN)
def test_a_recipe_is_all_but_the_attention(method):
    plan, published = resolve(method, recipe="sclip/voc21"), resolve(recipe="sclip/voc21")
    assert plan.constants == published.constants and plan.row is published.row
    assert (plan.around.residual, plan.around.mlp) == (True, True) and plan.attention is not published.attention
    assert resolve(method, recipe="naclip/voc21").map_steps == resolve(recipe="naclip/voc21").map_steps
    for recipe in ("fsa/voc21", "sfp/voc21"):
        on, published = resolve(host=method, recipe=recipe), resolve(recipe=recipe)
        assert on.geometry == published.geometry and on.deciding == published.deciding and on.row is published.row
        assert (on.method, on.feedback, on.purify) == (published.method, published.feedback, published.purify)


@pytest.mark.parametrize("host", ["clearclip", "sclip", "proxyclip", "naclip"])
def test_a_recipe_on_another_host_keeps_its_constants(host):
    for recipe in ("fsa/voc21", "fsa/cityscapes", "sfp/voc21"):
        on, published = resolve(host=host, recipe=recipe), resolve(recipe=recipe)
        assert (on.geometry, on.deciding, on.map_steps) == (published.geometry, published.deciding, published.map_steps)
        assert on.row is published.row and on.by_size == published.by_size
        assert (on.around.residual, on.around.mlp) == (host == "sclip", host == "sclip")


def test_nothing_said_is_fsa_on_proxyclip_with_dino():
    plan = resolve()
    assert (plan.method, plan.host, plan.vision, plan.feedback) == ("fsa", "proxyclip", "dino", FSA())


def test_fsa_takes_geometry_from_its_host():
    plan = resolve("fsa", host="clearclip", dataset="voc21")
    assert (plan.host, plan.vision, plan.feedback) == ("clearclip", None, FSA())
    assert plan.constants == resolve(recipe="clearclip/voc21").constants
    assert resolve(host="qq").method == "fsa"
    assert (resolve(host="sclip").around.residual, resolve(host="sclip").around.mlp) == (True, True)
    tiny = {"method": "fsa", "host": "sclip", "crop": 64, "stride": 32}
    assert (resolve(folder=tiny).host, resolve(folder=tiny).geometry.crop) == ("sclip", 64)
    assert resolve("naclip", folder=tiny).feedback is None


@pytest.mark.parametrize(
    ("kind", "size", "lambda_"),
    [
        ("dino", "ViT-B/16", 3.0),
        ("sam", "ViT-L/14", 3.0),
        ("dinov2", "ViT-H/14", 2.3),
        ("mae", "ViT-B/16", 4.5),
        ("mae", "ViT-H/14", 4.5),
        ("dino", None, 3.0),
    ],
)
def test_sharpening_follows_the_models(kind, size, lambda_):
    assert resolve("fsa").for_models(12, size, kind).feedback.lambda_ == lambda_
    assert resolve("fsa", overrides={"lambda_": 1.0}).for_models(12, size, kind).feedback.lambda_ == 1.0
    assert resolve("fsa", feedback=FSA(lambda_=1.5)).for_models(12, size, kind).feedback.lambda_ == 1.5
    assert resolve("fsa", host="sclip").for_models(12, size, None).feedback.lambda_ == 3.0


def test_overrides_reach_the_feedback():
    plan = resolve("fsa", feedback=FSA(mass=0.3), overrides={"rounds": 2, "isolation": None, "terms": "new"})
    assert plan.feedback == FSA(mass=0.3, rounds=2, isolation=False, terms=("new",))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: resolve("sclp"), "did you mean 'sclip'"),
        (lambda: resolve("naclip", recipe="sclip/voc21"), "take recipe naclip/voc21"),
        (lambda: resolve("qq", recipe="fsa/voc21"), "give it as the host: fsa stands on one"),
        (lambda: resolve(len, recipe="sfp/voc21"), "of your own; give it as the host: sfp stands on one"),
        (lambda: resolve("sclp", recipe="sclip/voc21"), "did you mean 'sclip'"),
        (lambda: resolve(host="naclip", recipe="sclip/voc21"), "take recipe fsa/voc21"),
        (lambda: resolve("sclip", host=len, recipe="sclip/voc21"), "sclip takes none"),
        (lambda: resolve("fsa", host="naclip", recipe="sfp/voc21"), "take recipe fsa/voc21"),
        (lambda: resolve(recipe="sclip/voc21", dataset="voc20"), "leave one of them out"),
        (lambda: resolve(dataset="voc22"), "did you mean 'voc2"),
        (lambda: resolve(recipe="sclip/voc2"), "did you mean 'sclip/voc2"),
        (lambda: resolve(overrides={"strid": 3}), "did you mean 'stride'"),
        (lambda: resolve("sclip", overrides={"lambda_": 3}), "belongs to fsa"),
        (
            lambda: resolve("sclip", overrides={"pamr_dilations": (4,)}),
            "pamr_steps=0 keeps its step off; add --set pamr",
        ),
        (lambda: resolve("sclip", host="qq"), "a host goes with fsa, sfp"),
        (lambda: resolve("sclip", vision="dino"), "no guide serves"),
        (lambda: resolve("fsa", host="sfp", vision="dino"), "no guide serves"),
        (lambda: resolve("qq+kk", vision="dino"), "no guide serves"),
        (lambda: resolve(host="fsaa"), "unknown method"),
        (lambda: resolve("fsa", overrides={"divergence": "kll"}), "did you mean 'kl'"),
        (lambda: resolve("fsa", overrides={"terms": ("new", "old")}), "new_old"),
        (lambda: override(Geometry(), {"stride": 500}), "at most crop=224"),
        (lambda: override(Geometry(), {"stride": None}), "cannot be off"),
        (lambda: override(Geometry(), {"stride": "wide"}), "whole number"),
        (lambda: override(Geometry(), {"stride": 1.5}), "whole number"),
        (lambda: override(Surroundings(), {"residual": 1}), "on or off"),
        (lambda: override(Deciding(), {"logit_scale": "hot"}), "a number"),
        (lambda: override(Deciding(), {"logit_scale": float("inf")}), "finite"),
        (lambda: override(Deciding(), {"background_threshold": 2}), "between 0 and 1"),
        (lambda: override(PAMR(), {"pamr_dilations": ()}), "distances"),
        (lambda: parse_assignments(["stride"]), "field=value"),
    ],
)
def test_impossible_options_are_refused_with_the_remedy(call, words):
    with pytest.raises(OptionError, match=words):
        call()


def test_assignments_have_types():
    assert parse_assignments(["stride=80", "logit_scale=2.5", "mlp=true", "area_threshold=none"]) == {
        "stride": 80,
        "logit_scale": 2.5,
        "mlp": True,
        "area_threshold": None,
    }
    assert override(PAMR(), parse_assignments(["pamr_dilations=1,2,4"])).pamr_dilations == (1, 2, 4)
    assert override(PAMR(), parse_assignments(["pamr_dilations=8"])).pamr_dilations == (8,)
    assert override(Deciding(), {"logit_scale": 50}).logit_scale == 50.0


WRONG = [
    ("idea.py:mix", "from idea import mix"),
    ("idea:mix", "idea.py:mix"),
    ("sclip,naclip", "--methods"),
    (3, "Mix"),
]


@pytest.mark.parametrize("method, remedy", WRONG)
def test_methods_that_are_none_say_how_to_write_them(toy_clip, method, remedy):
    with pytest.raises(OptionError, match=remedy):
        Segmenter.from_pretrained(toy_clip, method=method)


def test_text_that_is_no_tensor_is_told(toy_clip):
    segmenter = Segmenter.from_pretrained(toy_clip)
    with pytest.raises(UserError, match=r"segmenter.text\(Vocabulary"):
        segmenter.logits(torch.zeros(1, 3, 64, 64), ["grass", "sand"])


def test_published_constants_are_listed(segloop):
    for name in METHODS:
        lines = [json.loads(line) for line in done(segloop("methods", name, "--json")).stdout.splitlines()]
        for key, row in zip(BENCHMARKS, lines, strict=False):
            assert row.pop("recipe") == f"{name}/{key}"
            plan = resolve_choice(Choice(recipe=f"{name}/{key}"))
            assert row == json.loads(json.dumps({**plan.constants, **plan.records}))
        sizes = [line["recipe"] for line in lines[len(BENCHMARKS) :]]
        assert sizes == [f"{name}/{key}" for by_data in METHODS[name].by_size.values() for key in by_data]
    told = done(segloop("methods", "sclip")).stdout
    assert "coco-object" in told and "65" in told
    assert "did you mean 'sclip'" in complaint(segloop("methods", "slcip"))

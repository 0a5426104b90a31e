"""The tables say what the papers say, and options win in the stated order."""

import pytest

from segloop.errors import OptionError
from segloop.feedback import FSA
from segloop.keys import BENCHMARKS
from segloop.methods import METHODS, RECIPES
from segloop.plan import Choice, Plan
from segloop.plan import resolve as resolve_choice
from segloop.settings import Settings, override, parse_assignments


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
    ("maskclip/voc21", 336, 224, 112, 40, 0.1, None, "clear"),
    ("maskclip/cityscapes", 336, 224, 112, 40, None, None, "clear"),
]


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: row[0])
def test_published_rows(row):
    name, short_side, crop, stride, scale, threshold, area, names = row
    recipe = RECIPES[name]
    found = recipe.settings
    assert (found.short_side, found.crop, found.stride, found.logit_scale) == (short_side, crop, stride, scale)
    assert (found.background_threshold, found.area_threshold, recipe.names) == (threshold, area, names)
    assert recipe.source


def test_every_method_has_a_recipe_for_every_data_set():
    assert set(RECIPES) == {f"{method}/{key}" for method in METHODS for key in BENCHMARKS}
    assert RECIPES["naclip/voc21"].settings.pamr_steps == 10
    assert "not published" in RECIPES["sclip/ade847"].source
    assert RECIPES["sclip/ade847"].names == "P"


def test_overrides_win_over_method_recipe_folder_and_row():
    folder = {"method": "clearclip", "short_side": 96, "crop": 64, "stride": 32}
    assert resolve(folder=folder).method == "clearclip"
    assert resolve(folder=folder).settings.crop == 64
    assert resolve("naclip", folder=folder).method == "naclip"
    assert resolve("naclip", folder=folder).settings.crop == 64
    assert resolve("naclip", folder=folder).settings.pamr_steps == 0
    assert resolve(recipe="sclip/voc21", folder=folder).settings.crop == 224
    assert resolve(recipe="sclip/voc21", folder=folder).settings.logit_scale == 65
    assert resolve("naclip", dataset="voc21").settings == RECIPES["naclip/voc21"].settings
    assert resolve(recipe="sclip/voc21", overrides={"logit_scale": 20}).settings.logit_scale == 20
    assert resolve(recipe="sclip/voc21", overrides={"area_threshold": None}).settings.area_threshold is None


def test_without_a_recipe_nothing_is_thrown_away():
    for method in (*METHODS, "qq+kk"):
        settings = resolve(method).settings
        assert (settings.background_threshold, settings.area_threshold, settings.pamr_steps) == (None, None, 0)
        voc20 = RECIPES[f"{method}/voc20"].settings if method in METHODS else settings
        assert (settings.short_side, settings.crop) == (voc20.short_side, voc20.crop)


def test_residual_and_mlp_follow_the_method_unless_told():
    assert (resolve("sclip").residual, resolve("sclip").mlp) == (True, True)
    assert (resolve("qq+kk").residual, resolve("qq+kk").mlp) == (False, False)
    told = resolve("qq", overrides={"residual": True, "mlp": True})
    assert (told.residual, told.mlp) == (True, True)
    assert resolve("clip", overrides={"residual": None}).residual is False


def test_your_own_attention_takes_the_row_of_products():
    def mine(block):
        return lambda values: values

    plan = resolve(mine)
    assert plan.method == f"{__name__}:mine"
    assert plan.settings == resolve("qq").settings
    assert (plan.residual, plan.mlp) == (False, False)


def test_nothing_said_is_fsa_on_proxyclip_with_dino():
    plan = resolve()
    assert (plan.method, plan.host, plan.vision, plan.feedback) == ("fsa", "proxyclip", "dino", FSA())


def test_fsa_takes_geometry_from_its_host():
    plan = resolve("fsa", host="clearclip", recipe="fsa/voc21")
    assert (plan.host, plan.vision, plan.feedback) == ("clearclip", None, FSA())
    assert plan.settings == RECIPES["clearclip/voc21"].settings
    assert resolve(host="qq").method == "fsa"
    assert (resolve(host="sclip").residual, resolve(host="sclip").mlp) == (True, True)
    tiny = {"method": "fsa", "host": "sclip", "crop": 64, "stride": 32}
    assert (resolve(folder=tiny).host, resolve(folder=tiny).settings.crop) == ("sclip", 64)
    assert resolve("naclip", folder=tiny).feedback is None


@pytest.mark.parametrize(
    ("kind", "depth", "lambda_"),
    [("dino", 12, 3.0), ("sam", 24, 3.0), ("dinov2", 32, 2.3), ("mae", 12, 4.5), ("mae", 32, 4.5)],
)
def test_sharpening_follows_the_models(kind, depth, lambda_):
    assert resolve("fsa").for_models(depth, kind).feedback.lambda_ == lambda_
    assert resolve("fsa", overrides={"lambda_": 1.0}).for_models(depth, kind).feedback.lambda_ == 1.0
    assert resolve("fsa", feedback=FSA(lambda_=1.5)).for_models(depth, kind).feedback.lambda_ == 1.5
    assert resolve("fsa", host="sclip").for_models(depth, None).feedback.lambda_ == 3.0


def test_overrides_reach_the_feedback():
    plan = resolve("fsa", feedback=FSA(mass=0.3), overrides={"rounds": 2, "isolation": None, "terms": "new"})
    assert plan.feedback == FSA(mass=0.3, rounds=2, isolation=False, terms=("new",))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: resolve("sclp"), "did you mean 'sclip'"),
        (lambda: resolve("naclip", recipe="sclip/voc21"), "take recipe naclip/voc21"),
        (lambda: resolve("qq", recipe="sclip/voc21"), "dataset='voc21' instead"),
        (lambda: resolve(host="naclip", recipe="sclip/voc21"), "take recipe fsa/voc21"),
        (lambda: resolve(recipe="sclip/voc21", dataset="voc20"), "leave one of them out"),
        (lambda: resolve(dataset="voc22"), "did you mean 'voc2"),
        (lambda: resolve(recipe="sclip/voc2"), "did you mean 'sclip/voc2"),
        (lambda: resolve(overrides={"strid": 3}), "did you mean 'stride'"),
        (lambda: resolve("sclip", overrides={"lambda_": 3}), "belongs to fsa"),
        (lambda: resolve("sclip", host="qq"), "host="),
        (lambda: resolve(host="fsaa"), "unknown method"),
        (lambda: resolve("fsa", overrides={"divergence": "kll"}), "did you mean 'kl'"),
        (lambda: resolve("fsa", overrides={"terms": ("new", "old")}), "new_old"),
        (lambda: override(Settings(), {"stride": 500}), "at most crop=224"),
        (lambda: override(Settings(), {"stride": None}), "cannot be off"),
        (lambda: override(Settings(), {"stride": "wide"}), "whole number"),
        (lambda: override(Settings(), {"stride": 1.5}), "whole number"),
        (lambda: override(Settings(), {"residual": 1}), "true or false"),
        (lambda: override(Settings(), {"logit_scale": "hot"}), "a number"),
        (lambda: override(Settings(), {"background_threshold": 2}), "between 0 and 1"),
        (lambda: override(Settings(), {"pamr_dilations": ()}), "distances"),
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
    assert override(Settings(), parse_assignments(["pamr_dilations=1,2,4"])).pamr_dilations == (1, 2, 4)
    assert override(Settings(), parse_assignments(["pamr_dilations=8"])).pamr_dilations == (8,)
    assert override(Settings(), {"logit_scale": 50}).logit_scale == 50.0

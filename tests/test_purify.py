"""SFP and SC-CLIP: repair, attention and the whole pass, against loops and the recorded outliers."""

from dataclasses import replace
from functools import cache

import pytest
import torch
import transformers
from torch import Tensor

import models
import textbook
import textbook_sfp
from golden import Case, cases
from segloop import SFP, Segmenter, Vocabulary
from segloop.attention.operators import Shared, product
from segloop.attention.outliers import DETECTORS
from segloop.attention.purify import aggregation, drop_below, enhanced, interpolate, semantic_weights, similarity
from segloop.attention.types import LastBlock
from segloop.backbones.clip import Clip
from segloop.backbones.families import load_clip
from segloop.backbones.vision import load_guide
from segloop.choice.methods import METHODS
from segloop.choice.naming import Choice
from segloop.choice.plan import Guidance, resolve
from segloop.errors import OptionError
from segloop.line.network import Network
from segloop.line.purified import outlier_mask, states_needed
from tolerances import NETWORK, U, close_but_for_flips, summed

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
GRID = (5, 7)
COSINES = summed(2 * 16)  # of networks in float64: sums of 16 products in float32, on either side


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@cache
def clip(depth: int = 12, dtype: torch.dtype = torch.float64) -> Clip:
    """A toy ViT on 16-pixel patches with random weights, as `load_clip` gives it."""
    towers = {"intermediate_size": 64, "num_attention_heads": 2, "projection_dim": 16}
    words = towers | {"hidden_size": 16, "num_hidden_layers": 1, "vocab_size": 4, "bos_token_id": 0, "eos_token_id": 1}
    eyes = towers | {"hidden_size": 32, "num_hidden_layers": depth, "patch_size": 16, "image_size": 64}
    config = transformers.CLIPConfig(text_config=words, vision_config=eyes, projection_dim=16)
    model = transformers.CLIPModel(config).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(3)
    for name, parameter in model.named_parameters():
        spread = parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.1
        centre = 1 if "norm" in name and name.endswith("weight") else 0
        parameter.copy_(centre + spread * torch.randn(parameter.shape, generator=generator))
        if "out_proj" in name or "fc2" in name:
            parameter.mul_(0.4)  # else twelve blocks of random weights make all patches alike
    model.to(dtype)
    return Clip(model, "toy", "toy", CPU, dtype)


def network(depth: int = 12, dtype: torch.dtype = torch.float64, reference: bool = False, **choice) -> Network:
    opened = clip(depth, dtype)
    return Network(opened, resolve(Choice(**choice)).for_models(depth, None, None, reference))


def photos(count: int = 2, grid: tuple[int, int] = GRID) -> Tensor:
    """Noise over blocks of colour, so that some patches look alike and others do not."""
    coarse = 3 * random(count, 3, 2, 3, seed=count)
    return torch.nn.functional.interpolate(coarse, size=(16 * grid[0], 16 * grid[1])) + random(
        count, 3, 16 * grid[0], 16 * grid[1], seed=count
    )


def text_rows(queries: int = 6) -> Tensor:
    return torch.nn.functional.normalize(random(queries, 16, seed=queries), dim=-1)


# --- repair ---


@pytest.mark.parametrize("grid", [(1, 1), (1, 6), (6, 1), (4, 5), (5, 4)])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("isolated", ["keep", "zero"])
def test_repair_follows_the_loops(grid, share, isolated):
    tokens = random(3, grid[0] * grid[1], 6)
    mask = random(3, grid[0] * grid[1], seed=5).abs() < share
    for sample, which, found in zip(tokens, mask, interpolate(tokens, mask, grid, isolated), strict=True):
        bad = set(which.nonzero()[:, 0].tolist())
        torch.testing.assert_close(found, textbook_sfp.interpolate(sample, bad, grid, isolated == "zero"))


def test_corners_are_repaired_from_three_neighbours():
    tokens = torch.arange(12.0).reshape(1, 12, 1)
    mask = torch.zeros(1, 12, dtype=torch.bool)
    mask[0, [0, 3, 8, 11]] = True
    found = interpolate(tokens, mask, (3, 4))[0, :, 0]
    torch.testing.assert_close(found[[0, 3, 8, 11]], torch.tensor([1 + 4 + 5, 2 + 6 + 7, 4 + 5 + 9, 6 + 7 + 10]) / 3)


def test_a_grid_of_outliers_is_kept_or_becomes_zero():
    tokens, everyone = random(2, 12, 3), torch.ones(2, 12, dtype=torch.bool)
    assert torch.equal(interpolate(tokens, everyone, (3, 4)), tokens)
    assert interpolate(tokens, everyone, (3, 4), "zero").abs().sum() == 0


def test_values_that_are_not_finite_do_not_spread():
    tokens, mask = random(1, 12, 3), torch.zeros(1, 12, dtype=torch.bool)
    tokens[0, [5, 6]], mask[0, [5, 6]] = torch.inf, True
    assert interpolate(tokens, mask, (3, 4)).isfinite().all()


# --- attention ---


def test_weights_are_those_of_the_formulas():
    tokens = random(2, 12, 6)
    s = drop_below(similarity(tokens), 0.4)
    for sample, one in zip(tokens, s, strict=True):
        expected = textbook_sfp.cut(textbook_sfp.cosines(sample))
        torch.testing.assert_close(one, expected)
        torch.testing.assert_close(aggregation(one[None])[0] @ sample, textbook_sfp.aggregate(sample, expected))
        torch.testing.assert_close(semantic_weights(one[None], 3.0)[0], textbook_sfp.semantic(expected))
    flat = semantic_weights(torch.ones(1, 5, 5), 3.0)
    torch.testing.assert_close(flat, torch.full((1, 5, 5), 0.2))
    assert semantic_weights(torch.zeros(1, 5, 5) - 1e-7, 3.0).isfinite().all()


def test_enhanced_attention_is_its_matrix():
    q, k, v = random(3, 2, 4, 12, 8)
    block = LastBlock(q, k, v, 8**-0.5, (3, 4), has_class_token=False)
    semantic = semantic_weights(drop_below(similarity(random(2, 12, 6)), 0.4), 3.0)
    mix = enhanced(product("qq+kk")(block), Shared(semantic))
    expected = (textbook_sfp.softmaxes(q, q) + textbook_sfp.softmaxes(k, k) + semantic[:, None]) / 3
    torch.testing.assert_close(mix.rows(range(12)), expected)
    torch.testing.assert_close(mix(v), expected @ v)
    assert mix.row_sum == pytest.approx(1)


# --- the whole pass ---

TEXTBOOK = {
    "som": textbook_sfp.som,
    "l2": textbook_sfp.l2,
    "lof": textbook_sfp.lof,
}


def by_loops(pixels: Tensor, text: Tensor, detector: str, **options) -> Tensor:
    """(B, Q, rows, columns) by textbook_sfp, photo by photo."""
    opened = clip()
    maps = []
    with torch.no_grad():
        x, states = opened.tokens(pixels, range(12))
        for i in range(len(x)):
            one = {number: state[i] for number, state in states.items()}
            maps.append(textbook_sfp.photo_logits(opened.model, one, text, GRID, TEXTBOOK[detector], **options))
    return torch.stack(maps).mT.unflatten(-1, GRID)


def close(found: Tensor, expected: Tensor, atol: float = COSINES) -> None:
    torch.testing.assert_close(found.double(), expected.double(), rtol=0, atol=atol)


@pytest.mark.parametrize("detector", TEXTBOOK)
@pytest.mark.parametrize("method", ["sfp", "sc-clip"])
def test_the_pass_follows_the_loops(method, detector):
    pixels, text = photos(), text_rows()
    overrides = {"detector": detector, "neighbours": 5}
    found = network(method=method, overrides=overrides).logits(pixels, text)
    close(found, by_loops(pixels, text, detector, sc_clip=method == "sc-clip"))
    nothing = network(method=method, overrides={"detector": None}).logits(pixels, text)
    assert (found - nothing).abs().max() > 1e-3


def test_layered_attention_follows_the_loops():
    pixels, text = photos(), text_rows()
    found = network(method="sfp", overrides={"integrate": "attention"}).logits(pixels, text)
    close(found, by_loops(pixels, text, "som", layered=True))


def test_each_block_is_repaired_before_the_next():
    pixels, text = photos(1), text_rows()
    opened, layers = clip(), clip().vision.encoder.layers
    with torch.no_grad():
        _, states = opened.tokens(pixels, [0], open_blocks=12)
        clean = {0: states[0][0]}
        for number in range(1, 12):
            after = layers[number - 1](clean[number - 1][None], attention_mask=None)[0]
            after = after[0] if after.ndim == 3 else after
            bad = textbook_sfp.outliers_of(opened.model, {**clean, number: after}, number, textbook_sfp.l2)
            clean[number] = torch.cat([after[:1], textbook_sfp.interpolate(after[1:], bad, GRID)])
        expected = textbook_sfp.photo_logits(opened.model, clean, text, GRID, lambda *_: set())
    found = network(method="sfp", overrides={"detector": "l2", "repair": "each"}).logits(pixels, text)
    close(found[0].flatten(1).T, expected)


@pytest.mark.parametrize(("host", "sc_clip"), [("sfp", False), ("sc-clip", True)])
def test_feedback_acts_on_the_enhanced_attention_only(host, sc_clip):
    pixels, text = photos(), text_rows()
    found = network(host=host, overrides={"detector": "l2"}).logits(pixels, text)
    close(found, by_loops(pixels, text, "l2", sc_clip=sc_clip, feedback=textbook.fsa), NETWORK)  # it hears float32
    assert (found - network(method=host, overrides={"detector": "l2"}).logits(pixels, text)).abs().max() > 1e-3


@pytest.mark.parametrize("choice", [{"method": "sfp"}, {"method": "sc-clip"}, {"host": "sfp"}], ids=str)
def test_photos_of_a_batch_do_not_meet(choice, monkeypatch):
    pixels, text = photos(3), text_rows()
    one = network(**choice)
    together = one.logits(pixels, text)
    for i in range(3):
        close(one.logits(pixels[i : i + 1], text), together[i : i + 1])
    monkeypatch.setattr("segloop.line.stages.PAIRS", 1)
    close(one.logits(pixels, text), together)


CORNERS = {"repair": "each", "integrate": "attention", "feedback_layers": 3}


@pytest.mark.parametrize("grid", [(1, 1), (1, 3), (4, 2), (8, 8)])
@pytest.mark.parametrize("detector", DETECTORS)
def test_flat_and_small_photos_stay_finite(grid, detector):
    text = text_rows()
    flat = torch.full((2, 3, 16 * grid[0], 16 * grid[1]), 0.3)
    for choice in ({"method": "sfp"}, {"method": "sc-clip"}):
        found = network(dtype=torch.float32, overrides={"detector": detector}, **choice).logits(flat, text)
        assert found.isfinite().all()
        assert found.shape == (2, 6, *grid)
    found = network(dtype=torch.float32, host="sfp", overrides={"detector": detector, **CORNERS}).logits(flat, text)
    assert found.isfinite().all()


@pytest.mark.parametrize("depth", [2, 3, 6, 24])
@pytest.mark.parametrize("reference", [False, True])
def test_every_depth_works(depth, reference):
    for choice in ({"method": "sfp"}, {"host": "sc-clip", "overrides": CORNERS if depth > 2 else {}}):
        found = network(depth, torch.float32, reference, **choice).logits(photos(1), text_rows())
        assert found.isfinite().all()


def test_half_precision_follows_float32():
    pixels, text = photos(), text_rows()
    for choice in ({"method": "sfp"}, {"host": "sfp"}):
        choice["overrides"] = {"detector": None}
        exact = network(dtype=torch.float32, **choice).logits(pixels, text)
        rough = Network(half_clip(), network(**choice).plan).logits(pixels, text)
        assert rough.dtype == torch.float32
        assert (exact - rough).abs().mean() < 72**0.5 * U[torch.bfloat16]  # 12 blocks of 6 products, rounded by chance


def half_clip() -> Clip:
    return clip(12, torch.bfloat16)


PURIFIED = [case for case in cases("A_tensor") if "outliers" in case.manifest["tolerance"]]


@pytest.mark.parametrize("case", PURIFIED, ids=str)
def test_recorded_outliers(case: Case):
    arrays, model = case.arrays, str(case.beside("models") / case.manifest["clip"])
    published = METHODS[case.manifest["method"]].purify
    opened = load_clip(model, CPU, torch.float32, "published")
    detector = case.manifest["params"].get("detector", published.detector)
    sfp = replace(published, detector=detector).on(opened.depth, reference=True)
    pixels = torch.from_numpy(arrays["pixels"]).float()
    with torch.no_grad():
        _, states = opened.tokens(pixels, states_needed(sfp, opened.depth))
        mask = outlier_mask(opened, sfp, opened.depth - 1, states, opened.grid(pixels))
    assert mask[0].nonzero()[:, 0].tolist() == arrays["outliers"].tolist()


# --- options ---


def test_layers_are_fractions_of_the_depth_or_numbers_of_blocks():
    published = SFP().on(12)
    assert (published.similarity_layer, published.detail_layer) == (9, 4)
    assert published.state_layers == tuple(range(4, 11))
    deep = SFP().on(24)
    assert (deep.similarity_layer, deep.detail_layer, deep.state_layers) == (18, 8, (8, 10, 12, 14, 16, 18, 20))
    fixed = SFP().on(24, reference=True)
    assert (fixed.similarity_layer, fixed.detail_layer, fixed.state_layers) == (9, 4, tuple(range(4, 11)))
    chosen = SFP(similarity_layer=3, state_layers=(1, 0.5, 40)).on(24)
    assert (chosen.similarity_layer, chosen.state_layers) == (3, (1, 12, 23))
    assert published.on(12) == published
    assert (SFP().on(12).isolated, SFP().on(12, True).isolated) == ("keep", "zero")
    with pytest.raises(OptionError, match="at least 2 blocks"):
        SFP().on(1)


def test_reference_keeps_the_published_layers_on_deeper_networks():
    pixels, text = photos(1), text_rows()
    default, reference = (network(24, reference=which, method="sfp").logits(pixels, text) for which in (False, True))
    blocks = {"similarity_layer": 9, "detail_layer": 4, "state_layers": tuple(range(4, 11)), "isolated": "zero"}
    close(reference, network(24, method="sfp", overrides=blocks).logits(pixels, text))
    assert (default - reference).abs().max() > 1e-3


def test_a_purified_host_of_your_choice():
    pixels, text = photos(1), text_rows()
    qq = network(method="qq", purify=SFP()).logits(pixels, text)
    assert qq.isfinite().all()
    assert (qq - network(method="sfp").logits(pixels, text)).abs().max() > 1e-4
    same = network(method="qq+kk", purify=SFP()).logits(pixels, text)
    close(same, network(method="sfp").logits(pixels, text))
    mine = network(method=lambda block: lambda values: values, purify=SFP(), overrides={"residual": True, "mlp": True})
    assert mine.logits(pixels, text).isfinite().all()


def test_purify_alone_means_sfp():
    plan = resolve(Choice(purify=SFP(outliers=3)), {"method": "clearclip"})
    assert (plan.method, plan.purify.outliers, plan.feedback) == ("sfp", 3, None)
    plan = resolve(Choice(method="fsa", purify=SFP()))
    assert (plan.method, plan.host, plan.vision) == ("fsa", "sfp", None)
    assert resolve(Choice(method="sc-clip")).purify.detector == "lof"
    assert resolve(Choice(method="sclip")).purify is None


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: resolve(Choice(method="sclip", overrides={"detector": "l2"})), "belongs to sfp"),
        (lambda: resolve(Choice(method="sc-clip", host="sfp")), "purifies already"),
        (lambda: resolve(Choice(host="sfp:sc-clip")), "purifies already"),
        (lambda: resolve(Choice(host="sfp:sclp")), "did you mean 'sclip'"),
        (lambda: resolve(Choice(method="sfp", overrides={"detector": "lov"})), "did you mean 'lof'"),
        (lambda: resolve(Choice(method="sfp", overrides={"state_layers": ("a",)})), "numbers"),
        (lambda: SFP(repair="always"), "unknown repair"),
        (lambda: SFP(integrate="state"), "did you mean 'states'"),
        (lambda: SFP(outliers=-1), "0 or more"),
        (lambda: SFP(neighbours=0), "at least 1"),
        (lambda: SFP(quantile=1.5), "between 0 and 1"),
        (lambda: SFP(detection_scale=0), "above 0"),
        (lambda: SFP(sharpness=0), "above 0"),
        (lambda: SFP(state_layers=()), "above 0"),
        (lambda: SFP(detail_layer=-1), "above 0"),
    ],
)
def test_impossible_options_are_refused_with_the_remedy(build, words):
    with pytest.raises(OptionError, match=words):
        build()


def test_large_networks_take_the_constants_published_for_them():
    def settings(depth: int, size: str | None, recipe: str, **overrides):
        plan = resolve(Choice(recipe=recipe, overrides=overrides)).for_models(depth, size, None)
        return plan.deciding.logit_scale, plan.deciding.background_threshold

    assert settings(12, "ViT-B/16", "sfp/voc21") == (50, 0.15)
    assert settings(24, "ViT-L/14", "sfp/voc21") == (40, 0.20)
    assert settings(24, "ViT-L/14", "sfp/coco-object") == (40, 0.25)
    assert settings(24, "ViT-L/14", "sfp/voc21", logit_scale=33) == (33, 0.20)
    assert settings(24, "ViT-L/14", "sc-clip/voc21") == (50, 0.15)
    assert settings(27, None, "sfp/voc21") == (50, 0.15)  # a tower that no table has


@pytest.mark.parametrize("chosen", [{"method": "sfp", "host": "proxyclip"}, {"host": "sfp:proxyclip"}])
@pytest.mark.parametrize("integrate", ["states", "enhanced", "attention", "none"])
def test_purification_stands_on_a_guide_too(tmp_path, chosen, integrate):
    """FSA on SFP on ProxyCLIP, by composition: on the guide's grid, finite, each sample by itself."""
    lent = load_guide(str(models.folder(tmp_path, "dino")), CPU, torch.float32)
    opened = load_clip(str(models.folder(tmp_path, "b16")), CPU, torch.float32)
    choice = Choice(**chosen, overrides={"integrate": integrate, "crop": 0})
    plan = resolve(choice).for_models(opened.depth, opened.size, lent.kind)
    assert (plan.vision, plan.purify.integrate) == ("dino", integrate)
    network = Network(opened, plan, lent)
    windows, text = models.pixels(2, 3, 64, 80), models.text_rows(5)
    found = network.logits(windows, text)
    assert found.shape == (2, 5, *lent.grid(windows)) and bool(found.isfinite().all())
    close_but_for_flips(found[1:], network.logits(windows[1:], text), 8 * 10)
    host = replace(network, plan=replace(plan, purify=None))
    assert (found - host.logits(windows, text)).abs().max() > 1e-3


def test_on_the_towers_own_grid_a_guide_changes_nothing():
    """A guide whose grid is the tower's: SFP's own attention sees the patches alone, as it does without one."""
    alone = network(4, method="sfp")

    def guide(pixels: Tensor, *_: object) -> Tensor:
        return torch.ones(len(pixels), 2, *alone.clip.grid(pixels))

    guided = replace(alone, plan=replace(alone.plan, guidance=Guidance()), guide=guide)
    torch.testing.assert_close(guided.logits(photos(), text_rows()), alone.logits(photos(), text_rows()))


def test_records_say_what_was_purified(toy_clip):
    segmenter = Segmenter.from_pretrained(toy_clip, host="sfp", detector="l2", state_layers=(0.5, 1))
    assert (segmenter.plan.method, segmenter.plan.host) == ("fsa", "sfp")
    said = segmenter.describe(Vocabulary(["words"]))["purify"]
    assert (said["detector"], said["outliers"], said["integrate"]) == ("l2", 10, "states")
    assert all(isinstance(block, int) for block in (said["similarity_layer"], *said["state_layers"]))
    assert "purify" not in Segmenter.from_pretrained(toy_clip, method="sclip").describe(Vocabulary(["words"]))

"""Vision guides: positions, features against the library and by hand, geometry, and what is refused.

Models are tiny, with random weights, and live in local folders made here. The library's own outputs serve as the
second opinion wherever it is right: at the size that a model was trained on, or resampled by size.
"""

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import load_file, save_file
from transformers import (
    CLIPConfig,
    Dinov2WithRegistersConfig,
    ViTConfig,
)

from golden import cases
from models import GUIDES as MODELS
from models import guide_model as library
from models import pixels
from segloop.backbones import vision
from segloop.backbones.loading import library_class
from segloop.backbones.models import GUIDES
from segloop.backbones.positions import resample_positions
from segloop.backbones.shared import weights_hash
from segloop.backbones.vision import ADAPTERS, load_guide, renormalise
from segloop.errors import ModelError, OptionError, UserError
from segloop.images import CLIP, IMAGENET, Normalisation
from tolerances import NETWORK, summed

CPU = torch.device("cpu")
TIMM = {
    "embeddings.cls_token": "cls_token",
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.patch_embeddings.projection": "patch_embed.proj",
    "layernorm": "norm",
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "attention.o_proj": "attn.proj",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}


def write_timm(folder: Path, model, **config):
    """timm's names for a transformers ViT: its own layout, from the specification."""
    state, packed = model.state_dict(), {}
    for key, tensor in state.items():
        owner, _, leaf = key.rpartition(".")
        where = ""
        if key.startswith("layers."):
            number, owner = owner.split(".", 2)[1:]
            where = f"blocks.{number}."
        if owner.endswith("q_proj"):
            rows = [state[key.replace("q_proj", f"{letter}_proj")] for letter in "qkv"]
            packed[f"{where}attn.qkv.{leaf}"] = torch.cat(rows)
        elif key in TIMM:
            packed[TIMM[key]] = tensor
        elif not owner.endswith(("k_proj", "v_proj")):
            packed[f"{where}{TIMM[owner]}.{leaf}"] = tensor
    folder.mkdir(exist_ok=True)
    save_file({key: tensor.contiguous() for key, tensor in packed.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(
        json.dumps({"architecture": "vit_tiny_patch16_224", "num_classes": 0, **config})
    )
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("guides")
    for name in MODELS:
        library(name).save_pretrained(root / name)
    write_timm(root / "timm", library("mae"), pretrained_cfg={"tag": "mae"})
    return root


@pytest.fixture
def guide(folders):
    def load(name, fidelity="default", feature="tokens", dtype=torch.float32):
        return load_guide(str(folders / name), CPU, dtype, fidelity, feature)

    return load


def as_map(tokens, rows, columns):
    return tokens.mT.reshape(len(tokens), -1, rows, columns)


# --- Positions ---


@pytest.mark.parametrize("case", [c for c in cases("E_geometry") if str(c) == "positions"], ids=str)
def test_published_position_tables(case):
    arrays = case.arrays
    for grid in case.manifest["grids"]:
        kind, index, size = grid["kind"], grid["index"], (grid["rows"], grid["columns"])
        table, expected = (
            torch.from_numpy(arrays[f"{kind}_{name}_{index}"]) if kind != "clip" else None for name in ("table", "out")
        )
        if kind in ("dino", "mae"):
            found = resample_positions(table, size, "dino" if kind == "dino" else "exact")
        elif kind == "dinov2":  # the guide leaves these to the library
            config = Dinov2WithRegistersConfig(hidden_size=4, num_hidden_layers=1, num_attention_heads=1)
            config.image_size, config.patch_size = grid["base"] * 14, 14
            parts = transformers.Dinov2WithRegistersModel(config).embeddings.requires_grad_(False)
            parts.position_embeddings.copy_(table[None])
            place = torch.empty(1, 1 + size[0] * size[1], 4)
            found = parts.interpolate_pos_encoding(place, size[0] * 14, size[1] * 14)[0]
        else:
            continue
        torch.testing.assert_close(found, expected, rtol=0, atol=case.manifest["tolerance"]["max_abs"])


def test_dino_keeps_its_table_only_on_its_own_grid():
    table = pixels(1 + 16, 3)
    assert torch.equal(resample_positions(table, (4, 4), "dino"), table)
    assert torch.equal(resample_positions(table, (2, 8), "published"), table)
    assert not torch.allclose(resample_positions(table, (2, 8), "dino"), table, atol=0.1)


def test_shifted_places_by_hand():
    # One axis: sigma = M / (G + 0.1), x_i = (i + 0.5) sigma - 0.5, four taps with a = -0.75, clamped at the border.
    # Magnitudes of four taps add up to at most 1.7; eight products and their weights, of ten operations each way.
    table, base, size = pixels(1 + 16, 1), 4, 6
    line = table[1:, 0].reshape(base, base)

    def weights(i):
        x = (i + 0.5) * base / (size + 0.1) - 0.5
        row, first, a = torch.zeros(base), int(x // 1) - 1, -0.75
        for tap in range(first, first + 4):
            d = abs(x - tap)
            near = (a + 2) * d**3 - (a + 3) * d**2 + 1
            far = a * (d**3 - 5 * d**2 + 8 * d - 4)
            row[min(max(tap, 0), base - 1)] += near if d <= 1 else far
        return row

    sampling = torch.stack([weights(i) for i in range(size)])
    expected = torch.cat([table[:1, 0], (sampling @ line @ sampling.T).flatten()])
    tolerance = summed(28, 1.7**2 * table.abs().max().item())
    torch.testing.assert_close(resample_positions(table, (size, size), "dino")[:, 0], expected, rtol=0, atol=tolerance)


# --- Features against the library's own ---


def test_renormalise_goes_back_to_pixels_and_on():
    image = torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    for given in (CLIP, Normalisation((0.5, 0.5, 0.5), (0.5, 0.4, 0.3))):
        parts = (given.mean, given.std, IMAGENET.mean, IMAGENET.std)
        own_mean, own_std, mean, std = (torch.tensor(numbers)[:, None, None] for numbers in parts)
        found = renormalise((image - own_mean) / own_std, given)
        torch.testing.assert_close(found, (image - mean) / std, rtol=0, atol=summed(6, 1 / std.min().item()))
        padding = renormalise(torch.zeros(1, 3, 1, 1), given)  # the mean colour of the CLIP, not zero
        torch.testing.assert_close(padding[0] * std + mean, own_mean)


def same_as_library(found, tokens, rows, columns):
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, as_map(tokens, rows, columns), rtol=NETWORK, atol=NETWORK)


@pytest.mark.parametrize("fidelity", ["default", "reference"])
def test_tokens_at_the_native_size(guide, fidelity):
    for name, side, first in (("dino", 32, 1), ("dinov2", 70, 5), ("dinov2-plain", 70, 1), ("dinov3", 64, 5)):
        x = pixels(2, 3, side, side)
        tokens = library(name)(pixel_values=renormalise(x)).last_hidden_state[:, first:]
        loaded = guide(name, fidelity)
        assert loaded.kind == name.removesuffix("-plain")
        rows, columns = loaded.grid(x)
        assert rows == columns == {"dino": 4, "dinov3": 4}.get(name, 5)
        same_as_library(loaded(x, 0), tokens, rows, columns)


def test_rectangles_by_size(guide):
    x = pixels(2, 3, 24, 56)
    tokens = library("dino")(renormalise(x), interpolate_pos_encoding=True).last_hidden_state
    same_as_library(guide("dino")(x), tokens[:, 1:], 3, 7)
    x = pixels(2, 3, 28, 98)
    for name, first in (("dinov2", 5), ("dinov2-plain", 1)):
        same_as_library(guide(name)(x), library(name)(renormalise(x)).last_hidden_state[:, first:], 2, 7)
    x = pixels(2, 3, 32, 80)
    same_as_library(guide("dinov3")(x), library("dinov3")(renormalise(x)).last_hidden_state[:, 5:], 2, 5)


def test_radio_takes_pixels_of_its_own(guide):
    """Its mean and deviation, on rectangles, behind three class and four register tokens."""
    model = library("radio")
    for sides in ((64, 64), (32, 80)):
        x = pixels(2, 3, *sides)
        mean, std = (torch.tensor(numbers)[:, None, None] for numbers in (CLIP.mean, CLIP.std))
        grid = tuple(side // 16 for side in sides)
        same_as_library(guide("radio")(x), model(x * std + mean).features, *grid)
    assert guide("radio").kind == "radio"
    remainder = guide("radio")(pixels(1, 3, 40, 70))
    assert remainder.shape[-2:] == (2, 4)


def test_a_transformers_that_is_too_old():
    with pytest.raises(ModelError, match=r"transformers .* does not know TomorrowModel; update it"):
        library_class("TomorrowModel")


def test_reference_positions_of_dino(guide):
    x, model = pixels(1, 3, 48, 48), library("dino")
    shifted = resample_positions(model.embeddings.position_embeddings[0], (6, 6), "dino")
    wider = transformers.ViTModel(ViTConfig(**{**model.config.to_dict(), "image_size": 48})).eval()
    wider.load_state_dict({**model.state_dict(), "embeddings.position_embeddings": shifted[None]})
    with torch.no_grad():
        tokens = wider(renormalise(x)).last_hidden_state[:, 1:]
    same_as_library(guide("dino", "reference")(x), tokens, 6, 6)
    assert (guide("dino", "reference")(x) - guide("dino")(x)).abs().max() > 0.01


@pytest.mark.parametrize("feature", ["q", "k", "v", "q+k"])
def test_projections_of_the_last_block_by_hand(guide, feature):
    x, model = pixels(2, 3, 32, 32), library("dino")
    entering = model(renormalise(x), output_hidden_states=True).hidden_states[-2]
    last = model.layers[-1]
    y = F.layer_norm(entering, (24,), last.layernorm_before.weight, last.layernorm_before.bias, 1e-12)
    projections = [getattr(last.attention, f"{name}_proj") for name in feature.split("+")]
    expected = sum(y @ projection.weight.T + projection.bias for projection in projections)[:, 1:]
    same_as_library(guide("dino", feature=feature)(x), expected, 4, 4)


def test_sam_sees_the_whole_window_resized(guide):
    x = pixels(3, 3, 40, 24)
    resized = F.interpolate(renormalise(x), size=(64, 64), mode="bilinear", align_corners=False)
    expected = library("sam").get_image_embeddings(resized)
    assert expected.shape == (3, 8, 4, 4)
    torch.testing.assert_close(guide("sam")(x, 40), expected, rtol=NETWORK, atol=NETWORK)


def ordered_mae(resized):
    count = (resized.shape[-2] // 16) * (resized.shape[-1] // 16)
    noise = torch.arange(count, dtype=torch.float32).expand(len(resized), -1)
    return library("mae")(resized, noise=noise, interpolate_pos_encoding=True).last_hidden_state[:, 1:]


def test_mae_keeps_the_order_of_its_tokens(guide):
    x = pixels(2, 3, 64, 64)
    expected = ordered_mae(renormalise(x))
    same_as_library(guide("mae")(x, 64), expected, 4, 4)
    assert torch.equal(guide("mae")(x, 64), guide("mae")(x, 64))
    shuffled = library("mae")(renormalise(x)).last_hidden_state[:, 1:]  # what the library's forward would give
    assert not torch.allclose(shuffled, expected, atol=0.1)


@pytest.mark.parametrize(
    ("fidelity", "crop", "seen", "grid"),
    [
        ("reference", 96, (96, 96), (6, 6)),
        ("default", 96, (96, 96), (6, 6)),
        ("reference", 72, (72, 72), (4, 4)),  # a remainder of 8 pixels is dropped
        ("default", 72, (80, 80), (5, 5)),
        ("reference", 0, (40, 70), (2, 4)),
        ("default", 0, (48, 80), (3, 5)),
    ],
)
def test_mae_resizes_the_window(guide, fidelity, crop, seen, grid):
    x = pixels(2, 3, 40, 70)
    whole = F.interpolate(renormalise(x), size=seen, mode="bilinear")[..., : grid[0] * 16, : grid[1] * 16]
    same_as_library(guide("mae", fidelity)(x, crop), ordered_mae(whole), *grid)


def test_mae_in_timms_file(guide, folders, tmp_path):
    x = pixels(2, 3, 40, 70)
    for crop in (0, 64, 96):
        assert torch.equal(guide("timm")(x, crop), guide("mae")(x, crop))
    assert guide("timm").kind == "mae"
    two_heads = write_timm(tmp_path / "two", library("mae"), model_args={"num_heads": 2})
    assert load_guide(str(two_heads), CPU, torch.float32).model.config.num_attention_heads == 2
    tensors = load_file(folders / "timm" / "model.safetensors")  # what a pretraining file carries besides
    unused = {"decoder_embed.weight": torch.ones(2, 2), "mask_token": torch.ones(1), "head.bias": torch.ones(2)}
    save_file({**tensors, **unused}, two_heads / "model.safetensors")
    load_guide(str(two_heads), CPU, torch.float32)


# --- Every kind ---

ALL = [*MODELS, "timm"]


@pytest.mark.parametrize("name", ALL)
def test_a_batch_is_its_windows_one_by_one(guide, name):
    x, loaded = pixels(3, 3, 84, 112), guide(name)
    together = loaded(x, 96)
    assert together.dtype == torch.float32 and together.isfinite().all()
    alone = torch.cat([loaded(window, 96) for window in x.split(1)])
    torch.testing.assert_close(together, alone, rtol=NETWORK, atol=NETWORK)


@pytest.mark.parametrize(("name", "patch"), [("dino", 8), ("dinov2", 14), ("dinov2-plain", 14), ("dinov3", 16)])
def test_a_remainder_is_dropped(guide, name, patch):
    x, loaded = pixels(1, 3, 3 * patch + 5, 5 * patch + patch - 1), guide(name)
    assert loaded(x).shape[-2:] == (3, 5)
    torch.testing.assert_close(loaded(x), loaded(x[..., : 3 * patch, : 5 * patch]), rtol=NETWORK, atol=NETWORK)


@pytest.mark.parametrize("name", ALL)
def test_half_precision_answers_in_float32(guide, name):
    x = pixels(1, 3, 70, 70)
    exact, half = guide(name)(x, 64), guide(name, dtype=torch.bfloat16)(x, 64)
    assert half.dtype == torch.float32
    assert next(guide(name, dtype=torch.bfloat16).model.parameters()).dtype == torch.bfloat16
    assert F.cosine_similarity(exact, half).min() > 0.99  # an angle of 36 roundings to bfloat16, for 14 products
    assert guide(name, "reference", dtype=torch.bfloat16).dtype == torch.float32


@pytest.mark.parametrize("name", ALL)
def test_nothing_is_left_on_the_model(guide, name):
    loaded = guide(name)
    before = {key: tensor.clone() for key, tensor in loaded.model.state_dict().items()}
    features = loaded(pixels(1, 3, 70, 70), 64)
    assert not features.requires_grad
    for module in loaded.model.modules():
        assert not module.training and not module._forward_hooks and not module._forward_pre_hooks
    assert all(not parameter.requires_grad for parameter in loaded.model.parameters())
    assert all(torch.equal(tensor, before[key]) for key, tensor in loaded.model.state_dict().items())


def test_loading_is_silent_about_weights_it_does_not_need(guide, capfd, caplog):
    guide("sam")
    assert "REPORT" not in "".join(capfd.readouterr()) + caplog.text


# --- What is refused ---


def copy(folders, name, to, drop=(), add=None, config=None):
    """A model folder with other weights or another config."""
    to.mkdir()
    tensors = load_file(folders / name / "model.safetensors")
    kept = {key: tensor for key, tensor in tensors.items() if not key.startswith(tuple(drop))}
    save_file({**kept, **(add or {})}, to / "model.safetensors", metadata={"format": "pt"})
    settings = json.loads((folders / name / "config.json").read_text())
    (to / "config.json").write_text(json.dumps({**settings, **(config or {})}))
    return str(to)


def refused(error, words, *arguments, **keywords):
    with pytest.raises(error) as caught:
        load_guide(*arguments, CPU, torch.float32, **keywords)
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "\n" not in message
    return message


def test_unknown_names(tmp_path):
    refused(ModelError, ["'dinov22'", "did you mean 'dinov2'", "local folder"], "dinov22")
    refused(ModelError, ["does not exist"], str(tmp_path / "nowhere"))
    refused(ModelError, ["no config.json"], str(tmp_path))
    refused(ModelError, ["nobody/nothing", "hf download nobody/nothing"], "nobody/nothing", offline=True)


def test_models_that_cannot_guide(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CLIPConfig().to_dict()))
    refused(ModelError, ["'clip'", "dinov3", "sam", "mae-visualize"], str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    refused(ModelError, ["None", "cannot guide"], str(tmp_path))


@pytest.mark.parametrize("name", ["dinov2", "dinov3", "sam", "mae", "timm"])
def test_only_dino_has_projections(folders, name):
    refused(OptionError, ["feature 'k'", "vision_feature", "tokens"], str(folders / name), feature="k")


def test_unknown_feature_of_dino(folders):
    refused(OptionError, ["'keys'", "tokens or q or k or v"], str(folders / "dino"), feature="keys")


@pytest.mark.parametrize(
    ("name", "part"),
    [("dino", "pooler."), ("dinov2", "embeddings.mask_token"), ("dinov3", "embeddings.mask_token"), ("sam", "mask_")],
)
def test_weights_that_nothing_reads_may_be_missing(folders, guide, tmp_path, name, part):
    folder = copy(folders, name, tmp_path / "lean", drop=[part])
    lean, again = (load_guide(folder, CPU, torch.float32) for _ in range(2))
    x = pixels(1, 3, 70, 70)
    assert torch.equal(lean(x, 64), guide(name)(x, 64))
    assert weights_hash(lean.model) == weights_hash(again.model)  # by which a record knows them


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("dino", "layernorm."),
        ("dinov2", "embeddings.register_tokens"),
        ("dinov3", "norm."),
        ("sam", "vision_encoder.neck"),
        ("mae", "embeddings.position"),
        ("timm", "blocks.1.attn.qkv"),
        ("timm", "blocks."),
        ("timm", "norm."),
    ],
)
def test_missing_weights(folders, tmp_path, name, part):
    refused(ModelError, ["lacks", "random weights"], copy(folders, name, tmp_path / "cut", drop=[part]))


def test_weights_of_another_shape(folders, tmp_path):
    broken = copy(folders, "dino", tmp_path / "a", config={"intermediate_size": 40})
    refused(ModelError, ["of another shape than its config, first layers.0.mlp.fc1"], broken)
    odd = {"blocks.1.mlp.fc1.weight": torch.ones(40, 24)}
    refused(ModelError, ["do not fit together"], copy(folders, "timm", tmp_path / "b", add=odd))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"config": {"pretrained_cfg": {"tag": "dino"}}}, ["'dino'", "not a MAE encoder"]),
        ({"config": {"architecture": "resnet50"}}, ["resnet50", "not a MAE encoder"]),
        ({"config": {"model_args": {"num_heads": 5}}}, ["5 heads of 24 channels"]),
        ({"add": {"blocks.0.ls1.gamma": torch.ones(24)}}, ["blocks.0.ls1.gamma"]),
        ({"add": {"pos_embed": torch.ones(1, 16, 24)}}, ["16 positions"]),
    ],
)
def test_timm_files_that_are_no_plain_mae(folders, tmp_path, change, words):
    refused(ModelError, words, copy(folders, "timm", tmp_path / "odd", **change))


def test_windows_smaller_than_a_patch(guide):
    for name in ("dino", "dinov2", "dinov3"):
        with pytest.raises(UserError, match="hold no patch"):
            guide(name)(pixels(1, 3, 7, 70))
    assert guide("mae")(pixels(1, 3, 7, 20)).shape[-2:] == (1, 2)
    assert guide("sam")(pixels(1, 3, 7, 20)).shape[-2:] == (4, 4)


@pytest.mark.parametrize("name", ["dinov3", "facebook/sam3"])
def test_models_known_to_be_gated_say_so_without_network(name):
    hub = GUIDES[name].hub if name in GUIDES else name
    refused(ModelError, [hub, "gated", f"https://huggingface.co/{hub}", "hf auth login"], name, offline=True)


def test_the_table_of_short_names(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(vision, "resolve", lambda name, *_, **__: asked.append(name) or str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    for name, row in GUIDES.items():
        refused(ModelError, ["cannot guide"], name)
        assert asked[-1] == row.hub
        assert row.kind in {adapter.kind for adapter in ADAPTERS.values()} and row.note
    assert {"dino", "dino-b16", "dinov2", "dinov3", "sam", "mae"} <= GUIDES.keys()
    assert "different" in next(row.note for row in GUIDES.values() if row.hub == "facebook/vit-mae-base")
    assert "gated" in GUIDES["dinov3"].note

"""A family of CLIP by one row: a tower without class token, with pixels and text of its own, segments end to end."""

import hashlib
import json
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from command import WORDS, complaint, done, record
from models import folder as model_folder
from segloop import Segmenter, Vocabulary
from segloop.attention.types import LastBlock
from segloop.backbones.families import FAMILIES, OPENCLIP, kind_of, load_clip
from segloop.backbones.positions import resample_positions
from segloop.backbones.tower import Source
from segloop.errors import ModelError, OptionError
from segloop.images import CLIP, Normalisation
from tolerances import NETWORK

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")
PATCH, DEPTH, HEADS, D, E, SIDE = 8, 3, 2, 16, 12, 4  # SIDE: of the grid that positions are for
HALVES = Normalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
CONSTANTS = 5e-4 / 66 * (1 + 2.2)  # mean and deviation are rounded to thousandths of a byte; pixels reach 2.2


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv, self.out, self.mlp = nn.Linear(D, 3 * D), nn.Linear(D, D), nn.Linear(D, D)

    def opened(self, x):
        return [part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, -1)]


class Net(nn.Module):
    """Patches, their positions and blocks; no class token, no norms."""

    def __init__(self):
        super().__init__()
        self.patches, self.positions = nn.Conv2d(3, D, PATCH, PATCH), nn.Parameter(torch.empty(SIDE**2, D))
        self.blocks, self.head = nn.ModuleList(Block() for _ in range(DEPTH)), nn.Linear(D, E, bias=False)
        for weight in self.parameters():
            weight.data = 0.5 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(weight.numel()))
        self.eval().requires_grad_(False)


@dataclass(frozen=True)
class Toy:
    name: str
    model: Net
    device: torch.device
    dtype: torch.dtype
    normalisation: Normalisation = HALVES
    patch: int = PATCH
    depth: int = DEPTH
    width: int = E
    size: str | None = None
    first_patch: int = 0

    @cached_property
    def fingerprint(self):
        return hashlib.sha256(b"toy").hexdigest()

    def tokens_cut(self, texts):
        return [0] * len(texts)

    def encode_text(self, texts):
        seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little") for text in texts]
        return torch.stack([torch.randn(E, generator=torch.Generator().manual_seed(seed)) for seed in seeds])

    def grid(self, pixels):
        return pixels.shape[-2] // PATCH, pixels.shape[-1] // PATCH

    def tokens(self, pixels, keep=(), open_blocks=1):
        table = resample_positions(self.model.positions, self.grid(pixels), "exact", self.first_patch)
        x = self.model.patches(pixels).flatten(2).mT + table
        kept = {0: x}
        for number in range(1, DEPTH + 1 - open_blocks):
            kept[number] = x = self.run_block(number, x)
        return x, {number: kept[number] for number in keep}

    def run_block(self, number, x):
        q, k, v = self.model.blocks[number - 1].opened(x)
        return self.close_block(F.scaled_dot_product_attention(q, k, v), x, True, number - 1)

    def open_block(self, x, grid, index=-1):
        q, k, v = self.model.blocks[index].opened(x)
        return LastBlock(q, k, v, q.shape[-1] ** -0.5, grid, has_class_token=False)

    def close_block(self, mixed, residual, mlp, index=-1):
        block = self.model.blocks[index]
        tokens = block.out(mixed.transpose(1, 2).flatten(2))
        tokens = tokens if residual is None else tokens + residual
        return tokens + block.mlp(tokens) if mlp else tokens

    def cosines(self, tokens, text):
        return F.normalize(self.model.head(tokens), dim=-1) @ text.T


def open_toy(source: Source) -> Toy:
    assert source.config["answer"] == 42
    return Toy(source.name, Net(), source.device, source.dtype)


@pytest.fixture
def toy(tmp_path, monkeypatch) -> Path:
    """A folder of a type that segloop does not have, and the one row that opens it."""
    monkeypatch.setitem(FAMILIES, "toy", open_toy)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"model_type": "toy", "answer": 42}')
    return tmp_path / "model"


def by_hand(photo: Path, text: Tensor) -> Tensor:
    """(Q, h, w): values weighted by the likeness of queries in the last block, without its input and MLP."""
    net, pixels = Net(), torch.from_numpy(np.array(Image.open(photo))).permute(2, 0, 1)[None] / 127.5 - 1
    grid = pixels.shape[-2] // PATCH, pixels.shape[-1] // PATCH
    table = net.positions.T.reshape(1, D, SIDE, SIDE)
    x = (net.patches(pixels) + F.interpolate(table, size=grid, mode="bicubic")).flatten(2).mT
    for block in net.blocks[:-1]:
        q, k, v = block.opened(x)
        x = x + block.out(((q @ k.mT * 8**-0.5).softmax(-1) @ v).transpose(1, 2).flatten(2))
        x = x + block.mlp(x)
    q, _, v = net.blocks[-1].opened(x)
    tokens = net.blocks[-1].out(((q @ q.mT * 8**-0.5).softmax(-1) @ v).transpose(1, 2).flatten(2))
    return (F.normalize(net.head(tokens), dim=-1) @ text.T)[0].T.unflatten(-1, grid)


def test_a_family_is_a_row(toy, meadow):
    segmenter = Segmenter.from_pretrained(toy, method="qq", crop=0, short_side=64, device="cpu")
    words = Vocabulary(["road", "sky"], templates="plain")
    text = segmenter.text(words)
    ready = segmenter.prepare(meadow)
    torch.testing.assert_close(segmenter.tiles([ready], text)[0][0], by_hand(meadow, text), rtol=0, atol=NETWORK)
    found = segmenter(meadow, words)
    maps = F.interpolate(by_hand(meadow, text)[None].double(), size=(80, 64), mode="bilinear")[0]
    expected, certain = maps.argmax(0), (maps[0] - maps[1]).abs() > 2 * NETWORK
    assert torch.equal(torch.from_numpy(found.labels)[certain], expected[certain])
    assert expected.unique().tolist() == [0, 1]
    assert found.settings["pixels"] == {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}


@pytest.mark.parametrize("method", ["clip", "maskclip", "sclip", "clearclip", "naclip", "qq+kk"])
def test_methods_on_a_tower_without_class_token(toy, street, method):
    for asked in ({"method": method}, {"host": method}, {"host": method, "feedback_layers": 2}):
        segmenter = Segmenter.from_pretrained(toy, **asked, crop=64, short_side=64, stride=32)
        scores = segmenter(street, Vocabulary(["road", "sky", "tree"], templates="plain"), scores=True).scores
        assert scores.shape == (3, 96, 128) and np.isfinite(scores).all()


def test_a_guide_sees_the_same_photo_whatever_the_tower_wants(toy, meadow, tmp_path_factory, monkeypatch):
    guide = model_folder(tmp_path_factory.mktemp("guides"), "dino")
    seen = []
    monkeypatch.setattr("segloop.backbones.vision.renormalise", spy(seen))
    monkeypatch.setitem(FAMILIES, "own", lambda source: Toy(source.name, Net(), CPU, source.dtype, CLIP))
    (toy.parent / "own").mkdir()
    (toy.parent / "own" / "config.json").write_text('{"model_type": "own"}')
    for place in (toy, toy.parent / "own"):
        segmenter = Segmenter.from_pretrained(place, method="proxyclip", vision=guide, crop=0, short_side=64)
        segmenter(meadow, Vocabulary(["road", "sky"], templates="plain"))
    torch.testing.assert_close(seen[0], seen[1], rtol=0, atol=0.27 / 0.224 * CONSTANTS)


def spy(seen):
    from segloop.backbones.vision import renormalise

    def seeing(*arguments):
        seen.append(renormalise(*arguments))
        return seen[-1]

    return seeing


def test_sfp_says_that_it_needs_a_class_token(toy, street):
    segmenter = Segmenter.from_pretrained(toy, method="sfp", crop=0, short_side=64)
    with pytest.raises(OptionError, match=r"needs a class token, which .*model does not have"):
        segmenter(street, ["road", "sky"])


def test_on_the_command_line(segloop, toy, street, drawn, tmp_path):
    options = ("--clip", toy, "--method", "naclip", "--templates", "plain", "--set", "short_side=64")
    done(segloop("segment", street, *WORDS, *options, "--format", "json"))
    settings = record(tmp_path / "segloop-out" / "street")["settings"]
    assert (settings["model"], settings["pixels"]["std"]) == (str(toy), [0.5, 0.5, 0.5])
    run = ("evaluate", "scenes", "--data", drawn, *options, "--limit", 2, "--threads", 1)
    steps = ("--set", "pamr_steps=2")
    assert segloop(*run, "--scores", "--out", "run").exit_code == 0
    assert segloop(*run, *steps, "--out", "refined").exit_code == 0
    assert segloop("evaluate", "--from-scores", "run", *steps, "--out", "anew").exit_code == 0
    same = [(tmp_path / name / "images.csv").read_text() for name in ("run", "refined", "anew")]
    assert same[0] != same[1] == same[2]
    assert json.loads((tmp_path / "anew" / "run.json").read_text())["settings"]["pixels"]["mean"] == [0.5, 0.5, 0.5]
    assert "NACLIP" in done(segloop("report", "refined", "anew")).stdout


def test_inspect_says_what_it_lacks(segloop, toy, street):
    options = ("--clip", toy, "--method", "naclip", "--templates", "plain", "--set", "short_side=64")
    assert "needs a class token" in complaint(segloop("inspect", street, *WORDS, *options))


def test_other_types_are_refused_as_before(segloop, toy, street):
    (toy / "config.json").write_text('{"model_type": "siglip2"}')
    told = complaint(segloop("segment", street, *WORDS, "--clip", toy))
    kinds = " or ".join(map(repr, FAMILIES))
    assert f"is of type 'siglip2', not {kinds}: it is a SigLIP 2 for sides of any ratio" in told


def test_what_a_config_asks_for():
    configs = {"clip": {"model_type": "clip", "architecture": "x"}, OPENCLIP: {"model_cfg": {}}, "": {}}
    assert [kind_of(config) for config in configs.values()] == list(configs)
    assert kind_of({"architecture": "vit_base"}) == "vit_base"


def test_a_folder_of_openclip_needs_its_row_only(toy, monkeypatch):
    (toy / "config.json").rename(toy / "open_clip_config.json")
    (toy / "open_clip_config.json").write_text('{"model_cfg": {"embed_dim": 12}}')
    with pytest.raises(ModelError, match="does not say how its CLIP is built, 'vision_cfg' is missing"):
        load_clip(str(toy), CPU, torch.float32)
    monkeypatch.setitem(FAMILIES, OPENCLIP, lambda source: source.config["model_cfg"]["embed_dim"])
    assert load_clip(str(toy), CPU, torch.float32) == 12


# --- pixels


def preprocessor(folder: Path, name: str = "preprocessor_config.json", **said: object) -> Path:
    (folder / name).write_text(json.dumps(said))
    return folder


@pytest.fixture
def clip_folder(toy_clip, tmp_path) -> Path:
    return Path(shutil.copytree(toy_clip, tmp_path / "clip"))


@pytest.mark.parametrize(
    ("file", "said", "expected"),
    [
        ("preprocessor_config.json", {}, CLIP),
        ("preprocessor_config.json", {"image_mean": list(CLIP.mean), "image_std": list(CLIP.std)}, CLIP),
        ("preprocessor_config.json", {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}, HALVES),
        ("processor_config.json", {"image_processor": {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}}, HALVES),
        ("preprocessor_config.json", {"do_normalize": False}, Normalisation((0, 0, 0), (1, 1, 1))),
    ],
)
def test_pixels_are_those_of_the_folder(clip_folder, meadow, file, said, expected):
    segmenter = Segmenter.from_pretrained(preprocessor(clip_folder, file, **said), crop=0, short_side=64)
    assert segmenter.clip.normalisation == expected
    pixels = segmenter.prepare(meadow).pixels
    photo = torch.from_numpy(np.array(Image.open(meadow))).permute(2, 0, 1) / 255
    mean, std = (torch.tensor(numbers)[:, None, None] for numbers in (expected.mean, expected.std))
    torch.testing.assert_close(pixels, (photo - mean) / std, rtol=0, atol=CONSTANTS)
    assert ("pixels" in segmenter.describe(Vocabulary(["road"]))) == (expected != CLIP)


SENSELESS = (
    {"image_mean": [0.5, 0.5]},
    {"image_std": [0.5, 0, 0.5]},
    {"image_mean": "grey"},
    {"image_std": [1e999] * 3},
)


@pytest.mark.parametrize("said", SENSELESS)
def test_preprocessors_that_make_no_sense(clip_folder, said):
    with pytest.raises(ModelError, match="names no mean and deviation of three channels; mend image_mean"):
        load_clip(str(preprocessor(clip_folder, **said)), CPU, torch.float32)


def test_records_tell_pixels():
    for how in (CLIP, HALVES, Normalisation((0.1, 0.2, 0.3), (1.0, 2.0, 3.0))):
        assert Normalisation.recorded(json.loads(json.dumps(how.said()))) == how

"""The grid: every attention x feedback off and on x three backbones, and every host and guide on the command line."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import product
from pathlib import Path

import pytest
import torch
from torch import Tensor

from command import done, record
from models import BACKBONES, folder, pixels, text_rows
from models import GUIDES as REDUCED
from segloop.attention.types import LastBlock
from segloop.backbones.clip import Clip
from segloop.backbones.families import load_clip
from segloop.backbones.models import GUIDES
from segloop.backbones.vision import Guide, load_guide
from segloop.choice.naming import Choice
from segloop.choice.plan import resolve
from segloop.line.network import Network
from segloop.line.stages import BlockReadout, on_guide_grid
from tolerances import NETWORK, close_but_for_flips

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Row:
    """An attention, and the guide and feature that it looks at."""

    name: str
    guide: str | None = None
    feature: str = "tokens"

    def __str__(self) -> str:
        return "-".join((self.name, self.guide, self.feature) if self.guide else (self.name,))

    @property
    def has_positions(self) -> bool:
        return self.name == "naclip"


PAIRS = ["".join(pair) for pair in product("qkv", repeat=2)]
SUMS = ["qq+kk", "qq+vv", "kk+vv", "qk+qq", "qk+vv", "qq+kk+vv"]
NAMED = ["clip", "maskclip", "sclip", "clearclip", "naclip"]
ATTENTIONS = [
    *(Row(name) for name in (*PAIRS, *SUMS, *NAMED)),
    *(Row("proxyclip", guide, feature) for guide in ("dino", "dino-b16") for feature in ("tokens", "q", "k", "v")),
    *(Row("proxyclip", guide) for guide in ("dinov2", "dinov2-plain", "dinov3", "sam", "mae")),
]
WINDOWS = {"b16": (64, 80), "l14": (84, 70), "h14": (70, 84)}
TRUE = {"b16": (16, 64, "quick_gelu"), "l14": (14, 64, "quick_gelu"), "h14": (14, 80, "gelu")}

Open = Callable[[str, Row, bool], Network]


@pytest.fixture(scope="module")
def opened(tmp_path_factory) -> Open:
    """A backbone, an attention, and whether feedback is on -> the network; weights are read once."""
    root = tmp_path_factory.mktemp("reduced")

    @cache
    def clip(name: str) -> Clip:
        return load_clip(str(folder(root, name)), CPU, torch.float32)

    @cache
    def guide(name: str, feature: str) -> Guide:
        return load_guide(str(folder(root, name)), CPU, torch.float32, feature=feature)

    def network(backbone: str, row: Row, fed: bool) -> Network:
        looked_at = guide(row.guide, row.feature) if row.guide else None
        whole = {"crop": 0}  # the size that MAE resizes windows to
        plan = resolve(Choice(None, row.name, overrides=whole) if fed else Choice(row.name, overrides=whole))
        kind = looked_at.kind if looked_at else None
        return Network(clip(backbone), plan.for_models(clip(backbone).depth, clip(backbone).size, kind), looked_at)

    return network


def test_the_grid_is_as_wide_as_promised(opened):
    assert len(set(ATTENTIONS)) >= 33
    for name in BACKBONES:
        config = opened(name, Row("clip"), False).clip.vision.config
        assert (config.patch_size, config.hidden_size / config.num_attention_heads, config.hidden_act) == TRUE[name]


@pytest.mark.parametrize("fed", [False, True], ids=["host", "fsa"])
@pytest.mark.parametrize("row", ATTENTIONS, ids=str)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_attention_on_every_backbone(opened, backbone, row, fed):
    network, x, text = opened(backbone, row, fed), pixels(2, 3, *WINDOWS[backbone]), text_rows(5)
    found = network.logits(x, text)
    patches = found.shape[-2:].numel()
    same = partial(close_but_for_flips, patches=patches) if fed or row.guide else exactly
    assert found.shape[:2] == (2, 5) and found.isfinite().all()
    assert found.abs().max() <= 1 + NETWORK
    same(found, torch.cat([network.logits(window, text) for window in x.split(1)]))
    straight, moved, order = in_another_order(network, x, text)
    same(straight.mT.reshape(found.shape), found)
    if row.has_positions:
        assert (moved - straight[:, order]).abs().max() > 1e-3
    else:
        same(moved, straight[:, order])


def exactly(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=NETWORK)


@torch.no_grad()
def in_another_order(network: Network, x: Tensor, text: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cosines (B, N, Q) of patches as they lie and shuffled as they enter the last attention; the order of these."""
    clip = network.clip
    tokens, _ = clip.tokens(x)
    block, patches = clip.open_block(tokens, clip.grid(x)), tokens[:, 1:]
    if network.guide:
        block = on_guide_grid(replace(block, guide=network.guide(x)))
    count = block.grid[0] * block.grid[1]
    order = torch.randperm(count, generator=torch.Generator().manual_seed(count))
    shuffled = patches[:, order] if network.plan.around.residual else patches
    return read(network, block, patches, text), read(network, shuffle(block, order), shuffled, text), order


def shuffle(block: LastBlock, order: Tensor) -> LastBlock:
    tokens = torch.cat([torch.zeros(1, dtype=torch.long), order + 1]) if block.has_class_token else order
    guide = None if block.guide is None else block.guide.flatten(2)[..., order].unflatten(-1, block.grid)
    return replace(block, q=block.q[:, :, tokens], k=block.k[:, :, tokens], v=block.v[:, :, tokens], guide=guide)


def read(network: Network, block: LastBlock, patches: Tensor, text: Tensor) -> Tensor:
    plan, first = network.plan, int(block.has_class_token)
    mix = plan.attention(block)
    readout = BlockReadout(network.clip, text, patches if plan.around.residual else None, plan.around.mlp)
    feed = plan.feedback
    mixed = feed(mix, block.v, readout, class_token=block.has_class_token) if feed else mix(block.v)
    return readout(mixed[:, :, first:])


# --- the command line ---


def listed(segloop) -> dict[str, dict]:
    rows = [json.loads(line) for line in done(segloop("methods", "--json")).stdout.splitlines()]
    return {row["method"]: row for row in rows}


def test_methods_lists_hosts_and_guides(segloop):
    rows, table = listed(segloop), done(segloop("methods")).stdout
    assert {"clip", "maskclip", "sclip", "clearclip", "naclip", "proxyclip", "qq+kk"} <= set(rows["fsa"]["hosts"])
    assert "fsa" not in rows["fsa"]["hosts"]
    assert rows["fsa"]["vision"] == rows["proxyclip"]["vision"] == {name: row.hub for name, row in GUIDES.items()}
    assert rows["sclip"]["vision"] == {} and rows["sclip"]["hosts"] == []
    assert set(rows["corrclip"]["vision"]) == {name for name, row in GUIDES.items() if row.kind == "dino"}
    assert "dinov2-large" in rows["corrclip-v2"]["vision"]
    assert [name for name in rows if rows[name]["masks"]] == ["corrclip", "corrclip-v2"]
    assert all(name in table and row.hub in table for name, row in GUIDES.items())


def test_every_listed_host_and_guide_segments(segloop, segment, meadow, tmp_path, tmp_path_factory):
    rows, root = listed(segloop), tmp_path_factory.mktemp("guides")
    fewer = {name for name, row in rows.items() if row["masks"] or "--affinity" in row["uses"]}  # in tests of their own
    hosts = [host for host in rows["fsa"]["hosts"] if host not in fewer]
    pairs = [(host, guide) for host in hosts for guide in rows.get(host, {}).get("vision") or [None]]
    assert len(pairs) >= 18
    for number, (host, guide) in enumerate(pairs):
        vision = ("--vision", guide_folder(root, guide)) if guide else ()
        out = tmp_path / str(number)
        words = ("--classes", "car, road, sky", "--format", "json", "--out", out)
        done(segment(meadow, *words, "--method", "fsa", "--host", host, *vision))
        told = record(out / "meadow")
        assert (told["settings"]["method"], told["settings"]["host"]) == ("fsa", host)


def guide_folder(root: Path, name: str) -> Path:
    """Random weights of the kind that a short name stands for."""
    return folder(root, name if name in REDUCED else GUIDES[name].kind)


def test_host_alone_means_fsa_and_may_be_a_file(segment, meadow, tmp_path):
    idea = tmp_path / "idea.py"
    idea.write_text("def mine(block):\n    return lambda values: values.flip(2)\n")
    for host, name in ((f"{idea}:mine", "idea.py:mine"), ("kk", "kk")):
        done(segment(meadow, "--classes", "car, road", "--format", "json", "--host", host, "--overwrite"))
        told = record(tmp_path / "segloop-out" / "meadow")["settings"]
        assert (told["method"], told["host"]) == ("fsa", name)

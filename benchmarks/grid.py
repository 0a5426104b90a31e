"""The grid at true size: every attention, feedback off and on, seconds a window and feedback's share.

    python benchmarks/grid.py [--backbones b16,l14,h14] [--guides dino,dino-b16,dinov2,dinov2-plain,sam,mae]

One window of 224 pixels, random weights, 21 classes, default precision. Figures of single runs: they say what is
affordable, not more; `benchmarks/feedback.py` measures shares with care.
"""

import argparse
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path

import torch
import transformers

from common import MODELS, report, side_by_side, text_rows
from segloop.backbones.clip import Clip
from segloop.backbones.device import pick_device, pick_dtype
from segloop.backbones.vision import Guide, load_guide
from segloop.choice.naming import Choice
from segloop.choice.plan import resolve
from segloop.line.network import Network

BACKBONES = {  # vision width, blocks, heads, patch, activation, joint width
    "b16": (768, 12, 12, 16, "quick_gelu", 512),
    "l14": (1024, 24, 16, 14, "quick_gelu", 768),
    "h14": (1280, 32, 16, 14, "gelu", 1024),
}
GUIDES = {  # class and what differs from its defaults, which are the base size
    "dino": ("ViT", {"patch_size": 8}),
    "dino-b16": ("ViT", {}),
    "dinov2": ("Dinov2WithRegisters", {"image_size": 518, "patch_size": 14}),
    "dinov2-plain": ("Dinov2", {"image_size": 518, "patch_size": 14}),
    "sam": ("Sam", {}),
    "mae": ("ViTMAE", {}),
}
PRODUCTS = ["".join(pair) for pair in product("qkv", repeat=2)]
SUMS = ["qq+kk", "qq+vv", "kk+vv", "qk+qq", "qk+vv", "qq+kk+vv"]
NAMED = ["clip", "maskclip", "sclip", "clearclip", "naclip", "sfp", "sc-clip"]
FEATURES = {"dino": ("tokens", "q", "k", "v"), "dino-b16": ("tokens", "q", "k", "v")}


def clip(name: str) -> Clip:
    """A CLIP of true vision size; its text tower is cut to one block: it is not used."""
    width, depth, heads, patch, activation, joint = BACKBONES[name]
    vision = {"hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": depth}
    vision |= {"num_attention_heads": heads, "patch_size": patch, "hidden_act": activation}
    config = transformers.CLIPConfig(text_config={"num_hidden_layers": 1}, vision_config=vision, projection_dim=joint)
    torch.manual_seed(0)
    device = pick_device()
    dtype = pick_dtype("auto", device, "default")
    model = transformers.CLIPModel(config).eval().requires_grad_(False).to(device, dtype)
    return Clip(model, name, name, device, dtype)


@cache
def guide(name: str, feature: str) -> Guide:
    """A guide of base size."""
    family, changes = GUIDES[name]
    folder: Path = MODELS / f"guide-{name}"
    if not (folder / "model.safetensors").is_file():
        torch.manual_seed(0)
        config = getattr(transformers, f"{family}Config")(**changes)
        getattr(transformers, f"{family}Model")(config).save_pretrained(folder)
    device = pick_device()
    return load_guide(str(folder), device, pick_dtype("auto", device, "default"), feature=feature)


def attentions(guides: list[str]) -> list[tuple[str, str | None, str]]:
    """(method, guide, feature) of every attention."""
    plain = [(name, None, "tokens") for name in (*PRODUCTS, *SUMS, *NAMED)]
    lent = [("proxyclip", name, feature) for name in guides for feature in FEATURES.get(name, ("tokens",))]
    return [*plain, *lent]


def run(backbones: list[str], guides: list[str], repeats: int) -> None:
    """One row an attention and backbone."""
    rows, record = [], {}
    pixels = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    for backbone in backbones:
        opened = clip(backbone)
        text = text_rows(21, opened.width)
        for method, lender, feature in attentions(guides):
            looked_at = guide(lender, feature) if lender else None
            plan = resolve(Choice(host=method)).for_models(
                opened.depth, opened.size, looked_at.kind if looked_at else None
            )
            fed = Network(opened, plan, looked_at)
            host = replace(fed, plan=replace(plan, feedback=None))
            tasks = {"host": lambda n=host: n.logits(pixels, text), "fed": lambda n=fed: n.logits(pixels, text)}  # noqa: B023
            assert all(bool(task().isfinite().all()) for task in tasks.values())
            seconds = side_by_side(tasks, repeats)
            name = "-".join(part for part in (backbone, method, lender, feature if lender else None) if part)
            share = 100 * (seconds["fed"] / seconds["host"] - 1)
            record[name] = seconds
            rows.append((name, f"host {seconds['host']:.3f} s, with FSA {seconds['fed']:.3f} s, share {share:5.1f} %"))
    report(rows, {"benchmark": "grid", "seconds": record})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbones", default=",".join(BACKBONES))
    parser.add_argument("--guides", default=",".join(GUIDES))
    parser.add_argument("--repeats", type=int, default=1)
    given = parser.parse_args()
    run(given.backbones.split(","), given.guides.split(","), given.repeats)

"""How many labels an engine that is not exact leaves as they are: measured on drawn scenes, once for a model."""

import warnings

import torch
import torch.nn.functional as F
from torch import Tensor

from ..backbones.shared import weights_hash
from ..common.caching import keep, key_of, recall
from ..errors import ModelError, Notice, OptionError
from ..images import normalise
from ..scenes.draw import CLASSES, scene
from .network import Network

BAR = 0.98  # of the labels, which an engine has to leave
SEEDS = (1, 19, 21)  # of the scenes
FOLDER = "engines"  # of the cache


def check_labels(plain: Network, other: Network) -> None:
    """Say which share of the labels of `plain` the other network keeps. Raises OptionError below BAR."""
    key = _key(plain, other)
    known = (recall(FOLDER, key) or {}).get("kept")
    kept = known if isinstance(known, float) else agreement(plain, other)
    if kept != known:
        keep(FOLDER, key, {"kept": kept})
    name = "/".join(dict.fromkeys(other.engines))
    scenes = f"on {len(SEEDS)} drawn scenes with {plain.clip.name}"
    told = f"engine {name} keeps {int(1000 * kept) / 10} % of float32's labels {scenes}"
    if kept < BAR:
        raise OptionError(f"{told}, fewer than {BAR:.0%}", "use engine onnx, or leave it out")
    warnings.warn(Notice(told), stacklevel=4)


@torch.no_grad()
def agreement(plain: Network, other: Network) -> float:
    """The share of patches of drawn scenes to which both networks give one label, by the words of the scenes."""
    crop = plain.plan.geometry.crop or plain.plan.geometry.short_side
    side = max(1, crop // plain.multiple) * plain.multiple
    text, same, patches = _rows(plain), 0, 0
    for seed in SEEDS:
        window = torch.from_numpy(normalise(scene(seed, (side, side)).image, plain.clip.normalisation))[None]
        regions = _quarters(side) if plain.plan.row.masks else None
        labels = [one.logits(window, text, regions).argmax(1) for one in (plain, other)]
        same += int((labels[0] == labels[1]).sum())
        patches += labels[0].numel()
    return same / patches


def _rows(network: Network) -> Tensor:
    """Rows of the scenes' words, (Q, E); of a model that encodes no text, rows by chance."""
    try:
        rows = network.clip.encode_text([f"a photo of a {word}." for word in CLASSES])
    except ModelError:
        rows = torch.randn(len(CLASSES), network.clip.width, generator=torch.Generator().manual_seed(0))
    return F.normalize(rows.to(network.clip.device, torch.float32), dim=-1)


def _quarters(side: int) -> Tensor:
    """Regions for a method that works on them: (1, side, side) int64, 1 to 4."""
    half = (torch.arange(side) >= side // 2).long()
    return (1 + 2 * half[:, None] + half)[None]


def _key(plain: Network, other: Network) -> str:
    from importlib.metadata import version

    models = [plain.clip.model, *([plain.guide.model] if plain.guide and plain.guide.model is not None else [])]
    plan = plain.plan
    about = [plan.method, plan.host, repr(plan.geometry), repr(plan.records), list(other.engines), SEEDS]
    return key_of([weights_hash(model) for model in models], about, version("onnxruntime"))

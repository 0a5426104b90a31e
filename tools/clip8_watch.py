"""What ails a CLIP in training: how its last block attends, what its patches hold, and what readings make of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import CLIPModel, CLIPTokenizer

from scene_words import KINDS, Picture, view
from segloop.scenes.draw import CLASSES, Scene
from segloop.scenes.textures import GROUNDS
from tiny_captions import templates
from tiny_dense import ATTENTIONS, embed, ensemble, evaluate, normalised, starts, tokens

RIDGE = 10.0  # on standardised features
PURE = 0.8  # a patch teaches the probe where one class has so much of it
OF_WORDS = 20  # prompts of a class, of the 80


@dataclass(frozen=True)
class Geometry:
    """How scenes are cut, in pixels."""

    short: int
    crop: int
    stride: int
    patch: int


@torch.inference_mode()
def watch(
    model: CLIPModel, tokenizer: CLIPTokenizer, scenes: Sequence[Scene], alone: Sequence[Picture], geometry: Geometry
) -> dict[str, float]:
    """All figures of a moment: mIoU in percent of each reading, of a probe; accuracies; what the attention is like."""
    model.eval()
    rows = ensemble(model, tokenizer, list(CLASSES), templates()[:OF_WORDS])
    cut = (geometry.short, geometry.crop, geometry.stride)
    found = {}
    for kind, means in evaluate(model, rows, list(scenes), cut, list(ATTENTIONS)).items():
        found |= {kind: means["all"], f"{kind} grounds": means["grounds"], f"{kind} colours": means["colours"]}
    pixels, labels = windows(scenes, geometry)
    x = tokens(model, pixels)
    found |= probe(x[:, 1:], labels) | attention(model, x) | named(model, tokenizer, alone, geometry.crop)
    model.train()
    return {name: round(float(value), 3) for name, value in found.items()}


def windows(scenes: Sequence[Scene], geometry: Geometry) -> tuple[Tensor, np.ndarray]:
    """Windows side by side, normalised (n, 3, S, S), and the share of each class in each patch (n, N, C)."""
    crop, patch = geometry.crop, geometry.patch
    pictures, shares = [], []
    for scene in scenes:
        height, width = scene.mask.shape
        ratio = geometry.short / min(height, width)
        size = (round(width * ratio), round(height * ratio))
        image = np.asarray(Image.fromarray(scene.image).resize(size, Image.Resampling.BICUBIC))
        mask = np.asarray(Image.fromarray(scene.mask).resize(size, Image.Resampling.NEAREST))
        for top in starts(size[1], crop, crop):
            for left in starts(size[0], crop, crop):
                pictures.append(image[top : top + crop, left : left + crop])
                tiles = mask[top : top + crop, left : left + crop].reshape(crop // patch, patch, crop // patch, patch)
                one_hot = tiles[..., None] == np.arange(len(CLASSES))
                shares.append(one_hot.mean((1, 3)).reshape(-1, len(CLASSES)))
    return normalised(np.stack(pictures)), np.stack(shares)


def probe(x: Tensor, shares: np.ndarray) -> dict[str, float]:
    """A ridge regression from the last block's input (n, N, D) to classes, learnt on one half, judged on the other."""
    features = x.flatten(0, 1).double().numpy()
    features = (features - features.mean(0)) / (features.std(0) + 1e-6)
    features = np.concatenate([features, np.ones((len(features), 1))], 1)
    flat, half = shares.reshape(-1, len(CLASSES)), len(features) // 2
    target, pure = flat.argmax(1), flat.max(1) > PURE
    taught = features[:half][pure[:half]]
    answers = np.eye(len(CLASSES))[target[:half][pure[:half]]]
    weights = np.linalg.solve(taught.T @ taught + RIDGE * np.eye(taught.shape[1]), taught.T @ answers)
    guess, true = (features[half:] @ weights).argmax(1), target[half:]
    both = [((guess == k) & (true == k)).sum() for k in range(len(CLASSES))]
    either = [((guess == k) | (true == k)).sum() for k in range(len(CLASSES))]
    iou = 100 * np.array(both) / np.maximum(either, 1)
    return {
        "probe": iou.mean(),
        "probe grounds": iou[: len(GROUNDS)].mean(),
        "probe colours": iou[len(GROUNDS) :].mean(),
    }


def attention(model: CLIPModel, x: Tensor) -> dict[str, float]:
    """Query-key attention of the last block: entropy of patches' rows (1 is flat), the share of all attention that
    the 1 % of patches that get most receive, norms of patches."""
    block = model.vision_model.encoder.layers[-1]
    heads, y = block.self_attn.num_heads, block.layer_norm1(x)
    q, k = (
        getattr(block.self_attn, f"{name}_proj")(y).unflatten(-1, (heads, -1)).transpose(1, 2) for name in ("q", "k")
    )
    rows = torch.softmax(q @ k.mT * q.shape[-1] ** -0.5, -1).mean(1)[:, 1:]
    entropy = -(rows * rows.clamp_min(1e-9).log()).sum(-1).mean() / math.log(rows.shape[-1])
    received = rows[:, :, 1:].sum(1).sort(1, descending=True).values
    most = received[:, : math.ceil(received.shape[1] / 100)].sum(1) / received.sum(1)
    norms = x[:, 1:].norm(dim=-1)
    return {"entropy": entropy, "top 1 %": 100 * most.mean(), "norm": norms.median(), "largest norm": norms.max()}


def named(model: CLIPModel, tokenizer: CLIPTokenizer, alone: Sequence[Picture], crop: int) -> dict[str, float]:
    """How often the class token names the ground, the colour and the silhouette of pictures of one thing, in %."""
    rng = np.random.default_rng(51)
    pixels = normalised(np.stack([view(rng, picture, crop) for picture in alone]))
    whole = embed(model, tokens(model, pixels), "clip")[:, 0]
    found = {}
    for title, names, pick in zip(("ground", "colour", "shape"), KINDS, (0, 1, 2), strict=True):
        words = ensemble(model, tokenizer, list(names), templates()[:OF_WORDS])
        guess = [names[index] for index in (whole @ words.T).argmax(1).tolist()]
        true = [[word for thing in picture.things for word in thing][pick] for picture in alone]
        found[f"{title} named"] = 100 * float(np.mean([one == other for one, other in zip(guess, true, strict=True)]))
    return found

"""How well the bundled model segments: its last block with other attentions, over fresh scenes.

Self-contained on purpose, so that the model can be judged while it is trained, without the library's own path.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from transformers import CLIPModel, CLIPTokenizer

from segloop.scenes.draw import CLASSES, GROUNDS, Scene

MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
# name -> what attends (identity: nothing), and whether residual and MLP of the last block are kept
ATTENTIONS: dict[str, tuple[str, bool]] = {
    "clip": ("qk", True),
    "maskclip": ("", False),
    "sclip": ("qq+kk", True),
    "qq+kk": ("qq+kk", False),
    "qq": ("qq", False),
    "kk": ("kk", False),
}


def normalised(images: np.ndarray) -> Tensor:
    """(B, H, W, 3) uint8 -> (B, 3, H, W) float32 with CLIP's mean and deviation."""
    pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float().div_(255)
    return pixels.sub_(MEAN).div_(STD)


def tokens(model: CLIPModel, pixels: Tensor) -> Tensor:
    """Pixels (B, 3, S, S) -> what enters the last block, (B, 1+N, D)."""
    vision = model.vision_model
    parts = vision.embeddings
    # the patch convolution as a matrix product: its backward pass is several times quicker on a processor
    patches = F.unfold(pixels, parts.patch_size, stride=parts.patch_size).mT
    x = F.linear(patches, parts.patch_embedding.weight.flatten(1))
    x = torch.cat([parts.class_embedding.to(x.dtype).expand(len(x), 1, -1), x], 1)
    x = vision.pre_layrnorm(x + parts.position_embedding.weight)
    for block in vision.encoder.layers[:-1]:
        x = block(x, None)
    return x


def embed(model: CLIPModel, x: Tensor, attention: str) -> Tensor:
    """Last block with another attention, then the head: (B, 1+N, D) -> unit rows (B, 1+N, E)."""
    product, full = ATTENTIONS[attention]
    block = model.vision_model.encoder.layers[-1]
    heads = block.self_attn.num_heads
    y = block.layer_norm1(x)
    projected = {
        name: getattr(block.self_attn, f"{name}_proj")(y).unflatten(-1, (heads, -1)).transpose(1, 2)
        for name in {*product.replace("+", ""), "v"}
    }
    v = projected["v"]
    pairs = [(projected[pair[0]], projected[pair[1]]) for pair in product.split("+") if pair]
    mixes = [torch.softmax(a @ b.mT * a.shape[-1] ** -0.5, -1).to(v.dtype) @ v for a, b in pairs]
    mixed = torch.stack(mixes).sum(0) if mixes else v
    out = block.self_attn.out_proj(mixed.transpose(1, 2).flatten(2))
    if full:
        out = x + out
        out = out + block.mlp(block.layer_norm2(out))
    return F.normalize(model.visual_projection(model.vision_model.post_layernorm(out)).float(), dim=-1)


def encode(model: CLIPModel, tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """Texts -> unit rows (T, E)."""
    ids = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")["input_ids"]
    pooled = model.text_model(input_ids=ids).pooler_output
    return F.normalize(model.text_projection(pooled).float(), dim=-1)


def ensemble(model: CLIPModel, tokenizer: CLIPTokenizer, names: list[str], prompts: list[str]) -> Tensor:
    """One unit row per name, averaged over the prompts: (Q, E)."""
    texts = [prompt.format(name) for name in names for prompt in prompts]
    rows = encode(model, tokenizer, texts).unflatten(0, (len(names), len(prompts)))
    return F.normalize(rows.mean(1), dim=-1)


def cosines(
    model: CLIPModel, text: Tensor, image: np.ndarray, short: int, crop: int, stride: int, kinds: list[str]
) -> dict[str, Tensor]:
    """Image (H, W, 3) -> attention name -> cosines (Q, H, W), averaged over sliding windows."""
    height, width = image.shape[:2]
    ratio = short / min(height, width)
    size = (round(width * ratio), round(height * ratio))
    resized = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
    corners = [(t, s) for t in starts(size[1], crop, stride) for s in starts(size[0], crop, stride)]
    x = tokens(model, normalised(np.stack([resized[t : t + crop, s : s + crop] for t, s in corners])))
    side, found = math.isqrt(x.shape[1] - 1), {}
    for kind in kinds:
        grid = (embed(model, x, kind)[:, 1:] @ text.T).transpose(1, 2).unflatten(2, (side, side))
        windows = F.interpolate(grid, (crop, crop), mode="bilinear")
        total, hits = torch.zeros(len(text), size[1], size[0]), torch.zeros(size[1], size[0])
        for (t, s), window in zip(corners, windows, strict=True):
            total[:, t : t + crop, s : s + crop] += window
            hits[t : t + crop, s : s + crop] += 1
        found[kind] = F.interpolate((total / hits)[None], (height, width), mode="bilinear")[0]
    return found


def starts(length: int, crop: int, stride: int) -> list[int]:
    """Where windows begin along one side; the last one ends at the border."""
    return [min(step * stride, length - crop) for step in range(math.ceil((length - crop) / stride) + 1)]


@torch.inference_mode()
def evaluate(
    model: CLIPModel, text: Tensor, scenes: list[Scene], geometry: tuple[int, int, int], kinds: list[str]
) -> dict[str, dict[str, float]]:
    """Mean IoU in percent over all classes, the grounds, the colours, for each attention."""
    counts = {kind: np.zeros((len(CLASSES), len(CLASSES)), np.int64) for kind in kinds}
    for scene in scenes:
        for kind, scores in cosines(model, text, scene.image, *geometry, kinds).items():
            pairs = scene.mask.astype(np.int64) * len(CLASSES) + scores.argmax(0).numpy()
            counts[kind] += np.bincount(pairs.ravel(), minlength=len(CLASSES) ** 2).reshape(counts[kind].shape)
    return {kind: _means(count) for kind, count in counts.items()}


def _means(count: np.ndarray) -> dict[str, float]:
    hit = np.diag(count)
    iou = 100 * hit / np.maximum(count.sum(0) + count.sum(1) - hit, 1)
    grounds = len(GROUNDS)
    means = {"all": iou.mean(), "grounds": iou[:grounds].mean(), "colours": iou[grounds:].mean()}
    return {name: float(value) for name, value in means.items()}


@torch.inference_mode()
def best_scale(model: CLIPModel, text: Tensor, scenes: list[Scene], geometry: tuple[int, int, int], kind: str) -> float:
    """The logit scale whose softmax over the classes is nearest to the truth (least mean log loss)."""
    scales = [5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 40.0]
    losses = np.zeros(len(scales))
    for scene in scenes:
        scores = cosines(model, text, scene.image, *geometry, [kind])[kind][None]
        target = torch.from_numpy(scene.mask.astype(np.int64))[None]
        losses += [float(F.cross_entropy(scale * scores, target)) for scale in scales]
    return scales[int(losses.argmin())]

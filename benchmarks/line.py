"""The straight line against a textbook loop: seconds a photo and peak memory, side by side in one run.

    python benchmarks/line.py [--until 0.1] [--most 12]

All take turns until the intervals of their ratios are narrow enough or rounds are over, which is then said. A 500x375
photo, short side 336, windows of 224 with stride 112 (6 windows), ViT-B/16 with random weights at true size, SCLIP
attention, 21 and 847 classes, text already embedded. The textbook runs one window at a time, stores every attention
matrix and every full-size map, as the releases do.
"""

import argparse
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from common import (
    SMALL,
    Patience,
    add_patience,
    as_published,
    clip_folder,
    patience_of,
    peak_mib,
    peak_of,
    photo,
    ratios,
    report,
    text_rows,
    verdict,
)
from segloop import Segmenter, Vocabulary
from segloop.images import normalise, resize_uint8

CLASSES = (21, 47 if SMALL else 847)
GROWTH_BARS = {"float32": 1.5}  # 847 classes over 21; 2.5 in half precision


def textbook_window(model, pixels: Tensor, text: Tensor) -> Tensor:
    """(1, 3, H, W) -> cosines (1, Q, h, w): every block with its matrix, SCLIP's two in the last."""
    vision = model.vision_model
    x = vision.pre_layrnorm(vision.embeddings(pixels, interpolate_pos_encoding=True))
    layers = vision.encoder.layers
    for number, layer in enumerate(layers, start=1):
        attention, y = layer.self_attn, layer.layer_norm1(x)
        q, k, v = (
            projection(y).unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)
            for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        if number < len(layers):
            weights = (q @ k.mT * attention.scale).softmax(-1)
        else:
            weights = (q @ q.mT * attention.scale).softmax(-1) + (k @ k.mT * attention.scale).softmax(-1)
        x = x + attention.out_proj((weights @ v).transpose(1, 2).flatten(2))
        x = x + layer.mlp(layer.layer_norm2(x))
    features = F.normalize(model.visual_projection(vision.post_layernorm(x[:, 1:])), dim=-1)
    grid = pixels.shape[-2] // 16, pixels.shape[-1] // 16
    return (features @ text.T).mT.unflatten(-1, grid)


@torch.no_grad()
def textbook(model, image, text: Tensor) -> Tensor:
    """A photo -> labels (H, W), one window at a time, every map at full size."""
    pixels = torch.from_numpy(normalise(resize_uint8(image, (336, 448))))[None]
    total, count = torch.zeros(1, len(text), 336, 448), torch.zeros(1, 1, 336, 448)
    for top in (0, 112):
        for left in (0, 112, 224):
            logits = textbook_window(model, pixels[..., top : top + 224, left : left + 224], text)
            window = F.interpolate(logits, size=(224, 224), mode="bilinear")
            total[..., top : top + 224, left : left + 224] += window
            count[..., top : top + 224, left : left + 224] += 1
    full = F.interpolate(total / count, size=image.shape[:2], mode="bilinear")[0]
    return (full * 40).softmax(0).argmax(0)


def ours(dtype: str, batch: int) -> Segmenter:
    """Segloop on the same weights."""
    return Segmenter.from_pretrained(clip_folder(), method="sclip", dtype=dtype, batch=batch, device="cpu")


def vocabulary(queries: int) -> Vocabulary:
    """Classes whose rows are given."""
    return Vocabulary([f"class {i}" for i in range(queries)], embeddings=text_rows(queries))


def photo_tasks(queries: int, segmenters: dict[str, Segmenter]) -> dict[str, Callable[[], Any]]:
    """The textbook and every segmenter on one photo."""
    image, words, text = photo(), vocabulary(queries), text_rows(queries)
    model = as_published(next(iter(segmenters.values())).clip.model)
    tasks: dict[str, Callable[[], Any]] = {"textbook": lambda: textbook(model, image, text)}
    return tasks | {name: lambda one=one: one(image, words) for name, one in segmenters.items()}


def run(patience: Patience) -> None:
    """Time everything in turns, then measure peaks in processes of their own."""
    opened = [(dtype, batch, ours(dtype, batch)) for dtype in ("float32", "auto") for batch in (1, 8)]
    named = [(str(one.clip.dtype).removeprefix("torch."), batch, one) for _, batch, one in opened]
    segmenters = {f"segloop {dtype}, batch {batch}": one for dtype, batch, one in named}
    tasks, pairs = {}, {}
    for queries in CLASSES:
        for name, task in photo_tasks(queries, segmenters).items():
            tasks[f"{name}, {queries} classes"] = task
        pairs |= {
            f"{name}, {queries} classes": (f"textbook, {queries} classes", f"{name}, {queries} classes")
            for name in segmenters
        }
    precisions = list(dict.fromkeys(dtype for dtype, _, _ in named))
    few, many = (f"batch 8, {queries} classes" for queries in CLASSES)
    pairs |= {f"growth, {dtype}": (f"segloop {dtype}, {many}", f"segloop {dtype}, {few}") for dtype in precisions}
    seconds, found = ratios(tasks, pairs, patience)
    rows = []
    for name, value in seconds.items():
        times = "   " + found[name].told(unit=" times the textbook's speed") if name in found else ""
        rows.append((name, f"{value:6.3f} s a photo{times}"))
    for dtype in precisions:
        growth, bar = found[f"growth, {dtype}"], GROWTH_BARS.get(dtype, 2.5)
        told = f"{growth.told()} (bar {bar}: {verdict(growth, bar, 'less')})"
        rows.append((f"{CLASSES[1]} against {CLASSES[0]} classes, {dtype}", told))
    peaks = {}
    for who in ("idle", "segloop", "textbook"):
        for queries in CLASSES[: 1 if who == "idle" else 2]:
            peaks[f"{who} {queries}"] = peak_of(__file__, who, str(queries))
            above = peaks[f"{who} {queries}"] - peaks["idle 21"]
            rows.append((f"peak memory, {who}, {queries} classes", f"{above:6.0f} MiB above the loaded model"))
    kept = {name: asdict(one) for name, one in found.items()}
    report(rows, {"benchmark": "line", "seconds": seconds, "ratios": kept, "peak_mib": peaks})


def peak(who: str, queries: int) -> None:
    """Print what this process took at most after one photo."""
    segmenter = ours("float32", 8)
    if who == "segloop":
        segmenter(photo(), vocabulary(queries))
    elif who == "textbook":
        textbook(segmenter.clip.model, photo(), text_rows(queries))
    print(peak_mib())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_patience(parser, Patience(until=0.1, most=12, minutes=15))
    parser.add_argument("--peak", nargs=2, metavar=("WHO", "CLASSES"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak:
        peak(arguments.peak[0], int(arguments.peak[1]))
    else:
        run(patience_of(arguments))

"""The straight line against a textbook loop: seconds a photo and peak memory, side by side in one run.

    python benchmarks/line.py [--repeats 3]

A 500x375 photo, short side 336, windows of 224 with stride 112 (6 windows), ViT-B/16 with random weights at true
size, SCLIP attention, 21 and 847 classes, text already embedded. The textbook runs one window at a time, stores
every attention matrix and every full-size map, as the releases do.
"""

import argparse

import torch
import torch.nn.functional as F
from torch import Tensor

from common import clip_folder, peak_mib, peak_of, photo, report, side_by_side, text_rows
from segloop import Segmenter, Vocabulary
from segloop.images import normalise, resize_uint8

CLASSES = (21, 847)


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
    return Segmenter.from_pretrained(clip_folder(), method="sclip", dtype=dtype, batch=batch)


def vocabulary(queries: int) -> Vocabulary:
    """Classes whose rows are given."""
    return Vocabulary([f"class {i}" for i in range(queries)], embeddings=text_rows(queries))


def run(repeats: int) -> None:
    """Time everything in turns, then measure peaks in processes of their own."""
    image = photo()
    segmenters = {(dtype, batch): ours(dtype, batch) for dtype in ("float32", "auto") for batch in (1, 8)}
    model = segmenters["float32", 1].clip.model
    half = str(segmenters["auto", 1].clip.dtype).removeprefix("torch.")
    tasks = {}
    for queries in CLASSES:
        words, text = vocabulary(queries), text_rows(queries)
        tasks[f"textbook, {queries} classes"] = lambda text=text: textbook(model, image, text)
        for (dtype, batch), segmenter in segmenters.items():
            name = f"segloop {half if dtype == 'auto' else dtype}, batch {batch}, {queries} classes"
            tasks[name] = lambda segmenter=segmenter, words=words: segmenter(image, words)
    seconds = side_by_side(tasks, repeats)
    rows = []
    for name, value in seconds.items():
        times = seconds[f"textbook, {name.split(', ')[-1]}"] / value
        rows.append((name, f"{value:6.3f} s a photo   {times:4.1f} times the textbook's speed"))
    growth = {}
    for dtype in ("float32", half):
        few, many = (seconds[f"segloop {dtype}, batch 8, {queries} classes"] for queries in CLASSES)
        growth[dtype] = many / few
        rows.append(
            (f"847 against 21 classes, {dtype}", f"{many / few:.2f} (bar {1.5 if dtype == 'float32' else 2.5})")
        )
    peaks = {}
    for who in ("idle", "segloop", "textbook"):
        for queries in CLASSES[: 1 if who == "idle" else 2]:
            peaks[f"{who} {queries}"] = peak_of(__file__, who, str(queries))
            above = peaks[f"{who} {queries}"] - peaks["idle 21"]
            rows.append((f"peak memory, {who}, {queries} classes", f"{above:6.0f} MiB above the loaded model"))
    report(rows, {"benchmark": "line", "seconds": seconds, "growth": growth, "peak_mib": peaks})


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
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peak", nargs=2, metavar=("WHO", "CLASSES"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak:
        peak(arguments.peak[0], int(arguments.peak[1]))
    else:
        run(arguments.repeats)

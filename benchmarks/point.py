"""One point of a sweep in a process of its own: seconds of some calls, and the memory of the first. One JSON line.

    python benchmarks/point.py classes 847 [--calls 3]

`tools/performance.py` runs it for every point. ViT-B/16 with random weights at true size, in the default precision, by
SCLIP's attention in windows of 224, 21 classes, a photo of 500x375, unless the sweep changes that.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

import feedback
import grid
from common import SMALL, circumstances, clip_folder, dino_folder, forget_peak, held_mib, peak_mib, photo, text_rows
from segloop import Segmenter, Vocabulary
from segloop.attention.operators import Shared, proxy_weights
from segloop.choice.naming import Choice
from segloop.choice.plan import resolve
from segloop.line.network import Network
from segloop.line.stages import BlockReadout

LONG = 20.0  # seconds after which no more calls are made
QUERIES = 21
Point = tuple[float, Callable[[], Any]]  # where it lies on the sweep's axis, and what is timed


def vocabulary(queries: int = QUERIES) -> Vocabulary:
    """Classes whose rows are given."""
    return Vocabulary([f"class {number}" for number in range(queries)], embeddings=text_rows(queries))


def ours(**options: Any) -> Segmenter:
    """SCLIP in the default precision."""
    return Segmenter.from_pretrained(clip_folder(), method="sclip", **options)


def megapixels(queries: int, size: float) -> Point:
    """A photo of so many megapixels, 4 to 3."""
    height = round((size * 1e6 * 3 / 4) ** 0.5)
    width = round(size * 1e6 / height)
    image = np.tile(photo(750, 1000), (height // 750 + 1, width // 1000 + 1, 1))[:height, :width].copy()
    segmenter, words = ours(), vocabulary(queries)
    return height * width / 1e6, lambda: segmenter(image, words)


def classes(queries: float) -> Point:
    """So many words."""
    image, segmenter, words = photo(), ours(), vocabulary(int(queries))
    return queries, lambda: segmenter(image, words)


def windows(short_side: float) -> Point:
    """A photo resized to this short side, so that it has more windows."""
    image, segmenter, words = photo(), ours(short_side=int(short_side)), vocabulary()
    return len(segmenter.prepare(image).windows), lambda: segmenter(image, words)


def photos(number: float) -> Point:
    """So many photos, one after the other, each result thrown away."""
    image, segmenter, words = photo(), ours(), vocabulary()

    def stream() -> None:
        for _ in segmenter.stream((image for _ in range(int(number))), words):
            pass

    return number, stream


def guide_tokens(number: float) -> Point:
    """One window of so many patches of DINO ViT-B/8: both encoders, proxy attention, feedback."""
    side = round(number**0.5)
    segmenter = Segmenter.from_pretrained(clip_folder(), method="fsa", vision=dino_folder())
    pixels, text = feedback.window(8 * side), text_rows(QUERIES)
    return side**2, lambda: segmenter.logits(pixels, text)


def feedback_tokens(number: float) -> Point:
    """The feedback stage alone, in float32, on features by chance."""
    side = round(number**0.5)
    clip = ours(dtype="float32").clip
    heads, width = (
        int(clip.model.config.vision_config.to_dict()[key]) for key in ("num_attention_heads", "hidden_size")
    )
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(1, heads, side**2, width // heads, generator=generator)
    mix = Shared(proxy_weights(torch.randn(1, 256, side, side, generator=generator) + 1))
    z = mix(values)
    readout = BlockReadout(clip, text_rows(QUERIES), None, mlp=False)
    return side**2, lambda: feedback.ours_stage(mix, values, z, readout)


def clip_size(name: str) -> Point:
    """One window of 224 through a CLIP of another size; the axis is millions of its vision tower's weights."""
    clip = grid.clip(name)
    plan = resolve(Choice(host="sclip")).for_models(clip.depth, clip.size, None)
    network = Network(clip, replace(plan, feedback=None), None)
    pixels, text = feedback.window(224), text_rows(QUERIES, clip.width)
    weights = sum(weight.numel() for weight in clip.vision.parameters())
    return weights / 1e6, lambda: network.logits(pixels, text)


POINTS: dict[str, Callable[[Any], Point]] = {
    "photo-size": partial(megapixels, QUERIES),
    "photo-size-171": partial(megapixels, 171),
    "classes": classes,
    "windows": windows,
    "photos": photos,
    "guide-tokens": guide_tokens,
    "feedback-tokens": feedback_tokens,
    "clip-size": clip_size,
}


@torch.no_grad()
def measured(place: float, task: Callable[[], Any], calls: int) -> dict[str, float]:
    """Median seconds of some calls behind a first one, which tells the memory; of the first where it is long."""
    held = held_mib()
    forget_peak()
    begun = time.perf_counter()
    task()
    seconds = [time.perf_counter() - begun]
    peak = peak_mib()
    while len(seconds) <= calls and time.perf_counter() - begun < LONG:
        start = time.perf_counter()
        task()
        seconds.append(time.perf_counter() - start)
    typical = statistics.median(seconds[1:] or seconds)
    return {"x": place, "seconds": typical, "above_mib": max(0.0, peak - held), "held_mib": held}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", choices=POINTS)
    parser.add_argument("point", help="a number, of clip-size b16, l14 or h14")
    parser.add_argument("--calls", type=int, default=3)
    options = parser.parse_args()
    if SMALL:
        grid.BACKBONES = {name: (96, 2 + 2 * at, 3, 16, "gelu", 64) for at, name in enumerate(grid.BACKBONES)}
    where = options.point if options.sweep == "clip-size" else float(options.point)
    found = measured(*POINTS[options.sweep](where), options.calls)
    print(json.dumps({**found, **circumstances()}))


if __name__ == "__main__":
    main()

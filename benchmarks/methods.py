"""Time and memory of every method side by side in one run, and what feedback adds on each.

    python benchmarks/methods.py [--repeats 3]

A 500x375 photo by each method's VOC21 row, 21 classes, text already embedded; ViT-B/16, DINO ViT-B/8 and ViT-B/16 and
SAM ViT-B with random weights at true size, float32; 24 regions of masks where a method asks for them. Methods take
turns. Rows differ in how they cut a photo, so that windows stand beside the seconds.
"""

import argparse
from typing import Any

import numpy as np
import torch
import transformers

from common import MODELS, clip_folder, dino_folder, peak_mib, peak_of, photo, report, side_by_side, text_rows
from segloop import Segmenter, Vocabulary
from segloop.errors import OptionError

QUERIES = 21
COLUMNS = ("method", "short side, windows", "seconds", "with feedback", "MiB above a loaded CLIP")
WITH = {"vision": "DINO", "masks": "masks at hand", "affinity": "SAM"}


def random_folder(name: str, kind: str, config: Any) -> Any:
    """A model of transformers with random weights, saved once."""
    folder = MODELS / name
    if not (folder / "model.safetensors").is_file():
        torch.manual_seed(0)
        getattr(transformers, kind)(config).save_pretrained(folder)
    return folder


def dino16_folder() -> Any:
    """A DINO ViT-B/16 at true size."""
    return random_folder("dino-b16", "ViTModel", transformers.ViTConfig(patch_size=16, image_size=224))


def sam_folder() -> Any:
    """A SAM ViT-B at true size."""
    return random_folder("sam-b", "SamModel", transformers.SamConfig())


def regions() -> np.ndarray:
    """24 regions and some pixels of none: (375, 500)."""
    ids = np.arange(4)[:, None] * 6 + np.arange(6) + 1
    whole = ids.repeat(94, 0).repeat(84, 1)[:375, :500]
    whole[:, :20] = 0
    return whole


METHODS: dict[str, dict[str, Any]] = {
    "clip": {},
    "sclip": {},
    "clearclip": {},
    "naclip": {},
    "sfp": {},
    "sc-clip": {},
    "resclip": {},
    "proxyclip": {"vision": dino_folder},
    "lposs": {"vision": dino16_folder},
    "corrclip": {"vision": dino_folder, "masks": regions},
    "trident": {"vision": dino16_folder, "affinity": sam_folder},
}


def opened(name: str, fed: bool) -> Segmenter:
    """A method by its VOC21 row, or feedback on it."""
    options = {key: value() for key, value in METHODS[name].items() if key != "masks"}
    named = {"method": "fsa", "host": name} if fed else {"method": name}
    return Segmenter.from_pretrained(clip_folder(), dataset="voc21", dtype="float32", **named, **options)


def call(segmenter: Segmenter, name: str) -> Any:
    """One photo through it."""
    names = [f"class {number}" for number in range(QUERIES)]
    words = Vocabulary(names, embeddings=text_rows(QUERIES), background=0)
    masks = METHODS[name].get("masks")
    return segmenter(photo(), words, **({"masks": masks()} if masks else {}))


def run(repeats: int) -> None:
    """Time everything in turns, then measure peaks in processes of their own."""
    segmenters: dict[str, tuple[Segmenter, str]] = {}
    for name in METHODS:
        segmenters[name] = opened(name, fed=False), name
        try:
            segmenters[f"fsa on {name}"] = opened(name, fed=True), name
        except OptionError as error:
            print(f"fsa on {name}: {error}")
    tasks = {label: lambda one=one, name=name: call(one, name) for label, (one, name) in segmenters.items()}
    seconds = side_by_side(tasks, repeats)
    idle = peak_of(__file__, "idle", "clip")
    record = {}
    for label, value in seconds.items():
        segmenter, name = segmenters[label]
        memory = peak_of(__file__, "fsa" if label != name else "alone", name) - idle
        geometry = segmenter.plan.geometry
        record[label] = {"seconds": value, "peak_mib": memory, "short_side": geometry.short_side, "crop": geometry.crop}
    names = sorted(METHODS, key=lambda name: seconds[name])
    report([row(name, record) for name in names], {"benchmark": "methods", "columns": COLUMNS, "methods": record})


def row(name: str, record: dict[str, Any]) -> tuple[str, ...]:
    """A method's line of the table."""
    alone, fed = record[name], record.get(f"fsa on {name}")
    given = ", ".join(WITH[key] for key in METHODS[name])
    return (
        f"{name}, {given}" if given else name,
        f"{alone['short_side']}, {alone['crop'] or 'the whole photo'}",
        f"{alone['seconds']:.2f}",
        f"{fed['seconds']:.2f}" if fed else "no attention to feed back to",
        f"{alone['peak_mib']:.0f}",
    )


def peak(who: str, name: str) -> None:
    """Print what this process took at most after one photo."""
    segmenter = opened(name, fed=who == "fsa")
    if who != "idle":
        call(segmenter, name)
    print(peak_mib())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peak", nargs=2, metavar=("WHO", "METHOD"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak:
        peak(*arguments.peak)
    else:
        run(arguments.repeats)

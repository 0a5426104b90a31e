"""Engines of the encoders side by side in one run: seconds against torch's float32, and labels that stay.

    python benchmarks/engines.py [--repeats 5] [--windows 2] [--threads N] [--without compile,int8] [--small]

CLIP ViT-B/16 and DINO ViT-B/8 with random weights at true size, windows of 336 pixels; all sides take turns. A ratio is
torch's time in float32 over the engine's, its median and range over the repeats. Labels are those of the bundled model
on drawn scenes against float32's; numbers of the random networks stand beside them. --small takes reduced networks, to
try the script. OpenVINO, where it is installed, runs ONNX Runtime's file.
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from common import MODELS, clip_folder, dino_folder, in_turns, report
from segloop import Segmenter
from segloop.backbones import engines
from segloop.backbones.families import load_clip
from segloop.backbones.onnxed import with_file
from segloop.backbones.shared import Models
from segloop.backbones.work import Runner, Work
from segloop.line.agreement import agreement
from segloop.line.network import Network

SIDE = 336
CPU = torch.device("cpu")
HALF = "bfloat16"


def openvino_session(work: Work) -> Runner:
    """Blocks by OpenVINO in float32, with as many threads as torch has."""
    import openvino

    how = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": "f32"}
    compiled = with_file(work, lambda path: openvino.Core().compile_model(str(path), "CPU", how))

    def run(x: Tensor, wanted: Sequence[int]) -> list[Tensor]:
        found = compiled([x.contiguous().numpy()])
        return [torch.from_numpy(found[number].copy()) for number in wanted]

    return run


def small_folders() -> tuple[Any, Any]:
    """A CLIP and a DINO of four narrow blocks."""
    from transformers import CLIPConfig, CLIPModel, ViTConfig, ViTModel

    narrow = {"hidden_size": 96, "intermediate_size": 384, "num_hidden_layers": 4, "num_attention_heads": 4}
    clip, dino = MODELS / "clip-small", MODELS / "dino-small"
    torch.manual_seed(0)
    CLIPModel(
        CLIPConfig(text_config={"num_hidden_layers": 1}, vision_config=narrow | {"patch_size": 16})
    ).save_pretrained(clip)
    ViTModel(ViTConfig(**narrow, patch_size=8, image_size=224)).save_pretrained(dino)
    return clip, dino


def encoders(folders: tuple[Any, Any], name: str) -> dict[str, Callable[[Tensor], Tensor]]:
    """CLIP's blocks before the last, and the vision model, on an engine: pixels to tokens and to features."""
    dtype = torch.bfloat16 if name == HALF else torch.float32
    engine = "eager" if name == HALF else name
    models = Models()
    clip = models.clip(str(folders[0]), CPU, dtype)
    guide = models.guide(str(folders[1]), CPU, dtype)
    clip, first = engines.tower_on(engine, clip, 1, models)
    guide, second = engines.guide_on(engine, guide, models)
    assert (first, second) == (engine, engine), f"{name} did not run"
    return {"CLIP": lambda pixels: clip.tokens(pixels)[0], "DINO": lambda pixels: guide(pixels)}


def labels_kept(name: str) -> float:
    """The share of the bundled model's labels on drawn scenes that stay as float32 has them."""
    how = {"method": "sclip", "short_side": 192, "crop": 192, "stride": 96}
    plain = Segmenter.from_pretrained("tiny", dtype="float32", **how).network
    if name == HALF:
        return agreement(plain, Segmenter.from_pretrained("tiny", dtype=HALF, **how).network)
    models = Models()
    clip = models.once("tiny", lambda: load_clip("tiny", CPU, torch.float32))
    clip, _ = engines.tower_on(name, clip, 1, models)
    return agreement(plain, Network(clip, plain.plan, engines=(name,)))


@torch.no_grad()
def run(names: Sequence[str], windows: int, repeats: int, small: bool) -> None:
    """Time everything in turns."""
    folders = small_folders() if small else (clip_folder(), dino_folder())
    pixels = torch.randn(windows, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    known = {}
    for name in names:
        start = time.perf_counter()
        try:
            known[name] = encoders(folders, name)
        except Exception as error:
            print(f"{name} is left out: {type(error).__name__}: {str(error)[:200]}")
            continue
        print(f"{name} was ready after {time.perf_counter() - start:.1f} s", flush=True)
    rows, record = [], {}
    kept = {name: labels_kept(name) for name in known}
    for part in ("CLIP", "DINO"):
        tasks = {name: lambda run=encode[part]: run(pixels) for name, encode in known.items()}
        seconds = in_turns(tasks, repeats)
        exact = tasks["eager"]()
        for name, found in seconds.items():
            ratios = [plain / own for plain, own in zip(seconds["eager"], found, strict=True)]
            off = float((tasks[name]().float() - exact).norm() / exact.norm())
            spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            told = f"{statistics.median(found) / windows:.3f} s a window, {spread} times torch's speed in float32"
            rows.append((f"{part}, {name}", f"{told}, off by {off:.1e}, labels of tiny kept {kept[name]:.2%}"))
            record[f"{part} {name}"] = {"seconds": found, "ratios": ratios, "off": off, "kept": kept[name]}
    report(rows, {"benchmark": "engines", "windows": windows, "side": SIDE, "small": small, "found": record})
    print(f"{torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--windows", type=int, default=2)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--without", default="", help="engines that are left out, joined by commas")
    parser.add_argument("--small", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads or torch.get_num_threads())
    warnings.simplefilter("ignore")
    wanted = ["eager", "compile", HALF, "onnx", "int8"]
    if find_spec("openvino"):
        engines.ENGINES["openvino"] = engines.Engine("OpenVINO", openvino_session)
        wanted.append("openvino")
    left = arguments.without.split(",")
    run([name for name in wanted if name not in left], arguments.windows, arguments.repeats, arguments.small)

"""A Segmenter's window written down as ONNX, with what a program without torch needs around it."""

import inspect
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..backbones.engines import missing_packages
from ..backbones.onnxed import write_down
from ..common.files import explaining, write_whole
from ..errors import OptionError
from ..images import sizes
from ..maps import windows
from ..words.vocabulary import Vocabulary
from ..words.voting import only_plain
from .engined import without_engine
from .network import Network
from .segmenter import Segmenter
from .stages import open_last

FORMAT = 1  # of window.json
RUNNER = Path(__file__).with_name("runner.py")
SHARED: tuple[tuple[ModuleType, tuple[str, ...]], ...] = (
    (sizes, ("resized_size", "resize_uint8", "_mixed", "_taps")),
    (windows, ("spans", "padding")),
)
"""Functions of numpy alone, whose source goes into the runner."""


class Window(torch.nn.Module):
    """Pixels and text rows to cosines: normalised (B, 3, H, W), (Q, E) -> (B, Q, h, w)."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.clip, self.guide = network.clip.model, network.guide.model if network.guide else None
        self.network = network

    def forward(self, pixels: Tensor, text: Tensor) -> Tensor:
        """As `Network.logits`, all windows at once."""
        batch, states, features = self.network.encoded(pixels, text)
        opened = open_last(batch, states, features)
        for stage in self.network.stages:
            opened = stage(opened)
        return opened.cosines()


def export(segmenter: Segmenter, vocabulary: Vocabulary, folder: Path) -> dict[str, Any]:
    """Write model.onnx, text.npy, window.json and run.py into `folder` -> what window.json says.

    The graph takes `pixels` (B, 3, H, W) float32, normalised, of one size, and `text` (Q, E) float32, unit rows; it
    gives `cosines` (B, Q, h, w). Raises OptionError for what cannot be written down, OutputError.
    """
    check_exportable(segmenter)
    network = without_engine(segmenter.network)
    rows = only_plain(segmenter.text(vocabulary), "an export").float().cpu()
    plan = segmenter.plan
    alone = network.guide is not None or any((plan.feedback, plan.purify, plan.stages))  # stages go by the batch
    side = _side(segmenter)
    example = torch.zeros(1 if alone else 2, 3, side, side), torch.zeros(3, network.clip.width)
    axes: dict[str, dict[int, str]] = {"pixels": {} if alone else {0: "windows"}, "text": {0: "queries"}}
    with explaining(folder):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        write_down(Window(network), example, axes, ["cosines"], folder / "model.onnx")
    except Exception as error:  # whatever torch cannot write down
        (folder / "model.onnx").unlink(missing_ok=True)
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason given")
        what = f"method {_name(segmenter)} cannot be written as ONNX ({type(error).__name__}: {first[:160]})"
        raise OptionError(what, "choose another, such as --method sclip, naclip or clearclip") from error
    about = _about(segmenter, vocabulary, side, not alone)
    with explaining(folder):
        np.save(folder / "text.npy", rows.numpy())
    write_whole(folder / "window.json", json.dumps(about, indent=1, ensure_ascii=False).encode())
    write_whole(folder / "run.py", runner().encode())
    return about


def check_exportable(segmenter: Segmenter) -> None:
    """Raises OptionError for what happens outside a window, which the runner does not do."""
    plan, network, name = segmenter.plan, segmenter.network, _name(segmenter)
    if missing := missing_packages("onnx"):
        raise OptionError(f"an export needs {' and '.join(missing)}", "pip install 'segloop[onnx]'")
    if segmenter.fidelity == "reference":
        raise OptionError("an export came with reference fidelity", "leave fidelity at default")
    if network.joint is not None or plan.row.masks or segmenter.masks is not None or network.guides is not None:
        what = f"method {name} looks at more than a window: the whole photo, or masks"
        raise OptionError(what, "choose another, such as --method sclip, naclip or clearclip")
    steps = [type(step).__name__.lower() for step in (*plan.map_steps, *plan.label_steps) if step.is_on]
    if steps:
        raise OptionError(f"the runner has no step {' and '.join(steps)} on the map", "switch it off with --set")
    crop, short = plan.geometry.crop, plan.geometry.short_side
    if not 0 < crop <= short:
        what = f"crop={crop} at short_side={short} gives windows of many sizes"
        raise OptionError(what, f"give windows of one size, as with --set crop={min(short, 224)} --set stride=112")
    if network.clip.dtype != torch.float32 or network.clip.device.type != "cpu":
        raise OptionError("an export is written on the processor in float32", "add --device cpu --dtype float32")


def runner() -> str:
    """The source of run.py: `runner.py`, with the source of what it takes from segloop in the place of imports."""
    shared = [inspect.getsource(getattr(module, name)) for module, names in SHARED for name in names]
    text = RUNNER.read_text(encoding="utf-8")
    found = re.sub(r"# begin:.*?# end\n", "", text, flags=re.DOTALL)
    at = found.index("class Exported")
    return f"{found[:at]}{chr(10).join(one.rstrip() + chr(10) * 2 for one in shared)}\n{found[at:]}"


def _about(segmenter: Segmenter, vocabulary: Vocabulary, side: int, many: bool) -> dict[str, Any]:
    """window.json: all that the runner reads, and what made the model."""
    plan, clip, rule = segmenter.plan, segmenter.clip, segmenter.rule(vocabulary)
    mean, std = clip.normalisation.in_bytes
    geometry = plan.geometry
    return {
        "format": FORMAT,
        "window": [side, side],
        "any_number_of_windows": many,
        "mean": mean.tolist(),
        "std": std.tolist(),
        "geometry": {
            **{name: getattr(geometry, name) for name in ("short_side", "long_side", "crop", "stride")},
            "multiple": segmenter.network.multiple,
            "patch": clip.patch,
        },
        "classes": list(vocabulary.classes),
        "queries": list(vocabulary.queries),
        "query_index": list(vocabulary.query_index),
        "logit_scale": rule.logit_scale,
        "background_threshold": rule.background_threshold,
        "area_threshold": rule.area_threshold,
        "made_by": json.loads(json.dumps(segmenter.describe(vocabulary), default=str)),
    }


def _side(segmenter: Segmenter) -> int:
    """Pixels of a window with its padding."""
    crop, multiple = segmenter.plan.geometry.crop, segmenter.network.multiple
    return -(-crop // multiple) * multiple


def _name(segmenter: Segmenter) -> str:
    plan = segmenter.plan
    return f"{plan.method} on {plan.host}" if plan.host else plan.method

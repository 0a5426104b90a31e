"""From a settled plan to its open networks, and what a model's own folder wants."""

import json
from collections.abc import Sequence
from dataclasses import replace
from math import lcm
from pathlib import Path
from typing import Any, Literal

import torch

from ..attention.types import Attention
from ..backbones.device import pick_device, pick_dtypes
from ..backbones.engines import precisions_of
from ..backbones.half import Pair, first_that_fits
from ..backbones.loading import resolve as resolve_model
from ..backbones.shared import Models
from ..backbones.tower import Tower
from ..backbones.vision import Guide
from ..choice.besides import in_whole_patches, sees_photos_twice
from ..choice.method import BLACK, PATCH
from ..choice.naming import Choice
from ..choice.plan import NAMED, Guidance, Plan
from ..common.visible import plain
from ..errors import ModelError, OptionError
from ..images import Normalisation, Reading
from .engined import engined
from .network import Network

MOST_BATCH = 4096  # windows that go through the network together

Fidelity = Literal["default", "reference"]


def open_network(
    model: str,
    plan: Plan,
    models: Models,
    device: torch.device,
    dtypes: Sequence[torch.dtype],
    fidelity: Fidelity,
    offline: bool,
    engine: str | None = None,
) -> Network:
    """The networks that a plan needs, opened in the first of `dtypes` that holds them, and the plan as they settle it;
    their encoders on an `engine`, in `default` fidelity.

    Raises ModelError, OptionError.
    """
    reference = fidelity == "reference"
    shifted = reference and not plan.row.sized_positions
    feature = (plan.guidance or Guidance()).vision_feature

    def open_pair(dtype: torch.dtype) -> Pair:
        clip = models.clip(model, device, dtype, "published" if shifted else "exact", offline)
        wanted = (device, dtype, fidelity, feature, offline)
        return clip, models.guide(plan.vision, *wanted) if plan.vision else None

    clip, guide = first_that_fits(dtypes, open_pair)
    plan = plan.for_models(clip.depth, clip.size, guide.kind if guide else None, reference)
    _check_windows(plan, clip, guide)
    besides: dict[str, Any] = {}
    if plan.affinity:
        sam = models.sam(plan.affinity, device, torch.float32 if reference else clip.dtype, offline)
        twice = sees_photos_twice(plan.stages, plan.steps)
        besides["affinity"] = replace(sam, multiple=clip.patch, recent={} if twice else None)
    frames = reference and plan.row.pad == BLACK
    network = Network(clip, plan, guide, models.memory, besides, frames=frames, by_pixels=reference)
    return network if reference else engined(network, engine, models)


def _check_windows(plan: Plan, clip: Tower, guide: Guide | None) -> None:
    """Raises OptionError where windows are joined at patches and would not end there."""
    if not in_whole_patches(plan.stages):
        return
    method, geometry = plan.host or plan.method, plan.geometry
    if not geometry.crop:
        raise OptionError(f"crop=0 came with {method}, which joins windows", "give crop=336, or leave it out")
    for name, value, patch in (
        ("crop", geometry.crop, lcm(clip.patch, guide.multiple if guide else 1)),
        ("stride", geometry.stride, clip.patch),
    ):
        if value % patch:
            what = f"{name}={value} came with {method}, which joins windows at whole patches"
            raise OptionError(what, f"give a multiple of {patch} pixels, such as {-(-value // patch) * patch}")


def cutting(network: Network, fidelity: Fidelity, reading: Reading) -> tuple[int, int, Reading, Normalisation]:
    """What windows are padded to a multiple of, the least side of a photo, how pixels are read and normalised."""
    plan, patch, how = network.plan, network.clip.patch, (reading, network.clip.normalisation)
    if fidelity == "default":
        return network.multiple, patch, *how
    published = patch if plan.row.pad == PATCH else max(1, plan.row.pad)
    return published if plan.geometry.crop else 1, 1, *how


def machine(
    device: str | torch.device, dtype: str | torch.dtype, fidelity: Fidelity, batch: int, engine: str | None = None
) -> tuple[torch.device, tuple[torch.dtype, ...]]:
    """Where networks are opened, and the precisions to try there, in this order, as far as the engine has them.

    Raises OptionError, also for a fidelity that there is not, or no window.
    """
    if fidelity not in ("default", "reference"):
        raise OptionError(f"unknown fidelity {fidelity!r}", "choose default or reference")
    if not 1 <= batch <= MOST_BATCH:
        raise OptionError(f"batch={batch} is not possible", f"give at least 1 window and at most {MOST_BATCH}")
    where = pick_device(device)
    return where, precisions_of(engine, where, dtype, pick_dtypes(dtype, where, fidelity), fidelity)


def chosen(method: str | Attention, host: str | Attention | None, vision: str | Path | None, *others: Any) -> Choice:
    """What was asked for, as `choice` has it."""
    return Choice(None if method == "auto" else method, host, None if vision is None else str(vision), *others)


def folder_settings(model: str, offline: bool) -> dict[str, Any]:
    """What the model's own segloop.json names, if it is a folder and has one."""
    path = Path(resolve_model(model, offline)) / "segloop.json"
    if not path.is_file():
        return {}
    try:
        settings = dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, RecursionError):
        raise ModelError(f"{path} is not valid JSON", "mend it or delete it") from None
    for name in NAMED:
        if not isinstance(settings.get(name), (str, type(None))):
            raise ModelError(f"{path} has {plain(settings[name])} as {name}", "put a name there or delete it")
    return settings

"""Networks on engines: the one that was named, or the fastest by a check at first use, which is kept."""

import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version

import torch
from torch import Tensor

from ..backbones.engines import AUTO, EAGER, ENGINES, INT8, guide_on, missing_packages, names_of, tower_on
from ..backbones.shared import Models
from ..backbones.tower import run_blocks
from ..common.caching import keep, key_of, recall
from ..common.system import processor
from ..errors import Notice
from .agreement import check_labels
from .network import Network
from .stages import gather_needs

FOLDER = "engines"  # of the cache
WINDOWS, ROUNDS = 2, 3  # of a check of speeds
WORTH = 0.95  # of torch's seconds: what gains less is not taken


def engined(network: Network, said: str | None, models: Models) -> Network:
    """The network with its encoders on engines: "onnx", "onnx/eager" for CLIP and vision model, or "auto".

    What an engine cannot run stays with torch, with a Notice. Raises OptionError for int8 where too few labels stay.
    """
    wanted = names_of(said)
    if wanted == (EAGER, EAGER):
        return network
    needs = gather_needs(network.stages, network.clip.depth)
    open_blocks = network.clip.depth + 1 - (needs.first_block or network.clip.depth)
    if AUTO in wanted:
        fastest = _fastest(network, open_blocks, models)
        wanted = tuple(best if name == AUTO else name for name, best in zip(wanted, fastest, strict=True))  # type: ignore[assignment]
    made = _on(network, wanted, open_blocks, models)
    if INT8 in made.engines:
        check_labels(network, made)
    return made


def _on(network: Network, wanted: tuple[str, str], open_blocks: int, models: Models) -> Network:
    clip, first = tower_on(wanted[0], network.clip, open_blocks, models)
    if network.guide is None:
        return replace(network, clip=clip, engines=(first,))
    guide, second = guide_on(wanted[1], network.guide, models)
    return replace(network, clip=clip, guide=guide, engines=(first, second))


def without_engine(network: Network) -> Network:
    """The same network, all of it run by torch."""
    clip, guide = network.clip, network.guide
    clip = replace(clip, blocks=run_blocks) if hasattr(clip, "blocks") else clip  # type: ignore[type-var]
    return replace(network, clip=clip, guide=guide and replace(guide, engine=None), engines=())


def _candidates(network: Network) -> list[str]:
    """Exact engines that may be faster here. torch.compile is none on a processor: it compiles at every start."""
    if network.clip.device.type != "cpu":
        return ["compile"]
    able = [name for name, row in ENGINES.items() if row.exact and network.clip.dtype in (row.on_cpu or ())]
    return [name for name in able if not missing_packages(name)]


def _fastest(network: Network, open_blocks: int, models: Models) -> tuple[str, str]:
    """The engines of CLIP and vision model that are fastest here: as an earlier check found, else by one now."""
    candidates = _candidates(network)
    if not candidates:
        return EAGER, EAGER
    key = _key(network, open_blocks, candidates)
    known = recall(FOLDER, key) or {}
    if len(known.get("engines", ())) == 2 and {*known["engines"]} <= {*ENGINES}:
        return known["engines"][0], known["engines"][1]
    best = {"CLIP": (EAGER, 1.0), "the vision model": (EAGER, 1.0)}
    for name in candidates:
        for part, share in _shares(network, _on(network, (name, name), open_blocks, models), open_blocks).items():
            if share < min(WORTH, best[part][1]):
                best[part] = name, share
    engines = [name for name, _ in best.values()]
    keep(FOLDER, key, {"engines": engines, "shares": [share for _, share in best.values()]})
    told = [f"{name} for {part}, {share:.2f} of torch's time" for part, (name, share) in best.items() if name != EAGER]
    warnings.warn(
        Notice(f"engine auto takes {' and '.join(told) or 'none but torch'}, as timed once here"), stacklevel=4
    )
    return engines[0], engines[1]


def _key(network: Network, open_blocks: int, candidates: list[str]) -> str:
    packages = sorted({"torch", *(package for name in candidates for package in ENGINES[name].needs)})
    guide = network.guide
    return key_of(
        network.clip.model.config.to_json_string(),
        guide.model.config.to_json_string() if guide and guide.model is not None else None,
        [open_blocks, _window(network), str(network.clip.dtype), str(network.clip.device)],
        [processor(), torch.get_num_threads(), candidates],
        {name: version(name) for name in packages},
    )


def _window(network: Network) -> tuple[int, int]:
    """Sides of a window; of a whole photo, those of one that is 4 by 3."""
    geometry, patch = network.plan.geometry, network.multiple
    sides = (geometry.crop,) * 2 if geometry.crop else (geometry.short_side, geometry.short_side * 4 // 3)
    return max(1, sides[0] // patch) * patch, max(1, sides[1] // patch) * patch


@torch.no_grad()
def _shares(plain: Network, other: Network, open_blocks: int) -> dict[str, float]:
    """Seconds of the other network as a share of the plain one's, both taking turns, by what runs."""
    pixels = torch.randn(WINDOWS, 3, *_window(plain), generator=torch.Generator().manual_seed(0)).to(plain.clip.device)
    found = {}
    if other.engines[0] != EAGER:
        found["CLIP"] = _share(
            *(lambda clip=one.clip: clip.tokens(pixels, (), open_blocks)[0] for one in (plain, other))
        )
    if other.engines[1:] not in ((), (EAGER,)):
        found["the vision model"] = _share(*(lambda one=one: one.features(pixels) for one in (plain, other)))
    return found


def _share(plain: Callable[[], Tensor | None], other: Callable[[], Tensor | None]) -> float:
    seconds: dict[str, list[float]] = {"plain": [], "other": []}
    for _ in range(ROUNDS):
        for name, run in (("plain", plain), ("other", other)):
            start = time.perf_counter()
            if (made := run()) is not None:
                made.sum().item()  # a GPU has done it by then
            seconds[name].append(time.perf_counter() - start)
    return min(seconds["other"]) / min(seconds["plain"])


def said_of_engines(engines: tuple[str, ...]) -> dict[str, str]:
    """What a record says of engines: nothing where torch runs all."""
    if all(name == EAGER for name in engines):
        return {}
    packages = {package for name in engines for package in ENGINES[name].needs[:1]}
    joined = engines[0] if len({*engines}) == 1 else "/".join(engines)
    return {"engine": joined, **{name: version(name) for name in packages}}

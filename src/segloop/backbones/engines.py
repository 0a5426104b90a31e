"""Engines: what runs the blocks of encoders that no method opens, behind one interface.

The way in, from pixels to tokens, and the blocks that methods look into stay in torch. Between them lies a function
from tokens to tokens, whatever the window's size, which an engine may run in another way: one that is exact gives the
same numbers but for the order of sums.
"""

import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..common.caching import key_of
from ..errors import Notice, OptionError, SegloopError, nearest
from .half import trial_windows
from .onnxed import int8_session, onnx_session
from .openvinoed import PRECISIONS, openvino_session
from .shared import Models, weights_hash
from .tower import Tower, run_blocks
from .vision import Guide
from .work import Runner, Work

EAGER, AUTO, INT8 = "eager", "auto", "int8"
ONNX = ("onnxruntime", "onnx", "onnxscript")
OPENVINO = ("openvino", "onnx", "onnxscript")
APART = {torch.float32: 1e-3}  # of the largest number, what an exact engine may differ by in float32; in halves:
APART_HALVES = 0.05
TRIAL = 6  # patches of a trial window's side

Part = TypeVar("Part", Tower, Guide)


@dataclass(frozen=True)
class Engine:
    """A row of ENGINES."""

    summary: str
    build: Callable[[Work], Runner] | None = None  # None: what torch does by itself
    needs: tuple[str, ...] = ()  # packages, of which the first one runs it
    extra: str = ""  # of segloop, which has them
    on_cpu: tuple[torch.dtype, ...] | None = None  # on the processor only, in these precisions; None: anywhere, in any
    exact: bool = True  # but for the order of sums, and for roundings in halves


def _compiled(work: Work) -> Runner:
    compiled = torch.compile(work.module, dynamic=True)

    def run(x: Tensor, wanted: Sequence[int]) -> list[Tensor]:
        found = compiled(x)
        return [found[number] for number in wanted]

    return run


ENGINES: dict[str, Engine] = {
    EAGER: Engine("torch as it is"),
    "compile": Engine("torch.compile, which takes a minute and a C++ compiler at every start", _compiled),
    "openvino": Engine("OpenVINO, on the processor", openvino_session, OPENVINO, "openvino", tuple(PRECISIONS)),
    "onnx": Engine("ONNX Runtime in float32, on the processor", onnx_session, ONNX, "onnx", (torch.float32,)),
    INT8: Engine(
        "ONNX Runtime with 8-bit products: labels change a little", int8_session, ONNX, "onnx", (torch.float32,), False
    ),
}


def names_of(said: str | None) -> tuple[str, str]:
    """ "onnx", or "onnx/eager" -> the engine of CLIP and that of the vision model. Raises OptionError."""
    names = (said or EAGER).split("/")
    for name in names:
        if name not in (*ENGINES, AUTO):
            raise OptionError(f"there is no engine {name!r}", nearest(name, (*ENGINES, AUTO)))
    if len(names) > 2:
        raise OptionError(f"engine {said!r} names {len(names)}", "name one, or two: of CLIP and of the vision model")
    return names[0], names[-1]


def precisions_of(
    said: str | None, device: torch.device, dtype: Any, known: tuple[torch.dtype, ...], fidelity: str
) -> tuple[torch.dtype, ...]:
    """`known`, the precisions to try for the `dtype` that was asked for, as far as the engines that were named have
    them. Raises OptionError for one that cannot be had here, and for any but eager in `reference` fidelity."""
    for name in names_of(said):
        if name in (AUTO, EAGER):
            continue
        if fidelity == "reference":
            raise OptionError(f"reference fidelity with engine {name}", "leave engine at eager")
        row = ENGINES[name]
        if missing := missing_packages(name):
            raise OptionError(f"engine {name} needs {' and '.join(missing)}", f"pip install 'segloop[{row.extra}]'")
        if row.on_cpu is None:
            continue
        if device.type != "cpu":
            what = f"engine {name} runs on the processor, and the device is {device.type}"
            raise OptionError(what, "use --device cpu, or leave the engine out")
        if {*known} <= {*row.on_cpu}:
            continue
        if dtype != "auto":
            names = " and ".join(str(one).removeprefix("torch.") for one in row.on_cpu)
            raise OptionError(f"engine {name} computes in {names}", "leave dtype at auto or float32")
        known = (torch.float32,)
    return known


def missing_packages(name: str) -> list[str]:
    """Packages of an engine that are not installed."""
    return [package for package in ENGINES[name].needs if find_spec(package) is None]


@dataclass(frozen=True)
class Running:
    """An engine in the place of `run_blocks`: for one number of opened blocks; others are run by torch."""

    runner: Runner
    open_blocks: int

    def __call__(
        self, tower: Tower, x: Tensor, keep: Collection[int], open_blocks: int
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """As `run_blocks`: (B, N, D) -> (B, N, D), and the outputs of the blocks in `keep`."""
        last = tower.depth - open_blocks
        if open_blocks != self.open_blocks or last < 1:
            return run_blocks(tower, x, keep, open_blocks)
        numbers = sorted({last, *(number for number in keep if 0 < number < last)})
        found = dict(zip(numbers, self.runner(x, [number - 1 for number in numbers]), strict=True))
        kept = {0: x} if 0 in keep else {}
        return found[last], kept | {number: found[number] for number in numbers if number in keep}


class TowerBlocks(torch.nn.Module):
    """The first blocks of a tower as a module: (B, N, D) -> the output of each."""

    def __init__(self, tower: Tower, last: int) -> None:
        super().__init__()
        self.model, self.tower, self.last = tower.model, tower, last

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, N, D) -> as many (B, N, D) as there are blocks."""
        outputs = []
        for number in range(1, self.last + 1):
            x = self.tower.run_block(number, x)
            outputs.append(x)
        return tuple(outputs)


class GuideBlocks(torch.nn.Module):
    """All blocks of a vision model as a module: (B, N, D) -> (B, N, C), alone in a tuple."""

    def __init__(self, guide: Guide) -> None:
        super().__init__()
        self.model, self.encode, self.feature = guide.model, guide.adapter.encode, guide.feature

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, N, D) -> (B, N, C)."""
        assert self.encode is not None
        return (self.encode(self.model, self.feature, x),)


def tower_on(name: str, tower: Tower, open_blocks: int, models: Models) -> tuple[Tower, str]:
    """A tower whose first blocks, all but `open_blocks`, run on an engine, and the engine's name.

    Where it fails that is `eager`, with a Notice.
    """
    if name == EAGER or open_blocks >= tower.depth:
        return tower, EAGER
    if not hasattr(tower, "blocks"):
        return _left(name, tower, "its family has no place for one"), EAGER

    def attach() -> Tower:
        x, _ = tower.tokens(_trial(tower), (), tower.depth)
        work = _work(TowerBlocks(tower, tower.depth - open_blocks), tower, x, open_blocks)
        made: Any = replace(tower, blocks=Running(_built(name, work), open_blocks))  # type: ignore[type-var]
        _check(name, tower.dtype, *(one.tokens(_trial(tower), (), open_blocks)[0] for one in (tower, made)))
        return made

    return _attached(name, tower, (id(tower), open_blocks), attach, models)


def guide_on(name: str, guide: Guide, models: Models) -> tuple[Guide, str]:
    """A vision model whose blocks run on an engine, and the engine's name; as `tower_on`."""
    if name == EAGER:
        return guide, EAGER
    if guide.adapter.encode is None:
        return _left(name, guide, f"its kind, {guide.kind}, has no place for one"), EAGER

    def attach() -> Guide:
        module = GuideBlocks(guide)
        weight = next(guide.model.parameters())
        x = torch.zeros(1, 1, int(guide.model.config.hidden_size), dtype=guide.dtype, device=weight.device)
        runner = _built(name, _work(module, guide, x, guide.feature))
        made = replace(guide, engine=lambda x: runner(x, [0])[0])
        side = TRIAL * int(guide.model.config.patch_size)
        pixels = trial_windows(side).to(weight.device)
        _check(name, guide.dtype, guide(pixels), made(pixels))
        return made

    return _attached(name, guide, (id(guide),), attach, models)


def _attached(
    name: str, part: Part, key: tuple[Any, ...], attach: Callable[[], Part], models: Models
) -> tuple[Part, str]:
    with torch.no_grad():
        try:
            return models.once(("engine", name, *key), attach), name
        except SegloopError:
            raise
        except Exception as error:  # whatever a compiler or another library cannot do: torch can
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            return _left(name, part, f"{type(error).__name__}: {lines[0][:160] if lines else 'no reason given'}"), EAGER


def _left(name: str, part: Part, why: str) -> Part:
    warnings.warn(Notice(f"engine {name} does not run {part.name} ({why}); torch does"), stacklevel=2)
    return part


def _built(name: str, work: Work) -> Runner:
    build = ENGINES[name].build
    assert build is not None
    return build(work)


def _work(module: torch.nn.Module, part: Any, x: Tensor, *told: Any) -> Work:
    def key() -> str:
        return key_of(type(part).__name__, weights_hash(part.model), part.model.config.to_json_string(), *told)

    return Work(module, x, key)


def _trial(tower: Tower) -> Tensor:
    return trial_windows(TRIAL * tower.patch, tower.normalisation).to(tower.device)


def _check(name: str, dtype: torch.dtype, expected: Tensor, found: Tensor) -> None:
    """Raises ValueError where an exact engine gives other numbers than torch, or any gives none."""
    apart = (found.float() - expected.float()).abs().max()
    limit = APART.get(dtype, APART_HALVES) * expected.abs().max().float()
    if not found.isfinite().all() or (ENGINES[name].exact and apart > limit):
        raise ValueError(f"its numbers are up to {float(apart):.2g} from torch's")

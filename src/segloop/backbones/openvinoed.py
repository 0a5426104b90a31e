"""OpenVINO: runs the file that `onnxed` keeps on the processor, in float32 or bfloat16."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from .onnxed import with_file
from .work import Runner, Work

PRECISIONS = {torch.float32: "f32", torch.bfloat16: "bf16"}


def openvino_session(work: Work) -> Runner:
    """Blocks in the precision of their tokens. Raises what torch or OpenVINO raise."""
    import openvino

    return Compiled(with_file(_in_float32(work), openvino.Core().read_model), PRECISIONS[work.example.dtype])


def _in_float32(work: Work) -> Work:
    """The same weights as they are written down; OpenVINO rounds them, and what it must not round stays."""
    if work.example.dtype == torch.float32:
        return work
    return replace(work, module=copy.deepcopy(work.module).float(), example=work.example.float())


@dataclass
class Compiled:
    """A `Runner`, compiled for the outputs that were ever wanted: others would be computed and copied for nothing."""

    model: Any
    precision: str
    outputs: tuple[int, ...] = ()
    compiled: Any = None
    lock: Lock = field(default_factory=Lock)  # one call at a time: calls share their memory

    def __call__(self, x: Tensor, wanted: Sequence[int]) -> list[Tensor]:
        """(B, N, D) -> outputs of these numbers, in its precision. Raises RuntimeError, also where memory runs out."""
        with self.lock:
            if not {*wanted} <= {*self.outputs}:
                self._compile(tuple(sorted({*self.outputs, *wanted})))
            try:
                found = self.compiled([x.float().contiguous().numpy()])
            except MemoryError as error:
                raise RuntimeError(str(error)) from error
            return [torch.from_numpy(found[self.outputs.index(number)]).to(x.dtype) for number in wanted]

    def _compile(self, outputs: tuple[int, ...]) -> None:
        """With as many threads as torch has, none of them bound to a core: torch's do the blocks between."""
        import openvino

        how = {
            "INFERENCE_PRECISION_HINT": self.precision,
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,
        }
        part = openvino.Model([self.model.output(number) for number in outputs], self.model.get_parameters())
        self.compiled = openvino.Core().compile_model(part, "CPU", how)
        self.outputs = outputs

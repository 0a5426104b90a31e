"""ONNX: networks written down by torch, run by ONNX Runtime, in float32 or with weights and activations of 8 bits.

Files are kept in the cache folder, by weights, form and versions: writing a ViT-B down takes seconds.
"""

import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..common.caching import cache_root, key_of
from .work import Runner, Work

OPSET = 20
FORM = 1  # of kept files; another number makes them anew
MODEL = "model.onnx"
LARGE = 2**30  # bytes of weights, from which on int8's lie beside their file, too
FOLDER = "engines"  # of the cache


@contextmanager
def quiet() -> Iterator[None]:
    """What libraries say to programmers goes nowhere."""
    before = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)


def write_down(
    module: torch.nn.Module,
    example: tuple[Tensor, ...],
    names: Mapping[str, Mapping[int, str]],
    outputs: Sequence[str],
    path: Path,
) -> None:
    """A module as an ONNX file, its weights in a second file beside it.

    `names` are its inputs in order, each with those of its axes that may have any length, by the length's name.
    Raises what torch raises for a module that cannot be traced.
    """
    lengths = {axis: torch.export.Dim(axis, min=1) for axes in names.values() for axis in axes.values()}
    shapes = tuple({place: lengths[axis] for place, axis in axes.items()} for axes in names.values())
    with quiet(), torch.no_grad():
        program = torch.export.export(module, example, dynamic_shapes=shapes, strict=False)
        written: Any = torch.onnx.export(
            program,
            example,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(names),
            output_names=list(outputs),
            verbose=False,
        )
        written.save(str(path), external_data=True)


def session_of(path: Path, threads: int | None = None) -> Any:
    """An ONNX Runtime session on the processor, with as many threads as torch has.

    Its threads sleep while they wait: torch's do the blocks between.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or torch.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


@dataclass(frozen=True)
class Session:
    """A `Runner`: ONNX Runtime on tokens in float32."""

    session: Any
    alone: bool = False  # one window at a time: int8 takes its scale from all that a product is given

    def __call__(self, x: Tensor, wanted: Sequence[int]) -> list[Tensor]:
        """(B, N, D) -> outputs of these numbers. Raises RuntimeError, as torch does, where memory runs out."""
        names = [self.session.get_outputs()[number].name for number in wanted]
        (given,) = self.session.get_inputs()
        parts = x.split(1) if self.alone else [x]
        try:
            found = [self.session.run(names, {given.name: part.contiguous().numpy()}) for part in parts]
        except Exception as error:  # a kind of its own
            raise RuntimeError(str(error)) from error
        return [torch.cat([torch.from_numpy(one) for one in outputs]) for outputs in zip(*found, strict=True)]


def onnx_session(work: Work) -> Runner:
    """Blocks in float32. Raises what torch or ONNX Runtime raise."""
    return Session(with_file(work, session_of))


def int8_session(work: Work) -> Runner:
    """Blocks whose products have weights of 7 bits, by channel, and activations of 8, by window and product.

    7, since the sums of 8-bit products overflow on processors without instructions for them.
    """

    def make(path: Path) -> None:
        from onnxruntime.quantization import QuantType, quantize_dynamic

        def reduce(source: Path) -> None:
            beside = sum(file.stat().st_size for file in source.parent.iterdir()) > LARGE
            how = {"weight_type": QuantType.QInt8, "per_channel": True, "reduce_range": True}
            with quiet():
                quantize_dynamic(source, path, op_types_to_quantize=["MatMul"], use_external_data_format=beside, **how)

        with_file(work, reduce)

    return Session(_kept(key_of(_float_key(work), "int8", version("onnxruntime")), make, session_of), alone=True)


def with_file(work: Work, use: Callable[[Path], Any]) -> Any:
    """What `use` makes of the blocks' float32 ONNX file, which is kept in the cache."""
    return _kept(_float_key(work), _float_file(work), use)


def _float_key(work: Work) -> str:
    return key_of(FORM, OPSET, work.key(), version("torch"), version("onnx"), version("onnxscript"))


def _float_file(work: Work) -> Callable[[Path], None]:
    width = work.example.shape[-1]
    example = torch.zeros(2, 5, width, dtype=work.example.dtype)

    def make(path: Path) -> None:
        outputs = [f"states{number}" for number in range(len(work.module(example)))]
        write_down(work.module, (example,), {"tokens": {0: "windows", 1: "count"}}, outputs, path)

    return make


def _kept(key: str, make: Callable[[Path], None], use: Callable[[Path], Any]) -> Any:
    """`use` of a kept file, which `make` writes where there is none, or where it is of no use.

    Where the cache cannot be written it lies in a folder that goes when it was used.
    """
    place = cache_root() / FOLDER / key
    if (place / MODEL).is_file():
        try:
            return use(place / MODEL)
        except Exception:  # half a file of a disk that failed
            shutil.rmtree(place, ignore_errors=True)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=".part-", dir=place.parent))
    except OSError:
        part = Path(tempfile.mkdtemp(prefix="segloop-"))
    try:
        make(part / MODEL)
        if part.parent == place.parent:
            with suppress(OSError):  # another process was faster
                os.rename(part, place)
        return use((place if (place / MODEL).is_file() else part) / MODEL)
    finally:
        shutil.rmtree(part, ignore_errors=True)

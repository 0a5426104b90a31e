"""Opening models of the hub and of local folders: safetensors first, never a free pickle, never remote code."""

import json
import pickle
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import MachineError, MissingModelError, ModelError, memory_ran_out
from .folders import again, any_spoilt, check_indexes, entries, single_file, without_config, without_weights
from .hub import fetch, fetch_weights, files_of
from .kept import CONFIGS, WEIGHTS, hub_id, hub_is_off, is_hub_id, kept_files, kept_folder, weight_files, weights_folder
from .models import DEFAULT_CLIP
from .names import misnamed, nearest_model
from .products import with_products
from .trouble import GATED, access

BUNDLED = {name: Path(__file__).parent / name for name in ("tiny", "tiny-clip8", "tiny-dino", "tiny-sam")}
ATTENTION = "sdpa"  # torch's own; what a config names may be code that the library fetches from the hub
TOWERS = {"text_model.": "text tower", "vision_model.": "vision tower"}


def resolve(name: str, offline: bool = False, guide: bool = False) -> str:
    """The folder of a model: a bundled one by its name, a local folder as it is, a snapshot in the hub's cache.

    The hub is asked for its id unless that is forbidden; then, and where it cannot be reached, what was fetched earlier
    counts. Weights are fetched by `load_weights`. Raises ModelError for a file, a folder without config.json, what is
    neither a folder nor a hub id, or what cannot be had.
    """
    if name in BUNDLED:
        return str(BUNDLED[name])
    path = _local(name)
    if path is not None and not path.is_dir():
        raise single_file(name, path)
    if path is not None:
        if not any((path / config).is_file() for config in CONFIGS[: 1 if guide else None]):
            raise without_config(name, entries(path), path)
        return str(path)
    kept = kept_folder(name)
    if kept is None:
        _check_name(name, guide)
    if not (offline or hub_is_off()):
        return str(fetch(name))
    if kept is None and (files := kept_files(name)):
        raise without_config(name, files)
    if kept is None:
        what = f"model {name!r} is not on this machine, and the hub is not asked while offline"
        remedy = f"fetch it once with `hf download {name}`, or give a local folder"
        raise MissingModelError(what, f"it is gated: {access(name)} and {remedy}" if name.startswith(GATED) else remedy)
    return str(kept)


def _local(name: str) -> Path | None:
    """The file or folder of this name, or None where there is none. Raises ModelError for a closed door."""
    try:
        path = Path(name).expanduser()
        if not path.exists() or not name.strip():
            return None
        if path.is_dir():
            next(path.iterdir(), None)  # so that a closed door is told here
        return path
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(getattr(error, "strerror", None) or error).rstrip(".").lower()
        raise ModelError(f"model {name[:80]!r} cannot be looked at ({reason})", "check the path") from None


def _check_name(name: str, guide: bool) -> None:
    """Raises ModelError for a name that the hub need not be asked for."""
    wrong = misnamed(name, guide)
    if wrong:
        raise wrong
    close = nearest_model(name)
    meant = f"give {close}, if that is meant" if close else f"give a hub id such as {DEFAULT_CLIP}"
    if name.startswith((".", "/", "~", "\\")) or name.count("/") > 1 or name.endswith("/") or "\\" in name:
        raise ModelError(f"model folder {name!r} does not exist", f"check the path, or {meant}")
    if not is_hub_id(name):
        what = f"model {name!r} is neither a folder here nor a hub id, which is owner/name"
        raise ModelError(what, f"check the path, or {meant}")


def read_config(folder: str, names: Sequence[str] = CONFIGS) -> dict[str, Any]:
    """The config of a resolved model, the first of `names` that is there. Raises ModelError where it cannot be read."""
    path = next((path for name in names if (path := Path(folder) / name).is_file()), Path(folder) / names[0])
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, RecursionError):
        raise any_spoilt(hub_id(folder) or folder, Path(folder), [path.name]) or ModelError(
            f"{path} is not valid JSON", "fetch the model folder again"
        ) from None
    except OSError as error:
        raise ModelError(
            f"{path} cannot be read ({(error.strerror or str(error)).lower()})", "open it to you"
        ) from None


def load_weights(model_class: Any, folder: str, offline: bool = False, spare: tuple[str, ...] = ()) -> torch.nn.Module:
    """A transformers model in float32 and eval mode, every weight accounted for; `folder` is a resolved model.

    Safetensors are asked for first; a lone `.bin` goes through torch's restricted loader only. Weights whose names
    begin with one of `spare` may be missing: nothing reads them. Raises ModelError.
    """
    name, place = hub_id(folder) or folder, _with_weights(folder, offline)
    safe = weight_files(place)[0].startswith("model.safetensors")
    try:
        with _quiet():
            model, report = model_class.from_pretrained(
                str(place),
                config=model_class.config_class.from_pretrained(folder, local_files_only=True),
                use_safetensors=safe,
                dtype=torch.float32,
                local_files_only=True,
                trust_remote_code=False,
                weights_only=True,
                attn_implementation=ATTENTION,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # told below; the library's own error points at a report nobody sees
            )
    except Exception as error:  # the library raises many kinds for damaged, missing and mismatched weights
        if memory_ran_out(error):
            remedy = "use a smaller model, or see whether its config.json is that of its weights"
            raise MachineError(f"memory ran out while model {name!r} was opened", remedy) from error
        raise _told(name, error) from error
    mismatched = sorted(key for key, *_ in report["mismatched_keys"])
    if mismatched:
        what = f"model {name!r} has {len(mismatched)} weights of another shape than its config, first {mismatched[0]}"
        raise ModelError(what, again(name))
    unread = {key for key in report["missing_keys"] if key.startswith(spare)}
    for key in unread:  # random otherwise, and a record knows weights by their hash
        model.state_dict()[key].zero_()
    missing = {*report["missing_keys"]} - unread
    _check_towers(name, model.state_dict().keys(), missing, report["unexpected_keys"])
    require_weights(name, missing)
    return with_products(model.eval().requires_grad_(False))


def library_class(name: str) -> Any:
    """A class of transformers. Raises ModelError where the installed version does not have it."""
    import transformers

    found = getattr(transformers, name, None)
    if found is None:
        what = f"transformers {transformers.__version__} does not know {name}"
        raise ModelError(what, "update it, `pip install -U transformers`, or give another model")
    return found


def _with_weights(folder: str, offline: bool, names: Sequence[str] = WEIGHTS) -> Path:
    """Where the weights of a resolved model lie, fetched where they are not. Raises ModelError for what is none."""
    if not (offline or hub_is_off()):
        fetch_weights(folder, names)
    name, place = hub_id(folder) or folder, Path(weights_folder(folder, names))
    check_indexes(name, place)
    if (Path(folder) / "adapter_config.json").is_file():
        what = f"model {name!r} holds a PEFT adapter beside the model"
        raise ModelError(what, "merge it (merge_and_unload, save_pretrained) and give the result, or take it out")
    quantised = read_config(folder).get("quantization_config")
    if quantised:
        method = quantised.get("quant_method", "") if isinstance(quantised, dict) else ""
        what = f"model {name!r} is quantised ({method or 'see its config.json'}), which segloop does not open"
        raise ModelError(what, "give the same model with plain weights; --dtype bfloat16 or float16 saves memory")
    files = weight_files(place, names)
    if not files:
        raise without_weights(name, place, files_of(folder), names)
    if told := any_spoilt(name, place, files):
        raise told
    return place


def _told(name: str, error: Exception) -> ModelError:
    """What an error of the library means for who gave the model."""
    if isinstance(error, pickle.UnpicklingError):
        what = f"the weights of {name!r} are damaged, or a pickle that asks to run code"
        return ModelError(what, "use a model with model.safetensors; segloop never runs code from weights")
    if "upgrade torch" in str(error):
        what = f"model {name!r} has only pytorch_model.bin, and torch {torch.__version__} opens none safely"
        return ModelError(what, "update torch to 2.6 or later, or use a model with model.safetensors")
    return ModelError(f"model {name!r} cannot be loaded ({_first_line(error)})", again(name))


def _check_towers(name: str, needed: Iterable[str], missing: Collection[str], unknown: Iterable[str]) -> None:
    """Raises ModelError where a whole tower is missing, saying what is there instead."""
    needed, unknown = list(needed), sorted(unknown)
    lost = [
        tower
        for start, tower in TOWERS.items()
        if (own := [key for key in needed if key.startswith(start)]) and missing and set(own) <= set(missing)
    ]
    if len(lost) == len(TOWERS) and unknown:
        theirs = "OpenCLIP's" if unknown[0].startswith(("visual.", "transformer.", "logit_scale")) else "other"
        what = f"the weights of model {name!r} bear {theirs} names, such as {unknown[-1]}"
        raise ModelError(what, f"give one that transformers saved, such as {nearest_model(name) or DEFAULT_CLIP}")
    if len(lost) == 1:
        raise ModelError(f"model {name!r} has no {lost[0]}", f"give a whole CLIP, such as {DEFAULT_CLIP}")


def require_weights(name: str, missing: Iterable[str]) -> None:
    """Raises ModelError, naming the first, where any weight is missing."""
    missing = sorted(missing)
    if missing:
        what = f"model {name!r} lacks {len(missing)} weights, first {missing[0]}"
        raise ModelError(what, "give a complete model folder; segloop never fills in random weights")


def load_tensors(folder: str, offline: bool = False, names: Sequence[str] = WEIGHTS[:1]) -> dict[str, Tensor]:
    """What the first file of `names` that a resolved model has holds, in float32; a `.bin` by the restricted loader.

    Raises ModelError.
    """
    name, place = hub_id(folder) or folder, _with_weights(folder, offline, names)
    file = weight_files(place, names)[0]
    try:
        tensors = _opened(place / file)
    except Exception as error:  # SafetensorError from a damaged file, several kinds from a pickle
        if memory_ran_out(error):
            raise MachineError(f"memory ran out while model {name!r} was opened", "use a smaller model") from error
        raise _told(name, error) from error
    odd = next((key for key, tensor in tensors.items() if not isinstance(tensor, Tensor)), None)
    if odd is not None:
        what = f"{file} of model {name!r} holds more than weights, such as {odd!r}"
        raise ModelError(what, "give a file of weights alone: OpenCLIP's training keeps them as state_dict")
    return {key: tensor.float() for key, tensor in tensors.items()}


def _opened(path: Path) -> dict[str, Tensor]:
    """A file of weights by its names."""
    from safetensors.torch import load_file

    if path.suffix == ".safetensors":
        return load_file(path)
    return dict(torch.load(path, map_location="cpu", weights_only=True))


@contextmanager
def _quiet() -> Iterator[None]:
    """The library's report of unused and missing weights fills a page, and load_weights judges it itself.

    Its bar is of weights that are on this machine already, gone before it can be read.
    """
    from huggingface_hub import utils as hub
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    hub_silent = hub.are_progress_bars_disabled()
    logging.set_verbosity_error()
    if bars:
        logging.disable_progress_bar()  # the hub's too
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
        if bars and hub_silent:
            hub.disable_progress_bars()


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(lines[: 2 if lines[0].endswith(":") else 1]).rstrip(".")[:200]

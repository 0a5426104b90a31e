"""Opening models of the hub and of local folders: safetensors first, never a free pickle, never remote code."""

import json
import pickle
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import ModelError, memory_ran_out
from .kept import hub_id, hub_is_off, kept_folder, weights_folder
from .models import DEFAULT_CLIP

TINY = Path(__file__).parent / "tiny"
NO_WEIGHTS = ("no file named", "does not appear to have a file", "not contain")
GATED = ("facebook/dinov3-", "facebook/sam3")  # the hub hands these out on request only


def resolve(name: str, offline: bool = False) -> str:
    """ "tiny" -> the bundled folder; a local folder or a hub id stays as it is.

    Where the hub must not be asked, its id becomes the folder where it keeps what was fetched earlier. Raises
    ModelError for a file, a folder without config.json, something that is neither, or nothing kept.
    """
    if name == "tiny":
        return str(TINY)
    path = Path(name).expanduser()
    if path.is_file():
        remedy = "give a Hugging Face folder (config.json and model.safetensors) or a hub id"
        raise ModelError(f"model {name!r} is a single file", remedy)
    if path.is_dir():
        if not (path / "config.json").is_file():
            remedy = "give a Hugging Face folder, which has config.json beside model.safetensors"
            raise ModelError(f"model folder {name!r} has no config.json", remedy)
        return str(path)
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ModelError(
            f"model folder {name!r} does not exist",
            f"check the path, or give a hub id such as {DEFAULT_CLIP}",
        )
    if not (offline or hub_is_off()):
        return name
    folder = kept_folder(name)
    if folder is None:
        what = f"model {name!r} is not on this machine, and the hub is not asked while offline"
        remedy = f"fetch it once with `hf download {name}`, or give a local folder"
        raise ModelError(what, f"{_access(name)} and {remedy}" if name.startswith(GATED) else remedy)
    return str(folder)


def read_config(name: str, offline: bool = False) -> dict[str, Any]:
    """The config.json of a resolved model. Raises ModelError when it cannot be had."""
    path = Path(name) / "config.json"
    if path.is_file():
        try:
            return dict(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError):
            raise ModelError(f"{path} is not valid JSON", "fetch the model folder again") from None
    from transformers import PretrainedConfig

    try:
        return dict(PretrainedConfig.get_config_dict(name, local_files_only=offline)[0])
    except (OSError, ValueError) as error:
        raise ModelError(f"model {name!r} cannot be had ({_first_line(error)})", _fetch_remedy(name, error)) from error


def load_weights(model_class: Any, name: str, offline: bool = False, spare: tuple[str, ...] = ()) -> torch.nn.Module:
    """A transformers model in float32 and eval mode, every weight accounted for.

    Safetensors are asked for first, which includes the hub's own conversion of older repositories; a lone `.bin`
    goes through torch's restricted loader only. Weights whose names begin with one of `spare` may be missing: nothing
    reads them. Raises ModelError.
    """
    common = {
        "dtype": torch.float32,
        "local_files_only": offline,
        "trust_remote_code": False,
        "weights_only": True,
        "output_loading_info": True,
        "ignore_mismatched_sizes": True,  # told below; the library's own error points at a report nobody sees
    }
    folder = weights_folder(name)
    try:
        if folder != name:
            common["config"] = model_class.config_class.from_pretrained(name)
        with _quiet():
            try:
                model, report = model_class.from_pretrained(folder, use_safetensors=True, **common)
            except OSError as error:
                if not any(words in str(error) for words in NO_WEIGHTS):
                    raise
                model, report = model_class.from_pretrained(folder, use_safetensors=False, **common)
    except Exception as error:  # the library raises many kinds for damaged, missing and mismatched weights
        if memory_ran_out(error):
            raise
        raise _told(name, error) from error
    mismatched = sorted(key for key, *_ in report["mismatched_keys"])
    if mismatched:
        what = f"model {name!r} has {len(mismatched)} weights of another shape than its config, first {mismatched[0]}"
        raise ModelError(what, "fetch the model folder again")
    require_weights(name, {key for key in report["missing_keys"] if not key.startswith(spare)})
    return model.eval().requires_grad_(False)


def _told(name: str, error: Exception) -> ModelError:
    """What an error of the library means for who gave the model."""
    if isinstance(error, pickle.UnpicklingError):
        what = f"the weights of {name!r} are damaged, or a pickle that asks to run code"
        return ModelError(what, "use a model with model.safetensors; segloop never runs code from weights")
    if not any(words in str(error) for words in NO_WEIGHTS):
        return ModelError(f"model {name!r} cannot be loaded ({_first_line(error)})", _fetch_remedy(name, error))
    kept = hub_id(name)
    if kept:
        return ModelError(f"of model {kept!r} only a part is on this machine", f"fetch it with `hf download {kept}`")
    return ModelError(f"model {name!r} has no weights", "put model.safetensors beside its config.json")


def require_weights(name: str, missing: Iterable[str]) -> None:
    """Raises ModelError, naming the first, where any weight is missing."""
    missing = sorted(missing)
    if missing:
        what = f"model {name!r} lacks {len(missing)} weights, first {missing[0]}"
        raise ModelError(what, "give a complete model folder; segloop never fills in random weights")


def load_tensors(name: str, offline: bool = False) -> dict[str, Tensor]:
    """What the model.safetensors of a resolved model holds, in float32. Raises ModelError."""
    from safetensors.torch import load_file
    from transformers.utils import cached_file

    try:
        tensors = load_file(cached_file(weights_folder(name), "model.safetensors", local_files_only=offline))
    except Exception as error:  # OSError from the hub, SafetensorError from a damaged file
        raise ModelError(
            f"model {name!r} cannot be loaded ({_first_line(error)})", _fetch_remedy(name, error)
        ) from error
    return {key: tensor.float() for key, tensor in tensors.items()}


@contextmanager
def _quiet() -> Iterator[None]:
    """The library's report of unused and missing weights fills a page, and load_weights judges it itself."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:200]


def _fetch_remedy(name: str, error: BaseException) -> str:
    if Path(name).is_dir():
        return "fetch the model folder again"
    if name.startswith(GATED) or _is_refused(error):
        return _access(name)
    return f"check the name and the connection, or fetch it once with `hf download {name}` and use --offline"


def _access(name: str) -> str:
    return f"it is gated: ask for access on https://huggingface.co/{name}, then run `hf auth login`"


def _is_refused(error: BaseException | None) -> bool:
    """Whether the hub knows the model and keeps it back, anywhere in the chain of causes."""
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    while error is not None:
        if isinstance(error, GatedRepoError):
            return True
        if isinstance(error, HfHubHTTPError) and not isinstance(error, RepositoryNotFoundError):
            return error.response.status_code in (401, 403)
        error = error.__cause__ or error.__context__
    return False

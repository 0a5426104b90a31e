"""Opening models of the hub and of local folders: safetensors first, never a free pickle, never remote code."""

import json
import pickle
from pathlib import Path
from typing import Any

import torch

from ..errors import ModelError

TINY = Path(__file__).parent / "tiny"
NO_WEIGHTS = ("no file named", "does not appear to have a file", "not contain")


def resolve(name: str) -> str:
    """ "tiny" -> the bundled folder; a local folder or a hub id stays as it is.

    Raises ModelError for a file, a folder without config.json, or something that is neither.
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
            "check the path, or give a hub id such as openai/clip-vit-base-patch16",
        )
    return name


def read_config(name: str, offline: bool = False) -> dict[str, Any]:
    """The config.json of a resolved model. Raises ModelError when it cannot be had."""
    path = Path(name) / "config.json"
    if path.is_file():
        try:
            return dict(json.loads(path.read_text(encoding="utf-8")))
        except ValueError:
            raise ModelError(f"{path} is not valid JSON", "fetch the model folder again") from None
    from transformers import PretrainedConfig

    try:
        return dict(PretrainedConfig.get_config_dict(name, local_files_only=offline)[0])
    except (OSError, ValueError) as error:
        raise ModelError(f"model {name!r} cannot be had ({_first_line(error)})", _fetch_remedy(name)) from error


def load_weights(model_class: Any, name: str, offline: bool = False) -> torch.nn.Module:
    """A transformers model in float32 and eval mode, every weight accounted for.

    Safetensors are asked for first, which includes the hub's own conversion of older repositories; a lone `.bin`
    goes through torch's restricted loader only. Raises ModelError.
    """
    common = {
        "dtype": torch.float32,
        "local_files_only": offline,
        "trust_remote_code": False,
        "weights_only": True,
        "output_loading_info": True,
    }
    try:
        try:
            model, report = model_class.from_pretrained(name, use_safetensors=True, **common)
        except OSError as error:
            if not any(words in str(error) for words in NO_WEIGHTS):
                raise
            model, report = model_class.from_pretrained(name, use_safetensors=False, **common)
    except pickle.UnpicklingError as error:
        what = f"the weights of {name!r} are a pickle that asks to run code"
        raise ModelError(what, "use a model with model.safetensors; segloop never runs code from weights") from error
    except Exception as error:  # the library raises many kinds for damaged, missing and mismatched weights
        raise ModelError(f"model {name!r} cannot be loaded ({_first_line(error)})", _fetch_remedy(name)) from error
    missing = sorted(report["missing_keys"])
    if missing:
        what = f"model {name!r} lacks {len(missing)} weights, first {missing[0]}"
        raise ModelError(what, "give a complete model folder; segloop never fills in random weights")
    return model.eval().requires_grad_(False)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:200]


def _fetch_remedy(name: str) -> str:
    if Path(name).is_dir():
        return "fetch the model folder again"
    return f"check the name and the connection, or fetch it once with `hf download {name}` and use --offline"

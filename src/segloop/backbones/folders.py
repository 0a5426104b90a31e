"""What lies in a model's folder that segloop does not open, in words, and what to do about it.

Names of files first, for folders and for what the hub lists alike; then the first bytes of files that should be others.
"""

import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from ..errors import MissingModelError, ModelError
from .kept import CONFIGS, INDEX, OPENCLIP_WEIGHTS, WEIGHTS, hub_id, parts_of
from .models import DEFAULT_CLIP
from .names import same_clip

OPENCLIP = "has weights of OpenCLIP without open_clip_config.json"
PEFT = "is a PEFT adapter without the model that it adapts"

# Each row: a pattern that one of the files matches whole, what that makes of the folder, what to do. {like}: a hub id.
NO_CONFIG: tuple[tuple[str, str, str], ...] = (
    (r".*dino_?txt.*", "is dino.txt, which only code of its own opens, and segloop never runs that", "give {like}"),
    (r".*/open_clip_config\.json", "has its model in a folder of its own, {file}", "give that folder"),
    (r"open_clip_.*|.*/open_clip_.*", OPENCLIP, "fetch that too, or give {like}"),
    (r"model_index\.json", "is a diffusers pipeline, not a CLIP", "give {like}"),
    (r"adapter_config\.json", PEFT, "merge it into that model (merge_and_unload, save_pretrained) and give the result"),
    (r".*\.gguf", "holds a GGUF file, which segloop does not open", "give {like}"),
    (r".*\.onnx", "holds ONNX files only, which segloop does not open", "give {like}"),
    (r".*\.(pt|pth|ckpt)", "holds a checkpoint of training code, without config.json", "give {like}"),
)
NO_WEIGHTS: tuple[tuple[str, str, str], ...] = (
    (r"(model|pytorch_model)\.(?!safetensors|bin)[\w-]+\.(safetensors|bin)", "has only a variant, {file}", "{rename}"),
    (r"model-\d+-of-\d+\.safetensors", "has {file} without model.safetensors.index.json", "fetch the index too"),
    (r"pytorch_model-\d+-of-\d+\.bin", "has {file} without pytorch_model.bin.index.json", "fetch the index too"),
    (r"open_clip_.*\.(bin|safetensors|pt)", OPENCLIP, "fetch that too, or give {like}"),
    (r"adapter_model\..*|adapter_config\.json", PEFT, "merge it (merge_and_unload, save_pretrained), give the result"),
    (r".*\.(incomplete|part|crdownload|aria2|tmp)", "has a download that did not end, {file}", "fetch it again"),
    (r"tf_model\.h5|.*\.tflite", "has weights for TensorFlow only", "give {like}, which has safetensors"),
    (r"flax_model\.msgpack", "has weights for Flax only", "give {like}, which has safetensors"),
    (r".*\.onnx", "has ONNX weights only", "give {like}, which has safetensors"),
    (r"openvino_.*", "has OpenVINO weights only", "give {like}, which has safetensors"),
    (r".*\.gguf", "has GGUF weights only", "give {like}, which has safetensors"),
    (r"[^/]*\.safetensors", "has {file} and no model.safetensors", "{rename}"),
    (r"[^/]*\.(pt|pth|ckpt|bin)", "has {file} and no model.safetensors", "save it with save_pretrained, give {like}"),
)
FIRST_BYTES: tuple[tuple[bytes, str, str], ...] = (  # of files that are not what their name says
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself", "run `git lfs pull` there, or {fetch}"),
    (b"# xet version", "a pointer of git-xet, not the file itself", "run `git xet pull` there, or {fetch}"),
    (b"<!doctype html", "a web page", "{fetch}"),
    (b"<html", "a web page", "{fetch}"),
    (b"<?xml", "an answer of a server", "{fetch}"),
    (b"entry not found", "an answer of the hub: that file is not there", "{fetch}"),
    (b"repository not found", "an answer of the hub: that model is not there", "{fetch}"),
    (b"invalid username or password", "an answer of the hub to who may not have it", "{fetch}"),
    (b'{"error"', "an answer of the hub, not the file", "{fetch}"),
    (b"gguf", "a GGUF file", "give {like}, which has safetensors"),
)
TEXTS = (*CONFIGS, "tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt")


def entries(folder: Path) -> set[str]:
    """Names in a folder and in its folders, as the hub writes them; a folder's own name ends with "/"."""
    found = set()
    try:
        for path in folder.iterdir():
            found.add(path.name + ("/" if path.is_dir() else ""))
            found |= {f"{path.name}/{inner.name}" for inner in path.iterdir()} if path.is_dir() else set()
    except OSError:
        pass
    return found


def without_config(name: str, files: set[str], place: Path | None = None) -> ModelError:
    """What a folder, or a model of the hub, is that has no config.json."""
    what = f"model folder {name!r}" if place else f"model {name!r}"
    if not files:
        return ModelError(
            f"{what} is empty: it has no config.json",
            "give a Hugging Face folder, with config.json and model.safetensors",
        )
    if place and (told := _of_cache(name, files, place) or _lost(what, place, ["config.json"])):
        return told
    if told := _matched(NO_CONFIG, what, name, files):
        return told
    inner = sorted(file.removesuffix("/config.json") for file in files if re.fullmatch(r"[^/]+/config\.json", file))
    if inner and place:
        return ModelError(f"{what} has no config.json, {inner[0]!r} in it has", f"give {place / inner[0]}")
    if inner:
        return ModelError(f"{what} has its model in a folder of its own, {inner[0]!r}", f"give {like(name)}")
    return ModelError(
        f"{what} has no config.json", "give a Hugging Face folder, which has config.json beside model.safetensors"
    )


def _of_cache(name: str, files: set[str], place: Path) -> ModelError | None:
    """A folder of the hub's cache that is not a snapshot."""
    ids = sorted(file.rstrip("/") for file in files if re.fullmatch(r"models--[^/]+/", file))
    if ids:
        some = ", ".join(identity(one) for one in ids[:3]) + (" ..." if len(ids) > 3 else "")
        return ModelError(f"model folder {name!r} is the hub's cache", f"give one of the models in it, {some}")
    for here in (place, place.parent):
        if here.name.startswith("models--") and (here == place or place.name in ("snapshots", "refs", "blobs")):
            found = identity(here.name)
            snapshots = sorted(config.parent for config in here.glob("snapshots/*/config.json"))
            other = f", or the folder {snapshots[0]}" if snapshots else ""
            return ModelError(f"model folder {name!r} is where the hub's cache keeps {found}", f"give {found}{other}")
    return None


def identity(folder: str) -> str:
    """models--openai--clip -> openai/clip."""
    return folder.removeprefix("models--").replace("--", "/")


def without_weights(name: str, folder: Path, listed: set[str], names: Sequence[str] = WEIGHTS) -> ModelError:
    """What a folder has in the place of weights `names`; `listed` is what the hub has of it, where it was asked."""
    here = hub_id(folder)
    what = f"model {here or name!r}"
    part = MissingModelError(f"of model {here!r} only a part is on this machine", f"fetch it with `hf download {here}`")
    for index in names:
        missing = [part for part in parts_of(folder / index) if not (folder / part).is_file()]
        if missing and here:
            return part
        if missing:
            lost = f"{what} has not all files that {index} names: {len(missing)} are missing, first {missing[0]}"
            return ModelError(lost, again(name))
    if not listed and (told := _lost(what, folder, names)):
        return told
    if names[0] == WEIGHTS[0] and (told := _matched(NO_WEIGHTS, what, here or name, listed or entries(folder))):
        return told
    if here and not listed:
        return part
    remedy = f"give {like(here)}" if here else f"put {names[0]} beside its config"
    return ModelError(f"{what} has no weights", remedy)


def _lost(what: str, folder: Path, files: Iterable[str]) -> ModelError | None:
    """A name that leads to no file, as in a copy of the hub's cache without what its links point at."""
    for file in files:
        if (folder / file).is_symlink() and not (folder / file).exists():
            remedy = "copy the folder once more with `cp -rL`, which follows links"
            return ModelError(f"{file} of {what} is a link that leads nowhere", remedy)
        if os.path.lexists(folder / file) and not (folder / file).is_file():
            return ModelError(f"{file} of {what} is no file", "put the file itself there")
    return None


def _matched(rows: Iterable[tuple[str, str, str]], what: str, name: str, files: set[str]) -> ModelError | None:
    for pattern, meaning, remedy in rows:
        file = min((file for file in files if re.fullmatch(pattern, file, re.IGNORECASE)), default=None)
        if file is not None:
            words = {"file": file, "like": like(name), "rename": _rename(name, file)}
            return ModelError(f"{what} {meaning.format(**words)}", remedy.format(**words))
    return None


def _rename(name: str, file: str) -> str:
    plain = "pytorch_model.bin" if file.endswith(".bin") else "model.safetensors"
    if Path(name).expanduser().is_dir():
        return f"if it holds the whole CLIP, rename it to {plain} (--dtype says what segloop computes in)"
    return f"if it holds the whole CLIP, `hf download {name} --local-dir DIR`, rename it there to {plain}, give DIR"


def like(name: str) -> str:
    """A model that opens: the same where it is known, else the default."""
    return same_clip(name) or f"a CLIP such as {DEFAULT_CLIP}"


def again(name: str) -> str:
    """How to get a damaged model anew."""
    here = Path(name).expanduser().is_dir()
    return "fetch the model folder again" if here else f"fetch it again with `hf download {name} --force-download`"


def spoilt(name: str, path: Path) -> ModelError | None:
    """What a file is instead of what its name says, by its first bytes; None where they tell nothing."""
    try:
        with open(path, "rb") as stream:
            start = stream.read(64)
            rest = stream.read(4096)
    except OSError:
        return None
    what = f"{path.name} of model {name!r} is"
    if not start:
        return ModelError(f"{what} empty", again(name))
    if path.suffix == ".safetensors" and not any(start) and not any(rest):
        return ModelError(f"{what} full of zeros: its download did not end", again(name))
    for first, meaning, remedy in FIRST_BYTES:
        if start.lstrip().lower().startswith(first):
            words = {"fetch": again(name), "like": like(name)}
            return ModelError(f"{what} {meaning}", remedy.format(**words))
    if path.suffix == ".bin" and start[8:10] == b'{"':
        return ModelError(f"{what} a safetensors file under another name", "call it model.safetensors")
    if path.suffix == ".safetensors" and start[:2] in (b"PK", b"\x80\x02", b"\x80\x04"):
        return ModelError(f"{what} a pickle under the name of a safetensors file", "call it pytorch_model.bin")
    return None


def any_spoilt(name: str, folder: Path, files: Iterable[str] = ()) -> ModelError | None:
    """The first of these files, by default of texts and weights, that is something else."""
    weights = (part for one in (*WEIGHTS, *OPENCLIP_WEIGHTS) for part in (one, *parts_of(folder / one)))
    files = list(files) or [*TEXTS, *weights]
    return next((told for file in files if (folder / file).is_file() and (told := spoilt(name, folder / file))), None)


def check_indexes(name: str, folder: Path) -> None:
    """Raises ModelError where an index of weights names files outside its folder, or is none.

    Links are not looked at: in the hub's cache every file of a model is one.
    """
    for index in sorted(folder.glob(f"*{INDEX}")):
        try:
            parts = list(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
            wrong = next((part for part in parts if not is_inside(part)), None)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise any_spoilt(name, folder, [index.name]) or ModelError(
                f"{index.name} of model {name!r} is no index of weights", again(name)
            ) from None
        if wrong is not None:
            what = f"{index.name} of model {name!r} names a file outside the folder, {str(wrong)[:80]!r}"
            raise ModelError(what, "segloop does not follow it: use a model from a place that you trust")


def is_inside(part: Any) -> bool:
    """Whether a name that an index gives stays in the folder, as any system reads it."""
    if not isinstance(part, str) or not part or "\0" in part:
        return False
    posix, windows = PurePosixPath(part), PureWindowsPath(part)
    return not (posix.is_absolute() or windows.drive or windows.root or ".." in posix.parts or ".." in windows.parts)


def single_file(name: str, path: Path) -> ModelError:
    """What to give instead of one file."""
    if (path.parent / "config.json").is_file():
        return ModelError(f"model {name!r} is a single file", f"give its folder, {path.parent}: a Hugging Face folder")
    cached = path.parent.parent.name
    if path.parent.name == "blobs" and cached.startswith("models--"):
        return ModelError(f"model {name!r} is a single file of the hub's cache", f"give {identity(cached)}")
    known = same_clip(path.stem)
    hub = f"the hub id {known}" if known else "a hub id"
    return ModelError(
        f"model {name!r} is a single file", f"give a Hugging Face folder (config.json and model.safetensors) or {hub}"
    )

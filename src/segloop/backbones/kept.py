"""What the hub's cache on this disk holds of a model: with it, an offline run is one with a local folder."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
OPENCLIP_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin")
CONFIGS = ("config.json", "open_clip_config.json")  # transformers' (timm's, for guides), and OpenCLIP's
INDEX = ".index.json"


def hub_is_off() -> bool:
    """Whether HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def kept_folder(name: str) -> Path | None:
    """The snapshot of a hub id that was fetched earlier, or None.

    Of several, the first that has weights: the one that the branch main stood at when it was last asked for, then the
    newest. Where none has, the one of main.
    """
    snapshots = list(_snapshots(name))
    return next((folder for folder in snapshots if is_whole(folder)), snapshots[0] if snapshots else None)


def _snapshots(name: str) -> Iterator[Path]:
    from huggingface_hub import constants, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.file_download import repo_folder_name

    try:
        known = [try_to_load_from_cache(name, config) for config in CONFIGS]
    except (HFValidationError, OSError):  # not a hub id at all, or a cache behind a closed door
        return
    yield from (Path(config).parent for config in known if isinstance(config, str))
    repository = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=name, repo_type="model")
    try:
        others = [folder for folder in repository.glob("snapshots/*") if has_config(folder)]
        yield from sorted(others, key=lambda folder: (-folder.stat().st_mtime, folder.name))
    except OSError:
        return


def has_config(folder: Path) -> bool:
    """Whether one of CONFIGS is there."""
    return any((folder / config).is_file() for config in CONFIGS)


def hub_id(folder: str | Path) -> str | None:
    """The hub id of a snapshot of the cache, or None for any other folder."""
    here = Path(folder)
    repository = here.parent.parent.name
    if here.parent.name != "snapshots" or not repository.startswith("models--"):
        return None
    return repository.removeprefix("models--").replace("--", "/")


def is_hub_id(name: str) -> bool:
    """Whether the hub could have a model of this name: owner/name."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return "/" in name


def kept_files(name: str) -> set[str]:
    """Names of the files that the cache has of a hub id whose config.json it has not."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    repository = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=name, repo_type="model")
    try:
        return {file.name for file in repository.glob("snapshots/*/*")}
    except OSError:
        return set()


def is_whole(folder: Path) -> bool:
    """Whether a folder has weights of any name, or they lie where the hub's own conversion put them."""
    here = Path(folder)
    return has_weights(Path(weights_folder(str(here)))) or has_weights(here, OPENCLIP_WEIGHTS)


def weights_folder(folder: str, names: Sequence[str] = WEIGHTS) -> str:
    """Where a snapshot's weights lie: in itself, or in the snapshot of the hub's own conversion, which is another."""
    here = Path(folder)
    if hub_id(folder) is None or has_weights(here, names):
        return folder
    return next((str(other) for other in _conversions(here) if has_weights(other, names)), folder)


def _conversions(snapshot: Path) -> Iterator[Path]:
    """Snapshots that were fetched as a pull request of the hub's converter."""
    requests = sorted((snapshot.parent.parent / "refs" / "refs" / "pr").glob("*"))
    yield from (snapshot.parent / request.read_text().strip() for request in requests if request.is_file())


def has_weights(folder: Path, names: Sequence[str] = WEIGHTS) -> bool:
    """Whether one of `names` is there; of an index, whether all the files that it names are."""
    return bool(weight_files(folder, names))


def weight_files(folder: Path, names: Sequence[str] = WEIGHTS) -> list[str]:
    """The weights that are opened: a file of `names`, behind an index also its parts; empty where none is whole."""
    sets = ([name, *parts_of(folder / name)] for name in names)
    return next((files for files in sets if all((folder / file).is_file() for file in files)), [])


def parts_of(index: Path) -> list[str]:
    """The files that an index of weights names; none for any other file, and for an index that is none."""
    if not index.name.endswith(INDEX) or not index.is_file():
        return []
    try:
        return sorted({str(part) for part in json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []

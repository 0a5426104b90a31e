"""What the hub's cache on this disk holds of a model: with it, an offline run is one with a local folder."""

from pathlib import Path

WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")


def hub_is_off() -> bool:
    """Whether HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def kept_folder(name: str) -> Path | None:
    """The snapshot of a hub id that was fetched earlier, or None."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        config = try_to_load_from_cache(name, "config.json")
    except HFValidationError:  # not a hub id at all
        return None
    return Path(config).parent if isinstance(config, str) else None


def hub_id(folder: str) -> str | None:
    """The hub id of a snapshot of the cache, or None for any other folder."""
    here = Path(folder)
    repository = here.parent.parent.name
    if here.parent.name != "snapshots" or not repository.startswith("models--"):
        return None
    return repository.removeprefix("models--").replace("--", "/")


def weights_folder(folder: str) -> str:
    """Where a snapshot's weights lie: in itself, or in the snapshot of the hub's own conversion, which is another."""
    here = Path(folder)
    if hub_id(folder) is None or _has_weights(here):
        return folder
    return next((str(other) for other in sorted(here.parent.iterdir()) if _has_weights(other)), folder)


def _has_weights(folder: Path) -> bool:
    return any((folder / name).is_file() for name in WEIGHTS)

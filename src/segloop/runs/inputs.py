"""What determines a run's results, in the words of its record: networks, words and code, without paths of a machine."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..attention.custom import attention_from_file, is_file_place
from ..backbones.shared import weights_hash
from ..choice.methods import METHODS
from ..line.segmenter import Segmenter
from ..words.vocabulary import Vocabulary
from .folder import read_run

SETTLED = ("dtype", "batch", "shard", "threads", "device", "engine")  # once: a restart takes them from the record

UNSAID = {"engine": "eager"}  # what was settled where the record has no word of it


def as_recorded(folder: Path, asked: Mapping[str, Any]) -> dict[str, Any]:
    """What the run in `folder` has settled of the options that are not said (None or "auto") now."""
    kept = read_run(folder)
    known = {name: kept["settings"].get(name, UNSAID.get(name)) for name in asked} if kept else {}
    return {name: value for name, value in known.items() if asked[name] in (None, "auto") and value}


def made_by(segmenter: Segmenter, vocabulary: Vocabulary, named: Sequence[str | None]) -> dict[str, Any]:
    """Networks, constants and words, with hashes of weights, templates and code, and the packages that are `named`."""
    guide, besides = segmenter.network.guide, segmenter.network.models
    described = segmenter.describe(vocabulary)
    described |= {name: _without_path(described[name]) for name in ("model", "vision", *besides) if name in described}
    return {
        **described,
        "model_hash": weights_hash(segmenter.clip.model),
        **({"vision_hash": weights_hash(guide.model)} if guide and guide.model is not None else {}),
        **regions_hash(segmenter.masks),
        **{f"{name}_hash": weights_hash(model.model) for name, model in besides.items()},
        **_packages(named),
        "templates": hashlib.sha256(json.dumps(vocabulary.templates).encode()).hexdigest()[:16],
    }


def regions_hash(masks: Any) -> dict[str, str]:
    """What the regions of photos come from, where there is such and a hash tells it."""
    found = getattr(masks, "fingerprint", "")
    return {"regions_hash": found} if found else {}


def attention_of(name: str | None) -> Any:
    """A method's name as it is, or the function that FILE.py:function names. Raises OptionError."""
    return attention_from_file(name) if name and is_file_place(name) else name


def plain_name(name: str) -> str:
    """A model's or a method's name as a part of a folder's name, without the path of this machine."""
    if is_file_place(name):
        file, _, function = name.rpartition(":")
        return f"{Path(file).stem}-{function}"
    return _without_path(name)


def tell_unseen(runs: Sequence[Mapping[str, Any]], say: Callable[[str], None]) -> None:
    """Say what the code of runs, by their settings, rests on that no record can tell, as far as it shows."""
    found = dict.fromkeys(one for settings in runs for one in settings.get("code_unseen", ()))
    if found:
        say(f"no record tells what this reads: {', '.join(found)}; where that changes, begin anew with --overwrite")


def images_hash(names: Iterable[str]) -> str:
    """SHA-256 of a list of images: two runs with the same one saw the same images in the same order."""
    digest, between = hashlib.sha256(), ""
    for name in names:
        digest.update(f"{between}{name}".encode("utf-8", "surrogateescape"))
        between = "\n"
    return digest.hexdigest()


def shards_of(images: int, size: int) -> list[slice]:
    """Images of each shard; batches never cross one, so that a shard's bytes depend on nothing else."""
    return [slice(start, min(start + size, images)) for start in range(0, images, size)]


def images_in(shards: Sequence[slice], numbers: Iterable[int]) -> int:
    """How many images the shards of these numbers hold."""
    return sum(shards[number].stop - shards[number].start for number in numbers)


def _without_path(name: str) -> str:
    """A model's name without the path of this machine."""
    place = Path(name).expanduser()
    return place.resolve().name if place.is_dir() else name


def _packages(named: Sequence[str | None]) -> dict[str, str]:
    """Packages that brought a method or a host."""
    packages = [package for name in named if (package := METHODS.package(name or ""))]
    return {"packages": ", ".join(packages)} if packages else {}

"""One run as it was asked for, and what it is once everything is settled."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from ..backbones.models import DEFAULT_CLIP
from ..backbones.shared import Models
from ..choice.methods import RECIPES
from ..choice.naming import Choice
from ..choice.plan import Plan, known_constants, resolve
from ..common.keys import BENCHMARKS, FOLDER, OWN
from ..data.datasets import DATASETS, OpenDataset, open_dataset
from ..data.masks import USUAL, Masks
from ..errors import OptionError
from ..line.banking import MIXING
from ..line.masking import PROPOSING
from ..line.measured import measured
from ..line.opening import folder_settings
from ..line.segmenter import BATCH, Segmenter
from ..maps.decide import Rule
from ..runs.inputs import SETTLED, as_recorded, images_hash, made_by, plain_name, shards_of
from ..runs.record import Inputs
from ..scoring.metrics import Void
from ..words.vocabulary import Vocabulary
from .preflight import labels_hash

SHARD = 16  # images that share a shard
SAME = ("recipe", "vision", "affinity", "fidelity", "device", "dtype", "engine", "offline", "bands", "stretch", "bank")
"""Fields that `Segmenter.from_pretrained` takes as they are."""


@dataclass(frozen=True)
class Task:
    """A run in plain values, so that another process can be told of it. None: not said."""

    key: str  # of DATASETS
    places: tuple[str, ...]  # values of --data
    out: Path
    clip: str = DEFAULT_CLIP
    method: str | None = None
    host: str | None = None
    vision: str | None = None
    affinity: str | None = None
    recipe: str | None = None
    fidelity: str = "default"
    changes: Mapping[str, Any] = field(default_factory=dict)  # of --set
    names: str | None = None  # variant of the class list
    templates: str = "openai80"
    aliases: str | None = None  # builtin, or a file of them
    split: str | None = None
    limit: int | None = None
    device: str = "auto"
    dtype: str = "auto"
    engine: str | None = None  # of the encoders
    batch: int | None = None
    shard: int | None = None
    threads: int | None = None
    offline: bool = False
    boundary: bool = False  # count boundaries too
    maps: bool = False  # keep every label map
    scores: bool = False  # keep every window's cosines
    bands: str | None = None  # of the images, as `images.reading` takes them
    stretch: str | None = None
    regions: str | None = None  # what --masks says, as `line.masking` has it
    bank: str | None = None  # a file of `segloop bank`
    masks: Masks = USUAL  # how label maps are called and what their values mean
    overwrite: bool = False
    retry_failed: bool = False  # do shards again in which an image could not be used

    @property
    def label(self) -> str:
        """The method's name for folders and tables: `sclip+fsa` for feedback on sclip."""
        method = self.method or (self.recipe or "").partition("/")[0]
        if self.host or self.method == "fsa":
            return f"{plain_name(self.host or 'proxyclip')}+{method or 'fsa'}"
        return plain_name(method or "auto")

    @property
    def guided_label(self) -> str:
        """The label with the name of the vision model: `proxyclip-dinov2+fsa`."""
        name, plus, feedback = self.label.partition("+fsa")
        return f"{name}-{plain_name(self.vision).replace('/', '-')}{plus}{feedback}" if self.vision else self.label


def clip_label(name: str, among: Sequence[str]) -> str:
    """A CLIP's name for a folder: without its owner where that tells it from the others."""
    short = {clip: plain_name(clip).rpartition("/")[2] for clip in among}
    return short[name] if [*short.values()].count(short[name]) == 1 else plain_name(name).replace("/", "--")


@dataclass(frozen=True)
class Settled:
    """A task with its data set, its networks, its words, and all that determines the numbers."""

    task: Task
    data: OpenDataset
    segmenter: Segmenter
    vocabulary: Vocabulary  # with its rows
    rule: Rule
    void: Void
    inputs: Inputs

    @property
    def shards(self) -> list[slice]:
        """Images of each shard."""
        return shards_of(len(self.data.samples), self.task.shard or SHARD)


def find(task: Task) -> OpenDataset:
    """The task's data set, its files checked. Raises as `open_dataset`, OptionError for a list without variants."""
    row = DATASETS[task.key if task.key in DATASETS else FOLDER]
    if task.names is not None and not isinstance(row.names, (str, Path)):
        raise OptionError(
            f"--names {task.names} came with {task.key}, whose class list has no variants", "leave it out"
        )
    return open_dataset(task.key, task.places, task.split, task.limit, task.masks)


def settle(
    task: Task, data: OpenDataset, models: Models | None = None, measure: Callable[[str], None] | None = None
) -> Settled:
    """Open the networks, encode the words.

    What a run on another day must not decide anew (precision, batch, shard, threads, kind of device) comes from the
    record in `task.out`, where there is one and the task does not say. The number of torch's threads is set for this
    process. With `measure`, the batch that nobody has settled is the best one here (`line.measured`), and new
    measurements are told there. Raises as `Segmenter.from_pretrained` does.
    """
    asked = {name: getattr(task, name) for name in SETTLED}
    task = replace(task, **({} if task.overwrite else as_recorded(task.out, asked)))
    torch.set_num_threads(task.threads or torch.get_num_threads())
    models = models or Models()
    own = [models.attention(name) for name in (task.method, task.host)]
    same = {name: getattr(task, name) for name in SAME}
    segmenter = Segmenter.from_pretrained(
        task.clip,
        dataset=_dataset(task),
        method=own[0] or "auto",
        host=own[1],
        batch=task.batch or BATCH,
        models=models,
        masks=task.regions,
        **same,
        **task.changes,
    )
    if measure and not task.batch:
        segmenter = measured(segmenter, len(data.samples), measure)
    variant = task.names or data.variant(segmenter.plan.row.names)
    vocabulary = data.vocabulary(variant, task.templates)
    vocabulary = vocabulary.with_aliases(task.aliases) if task.aliases else vocabulary
    rule = segmenter.rule(vocabulary)
    vocabulary = segmenter.encoded(vocabulary)
    void: Void = "reference" if task.fidelity == "reference" else "corrected"
    settings = _settings(task, data, segmenter, vocabulary, void)
    words = (vocabulary.classes, vocabulary.queries, vocabulary.query_index)
    inputs = Inputs(settings, *words, unsaid={**known_constants(), **labels_hash(data)})
    return Settled(task, data, segmenter, vocabulary, rule, void, inputs)


def plan_of(task: Task, models: Models) -> Plan:
    """Its method and constants, for which no weights are needed. Raises OptionError."""
    method, host = (models.attention(name) for name in (task.method, task.host))
    own = {name: value for name, value in task.changes.items() if name not in (*MIXING, *PROPOSING)}
    choice = Choice(method, host, task.vision, task.recipe, _dataset(task), overrides=own)
    return resolve(choice)


def _dataset(task: Task) -> str | None:
    """The data set whose constants are taken: this one, unless a recipe, or a model's folder alone, has its own."""
    if task.recipe or task.key not in BENCHMARKS:
        return None
    named = task.method or task.host
    return task.key if named or "method" not in folder_settings(task.clip, task.offline) else None


def _recipe_name(task: Task) -> str | None:
    name = f"{task.host or task.method or 'fsa'}/{task.key}"
    return task.recipe or (name if _dataset(task) and name in RECIPES else None)


def _settings(
    task: Task, data: OpenDataset, segmenter: Segmenter, vocabulary: Vocabulary, void: Void
) -> dict[str, Any]:
    images = [sample.name for sample in data.samples]
    return {
        "dataset": data.dataset.key,
        **({"data_name": data.name} if data.name != data.dataset.key else {}),
        "split": task.split and Path(task.split).name,
        "limit": task.limit,
        "images_listed": len(images),
        "images_hash": images_hash(images),
        "recipe": _recipe_name(task),
        **made_by(segmenter, vocabulary, (task.method, task.host)),
        **_masks(data),
        **labels_hash(data),
        "void": void,
        "boundary": task.boundary,
        "keeps": [name for name in ("maps", "scores") if getattr(task, name)],
        "batch": segmenter.batch,
        "shard": task.shard or SHARD,
        "threads": torch.get_num_threads(),
        "device": segmenter.clip.device.type,
    }


def _masks(data: OpenDataset) -> dict[str, Any]:
    """How label maps are read, where that is not as usual."""
    said = data.masks.as_settings(data.dataset.rule, data.dataset.key in OWN)
    return {"masks": said} if said else {}

"""Options that commands share, and what they are made into."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..backbones.models import DEFAULT_CLIP as DEFAULT_CLIP
from ..common import console
from ..common.strict import one_line
from ..errors import OptionError, VocabularyError

if TYPE_CHECKING:
    from ..line.segmenter import Segmenter
    from ..runs.crew import Crew
    from ..runs.networks import Networks as PlainNetworks
    from ..words.vocabulary import Vocabulary

CLASS_FILES = (".txt", ".json", ".csv", ".tsv", ".xlsx", ".yaml", ".yml", ".xml")

Classes = Annotated[
    str | None,
    typer.Option(
        "--classes", help='Words joined by commas, synonyms by |, a label before =: "road, Auto=car|automobile".'
    ),
]
ClassesFile = Annotated[
    Path | None,
    typer.Option("--classes-file", help="UTF-8, a class a line, # comments; or JSON, YAML, CSV, xlsx: label, query."),
]
Background = Annotated[
    bool, typer.Option("--background", help="Add general words for everything else; or name a class background first.")
]
Templates = Annotated[
    str,
    typer.Option(
        "--templates",
        help='openai80, openai7, single, plain; "a photo of a {}."; a file of such lines, or of `segloop experts`.',
    ),
]
Aliases = Annotated[
    str | None,
    typer.Option("--aliases", help="More words for each class: builtin, or a file of lines `sand: beach, desert`."),
]
Clip = Annotated[str, typer.Option("--clip", help="Hub id, local Hugging Face folder, or tiny (bundled).")]
Method = Annotated[
    str | None,
    typer.Option("--method", help="A row of `segloop methods`, a product such as qq+kk, or FILE.py:function."),
]
Host = Annotated[
    str | None,
    typer.Option(
        "--host",
        help="What fsa, sfp, sc-clip, resclip is attached to, as sclip or sfp:proxyclip; alone it means --method fsa.",
    ),
]
Vision = Annotated[
    str | None,
    typer.Option(
        "--vision", help="Guide of proxyclip: of `segloop methods`, hub id, local folder, or FILE.py:function."
    ),
]
Affinity = Annotated[
    str | None, typer.Option("--affinity", help="SAM of trident and of --set refine=sam: sam, hub id or local folder.")
]
Recipe = Annotated[str | None, typer.Option("--recipe", help="A published row, such as sclip/voc21.")]
Source = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="Folder, pattern, list (.txt, .csv), .parquet, .tar shards, videos; on a disk or at s3://.",
        show_default=False,
    ),
]
Column = Annotated[str | None, typer.Option("--column", help="Of a table, where paths or photos stand.")]
Fps = Annotated[str | None, typer.Option("--fps", help="Frames of a video that are taken in a second.")]
Fidelity = Annotated[str, typer.Option("--fidelity", help="default, or reference: the published pipeline.")]
Sets = Annotated[list[str] | None, typer.Option("--set", help="field=value, such as stride=56; none is off.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps.")]
Dtype = Annotated[str, typer.Option("--dtype", help="auto, float32, bfloat16, float16.")]
Batch = Annotated[int | None, typer.Option("--batch", min=1, help="Windows that go together; 8.")]
BestBatch = Annotated[
    int | None,
    typer.Option("--batch", min=1, help="Windows that go together; 8, and of 200 photos and more what is best here."),
]
Engine = Annotated[
    str | None,
    typer.Option(
        "--engine",
        help="Of the encoders: eager, compile, openvino, onnx, int8, auto. Of label, evaluate also ray, or ray,onnx.",
    ),
]
Masks = Annotated[
    str | None,
    typer.Option(
        "--masks",
        help='Regions of the photos, which vote: folder or file of masks, sam, sam2, or "cmd: tool {photo} {out}".',
    ),
]
Bank = Annotated[str | None, typer.Option("--bank", help="A memory bank: a file of `segloop bank` for these words.")]
Offline = Annotated[bool, typer.Option("--offline", help="Never ask the hub.")]
Bands = Annotated[
    str | None,
    typer.Option("--bands", help="Bands of the photo, from 1, as red, green and blue: 4,3,2; one for grey."),
]
Stretch = Annotated[
    str,
    typer.Option("--stretch", help="Levels as black and white: none, minmax, or percentile (2nd and 98th)."),
]
Data = Annotated[
    list[str] | None,
    typer.Option("--data", metavar="DIR", help="Folder of the data sets, or key=DIR; may be repeated."),
]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="Of torch.")]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Try again what could not be used.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line on stdout.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


@dataclass(frozen=True, kw_only=True)
class Words:
    """What to look for."""

    classes: Classes = None
    classes_file: ClassesFile = None
    background: Background = False
    templates: Templates = "openai80"
    aliases: Aliases = None

    def vocabulary(self) -> "Vocabulary":
        """The classes; one called `background` in the first place is what thresholds fall back to.

        Raises OptionError where none or both of --classes and --classes-file came, VocabularyError for a bad one.
        """
        from ..words.entries import names_of
        from ..words.vocabulary import Vocabulary, first_is_background

        names = words(self.classes, self.classes_file)
        own = [names_of(line) for line in names]
        if self.background and any("background" in known for known in own):
            what = "--background adds a class 'background', and there is one in the list"
            raise VocabularyError(what, "leave out --background: where it comes first in the list, that class is it")
        background = 0 if first_is_background(names) else self.background or None
        found = Vocabulary(names, background=background, templates=self.templates)
        return found if self.aliases is None else found.with_aliases(self.aliases)


@dataclass(frozen=True, kw_only=True)
class Networks:
    """Which networks, which method on them, and where they run."""

    clip: Clip = DEFAULT_CLIP
    method: Method = None
    host: Host = None
    vision: Vision = None
    affinity: Affinity = None
    recipe: Recipe = None
    fidelity: Fidelity = "default"
    sets: Sets = None
    bands: Bands = None
    stretch: Stretch = "none"
    device: Device = "auto"
    dtype: Dtype = "auto"
    engine: Engine = None
    offline: Offline = False

    def said(
        self, batch: int | None, changes: dict[str, Any], masks: str | None = None, bank: str | None = None
    ) -> "PlainNetworks":
        """The same in plain values; `changes` are fields of --set, `masks` and `bank` what these options say.

        Raises OptionError for an attention that is none, and for settings of masks without any.
        """
        for name in (self.method, self.host):
            own_attention(name)
        from ..line import banking, masking
        from ..runs.networks import Networks as PlainNetworks  # with torch: after everything that is quickly told

        console.quiet_libraries()
        masking.check_heeded(changes, masks)
        banking.check_heeded(changes, bank)
        own = {name: value for name, value in vars(self).items() if name != "sets"}
        return PlainNetworks(**own, batch=batch, changes=changes, masks=masks, bank=bank)

    def open(
        self,
        batch: int | None,
        changes: dict[str, Any],
        threads: int | None = None,
        masks: str | None = None,
        bank: str | None = None,
    ) -> "Segmenter":
        """`Segmenter.from_pretrained`, its libraries kept quiet; `threads` are torch's, others as of `said`."""
        if threads:
            import torch

            torch.set_num_threads(threads)
        return self.said(batch, changes, masks, bank).open()


@dataclass(frozen=True, kw_only=True)
class Workers:
    """Who does the work."""

    devices: Annotated[
        str | None,
        typer.Option("--devices", help="Several processes: cuda:0,cuda:1 or cpu,cpu, or a number."),
    ] = None
    address: Annotated[
        str | None,
        typer.Option("--address", help="With ray: a cluster that runs, else RAY_ADDRESS, else one of its own."),
    ] = None
    actors: Annotated[int | None, typer.Option("--actors", min=1, help="With ray: how many; as many as fit.")] = None
    cpus: Annotated[float | None, typer.Option("--cpus", min=0, help="With ray: of each actor; its threads.")] = None
    gpus: Annotated[
        float | None,
        typer.Option("--gpus", min=0, help="With ray: of each actor; 1, 0.5 for two on one."),
    ] = None

    def crew(self, networks: Networks) -> "tuple[Crew, dict[str, Any]]":
        """(who works, device and engine of this process's networks). Raises OptionError for a contradiction."""
        from ..runs.engines import Engine, crew_of, split

        who, engine = split(networks.engine)
        asked = Engine(who, self.devices, self.address, self.actors, self.cpus, self.gpus)
        crew, device = crew_of(asked, networks.device)
        return crew, {"device": device, "engine": engine}


def words(classes: str | None, classes_file: Path | None) -> list[str]:
    """The classes of --classes or --classes-file; an unusual form of the file is said.

    Raises OptionError where none or both came.
    """
    from ..words.read import parse_classes, read_classes

    if (classes is None) == (classes_file is None):
        which = "none" if classes is None else "both"
        remedy = 'give one, such as --classes "road, tree, sky"'
        raise OptionError(f"{which} of --classes and --classes-file came", remedy)
    if classes_file is None:
        return _typed(parse_classes(classes or ""))
    found = read_classes(classes_file)
    if found.said:
        console.say(found.said)
    return list(found.names)


def _typed(names: list[str]) -> list[str]:
    """The names of --classes as they are. Raises OptionError where one of them is a class file's."""
    for name in names:
        there = ("." in name or os.sep in name) and os.path.isfile(os.path.expanduser(name))
        if there or name.lower().endswith(CLASS_FILES):
            what = f"--classes takes words, and {name!r} {'is' if there else 'looks like'} a file"
            raise OptionError(what, f"give it as --classes-file {name.lstrip('@')}")
    return names


def overrides(sets: list[str] | None) -> dict[str, Any]:
    """Fields of --set with their types. Raises OptionError."""
    from ..common.records import parse_assignments

    return parse_assignments(sets or [])


def own_attention(name: str | None) -> Any:
    """A method's name as it is, or the function that FILE.py:function names. Raises OptionError."""
    from ..attention.custom import attention_from_file, is_file_place

    return attention_from_file(name) if name and is_file_place(name) else name


def as_lines(rows: list[dict[str, Any]], wanted: bool) -> bool:
    """Print rows as JSON, one a line, where that is `wanted`."""
    for row in rows if wanted else []:
        console.tell(one_line(row))
    return wanted

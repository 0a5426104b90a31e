"""The command line. Rooms are opened inside the commands, so that `segloop --help` answers at once."""

import io
import json
import sys
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from . import __version__, console
from .console import friendly, say
from .errors import OptionError, SegloopError

app = typer.Typer(
    name="segloop",
    help="Segment any photo by free text, with no training.",
    epilog='Start here: segloop segment photo.jpg --classes "road, car|automobile, tree, sky"',
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Clip = Annotated[str, typer.Option("--clip", help="Hub id, local Hugging Face folder, or tiny (bundled).")]
Method = Annotated[
    Optional[str],  # noqa: UP045  typer reads it at run time on Python 3.10
    typer.Option("--method", help="A row of `segloop methods`, a product such as qq+kk, or FILE.py:function."),
]
Host = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--host", help="What fsa is attached to, named as a method is; alone it means --method fsa."),
]
Vision = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--vision", help="Guide of proxyclip: a name of `segloop methods`, hub id or local folder."),
]
Recipe = Annotated[Optional[str], typer.Option("--recipe", help="A published row, such as sclip/voc21.")]  # noqa: UP045
Sets = Annotated[Optional[list[str]], typer.Option("--set", help="field=value, such as stride=80; none is off.")]  # noqa: UP045
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps.")]
Dtype = Annotated[str, typer.Option("--dtype", help="auto, float32, bfloat16, float16.")]
Batch = Annotated[int, typer.Option("--batch", min=1, help="Windows that go through the network together.")]
Offline = Annotated[bool, typer.Option("--offline", help="Never ask the hub.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line on stdout.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"segloop {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """Segment any photo by free text, with no training."""


@app.command(epilog='Example: segloop segment photo.jpg --classes "road, car|automobile, tree, sky" --background')
def segment(
    photos: Annotated[list[str], typer.Argument(metavar="PHOTO...", help="Files or globs.", show_default=False)],
    classes: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--classes", help='Words joined by commas, synonyms by |: "road, car|automobile".'),
    ] = None,
    classes_file: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--classes-file", help="UTF-8, a class a line, # comments."),
    ] = None,
    background: Annotated[
        bool, typer.Option("--background", help="Add a class of general words for everything else.")
    ] = False,
    templates: Annotated[str, typer.Option(help="openai80, openai7, single, plain.")] = "openai80",
    out: Annotated[Path, typer.Option("--out", help="Folder of the results.")] = Path("segloop-out"),
    formats: Annotated[str, typer.Option("--format", help="Of png, overlay, json, coco, npz.")] = "png,overlay,json",
    clip: Clip = "openai/clip-vit-base-patch16",
    method: Method = None,
    host: Host = None,
    vision: Vision = None,
    recipe: Recipe = None,
    fidelity: Annotated[str, typer.Option(help="default, or reference: the published pipeline.")] = "default",
    sets: Sets = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    batch: Batch = 8,
    offline: Offline = False,
    json_lines: Json = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Taken as in other commands; segment always replaces its results.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Cut photos into the words you give, and write maps, pictures and shares."""
    with friendly(debug):
        from .custom import attention_from_file, is_file_place
        from .jobs import Job, photo_stems, run_segment
        from .results import check_formats
        from .settings import parse_assignments
        from .vocabulary import Vocabulary

        wanted = check_formats(formats)
        vocabulary = Vocabulary(_words(classes, classes_file), background=background or None, templates=templates)
        overrides = parse_assignments(sets or [])
        named = photo_stems(photos, out, wanted)
        console.ensure_folder(out)
        own = [attention_from_file(name) if name and is_file_place(name) else name for name in (method, host)]
        from .segmenter import Segmenter  # with torch: after everything that is quickly told

        console.quiet_libraries()
        segmenter = Segmenter.from_pretrained(
            clip,
            recipe=recipe,
            method=own[0] or "auto",
            host=own[1],
            vision=vision,
            device=device,
            dtype=dtype,
            fidelity=fidelity,  # type: ignore[arg-type]
            batch=batch,
            offline=offline,
            **overrides,
        )
        code = run_segment(Job(segmenter, vocabulary, named, out, wanted, json_lines))
        if code:
            raise typer.Exit(code)


@app.command(epilog="Example: segloop scenes scenes --count 20 --seed 1")
def scenes(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where images, masks, classes and captions go.")],
    count: Annotated[int, typer.Option("--count", min=1, help="How many.")] = 10,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed draws the same scenes.")] = 0,
    size: Annotated[str, typer.Option("--size", help="Height x width in pixels.")] = "192x256",
    debug: Debug = False,
) -> None:
    """Draw procedural scenes: textured grounds and coloured shapes, with exact masks and captions."""
    with friendly(debug):
        from .scenes import write_scenes

        height, cross, width = size.partition("x")
        if not (cross and height.isdigit() and width.isdigit()):
            raise OptionError(f"size {size!r}", "write height x width, such as 192x256")
        write_scenes(folder, count, seed, (int(height), int(width)))
        say(f"{count} scenes in {folder}")


@app.command(epilog="Example: segloop methods --json")
def methods(json_lines: Json = False, debug: Debug = False) -> None:
    """List the methods, what they keep of CLIP's last block, the hosts of fsa and the guides of proxyclip."""
    with friendly(debug):
        from .attention import variant
        from .backbones.vision import GUIDES
        from .methods import EXAMPLES, METHODS

        kept = {name: variant(row.host or name) for name, row in METHODS.items()}
        hosts = [*(name for name in METHODS if name != "fsa"), *EXAMPLES]
        guides = {name: row.hub for name, row in GUIDES.items()}
        rows = [
            {"method": name, "summary": row.summary, "residual": kept[name].residual, "mlp": kept[name].mlp}
            | {"class_list": row.names, "recipes": f"{name}/<data set>", "source": row.source}
            | {"hosts": hosts if name == "fsa" else [], "vision": guides if kept[name].on_guide_grid else {}}
            for name, row in METHODS.items()
        ]
        if _as_lines(rows, json_lines):
            return
        columns = ("method", "summary", "recipes", "source")
        console.table("Methods", columns, [[str(row[column]) for column in columns] for row in rows])
        typer.echo("\nVision models that guide proxyclip (--vision):")
        for name, row in GUIDES.items():
            typer.echo(f"  {name:<14}{row.hub}: {row.note}")
        typer.echo(f"\nHosts of fsa (--host): {', '.join(hosts)}")
        own = "your own: --method FILE.py:function"
        typer.echo(f'Also any product of q, k and v, such as --method "qk+vv", and {own}')


@app.command(epilog="Example: segloop models")
def models(json_lines: Json = False, debug: Debug = False) -> None:
    """List CLIP models that are known to fit; any other CLIP of the hub or of a local folder works too."""
    with friendly(debug):
        from .backbones.models import MODELS

        rows: list[dict[str, Any]] = [{"model": name, **facts} for name, facts in MODELS.items()]
        if _as_lines(rows, json_lines):
            return
        console.table("CLIP models (--clip)", list(rows[0]), [[str(value) for value in row.values()] for row in rows])


def _as_lines(rows: list[dict[str, Any]], wanted: bool) -> bool:
    for row in rows if wanted else []:
        typer.echo(json.dumps(row))
    return wanted


def _words(classes: str | None, classes_file: Path | None) -> list[str]:
    from .vocabulary import parse_classes, read_class_file

    if (classes is None) == (classes_file is None):
        which = "none" if classes is None else "both"
        raise OptionError(
            f"{which} of --classes and --classes-file came", 'give one, such as --classes "road, tree, sky"'
        )
    return parse_classes(classes) if classes is not None else read_class_file(classes_file)  # type: ignore[arg-type]


def main() -> None:
    """The program `segloop`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show is no failure
    app()


__all__ = ["SegloopError", "app", "main"]

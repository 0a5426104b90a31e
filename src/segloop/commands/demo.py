"""`segloop demo`: a page for photos and words, served from this machine."""

import io
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..common import console
from ..common.console import friendly
from ..errors import OptionError, UserError
from . import options
from .taking import taking

if TYPE_CHECKING:
    from ..line.segmenter import Segmenter
    from ..web.choices import Choices, Example
    from ..web.desk import Desk

EXAMPLE = "segloop demo --clip tiny"
EXTRA = ("fastapi", "uvicorn", "python_multipart")
LOOPBACK = ("127.0.0.1", "localhost", "::1")
SCENES = {  # seed -> words that are in it
    21: "water, sand, red star | red",
    1: "brick wall | brick, grass, water, orange, purple",
    19: "wood, grass, blue, white",
}
SIZE = (384, 512)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Options of `segloop demo`."""

    clip: options.Clip = options.DEFAULT_CLIP
    vision: options.Vision = None
    affinity: options.Affinity = None
    address: Annotated[str, typer.Option("--host", help="Address to serve at; 0.0.0.0 lets other machines in.")] = (
        "127.0.0.1"
    )
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 8000
    workers: Annotated[int, typer.Option("--workers", min=1, help="Photos that are worked on at once.")] = 2
    waiting: Annotated[int, typer.Option("--waiting", min=0, help="Photos that may wait for them.")] = 32
    most_bytes: Annotated[float, typer.Option("--max-upload", min=0.01, help="MiB of a photo's file.")] = 24
    most_pixels: Annotated[float, typer.Option("--max-pixels", min=0.01, help="Millions of pixels of a photo.")] = 24
    seconds: Annotated[float, typer.Option("--timeout", min=1, help="Seconds for a photo, waiting included.")] = 180
    photos: Annotated[
        Path | None, typer.Option("--photos", help="The one folder whose photos Label Studio may name.")
    ] = None
    device: options.Device = "auto"
    dtype: options.Dtype = "auto"
    engine: options.Engine = None
    offline: options.Offline = False
    threads: options.Threads = None
    debug: options.Debug = False

    @property
    def sam(self) -> str | None:
        """The SAM that was named; beside a bundled CLIP else the bundled one, which knows the same scenes."""
        from ..backbones.loading import BUNDLED

        return self.affinity or ("tiny-sam" if self.clip in BUNDLED else None)


@taking(Asked)
def demo(asked: Asked) -> None:
    """Serve a page to drop photos on: words in, maps out, and POST /segment for programs."""
    with friendly(asked.debug):
        missing = [name.replace("_", "-") for name in EXTRA if find_spec(name) is None]
        if missing:
            raise UserError(f"the page needs {' and '.join(missing)}", "install it: pip install 'segloop[demo]'")
        listening = _listen(asked.address, asked.port)
        with listening:
            desk = desk_of(asked)
            port = listening.getsockname()[1]
            shown = f"[{asked.address}]" if ":" in asked.address else asked.address
            if not desk.loopback:
                console.say(f"anyone who reaches this machine can use the page: it listens at {asked.address}")
            console.tell(f"segloop demo: http://{shown}:{port}  (Ctrl-C ends it)")
            _serve(desk, listening, asked.debug)


def desk_of(asked: Asked) -> "Desk":
    """Networks opened, tables and limits settled. Raises ModelError, OptionError."""
    from ..web.desk import Desk
    from ..web.limits import Limits

    limits = Limits(
        workers=asked.workers,
        waiting=asked.waiting,
        upload=round(asked.most_bytes * 2**20),
        pixels=round(asked.most_pixels * 1e6),
        seconds=asked.seconds,
    )
    if asked.photos and not asked.photos.is_dir():
        raise OptionError(
            f"--photos {asked.photos} is no folder", "name the folder that Label Studio's addresses count from"
        )
    first, make = _openers(asked)
    return Desk.of(choices_of(asked, first), make, limits, asked.address in LOOPBACK, asked.photos)


def _openers(asked: Asked) -> "tuple[Segmenter, Callable[..., Segmenter]]":
    """The model as its own settings have it, opened now, and a way to open other methods on the same networks."""
    from ..backbones.shared import Models
    from ..choice.naming import takes_affinity
    from ..line.segmenter import Segmenter

    console.quiet_libraries()
    if asked.threads:
        import torch

        torch.set_num_threads(asked.threads)
    same: dict[str, Any] = {"models": Models(), "device": asked.device, "dtype": asked.dtype, "engine": asked.engine}
    guided: dict[str, Any] = {"method": "fsa", "vision": asked.vision} if asked.vision else {}
    first = Segmenter.from_pretrained(asked.clip, offline=asked.offline, **guided, **same)

    def make(method: str, host: str | None, vision: str | None) -> "Segmenter":
        named: dict[str, Any] = {"method": method, "host": host, "vision": vision}
        named |= {"affinity": asked.sam} if takes_affinity(method, host) else {}
        return Segmenter.from_pretrained(asked.clip, offline=True, **named, **same)

    return first, make


def choices_of(asked: Asked, first: "Segmenter") -> "Choices":
    """The tables of methods, hosts and guides as they are on this machine."""
    from ..backbones.kept import is_whole, kept_folder
    from ..backbones.loading import BUNDLED
    from ..backbones.models import GUIDES
    from ..choice.methods import EXAMPLES, METHODS
    from ..choice.naming import takes_affinity
    from ..results.palette import palette
    from ..results.segmentation import FORMATS
    from ..web.choices import Attention, Choices, Guide

    rows = [
        Attention(
            name,
            row.summary,
            guided=row.needs_guide(name),
            plugs_in=row.is_plug_in,
            takes_feedback=row.takes_feedback,
            looks_whole=takes_affinity(name, None),
        )
        for name, row in METHODS.items()
        if name != "fsa" and not row.masks
    ]
    rows += [Attention(name, "a product, no residual, no MLP") for name in EXAMPLES]
    opened = first.plan.vision
    guides = []
    for name, guide in GUIDES.items():
        folder = None if guide.bundled else kept_folder(guide.hub)
        fits = guide.bundled and asked.clip in BUNDLED  # it knows drawn scenes; for others it must be named
        at_hand = fits or name == opened or (folder is not None and is_whole(folder))
        guides.append(Guide(name, guide.note, at_hand))
    if opened and opened not in GUIDES:
        guides.insert(0, Guide(opened, "given at the start", True))
    settings = {"device": asked.device, "dtype": asked.dtype, "engine": asked.engine or "auto"}
    return Choices(
        clip=asked.clip,
        attentions=tuple(rows),
        guides=tuple(guides),
        method=first.plan.host or first.plan.method,
        formats=FORMATS,
        read=_typed,
        palette=palette,
        vision=opened,
        examples=examples(),
        settings=tuple((key, value) for key, value in settings.items() if value != "auto"),
        affinity=asked.sam,
    )


def examples() -> "tuple[Example, ...]":
    """Scenes to begin with, drawn now."""
    from PIL import Image

    from ..scenes.draw import scene
    from ..web.choices import Example

    found = []
    for number, (seed, words) in enumerate(SCENES.items(), start=1):
        stream = io.BytesIO()
        Image.fromarray(scene(seed, SIZE).image).save(stream, "PNG")
        found.append(Example(f"scene-{number}.png", words, stream.getvalue()))
    return tuple(found)


def _typed(text: str) -> tuple[list[str], bool]:
    """The classes of a text as --classes has it, and whether the first is the background. Raises VocabularyError."""
    from ..words.read import parse_classes
    from ..words.vocabulary import first_is_background

    names = parse_classes(text)
    return names, first_is_background(names)


def _listen(address: str, port: int) -> socket.socket:
    """Before seconds of loading. Raises OptionError for an address that cannot be served at."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        what = f"{address} port {port} cannot be served at ({error.strerror or error})"
        raise OptionError(what, "choose another --port, or 0 for a free one") from error
    return listening


def _serve(desk: "Desk", listening: socket.socket, debug: bool) -> None:
    import uvicorn

    from ..web.server import create_app

    how: dict[str, Any] = {"access_log": False, "server_header": False, "timeout_graceful_shutdown": 3}
    config = uvicorn.Config(create_app(desk), log_level="info" if debug else "error", **how)
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listening])

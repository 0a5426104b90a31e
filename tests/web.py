"""A server of the page on loopback, and a visitor of it."""

import io
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import uvicorn
from PIL import Image

from segloop.commands.demo import Asked, desk_of
from segloop.web.desk import Desk
from segloop.web.server import create_app

WORDS = "road, car|automobile, sky"


def desk(clip: Path | str, make=None, vision: Path | str | None = None, **limits) -> Desk:
    """As `segloop demo` makes it; `make` opens networks instead, `limits` are fields of Limits."""
    made = desk_of(Asked(clip=str(clip), vision=vision and str(vision), dtype="float32"))
    return Desk.of(made.choices, make or made.opened.make, replace(made.limits, **limits))


@contextmanager
def serving(at: Desk) -> Iterator[str]:
    """Its address, while a server runs in a thread."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(at), log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)
        listening.close()


def visitor(url: str) -> httpx.Client:
    return httpx.Client(base_url=url, timeout=60, trust_env=False)


def png(seed: int = 0, size: tuple[int, int] = (48, 64)) -> bytes:
    """A small photo (height, width), another for each seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (size[0] // 16, size[1] // 16, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC).save(stream, "PNG")
    return stream.getvalue()


def run(client: httpx.Client, photo: bytes, name: str = "photo.png", **fields: str) -> httpx.Response:
    return client.post("/run", files={"photo": (name, photo)}, data={"words": WORDS, **fields})


def planes(client: httpx.Client, told: dict, side: str) -> dict[str, np.ndarray]:
    """What the page unpacks."""
    response = client.get(f"/planes/{side}", headers={"x-session": told["token"]})
    assert response.status_code == 200, response.text
    data, at = np.frombuffer(response.content, np.uint8), 0
    size = told["size"]["height"], told["size"]["width"]
    shapes = {"labels": size, "levels": size, **({"ground": size} if told["background"] else {})}
    shapes |= {"ranked": tuple(told["samples"]), "probability": tuple(told["samples"])}
    found = {}
    for key, shape in shapes.items():
        count = int(np.prod(shape))
        found[key] = data[at : at + count].reshape(shape)
        at += count
    assert at == len(data)
    return found

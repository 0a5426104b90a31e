"""The application: its addresses, its files, and what it says where something is wrong."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .. import __version__
from ..errors import SegloopError
from . import labelstudio, service, work, xanylabeling
from .desk import Desk
from .refusals import FORBIDDEN, GONE, SENTENCES, WRONG, Refusal, explained, sentence

HERE = Path(__file__).parent
FILES = {
    "/": ("page.html", "text/html"),
    "/docs": ("docs.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/map.js": ("map.js", "text/javascript"),
    "/words.js": ("words.js", "text/javascript"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
SWEEP = 15.0  # seconds between two looks at what has grown old
HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
LOCAL = {"127.0.0.1", "localhost", "::1"}
NOT_POSSIBLE = "this is not possible", "see /docs"
ELSEWHERE = "open the page at the address that segloop printed"


def create_app(desk: Desk) -> FastAPI:
    """An ASGI application on a desk. It reads no file but its own and `desk.photos`, and reaches no other machine."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        sweeping = asyncio.create_task(_sweep(desk))
        yield
        sweeping.cancel()
        with suppress(asyncio.CancelledError):
            await sweeping
        desk.queue.close()

    about: dict[str, Any] = {"title": "segloop", "version": __version__, "description": "Photos by words, see /docs."}
    app = FastAPI(**about, docs_url=None, redoc_url=None, lifespan=lifespan)

    app.add_middleware(Guard, loopback=desk.loopback)
    for kind in (Exception, SegloopError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, _refused)
    for address, (file, media_type) in FILES.items():
        _add_file(app, address, (HERE / file).read_bytes(), media_type)
    _add_small(app, desk)
    app.include_router(work.routes(desk))
    for room in (service, labelstudio, xanylabeling):
        app.include_router(room.routes(desk))
    return app


def _add_file(app: FastAPI, address: str, data: bytes, media_type: str) -> None:
    @app.get(address, include_in_schema=False)
    async def file() -> Response:
        return Response(data, media_type=media_type)


def _add_small(app: FastAPI, desk: Desk) -> None:
    @app.get("/queue", include_in_schema=False)
    async def queue() -> dict[str, int]:
        return {"waiting": desk.queue.waiting}

    @app.get("/examples/{number}", include_in_schema=False)
    async def example(number: int) -> Response:
        if not 0 <= number < len(desk.choices.examples):
            raise Refusal(GONE, f"there is no example {number}", f"there are {len(desk.choices.examples)}")
        return Response(desk.choices.examples[number].png, media_type="image/png")


class Guard:
    """ASGI: nothing from other sites comes in, and every answer says that nothing is to be kept of it."""

    def __init__(self, app: ASGIApp, loopback: bool) -> None:
        self.app = app
        self.loopback = loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        request = Request(scope)
        try:
            check_origin(request, self.loopback)
        except Refusal as error:
            return await _refused(request, error)(scope, receive, guarded)
        return await self.app(scope, receive, guarded)


def check_origin(request: Request, loopback: bool) -> None:
    """Raises Refusal for what another site's page sends, and on loopback for another name of this machine."""
    host, origin = request.headers.get("host", ""), request.headers.get("origin")
    if loopback and urlsplit(f"//{host}").hostname not in LOCAL:
        raise Refusal(FORBIDDEN, f"{host[:80]!r} is no name of this machine", ELSEWHERE)
    if origin and urlsplit(origin).netloc != host:
        raise Refusal(FORBIDDEN, "the request comes from another site", ELSEWHERE)


def _refused(request: Request, error: Exception) -> JSONResponse:
    """The sentence of an error."""
    headers: dict[str, str] = {}
    if isinstance(error, HTTPException):
        status, body = (
            error.status_code,
            sentence(*SENTENCES.get(error.status_code, ("this is not possible", "see /docs"))),
        )
        headers = dict(error.headers or {})
    elif isinstance(error, RequestValidationError):
        status, body = WRONG, sentence("the address holds no number where one should be", "see /docs")
    else:
        status, body = explained(error)
    if status == 503:
        headers["retry-after"] = "10"
    return JSONResponse(body, status, headers)


async def _sweep(desk: Desk) -> None:
    while True:
        await asyncio.sleep(SWEEP)
        desk.sessions.sweep()

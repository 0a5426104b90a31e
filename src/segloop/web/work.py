"""Addresses of the page's own: run, planes of the maps, a point, downloads, leaving."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from fastapi import APIRouter, Request, Response

from ..errors import OptionError, nearest
from .answer import Answer, answered, packed, point
from .choices import Format
from .desk import Desk
from .forms import Form, form_of
from .pictures import data_address, jpeg
from .question import Question, question_of, threshold_of
from .snippets import snippets

Result = TypeVar("Result")

TOKEN = "x-session"
LONGEST = 100  # letters of a token that are read
KINDS = {".png": "image/png", ".json": "application/json"}


def routes(desk: Desk) -> APIRouter:
    """A run gives a token, and all that looks at its result wants it; none is in the interface that /docs tells."""
    router = APIRouter(include_in_schema=False)

    @router.post("/run")
    async def run(request: Request) -> dict[str, Any]:
        form, question = await asked(desk, request)
        answer = await desk.queue.do(partial(_answered, desk, question, form), partial(gone, request))
        told = {"token": desk.sessions.put(answer), **answer.told(desk.choices)}
        return told | {"snippets": snippets(question, answer.name, desk.choices)}

    @router.post("/leave")
    async def leave(request: Request) -> Response:
        token = b""
        async for part in request.stream():
            token += part
            if len(token) > LONGEST:
                break
        desk.sessions.drop(token[:LONGEST].decode("ascii", "replace"))
        return Response(status_code=204)

    _add_results(router, desk)
    return router


def _add_results(router: APIRouter, desk: Desk) -> None:
    async def done(request: Request, job: Callable[[], Result]) -> Result:
        return await desk.queue.do(job, partial(gone, request), known=True)

    @router.get("/planes/{side}")
    async def planes(request: Request, side: str) -> Response:
        answer = _kept(desk, request)
        if side not in answer.sides:
            raise OptionError(f"there is no side {side[:40]!r}", nearest(side, answer.sides))
        body = await done(request, partial(packed, answer.sides[side]))
        return Response(body, media_type="application/octet-stream", headers={"content-encoding": "gzip"})

    @router.get("/photo")
    async def photo(request: Request) -> Response:
        return Response(await done(request, partial(jpeg, _kept(desk, request).image)), media_type="image/jpeg")

    @router.get("/point/{x}/{y}")
    async def look(request: Request, x: int, y: int) -> dict[str, Any]:
        seen = await done(request, partial(point, _kept(desk, request), x, y))
        before, after = (data_address(picture) for picture in seen.pictures)
        scores = {"before": seen.host_scores.tolist(), "after": seen.fed_scores.tolist()}
        return {"box": seen.box, "before": before, "after": after, "scores": scores}

    @router.get("/download/{name}")
    async def download(request: Request, name: str, threshold: str = "0") -> Response:
        answer, value, formats = _kept(desk, request), threshold_of(threshold), desk.choices.formats
        if name not in formats:
            raise OptionError(f"there is no format {name[:40]!r}", nearest(name, formats))
        body = await done(request, lambda: formats[name].encode(answer.result(value)))
        return Response(body, media_type=media_type(formats[name]))


async def asked(desk: Desk, request: Request) -> tuple[Form, Question]:
    """A form and its question, both settled before anything waits for a worker. Raises Refusal, UserError."""
    desk.queue.check()
    form = await form_of(request, desk.limits)
    return form, question_of(form.fields, desk.choices, desk.limits)


async def gone(request: Request) -> None:
    """Ends when the visitor has left."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def media_type(form: Format) -> str:
    """Of a format's file."""
    return KINDS.get(form.suffix[form.suffix.rindex(".") :], "application/octet-stream")


def _answered(desk: Desk, question: Question, form: Form) -> Answer:
    return answered(*desk.opened(question), form.photo, desk.limits)


def _kept(desk: Desk, request: Request) -> Answer:
    return desk.sessions.get(request.headers.get(TOKEN))

"""`POST /segment`: a photo and words in, one file out; what OpenAPI says of it."""

import json
import re
from collections.abc import Collection
from functools import partial
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request, Response

from ..errors import OptionError, nearest
from .answer import answered
from .choices import FEEDBACK, Choices
from .desk import Desk
from .photo import Upload
from .question import FIELDS, Question
from .work import asked, gone, media_type

ACCEPTED = {"application/json": "json", "image/png": "png", "application/octet-stream": "npz"}
REFUSALS = {
    400: "The form is broken, or has a field that is not known.",
    403: "The request comes from another site, or under another name of this machine.",
    413: "The file or its pixels are too many.",
    415: "The body is no form.",
    422: "The photo, the words or an option mean nothing here.",
    500: "A fault in segloop.",
    503: "Too many are waiting, or memory ran out.",
    504: "It took too long.",
}
_ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["error", "remedy"],
    "properties": {"error": {"type": "string"}, "remedy": {"type": "string"}},
}
_SENTENCE = {"application/json": {"schema": _ERROR}}
_PHOTO = {"type": "string", "format": "binary", "description": "JPEG, PNG, WebP, TIFF ..."}
_FORM: dict[str, Any] = {
    "type": "object",
    "required": ["photo", "words"],
    "additionalProperties": False,
}
_RECORD: dict[str, Any] = {
    "type": "object",
    "description": "format=json: share and confidence of each class, every setting. format=coco: a COCO object.",
}
NOTICES = "x-notices"
_NOTICES = {
    "description": "Sentences on words that may mislead: a JSON list, percent-encoded. Only where there are some.",
    "schema": {"type": "string"},
}
_BYTES = {"schema": {"type": "string", "format": "binary"}}
RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The map: indexed PNG, overlay, JSON, COCO or arrays.",
        "content": {
            "application/json": {"schema": _RECORD},
            "image/png": _BYTES,
            "application/octet-stream": _BYTES,
        },
        "headers": {NOTICES: _NOTICES},
    },
    **{
        code: {"description": text, "content": {"application/json": {"schema": _ERROR}}}
        for code, text in REFUSALS.items()
    },
}


def routes(desk: Desk) -> APIRouter:
    """The interface for programs."""
    router = APIRouter()
    told = openapi(desk.choices)

    @router.post("/segment", summary="Segment a photo by words", openapi_extra=told, responses=RESPONSES)
    async def segment(request: Request) -> Response:
        """Cut a photo into the words you give. Nothing is kept."""
        formats = desk.choices.formats
        name = wanted(request.query_params.get("format"), request.headers.get("accept", ""), formats)
        form, question = await asked(desk, request)
        body, notices = await desk.queue.do(partial(_made, desk, question, form.photo, name), partial(gone, request))
        headers = {NOTICES: quote(json.dumps(notices, ensure_ascii=False))} if notices else {}
        return Response(body, media_type=media_type(formats[name]), headers=headers)

    @router.get("/choices", summary="What can be asked for")
    async def choices() -> dict[str, Any]:
        """Methods, hosts, guides on this machine, and limits."""
        limits = {name: getattr(desk.limits, name) for name in ("upload", "pixels", "classes")}
        return {**desk.choices.told(), "limits": limits, "formats": list(desk.choices.formats)}

    return router


def openapi(choices: Choices) -> dict[str, Any]:
    """What a request of `/segment` is, its names those that there are."""
    names = [one.name for one in choices.attentions if choices.ready or not one.guided]
    one = "|".join(map(re.escape, names))
    allowed: dict[str, dict[str, Any]] = {"method": {"enum": [FEEDBACK, *names]}}
    allowed["host"] = {"pattern": f"^({one})(:({one}))?$"}  # sfp:sclip: purified, on a host of its own
    allowed["vision"] = {"enum": choices.ready} if choices.ready else {}
    fields = {name: field | allowed.get(name, {}) for name, field in FIELDS.items()}
    properties = {"photo": _PHOTO, **fields}
    query = {
        "name": "format",
        "in": "query",
        "schema": {"type": "string", "enum": list(choices.formats)},
        "description": "The file that comes back; else Accept decides: application/json, image/png, or npz as bytes.",
    }
    form = {"required": True, "content": {"multipart/form-data": {"schema": _FORM | {"properties": properties}}}}
    return {"parameters": [query], "requestBody": form}


def wanted(name: str | None, accept: str, formats: Collection[str]) -> str:
    """One of the formats, by its name, else by what is accepted; json where nothing is said. Raises OptionError."""
    if name:
        if name not in formats:
            raise OptionError(f"there is no format {name[:40]!r}", nearest(name, formats))
        return name
    kinds = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    return next((ACCEPTED[kind] for kind in kinds if kind in ACCEPTED), "json")


def _made(desk: Desk, question: Question, photo: Upload, name: str) -> tuple[bytes, list[str]]:
    answer = answered(*desk.opened(question), photo, desk.limits)
    return desk.choices.formats[name].encode(answer.result(question.threshold)), list(answer.notices)

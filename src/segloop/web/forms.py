"""A form as it is sent, or an object in JSON: read within its limits, taken apart in memory."""

import asyncio
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from .limits import Limits
from .photo import Upload, checked, too_heavy
from .refusals import MALFORMED, NO_FORM, SLOW, TOO_LARGE, Refusal

BESIDE = 2**16  # bytes of a form that are not its photo
WORDS = 2**20  # bytes of an object that are not photos
DRAINED = 8  # times the limit that is read of a larger one, so that its sender hears the answer
FIELDS = 16
SEND = "send multipart/form-data with a photo and words"


class InMemory(MultiPartParser):
    """Starlette's parser, which else puts large files into the temporary folder."""

    spool_max_size = 2**40


@dataclass(frozen=True)
class Form:
    """A photo and what is asked of it."""

    photo: Upload
    fields: dict[str, str]


async def form_of(request: Request, limits: Limits) -> Form:
    """Raises Refusal for what is no such form, is too large or takes too long, ImageError for a photo that is none."""
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise Refusal(NO_FORM, "this is no form", SEND)
    try:
        body = await _in_time(request, limits, limits.upload + BESIDE, too_heavy(limits))
        parser = InMemory(request.headers, _once(body), max_files=1, max_fields=FIELDS, max_part_size=BESIDE)
        form = await parser.parse()
    except MultiPartException as error:
        raise Refusal(MALFORMED, f"the form is broken: {error.message.rstrip('.')}", SEND) from error
    except (ValueError, KeyError, UnicodeError) as error:
        raise Refusal(MALFORMED, "the form is broken", SEND) from error
    fields: dict[str, str] = {}
    photo: Upload | None = None
    for name, value in form.multi_items():
        if isinstance(value, UploadFile) and name == "photo":
            photo = checked(value.filename, await value.read(), limits)
        elif isinstance(value, UploadFile) or name in fields or name == "photo":
            raise Refusal(MALFORMED, f"field {name[:40]!r} came twice or in another form", SEND)
        else:
            fields[name] = value
    return Form(photo or checked(None, b"", limits), fields)


async def object_of(request: Request, limits: Limits, photos: int = 1) -> dict[str, Any]:
    """An object in JSON, with room for so many photos in base64. Raises Refusal for what is none, or too large."""
    most = photos * limits.upload * 3 // 2 + WORDS
    refusal = Refusal(TOO_LARGE, f"the request is larger than {most / 2**20:.3g} MiB", "send fewer or smaller photos")
    body = await _in_time(request, limits, most, refusal)
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refusal(MALFORMED, "the body is no JSON", "send an object, as /docs has it") from error
    if not isinstance(found, dict):
        raise Refusal(MALFORMED, "the body is no object of JSON", "send an object, as /docs has it")
    return found


async def _in_time(request: Request, limits: Limits, most: int, refusal: Refusal) -> bytes:
    try:
        return await asyncio.wait_for(_body(request, most, refusal), limits.upload_seconds)
    except asyncio.TimeoutError:  # in Python 3.10 not yet TimeoutError itself
        raise Refusal(SLOW, f"the photo took longer than {limits.upload_seconds:g} seconds", "try again") from None


async def _body(request: Request, most: int, refusal: Refusal) -> bytes:
    """All of it; of one that is too large, some is read and nothing kept, and `refusal` is raised."""
    length = request.headers.get("content-length", "")
    parts, size = [], 0
    if length.isdigit() and int(length) > DRAINED * most:
        raise refusal
    async for part in request.stream():
        size += len(part)
        if size <= most:
            parts.append(part)
        elif size > DRAINED * most:
            break
        else:
            parts.clear()
    if size > most:
        raise refusal
    return b"".join(parts)


async def _once(body: bytes) -> AsyncGenerator[bytes, None]:
    yield body

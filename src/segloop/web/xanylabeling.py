"""A remote server for X-AnyLabeling: its list of models, and predictions as polygons."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from .. import Filter, Segmentation
from ..errors import OptionError, SegloopError, nearest
from .answer import answered
from .choices import FEEDBACK, Choices
from .desk import Desk
from .forms import object_of
from .handed import decoded
from .photo import Upload
from .question import Question, question_of, threshold_of
from .refusals import GONE, MALFORMED, Refusal, explained
from .thinned import thinned
from .work import gone

LOG = logging.getLogger(__name__)
NAME = "segloop"
FINENESS = 0.001  # of an outline's length, by which corners may be left out: the client's own default
MOST = 0.1
WIDGETS = (  # what the client shows beside the photo
    ("edit_text", None),
    ("button_send", None),
    ("input_conf", None),
    ("edit_conf", 0.0),
    ("mask_fineness_slider", 10),
    ("mask_fineness_value_label", None),
    ("toggle_preserve_existing_annotations", False),
)
HINT = "road, car|automobile, sky"
CODES = {MALFORMED: "INVALID_REQUEST", GONE: "MODEL_NOT_FOUND", 422: "INVALID_REQUEST", 503: "QUEUE_FULL"}


def routes(desk: Desk) -> APIRouter:
    """The addresses that X-AnyLabeling asks at."""
    router = APIRouter(include_in_schema=False)
    models = {name: _about(title) for name, (title, _) in models_of(desk.choices).items()}

    @router.get("/health")
    async def health() -> dict[str, Any]:
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        return {"status": "healthy", "models_loaded": len(models), "timestamp": now}

    @router.get("/v1/models")
    async def listed() -> dict[str, Any]:
        return {"success": True, "data": models}

    @router.get("/v1/models/{name}/info")
    async def info(name: str) -> dict[str, Any]:
        if name not in models:
            raise Refusal(GONE, f"there is no model {name[:40]!r}", nearest(name, models))
        return {"success": True, "data": {"model_id": name, **models[name]}}

    @router.post("/v1/predict")
    async def predict(request: Request) -> JSONResponse:
        try:
            photo, question, sure, fineness = _asked(await object_of(request, desk.limits), desk)
            job = partial(_made, desk, question, photo, sure, fineness)
            shapes, notices = await desk.queue.do(job, partial(gone, request))
        except SegloopError as error:  # with a code that the client shows: it passes over "success": false
            status, body = explained(error)
            told = {"code": CODES.get(status, "INFERENCE_ERROR"), "message": f"{body['error']}; {body['remedy']}."}
            return JSONResponse({"success": False, "error": told}, status)
        for notice in notices:  # the client has no place for it
            LOG.warning("x-anylabeling: %s", notice)
        return JSONResponse({"success": True, "data": {"shapes": shapes, "description": "", "notices": notices}})

    return router


def models_of(choices: Choices) -> dict[str, tuple[str, dict[str, str]]]:
    """Name -> title, and the fields of a form that it stands for: what the server stands on first, then each method."""
    names = [one.name for one in choices.attentions if choices.ready or not one.guided]
    _, host, _ = choices.settled(None, None, None)
    first = f"segloop: {FEEDBACK} on {host}"
    found: dict[str, tuple[str, dict[str, str]]] = {
        NAME: (first, {}),
        f"{NAME}-background": (f"{first}, with a background of general words", {"background": "true"}),
    }
    return found | {f"{NAME}-{name}": (f"segloop: {name}", {"method": name}) for name in names}


def _about(title: str) -> dict[str, Any]:
    widgets = [{"name": name, "value": value} for name, value in WIDGETS]
    widgets[0]["placeholder"] = HINT
    return {"display_name": title, "widgets": widgets, "params": {}, "batch_processing_mode": "text_prompt"}


def _asked(given: Mapping[str, Any], desk: Desk) -> tuple[Upload, Question, float, float]:
    """A request -> its photo, what it asks, the least probability and the fineness. Raises UserError, Refusal."""
    model, image, params = given.get("model"), given.get("image"), given.get("params", {})
    if not isinstance(model, str) or not isinstance(image, str) or not isinstance(params, dict):
        raise Refusal(MALFORMED, "the request has no model, image and params", "send them as X-AnyLabeling does")
    models = models_of(desk.choices)
    if model not in models:
        raise Refusal(GONE, f"there is no model {model[:40]!r}", nearest(model, models))
    words = str(params.get("text_prompt") or "").strip().rstrip(".")
    if "." in words and not any(sign in words for sign in ",;\n"):
        words = words.replace(".", ",")  # how prompts of several names are written there
    question = question_of({**models[model][1], "words": words}, desk.choices, desk.limits)
    sure = threshold_of(str(params.get("conf_threshold", 0)))
    fineness = threshold_of(str(params.get("epsilon_factor", FINENESS)))
    if fineness > MOST:
        raise OptionError(f"an epsilon_factor of {fineness:g} leaves nothing of an outline", f"give at most {MOST:g}")
    return decoded(image, desk.limits), question, sure, fineness


def _made(
    desk: Desk, question: Question, photo: Upload, sure: float, fineness: float
) -> tuple[list[dict[str, Any]], list[str]]:
    answer = answered(*desk.opened(question), photo, desk.limits)
    first = 0 if answer.vocabulary.background is None else 1
    return shapes_of(answer.result(question.threshold), sure, fineness, first), list(answer.notices)


def shapes_of(result: Segmentation, sure: float, fineness: float, first: int = 0) -> list[dict[str, Any]]:
    """A polygon for each region of classes from `first` on, of pixels that are at least so sure."""
    assert result.confidence_map is not None
    kept = Filter(min_confidence=sure)(result.labels, result.confidence_map, result.classes)
    seen = replace(result, labels=kept)
    return [
        {
            "label": name,
            "shape_type": "polygon",
            "points": thinned(ring, fineness).astype(float).tolist(),
            "score": result.confidence[name],
        }
        for name in result.classes[first:]
        for ring in seen.polygons(name)
    ]

"""A machine learning backend of Label Studio: tasks in, semantic brush labels out.

Label Studio asks at an address that its settings name, here /label-studio: `health`, `setup` with a project's
labelling interface in XML, `predict` with tasks. What the page's form asks is read from that interface: words are its
labels (with `predicted_values` beside a label, those), options are attributes of its BrushLabels.
"""

import logging
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from zlib import crc32

import numpy as np
from fastapi import APIRouter, Request

from .. import Filter, Segmentation, __version__
from ..errors import OptionError, SegloopError
from .answer import answered
from .brush import brush
from .desk import Desk
from .forms import object_of
from .handed import handed
from .question import FIELDS, Question, question_of, threshold_of
from .refusals import BUSY, MALFORMED, SLOW, Refusal, sentence
from .work import gone

MOST_TASKS = 1000  # of one request
PHOTOS = 3  # of a request that may come as base64
OPTION = "model_"  # how attributes that are meant for a backend begin
SURE = "score_threshold"
KNOWN = [*(name for name in FIELDS if name != "words"), SURE]
EXAMPLE = (
    '<Image name="image" value="$image"/><BrushLabels name="tag" toName="image"><Label value="road"/></BrushLabels>'
)
LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Interface:
    """What a project's labelling interface asks for."""

    brush: str  # name of its BrushLabels
    image: str  # name of the Image that they mark
    field: str  # of a task's data, which holds the photo
    labels: tuple[str, ...]  # as Label Studio calls them
    question: Question
    sure: float  # probability below which a pixel stays unmarked

    @property
    def version(self) -> str:
        """What Label Studio shows beside predictions, and asks for new ones by: other words are another version."""
        asked = (self.question.method, self.question.host, self.question.vision)
        rest = repr((self.labels, self.question.words, self.question.background, self.question.threshold, self.sure))
        return "-".join(["segloop", __version__, *(one for one in asked if one), f"{crc32(rest.encode()):08x}"])


def routes(desk: Desk) -> APIRouter:
    """The addresses that Label Studio asks at."""
    router = APIRouter(prefix="/label-studio", include_in_schema=False)

    @router.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "UP", "model_class": "segloop"}

    @router.post("/setup")
    async def setup(request: Request) -> dict[str, str]:
        with _said("setup"):
            given = await object_of(request, desk.limits, photos=0)
            return {"model_version": interface_of(given.get("schema"), desk).version}

    @router.post("/predict")
    async def predict(request: Request) -> dict[str, Any]:
        with _said("predict"):
            given = await object_of(request, desk.limits, PHOTOS)
            asked = interface_of(given.get("label_config"), desk)
            tasks = _tasks(given.get("tasks"))
            results = [await _predicted(desk, request, asked, task) for task in tasks]
            errors = [one for one in results if isinstance(one, SegloopError)]
            if errors and len(errors) == len(results):
                raise errors[0]
        told = [notice for one in results if isinstance(one, dict) for notice in one.get("notices", [])]
        for notice in dict.fromkeys(told):
            LOG.warning("label-studio: %s", notice)
        return {"results": [_answer(one, asked) for one in results], "model_version": asked.version}

    return router


def interface_of(xml: Any, desk: Desk) -> Interface:
    """A labelling interface -> what it asks for. Raises Refusal for what is none, UserError for what has no meaning."""
    if not isinstance(xml, str) or "<!" in xml.replace("<!--", ""):
        raise Refusal(MALFORMED, "no labelling interface came", "send Label Studio's XML, without a DOCTYPE")
    try:
        root = ET.fromstring(xml)
    except ET.ParseError as error:
        raise Refusal(MALFORMED, f"the labelling interface is broken ({error})", "mend it in Label Studio") from error
    images = {one.get("name"): one.get("value", "") for one in root.iter("Image")}
    brushes = [one for one in root.iter("BrushLabels") if one.get("toName") in images]
    if not brushes:
        raise OptionError("the labelling interface has no BrushLabels on an Image", f"write {EXAMPLE}")
    first = brushes[0]
    image = first.get("toName", "")
    if not images[image].startswith("$"):
        raise OptionError(f"Image {image[:40]!r} has no value such as $image", f"write {EXAMPLE}")
    labels = [(one.get("value", ""), one.get("predicted_values")) for one in first.iter("Label")]
    fields = _options(first.attrib)
    sure = threshold_of(fields.pop(SURE, "0"))
    question = _question(labels, fields, desk)
    return Interface(first.get("name", ""), image, images[image][1:], tuple(v for v, _ in labels), question, sure)


def _options(attributes: Mapping[str, str]) -> dict[str, str]:
    """Attributes that are meant for a backend, by the names of a form's fields."""
    found = {name.removeprefix(OPTION): value for name, value in attributes.items() if name.startswith(OPTION)}
    for name in found:
        if name not in KNOWN:
            known = ", ".join(OPTION + one for one in KNOWN)
            raise OptionError(f"BrushLabels has an attribute {OPTION + name[:40]!r}", f"known are {known}")
    return found


def _question(labels: list[tuple[str, str | None]], fields: Mapping[str, str], desk: Desk) -> Question:
    """Labels and the words behind them -> what is looked for, a class for each label in their order."""
    if not labels:
        raise OptionError("BrushLabels has no Label", f"write {EXAMPLE}")
    words = [value if asked is None else f"{value} = {asked.replace(',', '|')}" for value, asked in labels]
    for (value, _), word in zip(labels, words, strict=True):
        if "," in word or not value.strip():
            what = f"label {value[:40]!r} cannot be read as a word"
            raise OptionError(what, 'give it a plain name, and its words beside it: predicted_values="road, street"')
    question = question_of({**fields, "words": ", ".join(words)}, desk.choices, desk.limits)
    if len(question.words) != len(labels):
        what = f"{len(labels)} labels read as {len(question.words)} classes"
        raise OptionError(what, "leave signs such as ; out of the names of labels")
    return question


def _tasks(given: Any) -> list[dict[str, Any]]:
    if not isinstance(given, list) or not given or not all(isinstance(one, dict) for one in given):
        raise Refusal(MALFORMED, "no tasks came", "send a list of Label Studio's tasks")
    if len(given) > MOST_TASKS:
        raise OptionError(f"{len(given)} tasks came at once", f"send at most {MOST_TASKS}")
    return given


Prediction = dict[str, Any]


async def _predicted(
    desk: Desk, request: Request, asked: Interface, task: Mapping[str, Any]
) -> Prediction | SegloopError:
    """A task's regions and how sure they are; what is wrong with its photo alone is given back, and said."""
    data = task.get("data")
    address = data.get(asked.field) if isinstance(data, dict) else None
    try:
        if not isinstance(address, str):
            raise OptionError(f"the task has no {asked.field[:40]!r} in its data", "import tasks that name their photo")
        return await desk.queue.do(partial(_made, desk, asked, address), partial(gone, request))
    except SegloopError as error:
        if isinstance(error, Refusal) and error.status in (BUSY, SLOW):
            raise
        LOG.warning("label-studio: task %.20s is left without regions: %s", task.get("id"), error)
        return error


def _made(desk: Desk, asked: Interface, address: str) -> Prediction:
    """In a worker: the photo looked for, read and cut."""
    photo = handed(address, desk.photos, desk.limits)
    answer = answered(*desk.opened(asked.question), photo, desk.limits)
    found, sure = regions(answer.result(asked.question.threshold), asked)
    told = {"notices": list(answer.notices)} if answer.notices else {}
    return {"result": found, "score": sure, **told}


def regions(result: Segmentation, asked: Interface) -> tuple[list[dict[str, Any]], float]:
    """One brush region for each label that occurs, none for an added background; and their mean probability."""
    assert result.confidence_map is not None
    kept = Filter(min_confidence=asked.sure)(result.labels, result.confidence_map, result.classes)
    height, width = kept.shape
    added = len(result.classes) - len(asked.labels)
    found = []
    for number, label in enumerate(asked.labels, added):
        here = kept == number
        if here.any():
            value = {"format": "rle", "rle": brush(here), "brushlabels": [label]}
            score = float(result.confidence_map[here].mean(dtype=np.float64))
            size = {"original_width": width, "original_height": height, "image_rotation": 0}
            names = {"id": f"segloop-{number}", "from_name": asked.brush, "to_name": asked.image, "type": "brushlabels"}
            found.append({**names, **size, "value": value, "score": score})
    marked = (kept >= added) & (kept < len(result.classes))
    return found, float(result.confidence_map[marked].mean(dtype=np.float64)) if marked.any() else 0.0


def _answer(one: Prediction | SegloopError, asked: Interface) -> Prediction:
    """A task's prediction; Label Studio wants one for each task, in their order."""
    if isinstance(one, SegloopError):
        one = {"result": [], "score": 0.0, **sentence(one.what, one.remedy)}
    return {**one, "model_version": asked.version}


@contextmanager
def _said(where: str) -> Iterator[None]:
    """A refusal is said on the server's terminal, too: Label Studio shows its code, and not always its sentence."""
    try:
        yield
    except SegloopError as error:
        LOG.warning("label-studio: %s is refused: %s", where, error)
        raise

"""The same map again without the page: a command and lines of Python that can be copied."""

import shlex
from pathlib import PurePath

from .choices import Choices
from .question import Question

THRESHOLD = "{threshold}"  # filled in by who knows it


def command(question: Question, name: str, choices: Choices, threshold: str | None = None) -> str:
    """`segloop segment ...` on a file of this name."""
    parts = ["segloop", "segment", f"./{name}" if name.startswith("-") else name, "--clip", choices.clip]
    parts += ["--classes", ", ".join(question.words)]
    parts += ["--background"] if question.background is True else []
    parts += ["--method", question.method]
    parts += ["--host", question.host] if question.host else []
    parts += ["--vision", question.vision] if question.vision else []
    for key, value in choices.settings_of(question.method, question.host):
        parts += [f"--{key}", value]
    written = shlex.join(parts)
    return f"{written} --set background_threshold={threshold}" if threshold else written


def python(question: Question, name: str, choices: Choices, threshold: str | None = None) -> str:
    """Lines that make `result`, and save it."""
    given = {"method": question.method, "host": question.host, "vision": question.vision}
    given |= dict(choices.settings_of(question.method, question.host))
    options = "".join(f", {key}={value!r}" for key, value in given.items() if value)
    options += f", background_threshold={threshold}" if threshold else ""
    background = "" if question.background is None else f", background={question.background!r}"
    lines = (
        "from segloop import Segmenter, Vocabulary",
        "",
        f"segmenter = Segmenter.from_pretrained({choices.clip!r}{options})",
        f"words = Vocabulary({list(question.words)!r}{background})",
        f"result = segmenter({name!r}, words)",
        f'result.save({PurePath(name).stem!r}, ["png", "overlay", "json"])',
    )
    return "\n".join(lines) + "\n"


def snippets(question: Question, name: str, choices: Choices) -> dict[str, dict[str, str]]:
    """Both, without a threshold and with THRESHOLD in the place of one."""
    writers = {"command": command, "python": python}
    return {
        key: {"plain": write(question, name, choices), "with": write(question, name, choices, THRESHOLD)}
        for key, write in writers.items()
    }

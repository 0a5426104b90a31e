"""What messages, help and pages advise has to be there: commands, options, fields, extras."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

from command import complaint
from segloop.choice.plan import known_constants
from segloop.cli import app
from segloop.common.files import write_whole
from segloop.errors import OutputError
from segloop.line.masking import PROPOSING
from segloop.prepare.work import writing

ROOT = Path(__file__).resolve().parents[1]
SRC = ROOT / "src" / "segloop"
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "examples/README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
COMMANDS = typer.main.get_command(app).commands
OPTIONS = {
    name: {"--help", *(option for one in command.params for option in (*one.opts, *one.secondary_opts))}
    for name, command in COMMANDS.items()
}
EVERY_OPTION = {"--version"}.union(*OPTIONS.values())
KNOWN = known_constants()
NESTED = [own for own in KNOWN.values() if isinstance(own, dict)]
FIELDS = {*KNOWN, *(name for own in NESTED for name in own), *PROPOSING, "field", "tau", "share"}  # three of examples
ROOMS = {  # who runs the code of a room, where not every command does
    "jobs.py": ["segment"],
    "evaluation": ["evaluate", "tune"],
    "report": ["report", "evaluate"],  # it says how to make the runs that it wants
    "inspection": ["inspect"],
    "prepare": ["prepare"],
}
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
QUOTED = re.compile(r"`([^`]+)`")
CALLED = re.compile(r"(?:^|[`:] ?|\brun |\buse |\bor |\bwith |\.venv/bin/)segloop ([a-z][\w-]*)")
VERBS = {"does", "never", "opens", "reads", "writes", "wrote", "says", "is"}  # "... or segloop never opens it"


def constants(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, text) of every string that is no docstring, `{}` for what is filled in."""
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            skipped.add(id(node.body[0].value))
        if isinstance(node, ast.JoinedStr):
            skipped |= {id(part) for part in node.values}
            yield node.lineno, "".join(p.value if isinstance(p, ast.Constant) else "{}" for p in node.values)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield node.lineno, node.value


def wrong(text: str, commands: list[str]) -> Iterator[str]:
    """What a message advises that is not there; `commands` are those that may say it."""
    named = [name for name in CALLED.findall(text) if name not in VERBS]
    yield from (f"segloop {name}" for name in named if name not in COMMANDS)
    asked = [*commands, *(name for name in named if name in COMMANDS)]
    allowed = set().union(*(OPTIONS[name] for name in asked)) if asked else EVERY_OPTION
    ours = QUOTED.sub(lambda quoted: quoted[0] if quoted[1].startswith(("segloop", "--")) else "", text)
    yield from (option for option in OPTION.findall(ours) if option not in allowed)
    fields = re.findall(r"--set (\w+)=", text)
    yield from (f"--set {field}=" for field in fields if field not in FIELDS)


def extras() -> set[str]:
    lines = (ROOT / "pyproject.toml").read_text().partition("[project.optional-dependencies]")[2].splitlines()
    return {line.split(" = ")[0] for line in lines if re.match(r"\w+ = \[", line)}


@pytest.mark.parametrize("path", sorted(SRC.rglob("*.py")), ids=lambda path: path.relative_to(SRC).as_posix())
def test_messages_advise_what_is_there(path):
    room = path.relative_to(SRC).parts[0]
    told = list(constants(ast.parse(path.read_text(encoding="utf-8"))))
    commands = ROOMS.get(room, [])
    if room == "commands" and path.stem in COMMANDS:
        named = [name for name in COMMANDS if any(f"segloop {name}" in text for _, text in told)]
        commands = [path.stem, *named, *ROOMS.get(path.stem, [])]
    for line, text in told:
        found = list(wrong(text, commands))
        assert not found, f"{path.name}:{line} advises {', '.join(found)}: {text}"
        assert set(re.findall(r"segloop\[(\w+)\]", text)) <= extras()


def test_the_test_sees_what_it_should():
    assert list(wrong("give its photos or use `segloop serve`", [])) == ["segloop serve"]
    assert list(wrong("choose another --folder", [])) == ["--folder"]
    assert list(wrong("choose another --out", ["scenes"])) == ["--out"]
    assert list(wrong("`segloop scenes DIR --count 3 --offline`", [])) == ["--offline"]
    assert list(wrong("run `hf download X --local-dir DIR` or --set stridee=3", [])) == ["--set stridee="]
    assert list(wrong("it brings code, which segloop never runs; add --batch", [])) == []
    assert {"prepare", "xlsx", "dev"} <= extras()


def commands_of(page: str) -> Iterator[str]:
    """Command lines of a page, in blocks or between backticks, without what is a comment."""
    page = page.replace("\\\n", " ")
    for line in [*QUOTED.findall(page), *re.findall(r"^(\S*segloop .*)$", page, re.MULTILINE)]:
        if re.match(r"(\.venv/bin/)?segloop [a-z]+( |$)", line):
            yield line


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_pages_show_commands_that_parse(path):
    page = path.read_text(encoding="utf-8")
    for line in commands_of(page):
        _, name, *arguments = shlex.split(line, comments=True)
        assert name in COMMANDS, line
        if arguments:
            COMMANDS[name].make_context(name, arguments)
    prose = re.sub(r"^```.*?^```", "", page, flags=re.MULTILINE | re.DOTALL)
    for quoted in QUOTED.findall(prose):
        if quoted.startswith("--"):
            assert not list(wrong(f"`{quoted}`", [])), quoted
    assert set(re.findall(r"segloop\[(\w+)\]", page)) <= extras()


def test_pages_are_read():
    assert sum(len(list(commands_of(page.read_text(encoding="utf-8")))) for page in PAGES) >= 12


# what only a run shows -----------------------------------------------------------------------------------------


def test_places_that_cannot_be_written_to(segloop, tmp_path):
    """Neither command has --out."""
    (tmp_path / "file").write_text("")
    told = complaint(segloop("scenes", "file/drawn", "--count", 1))
    assert "cannot write" in told and "--out" not in told and "choose another folder" in told
    with pytest.raises(OutputError) as caught, writing():
        write_whole(tmp_path / "file" / "val.txt", b"")
    assert "--out" not in str(caught.value) and "allow writing there" in str(caught.value)

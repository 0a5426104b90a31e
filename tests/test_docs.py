"""README and docs: every block is run, with local models for those of the hub; what cannot be is read and counted."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import typer.main
from PIL import Image

from segloop.cli import app
from test_examples import clip
from test_geo import AT, scene
from trees import make

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"(?:<!-- ([\w-]+) -->\n)?```(\w+)\n(.*?)```", re.DOTALL)
MARKS = {"needs-network", "needs-cluster", "needs-gpu", "serves"}
HUB = "openai/clip-vit-base-patch16"
COMMANDS = typer.main.get_command(app).commands
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
OPENS_A_CLIP = {"segment", "label", "inspect", "evaluate", "experts", "bank", "export"}


def blocks(*languages: str) -> list[tuple[str, str, str]]:
    """(mark or "", "page:line", text) of each block in these languages."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in BLOCK.finditer(text):
            mark, language, body = match.groups()
            if language in languages:
                line = text.count("\n", 0, match.start(3))
                found.append((mark or "", f"{page.name}:{line}", body))
    return found


def lines_of(body: str) -> list[str]:
    """Commands of a block, without remarks; a backslash goes on."""
    joined = body.replace("\\\n", " ")
    return [line.split("  #")[0].strip() for line in joined.splitlines() if line.strip() and line[0] != "#"]


BASH, PYTHON = blocks("bash", "sh"), blocks("python")


@pytest.fixture
def here(tmp_path, photos, drawn, monkeypatch) -> Path:
    """A folder with everything that the pages speak of."""
    for name in ("photo.jpg", "street.jpg", "photos/a.jpg", "photos/b.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(photos / "street.jpg", tmp_path / name)
    (tmp_path / "words.txt").write_text("road\nsky\n")
    (tmp_path / "frames").symlink_to(tmp_path / "photos")
    (tmp_path / "mine").symlink_to(drawn)
    (tmp_path / "idea.py").symlink_to(ROOT / "examples/idea.py")
    clip(tmp_path / "clip.mp4")
    scene(
        tmp_path / "scene.tif",
        np.asarray(Image.open(photos / "street.jpg").convert("RGB")),
        crs="EPSG:32633",
        transform=AT,
    )
    make(tmp_path / "DIR/VOCdevkit/VOC2012", "voc21", ["a", "b"])
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "benchmarks").symlink_to(ROOT / "benchmarks")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def known(line: str) -> list[str]:
    """The words of a command line that is right as far as it can be read."""
    words = shlex.split(line)
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), line
        return []
    if words[0].endswith("python") and words[1].endswith(".py"):
        assert (ROOT / words[1]).is_file(), line
        return []
    if Path(words[0]).name != "segloop":
        return []
    command = COMMANDS[words[1]]
    options = {option for one in command.params for option in (*one.opts, *one.secondary_opts)}
    assert {word for word in words if word.startswith("--")} <= options | {"--help"}, line
    return words[1:]


@pytest.mark.parametrize("mark, place, body", BASH, ids=[place for _, place, _ in BASH])
def test_commands(here, segloop, toy_clip, mark, place, body):
    for line in lines_of(body):
        words = known(line)
        if mark or not words:
            continue
        if "--clip" not in words and words[0] in OPENS_A_CLIP:
            words += ["--clip", str(toy_clip)]
        result = segloop(*words)
        assert result.exit_code == 0, (line, result.output)


@pytest.mark.parametrize("mark, place, body", PYTHON, ids=[place for _, place, _ in PYTHON])
def test_python(here, toy_clip, mark, place, body):
    code = compile(body.replace(HUB, str(toy_clip)), place, "exec")
    if mark:
        return
    values = torch.randn(1, 2, 9, 4, generator=torch.Generator().manual_seed(0))
    given = {"mix": lambda values: values, "values": values, "readout": lambda mixed: mixed.transpose(1, 2).flatten(2)}
    exec(code, given)


def test_the_attention_of_the_pages_is_the_example():
    (shown,) = (body for _, place, body in PYTHON if place.startswith("methods.md") and "# idea.py" in body)
    example = (ROOT / "examples/idea.py").read_text()
    assert example.endswith(shown.removeprefix("# idea.py\n"))


def test_marks_are_known_and_counted():
    marks = [mark for mark, _, _ in (*BASH, *PYTHON) if mark]
    assert set(marks) <= MARKS
    assert len(BASH) + len(PYTHON) - len(marks) > 10
    told = {mark: marks.count(mark) for mark in sorted(set(marks))}
    print(f"{len(BASH) + len(PYTHON) - len(marks)} blocks run, read only: {told}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if not re.match(r"[a-z]+:", target) and not target.startswith("#"):
            place = target.partition("#")[0]
            assert (page.parent / place).exists(), target
            if page.parent.name == "docs":
                assert not place.startswith(".."), "the site holds docs/ only"


@pytest.mark.parametrize("ending, code", [("", 0), ("\n[x](nowhere.md)\n", 1)])
def test_the_site_is_built_strictly(tmp_path, ending, code):
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    with open(tmp_path / "docs/faq.md", "a", encoding="utf-8") as stream:
        stream.write(ending)
    command = [sys.executable, "-m", "zensical", "build", "--strict"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stdout + done.stderr
    if not code:
        page = (tmp_path / "site/index.html").read_text()
        assert not re.search(r'(src|href)="https?://(?!zensical)', page), "a page asks nobody else for anything"


def test_files_of_the_formulas_are_there():
    named = re.findall(r"`((?:src/segloop/)?\w+/\w+\.py)`", (ROOT / "docs/how-it-works.md").read_text())
    assert len(named) > 10
    for name in named:
        assert (ROOT / "src/segloop" / name.removeprefix("src/segloop/")).is_file(), name


def test_every_page_is_in_the_menu():
    menu = (ROOT / "mkdocs.yml").read_text()
    for page in PAGES[1:]:
        assert f": {page.name}\n" in menu, page.name


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150

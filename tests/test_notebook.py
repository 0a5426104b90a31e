"""The walkthrough: its cells run, and what is stored is what its source says."""

import json
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "examples" / "walkthrough.ipynb"
SYMBOLS = (
    "X",
    "q_j",
    "A_j",
    "Z = A V",
    "l = 20",
    "u = 35",
    "P_i",
    "K_{ij}",
    "s_{ij}",
    "keep",
    "A^+",
    "A^*",
    "S_1",
    "M",
    "H",
)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def tool() -> dict:
    return runpy.run_path(str(ROOT / "tools" / "notebook.py"))


@pytest.fixture(scope="module")
def stored() -> dict:
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))


def test_every_cell_runs_and_shows_what_is_stored(tool, stored, monkeypatch):
    monkeypatch.chdir(NOTEBOOK.parent)
    code = [cell for cell in stored["cells"] if cell["cell_type"] == "code"]
    outputs = list(tool["run"](tool["stored_cells"]({"cells": code})))
    for cell, shown in zip(code, outputs, strict=True):
        assert kinds(shown) == kinds(cell["outputs"]), cell["id"]
    pictures = sum("image/png" in kind for shown in outputs for kind in kinds(shown))
    assert pictures >= 12


def kinds(outputs: list[dict]) -> list[list[str]]:
    return [sorted(output.get("data", {output["output_type"]: None})) for output in outputs]


def test_the_stored_cells_are_those_of_the_source(tool, stored):
    source = tool["SOURCE"].read_text(encoding="utf-8")
    assert tool["stored_cells"](stored) == tool["cells_of"](source), "run python tools/notebook.py"


def test_the_notebook_holds_nothing_of_the_machine_it_was_made_on(stored):
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert str(ROOT) not in text
    assert str(Path.home()) + "/" not in text
    without_pictures = re.sub(r'"image/png": "[^"]*"', "", text)
    assert not re.search(r"(/(home|root|tmp|work|usr|Users)/|[A-Z]:\\\\|/site-packages|https?://)", without_pictures)
    assert set(stored["metadata"]) == {"kernelspec", "language_info"}
    assert all(cell["metadata"] == {} for cell in stored["cells"])


def test_the_notebook_is_small_and_whole(stored):
    assert NOTEBOOK.stat().st_size < 700_000
    assert (stored["nbformat"], stored["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in stored["cells"]]
    assert len(set(ids)) == len(ids)
    code = [cell for cell in stored["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert not any(output["output_type"] == "error" for cell in code for output in cell["outputs"])
    assert sum("same(" in "".join(cell["source"]) for cell in code) >= 8


def test_the_text_names_the_symbols_of_the_papers(stored):
    text = "".join("".join(cell["source"]) for cell in stored["cells"] if cell["cell_type"] == "markdown")
    assert [symbol for symbol in SYMBOLS if symbol not in text] == []


def test_a_file_in_percent_format_becomes_cells(tool):
    source = '"""About the file."""\n\n# %% [markdown]\n# # Title\n#\n# Text\n\n# %%\nx = 2\nx\n\n\n# %%\nprint(x)\n'
    cells = tool["cells_of"](source)
    assert cells == [("markdown", "# Title\n\nText"), ("code", "x = 2\nx"), ("code", "print(x)")]
    text, number, line = tool["run"](cells)
    assert text == []
    assert [output["data"] for output in number] == [{"text/plain": ["2"]}]
    assert [output["text"] for output in line] == [["2\n"]]
    notebook = tool["assemble"](cells, [text, number, line])
    assert [cell.get("execution_count") for cell in notebook["cells"]] == [None, 1, 2]


def test_an_error_in_a_cell_is_not_swallowed(tool):
    with pytest.raises(ZeroDivisionError):
        list(tool["run"](tool["cells_of"]("# %%\n1 / 0\n")))

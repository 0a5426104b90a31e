"""Run the walkthrough's cells and store them with what they show: tools/walkthrough.py -> examples/walkthrough.ipynb.

    python tools/notebook.py

Needs no Jupyter. The notebook holds no times, no paths and no run numbers of a machine: the same cells and libraries
give the same bytes.
"""

import ast
import base64
import io
import json
import os
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "tools" / "walkthrough.py"
NOTEBOOK = ROOT / "examples" / "walkthrough.ipynb"
MARK = "# %%"  # starts a cell; what comes before the first is the file's own docstring


class Cell(NamedTuple):
    """One cell: "markdown" or "code", and its text."""

    kind: str
    text: str


def cells_of(source: str) -> list[Cell]:
    """The cells of a file in percent format; text cells are comments there."""
    cells = []
    for part in f"\n{source}".split(f"\n{MARK}")[1:]:
        heading, _, body = part.partition("\n")
        text = "[markdown]" in heading
        lines = [line.removeprefix("#").removeprefix(" ") if text else line for line in body.strip().splitlines()]
        cells.append(Cell("markdown" if text else "code", "\n".join(lines)))
    return cells


def stored_cells(notebook: dict[str, Any]) -> list[Cell]:
    """The cells of a notebook that has been read."""
    return [Cell(cell["cell_type"], "".join(cell["source"])) for cell in notebook["cells"]]


def run(cells: list[Cell]) -> Iterator[list[dict[str, Any]]]:
    """Run the code cells in one fresh namespace and give each cell's outputs, as Jupyter stores them.

    A cell's error is raised as it is; its traceback names the code cell by number.
    """
    namespace: dict[str, Any] = {"__name__": "__main__"}
    count = 0
    for cell in cells:
        if cell.kind == "markdown":
            yield []
            continue
        count += 1
        printed = io.StringIO()
        with redirect_stdout(printed):
            value = _evaluate(cell.text, f"code cell {count}", namespace)
        yield [*_stream(printed.getvalue()), *_result(value, count)]


def _evaluate(code: str, name: str, namespace: dict[str, Any]) -> Any:
    """Run a cell; the value of its last line, if that is an expression."""
    tree = ast.parse(code, name)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, name, "exec"), namespace)
    return eval(compile(ast.Expression(last.value), name, "eval"), namespace) if last else None


def _stream(text: str) -> list[dict[str, Any]]:
    return [{"name": "stdout", "output_type": "stream", "text": _lines(text)}] if text else []


def _result(value: Any, count: int) -> list[dict[str, Any]]:
    if value is None:
        return []
    data: dict[str, Any] = {"text/plain": [repr(value)]}
    if hasattr(value, "_repr_png_"):
        png = io.BytesIO()
        value.save(png, "PNG", optimize=True)
        data = {"image/png": base64.b64encode(png.getvalue()).decode(), "text/plain": ["<picture>"]}
    return [{"data": data, "execution_count": count, "metadata": {}, "output_type": "execute_result"}]


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def assemble(cells: list[Cell], outputs: list[list[dict[str, Any]]]) -> dict[str, Any]:
    """The notebook as nbformat 4.5 has it."""
    stored, count = [], 0
    for number, (cell, shown) in enumerate(zip(cells, outputs, strict=True), start=1):
        entry = {"cell_type": cell.kind, "id": f"cell-{number:02d}", "metadata": {}, "source": _lines(cell.text)}
        if cell.kind == "code":
            count += 1
            entry |= {"execution_count": count, "outputs": shown}
        stored.append(entry)
    metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return {"cells": stored, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def main() -> None:
    """Run everything on one thread, so that sums have one order, and write the notebook."""
    import torch

    from segloop.common.files import write_whole

    torch.set_num_threads(1)
    cells = cells_of(SOURCE.read_text(encoding="utf-8"))
    os.chdir(NOTEBOOK.parent)
    text = json.dumps(assemble(cells, list(run(cells))), indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    write_whole(NOTEBOOK, text.encode())
    print(f"{NOTEBOOK.relative_to(ROOT)}: {len(cells)} cells, {len(text) / 1000:.0f} kB")


if __name__ == "__main__":
    main()

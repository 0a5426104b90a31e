"""Reports as tables of LaTeX, to be read by `\\input`: what a paper needs, nothing of its layout."""

import re
from collections.abc import Iterable

from ..common.visible import visible
from .cells import Cell, Column, Report, Table, letter, text

HEAD = "% written by segloop report: \\input it below \\usepackage{booktabs}\n"
SIGNS = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "Δ": r"$\Delta$",
    "→": r"$\rightarrow$",
}


def latex(report: Report) -> str:
    """All tables as floats, each with its title as caption; sentences above, footnotes below.

    Labels begin with the file's name, so that several reports go into one paper: `\\ref{tab:voc-runs}` of voc.tex.
    """
    mark = re.sub(r"[^A-Za-z0-9]+", "-", report.file or report.title).strip("-") or "report"
    return HEAD + "".join(f"\n{_table(made, mark)}" for made in report.tables)


def _table(made: Table, mark: str) -> str:
    sides = "".join("l" if column.kind == "text" else "r" for column in made.columns)
    lines = [
        r"\begin{table}",
        f"  \\caption{{{escaped(made.title)}}}",
        f"  \\label{{tab:{mark}-{made.name}}}",
        r"  \centering",
        *(f"  {escaped(words)}\\par" for words in made.lead),
        f"  \\begin{{tabular}}{{{sides}}}",
        r"    \toprule",
        _row(escaped(column.name) for column in made.columns),
        r"    \midrule",
        *(_row(map(_cell, row, made.columns)) for row in made.rows),
        r"    \bottomrule",
        r"  \end{tabular}",
        *(f"  \\par {{\\footnotesize ({letter(mark)}) {escaped(note)}}}" for mark, note in enumerate(made.notes)),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _row(cells: Iterable[str]) -> str:
    return f"    {' & '.join(cells)} \\\\"


def _cell(cell: Cell, column: Column) -> str:
    """A value with its interval, a minus as one, and its footnotes raised."""
    shown = escaped(text(cell, column))
    if column.kind != "text" and not isinstance(cell.value, str):
        shown = "--" if cell.absent else shown.replace("-", "$-$")
    marks = ",".join(letter(mark) for mark in cell.marks)
    return shown + (f"$^{{{marks}}}$" if marks else "")


def escaped(words: str) -> str:
    """Text that LaTeX prints as it is: names may hold any sign."""
    return "".join(SIGNS.get(sign, sign) for sign in visible(" ".join(words.split())))

"""Reports as files: every format says the same, and nothing a name holds can break one."""

import csv
import io
import json
import re
import sys
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import pytest
from openpyxl import load_workbook
from PIL import Image

from command import complaint, done
from records import edit, write_run
from segloop.common.sheets import cell_text
from segloop.errors import OptionError
from segloop.report import export
from segloop.report.bars import bar
from segloop.report.build import Wanted, build
from segloop.report.cells import Cell, Column, Gallery, Notes, Picture, Report, Strip, flat, letter, number, table, text
from segloop.report.latex import latex
from segloop.report.markdown import escaped
from segloop.report.page import page
from segloop.report.runs import find_runs
from segloop.scenes.draw import CLASSES, write_scenes

ODD = ["a|b", "=1+1", "<script>alert(1)</script>", "*star*_x_ `tick`", 'quo"te, comma', "zwölf\u2028 名"]


class Page(HTMLParser):
    """Tables of a page as lists of rows of (data-value, shown text, bars)."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[list]]] = {}
        self.tags: list[str] = []
        self.inside = ""
        self.feed(content)

    def handle_starttag(self, tag, attributes):
        known = dict(attributes)
        self.tags.append(tag)
        self.inside = tag if tag in ("span", "small", "button") else self.inside
        if tag == "table":
            self.rows = self.tables[known["data-name"]] = []
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append([known.get("data-value"), "", 0])
        elif tag == "svg":
            self.rows[-1][-1][2] += 1

    def handle_endtag(self, tag):
        self.inside = "" if tag == self.inside else self.inside

    def handle_data(self, data):
        if self.inside:
            self.rows[-1][-1][1] += (" " if self.inside == "small" else "") + data


@pytest.fixture
def two_runs(tmp_path: Path) -> Path:
    """A host and its +FSA run over seven images with odd names, in classes with odd names."""
    names = [*ODD, "plain"]
    maps = [([[0, 1, 2, 3, 4, 5]], [[0, 1, 2, 3, 4, kind % 6]]) for kind in range(7)]
    host = {"names": names, "classes": ODD, "limit": 7}
    write_run(tmp_path / "runs" / "host", maps=maps, **host)
    write_run(tmp_path / "runs" / "fed", maps=maps[1:] + maps[:1], method="fsa", **host)
    return tmp_path / "runs"


@pytest.fixture
def made(two_runs: Path) -> Report:
    return build(find_runs([two_runs]), Wanted(published=True, intervals=True))


def sheet_rows(content: bytes, name: str, header: list[str]) -> list[list]:
    sheet = load_workbook(io.BytesIO(content))[name]
    rows = [list(row[: len(header)]) for row in sheet.iter_rows(values_only=True)]
    return rows[: next(place for place, row in enumerate(rows) if not any(value is not None for value in row))]


def as_text(value) -> str:
    return "" if value is None else str(value)


def in_sheet(value):
    """A value as openpyxl keeps it: numbers in 16 digits, nothing for an empty text."""
    return pytest.approx(value, rel=1e-14) if isinstance(value, float) else None if value == "" else value


# all formats -----------------------------------------------------------------------------------------------------


def test_csv_workbook_json_and_page_hold_the_same_numbers(made):
    book, whole, html = export.workbook(made), export.json_object(made), Page(page(made))
    for one in made.tables:
        header, rows = flat(one)
        lines = list(csv.reader(io.StringIO(export.csv_table(one))))
        assert lines == [header, *([as_text(cell_text(value)) for value in row] for row in rows)]
        assert sheet_rows(book, one.name, header) == [header, *(list(map(in_sheet, row)) for row in rows)]
        assert [list(row.values()) for row in whole["tables"][one.name]["rows"]] == rows
        values = [[as_text(None if cell.absent else cell.value) for cell in row] for row in one.rows]
        assert [[cell[0] for cell in row] for row in html.tables[one.name][1:]] == values


def test_markdown_and_page_show_the_same_words(made):
    html = Page(page(made))
    shown = export.markdown(made).splitlines()
    for one in made.tables:
        words = [[text(cell, column) for cell, column in zip(row, one.columns, strict=True)] for row in one.rows]
        assert [[cell[1] for cell in row] for row in html.tables[one.name][1:]] == words
        start = shown.index(f"## {escaped(one.title)}")
        lines = [line for line in shown[start + 1 :] if line.startswith("|")][2 : 2 + len(words)]
        found = [re.split(r"(?<!\\) \| ", line[2:-2]) for line in lines]
        marks = [[f" ({','.join(map(letter, cell.marks))})" if cell.marks else "" for cell in row] for row in one.rows]
        plain = [[re.sub(r"\\(.)", r"\1", cell.strip()) for cell in row] for row in found]
        assert plain == [
            [" ".join(cell.split()) + mark for cell, mark in zip(*row, strict=True)]
            for row in zip(words, marks, strict=True)
        ]


def test_the_same_report_has_the_same_bytes(made, monkeypatch):
    before = {form: export.files(made, form, Path(f"r.{form}")) for form in export.FORMATS}
    import openpyxl.writer.excel as writer

    class Later(writer.datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2031, 5, 6, tzinfo=tz)

    monkeypatch.setattr(writer.datetime, "datetime", Later)
    assert {form: export.files(made, form, Path(f"r.{form}")) for form in export.FORMATS} == before


# each of them ----------------------------------------------------------------------------------------------------


def test_markdown_lines_up_as_plain_text(two_runs):
    runs = find_runs([two_runs])
    lines = export.markdown(Report("", build(runs, Wanted()).tables[:1])).splitlines()
    assert lines[0] == "## mIoU in percent"
    table_lines = [line for line in lines if line.startswith("|")]
    assert len({len(line) for line in table_lines}) == 1
    assert table_lines[1].startswith("| ----------- | -------- | ---")
    assert lines[-1] == "- (a) limited to 7 images"


def test_marks_stand_behind_numbers_and_notes_below():
    notes = Notes()
    cell = notes.mark(Cell(61.44, 60.0, 62.5), "limited", "failed")
    one = table(
        "t", "Title", [Column("V21", "percent", interval=True)], [[cell], [notes.mark(Cell(), "failed")]], (), notes
    )
    lines = export.markdown(Report("", (one,))).splitlines()
    assert (
        lines[4:]
        == ["| 61.4 [60.0, 62.5] (a,b) |", "|                   - (b) |", "", "- (a) limited", "- (b) failed", ""][:-1]
    )


def test_csv_of_several_tables_begins_with_the_first_and_parts_the_others(made):
    first, *others = export.csv_blocks(made).split("\n\n# ")
    assert next(csv.reader(io.StringIO(first)))[:2] == ["method", "backbone"]
    assert [block.splitlines()[0] for block in others] == [one.title for one in made.tables[1:]]


def test_csv_files_are_one_a_table(made):
    written = export.files(made, "csv", Path("out/report.csv"))
    assert [path.name for path in written] == [
        "report.csv",
        *(f"report.{one.name}.csv" for one in made.tables[1:]),
    ]
    for content in written.values():
        widths = {len(row) for row in csv.reader(io.StringIO(content.decode()))}
        assert len(widths) == 1


def test_json_is_strict_and_in_one_line(made):
    words = export.json_text(made)
    assert "\n" not in words
    tables = json.loads(words, parse_constant=pytest.fail)["tables"]
    assert tables["comparison"]["sentences"][0].startswith("SCLIP + FSA minus SCLIP")
    assert tables["table"]["rows"][0]["notes"] == "V21: limited to 7 images"


def test_numbers_of_a_workbook_are_numbers_and_names_no_formulas(made):
    book = load_workbook(io.BytesIO(export.workbook(made)))
    assert book.sheetnames == ["table", "runs", "published", "peers", "comparison", "confusions", "images"]
    names = [cell for cell in book["comparison"]["A"] if cell.value == "=1+1"]
    assert names and all(cell.data_type == "s" for cell in names)
    score = book["table"]["C2"]
    assert (score.data_type, score.number_format) == ("n", "0.0")
    assert book["table"]["C4"].number_format == "0.0"
    assert book["table"].freeze_panes == "A2"


def test_a_missing_openpyxl_is_said_in_a_sentence(made, monkeypatch):
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(OptionError, match=r'pip install "segloop\[xlsx\]"'):
        export.workbook(made)


def test_a_page_needs_nothing_else_and_runs_nothing_of_a_name(made):
    content = page(made)
    found = Page(content)
    assert found.tags.count("script") == 1 and "link" not in found.tags
    assert not re.search(r"""(src|href)=["'](?!data:)""", content)
    assert "prefers-color-scheme: dark" in content
    assert "&lt;script&gt;alert(1)" in content


def test_latex_holds_the_same_words_between_its_signs(made):
    words = latex(made)
    blocks = words.split(r"\begin{table}")[1:]
    opened, closed = (len(re.findall(rf"(?<!\\){sign}", words)) for sign in "{}")
    assert len(blocks) == len(made.tables) and opened == closed
    for one, block in zip(made.tables, blocks, strict=True):
        sides = re.search(r"\\begin{tabular}{([lr]+)}", block)[1]
        assert sides == "".join("l" if column.kind == "text" else "r" for column in one.columns)
        rows = [line for line in block.splitlines() if line.startswith("    ") and line.endswith(r" \\")]
        assert len(rows) == 1 + len(one.rows) and {len(re.split(r"(?<!\\)&", row)) for row in rows} == {len(sides)}
    assert r"$\Delta$" in words and r"\textless{}script\textgreater{}" in words and "{=1+1" not in words
    assert "Δ" not in words and r"*star*\_x\_ `tick`" in words


def test_latex_of_a_cell():
    notes = Notes()
    cell = notes.mark(Cell(-1.44, -2.0, 0.5), "limited, by 5 %")
    one = table(
        "t", "50 % & more", [Column("a_b"), Column("Δ", "points", interval=True)], [["~x", cell], ["y", Cell()]]
    )
    lines = latex(Report("", (replace(one, notes=notes.words()),))).splitlines()
    assert lines[0].startswith("% written by segloop report")
    assert r"  \caption{50 \% \& more}" in lines and r"  \begin{tabular}{lr}" in lines
    assert r"    a\_b & $\Delta$ \\" in lines and r"    y & -- \\" in lines
    assert r"    \textasciitilde{}x & $-$1.4 [$-$2.0, +0.5]$^{a}$ \\" in lines
    assert r"  \par {\footnotesize (a) limited, by 5 \%}" in lines


def test_a_name_that_ends_in_tex_is_latex(segloop, two_runs, tmp_path):
    path = tmp_path / "t.tex"
    assert segloop("report", two_runs, "--out", path).exit_code == 0
    assert path.read_text(encoding="utf-8").startswith("% written by segloop report")
    assert segloop("report", two_runs, "--out", path).exit_code == 0  # an earlier one is replaced
    printed = segloop("report", two_runs, "--format", "tex").stdout
    assert r"\label{tab:2-runs-table}" in printed
    assert printed.replace("tab:2-runs-", "tab:t-") == path.read_text(encoding="utf-8")  # unique in a paper
    path.write_text("my own")
    assert "is not what segloop wrote" in complaint(segloop("report", two_runs, "--out", path))


def test_a_missing_openpyxl_is_said_before_the_work(segloop, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    assert "segloop[xlsx]" in complaint(segloop("report", "nowhere", "--out", tmp_path / "r.xlsx"))
    assert "segloop[xlsx]" in " ".join(segloop("report", "--help").stdout.split())


def test_bars_are_drawn_where_there_is_a_value(made):
    rows = Page(page(made)).tables["comparison"][1:]
    assert all(sum(cell[2] for cell in row) == 1 for row in rows)


def test_a_bar_reaches_from_zero_to_its_value_with_its_interval():
    column = Column("difference", "points", interval=True, bar=True)
    drawn = bar(Cell(5.0, 2.0, 10.0), column, (-10.0, 10.0))
    assert (drawn.kind, drawn.start, drawn.length, drawn.zero) == ("gain", 60.0, 29.0, 60.0)  # 2 to 118 pixels
    assert drawn.whisker == (71.6, 118.0) and drawn.spoken == "difference +5.0 [+2.0, +10.0]"
    assert bar(Cell(-5.0), column, (-10.0, 10.0)).kind == "loss"
    assert bar(Cell(-5.0, 1.0, float("nan")), column, (-10.0, 10.0)).whisker is None
    assert bar(Cell(), column, (-10.0, 10.0)) is None and bar(Cell("five"), column, (-10.0, 10.0)) is None


def test_a_page_shows_every_name_as_it_is():
    bad = "<img src=x onerror=alert(1)>"
    notes = Notes()
    cells = [notes.mark(Cell(bad), bad), Cell(5.0, 2.0, 10.0)]
    made = table("t", bad, [Column(bad), Column(f"{bad} %", "percent", interval=True, bar=True)], [cells], [bad], notes)
    strip = Strip(bad, (Picture(bad, b"jpeg", (4, 3)),), ((bad, "#102030"),))
    content = page(Report(bad, (made,), (Gallery(bad, (strip,)),)))
    found = Page(content)
    assert found.tags.count("img") == 1 and "<img src=x" not in content
    assert found.tables["t"][1][0][:2] == [bad, bad]
    assert content.count("&lt;img src=x onerror=alert(1)&gt;") == 17


# numbers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "value", "shown"),
    [
        ("percent", 61.45, "61.5"),
        ("percent", float("nan"), "-"),
        ("percent", -0.04, "0.0"),
        ("points", 0.04, "0.0"),
        ("points", -0.04, "0.0"),
        ("points", 1.26, "+1.3"),
        ("points", -1.26, "-1.3"),
        ("count", 1449, "1449"),
        ("p", 0.0019, "0.002"),
        ("p", 0.0004, "< 0.001"),
    ],
)
def test_numbers_are_printed_by_their_kind(kind, value, shown):
    assert number(value, Column("", kind)) == shown


def test_footnotes_have_letters():
    assert [letter(mark) for mark in (0, 25, 26, 27, 52)] == ["a", "z", "aa", "ab", "ba"]


# the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def report(segloop):
    """`segloop report`, inside tmp_path."""
    return partial(segloop, "report")


def test_a_report_goes_to_stdout(report, two_runs):
    result = done(report("runs"))
    assert result.stdout.startswith("## mIoU in percent\n\n| method")
    assert "SCLIP + FSA minus SCLIP" in result.stdout


def test_a_report_goes_into_a_file_of_the_format_it_ends_in(report, two_runs, tmp_path):
    for ending, start in (("md", b"## mIoU"), ("csv", b"method,"), ("xlsx", b"PK"), ("html", b"<!doctype html>")):
        result = report("runs", "--out", f"out/r.{ending}")
        assert result.exit_code == 0 and result.stdout == ""
        assert f"wrote out/r.{ending}" in result.stderr
        assert (tmp_path / "out" / f"r.{ending}").read_bytes().startswith(start)


def test_json_is_one_object_on_stdout_beside_any_file(report, two_runs, tmp_path):
    result = report("runs", "--json", "--out", "r.html")
    assert set(json.loads(result.stdout)) == {"title", "tables"}
    assert (tmp_path / "r.html").is_file()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--format", "pdf"], "there is no format 'pdf'"),
        (["--format", "xlsx"], "a workbook cannot be printed; add --out FILE.xlsx"),
        (["--pictures", "2"], "pictures do not go into md; add --format html"),
        (["--against", "others"], "unknown --against 'others'; the only choice is published"),
        (["--out", "runs"], "runs is a folder; name a file in it, such as runs/report.md"),
        (
            ["--out", "r.pdf"],
            "reports are not written as .pdf (r.pdf); end --out in one of .md, .csv, .tex, .xlsx, .html",
        ),
        (["--format", "html", "--out", "a/r.csv"], "(a/r.csv); name it a/r.html, or leave --format html out"),
        (
            ["--format", "csv", "--out", "r.tsv"],
            "--format csv came with a file that ends in .tsv (r.tsv); name it r.csv.",
        ),
        (["--metric", "boundary_mIoU"], "no run has counted boundary_mIoU; evaluate with --boundary"),
        (["--metric", "MIOU"], "did you mean 'mIoU'"),
        (["--metric", "mIou"], "unknown metric 'mIou'; did you mean 'mIoU'"),
        (["--format", "html", "--pictures", "1"], "has no label maps to draw; evaluate again with --save-maps"),
    ],
)
def test_wishes_that_cannot_be_met_are_told(report, two_runs, options, said):
    assert said in complaint(report("runs", *options))


@pytest.mark.parametrize("name", ["r", "r.MD", "r.markdown", "r.txt", "r.htm", "r.HTML", "r.csv"])
def test_every_usual_name_of_a_format_is_taken(report, two_runs, tmp_path, name):
    assert report("runs", "--out", name).exit_code == 0
    start = (tmp_path / name).read_text()[:9]
    assert start == ("<!doctype" if "htm" in name.lower() else "method,ba" if name == "r.csv" else "## mIoU i")


def test_a_metric_that_some_runs_lack_is_told(report, two_runs, tmp_path):
    place = next(tmp_path.glob("runs/**/run.json")).parent
    metrics = json.loads((place / "run.json").read_text())["metrics"]
    edit(place, metrics={**metrics, "boundary_mIoU": 30.0})
    told = report("runs", "--metric", "boundary_mIoU")
    assert told.exit_code == 0 and "1 of 2 runs have not counted boundary_mIoU" in told.stderr
    assert "evaluate with --boundary" in told.stderr


def test_a_place_without_runs_is_told(report, tmp_path):
    assert "no run record (run.json) in ." in complaint(report("."))


# pictures --------------------------------------------------------------------------------------------------------


@pytest.fixture
def drawn_run(tmp_path: Path) -> Path:
    """A run over two scenes whose second prediction is all grass, with its maps."""
    import numpy as np

    write_scenes(tmp_path / "scenes", 2, seed=1, size=(48, 64))
    names = ["000000", "000001"]
    truths = [np.array(Image.open(tmp_path / "scenes" / "masks" / f"{name}.png")) for name in names]
    maps = [(truths[0], truths[0]), (truths[1], np.zeros_like(truths[1]))]
    folder = write_run(
        tmp_path / "run", maps=maps, names=names, classes=CLASSES, dataset="scenes", vocabulary=None, model="tiny"
    )
    (folder / "maps").mkdir()
    for name, (_, prediction) in zip(names, maps, strict=True):
        Image.fromarray(prediction).save(folder / "maps" / f"{name}.png")
    return folder


def test_pictures_show_photo_truth_and_prediction(report, drawn_run, tmp_path):
    result = report("run", "--pictures", "1", "--data", "scenes", "--out", "r.html")
    assert result.exit_code == 0, result.stderr
    content = (tmp_path / "r.html").read_text()
    assert content.count('<img src="data:image/jpeg;base64,') == 6
    assert re.findall(r"<h3>(\w+): (\d+)", content) == [("best", "000000"), ("worst", "000001")]
    assert content.count("<figcaption>truth</figcaption>") == 2
    assert 'width="420" height="315"' in content  # every picture of a strip has one size


def test_photos_are_where_they_were_when_the_run_was_made(report, drawn_run, tmp_path):
    complaint(report("run", "--pictures", "1", "--format", "html"))
    log = {"starts": [{"data": [str(tmp_path / "scenes")]}]}
    (drawn_run / "log.json").write_text(json.dumps(log))
    done(report("run", "--pictures", "1", "--format", "html"))


def test_pictures_of_another_folder_are_refused(report, drawn_run, tmp_path):
    write_scenes(tmp_path / "others", 1, seed=2, size=(48, 64))
    said = complaint(report("run", "--pictures", "2", "--data", "others", "--format", "html"))
    assert "image 000001 of the run is not in" in said


def test_pictures_of_another_size_are_refused(report, drawn_run, tmp_path):
    write_scenes(tmp_path / "larger", 2, seed=1, size=(60, 64))
    said = complaint(report("run", "--pictures", "1", "--data", "larger", "--format", "html"))
    assert "prediction of 000000 is 64x48, the photo another size" in said

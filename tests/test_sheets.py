"""Names in spreadsheets: shown and never computed, and read back as they were."""

import csv
import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from command import done
from records import write_run
from segloop.common.sheets import armed, cell_name, cell_text, csv_rows, csv_text
from segloop.report.runs import class_lines, find_runs, read_images

COMPUTED = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    " =1",
    "＝1",
    "＋1",
    "－1",
    "＠x",
    "﹦1",
    "\u00a0=1",
    "-",
]
SHOWN = ["", "grass", "a=1", "1-2", "'quoted'", "0", "|x", "a\tb", "a\r\nb", 'a "b", c', "Straße", "'", "''"]


@pytest.mark.parametrize("text", COMPUTED)
def test_text_that_would_be_computed_is_quoted(text):
    assert armed(text) and cell_text(text) == "'" + text and cell_name(cell_text(text)) == text


@pytest.mark.parametrize("text", SHOWN)
def test_other_text_stays_as_it_is(text):
    assert not armed(text) and cell_text(text) == text == cell_name(text)


def test_numbers_stay_numbers():
    assert csv_text([["-1", -1, -2.5, None]]) == "'-1,-1,-2.5,\n"


def test_bytes_of_harmless_tables_are_what_they_were():
    rows = [["class", "name"], [0, "grass"], [1, 'a "b", c'], [2, "a\nb"]]
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    assert csv_text(rows) == stream.getvalue()


@given(st.lists(st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), max_size=8)))
def test_names_come_back(names):
    prefixed = [prefix + name for name in names for prefix in ("", "=", "'", "'=", "''-", "\r", "'\t")]
    table = csv_text([["number", "name"], *([number, name] for number, name in enumerate(prefixed))])
    assert [row["name"] for row in csv_rows(io.StringIO(table, newline=""))] == prefixed
    assert not any(armed(row[1]) for row in csv.reader(io.StringIO(table, newline="")))


def test_records_and_reports(segloop, tmp_path):
    classes, images = COMPUTED, [*COMPUTED, *SHOWN[1:]]
    labels = np.arange(len(COMPUTED) + 1)[None] % len(COMPUTED)
    write_run(tmp_path / "run", classes=classes, names=images, maps=[(labels, labels)] * len(images))
    write_run(tmp_path / "=other", classes=classes, names=images, maps=[(labels, labels[:, ::-1])] * len(images))
    (run,) = find_runs([tmp_path / "run"])
    assert [row["name"] for row in class_lines(run)] == classes
    assert [row.image for row in read_images(run)] == images
    for written in ("run/classes.csv", "run/images.csv"):
        assert_shown((tmp_path / written).read_bytes().decode())
    done(segloop("report", "run", "=other", "--images", 40, "--json"))
    for name in ("run", "=other"):
        assert segloop("report", name, "--images", 40, "--out", f"{name}.csv").exit_code == 0
    for path in tmp_path.glob("*.csv"):
        assert_shown(path.read_bytes().decode())
    table = (tmp_path / "run.classes.csv").read_bytes().decode()
    names = {row["class"] for row in csv_rows(io.StringIO(table, newline=""))}
    assert names == set(classes)
    told = json.loads(done(segloop("report", "run", "--json")).stdout)["tables"]["classes"]["rows"]
    assert [row["class"] for row in told] == classes


def assert_shown(text: str) -> None:
    cells = [cell for row in csv.reader(io.StringIO(text, newline="")) for cell in row]
    assert not [cell for cell in cells if armed(cell) and not is_number(cell)]


def is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def test_workbooks(segloop, tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    labels = np.arange(len(COMPUTED))[None]
    write_run(tmp_path / "run", classes=COMPUTED, maps=[(labels, labels)])
    assert segloop("report", "run", "--out", "report.xlsx").exit_code == 0
    sheet = openpyxl.load_workbook(tmp_path / "report.xlsx")["classes"]
    cells = [sheet.cell(line, 1) for line in range(2, 2 + len(COMPUTED))]
    assert all(cell.data_type == "s" and cell.quotePrefix for cell in cells)
    assert [cell.value.replace("\n", "\r") for cell in cells] == [text.replace("\n", "\r") for text in COMPUTED]  # XML

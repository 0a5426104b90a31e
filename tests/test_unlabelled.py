"""Classes that are predicted and in no label: their IoU of 0 counts, and everyone is told."""

import numpy as np
import pytest

from records import write_run
from segloop.report.build import Wanted, build
from segloop.report.runs import find_runs
from segloop.scoring.metrics import Counts
from segloop.scoring.unlabelled import sentence, unlabelled

NAMES = ("sky", "road", "tree")


def areas(*rows):
    return Counts(*(np.array(row, np.int64) for row in rows))


def test_nothing_is_said_where_every_predicted_class_is_labelled():
    assert unlabelled(areas([3, 0, 0], [3, 0, 0], [3, 1, 0]), NAMES) is None
    assert unlabelled(areas([0, 0, 0], [3, 1, 0], [0, 0, 0]), NAMES) is None


def test_one_class():
    found = unlabelled(areas([3, 0, 0], [3, 0, 1], [4, 0, 0]), NAMES)
    assert (found.names, found.pixels, found.labelled, found.mIoU) == (("tree",), 1, 1, 75.0)
    expected = "tree is in no label, and 1 pixel predicted so make its IoU 0: over the 1 of the labels mIoU is 75.00"
    assert sentence(found) == expected.replace("pixel predicted so make", "pixel predicted so makes")


def test_many_classes_are_named_in_part():
    names = [f"c{number}" for number in range(6)]
    found = unlabelled(areas([2] + [0] * 5, [2] + [2] * 5, [12] + [0] * 5), names)
    assert sentence(found).startswith(
        "5 classes (c1, c2, c3 ...) are in no label, and 10 pixels predicted so make their"
    )


@pytest.fixture
def pair(tmp_path):
    """The second is better wherever there is a label, and has one pixel of tree, which none has."""
    labels = [[0, 0, 1, 1], [0, 0, 1, 1]]
    first = [[0, 0, 1, 1], [0, 1, 1, 1]]
    second = [[0, 0, 1, 1], [0, 0, 1, 2]]
    write_run(tmp_path / "first", maps=[(labels, first)] * 7)
    write_run(tmp_path / "second", maps=[(labels, second)] * 7, method="naclip")
    return find_runs([tmp_path])


def test_a_report_says_it_at_the_number(pair):
    (table, runs, *_) = build(pair, Wanted()).tables
    for made in (table, runs):
        assert any("tree is in no label, and 7 pixels predicted so make its IoU 0" in note for note in made.notes)
    place = next(number for number, note in enumerate(table.notes) if "tree" in note)
    assert [row[0].value for row in table.rows if any(place in cell.marks for cell in row)] == ["NACLIP"]


def test_a_comparison_gives_the_gain_over_the_classes_of_the_labels(pair):
    lead = build(pair, Wanted(compare=True)).tables[2].lead
    told = next(one for one in lead if "is in no label" in one)
    assert told.startswith("NACLIP: tree")
    assert any(one.startswith("mIoU -") and "it cannot" not in one for one in lead)
    (over,) = [one for one in lead if one.startswith("mIoU of the 2 classes in labels +")]
    assert "the gain is real" in over

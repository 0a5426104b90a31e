"""Values of label maps that no class has: counted, named in a sentence, kept in records."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from segloop.evaluation.record import COUNTED, LAYOUT, finish
from segloop.labels.read import COLOUR, VOID, WIDE_VOID, LabelRule, Span
from segloop.labels.strays import KEPT, LISTED, Uncounted, gather, nothing, record, remedy, sentence, uncounted
from segloop.runs.folder import locked
from segloop.runs.record import Inputs, open_record
from segloop.scoring import tally
from segloop.scoring.metrics import confusion

maps = arrays.arrays(np.uint8, (5, 7), elements=st.sampled_from([0, 1, 2, 3, 7, 80, 254, 255]))


def facts(stored, classes, rule=None, key="folder"):
    """The facts of one label map."""
    rule = rule or LabelRule()
    labels = rule.apply(np.array(stored))
    areas = [int((labels == place).sum()) for place in range(classes)]
    return gather([uncounted(labels, classes, rule)], areas, key, rule.wide, bool(rule.values))


@given(maps, st.integers(1, 4), st.booleans())
def test_every_pixel_is_of_a_class_void_or_stray(stored, classes, zero):
    rule = LabelRule(reduce_zero=zero)
    labels = rule.apply(stored)
    found = uncounted(labels, classes, rule)
    counted = confusion(np.zeros_like(labels), labels, classes).counts().label.sum()
    assert found.counted == counted and found.pixels == stored.size
    assert found.void == (stored == VOID).sum() + (zero * (stored == 0)).sum()
    expected = {value: int((stored == value).sum()) for value in np.unique(stored).tolist()}
    expected = {v: n for v, n in expected.items() if v != VOID and not (zero and v == 0) and v - zero >= classes}
    assert dict(zip(found.values, found.areas, strict=True)) == expected  # under the numbers that the file stores


def test_colours_and_listed_values_are_named_as_stored():
    rule = LabelRule(colours=((0x008000, 0),))
    found = uncounted(rule.paint(np.array([[0x008000, 0x0000C8, 0x0000C8]])), 1, rule)
    assert (found.values, found.areas) == ((COLOUR + 0x0000C8,), (2,))
    rule = LabelRule(values=(Span(1, 2, 0, paired=True),))
    found = uncounted(rule.apply(np.array([[0, 1, 2, 7, 255]])), 2, rule)
    assert (found.values, found.void) == ((0, 7), 1)


def test_wide_maps_have_their_own_void():
    rule = LabelRule(void=(WIDE_VOID,), wide=True)
    found = uncounted(rule.apply(np.array([[255, 300, 65535]])), 300, rule)
    assert (found.counted, found.void, found.values) == (1, 1, (300,))


def test_an_image_keeps_its_most_frequent_values():
    stored = np.repeat(np.arange(10, 1010), 2).reshape(40, 50)
    found = uncounted(LabelRule(void=(WIDE_VOID,), wide=True).apply(stored), 10, LabelRule(wide=True))
    assert len(found.values) == KEPT and found.rest == 2000 - 2 * KEPT and found.stray == 2000
    made = record(gather([found, found], [0] * 10, "folder"))
    assert made["stray"] == 4000 and len(made["values"]) == LISTED and made["others"] == 4000 - 4 * LISTED


@pytest.mark.parametrize(
    ("stored", "classes", "words"),
    [
        ([[0, 0, 255]], 2, "add --mask-values 0=0,255=1"),
        ([[0, 0, 255]], 3, "add --mask-values 0=0,255=CLASS"),
        ([[1, 2, 3, 4]], 4, "count classes from 1: add --mask-values 1-4=0-3"),
        ([[1, 2, 3, 4, 255]], 4, "count classes from 1: add --mask-values 1-4=0-3"),
        ([[0, 1, 2, 3, 4]], 4, "if 0 means no class here, add --mask-values 1-4=0-3; else the class list lacks one"),
        ([[1, 2, 3]], 4, "if the label maps count classes from 1, add --mask-values 1-4=0-3"),
        (
            [[1, 2, 3, 255]],
            4,
            "no pixel of the label maps is of the first class; if the label maps count classes from 1",
        ),
        ([[0, 80, 160, 240]], 4, "in their order, add --mask-values 0=0,80=1,160=2,240=3"),
        ([[0, 160, 240]], 4, "in their order, add --mask-values 0=0,80=1,160=2,240=3"),
        ([[0, 85, 170, 255]], 4, "in their order, add --mask-values 0=0,85=1,170=2,255=3"),
        ([[0, 128, 255]], 3, "in their order, add --mask-values 0=0,128=1,255=2"),
        ([[7, 8, 11]], 3, "in their order, add --mask-values 7=0,8=1,11=2"),
        ([[0, 100]], 2, "in their order, add --mask-values 0=0,100=1"),
        ([list(range(40))], 2, "numbers of objects, or edges that resizing has smoothed"),
        ([[0, 1, 2, 9]], 3, "the class list names 3, 0 to 2: name the others too, or say what they are"),
        ([[0, 1, 2, 9]], 3, "--mask-values 0-2=0-2,9=void"),
    ],
)
def test_usual_kinds_have_their_remedy(stored, classes, words):
    said = sentence(record(facts(stored, classes)))
    assert words in said and "\n" not in said


@pytest.mark.parametrize(
    ("stored", "classes"),
    [([[0, 1, 255]], 2), ([[0, 1, 1]], 3), ([[1, 255]], 2), ([[1, 3]], 4), ([[0, 0]], 2), ([[1, 3, 255]], 4)],
)
def test_usual_maps_have_nothing_to_say(stored, classes):
    made = record(facts(stored, classes))
    assert made["stray"] == 0 and made["remedy"] is None and sentence(made) is None and sentence({}) is None


@pytest.mark.parametrize(
    ("values", "told"),
    [("0=0,1=1", True), ("0-1=0-1", True), ("0=0,1=1,255=void", False), ("0=0,200-255=1", False), ("#008000=0", False)],
)
def test_a_table_that_leaves_255_out_is_told(tmp_path, values, told):
    labels = np.array([[0, 0, 255]])
    counted = tally.Scored("a", (1, 3), confusion(labels, labels, 2), uncounted=uncounted(labels, 2, LabelRule()))
    settings = {"dataset": "folder", "masks": {"values": values}}
    with locked(tmp_path / "run", LAYOUT):
        begun = open_record(tmp_path / "run", Inputs(settings, ["a", "b"], ["a", "b"], (0, 1)), COUNTED)
        begun.keep(0, [counted])
        said = sentence(finish(begun, 1)["labels"])
    assert bool(said) == told
    for words in ("255, which is void, is on 33", "add 255=CLASS to --mask-values, else 255=void") if told else ():
        assert words in said


def test_a_background_that_was_drawn_as_void_is_not_missed(tmp_path):
    """Nor is the first class of maps in colours, which are no numbers."""
    for names, masks, told in (
        (["sky", "road", "tree"], None, True),
        (["background", "road", "tree"], None, False),
        (["Background | rest", "road", "tree"], None, False),
        (["sky", "road", "tree"], {"table_hash": "0"}, False),
    ):
        labels = np.array([[1, 2, 255]])
        counted = tally.Scored("a", (1, 3), confusion(labels, labels, 3), uncounted=uncounted(labels, 3, LabelRule()))
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        settings = {"dataset": "folder", **({"masks": masks} if masks else {})}
        with locked(folder, LAYOUT):
            begun = open_record(folder, Inputs(settings, names, names, (0, 1, 2)), COUNTED)
            begun.keep(0, [counted])
            assert bool(finish(begun, 1)["labels"]["remedy"]) == told


def test_the_remedy_is_what_was_meant():
    """Where a remedy names the option, the option gives the classes."""
    from segloop.data.masks import value_table

    for stored in ([[1, 2, 3, 4]], [[0, 80, 160, 240]], [[0, 85, 170, 255]], [[10, 20, 30, 40]]):
        text = remedy(facts(stored, 4)).rpartition("--mask-values ")[2]
        spans, _ = value_table(text, ["a", "b", "c", "d"], LabelRule())
        assert LabelRule(values=spans).apply(np.array(stored)).tolist() == [[0, 1, 2, 3]]


def test_tables_and_benchmarks_have_other_remedies():
    rule = LabelRule(values=(Span(1, 2, 0, paired=True),))
    assert "leaves them out: say what they are, as in 0=void" in remedy(facts([[0, 1, 2]], 2, rule))
    assert remedy(facts([[0, 255]], 2, key="cityscapes")) is None
    assert remedy(facts([[0, 80]], 19, key="cityscapes")) == "check that these are the label maps of this data set"
    painted = gather([Uncounted(4, values=(COLOUR + 200,), areas=(4,))], [0, 0], "folder")
    assert "`grass: 0,128,0`, or `void: R,G,B`" in remedy(painted)


def test_the_sentence_has_the_share_and_what_becomes_of_it():
    made = record(facts([[0, 0, 0, 0, 0, 0, 80, 80, 160, 240]], 4))
    assert sentence(made).startswith(
        "values that no class has are on 40.0 % of the label maps' pixels (80 on 20.0 %, 160 on 10.0 %, 240 on 10.0 %) "
        "and are left out of every score; if these"
    )
    assert "count as errors of what is predicted there" in sentence(made, "reference")
    few = np.zeros((100, 100), np.uint8)
    few[0, 0] = 9
    assert "(9 on < 0.1 %)" in sentence(record(facts(few, 4)))


def test_the_error_where_nothing_counts():
    assert "10 on 50.0 %" in nothing(facts([[10, 20]], 2)).what
    assert nothing(facts([[10, 20]], 2)).remedy.endswith("add --mask-values 10=0,20=1")
    assert nothing(facts([[255, 255]], 2)).what == ("no pixel of the label maps counts: 100.0 % of them are void (255)")
    none = nothing(gather([], [0, 0], "folder"), ("a.png is damaged", "copy it again"))
    assert (none.what, none.remedy) == ("no image can be counted: a.png is damaged", "copy it again")


@given(st.lists(maps, max_size=4))
def test_shards_keep_what_was_left_out(found):
    scored = [
        tally.Scored(str(n), one.shape, confusion(one, one, 3), None, uncounted(LabelRule().apply(one), 3, LabelRule()))
        for n, one in enumerate(found)
    ]
    again = tally.decode_shard(tally.encode_shard(scored, ""), 3, "")
    assert [one.uncounted for one in again] == [one.uncounted for one in scored]


def test_shards_from_before_open_too():
    one = tally.Scored("a", (1, 1), confusion(np.zeros((1, 1), int), np.zeros((1, 1), int), 2))
    (again,) = tally.decode_shard(tally.encode_shard([one], ""), 2, "")
    assert again.uncounted is None and again.name == "a"


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (1, "the first class; if the label maps count classes from 1, add --mask-values 1-6=0-5"),
        (-1, "if 0 of the label maps is the second class of the list, add --mask-values 0-4=1-5"),
        (0, None),
    ],
)
def test_maps_that_count_from_another_class_are_told_though_most_classes_are_nowhere(step, words):
    """Few maps, so that neither the first class nor a value of none gives them away: predictions do."""
    true = np.repeat([[2, 3, 4, 3]], 5, 0)
    stored, predicted = true + step, true.copy()
    predicted[0] = 0
    counted = [tally.Scored("one", true.shape, confusion(predicted, stored, 6))]
    areas = tally.stacked(counted, 6).total().label.tolist()
    moved = tally.moved(counted)
    assert moved == -step
    said = sentence(record(gather([uncounted(stored, 6, LabelRule())], areas, "folder", moved=moved)))
    assert said is None if words is None else words in said


def test_maps_that_agree_with_nothing_are_not_called_moved():
    label, prediction = np.arange(12).reshape(3, 4) % 4, np.zeros((3, 4), int)
    assert tally.moved([tally.Scored("one", label.shape, confusion(prediction, label, 4))]) == 0
    assert tally.moved([]) == 0

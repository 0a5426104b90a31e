"""Two runs over the same images, and what lies behind one number: confusions and single images."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from command import complaint
from records import edit, write_run
from segloop.errors import Notice, OptionError
from segloop.report.build import Wanted, build
from segloop.report.cells import text
from segloop.report.compare import comparison, sentence
from segloop.report.details import (
    Confusions,
    class_table,
    extremes,
    image_table,
    moved,
    moved_table,
    pair_table,
    paired_pairs,
)
from segloop.report.runs import Run, find_runs, load_run
from segloop.scoring.bootstrap import Difference, Interval

RIGHT, HALF, WRONG = [[0, 0, 1, 1]], [[0, 0, 1, 0]], [[1, 1, 0, 0]]
TRUTH = [[0, 0, 1, 1]]


def run_of(folder: Path, *predictions, **settings) -> Run:
    return load_run(write_run(folder, maps=[(TRUTH, prediction) for prediction in predictions], **settings))


def values(made) -> list[list[str]]:
    return [[text(cell, column) for cell, column in zip(row, made.columns, strict=True)] for row in made.rows]


# is the gain real? -----------------------------------------------------------------------------------------------


def gain(value: float, low: float, high: float, p: float) -> Difference:
    return Difference(value, Interval(low, high), p)


@pytest.mark.parametrize(
    ("difference", "images", "said"),
    [
        (
            gain(1.31, 0.42, 2.09, 0.004),
            1449,
            "mIoU +1.3 (95 % interval +0.4 to +2.1, p 0.004): the gain is real on these images.",
        ),
        (
            gain(-1.31, -2.09, -0.42, 0.004),
            1449,
            "mIoU -1.3 (95 % interval -2.1 to -0.4, p 0.004): the loss is real on these images.",
        ),
        (
            gain(-0.3, -0.6, -0.0042, 0.04),
            1449,
            "mIoU -0.300 (95 % interval -0.600 to -0.004, p 0.040): the loss is real on these images.",
        ),
        (
            gain(0.31, -0.22, 0.79, 0.31),
            1449,
            "mIoU +0.3 (95 % interval -0.2 to +0.8, p 0.310): it cannot be told from chance.",
        ),
        (
            gain(5.0, 4.0, 6.0, 0.0625),
            5,
            "mIoU +5.0 (95 % interval +4.0 to +6.0, p 0.062): it cannot be told from chance, 5 images are too few.",
        ),
        (gain(0.0, 0.0, 0.0, 1.0), 40, "mIoU 0.0 (95 % interval 0.0 to 0.0, p 1.000): there is no difference."),
        (gain(math.nan, math.nan, math.nan, math.nan), 40, "mIoU: one of the runs does not define it."),
    ],
)
def test_the_answer_is_a_sentence(difference, images, said):
    assert sentence("mIoU", difference, images) == said


@given(st.floats(-50, 50), st.floats(0.01, 20), st.floats(0.002, 1), st.integers(1, 5000))
def test_a_gain_is_real_only_beside_zero_and_beyond_chance(value, width, p, images):
    said = sentence("mIoU", gain(value, value - width, value + width, p), images)
    assert ("is real" in said) == (abs(value) > width and p < 0.05 and images >= 6)
    assert ("loss" in said) == ("is real" in said and value < 0)


def test_differences_are_the_seconds_minus_the_firsts(tmp_path):
    first = run_of(tmp_path / "a", *[HALF] * 8)
    second = run_of(tmp_path / "b", *[RIGHT] * 8, method="clearclip")
    made = comparison(first, second)
    assert [column.name for column in made.columns[1:3]] == ["SCLIP: IoU", "ClearCLIP: IoU"]
    sky, road, tree = values(made)
    # sky: 16 of 24 pixels, road: 8 of 16; then everything; tree is nowhere
    assert sky == ["sky", "66.7", "100.0", "+33.3 [+33.3, +33.3]", sky[4], "gain", "8"]
    assert road[1:4] == ["50.0", "100.0", "+50.0 [+50.0, +50.0]"]
    assert tree == ["tree", "-", "-", "-", "-", "", "0"]
    assert made.columns[-1].name == "images" and "that hold it in their labels or in the map of either" in made.lead[4]
    assert made.lead[0] == "ClearCLIP minus SCLIP, on the same 8 images of voc21:"
    assert re.fullmatch(r"mIoU \+41\.7 \(.*\): the gain is real on these images\.", made.lead[1])
    assert made.lead[4].startswith("IoU rose for 2 and fell for 0 of 2 classes")
    assert made.lead[5] == "Settings that differ: method sclip -> clearclip."


def test_the_same_run_twice_has_no_difference(tmp_path):
    first, second = (run_of(tmp_path / name, RIGHT, HALF, WRONG) for name in "ab")
    made = comparison(first, second)
    assert made.lead[0].startswith("b minus a, ")
    assert made.lead[1].endswith("there is no difference.")
    assert made.lead[-1] == "Settings that differ: none."


def test_a_class_that_few_images_hold_has_no_verdict(tmp_path):
    """Its interval has no width: every draw that holds it holds the same image."""
    few = [([[0, 0, 1, 1]], [[0, 0, 1, 0]])] * 9
    first = load_run(write_run(tmp_path / "a", maps=[*few, ([[2, 2]], [[2, 0]])]))
    second = load_run(write_run(tmp_path / "b", maps=[*few, ([[2, 2]], [[2, 2]])], stride=80))
    tree = values(comparison(first, second))[2]
    assert tree == ["tree", "50.0", "100.0", "+50.0", "1.000", "", "1"]


def test_images_in_another_order_are_the_same_images(tmp_path):
    first = run_of(tmp_path / "a", RIGHT, WRONG, names=["x", "y"])
    second = run_of(tmp_path / "b", WRONG, RIGHT, names=["y", "x"], method="clearclip")
    assert comparison(first, second).lead[1].endswith("there is no difference.")


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"names": ["image0", "other"]}, "images differ: 1 only in a (image1) and 1 only in b (other)"),
        ({"classes": ("sky", "road", "bush")}, "classes differ: 1 only in a (tree) and 1 only in b (bush)"),
        ({"classes": ("road", "sky", "tree")}, "classes differ: the same names in another order"),
        ({"dataset": "voc20"}, "a is of voc21, b of voc20"),
        ({"images_hash": "other"}, "images have the same names and different contents"),
    ],
)
def test_runs_that_are_no_pair_are_refused_saying_how(tmp_path, other, said):
    first, second = run_of(tmp_path / "a", RIGHT, HALF), run_of(tmp_path / "b", RIGHT, HALF, **other)
    with pytest.raises(OptionError, match=re.escape(said)):
        comparison(first, second)


def test_runs_against_other_labels_are_refused(tmp_path):
    first = run_of(tmp_path / "a", RIGHT)
    second = load_run(write_run(tmp_path / "b", maps=[([[0, 0, 0, 1]], RIGHT)]))
    with pytest.raises(OptionError, match=r"the labels of 1 of 1 images differ, such as image0"):
        comparison(first, second)


def test_labels_that_differ_by_their_void_say_so(tmp_path):
    truth = [[0, 255]]
    classes = [f"class {number}" for number in range(300)]
    first = load_run(write_run(tmp_path / "a", maps=[(truth, [[0, 1]])], classes=classes))
    second = load_run(write_run(tmp_path / "b", maps=[(truth, [[0, 1]])], classes=classes, void="reference"))
    with pytest.raises(OptionError, match=r"labels of 1 of 1 images differ \(void corrected and reference\)"):
        comparison(first, second)


# when there is a comparison --------------------------------------------------------------------------------------


def names(report) -> list[str]:
    return [made.name for made in report.tables]


def test_two_runs_of_one_data_set_are_compared_the_host_first(tmp_path):
    write_run(tmp_path / "a-fed", method="fsa")
    write_run(tmp_path / "b-host")
    made = build(find_runs([tmp_path]), Wanted())
    assert names(made) == ["table", "runs", "comparison"]
    assert made.tables[2].lead[0] == "SCLIP + FSA minus SCLIP, on the same 1 image of voc21:"


def test_two_runs_with_other_class_lists_have_tables_and_a_sentence(segloop, tmp_path):
    write_run(tmp_path / "runs" / "a")
    write_run(tmp_path / "runs" / "b", classes=("sky", "road", "bush"))
    with pytest.warns(Notice, match="classes differ.*the same classes.txt, or the same --names.*--no-compare"):
        made = build(find_runs([tmp_path / "runs"]), Wanted())
    assert "comparison" not in names(made) and "classes" in names(made)
    told = segloop("report", tmp_path / "runs")
    assert told.exit_code == 0 and "the two runs cannot be compared: their classes differ" in told.stderr
    assert segloop("report", tmp_path / "runs", "--no-compare").stderr == ""
    assert "one class list" in complaint(segloop("report", tmp_path / "runs", "--compare"))


def test_a_comparison_that_was_asked_for_keeps_the_order(tmp_path):
    fed, host = write_run(tmp_path / "a", method="fsa"), write_run(tmp_path / "b")
    made = build(find_runs([fed, host]), Wanted(compare=True))
    assert made.tables[2].lead[0].startswith("SCLIP minus SCLIP + FSA")


def test_no_comparison_of_two_data_sets_of_three_runs_or_where_none_is_wanted(tmp_path):
    folders = [
        write_run(tmp_path / name, dataset=key) for name, key in (("a", "voc21"), ("b", "voc20"), ("c", "voc21"))
    ]
    for chosen, compare in ((folders[:2], None), (folders, None), (folders[::2], False)):
        assert "comparison" not in names(build(find_runs(chosen), Wanted(compare=compare)))


def test_a_comparison_of_one_run_or_three_is_an_error(tmp_path):
    write_run(tmp_path / "a")
    with pytest.raises(OptionError, match="a comparison needs exactly two runs, 1 run came"):
        build(find_runs([tmp_path]), Wanted(compare=True))


def test_an_unfinished_run_is_not_compared(tmp_path):
    folders = write_run(tmp_path / "a"), write_run(tmp_path / "b", state="running")
    assert "comparison" not in names(build(find_runs(folders), Wanted()))
    with pytest.raises(OptionError, match="b is an unfinished run; run the same"):
        build(find_runs(folders), Wanted(compare=True))


def test_two_runs_over_other_images_end_in_a_refusal(tmp_path):
    folders = write_run(tmp_path / "a"), write_run(tmp_path / "b", names=["other"])
    with pytest.raises(OptionError, match="or add --no-compare for tables alone"):
        build(find_runs(folders), Wanted(compare=True))
    assert names(build(find_runs(folders), Wanted(compare=False)))[:2] == ["table", "runs"]


def test_details_of_many_runs_only_where_they_were_asked_for(tmp_path):
    for name in "abc":
        write_run(tmp_path / name, maps=[(TRUTH, HALF)])
    runs = find_runs([tmp_path])
    assert names(build(runs, Wanted())) == ["table", "runs"]
    made = build(runs, Wanted(pairs=1, images=1))
    assert names(made) == ["table", "runs", "confusions", "images"]
    assert [row[0].value for row in made.tables[2].rows] == ["a", "b", "c"]


# confusions ------------------------------------------------------------------------------------------------------


def test_the_largest_confusions_in_shares_of_label_and_of_errors(tmp_path):
    maps = [
        ([[0, 0, 0, 0], [1, 1, 2, 2]], [[0, 1, 1, 2], [1, 0, 2, 2]]),
        ([[0, 0, 1, 1]], [[1, 0, 1, 1]]),
    ]
    run = load_run(write_run(tmp_path / "a", maps=maps))
    # 5 errors: sky -> road 3 of 6 pixels in 2 images, sky -> tree 1 of 6, road -> sky 1 of 4
    assert values(pair_table([run], 3)) == [
        ["sky", "road", "50.0", "60.0", "3", "2"],
        ["sky", "tree", "16.7", "20.0", "1", "1"],
        ["road", "sky", "25.0", "20.0", "1", "1"],
    ]
    assert len(pair_table([run], 1).rows) == 1


def test_confusions_of_two_runs_stand_side_by_side(tmp_path):
    first = load_run(write_run(tmp_path / "a", maps=[([[0, 0, 1, 1]], [[1, 1, 1, 1]])]))
    second = load_run(write_run(tmp_path / "b", maps=[([[0, 0, 1, 1]], [[0, 1, 2, 1]])], method="clearclip"))
    assert values(paired_pairs(first, second, ("A", "B"), 5)) == [
        ["sky", "road", "100.0", "50.0", "-50.0", "100.0", "50.0"],
        ["road", "tree", "0.0", "50.0", "+50.0", "0.0", "50.0"],
    ]


def test_pixels_outside_all_classes_are_no_errors_of_a_label(tmp_path):
    classes = [f"class {number}" for number in range(300)]
    maps = [([[65535, 0, 0]], [[1, 0, 1]])]
    run = load_run(write_run(tmp_path / "a", maps=maps, classes=classes, void="reference"))
    assert values(pair_table([run], 9)) == [["class 0", "class 1", "50.0", "100.0", "1", "1"]]


@given(st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_shares_of_errors_add_up_and_agree_with_counting_pixels(tmp_path_factory, images, seed):
    rng = np.random.default_rng(seed)
    maps = [tuple(rng.integers(0, 3, (2, 3, 4))) for _ in range(images)]
    run = load_run(write_run(tmp_path_factory.mktemp("run") / "a", maps=maps))
    found = Confusions(run)
    labels, predictions = (np.concatenate([one[side].ravel() for one in maps]) for side in (0, 1))
    for (label, prediction), pixels in found.pixels.items():
        assert pixels == ((labels == label) & (predictions == prediction)).sum()
    assert found.errors == (labels != predictions).sum()
    assert not found.pixels or sum(map(found.of_errors, found.pixels)) == pytest.approx(100)


# classes and images ----------------------------------------------------------------------------------------------


def test_classes_have_their_scores_and_areas(tmp_path):
    run = run_of(tmp_path / "a", HALF)
    sky, road, tree = values(class_table([run]))
    assert sky == ["sky", "66.7", "100.0", "2", "3"]  # one image has no interval
    assert road == ["road", "50.0", "50.0", "2", "1"]
    assert tree == ["tree", "-", "-", "0", "0"]


def test_the_best_and_the_worst_images_come_in_order_and_none_twice(tmp_path):
    run = run_of(tmp_path / "a", HALF, RIGHT, WRONG)
    found = [[row[0], row[1], row[2]] for row in values(image_table([run], 5))]
    assert found == [["best", "image1", "100.0"], ["best", "image0", "58.3"], ["worst", "image2", "0.0"]]
    best, worst = extremes(run, 1)
    assert [row.image for row in (*best, *worst)] == ["image1", "image2"]


def test_images_without_a_score_are_left_out(tmp_path):
    run = load_run(write_run(tmp_path / "a", maps=[([[255]], [[0]]), (TRUTH, RIGHT)]))
    assert [row[1] for row in values(image_table([run], 5))] == ["image1"]


def test_images_that_gained_and_lost_most(tmp_path):
    first = run_of(tmp_path / "a", HALF, RIGHT, WRONG, RIGHT)
    second = run_of(tmp_path / "b", RIGHT, HALF, RIGHT, RIGHT)
    assert values(moved_table(first, second, ("A", "B"), 5)) == [
        ["gained", "image2", "0.0", "100.0", "+100.0"],
        ["gained", "image0", "58.3", "100.0", "+41.7"],
        ["lost", "image1", "100.0", "58.3", "-41.7"],
    ]
    gained, lost = moved(first, second, 1)
    assert (len(gained), len(lost)) == (1, 1)


def test_images_and_counts_of_one_record_must_agree(tmp_path):
    run = run_of(tmp_path / "a", HALF, RIGHT)
    path = run.folder / "images.csv"
    path.write_text(path.read_text().replace("image1", "image7"))
    with pytest.raises(OptionError, match=r"images.csv is damaged \(its images are not those of counts.npz\)"):
        image_table([run], 1)


def test_classes_of_one_record_must_agree(tmp_path):
    folder = write_run(tmp_path / "a")
    edit(folder, classes=["sky", "road", "bush"])
    with pytest.raises(OptionError, match=r"classes.csv is damaged \(its classes are not those of run.json\)"):
        class_table([load_run(folder)])

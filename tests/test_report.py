"""Run records found and read, and the table of the papers made of them."""

import json
from pathlib import Path

import pytest

from records import EIGHT, edit, write_run
from segloop.common.records import constants_of
from segloop.errors import OptionError
from segloop.maps.refine import MAP_STEPS
from segloop.report import cells
from segloop.report.build import Wanted, build
from segloop.report.grouping import BY_DATASET, changes
from segloop.report.runs import find_runs, load_run, read_counts, read_images, read_pairs
from segloop.report.tables import paper_table, runs_table

HEAD = ["V21", "C60", "Obj", "V20", "C59", "Stf", "City", "ADE", "Avg"]


def shown(made: cells.Table) -> list[dict[str, str]]:
    """The rows as they are printed, by heading."""
    heads = [column.name for column in made.columns]
    printed = ([cells.text(cell, column) for cell, column in zip(row, made.columns, strict=True)] for row in made.rows)
    return [dict(zip(heads, row, strict=True)) for row in printed]


def notes_at(made: cells.Table, row: int, column: str) -> list[str]:
    """The footnotes of one cell."""
    place = [one.name for one in made.columns].index(column)
    return [made.notes[mark] for mark in made.rows[row][place].marks]


@pytest.fixture
def runs(tmp_path: Path):
    """Writes records below tmp_path, and reads all of them."""

    def write(name: str, *arguments, **settings) -> Path:
        return write_run(tmp_path / name, *arguments, **settings)

    write.all = lambda: find_runs([tmp_path])
    return write


# finding and reading ---------------------------------------------------------------------------------------------


def test_all_runs_below_a_folder_are_found_sorted_and_named_below_it(runs, tmp_path):
    for name in ("b/voc21", "a/sclip", "a/clip"):
        runs(name)
    assert [run.name for run in find_runs([tmp_path])] == ["a/clip", "a/sclip", "b/voc21"]


def test_a_run_is_its_folder_or_its_file_and_comes_once(runs, tmp_path):
    folder = runs("only")
    assert [run.name for run in find_runs([folder, folder / "run.json", tmp_path])] == ["only"]


def test_places_keep_the_order_they_were_given_in(runs, tmp_path):
    first, second = runs("b"), runs("a")
    assert [run.name for run in find_runs([first, second])] == ["b", "a"]


def test_a_folder_without_runs_and_one_that_is_not_there_are_told_apart(tmp_path):
    with pytest.raises(OptionError, match=r"no run record \(run.json\) in .*; give a folder that `segloop evaluate`"):
        find_runs([tmp_path])
    with pytest.raises(OptionError, match=r"there is no folder .*nowhere"):
        find_runs([tmp_path / "nowhere"])
    (tmp_path / "table.csv").write_text("a\n")
    with pytest.raises(
        OptionError, match=r"table.csv is a file, and no run; give the folder of a run, which holds run"
    ):
        find_runs([tmp_path / "table.csv"])


@pytest.mark.parametrize("content", ["", "{", "[]", "3", '{"format": 1}', '{"format": 1, "settings": {"dataset": 3}}'])
def test_a_damaged_run_json_is_named(runs, content):
    folder = runs("a")
    (folder / "run.json").write_text(content)
    with pytest.raises(OptionError, match=r"run\.json is damaged \(.+\); run the same `segloop evaluate` command"):
        load_run(folder)


def test_a_record_of_another_format_says_so(runs):
    folder = runs("a")
    edit(folder, format=2)
    with pytest.raises(OptionError, match="is of format 2, this segloop reads 1; use the segloop that wrote it"):
        load_run(folder)


@pytest.mark.parametrize("read", [read_counts, read_pairs])
@pytest.mark.parametrize("damage", ["cut", "empty", "gone", "text"])
def test_a_damaged_counts_file_is_named(runs, read, damage):
    run = load_run(runs("a"))
    path = run.folder / "counts.npz"
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "gone": b"", "text": b"no zip"}[damage])
    if damage == "gone":
        path.unlink()
    with pytest.raises(OptionError, match=r"counts\.npz is (damaged|missing)"):
        read(run)


def test_counts_of_another_number_of_images_are_damaged(runs):
    folder = runs("a")
    edit(folder, images=7)
    with pytest.raises(OptionError, match=r"counts.npz is damaged \(1 images in it, 7 in run.json\)"):
        read_counts(load_run(folder))


def test_a_damaged_images_file_is_named(runs):
    run = load_run(runs("a"))
    (run.folder / "images.csv").write_text("image,pixels\nx,many\n")
    with pytest.raises(OptionError, match=r"images\.csv is damaged"):
        read_images(run)


def test_an_unfinished_run_says_how_it_is_finished(runs):
    folder = runs("a", state="running")
    (folder / "log.json").write_text(json.dumps({"starts": [{"command": "segloop evaluate voc21 --data here"}]}))
    with pytest.raises(OptionError, match="is an unfinished run; run the same command again: segloop evaluate voc21"):
        build(runs.all(), Wanted())


# the table -------------------------------------------------------------------------------------------------------


def test_columns_stand_in_the_papers_order_with_others_after_the_average(runs):
    runs("a", 50.0)
    for key in ("scenes", "ade847", "camvid"):
        runs(key, 40.0, dataset=key)
    heads = [column.name for column in paper_table(runs.all()).columns]
    assert heads == ["method", "backbone", *HEAD, "A847", "CamVid", "scenes"]


def test_the_eight_are_left_out_where_no_run_is_of_them(runs):
    runs("a", 50.0, dataset="scenes")
    assert [column.name for column in paper_table(runs.all()).columns] == ["method", "backbone", "scenes"]


def test_the_average_needs_all_eight(runs):
    for number, key in enumerate(EIGHT[:-1]):
        runs(key, 30.0 + number, dataset=key)
    assert shown(paper_table(runs.all()))[0]["Avg"] == "-"
    runs("ade20k", 45.0, dataset="ade20k")
    (row,) = shown(paper_table(runs.all()))
    assert row["Avg"] == "34.5"  # (30 + 31 + 32 + 33 + 34 + 35 + 36 + 45) / 8
    assert [row[head] for head in HEAD[:3]] == ["30.0", "31.0", "32.0"]


def test_fsa_stands_below_its_host_and_the_difference_below_it(runs):
    runs("fed", 61.54, method="fsa", host="sclip")
    runs("host", 59.08)
    runs("other", 51.8, method="clearclip")
    made = paper_table(runs.all())
    assert [(row["method"], row["V21"]) for row in shown(made)] == [
        ("SCLIP", "59.1"),
        ("SCLIP + FSA", "61.5"),
        ("Δ", "+2.5"),
        ("ClearCLIP", "51.8"),
    ]
    assert made.rows[2][2].value == pytest.approx(2.46)  # of the whole numbers, not of the rounded ones
    assert shown(paper_table(runs.all(), digits=2))[2]["V21"] == "+2.46"


def test_the_average_gains_what_the_eight_gain(runs):
    for number, key in enumerate(EIGHT):
        runs(f"{key}/host", 40.0, dataset=key)
        runs(f"{key}/fed", 40.0 + number, dataset=key, method="fsa")
    assert [row["Avg"] for row in shown(paper_table(runs.all()))] == ["40.0", "43.5", "+3.5"]


def test_backbones_and_guides_have_rows_of_their_own(runs):
    runs("a", 61.0, method="proxyclip", vision="dino")
    runs("b", 60.0, method="proxyclip", vision="facebook/sam-vit-base")
    runs("c", 62.0, method="proxyclip", vision="dino", model="openai/clip-vit-large-patch14")
    runs("d", 63.0, method="proxyclip", vision="dino", model="mine")
    assert [(row["method"], row["backbone"]) for row in shown(paper_table(runs.all()))] == [
        ("ProxyCLIP (dino)", "ViT-B/16"),
        ("ProxyCLIP (sam)", "ViT-B/16"),
        ("ProxyCLIP (dino)", "ViT-L/14"),
        ("ProxyCLIP (dino)", "mine"),
    ]


def test_another_metric_takes_its_place(runs):
    runs("a", 50.0, maps=[([[0, 0, 1, 1]], [[0, 0, 1, 0]])])
    assert shown(paper_table(runs.all(), "aAcc"))[0]["V21"] == "75.0"
    assert shown(paper_table(runs.all(), "boundary_mIoU"))[0]["V21"] == "-"
    with pytest.raises(OptionError, match="unknown metric 'miou'; did you mean 'mIoU'"):
        build(runs.all(), Wanted(metric="miou"))


def test_folders_of_ones_own_are_counted_and_hashes_are_words(runs):
    for name, photo in (("a", "x"), ("b", "y"), ("c", "x")):
        runs(name, names=[photo], dataset="folder", model_hash=name)
    table = paper_table(runs.all())
    assert [column.name for column in table.columns][-2:] == ["folder 1", "folder 2"]
    assert [row["settings"] for row in shown(table)] == ["weights=a", "weights=b", "weights=c"]
    assert [row["data set"] for row in shown(runs_table(runs.all()))] == ["folder 1", "folder 2", "folder 1"]
    first, second, _ = runs.all()
    assert changes(first, second) == "other photos, other weights"


def test_intervals_stand_beside_the_numbers_on_demand(runs):
    edit(runs("a", 61.44), intervals={"mIoU": [60.08, 62.52]})
    assert shown(paper_table(runs.all(), intervals=True))[0]["V21"] == "61.4 [60.1, 62.5]"
    assert shown(paper_table(runs.all()))[0]["V21"] == "61.4"


# footnotes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "note"),
    [
        ({"limit": 20, "images_listed": 20}, "limited to 20 images"),
        ({"images_listed": 4}, "4 images here, 1449 in the data set"),
        ({"split": "train", "images_listed": 1464}, "split train"),
        ({"failed": 3}, "3 of 1452 images failed"),
    ],
)
def test_numbers_that_do_not_stand_for_the_data_set_have_a_footnote(runs, settings, note):
    runs("a", 50.0, **settings)
    assert note in notes_at(paper_table(runs.all()), 0, "V21")


@pytest.mark.parametrize("settings", [{}, {"split": "val"}, {"limit": 5000, "images_listed": 1449}])
def test_the_whole_published_split_has_none(runs, settings):
    runs("a", 50.0, **settings)
    assert paper_table(runs.all()).notes == ()


def test_an_unfinished_run_among_others_is_a_gap_with_a_footnote(runs):
    runs("a", 50.0)
    runs("b", dataset="voc20", state="running", images_listed=1449)
    made = paper_table(runs.all())
    assert shown(made)[0]["V20"] == "-"
    (note,) = notes_at(made, 0, "V20")
    assert note == "unfinished, 1449 images in all: run the same `segloop evaluate` command again"


def test_an_average_of_marked_numbers_is_marked(runs):
    for key in EIGHT:
        runs(key, 40.0, dataset=key, **({"limit": 10, "images_listed": 10} if key == "voc20" else {}))
    assert notes_at(paper_table(runs.all()), 0, "Avg") == ["the mean of numbers of which some have footnotes"]


def test_a_row_of_unlike_precision_says_so_at_its_average(runs):
    for key in EIGHT:
        runs(key, 40.0, dataset=key, dtype="bfloat16" if key == "ade20k" else "float32")
    assert notes_at(paper_table(runs.all()), 0, "Avg") == ["runs of this row differ in dtype bfloat16 and float32"]


def test_a_row_of_unlike_constants_of_its_method_says_so_at_its_average(runs):
    """No recipe chooses beta for a data set; the windows and the scale, it does."""
    for key in EIGHT:
        own = {"beta": 1.5, "stride": 56, "logit_scale": 50.0} if key == "ade20k" else {"beta": 1.2}
        runs(key, 40.0, dataset=key, method="proxyclip", vision="dino", **own)
    assert notes_at(paper_table(runs.all()), 0, "Avg") == ["runs of this row differ in beta 1.2 and 1.5"]


def test_steps_on_the_map_are_what_a_recipe_may_choose():
    for key, step in MAP_STEPS.items():  # LPOSS's pixel graph is the same for all data sets
        assert constants_of(step).keys() <= BY_DATASET if key == "pamr" else BY_DATASET.isdisjoint(constants_of(step))


def test_a_difference_between_other_images_is_not_made(runs):
    runs("host", 59.0)
    runs("fed", 61.0, method="fsa", names=["another"])
    made = paper_table(runs.all())
    assert shown(made)[2]["V21"] == "-"
    assert notes_at(made, 2, "V21") == ["not the same images as its host"]


def test_a_difference_that_is_not_feedback_alone_says_what_else(runs):
    runs("host", 38.1, dataset="cityscapes", method="proxyclip", vision="dino", stride=112)
    runs("fed", 38.8, dataset="cityscapes", method="fsa", host="proxyclip", vision="dino", stride=80)
    assert notes_at(paper_table(runs.all()), 2, "City") == ["+FSA differs from its host also in stride 112 -> 80"]


# two runs of one cell --------------------------------------------------------------------------------------------


def test_two_runs_of_one_cell_are_two_rows_told_apart(runs):
    runs("a", 60.0, stride=112)
    runs("b", 61.0, stride=80)
    runs("c", 70.0, dataset="voc20")
    rows = shown(paper_table(runs.all()))
    assert [(row["settings"], row["V21"], row["V20"]) for row in rows] == [
        ("", "-", "70.0"),
        ("stride=112", "60.0", "-"),
        ("stride=80", "61.0", "-"),
    ]


def test_what_is_one_for_all_data_sets_makes_whole_rows(runs):
    for key in EIGHT:
        for fidelity, score in (("default", 40.0), ("reference", 41.0)):
            runs(f"{key}/{fidelity}", score, dataset=key, fidelity=fidelity)
    rows = shown(paper_table(runs.all()))
    assert [(row["settings"], row["Avg"]) for row in rows] == [
        ("fidelity=default", "40.0"),
        ("fidelity=reference", "41.0"),
    ]


def test_runs_that_nothing_tells_apart_are_named_by_their_folders(runs):
    runs("monday", 60.0)
    runs("tuesday", 60.0)
    assert [row["settings"] for row in shown(paper_table(runs.all()))] == ["run=monday", "run=tuesday"]


def test_what_a_run_keeps_tells_it_from_none(runs):
    """As behind --from-scores, whose run keeps nothing."""
    runs("a", 60.0, keeps=["scores"])
    runs("b", 61.0, keeps=[], logit_scale=20.0)
    runs("c", 61.0, keeps=[], logit_scale=20.0, code={"mine.py": "01b37d9e00"})
    assert [row["settings"] for row in shown(paper_table(runs.all()))] == [
        "code of mine.py=01b37d9e",
        "code of mine.py=none, logit_scale=20",
        "code of mine.py=none, logit_scale=none",
    ]


@pytest.mark.parametrize(("end", "short"), [("a", True), ("/here" * 20, False)])
def test_long_values_are_shortened_where_that_tells_them_apart(runs, end, short):
    for name in "xy":
        runs(name, 60.0, teacher=f"/data/{'deep/' * 20}{name}{end}")
    cells = [row["settings"] for row in shown(paper_table(runs.all()))]
    assert len({*cells}) == 2 and all((len(cell) < 60) is short for cell in cells)


def test_constants_of_feedback_tell_runs_apart(runs):
    runs("host", 59.0)
    runs("a", 61.0, method="fsa", feedback={"lambda_": 3.0, "mass": 0.45})
    runs("b", 62.0, method="fsa", feedback={"lambda_": 4.5, "mass": 0.45})
    rows = shown(paper_table(runs.all()))
    assert [(row["method"], row["settings"], row["V21"]) for row in rows] == [
        ("SCLIP", "", "59.0"),
        ("SCLIP + FSA", "feedback.lambda_=3", "61.0"),
        ("Δ", "feedback.lambda_=3", "+2.0"),
        ("SCLIP + FSA", "feedback.lambda_=4.5", "62.0"),
        ("Δ", "feedback.lambda_=4.5", "+3.0"),
    ]


def test_of_several_host_rows_the_most_alike_is_taken(runs):
    runs("host/wide", 59.0, stride=112)
    runs("host/close", 60.0, stride=56)
    runs("fed", 61.0, method="fsa", stride=56)
    rows = shown(paper_table(runs.all()))
    assert rows[-1]["method"] == "Δ to SCLIP [stride=56]"
    assert rows[-1]["V21"] == "+1.0"


def test_two_folders_of_ones_own_are_two_columns(runs):
    runs("a", 60.0, dataset="folder", names=["beach"])
    runs("b", 61.0, dataset="folder", names=["forest"])
    heads = [column.name for column in paper_table(runs.all()).columns]
    assert len(heads) == 4 and all(head.startswith("folder ") for head in heads[2:])


# one line a run --------------------------------------------------------------------------------------------------


def test_every_run_names_its_recipe_and_its_class_list(runs):
    runs("a", 60.0, recipe="sclip/voc21")
    runs("b", 50.0, dataset="scenes", vocabulary=None, model="tiny")
    first, second = shown(runs_table(runs.all()))
    assert (first["recipe"], first["class list"], first["images"]) == ("sclip/voc21", "voc21/S", "1449")
    assert (second["recipe"], second["class list"], second["backbone"]) == ("-", "own", "tiny")


def test_with_intervals_a_difference_has_its_own_and_says_where_it_is_chance(tmp_path):
    labels = [[0, 0, 1, 1], [2, 2, 2, 2]]
    worse, better = [[0, 1, 1, 1], [2, 2, 2, 2]], [[0, 0, 1, 1], [2, 2, 2, 2]]
    sure = {"maps": [(labels, worse)] * 8}, {"maps": [(labels, better)] * 8}
    unsure = {"maps": [(labels, worse), (labels, better)] * 4}, {"maps": [(labels, better), (labels, worse)] * 4}
    for name, (host, fed) in {"sclip": sure, "naclip": unsure}.items():
        write_run(tmp_path / name, method=name, **host)
        write_run(tmp_path / f"{name}+fsa", method="fsa", host=name, **fed)
    made = paper_table(find_runs([tmp_path]), intervals=True)
    deltas = [row for row in made.rows if row[0].value == "Δ"]
    real, chance = (next(cell for cell in row if cell.low is not None) for row in deltas)
    assert real.low > 0 and all("chance" not in made.notes[mark] for mark in real.marks)
    assert chance.low <= 0 <= chance.high and any("chance" in made.notes[mark] for mark in chance.marks)
    plain = paper_table(find_runs([tmp_path]))
    assert all(cell.low is None for row in plain.rows if row[0].value == "Δ" for cell in row)


def test_runs_that_differ_in_a_hash_alone_are_told_by_their_folders(tmp_path):
    for name in ("one", "two"):
        write_run(tmp_path / name, labels_hash=name * 20)
    made = paper_table(find_runs([tmp_path]))
    assert sorted(str(cell.value) for row in made.rows for cell in row if "run=" in str(cell.value)) == [
        "run=one",
        "run=two",
    ]

"""Published figures: what the package carries of them, and when a run may be held against them."""

import re
import subprocess
import sys
from pathlib import Path
from statistics import fmean

import pytest

from records import EIGHT, write_run
from segloop.backbones.models import GUIDES, SIZES
from segloop.common.keys import LARGE
from segloop.report.cells import text
from segloop.report.protocol import deviations
from segloop.report.published import against_published, peers_table, published
from segloop.report.runs import find_runs, load_run
from segloop.words.vocabulary import Vocabulary

# the constants of SCLIP on VOC21, as spec 0.7 prints them
SCLIP_VOC21 = {"short_side": 336, "crop": 224, "stride": 112, "logit_scale": 65.0, "background_threshold": 0.1}
SCLIP_VOC21 |= {"area_threshold": 0.1, "pamr_steps": 0, "residual": True, "mlp": True, "long_side": 2048}
SCLIP_VOC21 |= {"fidelity": "reference", "void": "reference", "recipe": "sclip/voc21", "vocabulary": "voc21/S"}
# and of FSA on ProxyCLIP with DINO
FSA_CITY = {"short_side": 448, "crop": 224, "stride": 80, "logit_scale": 40.0, "beta": 1.2, "gamma": 3.0}
FSA_CITY |= {"background_threshold": None, "fidelity": "reference", "vision": "dino", "vocabulary": "cityscapes/P"}
FSA_CITY |= {"feedback": {"lambda_": 3.0, "mass": 0.45, "attention_scale": 20.0, "uniform_scale": 35.0}}


def sclip(folder: Path, mIoU: float = 60.0, **settings) -> Path:
    queries = Vocabulary.benchmark("voc21", "S").queries
    return write_run(folder, mIoU, **({"queries": queries} | SCLIP_VOC21 | settings))


def fsa_city(folder: Path, mIoU: float = 38.0, **settings) -> Path:
    queries = Vocabulary.benchmark("cityscapes", "P").queries
    known = {"dataset": "cityscapes", "method": "fsa", "host": "proxyclip", "queries": queries}
    return write_run(folder, mIoU, **(known | FSA_CITY | settings))


def lines(*folders: Path) -> list[dict[str, str]]:
    made = against_published(find_runs(folders))
    names = [column.name for column in made.columns]
    return [dict(zip(names, map(text, row, made.columns), strict=True)) for row in made.rows]


# the figures -----------------------------------------------------------------------------------------------------


def test_every_row_is_of_known_data_sets_and_backbones():
    for row in published():
        assert set(row.mIoU) <= {*EIGHT, *LARGE}
        assert row.backbone in SIZES
        assert all(0 < value < 100 for value in row.mIoU.values())


def test_the_figures_of_fsa_are_marked_as_reconstructed_and_only_they():
    marked = {row.source.key for row in published() if row.source.reconstructed}
    assert marked == {"fsa-page"}
    assert all(row.source.note for row in published() if row.source.reconstructed)


def test_every_kind_of_masks_is_a_source_of_its_own():
    rows = [row for row in published() if row.method.startswith("corrclip") and row.source.key != "papers"]
    assert len(rows) == 11 == len({(row.source.key, row.backbone) for row in rows})
    assert all("masks" in row.source.title or "bank" in row.source.title for row in rows)
    assert all(row.source.note for row in rows)


def test_printed_averages_are_those_of_their_numbers():
    off = {}
    for row in published():
        if row.average is not None:
            off[row.method, row.feedback, row.backbone] = abs(fmean(row.mIoU[key] for key in EIGHT) - row.average)
    unlike = {key: round(gap, 4) for key, gap in off.items() if gap > 0.0501}
    assert unlike == {("clearclip", True, "ViT-B/16"): 0.125, ("proxyclip", False, "ViT-L/14"): 0.0625}


def test_printed_gains_of_fsa_are_those_of_the_averages():
    averages = {(row.method, row.feedback): row.average for row in published() if row.source.key == "fsa-page"}
    gains = {method: round(averages[method, True] - averages[method, False], 1) for method, _ in averages}
    assert gains == {"maskclip": 7.9, "sclip": 2.4, "clearclip": 0.7, "proxyclip": 1.0}


def test_only_the_log_of_sfp_and_floss_have_less_than_eight_numbers():
    assert {row.source.key for row in published() if len(row.mIoU) < 8} == {"sfp-log", "floss"}


# beside runs -----------------------------------------------------------------------------------------------------


def test_a_host_and_its_fsa_row_stand_beside_the_published_pair(tmp_path):
    host, fed = sclip(tmp_path / "host", 59.3), sclip(tmp_path / "fed", 61.2, method="fsa", host="sclip")
    (row,) = lines(host, fed)
    assert (row["host published"], row["host run"], row["host diff"]) == ("59.1", "59.3", "+0.2")
    assert (row["+FSA published"], row["+FSA run"], row["+FSA diff"]) == ("61.5", "61.2", "-0.3")
    assert (row["Δ published"], row["Δ run"]) == ("+2.4", "+1.9")
    assert row["source"] == "FSA's project page (ICCV 2025), reconstructed"


def test_reconstructed_figures_carry_a_footnote(tmp_path):
    made = against_published(find_runs([sclip(tmp_path / "host")]))
    source = [column.name for column in made.columns].index("source")
    assert made.notes[made.rows[0][source].marks[0]].endswith("by recomputing averages")


def test_every_source_of_a_figure_has_its_line(tmp_path):
    found = lines(write_run(tmp_path / "a", 60.0, method="sfp"))
    assert [(row["source"], row["host published"], row["host diff"]) for row in found] == [
        ("SFP (ICCV 2025), as quoted by later work", "63.9", "-3.9"),
        ("log shipped with SFP's released code", "61.4", "-1.4"),
        ("re-run of SFP by PEARL's authors", "56.8", "+3.2"),
    ]


def test_the_average_is_compared_where_all_eight_are_there(tmp_path):
    folders = [write_run(tmp_path / key, 40.0, dataset=key, method="naclip") for key in EIGHT]
    found = lines(*folders)
    assert [row["data set"] for row in found] == ["V21", "C60", "Obj", "V20", "C59", "Stf", "City", "ADE", "Avg"]
    assert (found[-1]["host published"], found[-1]["host run"], found[-1]["host diff"]) == ("39.4", "40.0", "+0.6")


def test_published_figures_of_another_guide_are_not_taken(tmp_path):
    (row,) = lines(write_run(tmp_path / "a", 60.0, method="proxyclip", vision="sam"))
    assert (row["source"], row["host published"]) == ("no published figure", "-")


def test_a_published_figure_that_does_not_name_its_guide_says_so(tmp_path):
    run = write_run(tmp_path / "a", 60.0, method="proxyclip", vision="dino", model="openai/clip-vit-large-patch14")
    made = against_published(find_runs([run]))
    assert made.rows[0][4].value == 60.6
    assert "the published table does not name the guide" in made.notes


def test_a_run_without_a_published_figure_has_a_line_that_says_so(tmp_path):
    made = against_published(find_runs([write_run(tmp_path / "a", 60.0, dataset="scenes", model="tiny")]))
    assert [text(cell, column) for cell, column in zip(made.rows[0], made.columns, strict=True)][3] == (
        "no published figure"
    )
    assert made.notes == ("not comparable: model tiny is none of the published ones",)


def test_lposs_stands_beside_a_third_partys_figures_on_its_own_clip(tmp_path):
    run = {"method": "lposs", "vision": "dino16"}
    laion = write_run(tmp_path / "a", 61.5, model="laion/CLIP-ViT-B-16-laion2B-s34B-b88K", **run)
    made = against_published(find_runs([laion]))
    assert [cell.value for cell in made.rows[0][1:5]] == [
        "ViT-B/16 (LAION-2B)",
        "V21",
        "LPOSS, by a third party's index of results",
        61.1,
    ]
    assert any("does not say whether of LPOSS or of LPOSS+" in note for note in made.notes)
    (row,) = lines(write_run(tmp_path / "b", 60.0, model="openai/clip-vit-base-patch16", **run))
    assert row["source"] == "no published figure"


def test_experts_are_held_against_experts(tmp_path):
    runs = {"method": "naclip", "dataset": "cityscapes", "vocabulary": "cityscapes/S"}
    plain, voted = write_run(tmp_path / "a", 35.0, **runs), write_run(tmp_path / "b", 36.0, **runs, experts="0f")
    assert [(row["source"], row["host published"]) for row in lines(plain)] == [
        ("hosts and peers as published, OpenAI weights", "35.5")
    ]
    ((source, figure),) = [(row["source"], row["host published"]) for row in lines(voted)]
    assert source.startswith("FLOSS's README") and figure == "37.0"
    assert "templates ranked on photos of one's own" in deviations(load_run(voted))


def test_peers_on_the_same_backbone_are_listed(tmp_path):
    made = peers_table(find_runs([sclip(tmp_path / "a")]))
    titles = [row[0].value for row in made.rows]
    assert "OV-Stitcher" in titles and "SCLIP + FSA" in titles
    assert {row[1].value for row in made.rows} == {"ViT-B/16"}


# whether it is comparable ----------------------------------------------------------------------------------------


def test_a_run_of_the_published_recipe_has_nothing_to_say(tmp_path):
    assert deviations(load_run(sclip(tmp_path / "a"))) == []
    assert deviations(load_run(fsa_city(tmp_path / "b"))) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"limit": 20, "images_listed": 20}, "limited to 20 images"),
        ({"images_listed": 4}, "4 images here, 1449 in the data set"),
        ({"split": "train", "images_listed": 1464}, "split train"),
        ({"stride": 56}, "stride 56 instead of 112"),
        ({"area_threshold": None}, "area_threshold none instead of 0.1"),
        ({"pamr_steps": 10}, "pamr_steps 10 instead of 0"),
        ({"fidelity": "default"}, "fidelity default, where the published pipeline is fidelity reference"),
        ({"vocabulary": "voc21/P", "queries": ["a", "b"]}, "class list voc21/P instead of voc21/S"),
        ({"model": "clip-vit-base-patch16"}, "weights of a local folder"),
        ({"model": "tiny"}, "model tiny is none of the published ones"),
        ({"method": "kk"}, "no recipe is published for kk on voc21"),
        ({"method": "fsa", "host": "sclip"}, "the constants of FSA on sclip are not published"),
    ],
)
def test_what_keeps_a_run_from_being_comparable_is_said(tmp_path, changes, said):
    assert deviations(load_run(sclip(tmp_path / "a", **changes))) == [said]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stride": 112}, "stride 112 instead of 80"),
        ({"feedback": {"lambda_": 4.5, "mass": 0.45}}, "feedback.lambda_ 4.5 instead of 3"),
        ({"model": "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"}, "feedback.lambda_ 3 instead of 2.3"),
    ],
)
def test_constants_of_fsa_are_compared_too(tmp_path, changes, said):
    assert deviations(load_run(fsa_city(tmp_path / "a", **changes))) == [said]


@pytest.mark.parametrize("name", GUIDES)
def test_every_guide_has_its_own_lambda_however_it_was_named(tmp_path, name):
    lambda_ = 4.5 if GUIDES[name].kind == "mae" else 3.0
    changes = {"feedback": {"lambda_": lambda_, "mass": 0.45}}
    said = [] if GUIDES[name].published else [f"guide {name} is none of the published ones"]
    for named in {name, GUIDES[name].hub}:
        assert deviations(load_run(fsa_city(tmp_path / named, vision=named, **changes))) == said


def test_a_class_list_under_another_name_is_the_same_list(tmp_path):
    """Context59 has one list for all variants."""
    queries = Vocabulary.benchmark("context59", "P").queries
    settings = SCLIP_VOC21 | {"logit_scale": 40.0, "background_threshold": None, "area_threshold": None}
    settings |= {"vocabulary": "context59/P", "dataset": "context59"}
    folder = write_run(tmp_path / "a", 34.0, queries=queries, **settings)
    assert deviations(load_run(folder)) == []


def test_what_is_not_comparable_is_marked_at_the_number(tmp_path):
    made = against_published(find_runs([sclip(tmp_path / "a", stride=56, limit=9, images_listed=9)]))
    run = made.rows[0][[column.name for column in made.columns].index("host run")]
    assert [made.notes[mark] for mark in run.marks] == [
        "not comparable: limited to 9 images",
        "not comparable: stride 56 instead of 112",
    ]


def test_reports_do_not_open_torch():
    rooms = "segloop.report.build, segloop.report.export, segloop.commands.report"
    program = f"import sys, {rooms}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


# trident ---------------------------------------------------------------------------------------------------------

# the constants of Trident on Cityscapes, as spec 2.12.6 prints them
TRIDENT_CITY = {"short_side": 688, "crop": 336, "stride": 224, "logit_scale": 40.0, "background_threshold": None}
TRIDENT_CITY |= {"fidelity": "reference", "void": "reference", "vision": "dino-b16", "affinity": "sam"}
AFFINITY = {"beta": 1.2, "gamma": 3.0, "cosine_factor": 3.0, "negative_threshold": 0.6, "affinity_halves": True}
REFINED = {"refine": "sam", "coarse_threshold": 0.1, "iou_threshold": 0.8, "minimal_area": 225, "mask_factor": 0.005}


def trident_city(folder: Path, mIoU: float = 42.0, **settings) -> Path:
    queries = Vocabulary.benchmark("cityscapes", "P").queries
    known = {"dataset": "cityscapes", "method": "trident", "vocabulary": "cityscapes/P", "queries": queries}
    return write_run(folder, mIoU, **(known | TRIDENT_CITY | {"trident": AFFINITY} | settings))


def test_trident_may_be_refined_or_not(tmp_path):
    refined = REFINED | {"mask_norm": "rows"}
    assert deviations(load_run(trident_city(tmp_path / "plain"))) == []
    assert deviations(load_run(trident_city(tmp_path / "refined", **refined))) == []
    (line,) = (one for one in lines(tmp_path / "plain") if one["data set"] == "City")
    assert line["source"].startswith("Trident's page") and line["host published"] == "42.9"
    wrong = {"trident": AFFINITY | {"cosine_factor": 1.2}, "affinity": "facebook/sam-vit-huge"}
    found = deviations(load_run(trident_city(tmp_path / "wrong", **refined | wrong | {"mask_norm": "channels"})))
    assert found == [
        "affinity facebook/sam-vit-huge is none of the published ones",
        "mask_norm channels instead of rows",
        "trident.cosine_factor 1.2 instead of 3",
    ]


def test_what_trident_has_for_each_data_set_is_no_difference_along_a_row(tmp_path):
    queries = Vocabulary.benchmark("voc21", "P").queries
    voc = {"trident": AFFINITY | {"cosine_factor": 1.2, "negative_threshold": None, "affinity_halves": False}}
    voc |= {"dataset": "voc21", "vocabulary": "voc21/P", "queries": queries, "short_side": 448}
    folders = trident_city(tmp_path / "city"), trident_city(tmp_path / "voc", **voc, background_threshold=0.2)
    assert len({line["method"] for line in lines(*folders)}) == 1
    assert "settings" not in lines(*folders)[0]


def test_the_docs_give_these_figures():
    page = (Path(__file__).resolve().parents[1] / "docs/reproduce.md").read_text()
    name = r"^\| `([\w-]+)`(?: on `naclip`|, `\w+`)?(?:, (ViT-[LH]/14|LAION's ViT-B/16))? "
    rows = re.findall(name + r"\| ([\d.]+).*?\| ([\d.]*) ?\|$", page, re.MULTILINE)
    assert len(rows) == 18
    backbones = {"": "ViT-B/16", "LAION's ViT-B/16": "ViT-B/16 (LAION-2B)"}
    for method, backbone, host, fed in rows:
        wanted = (method, backbones.get(backbone, backbone))
        known = [row for row in published() if (row.method, row.backbone) == wanted]
        assert float(host) in [row.average for row in known if not row.feedback]
        assert not fed or float(fed) in [row.average for row in known if row.feedback]
    assert "39.6 as run again" in page and 39.6 in [row.average for row in published() if row.source.key == "sfp-rerun"]

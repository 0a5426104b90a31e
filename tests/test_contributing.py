"""The examples of CONTRIBUTING.md work as printed, each behind the row of its table that it ends with."""

import json
import re
import shlex
import shutil
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from command import WORDS, complaint, done, record
from records import write_run
from segloop import Segmenter, Vocabulary, cli
from segloop.choice import methods
from segloop.choice.method import Method
from segloop.choice.methods import METHODS, RECIPES
from segloop.choice.naming import Choice
from segloop.choice.plan import resolve, shared_constants
from segloop.common.doors import Table
from segloop.data.layouts import DATASETS
from segloop.errors import OptionError
from segloop.report.protocol import deviations
from segloop.report.runs import load_run
from segloop.words import lists

TEXT = (Path(__file__).resolve().parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")


def fenced(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


FILES = {block.splitlines()[0].removeprefix("# "): block for block in fenced("python") if block.startswith("# ")}
FILES["harvest.json"] = fenced("json")[0]
COMMANDS = [line for block in fenced("bash") for line in block.splitlines() if line.startswith("segloop ")]
ROWS = {file: match.groups() for file, text in FILES.items() if (match := re.search(r"# row of (\w+): (.+)", text))}
PLACES = dict(re.findall(r"`([A-Z_]+)`, `([a-z_/]+)\.py`", TEXT))
"""Table -> its file below src/segloop, as the table of doors says."""


@pytest.fixture
def files(tmp_path, photos):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    shutil.copy(photos / "street.jpg", tmp_path / "photo.jpg")


@pytest.fixture
def add(tmp_path, monkeypatch):
    """Run an example's file and put its row into its table, for one test: add("tau.py") -> what the file defines."""

    def put(file: str) -> dict:
        name, row = ROWS[file]
        module = import_module("segloop." + PLACES[name].replace("/", "."))
        table = getattr(module, name)
        space = {"__name__": Path(file).stem, "__file__": str(tmp_path / file)}
        exec(compile(FILES[file], file, "exec"), space)
        within = {**vars(module), **space}
        if name == "COMMANDS":
            monkeypatch.setattr(cli.app, "registered_commands", [*cli.app.registered_commands])
            cli.add(*eval(row, within))
        else:
            for key, value in eval(f"{{{row}}}", within).items():
                monkeypatch.setitem(table.own if isinstance(table, Table) else table, key, value)
        return space

    return put


@pytest.fixture
def settings(segment, street, tmp_path):
    """Segment a photo with these options -> what its record says of settings."""

    def run(*options: object) -> dict:
        done(segment(street, *WORDS, "--format", "json", "--dtype", "float32", *options))
        return record(tmp_path / "segloop-out" / "street")["settings"]

    return run


def test_names_that_are_taken_are_listed(segloop):
    told = segloop("methods").stdout.partition("cannot bear:")[2]
    assert all(f" {name}" in told for name in ("crop", "lambda_", "detector", "vision_feature", "vocabulary"))
    assert all(name in told for name in shared_constants())


@pytest.mark.parametrize("command", COMMANDS)
def test_commands(segloop, files, command):
    _, *words = shlex.split(command)
    done(segloop(*words, "--clip", "tiny", "--templates", "plain"))


def test_python(files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for block in fenced("python"):
        space = {"__name__": "example", "__file__": str(tmp_path / "example.py")}
        exec(compile(block, "CONTRIBUTING.md", "exec"), space)


def test_every_door_of_the_table_is_there_and_has_its_paragraph():
    for name, place in PLACES.items():
        assert hasattr(import_module("segloop." + place.replace("/", ".")), name)
    for anchor in re.findall(r"\]\(#([a-z-]+)\)", TEXT):
        assert anchor in [line.strip("# ").lower().replace(",", "").replace(" ", "-") for line in TEXT.splitlines()]
    assert {name for name, _ in ROWS.values()} == PLACES.keys() - {"GUIDES"}  # a short name has no code to show


def test_a_host_with_a_constant(add, settings, toy_clip):
    tau = add("tau.py")["Tau"]
    assert settings("--method", "tau", "--set", "tau=0.3")["tau"] == 0.3
    assert settings("--host", "tau")["host"] == "tau"
    assert Segmenter.from_pretrained(toy_clip, method=tau(0.3)).plan.method == "tau"


def test_a_source_of_photos(add, segloop, toy_clip, tmp_path):
    add("stack.py")
    np.save(tmp_path / "photos.npy", np.random.default_rng(0).integers(0, 256, (3, 40, 48, 3), np.uint8))
    words = ("--classes", "grass,sand", "--clip", toy_clip, "--templates", "plain", "--out", "run")
    done(segloop("label", tmp_path / "photos.npy", *words))
    maps = sorted((tmp_path / "run" / "labels" / "photos").iterdir())
    assert [path.name for path in maps] == ["000000.png", "000001.png", "000002.png"]


def test_a_file_of_a_whole_labelling(add, segloop, files, toy_clip, tmp_path):
    add("listing.py")
    words = ("--classes", "grass,sand", "--clip", toy_clip, "--templates", "plain", "--out", "run")
    told = segloop("label", tmp_path / "photo.jpg", *words, "--format", "listing")
    assert told.exit_code == 0 and (tmp_path / "run" / "listing.txt").read_text() == "photo\n"


def test_a_method_with_a_stage_is_recorded(add, settings):
    add("earlier.py")
    found = settings("--method", "earlier", "--set", "share=0.5")
    assert (found["method"], found["earlier"]) == ("earlier", {"share": 0.5, "back": 1})
    fed = settings("--host", "earlier")
    assert (fed["method"], fed["host"], fed["earlier"]["share"]) == ("fsa", "earlier", 0.3) and fed["feedback"]
    assert settings("--method", "earlier", "--host", "naclip")["earlier"] and "earlier" not in settings()
    both = settings("--host", "earlier:sfp", "--set", "back=2")
    assert both["earlier"]["back"] == 2 and both["purify"] and both["host"] == "earlier:sfp"


def test_a_method_with_a_stage_does_what_it_says(add, photos):
    add("earlier.py")
    words, photo = ["grass", "sand"], photos / "street.jpg"

    def cosines(**choice):
        return Segmenter.from_pretrained("tiny", dtype="float32", **choice).cosines(photo, words)

    host, same = cosines(method="qq", dataset="voc20"), cosines(method="earlier", dataset="voc20", share=0.0)
    assert same.equal(host)
    assert not cosines(method="earlier", dataset="voc20").allclose(host)
    one, other = (cosines(method="earlier", dataset="voc20", share=1.0, back=back) for back in (0, 1))
    assert not one.allclose(other)
    assert cosines(method="earlier", host="sfp", share=0.0).equal(cosines(method="sfp"))
    assert not cosines(method="earlier", host="sfp").allclose(cosines(method="sfp"))


def test_a_method_over_the_whole_photo(add, settings):
    add("level.py")
    found = settings("--method", "level", "--set", "share=1")
    assert (found["method"], found["level"]) == ("level", {"share": 1.0})


def test_a_step_on_labels(add, settings, street, segment):
    add("surest.py")
    assert "surest_pixel" not in settings()
    assert "needs regions" in complaint(segment(street, *WORDS, "--set", "surest_pixel=on"))


def test_a_stage_is_refused_where_it_cannot_be(add, segment, street):
    add("earlier.py")
    told = complaint(segment(street, *WORDS, "--method", "sclip", "--set", "share=0.5"))
    assert "belongs to earlier" in told and "--method earlier" in told
    assert "earlier came twice" in complaint(segment(street, *WORDS, "--host", "earlier:earlier"))
    told = complaint(segment(street, *WORDS, "--method", "sclip", "--host", "qq"))
    assert "goes with fsa, sfp, sc-clip, " in told and ", earlier; leave" in told


def test_names_of_a_stage_are_no_settings_of_others(add, monkeypatch):
    space = add("earlier.py")
    for name in ("Stride", "Rows", "Pamr"):
        stage = type(name, (space["Earlier"],), {})()
        monkeypatch.setitem(METHODS.own, "mine", Method("", "", "P", host="qq", stages=(stage,)))
        with pytest.raises(OptionError, match="name of another setting"):
            Segmenter.from_pretrained("tiny", method="mine")


def test_a_run_with_a_stage_goes_on_and_is_reported(add, evaluate, segloop, tmp_path):
    add("earlier.py")
    options = ("--method", "earlier", "--out", tmp_path / "run")
    done(evaluate(*options))
    assert "holds this run, done" in evaluate(*options).stderr
    assert 'earlier {"share": 0.3, "back": 1} there' in complaint(evaluate(*options, "--set", "share=0.5"))
    done(evaluate("--method", "qq", "--out", tmp_path / "other"))
    done(segloop("report", tmp_path / "run", tmp_path / "other"))


def test_a_run_with_a_stage_is_held_against_its_recipe(add, monkeypatch, tmp_path):
    add("earlier.py")
    monkeypatch.setitem(RECIPES, "earlier/voc20", methods._recipe("earlier", "voc20"))
    plan = resolve(Choice(recipe="earlier/voc20"))
    settings = plan.constants | {"earlier": {"share": 0.5}, "method": "earlier", "dataset": "voc20"}
    settings |= {"fidelity": "reference", "void": "reference", "vocabulary": "voc20/P"}
    queries = Vocabulary.benchmark("voc20").queries
    run = write_run(tmp_path / "run", 50.0, queries=queries, **settings)
    assert deviations(load_run(run)) == ["earlier.share 0.5 instead of 0.3"]


def test_a_step_on_text_rows(add, settings):
    add("centred.py")
    assert settings("--set", "rows=centred")["rows"] == "centred"


def test_a_step_on_score_maps(add, settings, photos):
    smooth = add("smooth.py")["Smooth"]
    assert "smooth_radius" not in settings()
    assert settings("--set", "smooth_radius=2")["smooth_radius"] == 2
    own = {"method": "qq", "dtype": "float32"}
    plain, smoothed = (
        Segmenter.from_pretrained("tiny", **own, **more).cosines(photos / "street.jpg", ["grass", "sand"])
        for more in ({}, {"smooth_radius": 2})
    )
    assert smoothed.allclose(smooth(2).ready(None)(plain)) and not smoothed.allclose(plain)
    with pytest.raises(OptionError, match=r"0 \(off\) or more pixels"):
        Segmenter.from_pretrained("tiny", smooth_radius=-1)


def test_an_outlier_detector(add, settings):
    add("far.py")
    assert settings("--method", "sfp", "--set", "detector=far")["purify"]["detector"] == "far"


def test_a_divergence(add, settings):
    add("variation.py")
    assert settings("--host", "qq", "--set", "divergence=variation")["feedback"]["divergence"] == "variation"


def test_a_family_of_clip(add, segloop, street, toy_clip, tmp_path):
    add("family.py")
    shutil.copytree(toy_clip, tmp_path / "mine")
    config = json.loads((toy_clip / "config.json").read_text())
    (tmp_path / "mine" / "config.json").write_text(json.dumps({**config, "model_type": "mine"}))
    done(segloop("segment", street, *WORDS, "--clip", "mine", "--templates", "plain", "--format", "json"))
    assert record(tmp_path / "segloop-out" / "street")["settings"]["pixels"]["mean"] == [0.5, 0.5, 0.5]


def test_a_guide(add, settings, segloop, street, tmp_path):
    (tmp_path / "colours").mkdir()
    (tmp_path / "colours" / "config.json").write_text(json.dumps({"model_type": "colours", "patch_size": 8}))
    add("colours.py")
    assert settings("--method", "proxyclip", "--vision", "colours")["vision"] == "colours"
    add("earlier.py")
    assert settings("--method", "earlier", "--host", "proxyclip", "--vision", "colours")["host"] == "proxyclip"
    told = complaint(segloop("segment", street, *WORDS, "--clip", "colours"))
    assert "it guides attention" in told and "--vision" in told


def test_a_format_of_results(add, segment, street, tmp_path):
    add("shares.py")
    done(segment(street, *WORDS, "--format", "shares"))
    path = tmp_path / "segloop-out" / "street.shares.csv"
    assert path.read_text().splitlines()[0] == "class,share" and len(path.read_text().splitlines()) == 4
    done(segment(street, *WORDS, "--format", "shares"))
    path.write_text("my own notes")
    assert "is not what segloop wrote" in complaint(segment(street, *WORDS, "--format", "shares"))
    assert path.read_text() == "my own notes"
    assert "shares" in complaint(segment(street, *WORDS, "--format", "share"))


def fields_of_two_farms(root: Path) -> None:
    """A photo and its label map, as the example's data set has them."""
    for folder, suffix, stored in (("images", "jpg", (8, 8, 3)), ("masks", "png", (8, 8))):
        place = root / "harvest" / folder / "val"
        place.mkdir(parents=True)
        Image.fromarray(np.ones(stored, np.uint8)).save(place / f"one.{suffix}")


def test_a_data_set_with_list_variants(add, files, evaluate, tmp_path):
    add("data.py")
    fields_of_two_farms(tmp_path)
    expected = {"P": ["soil", "bare ground", "wheat", "grain", "sky"], "clear": ["soil", "grain", "sky"]}
    for variant, queries in expected.items():
        out = tmp_path / variant
        done(evaluate("--method", "qq", "--names", variant, "--out", out, key="harvest", data=tmp_path))
        run = json.loads((out / "run.json").read_text())
        assert (run["settings"]["vocabulary"], run["queries"]) == (f"harvest/{variant}", queries)
        assert run["classes"] == ["soil", "wheat", "sky"]
    told = complaint(evaluate("--names", "Q", "--out", tmp_path / "q", key="harvest", data=tmp_path))
    assert "no variant 'Q'" in told


def test_a_list_of_a_package_that_is_none_is_told(add, files, evaluate, tmp_path):
    add("data.py")
    fields_of_two_farms(tmp_path)
    for text in ("", "[1]", '{"names": []}', '{"names": ["a"]}'):
        (tmp_path / "harvest.json").write_text(text)
        told = complaint(evaluate("--out", tmp_path / "run", key="harvest", data=tmp_path))
        assert "harvest.json is no class list with variants" in told


def test_a_list_in_the_folder_of_lists_has_its_name(files, tmp_path, monkeypatch):
    (tmp_path / "classes").mkdir()
    for path in (Path(lists.__file__).parent / "classes").iterdir():
        shutil.copy(path, tmp_path / "classes")
    shutil.copy(tmp_path / "harvest.json", tmp_path / "classes")
    monkeypatch.setattr(lists, "files", lambda package: tmp_path)
    cached = (lists._data, lists._keys)
    for one in cached:
        one.cache_clear()
    try:
        assert Vocabulary.benchmark("harvest").source == "harvest/P"
        assert Vocabulary.benchmark("voc21").classes[0] == "background"
    finally:
        for one in cached:
            one.cache_clear()


def test_a_command(add, segloop, tmp_path):
    add("classes.py")
    (tmp_path / "classes.txt").write_text("road\nsky\n")
    assert done(segloop("classes", "classes.txt", "--json")).stdout == '{"class": "road"}\n{"class": "sky"}\n'
    assert "List the classes" in done(segloop("--help")).stdout
    assert "classes.txt" in done(segloop("classes", "--help")).stdout
    assert "nothing.txt" in complaint(segloop("classes", "nothing.txt"))


def test_there_is_something_to_test():
    assert "idea.py" in FILES and len(ROWS) == 15 and len(COMMANDS) >= 3
    assert "harvest" not in DATASETS and "earlier" not in METHODS

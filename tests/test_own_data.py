"""Folders of your own under names of your own: each is a data set, a run and a column."""

import json
from pathlib import Path

import pytest

from command import complaint, done, lines_of
from segloop.data.datasets import open_dataset
from segloop.data.places import Place, read_places
from segloop.errors import OptionError
from segloop.scenes.draw import write_scenes


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("own")
    for seed, name in enumerate(("fields", "streets")):
        write_scenes(folder / name, 3, seed, (48, 64))
    return {name: folder / name for name in ("fields", "streets")}


@pytest.fixture
def run(segloop, toy_clip, two):
    """`segloop evaluate KEYS` with both folders under their names."""

    def call(keys: str, *options: object, places: dict[str, object] | None = None):
        given = places or {name: two[name] for name in keys.split(",") if name in two}
        data = [word for name, place in given.items() for word in ("--data", f"{name}={place}")]
        model = ("--clip", toy_clip, "--templates", "plain", "--threads", 1, "--method", "qq")
        return segloop("evaluate", keys, *data, *model, *options)

    return call


def run_of(folder):
    return json.loads((folder / "run.json").read_text())


def test_two_folders_are_two_rows_with_their_names(run, segloop, tmp_path):
    lines = [json.loads(line) for line in done(run("fields,streets", "--out", "runs", "--json")).stdout.splitlines()]
    assert [line["run"] for line in lines] == ["runs/fields/qq", "runs/streets/qq"]
    found = {name: run_of(tmp_path / f"runs/{name}/qq") for name in ("fields", "streets")}
    for name, record in found.items():
        assert (record["settings"]["dataset"], record["settings"]["data_name"]) == ("folder", name)
        assert str(tmp_path.parent) not in json.dumps(record)
    assert found["fields"]["settings"]["labels_hash"] != found["streets"]["settings"]["labels_hash"]
    (row,) = json.loads(done(segloop("report", "runs", "--json")).stdout)["tables"]["table"]["rows"]
    for name, record in found.items():
        assert row[name] == pytest.approx(record["metrics"]["mIoU"])
    again = run("fields,streets", "--out", "runs")
    assert again.stderr.count("holds this run, done") == 2


def test_a_named_folder_is_what_it_is_as_a_folder(run, tmp_path, two):
    done(run("streets", "--out", "named"))
    done(run("folder", "--out", "plain", places={"folder": two["streets"]}))
    named, plain = run_of(tmp_path / "named"), run_of(tmp_path / "plain")
    assert named["settings"].pop("data_name") == "streets" and named == plain


def test_its_cosines_are_decided_anew_and_reported_with_pictures(run, segloop, two, tmp_path):
    done(run("fields", "--out", "run", "--scores", "--save-maps"))
    for number, where in enumerate(((), ("--data", two["fields"]), ("--data", f"fields={two['fields']}"))):
        done(segloop("evaluate", "--from-scores", "run", "--set", "logit_scale=20", *where, "--out", f"anew{number}"))
        assert run_of(tmp_path / f"anew{number}")["settings"]["data_name"] == "fields"
    done(segloop("tune", "run"))
    for where in ((), ("--data", two["fields"])):
        made = segloop("report", "run", *where, "--pictures", "1", "--out", "page.html")
        assert made.exit_code == 0, made.output


def test_the_limit_is_told_with_the_name(run):
    told = lines_of(run("fields", "--limit", 1, "--out", "run").stderr)
    assert told == ["fields: the first 1 of 3 photos only"]


def test_two_folders_for_one_name_are_refused(segloop, two):
    pair = {"fields": two["fields"], "streets": two["streets"]}
    for places in (
        ("--data", f"folder={pair['fields']}", "--data", f"folder={pair['streets']}"),
        ("--data", pair["fields"], "--data", pair["streets"]),
    ):
        told = complaint(segloop("evaluate", "folder", *places))
        assert "two folders came for 'folder'" in told and "and evaluate fields,streets" in told
    twice = ("--data", f"a={pair['fields']}", "--data", f"a={pair['streets']}")
    assert "two folders came for 'a'" in complaint(segloop("evaluate", "a", *twice))
    same = open_dataset("folder", [pair["fields"], f"folder={pair['fields']}"])
    assert same.root == pair["fields"]
    assert open_dataset("folder", [pair["fields"].parent, pair["fields"]]).root == pair["fields"]


def test_names_that_nothing_bears_are_told(run, segloop, two):
    told = complaint(run("field", places=two))
    assert "no data set 'field'; did you mean 'fields'" in told and "a folder of your own with --data field=DIR" in told
    told = complaint(run("fields", places=two))
    assert "and streets is not evaluated; leave it out, or evaluate fields,streets" in told
    told = complaint(run("voc21,fields", places={"voc12": two["fields"], "fields": two["fields"]}))
    assert "--data voc12=" in told and "did you mean 'voc21'" in told
    assert "names no data set that is known" in complaint(run("fields", places={"fields": "nowhere"}))
    assert "--names P came with fields" in complaint(run("fields", "--names", "P"))
    assert "names no data set that is known" in complaint(segloop("datasets", "--data", f"fields={two['fields']}"))
    with pytest.raises(OptionError, match="there is no data set 'fields'"):
        open_dataset("fields", [two["fields"]])
    assert read_places([f"fields={two['fields']}"]) == [Place(two["fields"], "fields")]


def test_a_dry_run_names_them(run):
    told = [
        json.loads(line) for line in run("fields,streets", "--dry-run", "--json", "--out", "run").stdout.splitlines()
    ]
    assert [one["dataset"] for one in told] == ["fields", "streets"]

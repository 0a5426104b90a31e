"""The command line where all goes well: files, names, options."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import typer.main
from PIL import Image

from command import WORDS, done, left_over, record, sentence
from segloop import Segmenter, Vocabulary, __version__
from segloop.cli import app
from segloop.commands.finished import DONE

SUFFIXES = {"png": ".png", "overlay": ".overlay.png", "json": ".json", "npz": ".npz"}
COMMANDS = typer.main.get_command(app).commands


def labels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


def names(folder: Path) -> list[str]:
    """Results; what was done of many photos is told by a file beside them."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != DONE]
    return sorted(str(path.relative_to(folder)) for path in files)


# files ---------------------------------------------------------------------------------------------------------


def test_every_format(segment, street, tmp_path):
    result = done(segment(street, *WORDS, "--format", ",".join([*SUFFIXES, "coco", "coco-polygons"])))
    out = tmp_path / "segloop-out"
    of_all = ["annotations.coco.json", "annotations.coco-polygons.json"]
    assert names(out) == sorted([*of_all, *(f"street{suffix}" for suffix in SUFFIXES.values())])
    assert result.stdout.startswith(f"{street} -> segloop-out/street.overlay.png  ")
    with Image.open(out / "street.png") as image:
        assert image.mode == "P" and image.size == (128, 96)
        assert json.loads(image.text["segloop:classes"]) == ["road", "car", "sky"]
    stored = np.load(out / "street.npz", allow_pickle=False)
    np.testing.assert_array_equal(stored["labels"], labels(out / "street.png"))
    told = record(out / "street")
    assert told["source"] == str(street) and told["classes"] == ["road", "car", "sky"]
    assert sum(told["share"].values()) == pytest.approx(1)
    for name in of_all:
        assert [c["name"] for c in json.loads((out / name).read_text())["categories"]] == told["classes"]


def test_usual_formats(segment, street, tmp_path):
    done(segment(street, *WORDS, "--out", "here/and/there"))
    assert names(tmp_path / "here/and/there") == ["street.json", "street.overlay.png", "street.png"]


def test_same_as_in_python(segment, street, toy_clip, tmp_path):
    done(segment(street, *WORDS, "--dtype", "float32"))
    segmenter = Segmenter.from_pretrained(toy_clip, dtype="float32")
    expected = segmenter(street, Vocabulary(["road", "car | automobile", "sky"], templates="plain"))
    np.testing.assert_array_equal(labels(tmp_path / "segloop-out/street.png"), expected.labels)
    told = record(tmp_path / "segloop-out/street")
    assert told == json.loads(json.dumps(expected.record()))


def test_several_photos_and_globs(segment, photos, street, tmp_path):
    done(segment(photos / "*.png", street, photos / "str*", *WORDS, "--format", "png"))
    assert names(tmp_path / "segloop-out") == ["meadow.png", "street.png"]


def test_stems_of_several_folders_and_of_one(segment, street, tmp_path):
    photo = Image.open(street)
    sources = ["one/x.jpg", "one/x.png", "two/x.jpg", "two/deep/y.png", "one/x.jpg.png"]
    for place in sources:
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        photo.save(tmp_path / place)
    result = done(segment(*sources, *WORDS, "--json", "--format", "png,overlay,json"))
    written = [file for line in result.stdout.splitlines() for file in json.loads(line)["files"]]
    assert len(set(written)) == 3 * len(sources)
    assert sorted(written) == [f"segloop-out/{name}" for name in names(tmp_path / "segloop-out")]
    assert {"segloop-out/one/x.jpg.png", "segloop-out/two/x.png", "segloop-out/two/deep/y.png"} <= set(written)
    for line in map(json.loads, result.stdout.splitlines()):
        assert json.loads(Path(line["files"][2]).read_text())["source"] == line["source"]


def test_a_photo_named_like_another_ones_overlay(segment, street, tmp_path):
    for place in ("a.png", "a.overlay.png"):
        Image.open(street).save(tmp_path / place)
    done(segment("a.png", "a.overlay.png", *WORDS, "--format", "png,overlay"))
    assert len(names(tmp_path / "segloop-out")) == 4


def test_names_beyond_ascii_and_rich_codes(segment, street, tmp_path):
    place = tmp_path / "Straße :car: [red].jpg"
    place.write_bytes(street.read_bytes())
    result = done(segment(place, "--classes", "Weg :car:, [red] sky", "--json", "--format", "json"))
    told = json.loads(result.stdout)
    assert told["source"] == str(place) and told["classes"] == ["Weg :car:", "[red] sky"]
    assert names(tmp_path / "segloop-out") == ["Straße :car: [red].json"]


def test_a_long_name(segment, street, tmp_path):
    place = tmp_path / f"{'n' * 240}.jpg"
    place.write_bytes(street.read_bytes())
    done(segment(place, *WORDS, "--format", "png,overlay"))
    assert len(names(tmp_path / "segloop-out")) == 2


def test_results_are_replaced_and_nothing_is_left_over(segment, street, tmp_path):
    out = tmp_path / "segloop-out"
    done(segment(street, "--classes", "old, older"))
    (out / "failed.jsonl").write_text('{"source": "x.jpg", "error": "x.jpg is empty", "remedy": "copy it"}\n')
    done(segment(street, *WORDS))
    assert record(out / "street")["classes"] == ["road", "car", "sky"]
    assert labels(out / "street.png").shape == (96, 128)
    assert not left_over(out) and not (out / "failed.jsonl").exists()


# stdout --------------------------------------------------------------------------------------------------------


def test_json_is_one_object_a_photo(segment, photos, tmp_path):
    result = done(segment(photos / "*", *WORDS, "--json"))
    told = [json.loads(line) for line in result.stdout.splitlines()]
    assert [Path(line["source"]).name for line in told] == ["meadow.png", "street.jpg"]
    for line in told:
        stem = tmp_path / "segloop-out" / Path(line["source"]).stem
        assert record(stem) == {key: value for key, value in line.items() if key != "files"}
        assert all((tmp_path / file).is_file() for file in line["files"])


# words ---------------------------------------------------------------------------------------------------------


def test_background_adds_a_class(segment, street, tmp_path):
    done(segment(street, *WORDS, "--background"))
    assert record(tmp_path / "segloop-out/street")["classes"] == ["background", "road", "car", "sky"]


def test_one_word_alone_is_told_once_a_run(segment, photos, tmp_path):
    result = segment(photos / "*", "--classes", "road")
    assert result.exit_code == 0 and result.stdout.count("road 100%") == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("warning: every pixel becomes 'road'") and "--background" in line
    done(segment(photos / "*", "--classes", "road", "--background"))


def test_classes_file(segment, street, tmp_path):
    (tmp_path / "words.txt").write_text("# a list\nroad\ncar | automobile  # with wheels\n\nsky, blue\n")
    done(segment(street, "--classes-file", "words.txt"))
    assert record(tmp_path / "segloop-out/street")["classes"] == ["road", "car", "sky, blue"]


def test_synonyms_count(segment, street, tmp_path):
    done(segment(street, "--classes", "road|sky, car", "--out", "joined"))
    done(segment(street, "--classes", "road, car, sky", "--out", "apart"))
    joined, apart = labels(tmp_path / "joined/street.png"), labels(tmp_path / "apart/street.png")
    assert set(np.unique(apart)) == {0, 1, 2}
    np.testing.assert_array_equal(joined, np.where(apart == 2, 0, apart))


def test_templates_count(segloop, toy_clip, street, tmp_path):
    for name in ("plain", "openai80"):
        done(segloop("segment", street, "--clip", toy_clip, *WORDS, "--templates", name, "--out", name))
    plain, many = (labels(tmp_path / name / "street.png") for name in ("plain", "openai80"))
    assert (plain != many).any()


# constants -----------------------------------------------------------------------------------------------------


def settings(segment, photo, *options: object) -> dict:
    done(segment(photo, *WORDS, *options))
    return record(Path("segloop-out") / photo.stem)["settings"]


def test_set_takes_fields_with_their_types(segment, meadow):
    options = ["stride=16", "logit_scale=30", "residual=true", "pamr_steps=1", "pamr_dilations=2,4", "crop=none"]
    told = settings(segment, meadow, *(part for option in options for part in ("--set", option)))
    expected = {"stride": 16, "logit_scale": 30.0, "residual": True, "pamr_dilations": [2, 4], "crop": 0}
    assert expected.items() <= told.items() and isinstance(told["logit_scale"], float)


def test_set_none_switches_off(segment, meadow):
    told = settings(segment, meadow, "--recipe", "clearclip/voc21", "--set", "background_threshold=none")
    assert told["background_threshold"] is None


def test_a_first_class_called_background_is_the_background(segment, segloop, street, toy_clip, tmp_path):
    sets = ("--set", "background_threshold=0.99", "--set", "area_threshold=0.5")
    done(segment(street, "--classes", "Background|other, road, sky", *sets))
    with Image.open(tmp_path / "segloop-out/street.png") as found:
        assert not np.asarray(found).any()
    words = ("--classes", "background, road, sky", "--clip", toy_clip, "--method", "sclip", *sets)
    done(segloop("label", street, *words, "--templates", "plain", "--out", "run"))
    word, error = segment(street, "--classes", "road, background, sky", *sets).stderr.splitlines()
    assert "is looked for as that word" in word
    told = sentence(error)
    assert "background_threshold and area_threshold need; put a class" in told and "--" not in told


def test_recipe(segment, meadow):
    told = settings(segment, meadow, "--recipe", "sclip/voc21", "--background", "--set", "stride=224")
    expected = {"method": "sclip", "short_side": 336, "logit_scale": 65.0, "area_threshold": 0.1, "stride": 224}
    assert expected.items() <= told.items()


def test_the_models_own_settings(segment, meadow):
    told = settings(segment, meadow)
    assert {"method": "naclip", "short_side": 64, "crop": 64, "stride": 32}.items() <= told.items()


@pytest.mark.parametrize("method", ["clip", "maskclip", "sclip", "qq+kk", "kv"])
def test_method(segment, meadow, method):
    assert settings(segment, meadow, "--method", method)["method"] == method


def test_reference_fidelity_is_float32(segment, meadow):
    told = settings(segment, meadow, "--fidelity", "reference")
    assert told["fidelity"] == "reference" and told["dtype"] == "float32"


# the other commands --------------------------------------------------------------------------------------------


def test_methods_are_lines_without_escapes(segloop):
    told = segloop("methods").stdout
    assert "\\u000a" not in told and "segloop experts" in told


def test_methods_and_models(segloop):
    for command, key, expected in (("methods", "method", "naclip"), ("models", "model", "tiny")):
        rows = [json.loads(line) for line in done(segloop(command, "--json")).stdout.splitlines()]
        assert expected in [row[key] for row in rows]
        table = done(segloop(command)).stdout
        assert all(row[key].split("/")[0] in table for row in rows)


def test_scenes(segloop, tmp_path):
    result = segloop("scenes", "drawn", "--count", 2, "--seed", 5, "--size", "32x48")
    assert result.exit_code == 0 and result.stdout == ""
    written = names(tmp_path / "drawn")
    assert sum(name.startswith("images/") for name in written) == 2
    assert sum(name.startswith("masks/") for name in written) == 2
    assert {"classes.txt", "captions.jsonl"} <= set(written)


def test_version(segloop):
    assert done(segloop("--version")).stdout == f"segloop {__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example_that_parses(segloop, name):
    assert "Example: segloop" in done(segloop(name, "--help")).stdout
    program, command, *arguments = shlex.split(COMMANDS[name].epilog.removeprefix("Example: "))
    assert (program, command) == ("segloop", name)
    COMMANDS[name].make_context(name, arguments)

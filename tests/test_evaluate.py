"""A data set labelled, counted and scored through the command line; processes are in test_evaluate_process.py."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from command import complaint, done
from runs import record_of
from segloop import Segmenter, Vocabulary
from segloop.data.datasets import open_dataset
from segloop.evaluation.anew import open_kept
from segloop.evaluation.tune import counts_by_threshold, tune
from segloop.labels.read import read_label
from segloop.line.steps import blocks
from segloop.maps.decide import decide
from segloop.scenes.draw import CLASSES, write_scenes
from segloop.scoring.metrics import Counts, confusion, scores
from tolerances import NETWORK

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def own(drawn, tmp_path) -> Path:
    """A copy of the scenes that may be changed."""
    return Path(shutil.copytree(drawn, tmp_path / "own"))


def test_scores_are_those_of_the_segmenter(evaluate, toy_clip, drawn, tmp_path):
    done_quietly(evaluate("--out", tmp_path / "run", "--shard", 4, "--dtype", "float32"))
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    segmenter = Segmenter.from_pretrained(toy_clip, dtype="float32")
    vocabulary = Vocabulary(CLASSES, templates="plain")
    data = open_dataset("scenes", [drawn])
    areas, unsure = [], 0  # other batches round otherwise: pixels whose best class leads by no more than that
    for sample in data.samples:
        labels = segmenter(sample.image, vocabulary).labels
        areas.append(confusion(labels, read_label(sample.label), len(CLASSES)).counts())
        first, second = segmenter.cosines(sample.image, vocabulary).topk(2, dim=0).values
        unsure += int((first - second <= 2 * NETWORK).sum())
    counts = Counts.stack(areas).total()
    expected, smallest = scores(counts), (counts.prediction + counts.label - counts.intersection).min() - unsure
    assert run["images"] == 10
    assert run["metrics"]["aAcc"] == pytest.approx(expected.aAcc, abs=100 * (unsure + 0.01) / (10 * 48 * 64))
    assert run["metrics"]["mIoU"] == pytest.approx(expected.mIoU, abs=100 * 2 * (unsure + 0.01) / smallest)


def done_quietly(result):
    assert result.exit_code == 0, result.output
    return result


def test_boundaries_stand_in_the_table_where_they_were_counted(evaluate, tmp_path):
    assert "boundary mIoU" not in done_quietly(evaluate("--out", tmp_path / "plain", "--limit", 1)).stdout
    told = done_quietly(evaluate("--out", tmp_path / "run", "--limit", 1, "--boundary")).stdout
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert "boundary mIoU" in " ".join(told.split()) and f"{run['metrics']['boundary_mIoU']:.2f}" in told


def test_templates_of_ones_own_are_part_of_the_record(evaluate, tmp_path):
    (tmp_path / "mine.txt").write_text("a map of {}\n")
    words = ("--out", tmp_path / "run", "--limit", 1, "--templates")
    done_quietly(evaluate(*words, "a map of {}"))
    assert "done" in done_quietly(evaluate(*words, tmp_path / "mine.txt")).stderr  # the same in a file
    refused = evaluate(*words, "{}")
    assert refused.exit_code == 2 and "other settings: other templates;" in refused.stderr


def test_a_finished_run_is_read_not_repeated(evaluate, tmp_path):
    first = done_quietly(evaluate("--out", tmp_path / "run", "--json"))
    before = record_of(tmp_path / "run")
    again = done_quietly(evaluate("--out", tmp_path / "run", "--json"))
    assert "holds this run, done" in again.stderr
    assert json.loads(again.stdout) == json.loads(first.stdout)
    assert record_of(tmp_path / "run") == before


def test_shards_and_lost_shards_change_nothing(evaluate, tmp_path):
    done_quietly(evaluate("--out", tmp_path / "whole", "--shard", 3))
    done_quietly(evaluate("--out", tmp_path / "torn", "--shard", 3, "--limit", 10, "--overwrite"))
    whole, torn = (json.loads((tmp_path / name / "run.json").read_text()) for name in ("whole", "torn"))
    assert whole["metrics"] == torn["metrics"]
    assert complaint(evaluate("--out", tmp_path / "whole", "--shard", 4)).startswith("error: ")


def test_what_was_settled_once_stays(evaluate, tmp_path):
    done_quietly(evaluate("--out", tmp_path / "run", "--batch", 3, "--shard", 5, "--dtype", "float32"))
    assert "done" in done_quietly(evaluate("--out", tmp_path / "run")).stderr


def test_other_settings_in_the_same_folder(evaluate, tmp_path):
    done_quietly(evaluate("--out", tmp_path / "run"))
    told = complaint(evaluate("--out", tmp_path / "run", "--set", "stride=16"))
    assert "stride 32 there, 16 now" in told
    done_quietly(evaluate("--out", tmp_path / "run", "--set", "stride=16", "--overwrite"))


def test_bad_images_cost_a_line_each(evaluate, own, tmp_path):
    (own / "images" / "000003.png").write_bytes(b"")
    Image.new("L", (5, 5)).save(own / "masks" / "000007.png")
    result = evaluate("--out", tmp_path / "run", data=own)
    assert result.exit_code == 3
    assert "2 images could not be counted" in result.stderr
    lines = [json.loads(line) for line in (tmp_path / "run" / "failed.jsonl").read_text().splitlines()]
    assert [Path(line["source"]).name for line in lines] == ["000003.png", "000007.png"]
    assert "is empty" in lines[0]["error"] and "pixels" in lines[1]["error"]
    assert json.loads((tmp_path / "run" / "run.json").read_text())["images"] == 8


def test_a_missing_label_stops_before_the_start(evaluate, own, tmp_path):
    (own / "masks" / "000003.png").unlink()
    assert "missing label maps" in complaint(evaluate("--out", tmp_path / "run", data=own))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--methods", "sclip", "--method", "clip"), "came with --methods"),
        (("--fsa", "on"), "came without --methods"),
        (("--methods", "sclip", "--fsa", "maybe"), "write off, on"),
        (("--devices", "cpu,cpu", "--device", "cpu"), "came together"),
        (("--devices", "cpu,"), "names none"),
    ],
)
def test_options_that_contradict(evaluate, options, sentence):
    assert sentence in complaint(evaluate(*options))


def test_unknown_data_sets_are_told_the_nearest(evaluate):
    assert "did you mean 'voc21'" in complaint(evaluate(key="voc12"))


def test_key_and_data_must_come(segloop):
    assert "KEY is missing" in complaint(segloop("evaluate", "--data", "x"))
    assert "--data is missing" in complaint(segloop("evaluate", "voc21"))


def test_a_sweep_is_its_single_runs(evaluate, tmp_path):
    """What runs share must not show in their records."""
    done_quietly(evaluate("--out", tmp_path / "all", "--methods", "sclip,sfp", "--fsa", "off,on", "--shard", 4))
    runs = sorted(path.parent.relative_to(tmp_path / "all").as_posix() for path in (tmp_path / "all").rglob("run.json"))
    assert runs == ["scenes/sclip", "scenes/sclip+fsa", "scenes/sfp", "scenes/sfp+fsa"]
    done_quietly(evaluate("--out", tmp_path / "one", "--host", "sclip", "--shard", 4))
    done_quietly(evaluate("--out", tmp_path / "two", "--method", "sfp", "--shard", 4))
    assert record_of(tmp_path / "one") == record_of(tmp_path / "all" / "scenes" / "sclip+fsa")
    assert record_of(tmp_path / "two") == record_of(tmp_path / "all" / "scenes" / "sfp")
    assert record_of(tmp_path / "one") != record_of(tmp_path / "all" / "scenes" / "sclip")


def test_published_rows_come_with_the_method(evaluate, tmp_path, toy_clip):
    shared = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not shared.is_dir():
        pytest.skip("real samples are not beside the project")
    done_quietly(evaluate("--out", tmp_path / "run", "--method", "sclip", "--limit", 1, key="voc21", data=shared))
    settings = json.loads((tmp_path / "run" / "run.json").read_text())["settings"]
    assert settings["recipe"] == "sclip/voc21"
    assert (settings["logit_scale"], settings["background_threshold"]) == (65.0, 0.1)
    assert (settings["vocabulary"], settings["crop"]) == ("voc21/S", 224)


def test_an_attention_of_your_own_is_named_by_its_file(evaluate, tmp_path):
    (tmp_path / "idea.py").write_text("def mix(block):\n    return lambda values: values\n")
    done_quietly(evaluate("--out", tmp_path / "run", "--method", "idea.py:mix", "--limit", 2))
    settings = json.loads((tmp_path / "run" / "run.json").read_text())["settings"]
    assert settings["method"].endswith("mix") and len(settings["code"]["idea.py"]) == 64
    (tmp_path / "idea.py").write_text("def mix(block):\n    return lambda values: -values\n")
    other = evaluate("--out", tmp_path / "run", "--method", "idea.py:mix", "--limit", 2)
    assert other.exit_code == 2 and "other code of your attention" in other.stderr


def test_records_name_no_place_of_this_machine(evaluate, toy_clip, drawn, tmp_path):
    done_quietly(evaluate("--out", tmp_path / "run", "--limit", 1))
    text = (tmp_path / "run" / "run.json").read_text()
    assert str(toy_clip.parent) not in text and str(drawn.parent) not in text and str(tmp_path) not in text
    assert json.loads(text)["settings"]["model"] == "toy"


# cosines that were kept --------------------------------------------------------------------------------------------


@pytest.fixture
def backed(tmp_path) -> Path:
    """Scenes whose first class is the background, so that there is a threshold to choose."""
    folder = tmp_path / "backed"
    write_scenes(folder, 6, 4, (48, 64))
    (folder / "classes.txt").write_text("\n".join(["background", *CLASSES[1:]]) + "\n")
    return folder


@pytest.mark.parametrize("settings", [(), ("--set", "pamr_steps=2", "--set", "crop=0")])
def test_kept_cosines_give_the_same_record(evaluate, segloop, tmp_path, settings):
    done_quietly(evaluate("--out", tmp_path / "run", "--scores", "--save-maps", "--boundary", "--limit", 5, *settings))
    done_quietly(segloop("evaluate", "--from-scores", tmp_path / "run", "--out", tmp_path / "anew"))
    first, second = record_of(tmp_path / "run"), record_of(tmp_path / "anew")
    runs = [json.loads(record.pop("run.json")) for record in (first, second)]
    assert first == second
    assert runs[0]["settings"].pop("keeps") == ["maps", "scores"] and runs[1]["settings"].pop("keeps") == []
    assert runs[0] == runs[1]
    maps = sorted((tmp_path / "run" / "maps").iterdir())
    assert len(maps) == 5 and np.asarray(Image.open(maps[0])).shape == (48, 64)


def test_other_constants_decide_as_the_network_would(evaluate, segloop, tmp_path, backed):
    changed = ("--set", "background_threshold=0.6", "--set", "logit_scale=20")
    done_quietly(evaluate("--out", tmp_path / "run", "--scores", key="folder", data=backed))
    done_quietly(evaluate("--out", tmp_path / "live", *changed, key="folder", data=backed))
    done_quietly(segloop("evaluate", "--from-scores", tmp_path / "run", "--out", tmp_path / "anew", *changed))
    live, anew = record_of(tmp_path / "live"), record_of(tmp_path / "anew")
    assert live["counts.npz"] == anew["counts.npz"]
    assert live["run.json"] == anew["run.json"]
    assert record_of(tmp_path / "run")["counts.npz"] != anew["counts.npz"]


def test_what_shapes_cosines_cannot_be_changed_afterwards(evaluate, segloop, tmp_path):
    done_quietly(evaluate("--out", tmp_path / "run", "--scores", "--limit", 2))
    again = ("evaluate", "--from-scores", tmp_path / "run")
    assert "shapes the cosines" in complaint(segloop(*again, "--out", tmp_path / "x", "--set", "stride=16"))
    assert "without --out" in complaint(segloop(*again))
    assert "segloop tune RUN" in complaint(segloop(*again, "--out", tmp_path / "x", "--set", "logit_scale=10,20"))
    done_quietly(evaluate("--out", tmp_path / "bare", "--limit", 2))
    assert "kept no cosines" in complaint(segloop("evaluate", "--from-scores", tmp_path / "bare", "--out", "x"))
    assert "such as" in complaint(segloop("evaluate", "--from-scores", tmp_path, "--out", "x"))  # one below it


def test_every_threshold_at_once_is_each_alone(evaluate, tmp_path, backed):
    done_quietly(evaluate("--out", tmp_path / "run", "--scores", key="folder", data=backed))
    kept = open_kept(tmp_path / "run")
    source, thresholds = kept.source({}), [0.0, 0.3, 0.6, 0.9, 0.99]
    for sample in kept.data.samples[:3]:
        photo, truth = source.read(sample), read_label(sample.label)
        with torch.no_grad():
            decision = decide(blocks(photo.score_map, photo, source.map_steps), photo.target, source.rule)
        found = counts_by_threshold(decision, truth, thresholds, len(CLASSES), "corrected")
        for number, threshold in enumerate(thresholds):
            alone = replace(source, rule=replace(source.rule, background_threshold=threshold or None))
            expected = confusion(alone.labels(photo, photo.windows), truth, len(CLASSES)).counts()
            for part in ("intersection", "prediction", "label"):
                assert np.array_equal(getattr(found, part)[number], getattr(expected, part))


def test_tuning_says_both_halves(evaluate, segloop, tmp_path, backed):
    high = ("--set", "background_threshold=0.99")  # which nearly every pixel is below
    done_quietly(evaluate("--out", tmp_path / "run", "--scores", *high, key="folder", data=backed))
    tuned = tune(open_kept(tmp_path / "run"), (10.0, 40.0), (0.0, 0.1))
    assert tuned.images == (3, 3)
    assert tuned.best.tuned == max(choice.tuned for choice in tuned.choices)
    assert tuned.best.tuned >= tuned.recorded.tuned
    assert tuned.gain.mIoU.value == pytest.approx(tuned.best.held_out - tuned.recorded.held_out)
    shown = done(segloop("tune", tmp_path / "run", "--scales", "10,40", "--thresholds", "0,0.1")).stdout
    assert "3 images that choose, 3 that judge" in shown and "Held out, the best pair gains" in shown
    told = json.loads(done(segloop("tune", tmp_path / "run", "--scales", "10,40", "--json")).stdout)
    assert told["choices"][0] == told["best"]


def test_tuning_keeps_the_runs_own_among_equals(evaluate, segloop, tmp_path):
    """Without a background, and with one word a class, no constant moves a label."""
    done_quietly(evaluate("--out", tmp_path / "run", "--scores"))
    shown = done(segloop("tune", tmp_path / "run", "--scales", "1,40")).stdout
    assert "there is nothing to change" in shown and "--from-scores" not in shown


def test_tuning_needs_two_images(evaluate, segloop, tmp_path):
    done_quietly(evaluate("--out", tmp_path / "run", "--scores", "--limit", 1))
    assert "to choose by" in complaint(segloop("tune", tmp_path / "run"))

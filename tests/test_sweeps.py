"""One wish, many runs: data sets that are there, presets, several CLIPs; what it would take, and how far it is."""

import json
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from command import complaint
from segloop.backbones.models import MODELS
from segloop.choice.presets import PRESETS
from segloop.common import console
from segloop.common.records import parse_assignments
from segloop.data.layouts import DATASETS
from segloop.errors import OptionError
from segloop.evaluation.sweep import Wish, tasks_of
from segloop.report.published import published
from segloop.runs.forecast import duration, spread
from trees import make

KEPT = ("maps", "scores")
pytestmark = pytest.mark.usefixtures("one_thread")


def wish(keys="scenes", methods=None, fsa="off", preset=None, clips=(), out=Path("runs"), **common):
    return Wish(keys, out, methods, fsa, {"places": (".",), **common}, preset, clips)


def labels(tasks):
    return [task.out.relative_to("runs").as_posix() for task in tasks]


# --- which runs


def test_the_papers_grid_is_33_configurations_each_without_and_with_feedback():
    found = PRESETS["paper"].configurations()
    bare, fed = ([one for one in found if bool(one.host) is on] for on in (False, True))
    assert len(bare) == len(fed) == 33 == len(set(bare)) == len(set(fed))
    assert {(one.method, one.vision, one.clip) for one in bare} == {(one.host, one.vision, one.clip) for one in fed}
    assert len({one.clip for one in found}) == 3
    places = labels(tasks_of(wish(preset="paper")))
    assert len(set(places)) == 66
    assert "scenes/clip-vit-base-patch16/proxyclip-dinov2+fsa" in places and "voc21" not in places[0]
    alone = labels(tasks_of(wish(preset="paper", clips=("tiny",))))
    assert len(set(alone)) == 22 and alone[:2] == ["scenes/clip", "scenes/clip+fsa"]


def test_the_published_rows_are_those_that_reports_have_a_figure_of():
    sizes = {name: row.size for name, row in MODELS.items()}
    ours = {(one.host or one.method, sizes[one.clip], bool(one.host)) for one in PRESETS["published"].configurations()}
    others = {"rf-clip", "cass", "corrclip", "corrclip-v2", "ov-stitcher"}
    theirs = {(one.method, one.backbone, one.feedback) for one in published() if one.method not in others}
    assert ours == theirs and len(ours) == 21


def test_switches_are_spelled_in_one_way():
    for text in ("yes,no", "on,off", "true,false", "True,none"):
        changes = parse_assignments([f"mlp={text}", "crop=224,none"])
        places = labels(tasks_of(wish(method="sclip", changes=changes)))
        ends = [f"mlp={mlp},crop={crop}" for mlp in ("on", "off") for crop in ("224", "none")]
        assert places == [f"scenes/sclip/{end}" for end in ends]


def test_all_methods_and_several_clips_have_folders_of_their_own():
    names = ["clip", "maskclip", "sclip", "clearclip", "naclip", "proxyclip", "sfp", "sc-clip", "resclip"]
    names += ["lposs", "lposs+", "trident"]
    assert labels(tasks_of(wish(methods="all"))) == [f"scenes/{name}" for name in names]
    fed = labels(tasks_of(wish(methods="all", fsa="off,on")))
    assert "scenes/sfp+fsa" in fed and "scenes/lposs" in fed and not {"scenes/lposs+fsa", "scenes/lposs++fsa"} & {*fed}
    clips = ("tiny", "openai/clip-vit-large-patch14")
    both = tasks_of(wish(methods="sclip", fsa="off,on", clips=clips))
    assert labels(both) == [
        f"scenes/{clip}/{label}" for clip in ("tiny", "clip-vit-large-patch14") for label in ("sclip", "sclip+fsa")
    ]
    assert [task.clip for task in both] == [clips[0]] * 2 + [clips[1]] * 2
    alike = tasks_of(wish(method="sclip", clips=("a/clip", "b/clip")))
    assert labels(alike) == ["scenes/a--clip/sclip", "scenes/b--clip/sclip"]
    assert tasks_of(wish(clips=("tiny",)))[0].out == Path("runs")


def test_a_guide_serves_the_methods_that_take_one():
    tasks = tasks_of(wish(methods="sclip,proxyclip,sfp", fsa="off,on", vision="dinov2"))
    assert [task.vision for task in tasks] == [None, None, "dinov2", "dinov2", None, None]
    own = tasks_of(wish(methods="sclip,idea.py:mix", vision="dinov2"))  # which may look at what the guide sees
    assert [task.vision for task in own] == [None, "dinov2"]
    with pytest.raises(OptionError, match="no guide serves"):
        tasks_of(wish(methods="sclip,sfp", vision="dinov2"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"preset": "papr"}, "did you mean 'paper'"),
        ({"preset": "paper", "methods": "all"}, "--methods or --fsa came with --preset"),
        ({"preset": "paper", "fsa": "on"}, "came with --preset"),
        ({"preset": "paper", "method": "sclip", "vision": "sam"}, "--method and --vision came with --preset"),
        ({"methods": "all", "recipe": "sclip/voc21"}, "--recipe came with --methods"),
    ],
)
def test_options_of_a_sweep_that_contradict(options, said):
    with pytest.raises(OptionError, match=said):
        tasks_of(wish(**options))


def test_all_takes_what_is_there_and_names_the_rest(tmp_path):
    for key in ("voc21", "ade20k"):
        make(tmp_path / DATASETS[key].root, key, ["a", "b"])
    (tmp_path / DATASETS["cityscapes"].root / "leftImg8bit" / "val").mkdir(parents=True)
    (tmp_path / DATASETS["cityscapes"].root / "gtFine" / "val").mkdir(parents=True)
    said = []
    tasks = tasks_of(wish("all", places=(str(tmp_path),)), said.append)
    assert "voc21" in [task.key for task in tasks] and "ade20k" in [task.key for task in tasks]
    assert {task.key for task in tasks}.isdisjoint({"coco-object", "coco-stuff", "cityscapes"})
    assert said[0].startswith("not there, and left out: ") and "coco-stuff" in said[0]
    assert any(line.startswith("left out: cityscapes: ") for line in said[1:])
    with pytest.raises(OptionError, match="none of the papers' eight"):
        tasks_of(wish("all", places=(str(tmp_path / DATASETS["cityscapes"].root / "gtFine"),)))


# --- what it would take


def test_a_few_are_spread_over_all_and_times_are_said_in_their_unit():
    assert list(range(100))[spread(100, 4)] == [0, 25, 50, 75]
    assert list(range(3))[spread(3, 8)] == [0, 1, 2] and list(range(9))[spread(9, 8)] == list(range(8))
    assert [duration(seconds) for seconds in (41, 600, 12000, 800000)] == [
        "41 seconds",
        "10 minutes",
        "3.3 hours",
        "9.26 days",
    ]


def test_a_dry_run_says_what_it_would_take_and_writes_nothing(evaluate, tmp_path):
    words = ("--methods", "sclip,sfp", "--scores", "--save-maps", "--out", tmp_path / "runs")
    result = evaluate(*words, "--dry-run", "--json")
    assert result.exit_code == 0 and not (tmp_path / "runs").exists()
    found = json.loads(result.stdout)
    assert (found["dataset"], found["runs"], found["images"], found["tried"]) == ("scenes", 2, 10, 8)
    assert found["unusable"] == 0 and found["seconds"] > 0 and found["windows"] % 20 == 0
    assert evaluate(*words).exit_code == 0
    runs = [path.parent for path in (tmp_path / "runs").rglob("run.json")]
    kept = {
        part: sum(f.stat().st_size for run in runs for f in (run / part).rglob("*.*")) for part in ("maps", "scores")
    }
    assert found["scores"] == pytest.approx(kept["scores"], rel=0.01)  # windows of one size
    assert found["maps"] == pytest.approx(kept["maps"], rel=0.3)
    table = evaluate(*words, "--dry-run").stdout
    assert "judged by" in table.replace("judged \n", "judged by") or "8 images" in table
    assert "in all about" in table


def test_a_dry_run_counts_what_it_has_no_weights_for(evaluate, tmp_path):
    """Windows are known without a network, times are not; a name that is none is still an error."""
    words = ("--methods", "sclip,proxyclip", "--vision", "dinov2", "--offline", "--dry-run")
    result = evaluate(*words, "--json")
    assert result.exit_code == 0 and "1 run without a time: model 'facebook/dinov2" in result.stderr
    found = json.loads(result.stdout)
    assert (found["runs"], found["untimed"]) == (2, 1) and found["seconds"] > 0
    both = json.loads(evaluate("--methods", "sclip,clearclip", "--dry-run", "--json").stdout)
    assert both["untimed"] == 0 and both["windows"] == found["windows"]
    assert "for 1 of 2" in evaluate(*words).stdout
    none = evaluate("--method", "proxyclip", "--vision", "dinov2", "--offline", "--dry-run")
    assert none.exit_code == 0 and "cannot be judged" in none.stdout
    assert "does not exist" in complaint(evaluate("--method", "proxyclip", "--vision", "a/b/c", "--dry-run"))


# --- how far it is


def test_the_first_line_comes_before_pytorch(drawn):
    code = "import sys; sys.modules['torch'] = None; from segloop.cli import main; main()"
    words = [sys.executable, "-c", code, "evaluate", "scenes", "--data", str(drawn), "--method", "sclip"]
    line = subprocess.run(words, capture_output=True, text=True, timeout=120).stderr.splitlines()[0]
    assert line == f"evaluate: evaluating scenes with sclip; loading PyTorch, then looking at {drawn}"


def test_progress_counts_images_of_all_runs(evaluate, tmp_path, monkeypatch):
    seen = []

    @contextmanager
    def progress(label, total):
        yield lambda done, total, note="": seen.append((done, total))

    monkeypatch.setattr(console, "progress", progress)
    words = ("--methods", "sclip,maskclip", "--out", tmp_path / "runs", "--shard", 10)
    assert evaluate(*words).exit_code == 0
    told = [done for done, _ in seen]
    assert seen[0] == (0, 20) and told == sorted(told) and set(told) == set(range(21))
    seen.clear()
    assert evaluate(*words).exit_code == 0
    assert seen[-1] == (20, 20)  # what was done before counts


def test_one_image_has_no_interval(evaluate, tmp_path):
    result = evaluate("--out", tmp_path / "run", "--limit", 1)
    assert "one image" in " ".join(result.stdout.split())
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["intervals"]["mIoU"] == [None, None]


def test_clips_of_one_command_are_runs_beside_each_other(segloop, toy_clip, drawn, tmp_path):
    words = ("--data", drawn, "--method", "sclip", "--templates", "plain", "--limit", 1, "--out", tmp_path / "runs")
    result = segloop("evaluate", "scenes", "--clip", f"tiny, {toy_clip}", *words)
    assert result.exit_code == 0, result.output
    runs = sorted(path.parent.relative_to(tmp_path / "runs").as_posix() for path in tmp_path.rglob("run.json"))
    assert runs == ["scenes/tiny/sclip", f"scenes/{toy_clip.name}/sclip"]
    twice = segloop("evaluate", "scenes", "--clip", "tiny,tiny", *words[:-1], tmp_path / "once")
    assert twice.exit_code == 0 and "tiny came twice in --clip tiny,tiny: it is done once" in twice.stderr
    assert "between its commas" in complaint(segloop("evaluate", "scenes", "--clip", "tiny,", *words))


def test_a_value_that_comes_twice_is_told(evaluate, tmp_path):
    told = evaluate("--out", tmp_path / "run", "--method", "naclip", "--set", "stride=32,32", "--dry-run")
    assert told.exit_code == 0
    assert "32 came twice in --set stride: it is done once" in told.stderr


def test_presets_are_listed(segloop):
    told = segloop("methods").stdout
    assert all(name in told for name in PRESETS) and "33 in all" in told

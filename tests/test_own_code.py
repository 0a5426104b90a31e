"""Records tell the code of your own: the file that was named and all of yours that it imports, now or later."""

import json
import shutil
from pathlib import Path

import pytest

import segloop as package
from command import WORDS, complaint, done, record, sentence
from segloop import Segmenter
from segloop.common.reach import is_own
from segloop.common.world import World, code_behind
from segloop.runs.record import versions

IDEA = """
from helper import W

def mix(block):
    return lambda values: W * values
"""
LAZY = """
def mix(block):
    from helper import W
    return lambda values: W * values
"""
COMPUTED = """
import importlib

def mix(block):
    W = importlib.import_module("helper").W
    return lambda values: W * values
"""
DEEPER = IDEA.replace("helper", "middle")
BELOW = IDEA.replace("helper", "parts.helper")
ALL = {"idea": IDEA, "lazy": LAZY, "literal": COMPUTED}
SMALL = ("--limit", 2, "--method", "idea.py:mix")


def write(folder: Path, **files: str) -> Path:
    """Modules by name; "mine_helper" lies in the folder "mine"."""
    for name, text in files.items():
        *above, own = name.split("_")
        path = folder.joinpath(*above) / f"{'__init__' if own == 'init' else own}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def went(result):
    """An evaluation that went well; of its images, it says on stderr that they are few."""
    assert result.exit_code == 0, result.output
    return result


def refused(result) -> str:
    assert result.exit_code == 2, result.output
    return sentence(result.stderr.splitlines()[-1])


def run_of(folder: Path) -> dict:
    return json.loads((folder / "run.json").read_text())


@pytest.mark.parametrize("text", ALL.values(), ids=ALL)
def test_a_module_that_changed_makes_another_run(evaluate, tmp_path, text):
    write(tmp_path, idea=text, helper="W = 1.0")
    went(evaluate(*SMALL, "--out", "run"))
    assert list(run_of(tmp_path / "run")["settings"]["code"]) == ["idea.py", "helper.py"]
    assert "holds this run, done" in evaluate(*SMALL, "--out", "run").stderr
    write(tmp_path, helper="W = -1.")  # of the same length, within the same second
    told = refused(evaluate(*SMALL, "--out", "run"))
    assert "run holds a run with other settings: other code of your attention (helper.py)" in told
    went(evaluate(*SMALL, "--out", "fresh"))
    first, fresh = (run_of(tmp_path / name) for name in ("run", "fresh"))
    assert first["metrics"] != fresh["metrics"]
    write(tmp_path, helper="W = 1.0")
    assert "holds this run, done" in evaluate(*SMALL, "--out", "run").stderr


def test_a_stopped_run_does_not_go_on_with_other_code(evaluate, tmp_path):
    write(tmp_path, idea=IDEA, helper="W = 1.0")
    options = ("--limit", 3, "--shard", 1, "--method", "idea.py:mix", "--out", "run")
    went(evaluate(*options))
    whole = run_of(tmp_path / "run")
    kept = {key: value for key, value in whole.items() if key not in ("images", "failed", "metrics", "intervals")}
    (tmp_path / "run" / "run.json").write_text(json.dumps({**kept, "state": "running"}))
    write(tmp_path, helper="W = -1.")
    assert "(helper.py)" in refused(evaluate(*options))
    write(tmp_path, helper="W = 1.0")
    assert evaluate(*options).exit_code == 0 and run_of(tmp_path / "run") == whole


def test_modules_behind_modules_count(evaluate, tmp_path):
    write(tmp_path, idea=DEEPER, middle="from helper import W", helper="W = 1.0")
    went(evaluate(*SMALL, "--out", "run"))
    write(tmp_path, helper="W = 2.0")
    assert "other code of your attention (helper.py)" in refused(evaluate(*SMALL, "--out", "run"))


def test_packages_and_folders_below_count(evaluate, tmp_path):
    write(tmp_path, idea=BELOW, parts_init="from . import other", parts_other="", parts_helper="W = 1.0")
    went(evaluate(*SMALL, "--out", "run"))
    files = run_of(tmp_path / "run")["settings"]["code"]
    assert set(files) == {"idea.py", "parts/__init__.py", "parts/other.py", "parts/helper.py"}
    shutil.rmtree(tmp_path / "parts" / "__pycache__", ignore_errors=True)
    (tmp_path / "parts" / "__init__.py").unlink()  # a folder of modules is enough
    assert "(parts/__init__.py)" in refused(evaluate(*SMALL, "--out", "run"))
    went(evaluate(*SMALL, "--out", "other"))
    assert set(run_of(tmp_path / "other")["settings"]["code"]) == {"idea.py", "parts/helper.py"}


def test_modules_elsewhere_count_by_their_name(evaluate, tmp_path, tmp_path_factory, monkeypatch):
    elsewhere = write(tmp_path_factory.mktemp("elsewhere"), mine_init="", mine_helper="W = 1.0")
    monkeypatch.syspath_prepend(str(elsewhere))  # as a package that is installed for development
    write(tmp_path, idea=IDEA.replace("helper", "mine.helper"))
    went(evaluate(*SMALL, "--out", "run"))
    text = (tmp_path / "run" / "run.json").read_text()
    assert list(json.loads(text)["settings"]["code"]) == ["idea.py", "mine/__init__.py", "mine/helper.py"]
    assert str(tmp_path) not in text
    write(elsewhere, mine_helper="W = 2.0")
    assert "(mine/helper.py)" in refused(evaluate(*SMALL, "--out", "run"))


def test_libraries_do_not_count(tmp_path):
    write(
        tmp_path,
        idea="import json, torch\nimport numpy as np\nfrom segloop.attention import product\nmix = product('qq')",
    )
    world = World(tmp_path / "idea.py")
    world.run()
    assert list(world.code.files) == ["idea.py"]
    assert code_behind(package.Segmenter) is None and code_behind(json.loads) is None
    inside = tmp_path / "venv" / "lib" / "site-packages" / "one.py"  # below the folder of the attention
    assert not is_own(str(inside), str(tmp_path)) and is_own(str(tmp_path / "one.py"), str(tmp_path))
    assert is_own(str(inside), str(inside.parent)) and not is_own(str(inside), "")


def test_two_folders_share_no_module(evaluate, tmp_path):
    for name, weight in (("one", "1.0"), ("two", "-1."), ("again", "1.0")):
        write(tmp_path / name, idea=LAZY, helper=f"W = {weight}")
    methods = ",".join(f"{name}/idea.py:mix" for name in ("one", "two", "again"))
    went(evaluate("--limit", 2, "--methods", methods, "--out", "runs"))
    found = [run_of(tmp_path / "runs" / "scenes" / f"idea-mix{end}") for end in ("", "-2", "-3")]
    assert found[0]["metrics"] == found[2]["metrics"] != found[1]["metrics"]
    assert found[0]["settings"]["code"] == found[2]["settings"]["code"] != found[1]["settings"]["code"]


def test_modules_of_the_process_stay_what_they_are(evaluate, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(write(tmp_path / "path", helper="W = 3.0")))
    import helper  # the program's own

    write(tmp_path, idea=IDEA, helper="W = 1.0")
    went(evaluate(*SMALL, "--out", "run"))
    import helper as again

    assert again is helper and helper.W == 3.0
    assert set(run_of(tmp_path / "run")["settings"]["code"]) == {"idea.py", "helper.py"}


def test_what_no_hash_covers_is_said(evaluate, segloop, street, toy_clip, tmp_path):
    reads = "import os\nimport numpy as np\n\ndef weights():\n    return np.load('w.npy'), os.environ['W'], open('w')\n"
    write(tmp_path, idea=IDEA, helper=reads + "W = 1.0")
    words = "np.load in helper.py, open in helper.py, os.environ in helper.py"
    told = evaluate(*SMALL, "--out", "run")
    assert told.exit_code == 0 and f"no record tells what this reads: {words}; where that changes" in told.stderr
    assert run_of(tmp_path / "run")["settings"]["code_unseen"] == words.split(", ")
    options = ("--clip", toy_clip, "--templates", "plain", "--method", "idea.py:mix", "--out", "labels")
    told = segloop("label", street, "--classes", "a,b", *options)
    assert told.exit_code == 0 and words in told.stderr
    write(tmp_path, helper="import importlib\nname = 'math'\nimportlib.import_module(name)\nW = 1.0")
    assert "importlib.import_module in helper.py" in evaluate(*SMALL, "--out", "other").stderr


def test_a_labelling_is_held_to_the_same(segloop, street, toy_clip, tmp_path):
    write(tmp_path, idea=LAZY, helper="W = 1.0")
    options = ("--clip", toy_clip, "--templates", "plain", "--classes", "a,b", "--out", "labels")
    for how in (("--method", "idea.py:mix"), ("--host", "idea.py:mix", "--overwrite")):
        assert segloop("label", street, *options, *how).exit_code == 0
        write(tmp_path, helper="W = 2.0")
        told = complaint(segloop("label", street, *options, *how[:2]))
        assert "other code of your attention (helper.py)" in told
        write(tmp_path, helper="W = 1.0")


def test_a_labelling_from_python_knows_the_code_of_a_function(street, toy_clip, tmp_path, monkeypatch):
    from segloop.errors import OptionError

    monkeypatch.syspath_prepend(str(write(tmp_path / "src", ownmix=LAZY, helper="W = 1.0")))
    import ownmix

    segmenter = Segmenter.from_pretrained(toy_clip, method=ownmix.mix)
    package.label(street, segmenter, ["a", "b"], tmp_path / "labels")
    assert list(run_of(tmp_path / "labels")["settings"]["code"]) == ["ownmix.py", "helper.py"]
    write(tmp_path / "src", helper="W = 2.0")
    with pytest.raises(OptionError, match=r"other code of your attention \(helper.py\)"):
        package.label(street, Segmenter.from_pretrained(toy_clip, method=ownmix.mix), ["a", "b"], tmp_path / "labels")


def test_deciding_anew_knows_whose_cosines_they_were(evaluate, segloop, tmp_path):
    write(tmp_path, idea=IDEA, helper="W = 1.0")
    went(evaluate(*SMALL, "--scores", "--out", "run"))
    again = ("evaluate", "--from-scores", "run", "--set", "logit_scale=20", "--out", "anew")
    done(segloop(*again))
    assert run_of(tmp_path / "anew")["settings"]["code"] == run_of(tmp_path / "run")["settings"]["code"]
    assert json.loads(done(segloop("tune", "run", "--json")).stdout)["images"] == [1, 1]
    write(tmp_path, helper="W = 2.0")
    went(evaluate(*SMALL, "--scores", "--out", "run", "--overwrite"))
    assert "other code of your attention (helper.py)" in complaint(segloop(*again))


def test_a_photo_s_record_tells_it_too(segment, street, tmp_path):
    write(tmp_path, idea=IDEA, helper="W = 1.0")
    done(segment(street, *WORDS, "--method", "idea.py:mix"))
    assert list(record(tmp_path / "segloop-out/street")["settings"]["code"]) == ["idea.py", "helper.py"]


def test_photos_that_were_cut_with_other_code_are_done_anew(segment, street, meadow, tmp_path):
    write(tmp_path, idea=IDEA, helper="W = 1.0")
    command = (street, meadow, *WORDS, "--method", "idea.py:mix")
    done(segment(*command))
    assert "2 of 2 photos were done before" in segment(*command).stderr
    write(tmp_path, helper="W = -1.")
    assert "done before" not in segment(*command).stderr


def test_a_file_is_run_once_in_a_sweep(evaluate, tmp_path):
    write(tmp_path, idea="print('run')\n\ndef mix(block, tau=1.0):\n    return lambda values: tau * values\n")
    told = went(evaluate("--limit", 1, "--method", "idea.py:mix", "--set", "tau=1,2,3", "--out", "runs"))
    assert told.stdout.count("run\n") <= 2  # once to see what is a list, once for all runs


def test_what_segloop_runs_on_is_never_run_twice(tmp_path):
    fork = str(tmp_path / "fork" / "torch" / "__init__.py")
    assert not is_own(fork, str(tmp_path / "mine"), "torch") and is_own(fork, str(tmp_path / "mine"), "torchy")


def test_a_record_that_knows_one_file_only_still_opens(evaluate, tmp_path):
    """Earlier records have `code_hash`, of the file that was named."""
    write(tmp_path, idea="def mix(block):\n    return lambda values: values\n")
    went(evaluate(*SMALL, "--out", "run"))
    run = run_of(tmp_path / "run")
    run["settings"]["code_hash"] = run["settings"].pop("code")["idea.py"]
    assert run["versions"] == versions()
    (tmp_path / "run" / "run.json").write_text(json.dumps(run))
    assert "holds this run, done" in evaluate(*SMALL, "--out", "run").stderr
    write(tmp_path, idea="def mix(block):\n    return lambda values: -values\n")
    assert "other code of your attention (idea.py)" in refused(evaluate(*SMALL, "--out", "run"))


def test_reports_name_the_file(evaluate, segloop, tmp_path):
    write(tmp_path, idea=IDEA, helper="W = 1.0")
    went(evaluate(*SMALL, "--out", "one"))
    write(tmp_path, helper="W = 2.0")
    went(evaluate(*SMALL, "--out", "two"))
    assert "other code of your attention (helper.py)" in done(segloop("report", "one", "two")).stdout

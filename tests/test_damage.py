"""Every kind of file that a run keeps, damaged: a sentence, never a fault of segloop, never another figure unsaid."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

import conftest
from command import complaint, sentence
from damage import DEEP, damaged
from runs import RECORD, record_of
from segloop.cli import app
from segloop.common.archives import DamagedError, read_npz
from segloop.runs import record as records
from segloop.scenes.draw import write_scenes

pytestmark = pytest.mark.usefixtures("one_thread")

QUICK = settings(max_examples=5, deadline=None, derandomize=True, database=None)
LONG = settings(max_examples=100, deadline=None, derandomize=True, database=None)
CLASS_FILES = {
    "c.txt": "grass\nsand\nwater\n",
    "c.json": '{"grass": 0, "sand": 1, "water": 2}',
    "c.yaml": "names:\n 0: grass\n 1: sand\n",
    "c.csv": "id,name\n0,grass\n1,sand\n",
    "c.xml": "<a><name>grass</name><name>sand</name></a>",
}


@dataclass(frozen=True)
class Worked:
    """Folders of runs of every kind as they were left, and a copy of them to be damaged."""

    kept: Path
    copy: Path

    def command(self, name: str, *words: object) -> Result:
        """A command on the copy; its errors come out as the command line says them."""
        model = ("--clip", self.copy / "toy", "--templates", "plain")
        own = {"evaluate": ("scenes", "--data", self.copy / "data"), "label": (self.copy / "data" / "images",)}
        words = (*own.get(name, ()), *words)
        if name in ("evaluate", "label"):
            words += (*model, "--threads", 1, "--shard", 2)
        return invoke(name, *words, *(model if name == "segment" else ()))

    def fresh(self) -> None:
        shutil.rmtree(self.copy, ignore_errors=True)
        shutil.copytree(self.kept, self.copy)

    def evaluate(self, run: str, *words: object) -> Result:
        return self.command("evaluate", "--out", self.copy / run, *words)

    def label(self, run: str, *words: object) -> Result:
        return self.command("label", "--classes-file", self.copy / "data/classes.txt", "--out", self.copy / run, *words)

    def segment(self, *words: object, out: str = "seg") -> Result:
        photos = [self.copy / "data/images" / f"00000{number}.png" for number in range(2)]
        words = words or ("--classes", "grass, sand")
        return self.command("segment", *photos, *words, "--out", self.copy / out, "--format", "png,json,npz,coco")

    def from_scores(self) -> Result:
        return invoke("evaluate", "--from-scores", self.copy / "done", "--out", self.copy / "anew", "--overwrite")


def invoke(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], prog_name="segloop")


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worked]:
    """A data set with a photo that is none; an evaluation done and one half done, labellings, results, a cache."""
    place = tmp_path_factory.mktemp("worked")
    made = Worked(place / "kept", place / "copy")
    made.copy.mkdir()
    conftest.write_toy_clip(made.copy / "toy")
    write_scenes(made.copy / "data", 4, 3, (48, 64))
    (made.copy / "data/images/000001.png").write_bytes(b"no photo")
    for name, text in CLASS_FILES.items():
        (made.copy / name).write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEGLOOP_CACHE", str(made.copy / "cache"))
        ended = [made.evaluate("done", "--scores", "--save-maps"), made.label("labelled", "--format", "coco")]
        patch.setattr(records, "clear_parts", lambda *_: None)
        ended += [made.evaluate("half"), made.label("begun"), made.segment()]
        assert [one.exit_code for one in ended] == [3] * 5, [one.output for one in ended]
        for run in ("half", "begun"):
            path = made.copy / run / "run.json"
            known = {name: value for name, value in json.loads(path.read_text()).items() if name not in FOUND}
            path.write_text(json.dumps({**known, "state": "running"}, indent=1))
        patch.undo()
        patch.setenv("SEGLOOP_CACHE", str(made.copy / "cache"))
        shutil.copytree(made.copy, made.kept)
        yield made


FOUND = ("images", "failed", "metrics", "intervals", "labels")


def lines_of(run: Path) -> list[str]:
    return sorted(path.name for path in run.iterdir() if path.name[0] != ".")


def fine(*results: Result) -> None:
    """Each of the commands ended as the command line says it may, and in words."""
    for result in results:
        assert isinstance(result.exception, (SystemExit, type(None))), repr(result.exception)
        assert result.exit_code in (0, 1, 2, 3), result.output
        assert "fault in segloop" not in result.output and "Traceback" not in result.output, result.output


def same(result: Result, run: Path, whole: Path, names: tuple[str, ...]) -> None:
    """Where a command went well, its figures are those of the run that nothing happened to."""
    if result.exit_code in (0, 3):
        assert [(run / name).read_bytes() for name in names] == [(whole / name).read_bytes() for name in names]


# each kind of file: which ones, and what is tried on them -------------------------------------------------------------


def finished(made: Worked) -> None:
    fine(made.evaluate("done", "--scores", "--save-maps"), invoke("report", made.copy / "done"))
    fine(invoke("report", made.copy / "done", "--format", "html", "--pictures", 1, "--out", made.copy / "r.html"))
    fine(made.from_scores(), invoke("tune", made.copy / "done"))


def scores(made: Worked) -> None:
    again, tuned = made.from_scores(), invoke("tune", made.copy / "done", "--json")
    fine(again, tuned)
    run = json.loads((made.copy / "anew/run.json").read_text())
    whole = json.loads((made.kept / "done/run.json").read_text())
    if run["failed"] == whole["failed"]:
        assert run["metrics"] == whole["metrics"]
    else:
        failed = (made.copy / "anew/failed.jsonl").read_text().splitlines()
        assert again.exit_code == 3 and len(failed) == 2 and "is damaged" in failed[1] + failed[0]
        assert tuned.exit_code == 3 and "is damaged" in tuned.stderr


def half(made: Worked) -> None:
    result = made.evaluate("half")
    fine(invoke("report", made.copy / "half"), result)
    same(result, made.copy / "half", made.kept / "done", RECORD[1:])


def begun(made: Worked) -> None:
    result = made.label("begun", "--format", "coco")
    fine(result)
    same(result, made.copy / "begun", made.kept / "labelled", ("photos.csv", "classes.csv", "parts/000000.jsonl"))


def labelled(made: Worked) -> None:
    result = made.label("labelled", "--format", "coco")
    fine(result, made.label("labelled", "--retry-failed"))
    same(result, made.copy / "labelled", made.kept / "labelled", ("annotations.coco.json",))


def segmented(made: Worked) -> None:
    fine(made.segment(), made.segment("--classes", "grass, sand", "--overwrite"))


def cached(made: Worked) -> None:
    result = made.segment()
    fine(result, made.label("begun"))
    same(result, made.copy / "seg", made.kept / "seg", ("000000.png", "000000.json"))


def model(made: Worked) -> None:
    fine(made.segment(), made.evaluate("half"))


def class_file(made: Worked) -> None:
    changed = (name for name in CLASS_FILES if (made.copy / name).read_bytes() != (made.kept / name).read_bytes())
    for name in changed:  # some damage leaves a short file as it was
        fine(made.segment("--classes-file", made.copy / name, out="own"))


KINDS: dict[str, tuple[str, Callable[[Worked], None]]] = {
    "finished": ("done/*.*", finished),
    "maps": ("done/maps/*", finished),
    "scores": ("done/scores/*", scores),
    "half": ("half/*.*", half),
    "parts": ("half/parts/*", half),
    "begun": ("begun/*.*", begun),
    "lines": ("begun/parts/*", begun),
    "labelled": ("labelled/**/*", labelled),
    "segmented": ("seg/*", segmented),
    "cached": ("cache/**/*", cached),
    "model": ("toy/*", model),
    "class_file": ("c.*", class_file),
}


def try_one(made: Worked, kind: str, seed: int) -> None:
    pattern, commands = KINDS[kind]
    files = sorted(path for path in made.kept.glob(pattern) if path.is_file() and path.name != ".lock")
    file = files[seed % len(files)]
    made.fresh()
    (made.copy / file.relative_to(made.kept)).write_bytes(damaged(file.read_bytes(), seed))
    commands(made)


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file(worked, kind):
    @QUICK
    @given(st.integers(0, 2**32 - 1))
    def tried(seed: int) -> None:
        try_one(worked, kind, seed)

    tried()


@pytest.mark.soak
@pytest.mark.parametrize("kind", KINDS)
def test_many_damaged_files(worked, kind):
    @LONG
    @given(st.integers(0, 2**32 - 1))
    def tried(seed: int) -> None:
        try_one(worked, kind, seed)

    tried()


# what must be said ---------------------------------------------------------------------------------------------------


def flip(path: Path, share: float) -> None:
    data = bytearray(path.read_bytes())
    data[int(share * len(data))] ^= 16
    path.write_bytes(data)


def test_a_flipped_byte_of_scores_costs_that_photo(worked):
    worked.fresh()
    flip(worked.copy / "done/scores/000002.npz", 0.2)
    result = worked.from_scores()
    assert result.exit_code == 3, result.output
    run = json.loads((worked.copy / "anew/run.json").read_text())
    assert (run["images"], run["failed"]) == (2, 2)
    tuned = invoke("tune", worked.copy / "done")
    assert tuned.exit_code == 3
    assert "scores/000002.npz is damaged" in sentence(tuned.stderr) and "--scores and --overwrite" in tuned.stderr
    whole = invoke("tune", worked.kept / "done")
    assert whole.exit_code == 0 and whole.stderr == ""  # the photo that the run could not count is no news


@pytest.mark.parametrize("run", ["half", "begun"])
def test_a_damaged_part_is_done_again_and_told(worked, run):
    worked.fresh()
    (part, other) = sorted((worked.copy / run / "parts").iterdir())
    kept = part.read_bytes(), other.read_bytes()
    go_on = worked.evaluate if run == "half" else worked.label
    for spoil in (lambda: flip(part, 0.4), lambda: part.write_bytes(kept[1])):  # a bit, and another shard's bytes
        shutil.copy(worked.kept / run / "run.json", worked.copy / run / "run.json")
        part.parent.mkdir(exist_ok=True)
        part.write_bytes(kept[0])
        other.write_bytes(kept[1])
        spoil()
        result = go_on(run)
        assert result.exit_code == 3, result.output
        assert f"{part} is damaged or of another run, its photos are done again" in result.stderr
        assert "going on, 1 of 2 shards are left" in result.stderr
    if run == "half":
        tables = RECORD[1:]
        assert [record_of(worked.copy / run)[name] for name in tables] == [
            (worked.kept / "done" / name).read_bytes() for name in tables
        ]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda run: {**run, "settings": [1]}, "is damaged: it lacks its settings"),
        (lambda run: {**run, "classes": "grass"}, "is damaged: it lacks its classes"),
        (lambda run: {name: run[name] for name in run if name not in FOUND}, "is said to be done and lacks its images"),
        (lambda run: {**run, "metrics": {"mIoU": "much"}}, "is said to be done and does not hold its results"),
        (lambda run: {**run, "metrics": {**run["metrics"], "mIoU": float("nan")}}, "is not the record of a run"),
        (lambda run: None, "is not the record of a run"),
    ],
)
def test_records_of_wrong_shape(worked, change, told):
    worked.fresh()
    path = worked.copy / "done/run.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    assert told in complaint(worked.evaluate("done", "--scores", "--save-maps"))


def test_settings_of_wrong_shape_are_not_decided_by(worked):
    for name, value in {
        "limit": "two",
        "void": None,
        "pixels": {"mean": "abc", "std": 1},
        "masks": {"values": 5},
    }.items():
        worked.fresh()
        path = worked.copy / "done/run.json"
        run = json.loads(path.read_text())
        path.write_text(json.dumps({**run, "settings": {**run["settings"], name: value}}))
        for result in (worked.from_scores(), invoke("tune", worked.copy / "done")):
            assert "run.json are damaged" in complaint(result)


def test_logs_of_any_shape_cost_nothing_but_themselves(worked):
    for text in (DEEP, b"null", b'{"starts": "x"}', b'{"starts": ["x"]}', b'{"starts": [{"data": [1], "split": 3}]}'):
        worked.fresh()
        (worked.copy / "begun/log.json").write_bytes(text)
        (worked.copy / "done/log.json").write_bytes(text)
        assert worked.label("begun").exit_code in (2, 3)  # 2: not a log of segloop's
        fine(worked.from_scores(), invoke("report", worked.copy / "done"))


# archives ------------------------------------------------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
def test_an_archive_is_read_as_written_or_not_at_all(tmp_path_factory, seed):
    arrays = {"rows": np.arange(24.0).reshape(4, 6), "name": np.array("grass"), "none": np.zeros((0, 2), np.int64)}
    path = tmp_path_factory.mktemp("npz") / "a.npz"
    (np.savez if seed % 2 else np.savez_compressed)(path, **arrays)
    data = damaged(path.read_bytes(), seed)
    try:
        found = read_npz(data)
    except DamagedError:
        return
    for name, array in found.items():
        np.testing.assert_array_equal(array, arrays[name])


def test_a_shape_that_is_too_small_is_no_archive(tmp_path):
    """The header says fewer numbers than there are: whoever stops reading there never meets the checksum."""
    np.savez(tmp_path / "a.npz", rows=np.arange(48.0).reshape(8, 6))
    data = (tmp_path / "a.npz").read_bytes()
    with pytest.raises(DamagedError):
        read_npz(data.replace(b"(8, 6)", b"(2, 6)"))

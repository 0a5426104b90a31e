"""Closed doors, link loops, names too long, bytes that are no text: the user's mistake, one sentence, exit code 2."""

import errno
import json
import os
import sys

import pytest
from PIL import Image

from command import WORDS, complaint, done, sentence
from powers import without_power
from records import write_run
from segloop.cli import main
from segloop.common import console
from segloop.common.system import refusal, unwritten
from segloop.common.visible import shortened, visible
from segloop.errors import MachineError, OutputError, UserError

pytestmark = pytest.mark.skipif(os.name != "posix", reason="permissions and links of POSIX")

# {} is the place that is no place
COMMANDS = {
    "photo": "segment {}/a.png WORDS CLIP",
    "result": "segment a.png WORDS CLIP --out {}/out",
    "words": "segment a.png --classes-file {}/classes.txt CLIP",
    "model": "segment a.png WORDS --clip {}/model --offline",
    "guide": "segment a.png WORDS CLIP --method proxyclip --vision {}/model --offline",
    "own method": "segment a.png WORDS CLIP --method {}/mine.py:mix",
    "own host": "segment a.png WORDS CLIP --host {}/mine.py:mix",
    "inspected photo": "inspect {}/a.png WORDS CLIP",
    "inspection": "inspect a.png WORDS CLIP --out {}/out",
    "data": "evaluate scenes CLIP --data {}/scenes --out run",
    "data of a key": "evaluate scenes CLIP --data scenes={} --out run",
    "run": "evaluate scenes CLIP --data DRAWN --out {}/run",
    "list": "evaluate scenes CLIP --data DRAWN --limit 1 --split {}/list.txt --out run",
    "scores": "evaluate --from-scores {}/run --out run",
    "tuned run": "tune {}/run",
    "reported run": "report {}/run",
    "reported place": "report {}",
    "report": "report written --out {}/report.md",
    "pictures": "report written --format html --pictures 1 --data {}/data",
    "scenes": "scenes {}/scenes --count 1 --size 32x32",
    "raw files": "prepare coco-object --data {}/raw",
    "raw files here": "prepare coco-object --data {}",
    "data sets": "datasets --data {}/data",
}
LONG = "n" * 300
DEEP = "/".join(["d" * 200] * 26)


@pytest.fixture
def command(segloop, toy_clip, drawn, photos, tmp_path):
    """A command of the table at a place -> click's Result."""
    Image.open(photos / "meadow.png").save(tmp_path / "a.png")
    write_run(tmp_path / "written")

    def run(name: str, place: str):
        parts: list[object] = []
        for part in COMMANDS[name].split():
            known = {"WORDS": WORDS, "CLIP": ("--clip", toy_clip, "--templates", "plain"), "DRAWN": (drawn,)}
            parts += known.get(part, (part.replace("{}", place),))
        with without_power():
            return segloop(*parts)

    return run


@pytest.fixture
def closed(tmp_path):
    """A folder with everything in it that may not be entered."""
    folder = tmp_path / "closed"
    for below in ("model", "run", "scenes/images", "scenes/masks", "images", "masks", "data", "raw", "out"):
        (folder / below).mkdir(parents=True)
    for file in ("a.png", "classes.txt", "mine.py", "list.txt", "model/config.json", "run/run.json", "report.md"):
        (folder / file).write_text("{}")
    folder.chmod(0)
    yield "closed"
    folder.chmod(0o755)


@pytest.mark.parametrize("name", COMMANDS)
def test_folders_that_may_not_be_entered(command, closed, name):
    complaint(command(name, closed))


@pytest.mark.parametrize("name", COMMANDS)
def test_links_that_lead_back_to_themselves(command, tmp_path, name):
    (tmp_path / "loop").symlink_to("loop")
    complaint(command(name, "loop"))


@pytest.mark.parametrize("place", [LONG, DEEP], ids=["300 bytes", "5000 bytes"])
@pytest.mark.parametrize("name", COMMANDS)
def test_names_that_are_too_long(command, place, name):
    assert len(complaint(command(name, place))) < 1000


@pytest.mark.parametrize("name", COMMANDS)
def test_a_file_where_a_folder_should_be(command, name):
    complaint(command(name, "a.png"))


WRITES = ("result", "inspection", "run", "report", "scenes")  # these make what is missing


@pytest.mark.parametrize("name", COMMANDS)
def test_bytes_that_are_no_text(command, name):
    result = command(name, os.fsdecode(b"gone\xff"))
    if name in WRITES:
        assert result.exit_code == 0, result.output
    else:
        complaint(result)
    assert not any("\ud800" <= sign <= "\udfff" for sign in result.output)


@pytest.mark.parametrize("name", [*WRITES, "tuned run"])
def test_folders_that_may_only_be_read(command, tmp_path, name):
    (tmp_path / "fixed").mkdir(mode=0o555)
    complaint(command(name, "fixed"))
    assert not list((tmp_path / "fixed").iterdir())


def test_words_of_bytes_that_are_no_text(segment, street):
    told = complaint(segment(street, "--classes", os.fsdecode(b"road, sk\xffy")))
    assert "class 2 holds bytes that are no text" in told and "UTF-8" in told


@pytest.mark.parametrize("options", [("--out", "~nobody-here/out"), ("--classes-file", "~nobody-here/list.txt")])
def test_homes_that_are_not_there(segment, street, options):
    words = WORDS if "--out" in options else ()
    assert segment(street, *words, *options).exit_code in (0, 2)


@pytest.mark.parametrize(
    "line", ["datasets --data ~nobody-here/x", "segment a.png --classes a,b --clip ~nobody-here/x"]
)
def test_homes_of_nobody(segloop, tmp_path, line):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    complaint(segloop(*line.split()))


def test_one_closed_data_set_hides_no_other(segloop, drawn, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "scenes").symlink_to(drawn)
    (tmp_path / "data" / "cityscapes").mkdir(mode=0)
    with without_power():
        result = done(segloop("datasets", "--data", "data", "--json"))
    found = {row["key"]: row["found"] for row in map(json.loads, result.stdout.splitlines())}
    assert found["scenes"].startswith("10 in ")


def test_the_current_folder_is_gone(segloop, street, tmp_path, monkeypatch):
    def gone():
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr(os, "getcwd", gone)
    told = complaint(segloop("segment", "a.png", *WORDS))
    assert "folder that the command runs in is gone" in told


# the table -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_every_number_has_its_sentence(number):
    told, code = console.explain(OSError(number, os.strerror(number), "some/path"))
    sentence(told)
    assert code in (1, 2)
    assert isinstance(unwritten(OSError(number, os.strerror(number)), "x"), (OutputError, MachineError))


def test_numbers_of_the_user_and_of_the_machine():
    users = (errno.EACCES, errno.ELOOP, errno.ENAMETOOLONG, errno.EROFS, errno.EISDIR, errno.ENOTDIR, errno.ENOENT)
    assert all(isinstance(refusal(OSError(number, "why", "x")), UserError) for number in users)
    machines = (errno.ENOSPC, errno.EIO, errno.EMFILE, errno.ENOMEM)
    assert all(isinstance(refusal(OSError(number, "why", "x")), MachineError) for number in machines)


def test_what_is_not_the_systems_stays_a_fault():
    assert refusal(OSError("cannot identify image file")) is None
    told, code = console.explain(OSError("cannot identify image file"))
    assert code == console.OURS and "fault in segloop" in told


def test_a_part_of_segloop_that_is_missing_is_no_mistake_of_the_users():
    told, code = console.explain(FileNotFoundError(errno.ENOENT, "No such file", console.__file__))
    assert code == console.OURS and "install segloop again" in told


@pytest.mark.parametrize(
    "error", [RuntimeError("Symlink loop from '/a/b'"), RuntimeError("Could not determine home directory.")]
)
def test_what_pathlib_says_in_words(error):
    told, code = console.explain(error)
    assert code == console.USERS and sentence(told)


# what reaches the terminal -------------------------------------------------------------------------------------

NASTY = "a\x1b[31mred\x9b2J\u202egnp\u2066\x07\r\u2028z"


def test_hidden_signs_are_spelled_out():
    shown = visible(NASTY)
    assert shown == r"a\u001b[31mred\u009b2J\u202egnp\u2066\u0007\u000d\u2028z"
    assert visible("Straße 道路 שביל a\nb", keep="\n") == "Straße 道路 שביל a\nb"
    assert json.loads(visible(json.dumps({NASTY: NASTY}, ensure_ascii=False))) == {NASTY: NASTY}


def test_long_paths_show_both_ends():
    assert shortened("a" * 90 + "b" * 90) == "a" * 80 + "..." + "b" * 80
    assert shortened(b"x") == shortened("x") == "x"


def hidden(text: str) -> list[str]:
    return [sign for sign in text if sign != "\n" and visible(sign) != sign]


def test_names_of_photos_and_classes_move_no_cursor(segment, street, tmp_path):
    photo = tmp_path / f"{NASTY}.jpg".replace("/", "")
    photo.write_bytes(street.read_bytes())
    for options in ((), ("--json",), ("--out", NASTY)):
        result = done(segment(photo, "--classes", f"x{NASTY},sky", *options))
        assert result.stdout.count("\n") == 1 and not hidden(result.output)
    assert json.loads(segment(photo, "--classes", f"{NASTY},sky", "--json").stdout)["source"] == str(photo)
    assert not hidden(segment(f"no{NASTY}", *WORDS).output)


@pytest.mark.parametrize("form", ["md", "csv", "html", "json"])
def test_records_move_no_cursor(segloop, tmp_path, form):
    command = {"method": NASTY, "recipe": NASTY, "model": NASTY, "vocabulary": NASTY}
    write_run(tmp_path / "run", classes=[NASTY, "road", "tree"], names=[NASTY], **command)
    result = segloop("report", "run", *(["--json"] if form == "json" else ["--format", form]))
    assert result.exit_code == 0 and not hidden(result.output)


def test_unfinished_records_move_no_cursor(segloop, tmp_path):
    write_run(tmp_path / "run", state="running")
    (tmp_path / "run" / "log.json").write_text(json.dumps({"starts": [{"command": f"segloop {NASTY}"}]}))
    assert not hidden(complaint(segloop("report", "run")))


def test_tables_take_names_as_they_are(capsys):
    console.table("t", ["run"], [[f"[red]{NASTY}"]])
    shown = capsys.readouterr().out
    assert "[red]a" in shown and not hidden(shown)


def test_tables_for_a_file_have_a_row_a_line(capsys):
    rows = [["long/" * 30, str(number)] * 4 for number in range(3)]
    console.table("t", [f"column {number}" for number in range(8)], rows)
    title, header, *lines = capsys.readouterr().out.splitlines()
    assert title.strip() == "t" and header.split()[:2] == ["column", "0"]
    assert [line.split() for line in lines] == rows


def test_the_parsers_complaints_move_no_cursor(monkeypatch, capsys):
    for arguments in ([NASTY], ["segment", f"--{NASTY}"], ["scenes", "x", "--count", NASTY]):
        monkeypatch.setattr(sys, "argv", ["segloop", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        assert ended.value.code == 2 and told.out == "" and "Error: " in told.err and not hidden(told.err)


def test_errors_are_not_printed_by_the_way():
    """Only console.py writes to the terminal, and the script that `segloop export` copies beside a model."""
    import ast
    from pathlib import Path

    source = Path(console.__file__).parents[1]
    for path in source.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and path.name not in ("console.py", "runner.py"):
                called = ast.unparse(node.func)
                assert called not in ("print", "typer.echo", "typer.secho", "sys.stdout.write"), f"{path}: {called}"


def test_closed_before_it_began(monkeypatch):
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    console.open_streams()
    assert all(getattr(sys, name) is not None for name in ("stdin", "stdout", "stderr"))

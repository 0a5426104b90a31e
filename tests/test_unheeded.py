"""What a command cannot heed is refused, not passed over."""

import pytest
import typer

from command import complaint
from segloop.cli import app

USELESS = (
    *(("--method", "qq"), ("--host", "qq"), ("--clip", "x"), ("--fidelity", "reference"), ("--limit", 2)),
    *(
        ("--boundary",),
        ("--methods", "qq"),
        ("--preset", "paper"),
        ("--dry-run",),
        ("--fsa", "on"),
        ("--templates", "plain"),
        ("--mask-values", "0=0"),
    ),
    *(("--bands", "1"), ("--stretch", "minmax"), ("--split", "x"), ("--names", "P"), ("--scores",), ("--save-maps",)),
    *(("--devices", "2"), ("--shard", 2), ("--batch", 2), ("--threads", 2), ("--device", "cpu"), ("--offline",)),
    *(("--recipe", "sclip/voc21"), ("--vision", "dino"), ("--dtype", "float32"), ("--turn-masks",)),
    ("--affinity", "sam"),
    *(("--mask-suffix", "x"), ("--image-suffix", "x"), ("--engine", "ray"), ("--address", "auto"), ("--actors", 2)),
    *(("--cpus", 2), ("--gpus", 1), ("--retry-failed",), ("--bank", "x"), ("--aliases", "builtin")),
)


def test_what_deciding_anew_cannot_heed_is_refused(segloop):
    again = ("evaluate", "--from-scores", "run", "--out", "anew")
    for words in USELESS:
        assert f"error: {words[0]} came with --from-scores" in complaint(segloop(*again, *words))
    told = complaint(segloop(*again, "voc21", *USELESS[4], *USELESS[0], "--set", "logit_scale=30", "--overwrite"))
    assert "error: KEY, --method, --limit came with --from-scores" in told and "--set of what decides" in told
    heeded = {"--set", "--masks", "--data", "--out", "--overwrite", "--json", "--debug", "--from-scores"}
    assert {words[0] for words in USELESS} | heeded == {name for name in options_of("evaluate") if name != "--help"}


def options_of(command: str) -> set[str]:
    found = typer.main.get_command(app).commands[command].params
    return {param.opts[0] for param in found if param.param_type_name == "option"}


@pytest.mark.parametrize("key", ["folder", "scenes", "camvid"])
def test_a_variant_of_a_list_that_has_none_is_refused(segloop, drawn, key):
    told = complaint(segloop("evaluate", key, "--data", drawn, "--names", "P"))
    assert told.startswith("error: --names P came with ") and "no variants; leave it out" in told


def test_scenes_of_two_seeds_are_never_mixed(segloop, tmp_path):
    size = ("--size", "32x32")
    assert segloop("scenes", "drawn", "--count", 3, *size).exit_code == 0
    before = {path: path.read_bytes() for path in (tmp_path / "drawn").rglob("*.*")}
    told = complaint(segloop("scenes", "drawn", "--count", 1, "--seed", 2, *size))
    assert "drawn has 2 more pictures, such as 000001.png" in told and "choose another folder" in told
    assert {path: path.read_bytes() for path in (tmp_path / "drawn").rglob("*.*")} == before
    assert segloop("scenes", "drawn", "--count", 3, "--seed", 2, *size).exit_code == 0


@pytest.mark.parametrize(
    "words",
    [
        ("evaluate", "scenes", "--data", "x", "--threads", 99999),
        ("evaluate", "scenes", "--data", "x", "--devices", 99999),
        ("label", "p.png", "--classes", "a, b", "--threads", 99999),
    ],
)
def test_more_threads_than_a_machine_carries_are_refused(segloop, street, tmp_path, words):
    (tmp_path / "p.png").write_bytes(street.read_bytes())
    told = complaint(segloop(*words))
    assert "99999 is more than this machine carries" in told and "give at most" in told

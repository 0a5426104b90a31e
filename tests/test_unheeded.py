"""What a command cannot heed is refused, not passed over."""

import typer

from command import complaint
from segloop.cli import app

USELESS = (
    *(("--method", "qq"), ("--host", "qq"), ("--clip", "x"), ("--fidelity", "reference"), ("--limit", 2)),
    *(("--boundary",), ("--methods", "qq"), ("--fsa", "on"), ("--templates", "plain"), ("--mask-values", "0=0")),
    *(("--bands", "1"), ("--stretch", "minmax"), ("--split", "x"), ("--names", "P"), ("--scores",), ("--save-maps",)),
    *(("--devices", "2"), ("--shard", 2), ("--batch", 2), ("--threads", 2), ("--device", "cpu"), ("--offline",)),
    *(("--recipe", "sclip/voc21"), ("--vision", "dino"), ("--dtype", "float32"), ("--turn-masks",)),
    *(("--mask-suffix", "x"), ("--image-suffix", "x")),
)


def test_what_deciding_anew_cannot_heed_is_refused(segloop):
    again = ("evaluate", "--from-scores", "run", "--out", "anew")
    for words in USELESS:
        assert f"error: {words[0]} came with --from-scores" in complaint(segloop(*again, *words))
    told = complaint(segloop(*again, "voc21", *USELESS[4], *USELESS[0], "--set", "logit_scale=30", "--overwrite"))
    assert "error: KEY, --method, --limit came with --from-scores" in told and "--set of what decides" in told
    heeded = {"--set", "--data", "--out", "--overwrite", "--json", "--debug", "--from-scores"}
    assert {words[0] for words in USELESS} | heeded == {name for name in options_of("evaluate") if name != "--help"}


def options_of(command: str) -> set[str]:
    found = typer.main.get_command(app).commands[command].params
    return {param.opts[0] for param in found if param.param_type_name == "option"}

"""What tests of the command line check again and again."""

import json
from pathlib import Path

WORDS = ("--classes", "road, car|automobile, sky")


def complaint(result, code: int = 2) -> str:
    """The one sentence that a failed command says: on stderr, with remedy, without traceback."""
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    return sentence(result.stderr)


def sentence(text: str) -> str:
    (line,) = lines_of(text)
    assert line.startswith("error: ") and line.endswith(".") and "; " in line
    assert "fault in segloop" not in line
    return line


def lines_of(text: str) -> list[str]:
    """Lines of stderr, without what `evaluate` begins with, and what it says of classes that few labels do not hold."""
    return [line for line in text.splitlines() if not line.startswith("evaluate: ") and " in no label, " not in line]


def done(result):
    """A command that went well and had nothing to complain of."""
    assert result.exit_code == 0, result.output
    assert lines_of(result.stderr) == []
    return result


def record(stem: Path) -> dict:
    return json.loads(Path(f"{stem}.json").read_text(encoding="utf-8"))


def left_over(folder: Path) -> list[Path]:
    """Files that a write has begun and not ended."""
    return [path for path in folder.rglob("*") if path.name.startswith(".") or path.suffix == ".part"]

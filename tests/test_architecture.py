"""The pages on the architecture are of this code."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_pages_are_of_this_code():
    command = [sys.executable, ROOT / "tools" / "architecture.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_the_readme_lists_the_rooms():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    tree = text.split("## The tree")[1].split("```")[1]
    listed = {line.strip() for line in tree.splitlines()[1:] if line.strip()}
    rooms = {path.name for path in (ROOT / "src" / "segloop").iterdir() if (path / "__init__.py").is_file()}
    assert len(listed) <= 15
    assert not {room for room in rooms if f"{room}/" not in tree}

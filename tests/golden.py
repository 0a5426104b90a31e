"""Finds the reference cases beside the project; see the README.md of golden/ and golden_more/. No folder: no cases."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2] / "shared" / "golden"
MORE = ROOT.with_name("golden_more")


@dataclass(frozen=True)
class Case:
    folder: Path
    manifest: dict[str, Any]

    def __str__(self) -> str:
        return self.folder.name

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        with np.load(self.folder / "arrays.npz") as stored:
            return dict(stored)

    def beside(self, name: str) -> Path:
        """A file named relative to the case's collection, here or in that of ROOT."""
        here = self.folder.parent / name
        return here if here.exists() else ROOT / self.folder.parent.name / name


def cases(collection: str) -> list[Case]:
    found = [path for root in (ROOT, MORE) for path in sorted((root / collection).glob("*/manifest.json"))]
    return [Case(path.parent, json.loads(path.read_text())) for path in found]

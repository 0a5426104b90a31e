"""Finds the reference cases beside the project; see golden/README.md there. Absent folder: no cases."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2] / "shared" / "golden"


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
        """A file named relative to the case's collection."""
        return self.folder.parent / name


def cases(collection: str) -> list[Case]:
    found = sorted((ROOT / collection).glob("*/manifest.json"))
    return [Case(path.parent, json.loads(path.read_text())) for path in found]

"""What tests of evaluations share: small data sets, and the files of a record that must not change."""

from pathlib import Path

RECORD = ("run.json", "images.csv", "counts.npz", "classes.csv")


def record_of(folder: Path) -> dict[str, bytes]:
    """The part of a run's folder that its inputs determine."""
    return {name: (folder / name).read_bytes() for name in RECORD}

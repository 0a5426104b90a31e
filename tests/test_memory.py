"""Campaigns of memory, run by hand: large photos stay under what most machines have."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

LARGE = Path(__file__).parents[1] / "benchmarks" / "large.py"
MOST = 4e9 / 2**20  # MiB


@pytest.mark.soak
@pytest.mark.parametrize(("words", "photos"), [(171, 1), (400, 1), (171, 3)])
def test_48_megapixels_stay_under_4_gigabytes(words, photos):
    command = [sys.executable, str(LARGE), "--words", str(words), "--photos", str(photos)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert json.loads(told.splitlines()[-1])["peak_mib"][str(words)] < MOST

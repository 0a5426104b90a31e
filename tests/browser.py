"""A page in a headless Chromium, without network: what its script made of it, and how it looks."""

import io
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
ALONE = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
    *("--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr", "--hide-scrollbars"),
)
TIMEOUT = 120  # seconds; far more than needed


def needed() -> str:
    """The browser's program; skips the test where there is none."""
    found = next((path for path in map(shutil.which, NAMES) if path), None)
    if found is None:
        pytest.skip("no Chromium on this machine")
    return found


def document(page: Path, folder: Path) -> tuple[str, list[str]]:
    """(the document once it is loaded, what the page said to the console); `folder` is fresh and the test's own."""
    result = _run(page, folder, ["--dump-dom"])
    return result.stdout.decode("utf-8"), re.findall(r"CONSOLE.*", result.stderr.decode("utf-8", "replace"))


def screenshot(page: Path, folder: Path, size: tuple[int, int] = (1200, 900), dark: bool = False) -> np.ndarray:
    """(height, width, 3) uint8 of a window of `size` (width, height)."""
    picture = folder / "screenshot.png"
    look = ["--blink-settings=preferredColorScheme=0"] if dark else []
    _run(page, folder, [f"--screenshot={picture}", f"--window-size={size[0]},{size[1]}", *look])
    with Image.open(io.BytesIO(picture.read_bytes())) as image:
        return np.asarray(image.convert("RGB"))


def _run(page: Path, folder: Path, options: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
    own = folder / f"profile-{len(list(folder.iterdir()))}"
    own.mkdir(parents=True)
    command = [needed(), *ALONE, f"--user-data-dir={own}", *options, page.resolve().as_uri()]
    result = subprocess.run(command, capture_output=True, timeout=TIMEOUT, check=False)
    assert result.returncode == 0, result.stderr.decode("utf-8", "replace")[-2000:]
    return result

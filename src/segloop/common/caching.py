"""Where what is made once is kept for the next time."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from platformdirs import user_cache_dir

from ..errors import SegloopError
from .files import regular, write_whole


def cache_root() -> Path:
    """SEGLOOP_CACHE, else the user's cache folder of this system."""
    given = os.environ.get("SEGLOOP_CACHE")
    return Path(os.path.expanduser(given)) if given else Path(user_cache_dir("segloop"))


def key_of(*parts: Any) -> str:
    """A name for what depends on these, which are fit for JSON."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def recall(folder: str, key: str) -> dict[str, Any] | None:
    """A small record that was kept below the cache's `folder`, or None where there is none, or a damaged one."""
    try:
        found = json.loads(regular(cache_root() / folder / f"{key}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, SegloopError):
        return None
    return found if isinstance(found, dict) else None


def keep(folder: str, key: str, record: dict[str, Any]) -> None:
    """Keep a small record; a cache that cannot be written costs time at the next start, and no more."""
    try:
        write_whole(cache_root() / folder / f"{key}.json", json.dumps(record).encode())
    except SegloopError:
        return

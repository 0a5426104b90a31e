"""How much memory this machine still has for a program, as far as it says."""

import os
from pathlib import Path

MEMINFO = Path("/proc/meminfo")
GROUPS = ((Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),)  # what a container may take


def free_memory() -> int | None:
    """Bytes that can be had without taking them from others; None where the system does not say."""
    known = [size for size in (_of_the_machine(), *(_of_a_group(*files) for files in GROUPS)) if size is not None]
    return min(known, default=None)


def _of_the_machine() -> int | None:
    try:
        lines = (line.split() for line in MEMINFO.read_text().splitlines())
        return next((int(line[1]) * 1024 for line in lines if line[:1] == ["MemAvailable:"]), None)
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not on Windows, not on macOS
        return None


def _of_a_group(most: Path, current: Path) -> int | None:
    try:
        return max(0, int(most.read_text()) - int(current.read_text()))
    except (OSError, ValueError):  # no group, or "max"
        return None

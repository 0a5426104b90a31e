"""What a run was made on."""

import os
import platform
import shlex
import sys
from pathlib import Path, PurePath
from typing import Any

import torch


def command_line() -> str:
    """The command as it can be typed again."""
    program, *words = sys.argv
    return shlex.join(["segloop" if PurePath(program).name in ("__main__.py", "segloop") else program, *words])


def _processor() -> str:
    """Its name as its maker sells it, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def machine() -> dict[str, Any]:
    """What a run was made on, for its log."""
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "gpus": gpus,
    }

"""What a run was made on."""

import os
import platform
import shlex
import sys
from pathlib import PurePath
from typing import Any

import torch

from ..common.system import processor


def command_line() -> str:
    """The command as it can be typed again."""
    program, *words = sys.argv
    return shlex.join(["segloop" if PurePath(program).name in ("__main__.py", "segloop") else program, *words])


def machine() -> dict[str, Any]:
    """What a run was made on, for its log."""
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "system": platform.platform(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "gpus": gpus,
    }

"""What a run was made on."""

import os
import platform
from typing import Any

import torch


def machine() -> dict[str, Any]:
    """What a run was made on, for its log."""
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "system": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "gpus": gpus,
    }

"""segloop: segment any photo by free text, with no training."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .errors import SegloopError
    from .feedback import FSA
    from .purify import SFP
    from .results import Segmentation, save_coco
    from .segmenter import Segmenter
    from .types import LastBlock, Mix
    from .vocabulary import Vocabulary

_HOMES = {
    "FSA": "feedback",
    "SFP": "purify",
    "LastBlock": "types",
    "Mix": "types",
    "Segmentation": "results",
    "SegloopError": "errors",
    "Segmenter": "segmenter",
    "Vocabulary": "vocabulary",
    "save_coco": "results",
}

__all__ = ["FSA", "SFP", "LastBlock", "Mix", "SegloopError", "Segmentation", "Segmenter", "Vocabulary", "save_coco"]


def __getattr__(name: str) -> Any:
    """Public names open their room when first used: importing segloop does not import torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'segloop' has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]

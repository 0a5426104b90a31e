"""segloop: segment any photo by free text, with no training."""

from __future__ import annotations

__version__ = "0.1.0"

TYPE_CHECKING = False  # of typing, whose import takes longest of all before the program hears Ctrl-C
if TYPE_CHECKING:
    from typing import Any

    from .attention.feedback import FSA
    from .attention.purify import SFP
    from .attention.types import LastBlock, Mix
    from .errors import SegloopError
    from .labelling.labeller import Labeller, iter_results
    from .labelling.run import label
    from .line.segmenter import Segmenter
    from .results.filters import Filter
    from .results.saving import save_coco
    from .results.segmentation import Segmentation
    from .words.vocabulary import Vocabulary

_HOMES = {
    "FSA": "attention.feedback",
    "Filter": "results.filters",
    "SFP": "attention.purify",
    "Labeller": "labelling.labeller",
    "LastBlock": "attention.types",
    "Mix": "attention.types",
    "Segmentation": "results.segmentation",
    "SegloopError": "errors",
    "Segmenter": "line.segmenter",
    "Vocabulary": "words.vocabulary",
    "iter_results": "labelling.labeller",
    "label": "labelling.run",
    "save_coco": "results.saving",
}

__all__ = [
    "FSA",
    "SFP",
    "Filter",
    "Labeller",
    "LastBlock",
    "Mix",
    "SegloopError",
    "Segmentation",
    "Segmenter",
    "Vocabulary",
    "iter_results",
    "label",
    "save_coco",
]


def __getattr__(name: str) -> Any:
    """Public names open their room when first used: importing segloop does not import torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'segloop' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]

"""Attention as operators on values, feedback and purification: functions on tensors, no model in sight."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .operators import NACLIP, VARIANTS, ProxyCLIP, Shared, Softmax, Sum, Variant, identity, product, variant

__all__ = ["NACLIP", "VARIANTS", "ProxyCLIP", "Shared", "Softmax", "Sum", "Variant", "identity", "product", "variant"]


def __getattr__(name: str) -> Any:
    """Operators open when they are first used: they bring torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(".operators", __name__), name)

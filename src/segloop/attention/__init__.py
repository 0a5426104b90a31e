"""Attention as operators on values, feedback and purification: functions on tensors, no model in sight."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .operators import NACLIP, ProxyCLIP, Shared, Softmax, Sum, identity, product
    from .types import Needs
    from .variants import VARIANTS, Variant, variant

_HOMES = {
    **dict.fromkeys(("NACLIP", "ProxyCLIP", "Shared", "Softmax", "Sum", "identity", "product"), "operators"),
    **dict.fromkeys(("VARIANTS", "Variant", "variant"), "variants"),
    "Needs": "types",
}
__all__ = [
    "NACLIP",
    "VARIANTS",
    "Needs",
    "ProxyCLIP",
    "Shared",
    "Softmax",
    "Sum",
    "Variant",
    "identity",
    "product",
    "variant",
]


def __getattr__(name: str) -> Any:
    """Operators open when they are first used: they bring torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)

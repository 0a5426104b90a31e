"""Attentions by name: one row each, with what of the ordinary block is kept around it (spec 2.1)."""

from dataclasses import dataclass

from ..errors import OptionError, nearest
from .operators import NACLIP, ProxyCLIP, identity, product
from .types import Attention


@dataclass(frozen=True)
class Variant:
    """A row of VARIANTS: the attention, and what of the ordinary block is kept around it (spec 2.1).

    An attention with constants of its own is a frozen record: its fields are settings.
    """

    attention: Attention
    residual: bool = False  # add the block's input
    mlp: bool = False  # then run the block's MLP
    on_guide_grid: bool = False  # works on the guide's grid, without the class token


VARIANTS: dict[str, Variant] = {
    "clip": Variant(product("qk"), residual=True, mlp=True),
    "maskclip": Variant(identity),
    "sclip": Variant(product("qq+kk"), residual=True, mlp=True),
    "clearclip": Variant(product("qq")),
    "naclip": Variant(NACLIP()),
    "proxyclip": Variant(ProxyCLIP(), on_guide_grid=True),
}
"""By name. Other hosts are files beside this one, and a row here."""


def variant(name: str) -> Variant:
    """A row of VARIANTS, or any product such as "qq+kk+vv" (residual and MLP off).

    Raises OptionError naming the nearest variant.
    """
    if name in VARIANTS:
        return VARIANTS[name]
    try:
        return Variant(product(name))
    except OptionError:
        remedy = f"{nearest(name, VARIANTS)}, or a product such as 'qq+kk'"
        raise OptionError(f"unknown attention {name!r}", remedy) from None

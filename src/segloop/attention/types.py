"""Records that travel between the rooms, with their shapes."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

Mix = Callable[[Tensor], Tensor]
"""An attention as an operator: values (B, h, N, d) -> mixed values (B, h, N, d)."""


@dataclass(frozen=True)
class LastBlock:
    """The final CLIP block, opened: what an attention may look at (spec 0.3).

    Token 0 is the class token where `has_class_token`; the patches follow row by row. `q`, `k` and `v` carry
    their biases and are not scaled yet.
    """

    q: Tensor  # (B, h, N, d)
    k: Tensor  # (B, h, N, d)
    v: Tensor  # (B, h, N, d)
    scale: float  # alpha = d ** -0.5
    grid: tuple[int, int]  # (rows, columns) of the patches
    has_class_token: bool = True
    guide: Tensor | None = None  # (B, C, H, W) features of a vision model, where the method has one

    @property
    def first_patch(self) -> int:
        """Its number among the tokens: 1 behind a class token, else 0."""
        return int(self.has_class_token)


Attention = Callable[[LastBlock], Mix]
"""A method of attention: builds its operator from the opened block. A frozen record where it has constants."""

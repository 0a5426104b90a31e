"""What an engine is given, and what it gives back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Runner = Callable[[Tensor, Sequence[int]], list[Tensor]]
"""(tokens (B, N, D), numbers of the outputs that are wanted) -> those outputs."""


@dataclass(frozen=True)
class Work:
    """Blocks of an encoder."""

    module: torch.nn.Module  # tokens (B, N, D) -> a tuple of tensors, whatever B and N
    example: Tensor  # (1, N, D), on the device and in the precision of the blocks
    key: Callable[[], str]  # a name of its weights and its form

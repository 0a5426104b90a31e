"""Whether numbers are there to be looked at."""

import torch
from torch import Tensor


def traced() -> bool:
    """Whether a network is being written down, for an export, and not run: then no number can decide anything."""
    return bool(torch.compiler.is_compiling())


def set_diagonal(matrix: Tensor, values: Tensor, first: int = 0) -> Tensor:
    """(B, r, N) with the entries [:, i, first + i] set to `values`, which broadcast to (B, r).

    In place, but where a network is traced: what is written down has no places to write to.
    """
    if not traced():
        matrix.diagonal(first, 1, 2).copy_(values)
        return matrix
    place = torch.arange(matrix.shape[2], device=matrix.device)
    return torch.where(place == place[first : first + matrix.shape[1], None], values[..., None], matrix)

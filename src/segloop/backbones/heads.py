"""What the towers of all families have in common where pixels come in and cosines come out, and the faults there."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..attention.tracing import traced
from ..errors import ModelError, UserError
from .finite import sound, unsound
from .tower import Beside, Tower

NO_LENGTH = 1e-12  # features shorter than this have no direction


def checked_grid(tower: Tower, pixels: Tensor) -> tuple[int, int]:
    """(rows, columns) of whole patches in (B, 3, H, W). Raises UserError where there are none, or no numbers."""
    grid = tower.grid(pixels)
    if 0 in grid:
        height, width = pixels.shape[-2:]
        raise UserError(f"{height}x{width} pixels hold no patch of {tower.patch}", "give at least one patch")
    if not traced() and not pixels.sum().isfinite():
        raise UserError("the pixels are not all finite numbers", "give CLIP-normalised (B, 3, H, W)")
    return grid


def check_numbers(tower: Tower, x: Tensor) -> None:
    """Raises ModelError where tokens (B, N, D) are no numbers."""
    if not traced() and not x.sum(dtype=torch.float32).isfinite():
        raise no_numbers(tower)


def normed(norm: Callable[[Tensor], Tensor], tokens: Tensor, beside: Beside) -> Tensor:
    """Tokens (B, N, D), and more of them with their weights, behind a norm that each has for itself: (B, N, D)."""
    total = norm(tokens)
    for weight, others in beside:
        total = total + weight * norm(others)
    return total


def dense_cosines(tower: Tower, features: Tensor, text: Tensor) -> Tensor:
    """Features (B, N, E), unit text rows (Q, E) -> cosines (B, N, Q) float32, no temperature (spec 0.3).

    Raises ModelError where the network gives no numbers or no direction, UserError for such text rows.
    """
    features = features.float()
    length = features.norm(dim=-1, keepdim=True)
    cosines = features / length.clamp_min(NO_LENGTH) @ text.T
    if traced() or not len(length) or sound(length.amin(), length, cosines):
        return cosines
    if not text.isfinite().all():
        row = (~text.isfinite()).any(1).nonzero()[0].item()
        raise UserError(f"text row {row} is not made of finite numbers", "give unit rows (Q, E)")
    raise no_numbers(tower)


def no_numbers(tower: Tower) -> ModelError:
    """The error of a vision tower whose output is not finite: it names weights or precision."""
    seeing = {key: weight for key, weight in tower.model.state_dict().items() if key.startswith("vis")}
    return unsound(tower.name, seeing, tower.dtype)

"""Where patches of windows lie in the photo."""

import torch
from torch import Tensor

from .windows import Layout, Span


def patch_pixels(
    where: Layout, grid: tuple[int, int], size: tuple[int, int], target: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """The photo's pixels at the centres of all windows' patches: (n, h, w) int64 each, row and column.

    `grid` is (h, w) of a window, `size` the resized photo's, `target` the photo's own. A patch whose centre lies in a
    window's padding has -1.
    """
    axes = zip((where.rows, where.columns), (where.pad_rows, where.pad_columns), grid, size, target, strict=True)
    rows, columns = ([_centres(span, pad, *numbers) for span in spans] for spans, pad, *numbers in axes)
    found = [torch.meshgrid(y, x, indexing="ij") for y in rows for x in columns]
    return torch.stack([y for y, _ in found]), torch.stack([x for _, x in found])


def _centres(span: Span, pad: Span, cells: int, length: int, own: int) -> Tensor:
    """Pixels (cells,) of one axis, of a photo of `own` pixels there that `length` stand for."""
    start, end = span
    window = end - start + sum(pad)
    twice = (2 * torch.arange(cells) + 1) * window - 2 * cells * pad[0]  # centres in whole numbers, times 2 * cells
    inside = (twice >= 0) & (twice < 2 * cells * (end - start))
    pixels = (twice + 2 * cells * start) * own // (2 * cells * length)
    return torch.where(inside, pixels.clamp(0, own - 1), -1)

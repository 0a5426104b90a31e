"""Features of windows joined into one map of the photo, before anything compares them with text (spec 2.13)."""

from itertools import product

import torch.nn.functional as F
from torch import Tensor

from .windows import Layout


def splice(features: Tensor, where: Layout, patch: int) -> Tensor:
    """(n, D, rows, columns) of windows, rows of windows outermost -> their mean on one grid, (D, rows', columns').

    Windows begin and end at whole patches of CLIP, whose side is `patch` pixels. Grids that are no multiple of the
    window's patches, as those of other models may be, are resized to one first.
    """
    height, width = (side // patch for side in where.window)
    rows, columns = features.shape[-2:]
    unit = columns // width
    if (rows, columns) != (unit * height, unit * width):
        unit = max(1, round(rows / height))
        features = F.interpolate(features, size=(unit * height, unit * width), mode="bilinear")
    sides = [unit * (spans[-1][1] // patch) for spans in (where.rows, where.columns)]
    canvas, count = features.new_zeros(features.shape[1], *sides), features.new_zeros(*sides)
    for window, (down, across) in zip(features, product(where.rows, where.columns), strict=True):
        here = [slice(unit * (start // patch), unit * (end // patch)) for start, end in (down, across)]
        canvas[:, here[0], here[1]] += window
        count[here[0], here[1]] += 1
    return canvas.div_(count)


def in_whole_patches(where: Layout, patch: int) -> bool:
    """Whether all windows begin and end at whole patches, without padding, as splicing asks."""
    ends = {end for spans in (where.rows, where.columns) for span in spans for end in span}
    return not any(end % patch for end in ends) and not any((*where.pad_rows, *where.pad_columns))

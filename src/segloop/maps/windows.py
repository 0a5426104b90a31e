"""Windows over a photo and the way back (spec 1.2 to 1.4).

The way back is linear and separable: upsampling a window's cosines, cutting its padding, averaging overlaps and
resizing to the photo are, along one axis, one matrix. So the windows' cosines are laid side by side in a mosaic
(Q, R, C), and any rows of the photo's map are `rows[a:b] @ mosaic @ columns^T`. No upsampled window and no
full-size accumulator ever exists.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Span = tuple[int, int]  # start, end, in pixels


def spans(length: int, crop: int, stride: int) -> list[Span]:
    """Windows along one axis (spec 1.2); the last is pushed back inside. crop 0: one window, the whole axis."""
    if crop == 0:
        return [(0, length)]
    count = max(length - crop + stride - 1, 0) // stride + 1
    ends = (min(i * stride + crop, length) for i in range(count))
    return [(max(end - crop, 0), end) for end in ends]


def padding(length: int, multiple: int) -> Span:
    """Zeros before and after that bring `length` to a multiple (spec 1.3): half before, rounded down."""
    missing = -length % multiple
    return missing // 2, missing - missing // 2


@dataclass(frozen=True)
class Layout:
    """Where the windows of one photo lie; the same for every photo of its size."""

    rows: tuple[Span, ...]
    columns: tuple[Span, ...]
    pad_rows: Span  # zeros above and below each window
    pad_columns: Span

    @property
    def window(self) -> tuple[int, int]:
        """(height, width) of each window with its padding."""
        (top, bottom), (left, right) = self.rows[0], self.columns[0]
        return bottom - top + sum(self.pad_rows), right - left + sum(self.pad_columns)


def layout(size: tuple[int, int], crop: int, stride: int, multiple: int) -> Layout:
    """Windows over (height, width), each padded to `multiple` (1: no padding)."""
    rows, columns = (tuple(spans(length, crop, stride)) for length in size)
    height, width = rows[0][1] - rows[0][0], columns[0][1] - columns[0][0]
    return Layout(rows, columns, padding(height, multiple), padding(width, multiple))


def cut(image: Tensor, where: Layout) -> Tensor:
    """Normalised (3, H, W) -> windows (n, 3, h, w), padded with zeros, rows of windows outermost."""
    windows = [image[:, top:bottom, left:right] for top, bottom in where.rows for left, right in where.columns]
    return F.pad(torch.stack(windows), (*where.pad_columns, *where.pad_rows))


def nearest_index(length: int, cells: int) -> np.ndarray:
    """Where each of `cells` reads among `length`, by nearest neighbour: floor(i * length / cells), (cells,) int64."""
    return np.arange(cells) * length // cells


def cut_ids(ids: Tensor, where: Layout, margin: int) -> Tensor:
    """Ids of pixels (H, W) -> those of the windows (n, h, w), padded with `margin`, in the order of `cut`."""
    windows = [ids[top:bottom, left:right] for top, bottom in where.rows for left, right in where.columns]
    return F.pad(torch.stack(windows), (*where.pad_columns, *where.pad_rows), value=margin)


def interpolation(cells: int, length: int) -> Tensor:
    """PyTorch's linear resize (align_corners False, no antialias) as a matrix (length, cells), float64."""
    return F.interpolate(torch.eye(cells, dtype=torch.float64)[:, None], size=length, mode="linear")[:, 0].T


def axis_matrix(windows: Sequence[Span], pad: Span, cells: int, length: int) -> Tensor:
    """One axis of 1.4, steps 2 and 3: cells of all windows -> pixels of the resized image.

    (length, len(windows) * cells) float64; rows sum to 1.
    """
    start, end = windows[0]
    inner = end - start
    upsample = interpolation(cells, inner + sum(pad))[pad[0] : pad[0] + inner]
    matrix = torch.zeros(length, len(windows) * cells, dtype=torch.float64)
    coverage = torch.zeros(length, 1, dtype=torch.float64)
    for i, (start, end) in enumerate(windows):
        matrix[start:end, i * cells : (i + 1) * cells] = upsample
        coverage[start:end] += 1
    return matrix.div_(coverage)


def _resized(matrix: Tensor, length: int) -> Tensor:
    """`interpolation(len(matrix), length) @ matrix`, without that first matrix, which large scenes have no room for."""
    if len(matrix) == length:
        return matrix
    return F.interpolate(matrix.T[None], size=length, mode="linear")[0].T


@dataclass(frozen=True)
class ScoreMap:
    """Cosines of a photo, averaged over its windows, at the photo's own size; made when asked for."""

    mosaic: Tensor  # (Q, R, C) float32, the windows' grids side by side
    rows: Tensor  # (H0, R) float32
    columns: Tensor  # (W0, C) float32
    network: tuple[Tensor, Tensor] | None = None  # (height, R), (width, C) of the resized photo
    direct: bool = False  # a whole photo's grid that becomes the map in one step

    @property
    def shape(self) -> tuple[int, int, int]:
        """(Q, H0, W0)."""
        return self.mosaic.shape[0], self.rows.shape[0], self.columns.shape[0]

    def queries(self, part: slice) -> Tensor:
        """Some queries over the whole map: (q, H0, W0) float32."""
        return self.rows @ (self.mosaic[part] @ self.columns.T)

    def at_network_size(self, part: slice) -> Tensor:
        """Some queries over the resized photo: (q, height, width) float32."""
        assert self.network is not None
        rows, columns = (matrix.to(self.mosaic) for matrix in self.network)
        return rows @ (self.mosaic[part] @ columns.T)

    def strips(self, strip_bytes: int, band_bytes: int) -> Iterator[tuple[slice, Tensor]]:
        """The map from top to bottom: pairs of rows and their cosines (Q, r, W0) float32.

        Strips small enough for a processor's cache are cut from bands, in which every needed row of the mosaic has
        been widened to the photo once.
        """
        count, _, width = self.shape
        step = max(1, strip_bytes // (4 * count * width))
        for band in self._bands(0, self.rows.shape[0], band_bytes):
            used = self.rows[band].any(0).nonzero()[:, 0]
            weights = self.rows[band][:, used]
            wide = (self.mosaic[:, used].transpose(0, 1) @ self.columns.T).flatten(1)  # (used, Q * W0)
            for start in range(0, band.stop - band.start, step):
                part = weights[start : start + step]
                near = part.any(0).nonzero()[:, 0]
                close = slice(int(near[0]), int(near[-1]) + 1)
                strip = part[:, close] @ wide[close]
                rows = slice(band.start + start, band.start + start + len(part))
                yield rows, strip.view(-1, count, width).transpose(0, 1)

    def _bands(self, start: int, stop: int, band_bytes: int) -> Iterator[slice]:
        used = int(self.rows[start:stop].any(0).sum())
        if stop - start == 1 or used * self.shape[0] * self.shape[2] * 4 <= band_bytes:
            yield slice(start, stop)
        else:
            middle = (start + stop) // 2
            yield from self._bands(start, middle, band_bytes)
            yield from self._bands(middle, stop, band_bytes)


def assemble(
    logits: Tensor, where: Layout, size: tuple[int, int], target: tuple[int, int], direct: bool = False
) -> ScoreMap:
    """Cosines of one photo's windows (n, Q, h, w) -> its ScoreMap at `target` (H0, W0).

    `size` is the resized image's (height, width). `direct` goes from a single window's grid to the target in one
    step, as some releases do for whole images (spec 1.4).
    """
    n, queries, h, w = logits.shape
    tiles = logits.view(len(where.rows), len(where.columns), queries, h, w).permute(2, 0, 3, 1, 4)
    mosaic = tiles.reshape(queries, len(where.rows) * h, len(where.columns) * w)
    inner = (
        axis_matrix(where.rows, where.pad_rows, h, size[0]),
        axis_matrix(where.columns, where.pad_columns, w, size[1]),
    )
    direct = direct and n == 1
    if direct:
        rows, columns = interpolation(h, target[0]), interpolation(w, target[1])
    else:
        rows, columns = map(_resized, inner, target)
    rows, columns = (matrix.to(mosaic.device, torch.float32) for matrix in (rows, columns))
    return ScoreMap(mosaic.float(), rows, columns, inner, direct)

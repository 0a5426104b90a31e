"""A graph over pixels of like colour, and scores smoothed over it (spec 2.8, LPOSS+).

Every pixel is joined to those of a square around it. The graph is symmetric and the same in form everywhere: a stencil
of half the square's offsets, each used in both directions, takes the place of a sparse matrix.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import ClassVar

import torch
from torch import Tensor

from ..common.records import constant, require
from .propagation import MOST_STEPS, conjugate_gradients, unless_zero, where_exact

Place = tuple[slice, slice, slice]  # all maps, rows, columns

WIDEST = 65  # pixels, of the square; the published one has 13
KEPT_BYTES = 2**29  # of edges that are kept; those of larger photos are made anew for every step
STATE_BYTES = 2**26  # of maps that are solved for together; the solver holds about six times as much
STRIP_BYTES = {"cpu": 2**22}  # of maps and edges worked on at once: on a CPU they stay in its cache
STRIP_ELSEWHERE = 2**28

TO_XYZ = ((0.412453, 0.35758, 0.180423), (0.212671, 0.71516, 0.072169), (0.019334, 0.119193, 0.950227))
WHITE = (0.95047, 1.0, 1.08883)  # D65
SPANS = (100.0, 128.0, 128.0)  # of L, a and b, that become 1


@dataclass(frozen=True)
class PixelGraph:
    """Constants of the graph over pixels and of its solver. Raises OptionError for values outside their range."""

    at_network_size: ClassVar[bool] = True
    keeps_cosines: ClassVar[bool] = False
    pixel_refine: bool = constant(False, off=False)
    pixel_window: int = 13  # pixels, odd, side of the square that a pixel's neighbours lie in
    pixel_tau: float = 0.01  # how unlike colours of an edge may be
    pixel_alpha: float = 0.95  # how far scores spread: 0 leaves them as they are
    pixel_steps: int = 10  # of conjugate gradients; they are part of the method, which stops there
    pixel_tolerance: float = 1e-6  # of the residual, relative: a query that has it is done earlier

    def __post_init__(self) -> None:
        odd = 3 <= self.pixel_window <= WIDEST and self.pixel_window % 2 == 1
        check = {
            "pixel_window": (odd, f"an odd number of pixels, 3 to {WIDEST}"),
            "pixel_tau": (self.pixel_tau > 0, "above 0"),
            "pixel_alpha": (0 <= self.pixel_alpha < 1, "at least 0 and below 1"),
            "pixel_steps": (1 <= self.pixel_steps <= MOST_STEPS, f"1 to {MOST_STEPS}"),
            "pixel_tolerance": (self.pixel_tolerance >= 0, "0 (all steps) or more"),
        }
        for name, (fine, allowed) in check.items():
            require(fine, name, getattr(self, name), allowed)

    @property
    def is_on(self) -> bool:
        """Whether pixels are looked at."""
        return self.pixel_refine

    def ready(self, image: Tensor) -> Callable[[Tensor], Tensor]:
        """The resized photo (3, H, W) in [0, 1] -> (q, H, W) -> (q, H, W) float32."""
        stencil = Stencil(lab(where_exact(image).float()), self.pixel_window, self.pixel_tau)
        return partial(spread_over_pixels, stencil=stencil, constants=self)


def lab(image: Tensor) -> Tensor:
    """From sRGB in [0, 1], (3, H, W), to CIE Lab under D65, (L / 100, a / 128, b / 128), (3, H, W)."""
    linear = torch.where(image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055) ** 2.4)
    matrix, white, spans = (image.new_tensor(numbers) for numbers in (TO_XYZ, WHITE, SPANS))
    xyz = (matrix @ linear.flatten(1)).unflatten(1, image.shape[1:]) / white[:, None, None]
    x, y, z = torch.where(xyz > 0.008856, xyz.clamp_min(0.008856) ** (1 / 3), 7.787 * xyz + 4 / 29)
    found = torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)])
    return found / spans[:, None, None]


@dataclass(frozen=True, eq=False)
class Stencil:
    """W of spec 2.8's pixel graph as an operator: W_ij = exp(-|c_i - c_j| / tau) within a square around i."""

    colours: Tensor  # (3, H, W)
    window: int  # side of the square
    tau: float

    @cached_property
    def offsets(self) -> list[tuple[int, int]]:
        """(rows down, columns right) to the half of a pixel's neighbours that follow it."""
        reach = self.window // 2
        square = [(down, right) for down in range(reach + 1) for right in range(-reach, reach + 1)]
        return [offset for offset in square if offset > (0, 0)]

    def __call__(self, maps: Tensor) -> Tensor:
        """W of each map: (q, H, W) -> (q, H, W)."""
        height = maps.shape[-2]
        total = torch.zeros_like(maps)
        for strip in self._strips(maps):
            edges = self._edges(strip).to(maps.dtype)
            for (down, right), edge in zip(self.offsets, edges, strict=True):
                count = min(strip.stop, height - down) - strip.start
                if count <= 0:
                    continue
                here, there = self._pair(strip.start, count, down, right)
                weight = edge[:count, here[-1]]
                total[here].addcmul_(weight, maps[there])
                total[there].addcmul_(weight, maps[here])
        return total

    @cached_property
    def degrees(self) -> Tensor:
        """(H, W) float64, sums of a pixel's edges; 1 where all of them underflow."""
        return unless_zero(self(torch.ones_like(self.colours[:1], dtype=torch.float64))[0])

    @cached_property
    def _kept(self) -> Tensor | None:
        """All edges, (offsets, H, W), where they are few enough."""
        bytes_of_all = self.colours[0].nbytes * len(self.offsets)
        return self._made(slice(0, self.colours.shape[1])) if bytes_of_all <= KEPT_BYTES else None

    def _edges(self, rows: slice) -> Tensor:
        """Of the pixels in some rows to those that follow them: (offsets, r, W); without sense beyond the border."""
        return self._made(rows) if self._kept is None else self._kept[:, rows]

    def _made(self, rows: slice) -> Tensor:
        _, height, width = self.colours.shape
        edges = self.colours.new_zeros(len(self.offsets), rows.stop - rows.start, width)
        for (down, right), edge in zip(self.offsets, edges, strict=True):
            count = min(rows.stop, height - down) - rows.start
            if count <= 0:
                continue
            here, there = self._pair(rows.start, count, down, right)
            distance = (self.colours[here] - self.colours[there]).square_().sum(0).sqrt_()
            edge[:count, here[-1]] = distance.div_(-self.tau).exp_()
        return edges

    def _pair(self, start: int, count: int, down: int, right: int) -> tuple[Place, Place]:
        """Where in maps the pixels lie that have a neighbour there, and where those neighbours do."""
        columns, first = max(0, self.colours.shape[2] - abs(right)), max(0, -right)
        here = (slice(None), slice(start, start + count), slice(first, first + columns))
        start, first = start + down, first + right
        return here, (slice(None), slice(start, start + count), slice(first, first + columns))

    def _strips(self, maps: Tensor) -> Iterator[slice]:
        queries, height, width = maps.shape
        row = maps.element_size() * width * (2 * queries + len(self.offsets))
        step = max(1, STRIP_BYTES.get(maps.device.type, STRIP_ELSEWHERE) // row)
        for start in range(0, height, step):
            yield slice(start, min(start + step, height))


def spread_over_pixels(maps: Tensor, stencil: Stencil, constants: PixelGraph) -> Tensor:
    """LPOSS+ of spec 2.8: (Q, H, W) -> (I - alpha W_n)^-1 of each map by the solver's steps, (Q, H, W) float32.

    The solver works in float64, as published. Queries share nothing, so parts of them bound its memory.
    """
    scale = stencil.degrees.rsqrt()

    def system(x: Tensor) -> Tensor:
        return x - constants.pixel_alpha * scale * stencil(scale * x)

    how = ((1, 2), constants.pixel_steps, constants.pixel_tolerance)
    result = torch.empty(maps.shape, device=scale.device)
    for part in torch.arange(len(maps)).split(max(1, STATE_BYTES // (8 * scale.numel()))):
        result[part] = conjugate_gradients(system, maps[part].to(scale), *how).float()
    return result.to(maps.device)

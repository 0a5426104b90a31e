"""A graph over patches, and scores smoothed over it (spec 2.8, LPOSS).

Patches that a vision model finds alike and that lie close together are neighbours, whichever window they come from.
Rows of the graph are made in blocks and hold `graph_neighbours` entries, so that no N x N matrix ever exists.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..common.records import require
from ..errors import ImageError
from .windows import Layout

MOST_NODES = 2**17  # patches of all windows; beyond, N x N similarities take hours
MOST_NEIGHBOURS, MOST_STEPS, MOST_POWER = 10_000, 1000, 100.0
PAIRS = 2**24  # similarities held at once, in float32 64 MiB
STATE_BYTES = 2**26  # of scores that are solved for together; the solver holds about six times as much


@dataclass(frozen=True)
class PatchGraph:
    """Constants of the graph over patches and of its solver. Raises OptionError for values outside their range."""

    makes_one_map: ClassVar[bool] = False
    graph_neighbours: int = 400  # k, patches that each is joined to, itself among them
    graph_gamma: float = 3.0  # power of the similarity
    graph_alpha: float = 0.95  # how far scores spread: 0 leaves them as they are
    graph_distance_weight: float = 0.01  # sigma_g, per pixel of the resized photo
    graph_distance_power: float = 1.0  # of the distance in pixels
    graph_steps: int = 10  # of conjugate gradients; they are part of the method, which stops there
    graph_tolerance: float = 1e-6  # of the residual, relative: a query that has it is done earlier

    def __post_init__(self) -> None:
        check = {
            "graph_neighbours": (1 <= self.graph_neighbours <= MOST_NEIGHBOURS, f"1 to {MOST_NEIGHBOURS} patches"),
            "graph_gamma": (0 < self.graph_gamma <= MOST_POWER, f"above 0 and at most {MOST_POWER:g}"),
            "graph_alpha": (0 <= self.graph_alpha < 1, "at least 0 and below 1"),
            "graph_distance_weight": (self.graph_distance_weight >= 0, "0 (no distance) or more"),
            "graph_distance_power": (0 < self.graph_distance_power <= 10, "above 0 and at most 10"),
            "graph_steps": (1 <= self.graph_steps <= MOST_STEPS, f"1 to {MOST_STEPS}"),
            "graph_tolerance": (self.graph_tolerance >= 0, "0 (all steps) or more"),
        }
        for name, (fine, allowed) in check.items():
            require(fine, name, getattr(self, name), allowed)


def where_exact(tensor: Tensor) -> Tensor:
    """The same on a device that computes in float64 and with sparse matrices: the CPU, where Apple's mps was."""
    return tensor.cpu() if tensor.device.type == "mps" else tensor


def patch_places(where: Layout, grid: tuple[int, int], cell: tuple[float, float]) -> Tensor:
    """Middles of all windows' patches in the resized photo: (n * h * w, 2) float32, row and column in pixels.

    Windows in the order of `cut`, patches of `grid` (h, w) row by row; `cell` is a patch's height and width.
    """
    rows, columns = (
        torch.tensor([start - pad for start, _ in windows])[:, None] + (torch.arange(count) + 0.5) * side
        for windows, (pad, _), count, side in zip(
            (where.rows, where.columns), (where.pad_rows, where.pad_columns), grid, cell, strict=True
        )
    )  # (windows along the axis, patches)
    shape = (len(rows), len(columns), *grid)
    y, x = rows[:, None, :, None].expand(shape), columns[None, :, None, :].expand(shape)
    return torch.stack([y, x], -1).flatten(0, 3).float()


def patch_graph(features: Tensor, places: Tensor, constants: PatchGraph) -> Tensor:
    """W of spec 2.8: unit rows (N, C), places (N, 2) -> (N, N), sparse, symmetric, float32, diagonal 0.

    W0_ij = max(x_i x_j, 0)^gamma exp(-sigma D_ij^power) for the k patches j that are most like i; W = W0 + W0^T, so
    that mutual neighbours count twice. At most 2 k N entries are held. Raises ImageError for more than MOST_NODES.
    """
    if len(features) > MOST_NODES:
        what = f"{len(features)} patches are too many for one graph, {MOST_NODES} are allowed"
        raise ImageError(what, "take a smaller short_side or long_side, or a larger stride")
    nodes, count = len(features), min(constants.graph_neighbours, len(features))
    own = torch.arange(nodes, device=features.device)
    step = max(1, PAIRS // max(nodes, 1))
    near, weights = [], []
    for rows in own.split(step):
        alike, index = (features[rows] @ features.T).topk(count)
        distance = (places[rows][:, None] - places[index]).norm(dim=-1)
        fall = (-constants.graph_distance_weight * distance**constants.graph_distance_power).exp_()
        weight = alike.clamp_min_(0).pow_(constants.graph_gamma).mul_(fall)
        weights.append(weight.masked_fill_(index == rows[:, None], 0).flatten())
        near.append(index.flatten())
    one, other, weight = own.repeat_interleave(count), torch.cat(near), torch.cat(weights)
    pairs = torch.stack([torch.cat([one, other]), torch.cat([other, one])])
    graph = torch.sparse_coo_tensor(pairs, torch.cat([weight, weight]), (nodes, nodes), check_invariants=False)
    return graph.coalesce()


def degrees(graph: Tensor) -> Tensor:
    """Row sums s of a sparse graph: (N, N) -> (N,) float64; 1 for a node without an edge, whose scores stay."""
    own, weight = graph.indices()[0], graph.values().double()
    return unless_zero(weight.new_zeros(len(graph)).index_add_(0, own, weight))


def unless_zero(degree: Tensor) -> Tensor:
    """Degrees with 1 for those of 0, which may be divided by."""
    return degree.masked_fill(degree == 0, 1)


def normalised(graph: Tensor) -> Tensor:
    """W_n = diag(s)^(-1/2) W diag(s)^(-1/2) of a sparse graph, (N, N) float64."""
    scale, pairs = degrees(graph).rsqrt(), graph.indices()
    weight = graph.values() * scale[pairs[0]] * scale[pairs[1]]
    return torch.sparse_coo_tensor(pairs, weight, graph.shape, check_invariants=False, is_coalesced=True)


def propagated(scores: Tensor, graph: Tensor, constants: PatchGraph) -> Tensor:
    """G of spec 2.8: G0 (N, Q), W (N, N) -> (I - alpha W_n)^-1 G0 by the solver's steps, (N, Q) float32.

    The solver works in float64, as published. Queries share nothing, so parts of them bound its memory.
    """
    spread = normalised(graph)

    def system(x: Tensor) -> Tensor:
        return x - constants.graph_alpha * (spread @ x)

    how = ((0,), constants.graph_steps, constants.graph_tolerance)
    parts = scores.split(max(1, STATE_BYTES // (8 * max(1, len(scores)))), dim=1)
    return torch.cat([conjugate_gradients(system, part.double().contiguous(), *how).float() for part in parts], 1)


def conjugate_gradients(
    system: Callable[[Tensor], Tensor], b: Tensor, over: Sequence[int], steps: int, tolerance: float
) -> Tensor:
    """Solves A x = b for many b at once, from x = 0, in at most `steps` steps: `b` -> x, same shape.

    `system` applies A. Axes `over` are one system; the others number systems, each with its own rho and a. One whose
    residual is at most `tolerance` |b| stays as it is from then on, and so does one whose b is zero.
    """
    axes = tuple(over)

    def dot(one: Tensor, other: Tensor) -> Tensor:
        return (one * other).sum(axes, keepdim=True)

    x, r, p = torch.zeros_like(b), b.clone(), b.clone()
    rho = dot(r, r)
    enough, going = tolerance * rho.sqrt(), rho > 0
    for _ in range(steps):
        q = system(p)
        a = torch.where(going, rho / dot(p, q), 0)
        x += a * p
        r -= a * q
        after = dot(r, r)
        going = going & (after.sqrt() > enough)
        if not bool(going.any()):
            break
        p = torch.where(going, r + (after / rho) * p, p)
        rho = torch.where(going, after, rho)
    return x

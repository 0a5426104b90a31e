"""LPOSS's graphs as dense matrices, entry by entry, and its solver for one column (spec 2.8)."""

import torch
from torch import Tensor

from segloop.maps.pixelgraph import lab
from segloop.maps.propagation import PatchGraph


def dense_graph(x: Tensor, places: Tensor, c: PatchGraph) -> Tensor:
    """Spec 2.8 entry by entry."""
    count = len(x)
    first = torch.zeros(count, count, dtype=x.dtype)
    for i in range(count):
        alike = [float(x[i] @ x[j]) for j in range(count)]
        nearest = sorted(range(count), key=lambda j: -alike[j])[: c.graph_neighbours]
        for j in nearest:
            distance = float((places[i] - places[j]).norm())
            fall = torch.exp(torch.tensor(-c.graph_distance_weight * distance**c.graph_distance_power))
            first[i, j] = max(alike[j], 0.0) ** c.graph_gamma * float(fall)
    return (first + first.T).fill_diagonal_(0)


def dense_normalised(graph: Tensor) -> Tensor:
    sums = graph.sum(1)
    sums[sums == 0] = 1
    return graph / (sums[:, None] * sums[None]).sqrt()


def textbook_solver(matrix: Tensor, b: Tensor, steps: int, tolerance: float) -> Tensor:
    """Conjugate gradients for one column, as spec 2.8 has them."""
    x, r, p = torch.zeros_like(b), b.clone(), b.clone()
    rho = r @ r
    if rho == 0:
        return x
    for _ in range(steps):
        q = matrix @ p
        a = rho / (p @ q)
        x, r = x + a * p, r - a * q
        if r.norm() <= tolerance * b.norm():
            break
        after = r @ r
        p, rho = r + after / rho * p, after
    return x


def dense_pixels(image: Tensor, window: int, tau: float) -> Tensor:
    """(H W, H W) float64, entry by entry, of the colours that `lab` gives."""
    _, height, width = image.shape
    colours, reach = lab(image).double(), window // 2
    graph = torch.zeros(height, width, height, width, dtype=torch.float64)
    for y, x, v, u in torch.cartesian_prod(*map(torch.arange, graph.shape)).tolist():
        if (y, x) != (v, u) and abs(y - v) <= reach and abs(x - u) <= reach:
            graph[y, x, v, u] = torch.exp(-(colours[:, y, x] - colours[:, v, u]).norm() / tau)
    return graph.view(height * width, -1)

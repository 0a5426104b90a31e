"""LPOSS's two graphs against their matrices written out, the solver against the textbook, and recorded cases."""

import pytest
import torch
from torch import Tensor

from golden import Case, cases
from segloop.errors import ImageError, OptionError
from segloop.maps import pixelgraph, propagation
from segloop.maps.pixelgraph import PixelGraph, Stencil, lab
from segloop.maps.propagation import (
    PatchGraph,
    conjugate_gradients,
    degrees,
    normalised,
    patch_graph,
    patch_places,
    propagated,
)
from segloop.maps.windows import layout
from textbook_graphs import dense_graph, dense_normalised, dense_pixels, textbook_solver
from tolerances import EXACT, U

ROUNDED = 100 * U[torch.float32]  # relative, of a weight: a sum of products in float32, then a power and an exponential
WIDE = 1e3 * U[torch.float32]  # of colours over tau = 0.01: what rounding makes of a weight is 100 times as large


def nodes(count: int = 30, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Unit features (N, C), places (N, 2), some of them the same."""
    random = torch.Generator().manual_seed(seed)
    features = torch.randn(count, 5, generator=random, dtype=torch.float64)
    places = torch.randint(0, 6, (count, 2), generator=random) * 16.0
    return features / features.norm(dim=1, keepdim=True), places


@pytest.mark.parametrize("neighbours", [1, 7, 400])
@pytest.mark.parametrize("power", [0.5, 1.0])
def test_patch_graph_is_the_formula(neighbours: int, power: float):
    x, places = nodes()
    constants = PatchGraph(graph_neighbours=neighbours, graph_distance_power=power)
    graph, expected = patch_graph(x, places, constants), dense_graph(x, places, constants)
    torch.testing.assert_close(graph.to_dense(), expected, rtol=ROUNDED, atol=ROUNDED)  # the fall came in float32
    torch.testing.assert_close(normalised(graph).to_dense(), dense_normalised(expected), rtol=ROUNDED, atol=ROUNDED)


def test_blocks_of_rows_do_not_matter(monkeypatch):
    x, places = nodes()
    whole = patch_graph(x, places, PatchGraph(graph_neighbours=7))
    monkeypatch.setattr(propagation, "PAIRS", 4 * len(x))
    torch.testing.assert_close(patch_graph(x, places, PatchGraph(graph_neighbours=7)).to_dense(), whole.to_dense())


def test_a_node_without_positive_neighbours_keeps_its_scores():
    x, places = nodes()
    x[:, 0] = x[:, 0].abs()
    x[3] = torch.tensor([-1.0, 0, 0, 0, 0])
    graph = patch_graph(x / x.norm(dim=1, keepdim=True), places, PatchGraph())
    assert degrees(graph)[3] == 1
    scores = torch.linspace(-1, 1, 2 * len(x)).view(-1, 2)
    torch.testing.assert_close(propagated(scores, graph, PatchGraph(graph_steps=200))[3], scores[3])


def test_too_many_patches_are_refused(monkeypatch):
    monkeypatch.setattr(propagation, "MOST_NODES", 29)
    with pytest.raises(ImageError, match="30 patches are too many"):
        patch_graph(*nodes(), PatchGraph())


def test_places_by_hand():
    where = layout((24, 40), 24, 16, 16)  # windows of 24, padded to 32 by 4 on every side
    places = patch_places(where, (2, 2), (16.0, 16.0))
    one = [[4, 4], [4, 20], [20, 4], [20, 20]]
    assert places.tolist() == [*one, *([y, x + 16] for y, x in one)]


@pytest.mark.parametrize("steps", [1, 3, 10])
def test_solver_is_the_textbook_for_every_column(steps: int):
    matrix = torch.eye(30, dtype=torch.float64) - 0.95 * dense_normalised(dense_graph(*nodes(), PatchGraph()))
    b = torch.randn(30, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    b[:, 2] = 0
    expected = torch.stack([textbook_solver(matrix, column, steps, 1e-6) for column in b.T], 1)
    found = conjugate_gradients(lambda x: matrix @ x, b, (0,), steps, 1e-6)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e3 * EXACT)  # the condition of the matrix is below 40
    assert (found[:, 2] == 0).all()


def test_a_column_that_is_done_stays_as_it_is():
    matrix = torch.diag(torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64))
    easy, hard = torch.tensor([1.0, 0, 0, 0], dtype=torch.float64), torch.ones(4, dtype=torch.float64)
    found = conjugate_gradients(lambda x: matrix @ x, torch.stack([easy, hard], 1), (0,), 10, 1e-9)
    assert (found[:, 0] == easy).all()
    torch.testing.assert_close(found[:, 1], hard / matrix.diagonal())


@pytest.mark.parametrize("part", [8 * 30, 2**26])
def test_many_steps_solve_the_system(part: int, monkeypatch):
    monkeypatch.setattr(propagation, "STATE_BYTES", part)
    constants = PatchGraph(graph_steps=200, graph_tolerance=1e-12)
    x, places = nodes()
    matrix = torch.eye(30) - constants.graph_alpha * dense_normalised(dense_graph(x, places, constants))
    scores = torch.randn(30, 4, generator=torch.Generator().manual_seed(2))
    found = propagated(scores, patch_graph(x, places, constants), constants)
    expected = torch.linalg.solve(matrix, scores.double()).float()
    torch.testing.assert_close(found, expected, rtol=40 * ROUNDED, atol=40 * ROUNDED)


def photo(height: int, width: int, seed: int = 0) -> Tensor:
    """Few colours, so that many pixels are alike."""
    random = torch.Generator().manual_seed(seed)
    shades = torch.rand(3, 4, generator=random)
    return shades[:, torch.randint(0, 4, (height, width), generator=random)]


@pytest.mark.parametrize("size", [(5, 7), (1, 9), (8, 2)])
@pytest.mark.parametrize("strip", [1, 2**22])
@pytest.mark.parametrize("kept", [0, 2**29])
def test_stencil_is_the_matrix(size, strip: int, kept: int, monkeypatch):
    monkeypatch.setattr(pixelgraph, "STRIP_BYTES", {"cpu": strip})
    monkeypatch.setattr(pixelgraph, "KEPT_BYTES", kept)
    image = photo(*size)
    stencil, expected = Stencil(lab(image), 7, 0.05), dense_pixels(image, 7, 0.05)
    maps = torch.randn(3, *size, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    torch.testing.assert_close(stencil(maps).flatten(1), maps.flatten(1) @ expected, rtol=WIDE, atol=WIDE)
    torch.testing.assert_close(stencil.degrees.flatten(), expected.sum(1), rtol=WIDE, atol=WIDE)


@pytest.mark.parametrize("part", [1, 2**26])
def test_pixels_are_solved_for(part: int, monkeypatch):
    monkeypatch.setattr(pixelgraph, "STATE_BYTES", part)
    image = photo(5, 6)
    maps = torch.randn(3, 5, 6, generator=torch.Generator().manual_seed(4))
    constants = PixelGraph(True, pixel_window=5, pixel_tau=0.05, pixel_steps=300, pixel_tolerance=1e-12)
    matrix = torch.eye(30) - constants.pixel_alpha * dense_normalised(dense_pixels(image, 5, 0.05))
    expected = torch.linalg.solve(matrix, maps.flatten(1).double().T).T.view_as(maps).float()
    found = constants.ready(image)(maps)
    torch.testing.assert_close(found, expected, rtol=40 * WIDE, atol=40 * WIDE)


def test_flat_photos_are_finite():
    for image in (torch.zeros(3, 9, 9), torch.ones(3, 9, 9), torch.full((3, 9, 9), 0.5)):
        assert PixelGraph(True).ready(image)(torch.ones(2, 9, 9)).isfinite().all()


def test_a_pixel_that_is_like_no_other_keeps_its_scores():
    image = torch.zeros(3, 5, 5)
    image[:, 2, 2] = 1
    maps = torch.randn(2, 5, 5, generator=torch.Generator().manual_seed(5))
    found = PixelGraph(True, pixel_tau=1e-4, pixel_steps=100).ready(image)(maps)
    torch.testing.assert_close(found[:, 2, 2], maps[:, 2, 2])


def test_lab_of_known_colours():
    colours = torch.tensor([[0.0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 0, 1]]).T[:, None]
    expected = torch.tensor([[0.0, 0, 0], [100, 0, 0], [53.24, 80.09, 67.20], [32.30, 79.19, -107.86]])
    found = lab(colours)[:, 0].T * torch.tensor([100.0, 128, 128])
    torch.testing.assert_close(found, expected, rtol=0, atol=0.02)  # printed with two digits; white to the matrix's six


@pytest.mark.parametrize("wrong", [{"graph_neighbours": 0}, {"graph_alpha": 1.0}, {"graph_gamma": 0.0}])
def test_patch_constants_out_of_reason(wrong):
    with pytest.raises(OptionError, match="is not possible"):
        PatchGraph(**wrong)


@pytest.mark.parametrize("wrong", [{"pixel_window": 12}, {"pixel_tau": 0.0}, {"pixel_steps": 0}])
def test_pixel_constants_out_of_reason(wrong):
    with pytest.raises(OptionError, match="is not possible"):
        PixelGraph(**wrong)


def recorded(kind: str) -> list[Case]:
    return [case for case in cases("F_propagation") if case.manifest["kind"] == kind]


def beyond(found: Tensor, expected: Tensor) -> float:
    return float((found.double() - expected).abs().max())


@pytest.mark.parametrize("case", recorded("propagation"), ids=str)
def test_recorded_patches(case: Case):
    params, tolerance = case.manifest["params"], case.manifest["tolerance"]
    arrays = {name: torch.from_numpy(array) for name, array in case.arrays.items()}
    given = ("neighbours", "gamma", "alpha", "pixel_distance_weight", "pixel_distance_power")
    constants = PatchGraph(*(params[name] for name in (*given, "solver_steps", "solver_tolerance")))
    graph = patch_graph(arrays["guide"], arrays["positions"].float(), constants)
    assert beyond(degrees(graph), arrays["degree"]) <= tolerance["degree"]
    assert beyond(propagated(arrays["initial"], graph, constants), arrays["propagated"]) <= tolerance["propagated"]
    if "W" in arrays:
        assert beyond(graph.to_dense(), arrays["W"].fill_diagonal_(0)) <= tolerance["W"]
        assert beyond(normalised(graph).to_dense(), arrays["Wn"]) <= tolerance["Wn"]


@pytest.mark.parametrize("case", recorded("pixel_propagation"), ids=str)
def test_recorded_pixels(case: Case):
    params, tolerance = case.manifest["params"], case.manifest["tolerance"]
    arrays = {name: torch.from_numpy(array) for name, array in case.arrays.items()}
    solver = (params["alpha"], params["solver_steps"], params["solver_tolerance"])
    constants = PixelGraph(True, params["pixel_window"], params["pixel_tau"], *solver)
    image = arrays["image"] / 255
    assert beyond(lab(image), arrays["lab"]) <= tolerance["lab"]
    stencil = Stencil(lab(image), constants.pixel_window, constants.pixel_tau)
    assert beyond(stencil.degrees, arrays["degree"]) <= tolerance["degree"]
    found = constants.ready(image)(arrays["scores_in"].float())
    assert beyond(found, arrays["scores_out"]) <= tolerance["scores_out"]

"""CorrCLIP: regions, attention and copies against loops over pairs (spec 2.11)."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import textbook_corrclip as textbook
from segloop.attention.corrclip import Correlation, copies, region_weights, spatial_blocks
from segloop.attention.regions import MARGIN, as_published, components, merged, near
from segloop.attention.types import LastBlock
from segloop.errors import OptionError
from tolerances import U

pytestmark = pytest.mark.usefixtures("one_thread")

GRID = (5, 7)
WEIGHTS = 64 * U[torch.float32]  # a weight below 1 of exponents up to 4, of cosines that are sums of 16 products


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def ids_of(*shape: int, names: tuple[int, ...] = (0, 3, 7, 12), seed: int = 0) -> Tensor:
    places = torch.randint(0, len(names), shape, generator=torch.Generator().manual_seed(seed))
    return torch.tensor(names)[places]


def unit(*shape: int, seed: int = 0) -> Tensor:
    return F.normalize(random(*shape, seed=seed) + 0.5, dim=1)


# --- ids ---


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
def test_near_reads_what_the_formula_says(height, width, rows, columns):
    ids = torch.arange(height * width).view(1, height, width)
    assert near(ids, (rows, columns))[0].tolist() == textbook.near(ids[0].tolist(), (rows, columns))
    assert torch.equal(near(ids, (height, width)), ids)


def test_the_published_reading_takes_the_lowest_id_for_unsegmented():
    ids = torch.tensor([[[0, 4], [MARGIN, 4]], [[5, 9], [5, MARGIN]]])
    found = as_published(ids)
    assert (found == 0).tolist() == [[[True, False], [False, False]], [[True, False], [True, False]]]
    assert found[0, 1, 0] != found[0, 0, 1]  # the margin is a region of its own
    assert (found >= 0).all()


@pytest.mark.parametrize("eps", [0.05, 0.2, 0.6])
@pytest.mark.parametrize("names", [(0, 3, 7, 12, 300), (0, 5), (5,), (0, MARGIN, 2, 4, 8), (1, 2, 3, 4, 5, 6)])
def test_merging_follows_the_loops(eps, names):
    ids, features = ids_of(2, *GRID, names=names), unit(2, 8, *GRID)
    for one, own, found in zip(ids, features, merged(ids, features, eps), strict=True):
        expected = textbook.merge(one.tolist(), own, eps)
        pairs = set(zip(found.flatten().tolist(), torch.tensor(expected).flatten().tolist(), strict=True))
        assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})  # the same, by other names
        assert torch.equal(found <= 0, one <= 0)
        assert torch.equal(found.clamp_max(0), one.clamp_max(0))


def test_chains_of_neighbours_hang_together():
    for count, seed in ((1, 0), (2, 1), (7, 2), (40, 3), (90, 4)):
        points = F.normalize(random(count, 3, seed=seed), dim=1).double()
        distance = 1 - points @ points.T
        expected = textbook.chains(distance.tolist(), 0.02)
        found = components(distance <= 0.02).tolist()
        assert {frozenset(group) for group in expected} == {
            frozenset(place for place, lowest in enumerate(found) if lowest == number) for number in found
        }
        assert all(number <= place for place, number in enumerate(found))
    line = torch.ones(69).diag(1).bool()  # the farthest that a chain can reach
    assert components(line).tolist() == [0] * 70


def test_merged_regions_look_alike():
    features = torch.zeros(1, 3, 1, 6)
    for place, direction in enumerate([(1, 0, 0), (0.95, 0.3, 0), (0, 1, 0), (0, 0.9, 0.4), (0, 0, 1), (1, 0, 0)]):
        features[0, :, 0, place] = torch.tensor(direction)
    ids = torch.tensor([[[1, 2, 3, 4, 0, MARGIN]]])
    assert merged(ids, features, 0.2).tolist() == [[[1, 1, 3, 3, 0, MARGIN]]]


# --- attention ---


@pytest.mark.parametrize("names", [(0, 3, 7), (0,), (4,), (0, MARGIN, 6), (MARGIN, 1, 2)])
def test_weights_are_those_of_every_pair(names):
    ids, features = ids_of(2, *GRID, names=names), unit(2, 16, *GRID, seed=3)
    found = region_weights(features, ids)
    for one, own, weights in zip(ids, features.double(), found, strict=True):
        expected = textbook.attention(F.normalize(own, dim=0), one.tolist())
        torch.testing.assert_close(weights.double(), expected, rtol=0, atol=WEIGHTS)
    torch.testing.assert_close(found.sum(-1), torch.ones(2, 35), rtol=0, atol=35 * U[torch.float32])


def test_patches_see_their_region_and_nobody_the_margin():
    ids = torch.tensor([[[1, 1, 2, 2, MARGIN, 0]]])
    weights = region_weights(unit(1, 8, 1, 6), ids)[0]
    assert ((weights > 0)[:4, :4] == torch.block_diag(*[torch.ones(2, 2)] * 2).bool()).all()
    assert (weights[:, 4] > 0).tolist() == [False] * 4 + [True, False]  # its own diagonal


def test_flat_pictures_stay_finite():
    for names in ((0,), (0, 3), (MARGIN, 0)):
        weights = region_weights(torch.ones(1, 4, *GRID), ids_of(1, *GRID, names=names))
        assert weights.isfinite().all()
    assert region_weights(torch.zeros(1, 4, *GRID), ids_of(1, *GRID)).isfinite().all()


def test_blocks_of_rows_do_not_show(monkeypatch):
    ids, features = ids_of(1, *GRID), unit(1, 8, *GRID)
    whole = region_weights(features, ids)
    monkeypatch.setattr("segloop.attention.corrclip.BLOCK", 3 * 35)
    assert torch.equal(region_weights(features, ids), whole)


def opened(**given_) -> LastBlock:
    q, k, v = random(3, 2, 2, 35, 4)
    return LastBlock(q, k, v, scale=0.5, grid=GRID, has_class_token=False, **given_)


def test_an_operator_of_pixels_and_what_it_lacks():
    regions = ids_of(2, 40, 56)
    block = opened(guide=unit(2, 8, *GRID), regions=regions)
    operator = Correlation()(block)
    weights = region_weights(block.guide, near(regions, GRID))
    torch.testing.assert_close(operator.rows([3, 30])[:, 0], weights[:, [3, 30]])
    torch.testing.assert_close(operator(block.v), weights[:, None] @ block.v)
    assert operator.row_sum == 1
    with pytest.raises(OptionError, match="--vision"):
        Correlation()(opened(regions=regions))
    with pytest.raises(OptionError, match="--masks"):
        Correlation()(opened(guide=block.guide))
    with pytest.raises(OptionError, match="region_sharpness"):
        Correlation(0.0)


# --- copies ---


def test_every_region_has_a_copy_that_sees_it():
    ids = torch.tensor([[[0, 4, 4], [9, 0, MARGIN]], [[7, 7, 7], [7, 7, 7]]])
    found = copies(ids)
    assert found.count == 3
    mask = found.mask()
    assert mask.shape == (2, 1, 3, 7)
    assert mask[:, :, :, 0].all()
    for sample, names in ((0, [0, 4, 9]), (1, [7])):
        for number, name in enumerate(names):
            assert torch.equal(mask[sample, 0, number, 1:], ids[sample].flatten() == name)
    assert not mask[1, 0, 1:, 1:].any()  # nobody reads them
    assert found.place[0, 5] == 0  # the margin reads the copy of no region
    assert found.mask(0).shape == (2, 1, 3, 6)


def test_spatial_blocks_are_the_published_ones():
    for depth, first, last in ((12, 6, 10), (24, 11, 22), (32, 3, 30), (6, 3, 4), (5, 3, 3)):
        assert list(spatial_blocks(depth)) == list(range(first, last + 1))
    assert [list(spatial_blocks(depth)) for depth in (4, 3, 2, 1)] == [[2], [1], [0], [0]]

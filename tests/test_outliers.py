"""Detectors of outlier tokens and what they look at, against stored attention, loops and scikit-learn."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from sklearn.cluster import DBSCAN
from sklearn.neighbors import LocalOutlierFactor
from torch import Tensor

import textbook_sfp
from segloop.attention import outliers
from segloop.attention.outliers import DETECTORS, BlockAttention, Detection, release_lof, textbook_lof
from segloop.attention.purify import interpolate
from tolerances import EXACT, U

pytestmark = pytest.mark.usefixtures("one_thread")

FINDERS = [name for name in DETECTORS if name != "none"]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def stats_of(tokens: int, heads: int = 2, batch: int = 3, seed: int = 0) -> BlockAttention:
    q, k = random(2, batch, heads, 1 + tokens, 8, seed=seed)
    return BlockAttention(q, k, 8**-0.5)


# --- what the last block but one says ---


@pytest.mark.parametrize("budget", [1, 50, 2**20])
def test_statistics_are_those_of_the_stored_attention(budget, monkeypatch):
    monkeypatch.setattr(outliers, "BLOCK", budget)
    stats = stats_of(11)
    stored = (stats.q @ stats.k.mT * stats.scale).softmax(-1).mean(1)
    close = partial(torch.testing.assert_close, rtol=0, atol=EXACT)
    close(stats.class_row, stored[:, 0, 1:])
    close(stats.diagonal, stored.diagonal(dim1=1, dim2=2)[:, 1:])
    close(stats.received, stored[:, 1:, 1:].mean(1))
    close(stats.between_patches(), stored[:, 1:, 1:])


def test_statistics_of_half_precision_are_float32():
    stats = stats_of(11)
    half = BlockAttention(stats.q.bfloat16(), stats.k.bfloat16(), stats.scale)
    assert half.class_row.dtype == half.diagonal.dtype == half.received.dtype == torch.float32
    size = (stats.q.abs() @ stats.k.abs().mT * stats.scale).max().item()  # of logits
    both_rounded = 2 * 2 * U[torch.bfloat16] * size  # softmax doubles it
    torch.testing.assert_close(half.diagonal, stats.diagonal.float(), rtol=both_rounded, atol=0)


# --- detectors ---

PLACE, FIELD = 40, (8, 9)


def with_outlier() -> tuple[Tensor, BlockAttention]:
    """Smooth patches of two photos, one patch far off that every token looks at, and that does not look at itself."""
    across, down = torch.meshgrid(torch.arange(8.0), torch.arange(9.0), indexing="ij")
    smooth = torch.stack([across.sin(), down.cos(), across * down / 60], -1).reshape(1, 72, 3).repeat(2, 1, 4).double()
    tokens = smooth + 0.05 * random(2, 72, 12)
    tokens[:, PLACE] = 20 * random(12, seed=1)
    q, k = 0.1 * random(2, 2, 2, 73, 8, seed=2)
    q[..., 0], k[:, :, 1 + PLACE, 0], q[:, :, 1 + PLACE, 0] = 1, 12, -5
    return tokens, BlockAttention(q, k, 8**-0.5)


@pytest.mark.parametrize("name", FINDERS)
def test_an_injected_outlier_is_found_and_repaired_to_the_mean_of_its_neighbours(name):
    tokens, stats = with_outlier()
    mask = DETECTORS[name](tokens, stats, Detection())
    assert mask.dtype == torch.bool
    assert mask.shape == (2, 72)
    assert mask[:, PLACE].all()
    assert mask.sum(1).max() <= 10
    alone = torch.zeros_like(mask)
    alone[:, PLACE] = True
    ring = [PLACE + step for step in (-10, -9, -8, -1, 1, 8, 9, 10)]
    torch.testing.assert_close(interpolate(tokens, alone, FIELD)[:, PLACE], tokens[:, ring].mean(1))


@pytest.mark.parametrize("name", DETECTORS)
def test_detectors_on_a_batch_equal_one_by_one(name):
    tokens, stats = random(4, 63, 12), stats_of(63, batch=4)
    constants = Detection(detector=name, neighbours=7)
    together = constants.mask(tokens, stats)
    for i in range(4):
        alone = BlockAttention(stats.q[i : i + 1], stats.k[i : i + 1], stats.scale)
        assert torch.equal(constants.mask(tokens[i : i + 1], alone), together[i : i + 1])
    assert together.any() == (name != "none")


def test_som_takes_the_most_salient_candidates_only():
    row, own = torch.tensor([[0.3, 0.1, 0.5, 0.2]]), torch.tensor([[0.4, 0.2, 0.6, 0.1]])
    stats = SimpleNamespace(class_row=row, diagonal=own)
    tokens = torch.zeros(1, 4, 2)
    assert DETECTORS["som"](tokens, stats, Detection()).tolist() == [[True, False, True, True]]  # 1.5 row > own
    assert DETECTORS["som"](tokens, stats, Detection(outliers=1)).tolist() == [[False, False, True, False]]
    assert DETECTORS["som"](tokens, stats, Detection(detection_scale=1.0)).tolist() == [[False, False, False, True]]


def test_release_lof_is_the_ratio_of_k_distances():
    tokens = random(2, 40, 6)
    for sample, scores in zip(tokens, release_lof(tokens, 9), strict=True):
        torch.testing.assert_close(scores, torch.tensor(textbook_sfp.release_lof(sample, 9), dtype=torch.float64))


@pytest.mark.parametrize("neighbours", [5, 30])
def test_textbook_lof_equals_scikit_learn(neighbours):
    tokens, _ = with_outlier()
    for sample, scores in zip(tokens, textbook_lof(tokens, neighbours), strict=True):
        expected = -LocalOutlierFactor(n_neighbors=neighbours).fit(sample.numpy()).negative_outlier_factor_
        inner = 1e3 * EXACT  # its distances are |a|^2 + |b|^2 - 2 a b, a thousand times as large as what they leave
        torch.testing.assert_close(scores, torch.from_numpy(expected), rtol=inner, atol=0)


@pytest.mark.parametrize("spread", [1e-2, 1e-3, 1e-4, 1e-5])
def test_tight_clusters_far_apart_keep_their_outliers(spread):
    """Distances by inner products drown there: they are good to about 1e-3 of what lies between the clusters."""
    tokens = (random(4, 1, 64) + spread * random(4, 100, 64, seed=1)).float().flatten(0, 1)
    factors = {
        "lof": torch.tensor(textbook_sfp.release_lof(tokens.double(), 30)),
        "lof-textbook": -torch.from_numpy(LocalOutlierFactor(30).fit(tokens.double().numpy()).negative_outlier_factor_),
    }
    for name, expected in factors.items():
        found = DETECTORS[name](tokens[None], None, Detection())[0]
        assert found.tolist() == (expected > expected.double().quantile(0.95)).tolist(), name


def test_equal_patches_have_no_distance_and_a_device_without_float64_gets_float32(monkeypatch):
    tokens = random(2, 1, 64).repeat(1, 9, 1).float() * 1e4
    assert outliers._distances(tokens).abs().max() == 0
    tokens = random(2, 30, 8).float()
    exact = outliers._distances(tokens)
    monkeypatch.setattr(outliers, "has_float64", lambda kind: False)
    rough = outliers._distances(tokens)
    assert (exact.dtype, rough.dtype) == (torch.float64, torch.float32)
    torch.testing.assert_close(rough, exact.float())


def test_dbscan_equals_scikit_learn():
    tokens, stats = with_outlier()
    for sample, mask in zip(tokens, DETECTORS["dbscan"](tokens, stats, Detection()), strict=True):
        distance = torch.cdist(sample, sample)
        radius = distance.topk(31, largest=False).values[:, -1].quantile(0.95)
        expected = DBSCAN(eps=float(radius) + EXACT, min_samples=31).fit(sample.numpy()).labels_ == -1
        assert mask.tolist() == expected.tolist()


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("count", [1, 2, 72])
def test_detectors_bear_few_and_equal_patches(name, count):
    mask = DETECTORS[name](torch.ones(2, count, 4), stats_of(count, batch=2), Detection())
    assert mask.shape == (2, count)
    if name not in ("som", "l2", "attention", "none"):
        assert not mask.any()

"""The feedback's own matrix, step by step, and ProxyCLIP's, against their plain forms; on random numbers."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import textbook
from segloop.attention import feedback
from segloop.attention.feedback import DIVERGENCES, Feedback, class_distribution, prune, sharpen, similarity
from segloop.attention.operators import Shared, proxy_weights
from tolerances import FED, U, summed

pytestmark = pytest.mark.usefixtures("one_thread")

FEW = settings(derandomize=True, deadline=None, max_examples=15)
MANY = settings(FEW, max_examples=60)

PROXY = 200 * U[torch.float32]
"""Cosines of six channels are off by 11 U, logits by gamma (1 + beta) <= 8.8 times that, and softmax doubles it."""

seeds = st.integers(0, 2**16)
grids = st.tuples(st.integers(1, 5), st.integers(1, 5))


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def distribution(batch: int, count: int, width: int, seed: int = 0) -> Tensor:
    """P (B, N, Q), from one-hot to flat."""
    return (normal(batch, count, width, seed=seed) * torch.linspace(0.5, 4, count)[:, None].double()).softmax(-1)


# --- the feedback's own matrix ---


@FEW
@given(st.integers(1, 40), st.integers(1, 9), seeds)
def test_new_attention_is_the_textbook_one(count, width, seed):
    p = distribution(2, count, width, seed)
    new = Feedback(p, lambda_=3.0, mass=0.45)
    matrix = new.rows(range(count))
    torch.testing.assert_close(matrix.sum(-1), torch.ones_like(matrix[..., 0]))
    if width > 1:  # one class ties everywhere
        torch.testing.assert_close(matrix[:, 0], textbook.new_attention(p), rtol=0, atol=FED)
    one_hot = torch.eye(count, dtype=torch.float64).expand(2, 2, -1, -1)
    torch.testing.assert_close(new(one_hot), matrix.expand(-1, 2, -1, -1), rtol=0, atol=FED)


@pytest.mark.parametrize("floats", [1, 7, 50, 400, 3000])
def test_sizes_of_blocks_do_not_matter(monkeypatch, floats):
    new = Feedback(distribution(3, 20, 6), lambda_=3.0, mass=0.45)
    values = normal(3, 2, 20, 4, seed=1)
    expected = new(values)
    monkeypatch.setattr(feedback, "BLOCK", {"cpu": floats})
    torch.testing.assert_close(new(values), expected, rtol=0, atol=FED)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_divergences_are_their_definitions(name):
    for width in (1, 2, 21):
        p = distribution(2, 30, width, seed=width)
        expected = textbook.DIVERGENCES[name](p)
        size = expected.max().item() + 2 * math.log(width) + 1  # K is what two sums leave, the smaller at most log Q
        exact, rounded = (summed(width + 3, size, dtype) for dtype in (torch.float64, torch.float32))
        for rows in (slice(0, 30), slice(7, 12)):
            torch.testing.assert_close(DIVERGENCES[name](p, rows), expected[:, rows], rtol=0, atol=exact)
            rough = DIVERGENCES[name](p.float(), rows)
            torch.testing.assert_close(rough.double(), expected[:, rows], rtol=0, atol=rounded)


def test_class_distribution_is_float64_whatever_the_cosines_are():
    cosines, uniform = normal(2, 9, 5, seed=1) / 5, normal(2, 1, 5, seed=2) / 5
    p = class_distribution(cosines, uniform, 20, 35)
    torch.testing.assert_close(p, (20 * cosines - 35 * uniform).softmax(-1))
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        rough = class_distribution(cosines.to(dtype), uniform.to(dtype), 20, 35)
        expected = (20 * cosines.to(dtype).double() - 35 * uniform.to(dtype).double()).softmax(-1)
        torch.testing.assert_close(rough, expected)
    torch.testing.assert_close(class_distribution(cosines, None, 20, 35), (20 * cosines).softmax(-1))


def test_rounding_takes_similarity_never_above_one():
    for p in (distribution(1, 50, 9).float(), distribution(1, 1, 9).expand(1, 50, 9).float()):
        s = Feedback(p, lambda_=3.0, mass=0.45).similarity(slice(0, 1), slice(10, 40))
        assert s.max() <= 1
        assert torch.equal(s[0].diagonal(10), torch.ones(30))


# --- pruning and sharpening ---


@FEW
@given(st.integers(1, 60), seeds, st.floats(0.05, 1.0))
def test_pruning_is_every_published_form_of_it_where_nothing_ties(count, seed, mass):
    s = similarity(normal(4, count, seed=seed).exp())
    kept = prune(s, mass)
    for form in (textbook.keep_by_sort, textbook.keep_by_ties, textbook.keep_by_bisection):
        assert torch.equal(kept, form(s, mass)), form.__name__
    torch.testing.assert_close(sharpen(s, kept, 2.3), textbook.sharpen(s, kept, 2.3))


@MANY
@given(st.integers(1, 40), st.integers(1, 6), seeds)
def test_equal_entries_stay_or_go_together_whatever_their_order(count, levels, seed):
    generator = torch.Generator().manual_seed(seed)
    s = (1 + torch.randint(levels, (3, count), generator=generator)) / levels
    kept = prune(s, 0.45)
    assert torch.equal(kept, textbook.keep_by_ties(s.double()))
    order = torch.randperm(count, generator=generator)
    assert torch.equal(prune(s[:, order], 0.45), kept[:, order])
    assert kept.any(-1).all()


@FEW
@given(st.integers(100, 300), st.integers(2, 12), seeds)
def test_a_quarter_to_less_than_half_is_kept(count, width, seed):
    matrix = Feedback(distribution(1, count, width, seed), lambda_=3.0, mass=0.45).rows(range(count))
    kept = (matrix > 0).sum(-1)
    assert kept.max() <= 0.45 * count
    assert kept.min() + 1 >= 0.2314 * count  # the first entry that no longer fits would reach it


def test_patches_in_another_order_give_the_same_in_that_order():
    p = distribution(1, 40, 6)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    everything = slice(0, 1), slice(0, 40)
    new, moved = (Feedback(rows, lambda_=3.0, mass=0.45) for rows in (p, p[:, order]))
    expected = new.matrix(*everything)[:, order][:, :, order]
    torch.testing.assert_close(moved.matrix(*everything), expected, rtol=0, atol=FED)


# --- ProxyCLIP's own attention ---


@FEW
@given(grids, st.integers(1, 3), seeds, st.floats(0, 1), st.sampled_from([(1.2, 3.0), (1.0, 4.0)]))
def test_proxy_weights_are_the_textbook_ones(grid, batch, seed, common, constants):
    features = normal(batch, 6, *grid, seed=seed) + common
    found = proxy_weights(features.float(), *constants)
    torch.testing.assert_close(found.double(), textbook.proxy(features, *constants), rtol=0, atol=PROXY)
    alone = torch.cat([proxy_weights(one, *constants) for one in features.float().split(1)])
    torch.testing.assert_close(found, alone, rtol=0, atol=PROXY)
    torch.testing.assert_close(found.sum(-1), torch.ones(found.shape[:2]))


def test_flat_features_leave_every_patch_to_itself():
    for flat in (
        torch.ones(2, 6, 3, 4),
        torch.zeros(2, 6, 3, 4),
        torch.ones(2, 6, 3, 4) + 1e-4 * torch.rand(2, 6, 3, 4),
    ):
        weights = proxy_weights(flat)
        assert weights.isfinite().all()
        torch.testing.assert_close(weights.sum(-1), torch.ones(2, 12))
    torch.testing.assert_close(proxy_weights(torch.ones(1, 6, 3, 4)), torch.eye(12)[None])


def test_one_matrix_serves_all_heads():
    values, weights = normal(2, 3, 15, 4, seed=1), proxy_weights(normal(2, 6, 3, 5, seed=2)).double()
    mix = Shared(weights)
    torch.testing.assert_close(mix(values), weights[:, None] @ values)
    torch.testing.assert_close(mix(values[:, :1]), mix(values)[:, :1])

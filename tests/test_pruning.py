"""Which similarities stay: alike for equal ones, in any block and order, in float32 where that is certain."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import textbook
from segloop.attention import feedback, pruning
from segloop.attention.feedback import FSA, Feedback, class_distribution, similarity
from segloop.attention.pruning import TIES, prune
from tolerances import FED, U, close_but_for_flips

pytestmark = pytest.mark.usefixtures("one_thread")

FEW = settings(derandomize=True, deadline=None, max_examples=15)
MANY = settings(FEW, max_examples=80)

seeds = st.integers(0, 2**16)
masses = st.sampled_from([0.05, 0.3, 0.45, 0.5, 0.9, 1.0])
ALL = slice(0, 1)
WEIGHTS = 2 * (80 * pruning.ROUNDED + 20 * 4 * U[torch.float32])
"""Relative, of weights in float32: s exp(3 s) <= 20 grows by up to 80 times its s and has four roundings of its own."""


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def divergences(count: int, levels: int, jitter: float, seed: int) -> Tensor:
    """K (4, N) float64: random, or of few levels that rounding has blurred by `jitter`; 0 comes first."""
    draw = generator(seed)
    k = torch.rand(4, count, generator=draw, dtype=torch.float64) * 1.5
    k = (k * levels).ceil() / levels if levels else k
    k = k + jitter * torch.randn(4, count, generator=draw, dtype=torch.float64)
    k[:, 0] = 0
    return k


def cosines(kind: str, count: int, width: int, seed: int) -> Tensor:
    """(1, N, Q) float32 of a window that is all noise, flat, or has two or four tones; tones up to their last float."""
    draw = generator(seed)
    tones = {"noise": count, "flat": 1, "two": 2, "four": 4}[kind]
    rows = torch.randn(tones, width, generator=draw) / 8
    found = rows[torch.arange(count) * tones // count][None]
    return found if kind == "noise" else found * (1 + 1e-7 * torch.randn(found.shape, generator=draw))


# --- equal similarities ---


@MANY
@given(st.integers(1, 60), st.integers(1, 5), seeds, masses)
def test_what_rounding_alone_tells_apart_stays_or_goes_together(count, levels, seed, mass):
    draw = generator(seed)
    s = (1 + torch.randint(levels, (3, count), generator=draw)).double() / levels
    blurred = s + 1e-11 * torch.rand(s.shape, generator=draw, dtype=torch.float64)
    assert torch.equal(prune(blurred, mass), prune(s, mass))
    assert torch.equal(prune(s.flip(-1), mass), prune(s, mass).flip(-1))
    assert torch.equal(prune(s.float().double(), mass), prune(s.float(), mass))


def test_the_whole_mass_keeps_everything():
    for count in range(1, 60):
        assert prune(1 / (1 + divergences(count, 0, 0, count)), 1.0).all()


@pytest.mark.parametrize("copies", [2, 3, 7])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_patches_of_one_distribution_stay_or_go_together(copies, dtype):
    p = cosines("noise", 63, 9, seed=copies).double().mul(20).softmax(-1)
    p = p[:, torch.randperm(63 * copies, generator=generator(0)) % 63]  # any two copies lie apart
    kept = Feedback(p, 3.0, 0.45).matrix(ALL, slice(0, 63 * copies), dtype) > 0
    place = p[0, :, 0].unique(return_inverse=True)[1]
    counts = torch.zeros(63 * copies, 63).index_add_(1, place, kept[0].float())
    assert set(counts.unique().tolist()) == {0.0, float(copies)}


@pytest.mark.parametrize("kind", ["noise", "flat", "two", "four"])
@pytest.mark.parametrize("width", [2, 21])
@pytest.mark.parametrize("divergence", feedback.DIVERGENCES)
def test_what_is_kept_does_not_depend_on_the_block(kind, width, divergence):
    p = class_distribution(cosines(kind, 96, width, seed=1), None, 20, 35)
    new = Feedback(p, 3.0, 0.45, divergence)
    whole = new.matrix(ALL, slice(0, 96), torch.float64) > 0
    for step in (1, 5, 32, 96):
        for dtype in (torch.float32, torch.float64):
            parts = [new.matrix(ALL, slice(i, min(i + step, 96)), dtype) > 0 for i in range(0, 96, step)]
            assert torch.equal(torch.cat(parts, 1), whole)


# --- what float32 settles ---


SETTLE = {"sort": pruning._settle_by_sort, "bins": pruning._settle_by_bins}


@pytest.fixture(params=SETTLE)
def settle(request, monkeypatch):
    """Both ways to settle a row, of which a processor takes one."""
    monkeypatch.setattr(pruning, "BY_BINS", request.param == "bins")
    return SETTLE[request.param]


@pytest.mark.parametrize("settle_most", SETTLE.values(), ids=SETTLE)
@MANY
@given(st.integers(1, 300), st.sampled_from([0, 1, 2, 7]), st.integers(6, 15), seeds, masses)
def test_what_float32_is_certain_of_is_so(settle_most, count, levels, digits, seed, mass):
    k = divergences(count, levels, 10.0**-digits, seed).clamp_min_(0)
    exact, rough = similarity(k.clone()), similarity(k.float())
    assert (rough.double() - exact).abs().max() < pruning.ROUNDED
    smallest, certain = settle_most(rough, mass)
    assert torch.equal((rough >= smallest)[certain], prune(exact, mass)[certain])


def test_most_rows_need_no_float64(settle):
    exact = similarity(divergences(1764, 0, 0, seed=2).repeat(25, 1)[:, torch.randperm(1764, generator=generator(3))])
    exact = exact * torch.linspace(0.3, 1, 100, dtype=torch.float64)[:, None]
    assert settle(exact.float(), 0.45)[1].float().mean() > 0.9


def test_sums_of_few_terms_are_good_to_float64():
    for count in (1, 31, 32, 33, 1764, 4096):
        rows = torch.rand(3, count, generator=generator(count)) + 1
        torch.testing.assert_close(pruning._sum(rows), rows.double().sum(-1, True), rtol=32 * U[torch.float32], atol=0)


@pytest.mark.parametrize("kind", ["noise", "flat", "two", "four"])
def test_both_ways_give_the_same_bits(monkeypatch, kind):
    p = class_distribution(torch.cat([cosines(kind, 300, 9, seed=seed) for seed in (1, 2)]), None, 20, 35)
    found = []
    for by_bins in (False, True):
        monkeypatch.setattr(pruning, "BY_BINS", by_bins)
        new = Feedback(p, 3.0, 0.45)
        found.append(torch.cat([new.matrix(slice(0, 2), slice(i, i + 100), torch.float32) for i in (0, 100, 200)], 1))
    assert torch.equal(*found)


CROWDED = 0.5 + 1e-4 * torch.rand(3, 400, generator=generator(9))
CROWDED[:, 0] = 1


@pytest.mark.parametrize(
    ("s", "mass"),
    [
        (CROWDED, 0.45),  # a bin that holds most of a row
        (torch.ones(3, 400), 0.45),
        (torch.tensor([[1.0, 0.5, 0.2]]), 0.05),  # the largest alone is too much
        (torch.tensor([[1.0, 0.5, 0.2]]), 1.0),
        (torch.ones(2, 1), 0.45),
    ],
)
def test_rows_of_which_bins_do_not_tell_are_sorted(monkeypatch, s, mass):
    rows, by_sort = [], pruning._settle_by_sort
    monkeypatch.setattr(pruning, "_settle_by_sort", lambda s, mass: rows.append(len(s)) or by_sort(s, mass))
    smallest, certain = pruning._settle_by_bins(s, mass)
    expected, sure = by_sort(s, mass)
    assert rows == [len(s)] and torch.equal(smallest, expected) and torch.equal(certain, sure)


def test_the_way_is_chosen_by_what_numpy_says_of_the_processor(monkeypatch):
    core = getattr(np, "_core", None) or np.core
    for version, features, sorts in (
        ("2.4.0", {"SSE42"}, False),
        ("2.4.0", {"SSE42", "X86_V3"}, True),
        ("2.0.0", {"AVX2"}, True),
        ("1.26.4", {"AVX2"}, False),
        ("1.26.4", {"AVX2", "AVX512_SKX"}, True),
        ("2.0.0", {"ASIMD"}, True),
    ):
        known = dict.fromkeys(("SSE42", "AVX2", "AVX512_SKX", "X86_V3", "ASIMD"), False) | dict.fromkeys(features, True)
        monkeypatch.setattr(core._multiarray_umath, "__cpu_features__", known)
        monkeypatch.setattr(np, "__version__", version)
        assert pruning.sorts_in_vectors() is sorts
        monkeypatch.undo()


def test_rows_with_nan_are_not_certain_and_keep_what_is_largest(settle):
    s = similarity(divergences(40, 0, 0, seed=4))
    s[1, 7] = torch.nan
    assert settle(s.float(), 0.45)[1].tolist()[1] is False
    assert prune(s, 0.45)[1].nonzero().tolist() == [[0]]
    p = cosines("noise", 20, 5, seed=1).softmax(-1).double()
    p[:, 3] = torch.nan
    weights = Feedback(p, 3.0, 0.45).matrix(ALL, slice(0, 20), torch.float32)
    torch.testing.assert_close(weights[0], torch.eye(20))


@pytest.mark.parametrize("kind", ["noise", "flat", "two", "four"])
def test_float32_weights_are_the_textbook_ones_under_gradients_too(kind):
    rows = cosines(kind, 70, 6, seed=5).requires_grad_()
    new = Feedback(class_distribution(rows, None, 20, 35), 3.0, 0.45)
    found, exact = new.matrix(ALL, slice(0, 70), torch.float32), new.matrix(ALL, slice(0, 70))
    assert (found.dtype, exact.dtype) == (torch.float32, torch.float64)
    torch.testing.assert_close(found.double(), exact, rtol=WEIGHTS, atol=0)
    if kind == "noise":  # nothing ties
        torch.testing.assert_close(exact, textbook.new_attention(new.p), rtol=0, atol=FED)
    (found**2).sum().backward(retain_graph=True)
    (gradient,) = torch.autograd.grad((exact**2).sum(), rows)
    four_factors = 4 * WEIGHTS * max(1, gradient.abs().max().item())  # of steps 3, 4, 7 and the square
    torch.testing.assert_close(rows.grad, gradient, rtol=0, atol=four_factors)


# --- devices without float64 ---


@pytest.fixture
def without_float64(monkeypatch):
    monkeypatch.setattr(pruning, "has_float64", lambda kind: False)


def test_a_device_is_asked_for_float64():
    assert pruning.has_float64("cpu")
    assert not pruning.has_float64("no such device")


def test_without_float64_all_is_float32_with_its_own_tolerance(without_float64):
    rows = cosines("noise", 96, 9, seed=6)
    p = class_distribution(rows, None, 20, 35)
    weights = Feedback(p, 3.0, 0.45).matrix(ALL, slice(0, 96))
    assert p.dtype == weights.dtype == torch.float32
    exact = textbook.new_attention((20 * rows.double()).softmax(-1))
    assert ((weights > 0) != (exact > 0)).double().mean() <= 1e-3  # spec 3.4, of float16
    s = torch.tensor([[1.0, 0.9, 0.9 - TIES[torch.float32] / 2, 0.9 - 2e-5, 0.2, 0.1]])
    assert prune(s, 0.45).tolist() == [[True, True, True, False, False, False]]


def test_without_float64_feedback_stays_within_the_allowance_of_hard_masks(without_float64, monkeypatch):
    values, text = torch.randn(2, 2, 40, 4, generator=generator(7)), torch.randn(8, 6, generator=generator(8))

    def readout(mixed: Tensor) -> Tensor:
        return torch.nn.functional.normalize(mixed.transpose(1, 2).flatten(2), dim=-1) @ text / 3

    found = FSA()(lambda v: v, values, readout)
    monkeypatch.undo()
    exact = FSA()(lambda v: v, values.double(), lambda mixed: readout(mixed.float()))
    close_but_for_flips(found, exact, 40)

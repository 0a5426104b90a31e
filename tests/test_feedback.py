"""FSA's functions and operators against their plain forms, on random numbers; no models."""

from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import textbook
from segloop.attention.feedback import DIVERGENCES, FSA, Feedback
from segloop.attention.operators import Shared, Softmax
from segloop.attention.types import LastBlock
from segloop.attention.variants import variant
from segloop.errors import OptionError
from tolerances import FED, U, close_but_for_flips

pytestmark = pytest.mark.usefixtures("one_thread")

FEW = settings(derandomize=True, deadline=None, max_examples=15)
MANY = settings(FEW, max_examples=60)
HOSTS = ("clip", "maskclip", "sclip", "clearclip", "naclip", "proxyclip", "kv", "vv", "qq+kk+vv")
HEADS, HEAD = 2, 4
EVERYTHING = slice(None)

seeds, queries = st.integers(0, 2**16), st.integers(2, 6)
grids = st.tuples(st.integers(1, 5), st.integers(1, 5))


@dataclass(frozen=True)
class Path:
    """A host's way to cosines: out-projection, a residual where there is one, unit rows, text."""

    weights: Tensor  # (hd, E)
    text: Tensor  # (Q, E)
    residual: Tensor | None = None  # (B, N, E)

    def __call__(self, mixed: Tensor) -> Tensor:
        tokens = mixed.transpose(1, 2).flatten(2) @ self.weights
        return F.normalize(tokens if self.residual is None else tokens + self.residual, dim=-1) @ self.text.T


def normal(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def host(name: str, grid: tuple[int, int], batch: int, seed: int) -> tuple[LastBlock, object, Tensor, bool]:
    """An opened block, the host's operator and its stored matrix, and whether token 0 is the class token."""
    patches = name == "proxyclip"
    tokens = grid[0] * grid[1] + (not patches)
    q, k, v = normal(3, batch, HEADS, tokens, HEAD, seed=seed)
    block = LastBlock(q, k, v, HEAD**-0.5, grid, not patches)
    if patches:
        matrix = textbook.proxy(normal(batch, 6, *grid, seed=seed + 1) + 0.4)
        return block, Shared(matrix), matrix[:, None].expand(-1, HEADS, -1, -1), False
    pairs, *_ = textbook.HOSTS.get(name, (name,))
    if name == "naclip":  # our bias is made in float32
        bias = textbook.neighbourhood(grid)
        return block, Softmax(k, k, block.scale, bias), textbook.products(q, k, v, pairs, bias), True
    return block, variant(name).attention(block), textbook.products(q, k, v, pairs), True


def path(block: LastBlock, width: int, seed: int, residual: bool = False) -> Path:
    count = block.grid[0] * block.grid[1]
    kept = normal(len(block.v), count, 32, seed=seed + 2) if residual else None
    text = F.normalize(normal(width, 32, seed=seed + 3), dim=-1)
    return Path(normal(HEADS * HEAD, 32, seed=seed + 4), text, kept)


# --- the ensemble: A* as operators ---


@MANY
@given(st.sampled_from(HOSTS), grids, st.integers(1, 2), queries, seeds, st.booleans())
def test_mix_is_the_textbook_matrix(name, grid, batch, width, seed, residual):
    block, mix, matrix, class_token = host(name, grid, batch, seed)
    readout = path(block, width, seed, residual)
    found = FSA()(mix, block.v, readout, class_token=class_token)
    expected = textbook.fsa(matrix, block.v, readout, class_token=class_token)
    torch.testing.assert_close(found, expected, rtol=0, atol=FED)


OPTIONS = [
    ({"rounds": 2}, {"rounds": 2}),
    ({"rounds": 3, "isolation": False}, {"rounds": 3, "isolation": False}),
    ({"terms": ("new_old",)}, {"terms": ("new_old",)}),
    ({"terms": ("old_new",)}, {"terms": ("old_new",)}),
    ({"terms": ("new",)}, {"terms": ("new",)}),
    ({"terms": ("new", "old_new")}, {"terms": ("old_new", "new")}),
    ({"third_term": 0.5}, {"rho": 0.5}),
    ({"lambda_": 2.3, "mass": 0.3}, {"lambda_": 2.3, "mass": 0.3}),
    ({"attention_scale": 12, "uniform_scale": 3}, {"scales": (12, 3)}),
    *[({"divergence": name}, {"divergence": name}) for name in DIVERGENCES],
]


@pytest.mark.parametrize("name", ["sclip", "proxyclip"])
@pytest.mark.parametrize(("ours", "theirs"), OPTIONS, ids=lambda options: "-".join(options))
def test_options_do_what_they_say(name, ours, theirs):
    block, mix, matrix, class_token = host(name, (5, 4), 2, seed=3)
    readout = path(block, 5, seed=3, residual=name == "sclip")
    found = FSA(**ours)(mix, block.v, readout, class_token=class_token)
    expected = textbook.fsa(matrix, block.v, readout, class_token=class_token, **theirs)
    torch.testing.assert_close(found, expected, rtol=0, atol=FED)
    assert ours == {"divergence": "kl"} or (found - FSA()(mix, block.v, readout, class_token=class_token)).abs().max()


def test_float32_stays_within_the_allowance_of_hard_masks():
    for name in HOSTS:
        block, _, matrix, class_token = host(name, (14, 14), 1, seed=5)
        readout = path(block, 8, seed=5)
        expected = readout(textbook.fsa(matrix, block.v, readout, class_token=class_token)[:, :, int(class_token) :])
        rough = Path(readout.weights.float(), readout.text.float())
        mixed = FSA()(lambda v, m=matrix.float(): m @ v, block.v.float(), rough, class_token=class_token)
        close_but_for_flips(rough(mixed[:, :, int(class_token) :]), expected, 14 * 14)


@FEW
@given(st.sampled_from(HOSTS), grids, queries, seeds)
def test_a_batch_is_its_samples_one_by_one(name, grid, width, seed):
    block, _, matrix, class_token = host(name, grid, 3, seed)
    readout = path(block, width, seed)

    def fed(part: slice) -> Tensor:
        return FSA()(lambda v: matrix[part] @ v, block.v[part], readout, class_token=class_token)

    alone = torch.cat([fed(slice(i, i + 1)) for i in range(3)])
    torch.testing.assert_close(fed(EVERYTHING), alone, rtol=0, atol=FED)


@FEW
@given(st.sampled_from(HOSTS), grids, seeds)
def test_rows_of_a_host_sum_to_what_it_says(name, grid, seed):
    _, mix, matrix, _ = host(name, grid, 1, seed)
    torch.testing.assert_close(matrix.sum(-1), torch.full_like(matrix[..., 0], mix.row_sum))
    ones = torch.ones(1, HEADS, matrix.shape[-1], HEAD, dtype=torch.float64)
    torch.testing.assert_close(mix(ones), mix.row_sum * ones)


# --- used alone ---


def test_alone_on_an_attention_of_ones_own():
    values = normal(2, HEADS, 30, HEAD, seed=1)
    weights = normal(2, HEADS, 30, 30, seed=2).abs()  # rows with sums of their own: rho is measured for each
    readout = Path(normal(HEADS * HEAD, 32, seed=3), F.normalize(normal(5, 32, seed=4), dim=-1))
    found = FSA(lambda_=2.5)(lambda v: weights @ v, values, readout)
    torch.testing.assert_close(found, textbook.fsa(weights, values, readout, lambda_=2.5), rtol=0, atol=FED)


@pytest.mark.parametrize("class_token", [False, True])
def test_readout_gets_every_patch_unless_it_declares_to_need_none(class_token):
    class Readout(Path):
        def __call__(self, mixed):
            seen.append(mixed.shape[2])
            return super().__call__(mixed)

    class Anywhere(Readout):
        positional = False

    values = normal(1, HEADS, 12 + class_token, HEAD, seed=1)
    found = []
    for kind, counts in ((Readout, {12}), (Anywhere, {1, 12})):
        seen: list[int] = []
        readout = kind(normal(HEADS * HEAD, 32, seed=3), F.normalize(normal(5, 32, seed=4), dim=-1))
        found.append(FSA(rounds=2)(lambda v: v, values, readout, class_token=class_token))
        assert set(seen) == counts
    torch.testing.assert_close(*found, rtol=0, atol=FED)


def test_inside_a_model_whose_weights_ask_for_gradients():
    weights = normal(HEADS * HEAD, 32, seed=3).requires_grad_()
    readout = Path(weights, F.normalize(normal(5, 32, seed=4), dim=-1))
    found = FSA()(lambda v: v.softmax(-2), normal(1, HEADS, 9, HEAD, seed=1), readout)
    found.sum().backward()
    assert weights.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_follows_float32(dtype):
    for name in HOSTS:
        block, _, matrix, class_token = host(name, (8, 8), 1, seed=7)
        readout = path(block, 6, seed=7)
        exact = FSA()(lambda v, m=matrix: m @ v, block.v, readout, class_token=class_token)
        rough = Path(readout.weights.to(dtype), readout.text.to(dtype))
        half = FSA()(lambda v, m=matrix.to(dtype): m @ v, block.v.to(dtype), rough, class_token=class_token)
        assert half.dtype == dtype and half.isfinite().all()
        assert F.cosine_similarity(half.double().flatten(), exact.flatten(), dim=0) > 0.99


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"mass": 0.0}, "above 0"),
        ({"mass": 1.5}, "at most 1"),
        ({"rounds": 0}, "rounds=0"),
        ({"feedback_layers": 0}, "feedback_layers=0"),
        ({"divergence": "hellingr"}, "did you mean 'hellinger'"),
        ({"terms": ()}, "choose one or more"),
        ({"terms": ("old",)}, "new_old"),
    ],
)
def test_impossible_constants_are_refused(wrong, words):
    with pytest.raises(OptionError, match=words):
        FSA(**wrong)


# --- edges: no patch may come out as NaN ---


@pytest.mark.parametrize("name", ["sclip", "naclip", "proxyclip"])
@pytest.mark.parametrize(("grid", "width"), [((1, 1), 5), ((1, 1), 1), ((1, 2), 3), ((4, 5), 1)])
def test_one_patch_and_one_class_are_finite(name, grid, width):
    block, mix, matrix, class_token = host(name, grid, 2, seed=9)
    readout = path(block, width, seed=9)
    found = FSA()(mix, block.v, readout, class_token=class_token)
    expected = textbook.fsa(matrix, block.v, readout, class_token=class_token)
    if width > 1 or grid == (1, 1):
        torch.testing.assert_close(found, expected, rtol=0, atol=FED)
    assert found.isfinite().all()


def test_one_class_makes_the_feedback_uniform():
    new = Feedback(torch.ones(1, 20, 1), lambda_=3.0, mass=0.45)
    torch.testing.assert_close(new.rows(range(20)), torch.full((1, 1, 20, 20), 1 / 20))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_constant_values_stay_constant(dtype):
    readout = Path(torch.ones(HEADS * HEAD, 32, dtype=dtype), normal(5, 32, seed=4).to(dtype))
    matrix = host("naclip", (5, 6), 1, seed=2)[2].to(dtype)
    for value in (0.3, 0.0):  # zeros have no direction
        values = torch.full((1, HEADS, 31, HEAD), value, dtype=dtype)
        for mix in (lambda v: v, lambda v: matrix @ v):
            found = FSA()(mix, values, readout, class_token=True)
            four_sums = 4 * len(matrix[0, 0]) ** 0.5 * U[dtype]  # of A A+ v, and both once more in their other order
            torch.testing.assert_close(found, values, rtol=four_sums, atol=0)

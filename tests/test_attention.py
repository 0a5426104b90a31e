"""Operators against their matrices, written out in the textbook way."""

import pytest
import torch
import torch.nn.functional as F

from segloop.attention.operators import neighbourhood_bias
from segloop.attention.types import LastBlock
from segloop.attention.variants import VARIANTS, variant
from segloop.errors import OptionError
from tolerances import EXACT, U

GRID = (3, 5)
BIAS = 8 * U[torch.float32]  # NACLIP's bias, at most 1, is float32 and good to 4 U; softmax doubles it
PER_HEAD = [name for name, row in VARIANTS.items() if not row.on_guide_grid]


def opened(tokens: int = 16, dtype: torch.dtype = torch.float64, seed: int = 0) -> LastBlock:
    torch.manual_seed(seed)
    q, k, v = torch.randn(3, 2, 4, tokens, 8, dtype=dtype)
    return LastBlock(q, k, v, scale=8**-0.5, grid=GRID)


WITH_ROWS = [name for name in PER_HEAD if hasattr(VARIANTS[name].attention(opened()), "rows")]


def textbook(name: str, block: LastBlock) -> torch.Tensor:
    """The stored matrix (B, h, N, N) of a method."""
    if name == "maskclip":
        return torch.eye(block.v.shape[-2], dtype=block.v.dtype).expand(2, 4, -1, -1)
    pairs = {"clip": "qk", "sclip": "qq+kk", "clearclip": "qq", "naclip": "kk"}.get(name, name)
    bias = torch.zeros(16, 16, dtype=block.v.dtype)
    if name == "naclip":
        for i in range(15):
            for j in range(15):
                rows, columns = i // 5 - j // 5, i % 5 - j % 5
                bias[i + 1, j + 1] = torch.exp(torch.tensor(-(rows**2 + columns**2) / 50.0))
    maps = [
        getattr(block, a) @ getattr(block, b).mT * block.scale + bias for a, b in (tuple(p) for p in pairs.split("+"))
    ]
    return sum(m.softmax(-1) for m in maps)


@pytest.mark.parametrize("name", [*PER_HEAD, "kv", "qq+kk+vv"])
def test_operator_is_its_matrix(name):
    block = opened()
    mix, matrix = variant(name).attention(block), textbook(name, block)
    tolerance = BIAS * block.v.abs().max().item() if name == "naclip" else EXACT
    torch.testing.assert_close(mix(block.v), matrix @ block.v, rtol=0, atol=tolerance)
    rows = mix.rows([0, 7]).to(matrix) if name not in PER_HEAD or name in WITH_ROWS else matrix[:, :, [0, 7]]
    torch.testing.assert_close(rows.expand(2, 4, -1, -1), matrix[:, :, [0, 7]], rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", [*WITH_ROWS, "kv", "qq+kk+vv"])
def test_rows_are_the_operator_on_one_hot_values(name):
    block = opened()
    mix = variant(name).attention(block)
    columns = mix(torch.eye(16, dtype=torch.float64).expand(2, 4, 16, 16))
    torch.testing.assert_close(mix.rows(range(16)).to(columns).expand_as(columns), columns, rtol=0, atol=EXACT)
    sums = {"sclip": 2.0, "qq+kk+vv": 3.0}.get(name, 1.0)
    torch.testing.assert_close(columns.sum(-1), torch.full_like(columns[..., 0], sums))


@pytest.mark.parametrize("name", [*PER_HEAD, "qq+kk+vv"])
def test_samples_of_a_batch_do_not_meet(name):
    block = opened(dtype=torch.float32)
    both = variant(name).attention(block)(block.v)
    one = LastBlock(block.q[1:], block.k[1:], block.v[1:], block.scale, GRID)
    torch.testing.assert_close(both[1:], variant(name).attention(one)(one.v))


def test_neighbourhood_is_a_shifted_gaussian_window():
    omega = neighbourhood_bias(GRID, sigma=2.0, has_class_token=False)
    window = torch.tensor([[torch.tensor(-(r**2 + c**2) / 8.0).exp() for c in range(-4, 5)] for r in range(-2, 3)])
    for patch in range(15):
        r, c = divmod(patch, 5)
        expected = window[2 - r : 5 - r, 4 - c : 9 - c].flatten()
        torch.testing.assert_close(omega[patch], expected)
    padded = neighbourhood_bias(GRID, sigma=2.0, has_class_token=True)
    assert padded[0].abs().sum() == 0
    assert padded[:, 0].abs().sum() == 0
    torch.testing.assert_close(padded[1:, 1:], omega)


@pytest.mark.parametrize("name", ["sclp", "q", "qqq", "qq+", "qz", ""])
def test_unknown_names_are_refused(name):
    with pytest.raises(OptionError):
        variant(name)
    with pytest.raises(OptionError, match="did you mean 'sclip'"):
        variant("sclp")


def test_half_precision_follows_float32():
    block = opened(dtype=torch.float32)
    half = LastBlock(*(t.bfloat16() for t in (block.q, block.k, block.v)), block.scale, GRID)
    for name in PER_HEAD:
        exact, rough = (variant(name).attention(b)(b.v).float() for b in (block, half))
        angle = F.cosine_similarity(exact, rough, dim=-1).min().acos()
        assert angle < 11 * U[torch.bfloat16]  # q, k, v and weights are rounded, and logits of size 3 pass theirs on

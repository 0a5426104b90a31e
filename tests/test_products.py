"""Products by oneDNN: torch's own but for the order of sums, and torch's own wherever they are asked for otherwise."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from segloop.backbones.products import LEAST, Linear, with_products
from segloop.common import products
from segloop.common.products import matmul, onednn
from segloop.line.gauges import operations

ROUNDING = 2**-24  # of one float32 operation
WIDE, NARROW = (384, 512), (16, 24)


def model():
    """A large product and a small one."""
    torch.manual_seed(0)
    return nn.ModuleList([nn.Linear(*WIDE), nn.Linear(*NARROW)]).requires_grad_(False)


@pytest.fixture
def both():
    """A large product as torch has it, and the same as ours."""
    return model()[0], with_products(model())[0]


def test_only_large_products_change_and_weights_stay():
    plain, made = model(), with_products(model())
    assert [type(one) for one in made] == [Linear, nn.Linear] and WIDE[0] * WIDE[1] >= LEAST > NARROW[0] * NARROW[1]
    assert plain.state_dict().keys() == made.state_dict().keys()
    assert all(torch.equal(one, other) for one, other in zip(plain.parameters(), made.parameters(), strict=True))
    assert type(copy.deepcopy(made)[0]) is Linear


@pytest.mark.parametrize("shape", [(1,), (5,), (2, 197), (0, 3), (2, 7, 7)], ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_numbers_are_torchs_but_for_the_order_of_sums(shape, bias):
    torch.manual_seed(1)
    plain = nn.Linear(*WIDE, bias=bias).requires_grad_(False)
    x = torch.randn(*shape, WIDE[0])
    found = with_products(nn.Sequential(copy.deepcopy(plain)))(x)
    expected = plain(x)
    size = F.linear(x.abs(), plain.weight.abs(), None if plain.bias is None else plain.bias.abs())
    assert found.shape == expected.shape
    assert ((found - expected).abs() <= 2 * (WIDE[0] + 1) * ROUNDING * size).all()


def test_tokens_that_do_not_lie_side_by_side(both):
    plain, made = both
    x = torch.randn(3, 9, WIDE[0])
    for some in (x[:, 1:], x.transpose(0, 1), x.flip(-1), torch.randn(WIDE[0], 5).mT):
        torch.testing.assert_close(made(some), plain(some))


def test_other_precisions_gradients_and_compilers_have_torchs(both):
    plain, made = both
    x = torch.randn(4, WIDE[0])
    for one in both:
        one.to(torch.bfloat16)
    assert torch.equal(made(x.bfloat16()), plain(x.bfloat16()))
    for one in both:
        one.float()
    given = x.clone().requires_grad_()
    made(given).sum().backward()
    torch.testing.assert_close(given.grad, plain.weight.sum(0).expand(4, -1))
    written = torch.export.export(made, (x,), strict=False)
    assert "mkldnn" not in str(written.graph)


def test_where_there_is_no_such_product_torch_has_it(both, monkeypatch):
    plain, made = both
    x = torch.randn(4, WIDE[0])
    probe = onednn.__wrapped__
    monkeypatch.setattr(products.platform, "machine", lambda: "arm64")
    assert probe() is None
    monkeypatch.setattr(products.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(products, "_by", lambda product, x, weight, bias=None: F.linear(x, weight) + 1)
    assert probe() is None, "one that gives other numbers"

    def gone(*_):
        raise AttributeError("no such operator")

    monkeypatch.setattr(products, "_by", gone)
    assert probe() is None
    monkeypatch.setattr(products, "onednn", lambda: None)
    assert torch.equal(made(x), plain(x))


@pytest.mark.parametrize("samples", [(), (1,), (3,)], ids=str)
@pytest.mark.parametrize("transposed", [False, True])
def test_matrices_are_multiplied(samples, transposed):
    torch.manual_seed(2)
    left, right = torch.rand(*samples, 70, 900), torch.rand(*samples, 900, 200)
    left, right = (one.mT.contiguous().mT for one in (left, right)) if transposed else (left, right)
    found, expected = matmul(left, right), left @ right
    assert found.shape == expected.shape
    assert ((found - expected).abs() <= 2 * 900 * ROUNDING * expected).all()  # all numbers are positive


def test_matrices_that_are_no_pair_of_samples_are_torchs():
    left, right = torch.rand(2, 1, 30, 400), torch.rand(3, 400, 500)
    assert torch.equal(matmul(left, right), left @ right)
    assert torch.equal(matmul(left[:, 0], right[0]), left[:, 0] @ right[0])
    parts = torch.rand(2, 600, 1000)[:, 50:, 100:700]  # rows that do not lie side by side
    torch.testing.assert_close(matmul(left.new_ones(2, 5, 550), parts), torch.ones(2, 5, 550) @ parts)
    whole = left.double(), right.double()
    assert torch.equal(matmul(*whole), whole[0] @ whole[1])


def test_what_does_not_fit_has_torchs_error(both):
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        both[1](torch.randn(2, WIDE[0] + 1))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        matmul(torch.rand(2, 300), torch.rand(400, 500))


def test_its_operations_are_counted(both):
    x = torch.randn(2, 5, WIDE[0])
    assert [operations(lambda one=one: one(x))[0] for one in both] == [2 * 10 * WIDE[0] * WIDE[1]] * 2

"""Geometry by hand, and the matrix form of the way back against doing it step by step."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from segloop.maps.windows import assemble, cut, interpolation, layout, padding, spans
from tolerances import summed

PRODUCTS = 24  # of weights that add up to 1: two taps in each of four windows on either axis, and what made the weights


def test_spans_of_the_papers():
    assert spans(336, 336, 112) == [(0, 336)]
    assert spans(448, 336, 112) == [(0, 336), (112, 448)]
    assert spans(597, 336, 112)[-1] == (261, 597)
    assert [start for start, _ in spans(896, 224, 80)] == [*range(0, 641, 80), 672]
    assert spans(100, 224, 112) == [(0, 100)]
    assert spans(500, 0, 112) == [(0, 500)]


def test_padding_is_half_before():
    assert [padding(n, 56) for n in (300, 335, 337, 113, 336)] == [(18, 18), (0, 1), (27, 28), (27, 28), (0, 0)]


@given(length=st.integers(1, 700), crop=st.integers(1, 300), share=st.floats(0.05, 1))
def test_spans_cover_everything_and_stay_inside(length, crop, share):
    stride = max(1, int(crop * share))
    found = spans(length, crop, stride)
    assert found[0][0] == 0
    assert found[-1][1] == length
    assert all(end - start == min(crop, length) for start, end in found)
    assert all(0 <= b[0] - a[0] <= stride for a, b in itertools.pairwise(found))


def step_by_step(logits, where, size, target):
    """Spec 1.4 as it is written: upsample every window, cut, add, divide, resize. float64, since PyTorch's own
    weights in float32 are off by 1e-5."""
    logits = logits.double()
    total, count = logits.new_zeros(logits.shape[1], *size), logits.new_zeros(size)
    boxes = [(r, c) for r in where.rows for c in where.columns]
    for one, ((top, bottom), (left, right)) in zip(logits, boxes, strict=True):
        full = F.interpolate(one[None], size=where.window, mode="bilinear")[0]
        y, x = where.pad_rows[0], where.pad_columns[0]
        total[:, top:bottom, left:right] += full[:, y : y + bottom - top, x : x + right - left]
        count[top:bottom, left:right] += 1
    return F.interpolate((total / count)[None], size=target, mode="bilinear")[0].float()


@pytest.mark.parametrize(
    ("size", "crop", "stride", "multiple", "target"),
    [
        ((60, 100), 48, 24, 16, (91, 150)),
        ((50, 33), 64, 32, 16, (50, 33)),
        ((40, 130), 40, 13, 8, (20, 61)),
        ((64, 48), 0, 1, 16, (128, 96)),
        ((16, 16), 16, 16, 16, (1, 1)),
    ],
)
def test_matrix_form_equals_step_by_step(size, crop, stride, multiple, target):
    torch.manual_seed(0)
    where = layout(size, crop, stride, multiple)
    logits = torch.randn(len(where.rows) * len(where.columns), 3, *(n // multiple for n in where.window))
    score_map = assemble(logits, where, size, target)
    expected = step_by_step(logits, where, size, target)
    tolerance = summed(PRODUCTS, logits.abs().max().item())
    assert score_map.shape == (3, *target)
    torch.testing.assert_close(score_map.queries(slice(0, 3)), expected, rtol=0, atol=tolerance)
    for strip_bytes, band_bytes in ((1, 1), (5000, 3000), (10**9, 10**9)):
        strips = list(score_map.strips(strip_bytes, band_bytes))
        assert [row for rows, _ in strips for row in range(rows.start, rows.stop)] == list(range(target[0]))
        torch.testing.assert_close(torch.cat([s for _, s in strips], 1), expected, rtol=0, atol=tolerance)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 90))
def test_interpolation_is_pytorchs(cells, length):
    values = torch.linspace(-1, 1, cells, dtype=torch.float64) ** 3
    expected = F.interpolate(values[None, None], size=length, mode="linear")[0, 0]
    torch.testing.assert_close(interpolation(cells, length) @ values, expected)


def test_direct_skips_the_network_size():
    logits = torch.randn(1, 2, 4, 5)
    where = layout((64, 80), 0, 1, 1)
    direct = assemble(logits, where, (64, 80), (100, 90), direct=True)
    expected = F.interpolate(logits.double(), size=(100, 90), mode="bilinear")[0].float()
    tolerance = summed(PRODUCTS, logits.abs().max().item())
    torch.testing.assert_close(direct.queries(slice(0, 2)), expected, rtol=0, atol=tolerance)


def test_cut_pads_with_zeros():
    image = torch.ones(3, 10, 21)
    windows = cut(image, layout((10, 21), 16, 8, 8))
    assert windows.shape == (2, 3, 16, 16)
    assert windows[:, :, 3:13].min() == 1
    assert windows[:, :, :3].abs().sum() + windows[:, :, 13:].abs().sum() == 0

"""Brush strokes of Label Studio against a decoder written from the format alone, and thinned outlines."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segloop.web.brush import brush
from segloop.web.thinned import thinned


def unpacked(data: list[int]) -> np.ndarray:
    """Packed run lengths -> their words, one bit after the other as rle-pack's description has them."""
    bits = "".join(f"{byte:08b}" for byte in data)
    at = 0

    def take(count: int) -> int:
        nonlocal at
        at += count
        return int(bits[at - count : at], 2)

    count, word = take(32), take(5) + 1
    sizes = [take(4) + 1 for _ in range(4)]
    words: list[int] = []
    while len(words) < count:
        repeated, length = take(1), take(sizes[take(2)]) + 1
        words += [take(word)] * length if repeated else [take(word) for _ in range(length)]
    assert len(words) == count and set(bits[at:]) <= {"0"} and len(bits) - at < 8
    return np.array(words, np.uint8)


def test_one_pixel_by_hand():
    assert brush(np.ones((1, 1), bool)) == [0, 0, 0, 4, 0b00111001, 0b00011011, 0b11111100, 0b01111111, 0b11100000]


def test_what_label_studio_itself_writes():
    """The packed form of 0 and 255 in turn, six pixels, as published in tests of other tools that write for it."""
    expected = [0, 0, 0, 24, 57, 27, 252, 96, 17, 255, 198, 1, 31, 252, 96, 17, 255, 128]
    assert brush(np.array([[0, 1, 0, 1, 0, 1]], bool)) == expected


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 90), min_size=1, max_size=12), st.booleans(), st.integers(1, 7))
def test_masks_come_back(runs, first, height):
    flat = np.repeat(np.arange(len(runs)) % 2 == first, runs)
    mask = np.resize(flat, (height, max(1, flat.size // height)))
    pixels = unpacked(brush(mask)).reshape(*mask.shape, 4)
    assert np.array_equal(pixels, np.repeat(mask[:, :, None] * np.uint8(255), 4, 2))


@pytest.mark.parametrize("pixels", [2, 3, 4, 5, 64, 65, 16383, 16384, 16385, 40000])
def test_runs_at_the_ends_of_their_sizes(pixels):
    mask = np.zeros((1, pixels + 1), bool)
    mask[0, :pixels] = True
    assert np.array_equal(unpacked(brush(mask)).reshape(1, -1, 4)[:, :, 3] == 255, mask)


def test_thinned_outlines_stay_near():
    angle = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    circle = np.stack([50 + 40 * np.cos(angle), 50 + 40 * np.sin(angle)], 1)
    few = thinned(circle, 0.002)
    assert 8 < len(few) < 60 and np.isin(few[:, 0], circle[:, 0]).all()
    assert np.abs(np.linalg.norm(few - 50, axis=1) - 40).max() < 1e-9
    middles = (few + np.roll(few, -1, 0)) / 2
    assert (40 - np.linalg.norm(middles - 50, axis=1)).max() <= 0.002 * 2 * np.pi * 40


def test_thinned_squares_keep_their_corners():
    square = np.array([(0, 0), (2, 0), (4, 0), (4, 4), (0, 4), (0, 1)])
    assert thinned(square, 0.001).tolist() == [[0, 0], [4, 0], [4, 4], [0, 4]]
    assert np.array_equal(thinned(square, 0.0), thinned(square, 0.001))
    triangle = np.array([(0, 0), (1, 0), (1, 1)])
    assert np.array_equal(thinned(triangle, 0.1), triangle)

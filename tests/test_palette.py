import time

import numpy as np
import pytest

from segloop.results.palette import OKABE_ITO, SIGHTS, _grow, palette, perceived

DIGITS = 3e-6  # matrices of six digits: three times 5e-7, a third of it in cube roots, times rows of up to 4.9


def smallest_distance(colours, sight):
    points = perceived(colours, sight)
    distances = np.linalg.norm(points[:, None] - points, axis=-1)
    return distances[np.triu_indices(len(points), 1)].min()


def test_perceived_black_and_white():
    ends = perceived(np.array([[0, 0, 0], [255, 255, 255]], np.uint8))
    np.testing.assert_allclose(ends, [[0, 0, 0], [1, 0, 0]], atol=DIGITS)


def test_perceived_greys_look_grey_to_every_eye():
    greys = np.repeat(np.arange(0, 256, 15, dtype=np.uint8)[:, None], 3, axis=1)
    for sight in SIGHTS:
        np.testing.assert_allclose(perceived(greys, sight)[:, 1:], 0, atol=DIGITS)


def test_simulation_brings_red_and_green_together():
    pair = np.array([[200, 80, 60], [120, 130, 50]], np.uint8)
    plain = smallest_distance(pair, "normal")
    assert smallest_distance(pair, "deuteranopia") < 0.7 * plain
    assert smallest_distance(pair, "protanopia") < 0.7 * plain


@pytest.mark.parametrize(
    ("count", "normal", "simulated"),
    [
        (8, 0.15, 0.075),  # 0.156 and 0.076: Okabe and Ito's own green and purple are the closest pair
        (21, 0.09, 0.075),
        (60, 0.045, 0.04),
        (150, 0.025, 0.02),  # about 0.02 is a just noticeable step
    ],
)
def test_colours_stay_apart(count, normal, simulated):
    colours = palette(count)
    assert smallest_distance(colours, "normal") >= normal
    assert smallest_distance(colours, "protanopia") >= simulated
    assert smallest_distance(colours, "deuteranopia") >= simulated


def test_begins_with_okabe_and_ito():
    assert palette(7).tolist() == [list(colour) for colour in OKABE_ITO]


def test_shape_prefix_and_repetition():
    long = palette(1000)
    assert long.dtype == np.uint8 and len(np.unique(long, axis=0)) == 1000
    for count in (0, 1, 21, 847):
        assert palette(count).shape == (count, 3)
        np.testing.assert_array_equal(palette(count), long[:count])
    np.testing.assert_array_equal(palette(2001)[2000], long[0])


def test_the_next_colours_are_these():
    """Pinned, so that files made on two machines agree."""
    assert palette(11)[7:].tolist() == [[119, 0, 0], [119, 255, 255], [85, 17, 119], [0, 0, 255]]


def test_a_changed_palette_is_the_callers_own():
    palette(3)[:] = 0
    assert palette(3).any()


def test_is_quick():
    _grow.cache_clear()
    start = time.process_time()
    palette(1000)
    assert time.process_time() - start < 0.5  # 0.03 s here
    start = time.process_time()
    palette(847)
    assert time.process_time() - start < 0.02
